"""`Poses` in, `Angles` out: joint angles in the image plane and in space."""

from pose_analyzer.biomechanics.angles import ANGLE_NAMES, joint_angles
from pose_analyzer.biomechanics.geometry import angle_between_deg, interior_angle_deg

__all__ = ["ANGLE_NAMES", "angle_between_deg", "interior_angle_deg", "joint_angles"]

"""`Poses` in, `Angles` out: joint and segment angles in the image plane and in space, with their error; what follows from them."""

from pose_analyzer.biomechanics.angles import ANGLE_NAMES, joint_angles
from pose_analyzer.biomechanics.geometry import (
    angle_between_deg,
    circular_mean_deg,
    interior_angle_deg,
    signed_angle_deg,
    unwrap_deg,
    wrap_deg,
)
from pose_analyzer.biomechanics.keypoint_sigma import fill_keypoint_sigma
from pose_analyzer.biomechanics.lifting import lift
from pose_analyzer.biomechanics.measure import MEASURED_NAMES, measure_angles
from pose_analyzer.biomechanics.segments import SEGMENT_NAMES, segment_angles

__all__ = [
    "ANGLE_NAMES",
    "MEASURED_NAMES",
    "SEGMENT_NAMES",
    "angle_between_deg",
    "circular_mean_deg",
    "fill_keypoint_sigma",
    "interior_angle_deg",
    "joint_angles",
    "lift",
    "measure_angles",
    "segment_angles",
    "signed_angle_deg",
    "unwrap_deg",
    "wrap_deg",
]

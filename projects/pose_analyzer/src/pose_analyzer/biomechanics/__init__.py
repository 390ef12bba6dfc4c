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
from pose_analyzer.biomechanics.ground import GroundPlane, focal_px_from_fov, metres_per_px, metres_per_px_of_line, positions_m, stature_px
from pose_analyzer.biomechanics.keypoint_sigma import fill_keypoint_sigma
from pose_analyzer.biomechanics.lifting import lift
from pose_analyzer.biomechanics.measure import MEASURED_NAMES, measure_angles, picture_errors, strict
from pose_analyzer.biomechanics.movement import bar_path, path_shape, range_of_motion, squat_depth, stability, symmetry, tempo
from pose_analyzer.biomechanics.opensim import joint_series, read_motion
from pose_analyzer.biomechanics.segments import SEGMENT_NAMES, segment_angles
from pose_analyzer.biomechanics.view import (
    PREFERRED_VIEWS,
    Placement,
    camera_direction_deg,
    check_placement,
    describe_view,
    plane_disagreement_deg,
)

__all__ = [
    "ANGLE_NAMES",
    "MEASURED_NAMES",
    "PREFERRED_VIEWS",
    "SEGMENT_NAMES",
    "GroundPlane",
    "Placement",
    "angle_between_deg",
    "bar_path",
    "camera_direction_deg",
    "check_placement",
    "circular_mean_deg",
    "describe_view",
    "fill_keypoint_sigma",
    "focal_px_from_fov",
    "interior_angle_deg",
    "joint_angles",
    "joint_series",
    "lift",
    "measure_angles",
    "metres_per_px",
    "metres_per_px_of_line",
    "path_shape",
    "picture_errors",
    "plane_disagreement_deg",
    "positions_m",
    "range_of_motion",
    "read_motion",
    "segment_angles",
    "signed_angle_deg",
    "squat_depth",
    "stability",
    "stature_px",
    "strict",
    "symmetry",
    "tempo",
    "unwrap_deg",
    "wrap_deg",
]

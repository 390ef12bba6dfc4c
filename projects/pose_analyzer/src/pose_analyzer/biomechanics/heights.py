"""Movement told by heights in the picture, where the joint that moves points at the camera.

An angle in the image plane needs both of its segments in that plane. Seen along the direction of movement it is not only
small but wrong: a lying person whose feet point at the camera seems folded at 180°, and an arm that swings past the lens
flips from hanging to overhead within a frame. What such a view does show, as every camera that stands about level does, is how
high one joint lies above another. Here that height is turned into the angle of a segment of known length:

| name (`left_`/`right_` in front) | height | known length | 0° | grows to |
|---|---|---|---|---|
| `trunk_rise_deg` | shoulder above hip | trunk | trunk level | 90° upright; negative = head down |
| `shoulder_over_knee_deg` | shoulder above knee | trunk | as high as the knee | 90° a trunk's length above it or more |
| `arm_raise_deg` | wrist along the trunk's axis, from the shoulder up | arm | arm hanging along the trunk | 180° overhead |

The trunk's length is that of `foreshortening.trunk_length_px`. Proportions vary by a tenth between people and detectors: these serve
counting and posture, not measuring. The vertical is the image's y axis.
"""

from __future__ import annotations

import numpy as np

from pose_analyzer.biomechanics.foreshortening import SIDES, STATURE_SHARE, points_of, trunk_axis, trunk_length_px
from pose_analyzer.biomechanics.geometry import Array
from shared_utils.skeletons import Skeleton

HEIGHT_NAMES: tuple[str, ...] = tuple(f"{side}_{name}_deg" for name in ("trunk_rise", "shoulder_over_knee", "arm_raise") for side in SIDES)

# Nothing is this much longer than it should be: such a height comes from a scale that was misjudged.
_LONGEST = 1.3


def height_angles(xy: Array, skeleton: Skeleton, min_px: Array) -> Array:
    """Degrees of `HEIGHT_NAMES`.

    Args:
        xy: (n, k, 2) pixels, NaN = missing.
        skeleton: Of the k keypoints.
        min_px: (n, 1) px; a trunk that is not seen longer has no direction.

    Returns:
        (n, 6) degrees; NaN where a keypoint is missing, and where an arm is seen more than 1.3 times as long as it
        should be. One that is a little too long is straight.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.full((1, 17, 2), np.nan)
        >>> xy[0, COCO_17.indices(["left_shoulder", "left_hip", "left_knee"])] = [(0, 100), (100, 100), (160, 50)]
        >>> height_angles(xy, COCO_17, np.array([[2.0]]))[0, [0, 2]].round().tolist()
        [0.0, -30.0]
    """
    shoulder, hip, knee, wrist = points_of(xy, skeleton, "shoulder", "hip", "knee", "wrist")
    trunk = trunk_length_px(xy, skeleton, min_px)
    axis = trunk_axis(shoulder, hip)
    seen = np.linalg.norm(axis, axis=-1)
    up = axis / np.where(seen > min_px, seen, np.nan)[..., None]
    raised = np.einsum("nsd,nsd->ns", wrist - shoulder, up) / (STATURE_SHARE["arm"] / STATURE_SHARE["trunk"] * trunk)
    heights = [
        (hip - shoulder)[..., 1] / trunk,  # y points down
        (knee - shoulder)[..., 1] / trunk,
        np.where(np.abs(raised) > _LONGEST, np.nan, raised),
    ]
    degrees = np.degrees(np.arcsin(np.clip(np.concatenate(heights, axis=1), -1.0, 1.0)))
    degrees[:, 4:] += 90.0  # an arm that hangs is at 0, not at -90
    return degrees

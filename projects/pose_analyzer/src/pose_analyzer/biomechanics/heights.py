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

The trunk's length is that of `foreshortening.Outline`. Proportions vary by a tenth between people and detectors: these serve
counting and posture, not measuring. The vertical is the image's y axis.
"""

from __future__ import annotations

import numpy as np

from pose_analyzer.biomechanics.foreshortening import SIDES, STATURE_SHARE, Outline
from pose_analyzer.biomechanics.geometry import Array

HEIGHT_NAMES: tuple[str, ...] = tuple(f"{side}_{name}_deg" for name in ("trunk_rise", "shoulder_over_knee", "arm_raise") for side in SIDES)

# Nothing is this much longer than it should be: such a height comes from a scale that was misjudged.
_LONGEST = 1.3


def height_angles(outline: Outline, min_px: Array) -> Array:
    """Degrees of `HEIGHT_NAMES`.

    Args:
        outline: Of n people.
        min_px: (n, 1) px; a trunk that is not seen longer has no direction.

    Returns:
        (n, 6) degrees; NaN where a keypoint is missing, and where an arm is seen more than 1.3 times as long as it
        should be. One that is a little too long is straight.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy, least = np.full((1, 17, 2), np.nan), np.array([[2.0]])
        >>> xy[0, COCO_17.indices(["left_shoulder", "left_hip", "left_knee"])] = [(0, 100), (100, 100), (160, 50)]
        >>> height_angles(Outline(xy, COCO_17, least), least)[0, [0, 2]].round().tolist()
        [0.0, -30.0]
    """
    trunk = outline.trunk_px
    along = np.einsum("nsd,nsd->ns", outline.wrist - outline.shoulder, outline.trunk)
    seen = outline.trunk_seen_px
    direction = np.where(seen > min_px, seen, np.nan)
    heights = np.concatenate(
        [
            (outline.hip - outline.shoulder)[..., 1] / trunk,  # y points down
            (outline.knee - outline.shoulder)[..., 1] / trunk,
            along / (direction * (STATURE_SHARE["arm"] / STATURE_SHARE["trunk"]) * trunk),
        ],
        axis=1,
    )
    heights[:, 4:][np.abs(heights[:, 4:]) > _LONGEST] = np.nan
    degrees = np.degrees(np.arcsin(np.minimum(np.maximum(heights, -1.0), 1.0)))
    degrees[:, 4:] += 90.0  # an arm that hangs is at 0, not at -90
    return degrees

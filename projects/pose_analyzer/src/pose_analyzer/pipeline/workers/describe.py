"""What was measured in a frame, as the plain numbers of a message: pixels of the source, degrees, null for what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise import RepState
from pose_analyzer.pipeline.stream import Update
from shared_utils.skeletons import Skeleton

# Tenths of pixels and degrees, thousandths of confidence: finer is noise, and would double the length of a message.
_PX, _DEG, _SHARE = 1, 2, 3


def describe_people(update: Update, *, mirrored_width_px: int | None = None) -> list[dict[str, Any]]:
    """Everybody in a frame.

    Args:
        update: What the frame gave.
        mirrored_width_px: The picture was mirrored before it was measured; give places in the one before. Its width, px.

    Returns:
        Per person `track_id` (-1: not confirmed yet), `box`, `score`, `keypoints`, `angles` (of the image plane),
        `angle_sigma` (of those whose error is known) and `repetition`.
    """
    poses = update.poses
    boxes = poses.boxes_xyxy.astype(np.float64)
    xy = poses.keypoints_xy.astype(np.float64)
    if mirrored_width_px is not None:
        boxes = np.stack([mirrored_width_px - boxes[:, 2], boxes[:, 1], mirrored_width_px - boxes[:, 0], boxes[:, 3]], axis=1)
        xy = xy * (-1.0, 1.0) + (mirrored_width_px, 0.0)
    confidence = poses.keypoint_confidence.astype(np.float64)
    keypoints = np.concatenate([np.round(xy, _PX), np.round(confidence, _SHARE)[..., None]], axis=2).tolist()
    angles, sigmas = _angles_by_track(update), _sigmas_by_track(update)
    people = []
    for row, track_id in enumerate(poses.track_ids.tolist()):
        people.append(
            {
                "track_id": track_id,
                "box": _numbers(np.round(boxes[row], _PX)),
                "score": _number(float(poses.scores[row]), _SHARE),
                "keypoints": [point if point[0] == point[0] else None for point in keypoints[row]],
                "angles": angles.get(track_id, {}),
                "angle_sigma": sigmas.get(track_id, {}),
                "repetition": _repetition(update.repetitions.get(track_id)),
            }
        )
    return people


def image_plane(names: Sequence[str]) -> list[int]:
    """Positions of the angles that are measured in the image plane.

    Example:
        >>> image_plane(["left_knee_flexion_deg", "left_knee_flexion_3d_deg"])
        [0]
    """
    return [i for i, name in enumerate(names) if not name.endswith("_3d_deg")]


def describe_skeleton(skeleton: Skeleton) -> dict[str, Any]:
    """A keypoint set: names, edges, and which are left and right.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> describe_skeleton(COCO_17)["keypoints"][:2]
        ['nose', 'left_eye']
    """
    names = list(skeleton.keypoints)
    return {
        "name": skeleton.name,
        "keypoints": names,
        "edges": [list(edge) for edge in skeleton.edges],
        "left": [name for name in names if name.startswith("left_")],
        "right": [name for name in names if name.startswith("right_")],
    }


def _angles_by_track(update: Update) -> dict[int, dict[str, float | None]]:
    angles = update.angles
    columns = image_plane(angles.names)
    names = [angles.names[i] for i in columns]
    values = np.round(angles.value_deg[:, columns], _DEG)
    return {
        track_id: {name: value if value == value else None for name, value in zip(names, row, strict=True)}
        for track_id, row in zip(angles.track_ids.tolist(), values.tolist(), strict=True)
    }


def _sigmas_by_track(update: Update) -> dict[int, dict[str, float]]:
    angles = update.with_errors()
    assert angles.sigma_deg is not None  # noqa: S101 - for the type checker
    columns = image_plane(angles.names)
    names = [angles.names[i] for i in columns]
    return {
        track_id: {name: value for name, value in zip(names, row, strict=True) if value == value}
        for track_id, row in zip(angles.track_ids.tolist(), np.round(angles.sigma_deg[:, columns], 1).tolist(), strict=True)
    }


def _repetition(state: RepState | None) -> Mapping[str, Any] | None:
    if state is None:
        return None
    return {
        "count": state.count,
        "phase": state.phase,
        "progress": _number(state.progress, _SHARE),
        "signal_deg": _number(state.signal_deg, _DEG),
    }


def _number(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [value if value == value else None for value in values.tolist()]

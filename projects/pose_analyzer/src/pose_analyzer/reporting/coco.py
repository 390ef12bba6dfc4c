"""COCO keypoints: images, annotations and the category with its skeleton, as pycocotools and the tools around it read them.

A keypoint is `x, y, v`. v = 2: seen; v = 1: placed, but hidden; v = 0 with x = y = 0: not labelled, which is how the format
says missing. Points outside of the picture are not labelled either: the format has no place for them. `area` is the box's, as
nobody has drawn an outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.people import picture_size, poses_of
from shared_utils.data_models import Series, Session
from shared_utils.skeletons import COCO_17, Skeleton

SEEN_CONFIDENCE = 0.5
"""From this confidence on a keypoint is visible (v = 2)."""
PLACED_CONFIDENCE = 0.1
"""From this on it is placed but hidden (v = 1); below, it is a guess and not labelled (v = 0)."""

KeypointSet = Literal["coco_17", "native"]


def coco_dict(
    session: Session,
    *,
    keypoints: KeypointSet = "coco_17",
    size: tuple[int, int] | None = None,
    seen: float = SEEN_CONFIDENCE,
    placed: float = PLACED_CONFIDENCE,
) -> dict[str, Any]:
    """A session as a COCO keypoint data set; images are the frames that show somebody.

    Args:
        session: With keypoints.
        keypoints: "coco_17" picks COCO's 17 by name, "native" keeps the detector's set.
        size: (width, height) px, where the session does not know it.
        seen: Least confidence, 0..1, of v = 2.
        placed: Least confidence, 0..1, of v = 1.

    Returns:
        Plain JSON types. Annotations also carry `score` and `track_id`, images `frame_index` and `timestamp_s`.

    Raises:
        ChoiceError: There are no keypoints, or the size is unknown.
    """
    width, height = picture_size(session, size)
    series = session.series
    poses = poses_of(series)
    poses = poses.to_skeleton(COCO_17 if keypoints == "coco_17" else poses.skeleton)
    flags = visibility(poses.keypoints_xy, poses.keypoint_confidence, (width, height), seen=seen, placed=placed)
    images = _images(series, Path(session.source).stem or "frame", width, height)
    annotations: list[dict[str, Any]] = []
    for row, index in enumerate(series["frame_index"].tolist()):
        box = _box(poses.boxes_xyxy[row], width, height)
        if box is None:
            continue  # wholly outside of the picture
        annotations.append(
            {
                "id": len(annotations) + 1,  # from 1: pycocotools takes 0 for "unmatched"
                "image_id": index + 1,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "num_keypoints": int((flags[row] > 0).sum()),
                "keypoints": _triples(poses.keypoints_xy[row], flags[row]),
                "score": round(float(poses.scores[row]), 4),
                "track_id": int(poses.track_ids[row]),
            }
        )
    about = f"{session.source} measured by pose-analyzer; area is the box's; v=2 from confidence {seen:g}, v=1 from {placed:g}"
    return {
        "info": {"description": about, "version": session.software_version},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [_category(poses.skeleton)],
    }


def _images(series: Series, stem: str, width: int, height: int) -> list[dict[str, Any]]:
    """One per frame that shows somebody."""
    frames, first = np.unique(series["frame_index"], return_index=True)
    times_s = series["timestamp_s"][first]
    return [
        {
            "id": index + 1,
            "file_name": f"{stem}_{index:06d}.jpg",
            "width": width,
            "height": height,
            "frame_index": index,
            "timestamp_s": round(time_s, 6),
        }
        for index, time_s in zip(frames.tolist(), times_s.tolist(), strict=True)
    ]


def visibility(
    xy: NDArray[np.float32], confidence: NDArray[np.float32], size: tuple[int, int], *, seen: float, placed: float
) -> NDArray[np.int64]:
    """(n, k) COCO's v of every keypoint.

    Example:
        >>> xy = np.array([[[5.0, 5.0], [5.0, 5.0], [np.nan, np.nan], [99.0, 5.0]]], np.float32)
        >>> visibility(xy, np.array([[0.9, 0.2, 0.0, 0.9]], np.float32), (20, 20), seen=0.5, placed=0.1).tolist()
        [[2, 1, 0, 0]]
    """
    with np.errstate(invalid="ignore"):
        inside = ((xy >= 0) & (xy <= np.array(size, np.float32))).all(-1)
    flags = np.where(confidence >= seen, 2, np.where(confidence >= placed, 1, 0))
    return np.where(inside, flags, 0)


def _triples(xy: NDArray[np.float32], flags: NDArray[np.int64]) -> list[float]:
    out: list[float] = []
    for (x, y), v in zip(xy.tolist(), flags.tolist(), strict=True):
        out += [round(x, 2), round(y, 2), v] if v else [0, 0, 0]
    return out


def _box(xyxy: NDArray[np.float32], width: int, height: int) -> list[float] | None:
    """x, y, width and height within the picture; None when nothing of it is there."""
    x1, x2 = np.clip(xyxy[[0, 2]].astype(np.float64), 0, width).round(2).tolist()
    y1, y2 = np.clip(xyxy[[1, 3]].astype(np.float64), 0, height).round(2).tolist()
    return [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)] if x2 > x1 and y2 > y1 else None


def _category(skeleton: Skeleton) -> dict[str, Any]:
    edges: Sequence[Sequence[int]] = (skeleton.edge_indices + 1).tolist()  # 1-based, as in COCO's own files
    return {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(skeleton.keypoints), "skeleton": edges}

"""A whole recording as arrays by track, and back into one `Poses` per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose_analyzer.smoothing.tracks import Array
from shared_utils.data_models import Origin, Poses
from shared_utils.errors import ValidationError


@dataclass(frozen=True, slots=True)
class Recording:
    """t frames, p tracks.

    Args:
        times_s: (t,).
        track_ids: p ids, rising.
        values: (t, p, k * d + 4): keypoints (px, then metres if there are any), then the box; NaN = missing.
        row: (t, p) row of the track in each frame's `Poses`, -1 = not there.
        k, d: Keypoints, and numbers per keypoint: 2, or 5 with metres.
    """

    times_s: Array
    track_ids: list[int]
    values: Array
    row: NDArray[np.intp]
    k: int
    d: int


def recording_of(poses_by_frame: Sequence[Poses], timestamps_s: ArrayLike) -> Recording:
    """Arrays of all tracks of a recording.

    Raises:
        ValidationError: Counts differ, times do not increase, skeletons differ, or ids repeat within a frame.
    """
    t = np.asarray(timestamps_s, np.float64)
    if t.shape != (len(poses_by_frame),):
        raise ValidationError(f"timestamps_s must have one time per frame ({len(poses_by_frame)}), got shape {t.shape}")
    if not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise ValidationError("timestamps_s must be finite and increasing; drop repeated frames first")
    if len({p.skeleton for p in poses_by_frame}) > 1:
        raise ValidationError("all frames must have one skeleton; convert them first")
    ids = sorted({i for p in poses_by_frame for i in p.track_ids.tolist() if i >= 0})
    k = len(poses_by_frame[0].skeleton) if poses_by_frame else 0
    d = 5 if any(p.world_xyz_m is not None for p in poses_by_frame) else 2
    values = np.full((len(t), len(ids), k * d + 4), np.nan)
    row = np.full((len(t), len(ids)), -1, np.intp)
    place = {track_id: i for i, track_id in enumerate(ids)}
    for frame, poses in enumerate(poses_by_frame):
        for j, track_id in enumerate(poses.track_ids.tolist()):
            if track_id < 0:
                continue
            if row[frame, place[track_id]] >= 0:
                raise ValidationError(f"track ids must differ within a frame, got {poses.track_ids.tolist()} in frame {frame}")
            row[frame, place[track_id]] = j
            points = np.full((k, d), np.nan)
            points[:, :2] = poses.keypoints_xy[j]
            if poses.world_xyz_m is not None:
                points[:, 2:] = poses.world_xyz_m[j]
            values[frame, place[track_id]] = np.concatenate([points.ravel(), poses.boxes_xyxy[j]])
    return Recording(t, ids, values, row, k, d)


def written_back(recording: Recording, poses_by_frame: Sequence[Poses], values: Array, filled: NDArray[np.bool_]) -> list[Poses]:
    """The frames with smoothed values; filled keypoints get a confidence, filled people a row.

    Boxes of detected people stay as detected.
    """
    t, p, k, d = len(recording.times_s), len(recording.track_ids), recording.k, recording.d
    points = values[..., : k * d].reshape(t, p, k, d)
    was_filled = filled[..., : k * d].reshape(t, p, k, d)[..., :2].all(-1)
    confidence, scores = _confidences(recording, poses_by_frame, was_filled)
    out = []
    for frame, poses in enumerate(poses_by_frame):
        here = np.flatnonzero(recording.row[frame] >= 0)
        rows = recording.row[frame, here]
        parts = [_changed(poses, rows, points[frame, here], confidence[frame, here])] if len(poses) else []
        boxes = values[frame, :, k * d :]
        new = np.flatnonzero((recording.row[frame] < 0) & was_filled[frame].any(-1) & ~np.isnan(boxes).any(-1))
        if len(new):
            parts.append(_added(poses, recording, new, points[frame, new], confidence[frame, new], boxes[new], scores[frame, new]))
        out.append(Poses.concatenate(parts) if parts else poses)
    return out


def _changed(poses: Poses, rows: NDArray[np.intp], points: Array, confidence: Array) -> Poses:
    xy, conf = poses.keypoints_xy.copy(), poses.keypoint_confidence.copy()
    xy[rows], conf[rows] = points[..., :2], confidence
    changes: dict[str, Any] = {"keypoints_xy": xy, "keypoint_confidence": conf}
    if poses.world_xyz_m is not None:
        world = poses.world_xyz_m.copy()
        world[rows] = points[..., 2:]
        changes["world_xyz_m"] = world
    return poses.replace(**changes)


def _added(
    poses: Poses, recording: Recording, tracks: NDArray[np.intp], points: Array, confidence: Array, boxes: Array, scores: Array
) -> Poses:
    # Two edges that are interpolated by themselves may cross where a box is thin.
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    return Poses(
        boxes_xyxy=boxes.astype(np.float32),
        scores=scores.astype(np.float32),
        keypoints_xy=points[..., :2].astype(np.float32),
        keypoint_confidence=confidence.astype(np.float32),
        world_xyz_m=points[..., 2:].astype(np.float32) if recording.d == 5 else None,
        track_ids=np.array(recording.track_ids, np.int64)[tracks],
        origin=np.full(len(tracks), Origin.INTERPOLATED, np.int8),
        skeleton=poses.skeleton,
    )


def _confidences(recording: Recording, poses_by_frame: Sequence[Poses], filled: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(t, p, k) confidence of every keypoint and (t, p) score of every person; half of the nearest reading's in the middle of a gap."""
    t, p, k = filled.shape
    known = np.full((t, p, k + 1), np.nan)
    for frame, poses in enumerate(poses_by_frame):
        here = np.flatnonzero(recording.row[frame] >= 0)
        rows = recording.row[frame, here]
        known[frame, here, :k] = np.where(poses.visible[rows], poses.keypoint_confidence[rows], np.nan)
        known[frame, here, k] = poses.scores[rows]
    which = np.concatenate([filled, (recording.row < 0)[..., None] & filled.any(-1, keepdims=True)], axis=-1)
    out = np.nan_to_num(known)
    for person, point in zip(*np.nonzero(which.any(0)), strict=True):
        seen = np.flatnonzero(~np.isnan(known[:, person, point]))
        gap = np.flatnonzero(which[:, person, point])
        right = np.clip(np.searchsorted(seen, gap), 1, len(seen) - 1)
        a, b = recording.times_s[seen[right - 1]], recording.times_s[seen[right]]
        share = (recording.times_s[gap] - a) / (b - a)
        lower = np.minimum(known[seen[right - 1], person, point], known[seen[right], person, point])
        out[gap, person, point] = lower * (1 - 2 * share * (1 - share))
    return out[..., :k], out[..., k]

"""People and keypoints that are out of sight for a moment: predicted live, marked, bounded in seconds.

`GapFiller` never looks ahead; the offline counterpart, which knows both ends of a gap, is `offline.fill_gaps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.extrapolation import History, Recall, damped, fading, recalled
from pose_analyzer.smoothing.kalman import KalmanPoseFilter
from pose_analyzer.smoothing.tracks import Array, body_height_px, require_finite_at_least, require_positive
from shared_utils.data_models import Origin, Poses
from shared_utils.errors import ValidationError

GapMethod = Literal["recall", "velocity", "kalman", "hold"]

_VELOCITY_WINDOW_S = 0.11
_KALMAN_ACCELERATION = 4.0  # lower than for filtering: here the velocity matters, not the last wiggle
_GHOST_IOU = 0.5
_SIGMA_SIZES_PER_S = 0.3  # growth of the standard deviation of a predicted point, body heights per second


@dataclass(slots=True)
class _Track:
    history: History
    last: Array  # (k, d) last reading of each keypoint
    last_s: Array  # (k,) its time, -inf = never
    confidence: Array  # (k,) at the last reading
    sigma: Array  # (k,) px, NaN = unknown
    row: Poses  # the person as last seen
    seen_s: float
    height_px: float
    born_s: float
    recall: dict[str, Any] = field(default_factory=dict)


class GapFiller:
    """Fills short gaps of keypoints and of whole people with predictions.

    A keypoint that is missing (NaN, or below `min_confidence`) is placed where it should be, with a confidence that halves every
    `half_life_s`; `keypoint_origin` tells which. A tracked person whom a frame does not show is added as a further row with origin
    `PREDICTED`, the box moved along, score and confidences fading. After `max_gap_s` both are given up: missing is missing. A
    predicted person disappears at once where somebody else is detected in the same place (IoU above 0.5).

    Methods: "hold" keeps the last place. "velocity" lets the last movement die away. "kalman" does so from the state
    of a constant-velocity Kalman filter. "recall" (default) looks for moments like this one in the person's own
    last `history_s` and goes where they led, as far as they resemble; for single keypoints, where they were when the seen ones
    were as they are now; else it is "velocity".

    Put it behind the filter: it keeps what it is given and needs a clean velocity.

    Args:
        method: See above.
        max_gap_s: Longest gap that is filled, seconds.
        half_life_s: Time in which the confidence of what is predicted falls to a half, seconds.
        velocity_decay_s: Time in which a continued movement falls to 37 %, seconds.
        history_s: How far back "recall" remembers, seconds.
        min_confidence: Keypoints seen with less count as missing and are predicted, if there is a prediction.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> person = Poses(boxes_xyxy=[[0, 0, 50, 100]], scores=[1], keypoints_xy=np.full((1, 17, 2), 30.0),
        ...                keypoint_confidence=np.ones((1, 17)), track_ids=[4], skeleton=COCO_17)
        >>> filler = GapFiller(max_gap_s=0.5)
        >>> _ = filler.update(person, timestamp_s=0.0)
        >>> gone = filler.update(Poses.empty(COCO_17), timestamp_s=0.1)
        >>> gone.track_ids.tolist(), Origin(gone.origin[0]).name
        ([4], 'PREDICTED')
        >>> len(filler.update(Poses.empty(COCO_17), timestamp_s=0.7))
        0
    """

    def __init__(
        self,
        *,
        method: GapMethod = "recall",
        max_gap_s: float = 1.0,
        half_life_s: float = 0.3,
        velocity_decay_s: float = 0.25,
        history_s: float = 8.0,
        min_confidence: float = 0.0,
    ) -> None:
        if method not in ("recall", "velocity", "kalman", "hold"):
            raise ValidationError(f"method must be 'recall', 'velocity', 'kalman' or 'hold', got {method!r}")
        require_positive(max_gap_s=max_gap_s, half_life_s=half_life_s, velocity_decay_s=velocity_decay_s, history_s=history_s)
        require_finite_at_least(0, min_confidence=min_confidence)
        self._method, self._max_gap_s, self._half_life_s = method, max_gap_s, half_life_s
        self._decay_s, self._min_confidence = velocity_decay_s, min_confidence
        self._history_s = max(history_s if method == "recall" else 0.0, max_gap_s + 2 * _VELOCITY_WINDOW_S)
        self.reset()

    def reset(self) -> None:
        """Forget everybody, as at the start of a stream."""
        self._tracks: dict[int, _Track] = {}
        self._last_s = -math.inf
        self._kalman = (
            KalmanPoseFilter(gate=False, acceleration_sizes_per_s2=_KALMAN_ACCELERATION, max_gap_s=self._max_gap_s)
            if self._method == "kalman"
            else None
        )
        self.keypoint_origin: NDArray[np.int8] = np.zeros((0, 0), np.int8)
        """(n, k) `Origin` of every keypoint in the last result."""

    def forget(self, track_id: int) -> None:
        """Drop one track, its prediction too; unknown ids are ignored."""
        self._tracks.pop(track_id, None)
        if self._kalman is not None:
            self._kalman.forget(track_id)

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """The people of one frame with their gaps filled, then the people who are hidden.

        A frame that repeats the time of the last one or steps back a little passes untouched; a step back by more than
        `max_gap_s` is a new clock and starts afresh.

        Raises:
            ValidationError: `timestamp_s` is not finite, ids repeat, or the skeleton changed.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        ids = poses.track_ids[poses.track_ids >= 0].tolist()
        if len(set(ids)) != len(ids):
            raise ValidationError(f"track ids must differ within a frame, got {ids}")
        if timestamp_s < self._last_s - self._max_gap_s:
            self.reset()
        if timestamp_s <= self._last_s:
            self.keypoint_origin = np.zeros(poses.keypoints_xy.shape[:2], np.int8)
            return poses
        self._last_s = float(timestamp_s)
        if self._kalman is not None:
            self._kalman.update(poses, timestamp_s=timestamp_s)
        for track_id in [i for i, t in self._tracks.items() if timestamp_s - t.seen_s > self._max_gap_s]:
            self.forget(track_id)
        here = [self._filled(poses[row], int(track_id)) for row, track_id in enumerate(poses.track_ids)]
        hidden = [self._hidden(i, t) for i, t in self._tracks.items() if i not in set(ids)]
        hidden = [(p, o) for p, o in hidden if not _covered(p, poses, self._tracks, int(p.track_ids[0]))]
        both = here + hidden
        self.keypoint_origin = np.concatenate([o for _, o in both]) if both else np.zeros((0, len(poses.skeleton)), np.int8)
        if not hidden and not (self.keypoint_origin != Origin.DETECTED).any():
            return poses
        return Poses.concatenate([p for p, _ in both])

    # --- one person -------------------------------------------------------------------------------
    def _filled(self, person: Poses, track_id: int) -> tuple[Poses, NDArray[np.int8]]:
        origin = np.full((1, len(person.skeleton)), Origin.DETECTED, np.int8)
        if track_id < 0 or person.origin[0] != Origin.DETECTED:
            return person, origin
        values = _values(person)
        track = self._tracks.get(track_id)
        if track is not None and track.last.shape[0] != len(values):
            raise ValidationError(f"the filler holds tracks of {track.last.shape[0]} keypoints, got {len(values)}; reset it first")
        if track is None or track.last.shape != values.shape:
            k, d = values.shape
            nothing = np.full((k, d), np.nan)
            track = _Track(
                History.empty(k, d), nothing, np.full(k, -np.inf), np.zeros(k), np.full(k, np.nan), person, 0.0, 1.0, self._last_s
            )
            self._tracks[track_id] = track
        height = float(body_height_px(person)[0])
        track.height_px = height if not len(track.history.times_s) else track.height_px + 0.1 * (height - track.height_px)
        seen = ~np.isnan(values[:, :2]).any(-1) & (person.keypoint_confidence[0] >= self._min_confidence)
        observed = np.where(seen[:, None], values, np.nan)
        missing = ~seen & (self._last_s - track.last_s <= self._max_gap_s)
        filled = observed
        if missing.any():
            filled = np.where(missing[:, None], self._keypoints(track, track_id, observed, missing), values)
            person = self._write(person, track, filled, missing)
            origin[0, missing] = Origin.PREDICTED
        track.history.add(self._last_s, observed, self._history_s)
        track.last = np.where(seen[:, None], values, track.last)
        track.last_s = np.where(seen, self._last_s, track.last_s)
        track.confidence = np.where(seen, person.keypoint_confidence[0], track.confidence)
        sigma = person.keypoint_sigma_px
        track.sigma = track.sigma if sigma is None else np.where(seen, sigma[0], track.sigma)
        track.row, track.seen_s = person, self._last_s
        track.recall.clear()
        return person, origin

    def _keypoints(self, track: _Track, track_id: int, observed: Array, missing: NDArray[np.bool_]) -> Array:
        """(k, d) prediction of single keypoints, the others being seen."""
        ahead_s = np.where(missing, self._last_s - track.last_s, 0.0)
        base = self._base(track, track_id, ahead_s)
        if self._method != "recall" or not len(track.history.times_s):
            return base
        posture, trust = self._posture(track, observed)
        # What the memory was wrong by when the point was last seen, it is probably wrong by now.
        out = base.copy()
        for point in np.flatnonzero(missing):
            key = f"offset {point} {track.last_s[point]}"
            if key not in track.recall:
                track.recall[key] = self._offset(track, int(point))
            placed = posture[point] + track.recall[key] * fading(float(ahead_s[point]))
            out[point] = recalled(base[point], placed, trust, float(ahead_s[point]))
        return out

    def _posture(self, track: _Track, observed: Array) -> tuple[Array, float]:
        velocity = _now_velocity(track.history, self._last_s, observed)
        return Recall(track.history, observed[:, :2], velocity, track.height_px).posture()

    def _offset(self, track: _Track, point: int) -> Array:
        """(d,) last reading of a keypoint minus what memory would have said of it then."""
        index = int(np.searchsorted(track.history.times_s, track.last_s[point]))
        if index < 3 or index >= len(track.history.times_s):
            return np.zeros(track.last.shape[1])
        before = History(track.history.times_s[: index + 1], track.history.values[: index + 1])
        observed = before.values[-1].copy()
        observed[point] = np.nan
        old = History(before.times_s[:-1], before.values[:-1])
        recent = old.times_s < before.times_s[-1] - 0.4
        old = History(old.times_s[recent], old.values[recent])
        if len(old.times_s) < 3:
            return np.zeros(track.last.shape[1])
        velocity = before.velocity(_VELOCITY_WINDOW_S)[:, :2]
        posture, trust = Recall(old, observed[:, :2], velocity, track.height_px).posture()
        return np.nan_to_num(track.last[point] - posture[point]) if trust else np.zeros(track.last.shape[1])

    def _hidden(self, track_id: int, track: _Track) -> tuple[Poses, NDArray[np.int8]]:
        """A whole person who is not there, as one predicted row."""
        ahead_s = self._last_s - track.seen_s
        per_point = np.where(np.isfinite(track.last_s), self._last_s - track.last_s, 0.0)
        known = self._last_s - track.last_s <= self._max_gap_s
        values = self._base(track, track_id, per_point)
        if self._method == "recall" and len(track.history.times_s) > 3:
            if "whole" not in track.recall:
                velocity = track.history.velocity(_VELOCITY_WINDOW_S)[:, :2]
                track.recall["whole"] = Recall(track.history, track.last[:, :2], velocity, track.height_px)
            moved, trust = track.recall["whole"].displacement(ahead_s)
            values = recalled(values, track.last + moved, trust, ahead_s)
        values = np.where(known[:, None], values, np.nan)
        person = self._write(track.row, track, values, np.ones(len(values), bool))
        box = _moved_box(track.row.boxes_xyxy[0], track.last[known, :2], values[known, :2])
        fade = np.float32(0.5 ** (ahead_s / self._half_life_s))
        person = person.replace(boxes_xyxy=box[None], scores=track.row.scores * fade, origin=np.array([Origin.PREDICTED], np.int8))
        return person, np.full((1, len(values)), Origin.PREDICTED, np.int8)

    def _base(self, track: _Track, track_id: int, ahead_s: Array) -> Array:
        """(k, d) prediction of every keypoint without memory."""
        if self._method == "hold":
            return track.last.copy()
        velocity = track.history.velocity(_VELOCITY_WINDOW_S)
        if self._kalman is not None and (state := self._kalman.state(track_id)) is not None:
            velocity[:, :2] = state[0][:, 1]
        return damped(track.last, velocity, ahead_s[:, None], self._decay_s)

    def _write(self, person: Poses, track: _Track, values: Array, which: NDArray[np.bool_]) -> Poses:
        """The person with some keypoints replaced by predictions."""
        gap_s = np.where(np.isfinite(track.last_s), self._last_s - track.last_s, 0.0)
        unknown = np.isnan(values[:, :2]).any(-1)
        fade = track.confidence * 0.5 ** (gap_s / self._half_life_s)
        confidence = np.where(which, np.where(unknown, 0.0, fade), person.keypoint_confidence[0])
        changes: dict[str, Any] = {
            "keypoints_xy": np.where(which[:, None], values[:, :2], person.keypoints_xy[0])[None],
            "keypoint_confidence": confidence[None],
        }
        if person.keypoint_sigma_px is not None:
            grown = np.hypot(np.nan_to_num(track.sigma), _SIGMA_SIZES_PER_S * track.height_px * gap_s)
            changes["keypoint_sigma_px"] = np.where(which, grown, person.keypoint_sigma_px[0])[None]
        if person.world_xyz_m is not None:
            changes["world_xyz_m"] = np.where(which[:, None], values[:, 2:], person.world_xyz_m[0])[None]
        return person.replace(**changes)


def _values(person: Poses) -> Array:
    """(k, 2 or 5) px and, where there are any, metres of one person."""
    parts = [person.keypoints_xy[0]] + ([] if person.world_xyz_m is None else [person.world_xyz_m[0]])
    return np.concatenate(parts, axis=-1).astype(np.float64)


def _now_velocity(history: History, now_s: float, observed: Array) -> Array:
    """(k, 2) px/s between the last frame and now; NaN where either is missing."""
    if not len(history.times_s):
        return np.full((len(observed), 2), np.nan)
    back = int(np.searchsorted(history.times_s, now_s - _VELOCITY_WINDOW_S / 2))
    back = min(back, len(history.times_s) - 1)
    return (observed[:, :2] - history.values[back][:, :2]) / (now_s - history.times_s[back])


def _moved_box(box: NDArray[np.float32], before: Array, after: Array) -> Array:
    """The box with each edge moved as the hull of the keypoints moved."""
    seen = ~np.isnan(after).any(-1) & ~np.isnan(before).any(-1)
    if not seen.any():
        return box.astype(np.float64)
    low = after[seen].min(0) - before[seen].min(0)
    high = after[seen].max(0) - before[seen].max(0)
    moved = box + np.concatenate([low, high])
    return np.concatenate([np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])])


def _covered(person: Poses, poses: Poses, tracks: dict[int, _Track], track_id: int) -> bool:
    """Whether somebody new stands where a hidden person is believed to be."""
    # Whom we knew while this person was still seen may well walk in front of them; a new id in the same place is the same person.
    gone_s = tracks[track_id].seen_s
    new = [i for i, t in enumerate(poses.track_ids.tolist()) if t not in tracks or tracks[t].born_s > gone_s]
    if not new:
        return False
    a, b = person.boxes_xyxy[0], poses.boxes_xyxy[new]
    size = np.clip(np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2]), 0, None)
    common = size[:, 0] * size[:, 1]
    union = person.areas_px[0] + poses.areas_px[new] - common
    return bool((common > _GHOST_IOU * union).any())

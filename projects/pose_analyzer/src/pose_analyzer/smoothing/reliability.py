"""How far each keypoint of each person can be relied on, from how it was seen in the last seconds."""

from __future__ import annotations

import numpy as np

from pose_analyzer.smoothing.tracks import Array, TrackMemory, body_height_px, require_finite_at_least, require_positive
from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

_UNSTEADY_SIZES = 0.02  # deviation from an even movement, body heights, at which a point counts half


class KeypointReliability:
    """History of every keypoint's reliability, fading with time.

    Reliability 0..1 is the product of three running means: the share of time that the keypoint was seen, its confidence while
    it was seen, and its steadiness, 1 / (1 + (d / 0.02)²) with d the distance, in body heights, of a reading from where the two before
    it point. A mean counts what happened `memory_s` ago for 37 %.

    Args:
        memory_s: Time in which the past fades to 37 %, seconds.
        min_confidence: Readings below count as not seen.
        max_gap_s: A track unseen for longer is forgotten, seconds.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.zeros((1, 17, 2))
        >>> xy[0, 9] = np.nan
        >>> person = Poses(boxes_xyxy=[[0, 0, 50, 100]], scores=[1], keypoints_xy=xy, skeleton=COCO_17,
        ...                keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0, 1), track_ids=[1])
        >>> history = KeypointReliability()
        >>> for i in range(30):
        ...     history.update(person, timestamp_s=i / 30)
        >>> "left_wrist" in history.stable_keypoints(1), "nose" in history.stable_keypoints(1)
        (False, True)
    """

    def __init__(self, *, memory_s: float = 1.0, min_confidence: float = 0.3, max_gap_s: float = 2.0) -> None:
        require_positive(memory_s=memory_s)
        require_finite_at_least(0, min_confidence=min_confidence)
        self._memory_s, self._min_confidence = memory_s, min_confidence
        numbers = dict.fromkeys(("time", "seen", "confidence", "steady_time", "steady"), ((), 0.0))
        past = {"past": ((2, 2), np.nan), "past_s": ((2,), np.nan), "last_s": ((), np.nan)}
        self._memory = TrackMemory(max_gap_s, {**numbers, **past})
        self._skeleton: Skeleton | None = None

    def update(self, poses: Poses, *, timestamp_s: float) -> None:
        """Take one frame into account; people without a track are left out.

        Raises:
            ValidationError: `timestamp_s` is not finite, ids repeat, or the skeleton changed.
        """
        taken = self._memory.begin(poses, timestamp_s)
        if taken is None:
            return
        rows, slots = taken
        if not len(rows):
            return
        self._skeleton = poses.skeleton
        m, now = self._memory, self._memory.last_s
        dt = now - m["last_s"][slots]
        dt = np.where(np.isnan(dt), 1 / 30, dt)  # a first frame stands for as long as frames usually do
        keep = np.exp(-dt / self._memory_s)
        confidence = poses.keypoint_confidence[rows].astype(np.float64)
        seen = poses.visible[rows] & (confidence >= self._min_confidence)
        xy = poses.keypoints_xy[rows].astype(np.float64)
        steady = _steadiness(xy, m["past"][slots], m["past_s"][slots], now, body_height_px(poses, rows)[:, None])
        judged = seen & np.isfinite(steady)
        added = {
            "time": np.ones_like(dt),
            "seen": seen.astype(float),
            "confidence": seen * confidence,
            "steady_time": judged.astype(float),
            "steady": np.where(judged, steady, 0.0),
        }
        for name, value in added.items():
            m[name][slots] = keep * m[name][slots] + dt * value
        m["last_s"][slots] = now
        m["past"][slots] = np.where(seen[..., None, None], np.stack([m["past"][slots][..., 1, :], xy], axis=-2), m["past"][slots])
        times = np.stack([m["past_s"][slots][..., 1], np.full(seen.shape, now)], axis=-1)
        m["past_s"][slots] = np.where(seen[..., None], times, m["past_s"][slots])

    def score(self, track_id: int) -> Array | None:
        """(k,) reliability 0..1 of a track's keypoints; None for an unknown track."""
        slot = self._memory.slot_of.get(track_id)
        if slot is None:
            return None
        m = self._memory
        seen, time = m["seen"][slot], m["time"][slot]
        share = seen / np.maximum(time, 1e-12)
        confidence = m["confidence"][slot] / np.maximum(seen, 1e-12)
        judged = m["steady_time"][slot]
        steady = np.where(judged > 0, m["steady"][slot] / np.maximum(judged, 1e-12), 1.0)
        return np.clip(share * confidence * steady, 0.0, 1.0)

    def observed_s(self, track_id: int) -> Array | None:
        """(k,) faded time for which each keypoint was seen, seconds, at most `memory_s`; None for an unknown track."""
        slot = self._memory.slot_of.get(track_id)
        return None if slot is None else self._memory["seen"][slot].copy()

    def stable_keypoints(self, track_id: int, *, min_score: float = 0.6, min_observed_s: float = 0.2) -> tuple[str, ...]:
        """Names of the keypoints that can be relied on now, in the skeleton's order; none for an unknown track.

        Args:
            track_id: Whose.
            min_score: Least reliability 0..1.
            min_observed_s: Least (faded) time for which it was seen, seconds.
        """
        score, observed = self.score(track_id), self.observed_s(track_id)
        if score is None or observed is None or self._skeleton is None:
            return ()
        return tuple(n for n, s, o in zip(self._skeleton.keypoints, score, observed, strict=True) if s >= min_score and o >= min_observed_s)

    def forget(self, track_id: int) -> None:
        """Drop the history of one track; unknown ids are ignored."""
        self._memory.forget(track_id)

    def reset(self) -> None:
        """Drop everything, as at the start of a stream."""
        self._memory.reset()


def _steadiness(xy: Array, past: Array, past_s: Array, now: float, height: Array) -> Array:
    """(m, k) 1 where a reading continues the two before it, less the further it is off; NaN without two before it."""
    step_s = past_s[..., 1] - past_s[..., 0]
    velocity = (past[..., 1, :] - past[..., 0, :]) / step_s[..., None]
    expected = past[..., 1, :] + velocity * (now - past_s[..., 1])[..., None]
    off = np.sqrt(((xy - expected) ** 2).sum(-1)) / height
    return 1 / (1 + (off / _UNSTEADY_SIZES) ** 2)

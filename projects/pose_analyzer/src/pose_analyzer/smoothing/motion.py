"""How people move: velocity and acceleration of every keypoint, and what they say of the body as a whole.

Everything is in body heights, so that near and far people, and every resolution, compare. Causal: the values at a frame
come from that frame and the ones before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import Array, TrackMemory, body_height_px, require_finite_at_least, require_positive
from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

_READINGS = 16
_PARTS = {
    "arms": ("elbow", "wrist"),
    "legs": ("knee", "ankle"),
    "trunk": ("shoulder", "hip"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Movement of n tracked people at one time. NaN = no reading.

    Args:
        timestamp_s: Media clock.
        track_ids: (n,).
        velocity: (n, k, 2) body heights per second, in the picture.
        acceleration: (n, k, 2) body heights per second squared; needs a longer look than the velocity.
        mean_speed, max_speed: (n,) over elbows, wrists, shoulders, hips, knees and ankles, body heights per second.
        arms, legs, trunk: (n,) mean speed of elbows and wrists; knees and ankles; shoulders and hips.
        variance: (n,) variance of the mean speed over the last `variance_window_s`, (body heights per second)².
        rapid: (n,) whether the fastest joint exceeds the set speed.
    """

    timestamp_s: float
    track_ids: NDArray[np.int64]
    velocity: Array
    acceleration: Array
    mean_speed: Array
    max_speed: Array
    arms: Array
    legs: Array
    trunk: Array
    variance: Array
    rapid: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.track_ids)


class MotionAnalyzer:
    """Velocity, acceleration and body-scaled features of every track, on true time steps.

    The velocity is the slope of a line, the acceleration the curvature of a parabola, through each keypoint's readings within
    `window_s` and three times that. Missing readings are left out; a keypoint without enough of them has no
    reading. Body height is the longer side of the person's box, averaged over about a second, so that a squat does not
    change the unit. Put it behind the filter.

    Args:
        window_s: Readings that old make the velocity, seconds. Default 0.1: four frames at 30/s; two readings are needed, so
            below 10 frames/s it widens to hold them.
        variance_window_s: Time over which the variance of speed is taken, seconds.
        rapid_speed: Body heights per second above which the fastest joint makes the movement rapid. Default 2.0: a brisk
            punch or kick; a squat stays below 1.
        max_gap_s: A track unseen for longer is forgotten, seconds.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> def person(x):
        ...     return Poses(boxes_xyxy=[[0, 0, 50, 100]], scores=[1], keypoints_xy=np.full((1, 17, 2), x),
        ...                  keypoint_confidence=np.ones((1, 17)), track_ids=[1], skeleton=COCO_17)
        >>> analyzer = MotionAnalyzer()
        >>> for i in range(5):
        ...     motion = analyzer.update(person(10.0 * i), timestamp_s=i / 10)
        >>> motion.velocity[0, 0].round(6).tolist(), bool(motion.rapid[0])
        ([1.0, 1.0], False)
    """

    def __init__(self, *, window_s: float = 0.1, variance_window_s: float = 1.0, rapid_speed: float = 2.0, max_gap_s: float = 0.5) -> None:
        require_positive(window_s=window_s, variance_window_s=variance_window_s, rapid_speed=rapid_speed)
        require_finite_at_least(window_s, variance_window_s=variance_window_s)
        self._window_s, self._variance_window_s, self._rapid_speed = window_s, variance_window_s, rapid_speed
        self._memory = TrackMemory(
            max_gap_s,
            {"past": ((_READINGS, 2), np.nan), "past_s": ((_READINGS,), np.nan), "height": ((), np.nan), "height_s": ((), np.nan)},
        )
        self._speeds: dict[int, list[tuple[float, float]]] = {}

    def update(self, poses: Poses, *, timestamp_s: float) -> Motion:
        """Movement of the tracked people of one frame, in their order.

        A frame that repeats the time of the last one or steps back a little gives the values as of the last one.

        Raises:
            ValidationError: `timestamp_s` is not finite, ids repeat, or the skeleton changed.
        """
        taken = self._memory.begin(poses, timestamp_s)
        rows = np.flatnonzero(poses.track_ids >= 0)
        ids = poses.track_ids[rows]
        known = [int(i) for i in ids if int(i) in self._memory.slot_of]
        slots = np.array([self._memory.slot_of[i] for i in known], np.intp)
        if taken is None:
            rows, ids = rows[[int(i) in self._memory.slot_of for i in ids]], np.array(known, np.int64)
        elif len(rows):
            self._remember(poses, rows, slots)
        if not len(rows):
            return self._features(np.zeros((0, len(poses.skeleton), 2)), np.zeros((0, len(poses.skeleton), 2)), ids, poses.skeleton)
        velocity, acceleration = self._derivatives(slots)
        return self._features(velocity, acceleration, ids, poses.skeleton)

    def forget(self, track_id: int) -> None:
        """Drop the state of one track; unknown ids are ignored."""
        self._memory.forget(track_id)
        self._speeds.pop(track_id, None)

    def reset(self) -> None:
        """Drop everything, as at the start of a stream."""
        self._memory.reset()
        self._speeds.clear()

    def _remember(self, poses: Poses, rows: NDArray[np.intp], slots: NDArray[np.intp]) -> None:
        m, now = self._memory, self._memory.last_s
        xy = poses.keypoints_xy[rows].astype(np.float64)
        seen = ~np.isnan(xy).any(-1)
        past = np.concatenate([m["past"][slots][..., 1:, :], xy[..., None, :]], axis=-2)
        past_s = np.concatenate([m["past_s"][slots][..., 1:], np.full((*seen.shape, 1), now)], axis=-1)
        # At high rates 16 readings would cover too little time: keep every reading that the longest window needs by skipping some.
        crowded = past_s[..., -1] - past_s[..., -3] < 3 * self._window_s / (_READINGS - 2)
        thin = seen & crowded & ~np.isnan(past_s[..., -3])
        replaced = np.concatenate([m["past"][slots][..., :-1, :], xy[..., None, :]], axis=-2)
        replaced_s = np.concatenate([m["past_s"][slots][..., :-1], np.full((*seen.shape, 1), now)], axis=-1)
        past, past_s = np.where(thin[..., None, None], replaced, past), np.where(thin[..., None], replaced_s, past_s)
        m["past"][slots] = np.where(seen[..., None, None], past, m["past"][slots])
        m["past_s"][slots] = np.where(seen[..., None], past_s, m["past_s"][slots])
        height = body_height_px(poses, rows)[:, None]
        dt = np.nan_to_num(now - m["height_s"][slots])
        old = np.where(np.isnan(m["height"][slots]), height, m["height"][slots])
        m["height"][slots] = old + (1 - np.exp(-dt)) * (height - old)
        m["height_s"][slots] = now

    def _derivatives(self, slots: NDArray[np.intp]) -> tuple[Array, Array]:
        m = self._memory
        past, past_s = m["past"][slots], m["past_s"][slots]
        height = m["height"][slots][..., None]
        fresh = (m.last_s - past_s[..., -1] <= 0)[..., None]
        velocity = _polynomial(past, past_s, self._window_s, 1, m.max_gap_s)
        acceleration = _polynomial(past, past_s, 3 * self._window_s, 2, m.max_gap_s)
        return np.where(fresh, velocity / height, np.nan), np.where(fresh, acceleration / height, np.nan)

    def _features(self, velocity: Array, acceleration: Array, ids: NDArray[np.int64], skeleton: Skeleton) -> Motion:
        speed = np.sqrt((velocity**2).sum(-1))
        part = {name: _nanmean(speed[:, _indices(skeleton, name)]) for name in _PARTS}
        joints = np.concatenate([speed[:, _indices(skeleton, name)] for name in _PARTS], axis=1)
        mean, highest = _nanmean(joints), _nanmax(joints)
        return Motion(
            timestamp_s=self._memory.last_s,
            track_ids=ids,
            velocity=velocity,
            acceleration=acceleration,
            mean_speed=mean,
            max_speed=highest,
            variance=self._variance(ids, mean),
            rapid=np.nan_to_num(highest) > self._rapid_speed,
            **part,
        )

    def _variance(self, ids: NDArray[np.int64], mean: Array) -> Array:
        now = self._memory.last_s
        for gone in [i for i in self._speeds if i not in self._memory.slot_of]:
            del self._speeds[gone]
        out = np.full(len(ids), np.nan)
        for row, track_id in enumerate(ids.tolist()):
            past = [(t, v) for t, v in self._speeds.get(track_id, []) if now - self._variance_window_s <= t < now]
            if np.isfinite(mean[row]):
                past.append((now, float(mean[row])))
            self._speeds[track_id] = past
            out[row] = np.var([v for _, v in past]) if len(past) >= 2 else np.nan
        return out


def _polynomial(past: Array, past_s: Array, window_s: float, degree: int, max_gap_s: float) -> Array:
    """(m, k, 2) derivative of that order, at the last reading, of the polynomial of that degree through the last readings.

    At least degree + 1 readings take part, if need be older ones, but none from before a gap.
    """
    age = past_s - past_s[..., -1:]
    recent = age >= -window_s * (1 + 1e-6)
    recent[..., -(degree + 1) :] = True
    # A gap between two readings ends the look back.
    gap = np.diff(past_s, axis=-1) > max_gap_s
    joined = np.concatenate([np.cumsum(gap[..., ::-1], axis=-1)[..., ::-1] == 0, np.ones((*gap.shape[:-1], 1), bool)], axis=-1)
    use = recent & joined & ~np.isnan(past_s)
    t = np.where(use, age, 0.0)
    x = np.where(use[..., None], past - past[..., -1:, :], 0.0)
    # Through the last reading's surroundings, by least squares: normal equations of 2 or 3 unknowns.
    powers = np.stack([use * t**i for i in range(degree + 1)], axis=-1)
    normal = np.einsum("...ri,...rj->...ij", powers, powers)
    right = np.einsum("...ri,...rd->...id", powers, x)
    enough = use.sum(-1) >= degree + 1
    normal = np.where(enough[..., None, None], normal, np.eye(degree + 1))
    # In units of the window the equations are well conditioned.
    unit = window_s ** -np.arange(degree + 1.0)
    solution = np.linalg.solve(normal * unit[:, None] * unit, right * unit[:, None]) * unit[:, None]
    return np.where(enough[..., None], solution[..., degree, :] * degree, np.nan)


@cache
def _indices(skeleton: Skeleton, part: str) -> NDArray[np.intp]:
    names = [f"{side}_{joint}" for joint in _PARTS[part] for side in ("left", "right")]
    return skeleton.indices([n for n in names if n in skeleton])


def _nanmean(values: Array) -> Array:
    known = ~np.isnan(values)
    return np.where(known.any(1), np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _nanmax(values: Array) -> Array:
    known = ~np.isnan(values)
    return np.where(known.any(1), np.where(known, values, -np.inf).max(1, initial=-np.inf), np.nan)

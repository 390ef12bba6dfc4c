"""How a body as a whole lies in the picture, in percent of its trunk's length: columns beside the angles.

`body_sinking_pct` is how far the shoulders have sunk below the highest they have been in the last seconds: it shows a squat when the legs
are out of the picture or behind something. It moves with the camera, too, so it is a stand-in: `CueSignal` hears it only as far as the
angles that an exercise goes by are not seen. `body_fallen_pct` is how far they have come down since the person was first seen; the
difference of two times says how far they fell or rose in between. `shoulder_breadth_pct` and `hip_breadth_pct` are how far the left one is
to the right of the right one in the picture: they tell from which side the body is seen.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.descriptor import PARTS, landmarks_of
from shared_utils.data_models import Angles, Poses

SINKING = "body_sinking_pct"
BREADTHS = ("shoulder_breadth_pct", "hip_breadth_pct")
FALLEN = "body_fallen_pct"
COLUMNS = (SINKING, FALLEN, *BREADTHS)
"""Names of the columns that `Bodies` adds."""

# The body's measure follows a larger one within this time and a smaller one slowly: what points at the camera looks small.
_GROW_S, _SHRINK_S = 0.3, 5.0
# The highest place is forgotten at this rate, trunk lengths per second: people walk, cameras move.
_FORGET_PER_S = 0.03
# Shares of stature: shoulder to hip, breadth of the shoulders, upper arm (Drillis and Contini 1966).
_TRUNK, _BREADTH, _UPPER_ARM = 0.288, 0.230, 0.186
_GONE_S = 2.0
# Nobody falls or jumps faster than this, trunk lengths per second; less than half a trunk is no leap, however short the time.
_LEAP_PER_S, _LEAP = 8.0, 0.5

_SHOULDER, _ELBOW, _HIP = (PARTS.index(name) for name in ("shoulder", "elbow", "hip"))
_NOTHING = (math.nan,) * len(COLUMNS)


class Bodies:
    """Follows the body of everybody in one stream.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> angles = Angles(("left_knee_flexion_deg",), np.zeros(0, np.int64), np.zeros((0, 1)))
        >>> Bodies().add_to(angles, Poses.empty(COCO_17), timestamp_s=0.0).names[1]
        'body_sinking_pct'
    """

    def __init__(self) -> None:
        self._bodies: dict[int, _Body] = {}

    def add_to(self, angles: Angles, poses: Poses, *, timestamp_s: float) -> Angles:
        """The angles with the columns `COLUMNS` more; NaN where the shoulders (for one of them the hips) are not seen.

        Args:
            angles: One row per person, by track.
            poses: The same people, in any order.
            timestamp_s: Media clock, seconds.
        """
        # A hidden shoulder or hip is uncertain, but a breadth has no other end.
        people = zip(poses.track_ids.tolist(), landmarks_of(poses), landmarks_of(poses, min_confidence=0.0), strict=True)
        by_track = {t: self._row(t, sure, every, timestamp_s) for t, sure, every in people}
        columns = np.array([by_track.get(t, _NOTHING) for t in angles.track_ids.tolist()], np.float64).reshape(-1, len(COLUMNS))
        sigma = None if angles.sigma_deg is None else np.column_stack([angles.sigma_deg, np.full_like(columns, np.nan)])
        return replace(angles, names=(*angles.names, *COLUMNS), value_deg=np.column_stack([angles.value_deg, columns]), sigma_deg=sigma)

    def _row(self, track_id: int, sure: NDArray[np.float64], every: NDArray[np.float64], time_s: float) -> tuple[float, ...]:
        body = self._bodies.get(track_id)
        if body is None or not 0.0 <= time_s - body.time_s <= _GONE_S:
            self._bodies = {t: b for t, b in self._bodies.items() if 0.0 <= time_s - b.time_s <= _GONE_S}
            body = self._bodies[track_id] = _Body(time_s)
        return body.update(sure, every, time_s)


class _Body:
    """One person's measure and highest place."""

    __slots__ = ("_fallen", "_height", "_top", "_unit", "time_s")

    def __init__(self, time_s: float) -> None:
        self.time_s = time_s
        self._unit, self._top, self._height, self._fallen = 0.0, math.inf, math.nan, 0.0

    def update(self, sure: NDArray[np.float64], every: NDArray[np.float64], time_s: float) -> tuple[float, ...]:
        # Plain numbers: for a handful of them numpy takes ten times as long.
        shoulders, elbows, hips = sure[_SHOULDER].tolist(), sure[_ELBOW].tolist(), sure[_HIP].tolist()
        chest, pelvis = _middle(*shoulders), _middle(*hips)
        arms = [math.dist(shoulder, elbow) for shoulder, elbow in zip(shoulders, elbows, strict=True)]
        lengths = (math.dist(chest, pelvis), math.dist(*shoulders) * _TRUNK / _BREADTH, *(arm * _TRUNK / _UPPER_ARM for arm in arms))
        seen = [x for x in lengths if math.isfinite(x)]
        height = chest[1]
        if not seen or not math.isfinite(height):
            return _NOTHING
        elapsed_s, self.time_s = time_s - self.time_s, time_s
        self._measure(max(seen), elapsed_s)
        if not self._unit > 0.0:
            return _NOTHING
        share = 100.0 / self._unit
        if abs(height - self._height) > max(_LEAP_PER_S * elapsed_s, _LEAP) * self._unit:
            self._top = math.inf  # the camera has leapt, not the body
        elif math.isfinite(self._height):
            self._fallen += share * (height - self._height)
        self._height = height
        # The picture's y grows downwards: the highest place has the least.
        self._top = min(self._top + _FORGET_PER_S * elapsed_s * self._unit, height)
        breadths = (share * float(every[part, 0, 0] - every[part, 1, 0]) for part in (_SHOULDER, _HIP))
        return share * (height - self._top), self._fallen, *breadths

    def _measure(self, length: float, elapsed_s: float) -> None:
        keep = math.exp(-elapsed_s / (_GROW_S if length > self._unit else _SHRINK_S)) if self._unit else 0.0
        self._unit = keep * self._unit + (1.0 - keep) * length


def _middle(a: list[float], b: list[float]) -> list[float]:
    """Middle of two points, or the one that is there."""
    if not (math.isfinite(a[0]) and math.isfinite(a[1])):
        return b
    if not (math.isfinite(b[0]) and math.isfinite(b[1])):
        return a
    return [0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])]

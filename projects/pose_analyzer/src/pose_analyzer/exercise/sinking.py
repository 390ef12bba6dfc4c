"""How far a body has sunk in the picture, in trunk lengths: what shows a squat when the legs are out of the picture or behind something.

The height of the shoulders, against the highest they have been in the last seconds. It moves with the camera, too, so it is a stand-in:
`CueSignal` hears it only as far as the angles that an exercise goes by are not seen.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.descriptor import PARTS, landmarks_of
from shared_utils.data_models import Angles, Poses

SINKING = "body_sinking_pct"
"""Name of the column that `Sinking` adds: percent of the trunk's length."""

# The body's measure follows a larger one within this time and a smaller one slowly: what points at the camera looks small.
_GROW_S, _SHRINK_S = 0.3, 10.0
# The highest place is forgotten at this rate, trunk lengths per second: people walk, cameras move.
_FORGET_PER_S = 0.03
# Shares of stature: shoulder to hip, breadth of the shoulders, upper arm (Drillis and Contini 1966).
_TRUNK, _BREADTH, _UPPER_ARM = 0.288, 0.230, 0.186
_GONE_S = 2.0


class Sinking:
    """Follows the height of everybody's shoulders in one stream.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> angles = Angles(("left_knee_flexion_deg",), np.zeros(0, np.int64), np.zeros((0, 1)))
        >>> Sinking().add_to(angles, Poses.empty(COCO_17), timestamp_s=0.0).names
        ('left_knee_flexion_deg', 'body_sinking_pct')
    """

    def __init__(self) -> None:
        self._bodies: dict[int, _Body] = {}

    def add_to(self, angles: Angles, poses: Poses, *, timestamp_s: float) -> Angles:
        """The angles with a column more: how far each body has sunk, percent of its trunk; NaN where the shoulders are not seen.

        Args:
            angles: One row per person, by track.
            poses: The same people, in any order.
            timestamp_s: Media clock, seconds.
        """
        by_track = {t: self._sunk(t, marks, timestamp_s) for t, marks in zip(poses.track_ids.tolist(), landmarks_of(poses), strict=True)}
        column = np.array([by_track.get(t, math.nan) for t in angles.track_ids.tolist()]).reshape(-1, 1)
        sigma = None if angles.sigma_deg is None else np.column_stack([angles.sigma_deg, np.full(len(column), np.nan)])
        return replace(angles, names=(*angles.names, SINKING), value_deg=np.column_stack([angles.value_deg, column]), sigma_deg=sigma)

    def _sunk(self, track_id: int, landmarks: NDArray[np.float64], time_s: float) -> float:
        body = self._bodies.get(track_id)
        if body is None or not 0.0 <= time_s - body.time_s <= _GONE_S:
            body = self._bodies[track_id] = _Body(time_s)
        return body.update(landmarks, time_s)


class _Body:
    """One person's measure and highest place."""

    __slots__ = ("_top", "_unit", "time_s")

    def __init__(self, time_s: float) -> None:
        self.time_s = time_s
        self._unit, self._top = 0.0, math.inf

    def update(self, landmarks: NDArray[np.float64], time_s: float) -> float:
        shoulders, elbows, hips = (landmarks[PARTS.index(name)] for name in ("shoulder", "elbow", "hip"))
        breadth = float(np.hypot(*(shoulders[0] - shoulders[1])))
        arm = float(np.fmax.reduce(np.hypot(*(shoulders - elbows).T)))
        trunk = float(np.hypot(*(shoulders.mean(0) - hips.mean(0))))
        seen = [x for x in (trunk, breadth * _TRUNK / _BREADTH, arm * _TRUNK / _UPPER_ARM) if math.isfinite(x)]
        height = float(shoulders[:, 1].mean())
        if not seen or not math.isfinite(height):
            return math.nan
        elapsed_s, self.time_s = time_s - self.time_s, time_s
        unit = max(seen)
        keep = math.exp(-elapsed_s / (_GROW_S if unit > self._unit else _SHRINK_S)) if self._unit else 0.0
        self._unit = keep * self._unit + (1.0 - keep) * unit
        if not self._unit > 0.0:
            return math.nan
        # The picture's y grows downwards: the highest place has the least.
        self._top = min(self._top + _FORGET_PER_S * elapsed_s * self._unit, height)
        return 100.0 * (height - self._top) / self._unit

"""Left and right exchanged by the detector for some frames: found by how well each reading continues the movement, and undone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import Array, TrackMemory, body_height_px, require_finite_at_least, require_positive
from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

_ARMS = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")
_LEGS = ("hip", "knee", "ankle", "heel", "foot_index", "big_toe", "small_toe")


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    left: NDArray[np.intp]
    right: NDArray[np.intp]


class SwapRepair:
    """Undoes exchanges of left and right: of the arms, of the legs, or of the whole body.

    Where each keypoint should be now follows from its last two readings. For arms, legs and the rest of the pairs, the readings
    as they are and with the sides exchanged are compared with that, as a joint likelihood of all points (normal, with a
    standard deviation of `tolerance_sizes` that grows with the time since the last reading). A part is exchanged where that is
    more likely by a factor of exp(`margin`) (once two parts are, the third if it is more likely at all), so that limbs that
    hide each other, where both fit, stay as they are. A detector that keeps to its sides for `max_repair_s` is believed after
    all. Put it before the filter.

    Args:
        tolerance_sizes: Standard deviation of a reading about its prediction, body heights.
        margin: Least log-likelihood ratio for an exchange.
        max_repair_s: Longest time that an exchange is undone, seconds.
        max_gap_s: Readings older than that predict nothing, seconds.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> def person(x):
        ...     return Poses(boxes_xyxy=[[0, 0, 50, 100]], scores=[1], keypoints_xy=x, keypoint_confidence=np.ones((1, 17)),
        ...                  track_ids=[1], skeleton=COCO_17)
        >>> xy = np.arange(34, dtype=float).reshape(1, 17, 2) * 3
        >>> repair = SwapRepair()
        >>> _ = repair.update(person(xy), timestamp_s=0.0)
        >>> mended = repair.update(person(xy[:, COCO_17.flip_indices]), timestamp_s=0.03)
        >>> bool((mended.keypoints_xy == xy).all()), repair.repaired[1]
        (True, ('arms', 'legs', 'head'))
    """

    def __init__(self, *, tolerance_sizes: float = 0.03, margin: float = 6.0, max_repair_s: float = 0.7, max_gap_s: float = 0.3) -> None:
        require_positive(tolerance_sizes=tolerance_sizes, max_repair_s=max_repair_s)
        require_finite_at_least(0, margin=margin)
        self._tolerance, self._margin, self._max_repair_s = tolerance_sizes, margin, max_repair_s
        self._memory = TrackMemory(
            max_gap_s,
            {"xy": ((2,), np.nan), "xy_s": ((), np.nan), "before": ((2,), np.nan), "before_s": ((), np.nan), "since_s": ((), np.nan)},
        )
        self.repaired: dict[int, tuple[str, ...]] = {}
        """Track id -> parts that were exchanged back in the last frame."""

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """The same people, every keypoint with its sigma, confidence, presence and metres on its own side.

        Raises:
            ValidationError: `timestamp_s` is not finite, ids repeat, or the skeleton changed.
        """
        self.repaired = {}
        taken = self._memory.begin(poses, timestamp_s)
        if taken is None:
            return poses
        rows, slots = taken
        if not len(rows):
            return poses
        order = np.tile(np.arange(len(poses.skeleton)), (len(poses), 1))
        height = body_height_px(poses, rows)
        for row, slot, size in zip(rows, slots, height, strict=True):
            order[row] = self._order(poses.keypoints_xy[row].astype(np.float64), slot, size, poses.skeleton, int(poses.track_ids[row]))
        mended = _reordered(poses, order) if self.repaired else poses
        self._remember(mended.keypoints_xy[rows].astype(np.float64), slots)
        return mended

    def forget(self, track_id: int) -> None:
        """Drop the state of one track; unknown ids are ignored."""
        self._memory.forget(track_id)

    def reset(self) -> None:
        """Drop everything, as at the start of a stream."""
        self._memory.reset()
        self.repaired = {}

    def _order(self, xy: Array, slot: int, height: float, skeleton: Skeleton, track_id: int) -> NDArray[np.intp]:
        """(k,) which reading belongs to each keypoint."""
        order = np.arange(len(xy))
        predicted, age_s = self._predicted(slot)
        variance = (self._tolerance * height * (1 + age_s / 0.1)) ** 2
        names = []
        parts = _parts(skeleton)
        gains = [_gain(xy, predicted, variance, part) for part in parts]
        # Where most of a body is exchanged, a part that cannot tell by itself (a head) goes with it if it fits at all better.
        least = self._margin if sum(g > self._margin for g in gains) < 2 else 0.0
        for part, gain in zip(parts, gains, strict=True):
            since_s = self._memory["since_s"][slot, part.left]
            if gain <= least:
                self._memory["since_s"][slot, part.left] = np.nan
                continue
            begun_s = np.fmin.reduce(since_s, initial=self._memory.last_s)
            if self._memory.last_s - begun_s > self._max_repair_s:
                # It insists. What follows is predicted from its own sides again.
                self._memory["since_s"][slot, part.left] = np.nan
                continue
            self._memory["since_s"][slot, part.left] = begun_s
            order[part.left], order[part.right] = part.right, part.left
            names.append(part.name)
        if names:
            self.repaired[track_id] = tuple(names)
        return order

    def _predicted(self, slot: int) -> tuple[Array, Array]:
        m = self._memory
        age_s = m.last_s - m["xy_s"][slot]
        step_s = m["xy_s"][slot] - m["before_s"][slot]
        velocity = (m["xy"][slot] - m["before"][slot]) / step_s[:, None]
        # Half of the last movement: a limb may turn back, and noise of the last reading counts less.
        velocity = np.where((step_s > 0)[:, None] & (step_s <= m.max_gap_s)[:, None], velocity, 0.0)
        predicted = m["xy"][slot] + 0.5 * velocity * age_s[:, None]
        return np.where((age_s <= m.max_gap_s)[:, None], predicted, np.nan), np.nan_to_num(age_s)

    def _remember(self, xy: Array, slots: NDArray[np.intp]) -> None:
        m = self._memory
        seen = ~np.isnan(xy).any(-1)
        for new, old in (("before", "xy"), ("before_s", "xy_s")):
            where = seen[..., None] if new == "before" else seen
            m[new][slots] = np.where(where, m[old][slots], m[new][slots])
        m["xy"][slots] = np.where(seen[..., None], xy, m["xy"][slots])
        m["xy_s"][slots] = np.where(seen, m.last_s, m["xy_s"][slots])


def _gain(xy: Array, predicted: Array, variance: Array, part: _Part) -> float:
    """Log-likelihood ratio of the exchanged against the plain reading of one part, over the points that both can be judged by."""

    def misfit(reading: NDArray[np.intp], keypoint: NDArray[np.intp]) -> Array:
        # Cut: a point that fits neither way must not drown the others.
        return np.minimum(((xy[reading] - predicted[keypoint]) ** 2).sum(-1) / (2 * variance[keypoint]), 12.0)

    plain = misfit(part.left, part.left) + misfit(part.right, part.right)
    turned = misfit(part.right, part.left) + misfit(part.left, part.right)
    return float(np.nansum(plain - turned))


def _reordered(poses: Poses, order: NDArray[np.intp]) -> Poses:
    changes = {}
    for name in ("keypoints_xy", "keypoint_confidence", "keypoint_sigma_px", "keypoint_presence", "world_xyz_m"):
        values = getattr(poses, name)
        if values is not None:
            changes[name] = np.take_along_axis(values, order.reshape(*order.shape, *[1] * (values.ndim - 2)), axis=1)
    return poses.replace(**changes)


@cache
def _parts(skeleton: Skeleton) -> tuple[_Part, ...]:
    groups: dict[str, list[tuple[str, str]]] = {"arms": [], "legs": [], "head": []}
    for left, right in skeleton.pairs:
        part = left.removeprefix("left_")
        groups["arms" if part in _ARMS else "legs" if part in _LEGS else "head"].append((left, right))
    return tuple(
        _Part(name, skeleton.indices([a for a, _ in pairs]), skeleton.indices([b for _, b in pairs]))
        for name, pairs in groups.items()
        if pairs
    )

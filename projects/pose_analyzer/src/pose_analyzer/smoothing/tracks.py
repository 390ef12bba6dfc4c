"""Memory of many tracks in arrays: which row of the arrays belongs to which track, and the rules of time.

Every filter of this room keeps one number or vector per track and keypoint. `TrackMemory` holds these in arrays that
grow with the number of people, so that a filter step is a handful of array operations for everybody at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

Array = NDArray[np.float64]
Slots = NDArray[np.intp]
Space = Literal["px", "m"]

NOMINAL_HEIGHT_M = 1.7
"""World landmarks are in metres of a person whose height the detector does not know."""


Fields = Mapping[str, tuple[tuple[int, ...], float]]
"""Name -> (shape after slot and keypoint, value of a new slot)."""


def space_fields(of: Callable[[int], Fields]) -> dict[str, tuple[tuple[int, ...], float]]:
    """The same fields for pixels and for metres, as "px_name" and "m_name"; `of` gives them for 2 and 3 coordinates."""
    return {f"{space}_{name}": field for space, d in (("px", 2), ("m", 3)) for name, field in of(d).items()}


class TrackMemory:
    """Arrays (slot, keypoint, ...) with one slot per track.

    Time: a frame that repeats the time of the last one or steps back by up to `max_gap_s` is not taken (`begin` returns
    None); a larger step back is a new clock, and everything starts afresh. A track unseen for longer than `max_gap_s` is
    forgotten.

    Args:
        max_gap_s: Longest absence that a track survives, seconds, > 0.
        fields: Name -> (shape after slot and keypoint, value of a new slot).

    Raises:
        ValidationError: `max_gap_s` is not above 0.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> memory = TrackMemory(0.5, {"value": ((2,), 0.0)})
        >>> rows, slots = memory.begin(Poses.empty(COCO_17), 0.0)
        >>> len(rows), len(memory)
        (0, 0)
    """

    def __init__(self, max_gap_s: float, fields: Fields) -> None:
        require_positive(max_gap_s=max_gap_s)
        self.max_gap_s = max_gap_s
        self._fields = dict(fields)
        self.reset()

    def reset(self) -> None:
        """Forget everybody and the clock."""
        self.last_s = -math.inf
        self.slot_of: dict[int, int] = {}
        self.seen_s: dict[int, float] = {}
        self._free: list[int] = []
        self._keypoints = 0
        self._arrays: dict[str, Array] = {}

    def forget(self, track_id: int) -> None:
        """Drop one track; unknown ids are ignored."""
        slot = self.slot_of.pop(track_id, None)
        if slot is not None:
            self.seen_s.pop(track_id)
            self._free.append(slot)

    def __len__(self) -> int:
        return len(self.slot_of)

    def __getitem__(self, name: str) -> Array:
        """One array; write to it in place."""
        return self._arrays[name]

    def begin(self, poses: Poses, timestamp_s: float) -> tuple[NDArray[np.intp], Slots] | None:
        """Take one frame: the rows of people with a track, and the slot of each.

        Returns:
            ((m,), (m,)), or None where the clock did not advance and the frame must pass untouched.

        Raises:
            ValidationError: The time is not finite, ids repeat, or the skeleton changed.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        if timestamp_s < self.last_s - self.max_gap_s:
            self.reset()
        if timestamp_s <= self.last_s:
            return None
        self.last_s = float(timestamp_s)
        for track_id in [i for i, seen_s in self.seen_s.items() if self.last_s - seen_s > self.max_gap_s]:
            self.forget(track_id)
        rows = np.flatnonzero(poses.track_ids >= 0)
        return rows, self._slots(poses.track_ids[rows].tolist(), len(poses.skeleton))

    def _slots(self, track_ids: list[int], keypoints: int) -> Slots:
        if not track_ids:
            return np.zeros(0, np.intp)
        if self.slot_of and self._keypoints != keypoints:
            raise ValidationError(f"the filter holds tracks of {self._keypoints} keypoints, got {keypoints}; reset it first")
        if len(set(track_ids)) != len(track_ids):
            raise ValidationError(f"track ids must differ within a frame, got {track_ids}")
        new = [i for i in track_ids if i not in self.slot_of]
        if len(new) > len(self._free) or self._keypoints != keypoints:
            self._grow(len(self.slot_of) + len(new), keypoints)
        for track_id in new:
            slot = self._free.pop()
            self.slot_of[track_id] = slot
            for name, (_, fill) in self._fields.items():
                self._arrays[name][slot] = fill
        self.seen_s.update(dict.fromkeys(track_ids, self.last_s))
        return np.array([self.slot_of[i] for i in track_ids], np.intp)

    def _grow(self, needed: int, keypoints: int) -> None:
        size = max(8, 1 << (needed - 1).bit_length())
        used = list(self.slot_of.values())
        for name, (shape, fill) in self._fields.items():
            grown = np.full((size, keypoints, *shape), fill)
            if used:
                grown[used] = self._arrays[name][used]
            self._arrays[name] = grown
        self._keypoints = keypoints
        self._free = sorted(set(range(size)) - set(used), reverse=True)


Step = Callable[[Array, Space, Array], Array]
"""Positions (m, k, d), "px" or "m", and the bodies' heights (m, 1) in that unit -> filtered positions (m, k, d)."""


class MemoryFilter(ABC):
    """A `PoseFilter` over a `TrackMemory`: what such filters share, around the one step in which they differ."""

    _memory: TrackMemory
    _between_readings: ClassVar[bool] = False
    """Whether every result lies between what was read and what was given before, so that it needs no validation."""

    @abstractmethod
    def _moved(self, poses: Poses, rows: NDArray[np.intp], slots: Slots) -> dict[str, NDArray[np.float32]]:
        """`keypoints_xy` and `world_xyz_m` of everybody, filtered for the (m,) rows, which are remembered in (m,) slots."""

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """The same people with `keypoints_xy` and `world_xyz_m` filtered.

        Args:
            poses: n people; the skeleton stays the same for the life of the filter (else `reset` it).
            timestamp_s: Media clock of the frame in seconds.

        Raises:
            ValidationError: `timestamp_s` is not finite, ids repeat, or the skeleton changed.
        """
        taken = self._memory.begin(poses, timestamp_s)
        if taken is None or not len(taken[0]):
            return poses
        rows, slots = taken
        moved = self._moved(poses, rows, slots)
        return with_positions(poses, moved) if self._between_readings else poses.replace(**moved)

    def forget(self, track_id: int) -> None:
        """Drop the state of one track; unknown ids are ignored."""
        self._memory.forget(track_id)

    def reset(self) -> None:
        """Drop everything, as at the start of a stream."""
        self._memory.reset()


def with_positions(poses: Poses, positions: Mapping[str, NDArray[np.float32]]) -> Poses:
    """`poses` with other `keypoints_xy` and `world_xyz_m`, not validated again.

    For filters whose result lies between readings: what was finite stays so, what was missing stays missing, and everything else
    is what was validated before.
    """
    moved = object.__new__(Poses)
    moved.__dict__.update(poses.__dict__)
    moved.__dict__.update(positions)
    return moved


def body_height_px(poses: Poses, rows: NDArray[np.intp] | slice | None = None) -> Array:
    """(m,) longer side of each person's box in px, at least 1: about one body height, standing or lying."""
    boxes = (poses.boxes_xyxy if rows is None else poses.boxes_xyxy[rows]).astype(np.float64)
    return np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0), 1.0)


def filter_spaces(poses: Poses, rows: NDArray[np.intp], step: Step) -> dict[str, NDArray[np.float32]]:
    """Run one filter step on pixels and, where there are any, on metric landmarks.

    Args:
        poses: n people.
        rows: (m,) those to filter, in order.
        step: Of the filter.

    Returns:
        `keypoints_xy` and, where there are any, `world_xyz_m` of all n people.
    """
    moved = {"keypoints_xy": _filtered(poses.keypoints_xy, rows, step, "px", body_height_px(poses, rows)[:, None])}
    if poses.world_xyz_m is not None:
        moved["world_xyz_m"] = _filtered(poses.world_xyz_m, rows, step, "m", np.full((len(rows), 1), NOMINAL_HEIGHT_M))
    return moved


def _filtered(values: NDArray[np.float32], rows: NDArray[np.intp], step: Step, space: Space, height: Array) -> NDArray[np.float32]:
    if len(rows) == len(values):
        return step(values.astype(np.float64), space, height).astype(np.float32)
    out = values.copy()
    out[rows] = step(values[rows].astype(np.float64), space, height)
    return out


def keypoint_sigma(poses: Poses, rows: NDArray[np.intp], height: Array, noise_sizes: float) -> Array:
    """(m, k) standard deviation of each coordinate in the unit of `height` (m, 1).

    The detector's own sigma where it gives one; else `noise_sizes` body heights, up to four times that for points of low
    confidence (1 / confidence, cut at 4).
    """
    confidence = poses.keypoint_confidence[rows].astype(np.float64)
    sigma = noise_sizes * height / np.maximum(confidence, 0.25)
    if poses.keypoint_sigma_px is not None:
        given = poses.keypoint_sigma_px[rows] * (height / body_height_px(poses, rows)[:, None])
        sigma = np.where(np.isfinite(given) & (given > 0), given, sigma)
    return sigma


def require_positive(**values: float) -> None:
    """Refuse numbers that are not above 0.

    Raises:
        ValidationError: The first such, by name.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValidationError(f"{name} must be greater than 0, got {value}")


def require_finite_at_least(low: float, **values: float) -> None:
    """Refuse numbers that are not finite or below `low`.

    Raises:
        ValidationError: The first such, by name.
    """
    for name, value in values.items():
        if not (value >= low and math.isfinite(value)):
            raise ValidationError(f"{name} must be a finite number of at least {low:g}, got {value}")

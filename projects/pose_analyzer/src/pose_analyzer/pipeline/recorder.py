"""Collects measurements row by row and turns them into a `Series`.

Every angle `<name>_deg` has a column `<name>_sigma_deg` beside it, its standard deviation (float32), NaN where it was not
estimated; so the columns of a result do not depend on what could be seen. What nobody waits for in a live picture, errors
and angles of the lifted landmarks (`<name>_lifted_deg`), is measured here, many rows at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics import MEASURED_NAMES, measure_angles
from pose_analyzer.reporting.columns import sigma_name
from shared_utils.data_models import Angles, Frame, Poses, Series
from shared_utils.skeletons import Skeleton

_ROWS_AT_ONCE = 256
_JOINTS = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation", "ankle_dorsiflexion")
LIFTED_NAMES = (*(f"{side}_{joint}_lifted_deg" for joint in _JOINTS for side in ("left", "right")), "trunk_lean_lifted_deg")
"""Angles of lifted landmarks that a series has, the best estimate of a joint's angle from an oblique camera."""
_SPACE_NAMES = tuple(name for name in MEASURED_NAMES if name.endswith("_3d_deg"))
_SPACE_AT, _LIFTED_AT = ([MEASURED_NAMES.index(name) for name in names] for names in (_SPACE_NAMES, LIFTED_NAMES))


class SeriesRecorder:
    """One row per tracked person and frame.

    Args:
        keypoints: Also keep pixel and world coordinates of every keypoint (about 0.9 kB a row).
        errors: Also measure the errors of angles, and the lifted angles.
        min_confidence: Of keypoints, 0..1.
    """

    def __init__(self, *, keypoints: bool = True, errors: bool = True, min_confidence: float = 0.5) -> None:
        self._keypoints, self._errors, self._min_confidence = keypoints, errors, min_confidence
        self._waiting: list[Poses] = []
        self._measured: list[tuple[NDArray[np.float64], NDArray[np.float32]]] = []
        self._skeleton: Skeleton | None = None
        self._angle_names: tuple[str, ...] = ()
        self._fixed: list[tuple[int, float, int, float, int]] = []
        self._boxes: list[NDArray[np.float32]] = []
        self._angles: list[NDArray[np.float64]] = []
        self._sigmas: list[NDArray[np.float64] | None] = []
        self._xy: list[NDArray[np.float32]] = []
        self._confidence: list[NDArray[np.float32]] = []
        self._world: list[NDArray[np.float32]] = []
        self._counts: list[tuple[int, str, float]] = []

    def __len__(self) -> int:
        return len(self._fixed)

    def add(self, frame: Frame, poses: Poses, angles: Angles, counts: list[tuple[int, str, float]]) -> None:
        """Append the people of one frame.

        Args:
            frame: Their frame.
            poses: n tracked people.
            angles: Their angles, same rows.
            counts: n tuples of completed repetitions, phase, counting signal in degrees.
        """
        self._skeleton, self._angle_names = poses.skeleton, angles.names
        for row in range(len(poses)):
            self._fixed.append(
                (frame.index, frame.timestamp_s, int(poses.track_ids[row]), float(poses.scores[row]), int(poses.origin[row]))
            )
            self._boxes.append(poses.boxes_xyxy[row])
            self._angles.append(angles.value_deg[row])
            self._sigmas.append(None if angles.sigma_deg is None else angles.sigma_deg[row])
            if self._keypoints:
                self._xy.append(poses.keypoints_xy[row])
                self._confidence.append(poses.keypoint_confidence[row])
                if poses.world_xyz_m is not None:
                    self._world.append(poses.world_xyz_m[row])
        self._counts.extend(counts)
        if self._errors and len(poses):
            self._waiting.append(poses)
            if len(self._waiting) >= _ROWS_AT_ONCE:
                self._measure_waiting()

    def _measure_waiting(self) -> None:
        if not self._waiting:
            return
        angles = measure_angles(Poses.concatenate(self._waiting), timestamp_s=0.0, min_confidence=self._min_confidence)
        self._waiting.clear()
        assert angles.sigma_deg is not None  # noqa: S101 - for the type checker: measure_angles always gives it
        self._measured.append((angles.value_deg[:, _LIFTED_AT], angles.sigma_deg.astype(np.float32)))

    def _error_columns(self, value_deg: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Errors of the angles, those that came with them first, and the lifted angles with theirs."""
        self._measure_waiting()
        names = self._angle_names
        unknown = np.full(len(names), np.nan)
        sigma = np.stack([unknown if row is None else row for row in self._sigmas]).astype(np.float32)
        if not self._measured:
            return _spread(sigma, [sigma_name(name) for name in names])
        lifted, measured = (np.concatenate(parts) for parts in zip(*self._measured, strict=True))
        # An angle that is told only where its plane is seen has the error of the plain one.
        plain = [name.replace("_in_plane", "") for name in names]
        at = [i for i, name in enumerate(plain) if name in MEASURED_NAMES]
        found = measured[:, [MEASURED_NAMES.index(plain[i]) for i in at]]
        sigma[:, at] = np.where(np.isnan(sigma[:, at]) & ~np.isnan(value_deg[:, at]), found, sigma[:, at])
        columns = _spread(sigma, [sigma_name(name) for name in names]) | _spread(lifted, LIFTED_NAMES)
        return columns | _spread(measured[:, _LIFTED_AT], [sigma_name(name) for name in LIFTED_NAMES])

    def series(self) -> Series:
        """Everything recorded so far."""
        if not self._fixed or self._skeleton is None:
            return Series({})
        columns: dict[str, NDArray[Any]] = {}
        for name, values, dtype in zip(
            ("frame_index", "timestamp_s", "track_id", "score", "origin"),
            zip(*self._fixed, strict=True),
            (np.int64, np.float64, np.int64, np.float32, np.int8),
            strict=True,
        ):
            columns[name] = np.array(values, dtype)
        counts, phases, signal = zip(*self._counts, strict=True)
        columns |= {
            "repetitions": np.array(counts, np.int32),
            "phase": np.array(phases, object),
            "signal_deg": np.array(signal, np.float64),
        }
        value_deg = np.stack(self._angles)
        columns |= _spread(value_deg, self._angle_names) | self._error_columns(value_deg)
        columns |= _spread(np.stack(self._boxes), ("box_x1_px", "box_y1_px", "box_x2_px", "box_y2_px"))
        if self._keypoints:
            names = self._skeleton.keypoints
            xy, confidence = np.stack(self._xy), np.stack(self._confidence)
            columns |= _spread(xy[..., 0], [f"{n}_x_px" for n in names]) | _spread(xy[..., 1], [f"{n}_y_px" for n in names])
            columns |= _spread(confidence, [f"{n}_confidence" for n in names])
            if len(self._world) == len(self._fixed):
                world = np.stack(self._world)
                for axis, letter in enumerate("xyz"):
                    columns |= _spread(world[..., axis], [f"{n}_world_{letter}_m" for n in names])
        return Series(columns)


def _spread(values: NDArray[Any], names: tuple[str, ...] | list[str]) -> dict[str, NDArray[Any]]:
    """Columns of a (rows, len(names)) array by name."""
    return {name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(names)}

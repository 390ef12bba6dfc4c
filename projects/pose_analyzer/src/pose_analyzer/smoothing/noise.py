"""What a detector's errors are like: a small table per keypoint, measured once, from which errors can be drawn again.

An error has two parts: one of the posture (the detector's idea of where a hip is, the same whenever the body is the same), and
a fast one that is new in every frame and grows with speed. Rare leaps are in neither. The sweep of filter settings draws from
the table instead of running the detector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pose_analyzer.smoothing.steady import third_difference
from pose_analyzer.smoothing.tracks import Array
from shared_utils.errors import ValidationError
from shared_utils.skeletons import Skeleton, get_skeleton

BLAZEPOSE_TABLE = Path(__file__).with_name("noise_blazepose.json")
"""Measured by `pose-analyzer smooth-sweep --measure`."""

_SLOW, _FAST = 0.05, 0.5  # body heights per second: at rest below, moving above
_POSTURE_LENGTH = 0.4  # body heights over which the posture's part of an error comes round
_CHI2_MEDIAN = 1.3863  # of the sum of two squared standard normal numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseTable:
    """Errors of a detector, in body heights, per keypoint of a skeleton.

    Args:
        detector: Whose.
        skeleton: Name of the skeleton.
        frames: How many frames it was measured on.
        rest_sizes: k standard deviations per coordinate of the fast part at rest.
        motion_sizes_s: k increases of that per speed of one body height per second.
        posture_sizes: k standard deviations per coordinate of the posture's part.
    """

    detector: str
    skeleton: str
    frames: int
    rest_sizes: tuple[float, ...]
    motion_sizes_s: tuple[float, ...]
    posture_sizes: tuple[float, ...]

    def __post_init__(self) -> None:
        k = len(self.keypoints)
        for name in ("rest_sizes", "motion_sizes_s", "posture_sizes"):
            values = tuple(float(v) for v in getattr(self, name))
            if len(values) != k or not all(v >= 0 and np.isfinite(v) for v in values):
                raise ValidationError(f"NoiseTable.{name} must be {k} finite numbers of at least 0")
            object.__setattr__(self, name, values)

    @property
    def keypoints(self) -> Skeleton:
        """The skeleton."""
        return get_skeleton(self.skeleton)

    def draw(self, truth_px: Array, times_s: Array, height_px: float, seed: int) -> Array:
        """(t, k, 2) what the detector might have seen of the true path (t, k, 2); the same seed gives the same."""
        random = np.random.default_rng((seed, 47))
        speed = _speed(truth_px, times_s) / height_px
        fast = np.array(self.rest_sizes) + np.array(self.motion_sizes_s) * speed
        out = truth_px + height_px * fast[..., None] * random.normal(size=truth_px.shape)
        # A smooth function of where the point is relative to the body's middle, with a wave of its own for every coordinate.
        place = (truth_px - truth_px.mean(1, keepdims=True)) / height_px
        turn, phase = random.uniform(0, 2 * np.pi, (2, *truth_px.shape[1:]))
        along = place[..., :1] * np.cos(turn) + place[..., 1:] * np.sin(turn)
        wave = np.sin(2 * np.pi * along / _POSTURE_LENGTH + phase)
        out += height_px * np.sqrt(2) * np.array(self.posture_sizes)[:, None] * wave
        return out

    def save(self, path: Path) -> None:
        """As JSON, rounded to what was measured."""
        data = {k: [round(v, 6) for v in value] if isinstance(value, tuple) else value for k, value in asdict(self).items()}
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load_noise(path: Path = BLAZEPOSE_TABLE) -> NoiseTable:
    """The table in a file.

    Raises:
        ValidationError: The file is missing or is not such a table.

    Example:
        >>> load_noise().detector
        'blazepose'
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return NoiseTable(**data)
    except FileNotFoundError:
        raise ValidationError(f"there is no noise table at {path}; `pose-analyzer smooth-sweep --measure` makes one") from None
    except (TypeError, json.JSONDecodeError) as error:
        raise ValidationError(f"{path.name} is not a noise table: {error}; make it again with `smooth-sweep --measure`") from error


def measure_noise(clips: Sequence[tuple[Array, Array, Array, float]], *, detector: str, skeleton: Skeleton) -> NoiseTable:
    """The table of a detector from what it saw of paths that are known.

    Args:
        clips: For each clip: times (t,), truth (t, k, 2) px, what the detector saw (t, k, 2) px with NaN where the point was
            hidden or not found, and the body's height in px.
        detector: Its name.
        skeleton: Of both.

    Raises:
        ValidationError: No clip shows a moment of rest.
    """
    squares, speeds, spread, frames = [], [], [], 0
    for times_s, truth, seen, height in clips:
        frames += len(times_s)
        error = (seen - truth) / height
        windows = np.stack([error[i : len(error) - 3 + i] for i in range(4)], axis=2)
        clock = np.stack([times_s[i : len(times_s) - 3 + i] for i in range(4)], axis=-1)
        squares.append(third_difference(windows, np.broadcast_to(clock[:, None], windows.shape[:3]).copy()) ** 2)
        speeds.append((_speed(truth, times_s) / height)[1:-2])
        spread.append(_median((error - _median(error)) ** 2).mean(-1))
    square, speed = np.concatenate(squares), np.concatenate(speeds)
    # Medians: leaps of hidden points are not noise.
    rest = np.sqrt(_median(np.where(speed < _SLOW, square, np.nan)) / _CHI2_MEDIAN)
    if np.isnan(rest).all():
        raise ValidationError("no clip shows a keypoint at rest; add one of somebody who stands")
    rest = np.where(np.isnan(rest), np.nanmedian(rest), rest)
    moving = np.sqrt(_median(np.where(speed > _FAST, square, np.nan)) / _CHI2_MEDIAN)
    slope = np.nan_to_num(np.maximum((moving - rest) / _median(np.where(speed > _FAST, speed, np.nan)), 0.0))
    # The median of a squared normal number is 0.455 of its variance.
    posture = np.sqrt(np.maximum(_median(np.stack(spread)) / 0.455 - rest**2, 0.0))
    return NoiseTable(
        detector=detector,
        skeleton=skeleton.name,
        frames=frames,
        rest_sizes=tuple(rest.tolist()),
        motion_sizes_s=tuple(slope.tolist()),
        posture_sizes=tuple(np.nan_to_num(posture).tolist()),
    )


def _speed(path: Array, times_s: Array) -> Array:
    if len(times_s) < 2:
        return np.zeros(path.shape[:2])
    return np.sqrt((np.gradient(path, times_s, axis=0) ** 2).sum(-1))


def _median(values: Array) -> Array:
    """NaN-aware along axis 0; NaN where nothing is known, without a warning."""
    known = ~np.isnan(values).all(0)
    out = np.full(values.shape[1:], np.nan)
    out[known] = np.nanmedian(values[:, known], axis=0)
    return out

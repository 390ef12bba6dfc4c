"""What the last seconds of one person looked like, in numbers that know neither size nor side nor frame rate.

A window of landmarks (shoulders, elbows, wrists, hips, knees, ankles, ears) is resampled to `RATE_HZ`, measured in units of the body
as it is seen in that window, and described by how low, how usual and how high each quantity was, by how far each part travelled in the
picture, and by what went together: a press and a pull-up share their elbows, but in one the hands travel and in the other the body.
Image plane only; left and right are the less and the more bent of two.
"""

from __future__ import annotations

import math
from collections import deque
from functools import cache

import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

Array = NDArray[np.float64]

PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "ear")
SIDES = ("left", "right")
RATE_HZ = 10.0
WINDOW_S = 5.0
STEP_S = 0.25
# A window is described once it covers this much.
LEAST_S = 1.5
_LEAST_SAMPLES = 8
# A sample is the nearest frame within this time of it.
_NEAR_S = 0.15
# A longer pause in the readings ends a window: what follows may be something else.
_GAP_S = 1.0

_ANGLES = ("knee", "hip", "elbow", "shoulder", "thigh_lean", "shank_lean", "upper_arm_lean", "forearm_lean")
_PAIRED = tuple(f"{which}_{name}" for name in _ANGLES for which in ("least", "most"))
_SINGLE = (
    "trunk_lean",
    *(f"{name}_height" for name in ("ear", "elbow", "wrist", "hip", "knee", "ankle")),
    *(f"{name}_aside" for name in ("wrist", "hip", "knee", "ankle")),
    *(f"{name}_spread" for name in ("shoulder", "wrist", "knee", "ankle")),
    *(f"{name}_step" for name in ("wrist", "knee", "ankle")),
)
_SERIES = (*_PAIRED, *_SINGLE)
_TRAVELS = tuple(f"{part}_{way}" for part in ("ear", "shoulder", "wrist", "hip", "ankle") for way in ("rise", "shift"))
_TOGETHER = (
    ("most_elbow", "wrist_up"),
    ("most_elbow", "shoulder_up"),
    ("most_knee", "hip_up"),
    ("most_knee", "most_hip"),
    ("most_hip", "shoulder_up"),
    ("most_shoulder", "wrist_up"),
    ("most_shoulder", "ankle_spread"),
    ("most_elbow", "most_knee"),
    ("most_shoulder", "most_elbow"),
    ("left_elbow", "right_elbow"),
    ("left_knee", "right_knee"),
    ("left_shoulder", "right_shoulder"),
)
_QUANTILES = (0.05, 0.5, 0.95)

QUANTITIES: tuple[str, ...] = (
    *(f"{name}@{q:g}" for q in _QUANTILES for name in _SERIES),
    *_TRAVELS,
    *(f"{a}~{b}" for a, b in _TOGETHER),
    "seen_s",
)
"""Columns of a description: degrees, body units (trunk lengths), correlations, seconds."""

# Variance that noise alone may have: 4 degrees, a twentieth of a trunk.
_NOISE = {"up": 0.05**2, "spread": 0.05**2}
_NOISE_DEG = 16.0
_LEAST_PX = 3.0
# Share of the unit that a segment must show to have a direction.
_LEAST_SHARE = 0.15


def landmarks_of(poses: Poses, *, min_confidence: float = 0.5) -> Array:
    """(n, 7, 2, 2) px of `PARTS`, left and right, of everybody in one frame; NaN = not seen.

    Args:
        poses: n people of any skeleton that has the parts.
        min_confidence: Least confidence of a keypoint, 0..1.
    """
    xy = np.where((poses.keypoint_confidence >= min_confidence)[..., None], poses.keypoints_xy, np.nan)
    return xy[:, _indices(poses.skeleton)].astype(np.float64)


class Window:
    """The last seconds of one person.

    Example:
        >>> window = Window()
        >>> [window.add(i / 10, np.zeros((7, 2, 2))) for i in range(20)].index(True) / 10
        1.5
    """

    def __init__(self) -> None:
        self._rows: deque[tuple[float, Array]] = deque()
        self._told_s = -math.inf

    def add(self, time_s: float, landmarks: Array) -> bool:
        """Take in a frame; whether it is time to describe the window."""
        if self._rows and time_s - self._rows[-1][0] > _GAP_S:
            self._rows.clear()
        self._rows.append((time_s, landmarks))
        while self._rows[0][0] < time_s - WINDOW_S:
            self._rows.popleft()
        if time_s - self._rows[0][0] < LEAST_S - 1e-9 or len(self._rows) < _LEAST_SAMPLES or time_s < self._told_s + STEP_S - 1e-9:
            return False
        self._told_s = time_s
        return True

    def resampled(self) -> Array:
        """(t, 7, 2, 2) at `RATE_HZ`, from the window's beginning to its end."""
        times = np.array([t for t, _ in self._rows])
        grid = times[0] + np.arange(math.floor((times[-1] - times[0]) * RATE_HZ + 1e-6) + 1) / RATE_HZ
        after = np.clip(np.searchsorted(times, grid), 1, len(times) - 1)
        nearest = np.where(grid - times[after - 1] <= times[after] - grid, after - 1, after)
        rows = np.stack([self._rows[i][1] for i in nearest])
        rows[np.abs(times[nearest] - grid) > _NEAR_S] = np.nan
        return rows


def describe(landmarks: Array) -> Array:
    """(d,) `QUANTITIES` of a window; NaN where something was seen in less than half of it, all NaN where no body was.

    Args:
        landmarks: (t, 7, 2, 2) px at `RATE_HZ`.
    """
    at: dict[str, Array] = dict(zip(PARTS, np.moveaxis(landmarks, 1, 0), strict=True))  # name -> (t, 2 sides, 2)
    middle = {name: _middle(pair) for name, pair in at.items()}
    unit = _unit(at, middle)
    if not unit > _LEAST_PX:
        return np.full(len(QUANTITIES), np.nan)
    angles = _angles(at, middle, unit)
    series = {f"{which}_{name}": reduce(angles[name], axis=1) for name in _ANGLES for which, reduce in _REDUCTIONS}
    series |= _places(at, middle, unit)
    series["trunk_lean"] = _between(middle["shoulder"] - middle["hip"], _UP, unit)
    quantiles = _quantiles(np.stack([series[name] for name in _SERIES], axis=1), _QUANTILES)
    up = {name: -middle[name][:, 1] / unit for name in ("ear", "shoulder", "wrist", "hip", "ankle")}
    aside = {name: middle[name][:, 0] / unit for name in up}
    moved = _quantiles(np.stack([s[name] for name in up for s in (up, aside)], axis=1), (0.05, 0.95))
    series |= {f"{name}_up": values for name, values in up.items()}
    for name in ("elbow", "knee", "shoulder"):
        series |= {f"{side}_{name}": angles[name][:, i] for i, side in enumerate(SIDES)}
    together = np.array([_together(series[a], series[b], _noise(a), _noise(b)) for a, b in _TOGETHER])
    return np.concatenate([quantiles.ravel(), moved[1] - moved[0], together, [(len(landmarks) - 1) / RATE_HZ]])


_UP = np.array([0.0, -1.0])
_REDUCTIONS = (("least", np.fmin.reduce), ("most", np.fmax.reduce))


def _unit(at: dict[str, Array], middle: dict[str, Array]) -> float:
    """Trunk length in px as the window shows it best: from whichever of trunk, shoulders, upper arms and thighs looks longest.

    Lengths in shares of stature: shoulder to hip 0.288, breadth of the shoulders 0.230, upper arm 0.186, thigh 0.245 (Drillis and
    Contini 1966). What points at the camera looks short, nothing looks too long.
    """
    lengths = np.stack(
        [
            _length(middle["shoulder"] - middle["hip"]),
            _length(at["shoulder"][:, 0] - at["shoulder"][:, 1]) * (0.288 / 0.230),
            np.fmax.reduce(_length(at["shoulder"] - at["elbow"]), axis=1) * (0.288 / 0.186) * 0.95,
            np.fmax.reduce(_length(at["hip"] - at["knee"]), axis=1) * (0.288 / 0.245) * 0.95,
        ],
        axis=1,
    )
    best = _quantiles(lengths, (0.8,), least=0.2)[0]
    return float(np.fmax.reduce(best))


def _angles(at: dict[str, Array], middle: dict[str, Array], unit: float) -> dict[str, Array]:
    """Name -> (t, 2) degrees, left and right."""
    shoulder, elbow, wrist, hip, knee, ankle = (at[name] for name in PARTS[:6])
    # A hip that is hidden is about where the other one is.
    hips = np.where(np.isfinite(hip), hip, middle["hip"][:, None])
    return {
        "knee": _between(knee - hips, ankle - knee, unit),
        "hip": _between(hips - shoulder, knee - hips, unit),
        "elbow": _between(elbow - shoulder, wrist - elbow, unit),
        "shoulder": _between(elbow - shoulder, hips - shoulder, unit),
        "thigh_lean": _between(hips - knee, _UP, unit),
        "shank_lean": _between(knee - ankle, _UP, unit),
        "upper_arm_lean": _between(shoulder - elbow, _UP, unit),
        "forearm_lean": _between(elbow - wrist, _UP, unit),
    }


def _places(at: dict[str, Array], middle: dict[str, Array], unit: float) -> dict[str, Array]:
    """Name -> (t,) in units: how high above and how far beside the shoulders parts are, and how far apart left and right."""
    shoulder = middle["shoulder"]
    out = {f"{name}_height": (shoulder - middle[name])[:, 1] / unit for name in ("ear", "elbow", "wrist", "hip", "knee", "ankle")}
    out |= {f"{name}_aside": np.abs(middle[name] - shoulder)[:, 0] / unit for name in ("wrist", "hip", "knee", "ankle")}
    apart = {name: np.abs(at[name][:, 0] - at[name][:, 1]) / unit for name in ("shoulder", "wrist", "knee", "ankle")}
    out |= {f"{name}_spread": apart[name][:, 0] for name in apart}
    return out | {f"{name}_step": apart[name][:, 1] for name in ("wrist", "knee", "ankle")}


def _quantiles(values: Array, shares: tuple[float, ...], *, least: float = 0.5) -> Array:
    """(len(shares), c) of (t, c), nearest rank over what is finite; NaN where that is less than a share `least`."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(0)
    rank = np.rint(np.outer(shares, np.maximum(count - 1, 0))).astype(np.intp)
    out = np.take_along_axis(ordered, rank, axis=0)
    out[:, count < least * len(values)] = np.nan
    return out


def _together(a: Array, b: Array, noise_a: float, noise_b: float) -> float:
    """Correlation of what rises above its noise; NaN where less than half is seen of both."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < max(0.5 * len(a), 3):
        return math.nan
    x, y = a[both] - a[both].mean(), b[both] - b[both].mean()
    n = len(x)
    return float(x @ y) / n / math.sqrt((float(x @ x) / n + noise_a) * (float(y @ y) / n + noise_b))


def _noise(name: str) -> float:
    return _NOISE.get(name.rsplit("_", 1)[-1], _NOISE_DEG)


def _between(u: Array, v: Array, unit: float) -> Array:
    """Unsigned degrees between vectors; NaN where one is too short to have a direction."""
    short = (_length(u) < _LEAST_SHARE * unit) | (v.ndim == u.ndim and _length(v) < _LEAST_SHARE * unit)
    angle = np.degrees(np.arctan2(np.abs(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]), (u * v).sum(-1)))
    return np.where(short, np.nan, angle)


def _middle(pair: Array) -> Array:
    """(t, 2) middle of (t, 2 sides, 2), or the one that is there."""
    left, right = pair[:, 0], pair[:, 1]
    middle = (left + right) / 2.0
    return np.where(np.isfinite(middle), middle, np.where(np.isfinite(left), left, right))


def _length(vector: Array) -> Array:
    return np.hypot(vector[..., 0], vector[..., 1])


@cache
def _indices(skeleton: Skeleton) -> NDArray[np.intp]:
    """(parts, 2)."""
    return np.stack([skeleton.indices([f"{side}_{part}" for side in SIDES]) for part in PARTS])

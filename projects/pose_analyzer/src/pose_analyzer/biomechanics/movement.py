"""What a movement was like: range, symmetry, tempo, depth, path and stability, as functions over series.

Series are arrays over frames with their media clock in seconds; a missing reading is NaN. Nothing here interpolates or smooths:
give it smoothed series where noise matters. Times between frames are true, so any frame rate and a variable one will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pose_analyzer.biomechanics.geometry import Array
from shared_utils.errors import ValidationError


class Range(NamedTuple):
    """Least and greatest angle, and what lies between them, degrees; NaN without readings."""

    least_deg: float
    greatest_deg: float

    @property
    def span_deg(self) -> float:
        """Range of motion."""
        return self.greatest_deg - self.least_deg


def range_of_motion(angle_deg: ArrayLike, *, trim: float = 0.01) -> Range:
    """Range of motion of a joint.

    Args:
        angle_deg: (f,) degrees; unwrap angles that pass 180 first (`geometry.unwrap_deg`).
        trim: Share of readings to leave out at each end, 0..0.2: single frames gone wrong are no movement.

    Example:
        >>> range_of_motion([10.0, 90.0, np.nan, 40.0]).span_deg
        78.4
    """
    if not 0 <= trim <= 0.2:
        raise ValidationError(f"trim must lie in 0..0.2, got {trim}")
    values = np.asarray(angle_deg, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Range(np.nan, np.nan)
    low, high = np.quantile(values, [trim, 1 - trim])
    return Range(float(low), float(high))


class Symmetry(NamedTuple):
    """Left against right.

    Args:
        difference_deg: Median of left minus right, frame by frame.
        range_difference_deg: Left's range of motion minus right's.
        imbalance: (left - right) / mean of both ranges; 0 = alike, 2 = only one side moves. NaN when neither does.
        lag_s: By how much the left side comes after the right, NaN for alternating or still sides.
    """

    difference_deg: float
    range_difference_deg: float
    imbalance: float
    lag_s: float


def symmetry(left_deg: ArrayLike, right_deg: ArrayLike, timestamps_s: ArrayLike, *, max_lag_s: float = 0.5) -> Symmetry:
    """Compare the two sides of a joint over the same frames.

    The imbalance is the symmetry index of R. O. Robinson and colleagues (1987), of the ranges of motion, as a share.

    Args:
        left_deg: (f,) degrees.
        right_deg: (f,) degrees.
        timestamps_s: (f,) rising.
        max_lag_s: Largest delay to look for.

    Example:
        >>> t = np.linspace(0, 4, 121)
        >>> found = symmetry(50 - 50 * np.cos(3 * (t - 0.1)), 50 - 40 * np.cos(3 * t), t)
        >>> round(found.lag_s, 2), round(found.imbalance, 1)
        (0.1, 0.2)
    """
    left, right = np.asarray(left_deg, np.float64), np.asarray(right_deg, np.float64)
    time = _clock(timestamps_s, len(left))
    if left.shape != right.shape:
        raise ValidationError(f"left and right must be equally long, got {left.shape} and {right.shape}")
    spans = range_of_motion(left).span_deg, range_of_motion(right).span_deg
    both = np.isfinite(left) & np.isfinite(right)
    if not both.any():
        return Symmetry(np.nan, np.nan, np.nan, np.nan)
    mean = (spans[0] + spans[1]) / 2
    return Symmetry(
        difference_deg=float(np.median((left - right)[both])),
        range_difference_deg=spans[0] - spans[1],
        imbalance=(spans[0] - spans[1]) / mean if mean > 1e-9 else np.nan,
        lag_s=_lag_s(left[both], right[both], time[both], max_lag_s),
    )


def _lag_s(left: Array, right: Array, time: Array, max_lag_s: float) -> float:
    if len(time) < 8 or min(np.ptp(left), np.ptp(right)) < 5.0 or time[-1] - time[0] <= 2 * max_lag_s:
        return float("nan")
    lags = np.arange(-round(max_lag_s * 100), round(max_lag_s * 100) + 1) / 100.0
    inner = (time >= time[0] + max_lag_s) & (time <= time[-1] - max_lag_s)
    if inner.sum() < 4:
        return float("nan")
    fits = []
    for lag in lags:
        pair = np.stack([np.interp(time[inner] + lag, time, left), right[inner]])
        spread = pair.std(1)
        fits.append(float(((pair - pair.mean(1, keepdims=True)).prod(0)).mean() / spread.prod()) if spread.min() > 1e-9 else -1.0)
    best = int(np.argmax(fits))
    return float(lags[best]) if fits[best] > 0.5 and 0 < best < len(lags) - 1 else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tempo:
    """Seconds of one repetition's parts, as coaches write them: lowering - pause - lifting - pause.

    Args:
        eccentric_s: From leaving the top to reaching the bottom.
        bottom_pause_s: At the bottom.
        concentric_s: From leaving the bottom to reaching the top.
        top_pause_s: At the top within the given time, before and after.
    """

    eccentric_s: float
    bottom_pause_s: float
    concentric_s: float
    top_pause_s: float

    @property
    def notation(self) -> str:
        """As coaches write it, in tenths of a second."""
        return "-".join(f"{v:.1f}" for v in (self.eccentric_s, self.bottom_pause_s, self.concentric_s, self.top_pause_s))


def tempo(
    signal: ArrayLike,
    timestamps_s: ArrayLike,
    *,
    bottom_is_high: bool = True,
    edge: float = 0.1,
    profile: Literal["smooth", "linear"] = "smooth",
) -> Tempo:
    """Tempo of one repetition.

    Where a movement begins and ends softly, its first and last moments cannot be told from a pause. The times at which the
    signal passes `edge` of its range and the same share before its other end are measured, interpolated between frames, and
    extended to the whole movement by the form that movements have: "smooth" is that of least jerk (T. Flash and N. Hogan, *The
    coordination of arm movements*, J. Neuroscience 5, 1985), "linear" a constant speed.

    Args:
        signal: (f,) of one repetition from rest to rest, for example knee flexion of a squat. Any unit.
        timestamps_s: (f,) rising.
        bottom_is_high: Whether the bottom is where the signal is greatest (flexion of knees in a squat) or least.
        edge: Share of the range at which times are taken, 0.01..0.4.
        profile: Form of the movement between its ends.

    Raises:
        ValidationError: There are fewer than 4 readings, the signal does not move, or it does not leave rest and return.

    Example:
        >>> t = np.linspace(0, 5, 501)
        >>> knee = np.interp(t, [0, 0.5, 2.5, 3.0, 4.0, 5], [0, 0, 100, 100, 0, 0])
        >>> tempo(knee, t, profile="linear").notation
        '2.0-0.5-1.0-1.5'
    """
    if not 0.01 <= edge <= 0.4:
        raise ValidationError(f"edge must lie in 0.01..0.4, got {edge}")
    x = np.asarray(signal, np.float64)
    time = _clock(timestamps_s, len(x))
    there = np.isfinite(x)
    x, time = x[there], time[there]
    if len(x) < 4 or np.ptp(x) < 1e-9:
        raise ValidationError(
            f"a tempo needs a repetition that moves, got {len(x)} readings over a range of {np.ptp(x) if len(x) else 0:g}"
        )
    x = (x - x.min()) / np.ptp(x)
    x = x if bottom_is_high else 1.0 - x
    turn = int(x.argmax())
    down = [_crossing(x, time, level, turn, backwards=True) for level in (edge, 1 - edge)]
    up = [_crossing(x, time, level, turn, backwards=False) for level in (1 - edge, edge)]
    share = np.linspace(0.0, 1.0, 2001)
    passed = share if profile == "linear" else share**3 * (10 - 15 * share + 6 * share**2)
    before = float(np.interp(edge, passed, share))  # share of the movement's time until it has passed `edge` of its way
    (left_top, at_bottom), (left_bottom, at_top) = (
        (t0 - before * (t1 - t0) / (1 - 2 * before), t1 + before * (t1 - t0) / (1 - 2 * before)) for t0, t1 in (down, up)
    )
    # Ends of movements that meet: no pause, and no time before the repetition's own.
    left_top, at_top = max(left_top, float(time[0])), min(at_top, float(time[-1]))
    if at_bottom > left_bottom:
        at_bottom = left_bottom = (at_bottom + left_bottom) / 2
    return Tempo(
        eccentric_s=at_bottom - left_top,
        bottom_pause_s=left_bottom - at_bottom,
        concentric_s=at_top - left_bottom,
        top_pause_s=float(left_top - time[0] + time[-1] - at_top),
    )


def _crossing(x: Array, time: Array, level: float, turn: int, *, backwards: bool) -> float:
    """When the signal last was (backwards) or next is at a level, seen from the turn."""
    away = range(turn, 0, -1) if backwards else range(turn, len(x) - 1)
    for i in away:
        j = i - 1 if backwards else i + 1
        if x[j] <= level:
            share = (x[i] - level) / (x[i] - x[j]) if x[i] > x[j] else 0.0
            return float(time[i] + share * (time[j] - time[i]))
    way = "begin" if backwards else "end"
    raise ValidationError(f"the repetition does not {way} at rest: its signal stays above {100 * level:.0f} % of the range")


@dataclass(frozen=True, kw_only=True, slots=True)
class PathShape:
    """The way of a bar, a wrist or any point in the picture.

    Args:
        rise: Height between its lowest and highest place.
        drift: Width across: greatest horizontal distance between any two of its places.
        length: Along the way.
        straightness: Distance of its ends up and down over its length, 1 = straight; of the one-way legs between lowest and highest.
    """

    rise: float
    drift: float
    length: float
    straightness: float


def bar_path(left_wrist: ArrayLike, right_wrist: ArrayLike) -> Array:
    """(f, 2) the bar's middle: between both wrists, or at the one that is seen.

    Args:
        left_wrist: (f, 2) px or m, NaN = missing.
        right_wrist: (f, 2).
    """
    both = np.stack([np.asarray(left_wrist, np.float64), np.asarray(right_wrist, np.float64)])
    there = np.isfinite(both).all(-1, keepdims=True)
    count = there.sum(0)
    return np.where(count > 0, np.where(there, both, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def path_shape(xy: ArrayLike, *, scale: float = 1.0) -> PathShape:
    """Measures of a point's way.

    Args:
        xy: (f, 2) px, y down; NaN = missing.
        scale: Metres per px (`ground.metres_per_px`), for results in metres; 1 gives px.

    Example:
        >>> path_shape([(0, 100), (0, 50), (10, 0)]).rise
        100.0
    """
    points = np.asarray(xy, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValidationError(f"a path has shape (f, 2), got {points.shape}")
    points = points[np.isfinite(points).all(1)] * scale
    if len(points) < 2:
        return PathShape(rise=np.nan, drift=np.nan, length=np.nan, straightness=np.nan)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    low, high = sorted((int(points[:, 1].argmax()), int(points[:, 1].argmin())))
    leg = float(steps[low:high].sum())
    direct = float(np.linalg.norm(points[high] - points[low]))
    return PathShape(
        rise=float(np.ptp(points[:, 1])),
        drift=float(np.ptp(points[:, 0])),
        length=float(steps.sum()),
        straightness=direct / leg if leg > 0 else np.nan,
    )


def squat_depth(hip_y: ArrayLike, knee_y: ArrayLike, *, scale: float = 1.0) -> float:
    """How far the hip goes below the knee at the lowest moment; negative = it stays above, 0 = thigh level.

    Args:
        hip_y: (f,) px, down is positive.
        knee_y: (f,) px.
        scale: Metres per px; 1 gives px.

    Example:
        >>> squat_depth([300.0, 420.0], [400.0, 410.0])
        10.0
    """
    below = np.asarray(hip_y, np.float64) - np.asarray(knee_y, np.float64)
    return float(np.nanmax(below)) * scale if np.isfinite(below).any() else float("nan")


class Stability(NamedTuple):
    """How still a point stands.

    Args:
        sway: Root mean square distance from its mean place, in units of the body's scale.
        speed: Mean speed, body scales per second.
        area: Of the ellipse that holds 95 % of its places, body scales squared (prediction ellipse, Schubert and Kirchner 2014).
    """

    sway: float
    speed: float
    area: float


def stability(xy: ArrayLike, timestamps_s: ArrayLike, *, body_scale: float = 1.0) -> Stability:
    """Sway of a point that should stand still: hips in a hold, ankles in a squat, head in a plank.

    Args:
        xy: (f, 2); NaN = missing. No speed is taken across a gap.
        timestamps_s: (f,) rising.
        body_scale: What to measure in, for example the trunk's length in px.

    Example:
        >>> stability([(0, 0), (0, 0), (0, 0)], [0.0, 0.1, 0.2]).sway
        0.0
    """
    if not body_scale > 0:
        raise ValidationError(f"body_scale must be positive, got {body_scale}")
    points = np.asarray(xy, np.float64) / body_scale
    time = _clock(timestamps_s, len(points))
    there = np.isfinite(points).all(1)
    if there.sum() < 3:
        return Stability(np.nan, np.nan, np.nan)
    known = points[there]
    n = len(known)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    paired = there[1:] & there[:-1]
    moved_s = float(np.diff(time)[paired].sum())
    variance = np.maximum(np.linalg.eigvalsh(np.cov(known.T)), 0.0)
    # 95 % point of Hotelling's T² for one further place: 2 (n - 1)(n + 1) / (n (n - 2)) * F(2, n - 2), F in closed form.
    f_95 = (n - 2) / 2 * (0.05 ** (-2 / (n - 2)) - 1)
    area = np.pi * np.sqrt(variance.prod()) * 2 * (n - 1) * (n + 1) / (n * (n - 2)) * f_95
    sway = float(np.sqrt(((known - known.mean(0)) ** 2).sum(1).mean()))
    return Stability(sway, float(steps[paired].sum()) / moved_s if moved_s > 0 else np.nan, float(area))


def _clock(timestamps_s: ArrayLike, frames: int) -> Array:
    time = np.asarray(timestamps_s, np.float64)
    if time.shape != (frames,):
        raise ValidationError(f"timestamps_s must have shape ({frames},), got {time.shape}")
    if not np.isfinite(time).all() or (np.diff(time) <= 0).any():
        raise ValidationError("timestamps_s must be finite and rise from frame to frame")
    return time

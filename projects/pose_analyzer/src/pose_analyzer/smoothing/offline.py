"""Smoothing of a whole recording, which may look ahead: no lag at all. Never used live.

`smooth_offline` takes the poses of every frame and gives them back steady, gaps filled. The filters under it work on arrays
(t, ...) with true, possibly uneven timestamps and NaN for what is missing.

Sources: Winter, "Biomechanics and Motor Control of Human Movement" (2009), section 3.4.4.2 (cutoff of a two-pass Butterworth);
Savitzky and Golay (1964), here as a weighted local polynomial fit, which needs no even steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose_analyzer.smoothing.offline_gaps import fill_gaps
from pose_analyzer.smoothing.recording import recording_of, written_back
from pose_analyzer.smoothing.tracks import Array, require_finite_at_least, require_positive
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

_Run = Callable[[Array, int, int], Array]
OfflineMethod = Literal["butterworth", "savgol", "none"]

_EVEN = 1e-3  # steps that differ by less than this share are even


def smooth_offline(
    poses_by_frame: Sequence[Poses],
    timestamps_s: ArrayLike,
    *,
    method: OfflineMethod = "butterworth",
    cutoff_hz: float = 6.0,
    order: int = 4,
    window_s: float = 0.25,
    degree: int = 3,
    max_gap_s: float = 0.5,
) -> list[Poses]:
    """Steady poses of a whole recording, per track.

    Gaps of keypoints and of whole people up to `max_gap_s` are filled by a spline first; what is filled is marked: a person added
    where nobody was detected has origin `INTERPOLATED`, a keypoint added has a confidence that is lowest in the middle of the
    gap. Nothing is added before a track's first or after its last frame. People without a track pass untouched.

    Args:
        poses_by_frame: One `Poses` per frame, of one skeleton.
        timestamps_s: (t,) media clock, increasing.
        method: "butterworth" (zero phase), "savgol" (local polynomial) or "none" (gaps only).
        cutoff_hz: Of the Butterworth filter after both passes. Default 6 Hz, usual for human movement. Where the recording
            is too slow for it (below 2.2 times the cutoff), the cutoff is lowered to what it can hold.
        order: Of a single pass of the Butterworth filter.
        window_s: Full width of the Savitzky-Golay window, seconds.
        degree: Of its polynomial.
        max_gap_s: Longest gap that is filled, seconds; 0 fills none.

    Returns:
        One `Poses` per frame; the rows of the input in their order, then interpolated people.

    Raises:
        ValidationError: Counts differ, times do not increase, skeletons differ, ids repeat, or an option is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> smooth_offline([Poses.empty(COCO_17)] * 3, [0.0, 0.1, 0.2])[2].skeleton.name
        'coco_17'
    """
    if method not in ("butterworth", "savgol", "none"):
        raise ValidationError(f"method must be 'butterworth', 'savgol' or 'none', got {method!r}")
    require_finite_at_least(0, max_gap_s=max_gap_s)
    recording = recording_of(poses_by_frame, timestamps_s)
    if not recording.track_ids:
        return list(poses_by_frame)
    t = recording.times_s
    # A whole person who is hidden is a gap of every keypoint; the frames between first and last sight are one series.
    values, filled = fill_gaps(recording.values, t, max_gap_s=max_gap_s) if max_gap_s else (recording.values, np.isnan(recording.values))
    if method == "butterworth":
        values = butterworth(values, t, cutoff_hz=min(cutoff_hz, 0.45 * _rate_hz(t)), order=order)
    elif method == "savgol":
        values = savitzky_golay(values, t, window_s=window_s, degree=degree)
    return written_back(recording, poses_by_frame, values, filled & ~np.isnan(values))


def butterworth(x: ArrayLike, times_s: ArrayLike, *, cutoff_hz: float = 6.0, order: int = 4) -> Array:
    """Zero-phase Butterworth low-pass along axis 0: once forwards, once backwards.

    The cutoff is that of both passes together (Winter's correction), so at `cutoff_hz` the amplitude is 1/sqrt(2). Uneven times
    are resampled to even ones of the median step and back. Each stretch between missing values is filtered by itself; stretches of
    fewer than four samples pass unchanged.

    Args:
        x: (t, ...) NaN = missing.
        times_s: (t,) increasing.
        cutoff_hz: Below half of the sample rate.
        order: Of a single pass, 1..8.

    Raises:
        ValidationError: Times do not increase, or the cutoff does not lie between 0 and half of the sample rate.

    Example:
        >>> t = np.arange(100) / 50
        >>> bool(np.allclose(butterworth(3 * t + 1, t), 3 * t + 1))
        True
    """
    x, t = _checked(x, times_s)
    require_positive(cutoff_hz=cutoff_hz)
    if not 1 <= order <= 8:
        raise ValidationError(f"order must be 1..8, got {order}")
    if len(t) < 4:
        return x.copy()
    rate_hz = _rate_hz(t)
    # Two passes narrow the band; the single pass is made wider by as much.
    single_hz = cutoff_hz / (2 ** (1 / 2) - 1) ** (1 / (2 * order))
    if not cutoff_hz < 0.999 * rate_hz / 2:
        raise ValidationError(f"cutoff_hz must lie below half of the sample rate ({rate_hz / 2:.4g} Hz), got {cutoff_hz}")
    # Of a filter corrected beyond the Nyquist frequency only this much can be asked.
    from scipy.signal import butter

    sos = np.asarray(butter(order, min(single_hz, 0.49 * rate_hz), fs=rate_hz, output="sos"))
    even = bool(np.ptp(np.diff(t)) <= _EVEN / rate_hz)
    grid = t if even else np.linspace(t[0], t[-1], max(4, round((t[-1] - t[0]) * rate_hz) + 1))

    def run(series: Array, start: int, stop: int) -> Array:
        return _zero_phase(sos, series) if even else _resampled(sos, series, t[start:stop], grid)

    return _by_stretch(x, run, shortest=4)


def savitzky_golay(x: ArrayLike, times_s: ArrayLike, *, window_s: float = 0.25, degree: int = 3, derivative: int = 0) -> Array:
    """Local polynomial fit along axis 0: value, or derivative, at each time of the polynomial through its surroundings.

    With even steps this is the Savitzky-Golay filter; the ends are fitted with what there is. Uneven steps and missing values only
    change who takes part in a fit; a missing value stays missing. Where fewer than degree + 1 values are in the window, the degree is
    lowered for that fit.

    Args:
        x: (t, ...) NaN = missing.
        times_s: (t,) increasing.
        window_s: Full width of the window, seconds.
        degree: Of the polynomial, 0..5.
        derivative: 0 the value, 1 its rate per second, 2 per second squared.

    Raises:
        ValidationError: Times do not increase, or an option is out of range.

    Example:
        >>> t = np.array([0.0, 0.1, 0.15, 0.3, 0.35])
        >>> savitzky_golay(t**2, t, window_s=1.0, degree=2, derivative=1).round(6)[1:].tolist()
        [0.2, 0.3, 0.6, 0.7]
    """
    x, t = _checked(x, times_s)
    require_positive(window_s=window_s)
    if not 0 <= degree <= 5 or not 0 <= derivative <= 2:
        raise ValidationError(f"degree must be 0..5 and derivative 0..2, got {degree} and {derivative}")
    flat = x.reshape(len(t), -1)
    out = np.full(flat.shape, np.nan)
    whole = ~np.isnan(flat).any(0)
    if whole.any():
        out[:, whole] = _savgol_whole(flat[:, whole], t, window_s, degree, derivative)
    for i in np.flatnonzero(~whole & ~np.isnan(flat).all(0)):
        known = ~np.isnan(flat[:, i])
        out[known, i] = _fit_each(flat[known, i : i + 1], t[known], window_s, degree, derivative)[:, 0]
    return out.reshape(x.shape)


# --- inside ---------------------------------------------------------------------------------------
def _checked(x: ArrayLike, times_s: ArrayLike) -> tuple[Array, Array]:
    x, t = np.asarray(x, np.float64), np.asarray(times_s, np.float64)
    if t.ndim != 1 or x.ndim < 1 or len(x) != len(t):
        raise ValidationError(f"x must have one row per time, got {x.shape} for {t.shape}")
    if not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise ValidationError("times_s must be finite and increasing")
    if np.isinf(x).any():
        raise ValidationError("x must be finite, or NaN where missing")
    return x, t


def _rate_hz(t: Array) -> float:
    return float(1 / np.median(np.diff(t))) if len(t) > 1 else 30.0


def _by_stretch(x: Array, run: _Run, *, shortest: int) -> Array:
    """`run` on every stretch without NaN of every series; series that share their stretches go together."""
    flat = x.reshape(len(x), -1)
    out = flat.copy()
    patterns: dict[bytes, list[int]] = {}
    known = ~np.isnan(flat)
    for i in range(flat.shape[1]):
        patterns.setdefault(known[:, i].tobytes(), []).append(i)
    for columns in patterns.values():
        for start, stop in stretches(known[:, columns[0]]):
            if stop - start >= shortest:
                out[start:stop, columns] = run(flat[start:stop, columns], start, stop)
    return out.reshape(x.shape)


def stretches(known: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, stop) of every run of True.

    Example:
        >>> stretches(np.array([True, True, False, True]))
        [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _zero_phase(sos: Array, series: Array) -> Array:
    from scipy.signal import sosfiltfilt

    # Odd extension by as much as the filter remembers, or by all there is.
    return sosfiltfilt(sos, series, axis=0, padlen=min(len(series) - 1, 3 * (2 * len(sos) + 1) * 3))


def _resampled(sos: Array, series: Array, t: Array, grid: Array) -> Array:
    from scipy.interpolate import CubicSpline

    inner = grid[(grid >= t[0]) & (grid <= t[-1])]
    inner = inner if len(inner) >= 4 else np.linspace(t[0], t[-1], max(4, len(t)))
    # Ends exactly at the ends: nothing is extrapolated.
    inner = np.unique(np.concatenate([t[:1], inner, t[-1:]])) if len(inner) < 8 else np.linspace(t[0], t[-1], len(inner))
    smooth = _zero_phase(sos, CubicSpline(t, series)(inner))
    return CubicSpline(inner, smooth)(t)


def _savgol_whole(x: Array, t: Array, window_s: float, degree: int, derivative: int) -> Array:
    step = float(np.median(np.diff(t))) if len(t) > 1 else 1.0
    half = int(window_s / 2 / step + 1e-6)
    even = len(t) > 1 and float(np.ptp(np.diff(t))) <= _EVEN * step
    if even and 2 * half + 1 > degree and len(t) > 2 * half + 1:
        from scipy.signal import savgol_filter

        out = np.asarray(savgol_filter(x, 2 * half + 1, degree, deriv=derivative, delta=step, axis=0))
        # scipy's ends use the first full window; the same fit is made here, for frames near the ends, from what lies in the window.
        ends = np.r_[0:half, len(t) - half : len(t)]
        out[ends] = _fit_each(x, t, window_s, degree, derivative, at=ends)
        return out
    return _fit_each(x, t, window_s, degree, derivative)


def _fit_each(x: Array, t: Array, window_s: float, degree: int, derivative: int, at: NDArray[np.intp] | None = None) -> Array:
    """(m, s) fits at the times t[at] (default: all) of series x (t, s) without NaN."""
    at = np.arange(len(t)) if at is None else at
    out = np.zeros((len(at), x.shape[1]))
    reach = window_s / 2 * (1 + 1e-6)
    for row, i in enumerate(at):
        start, stop = np.searchsorted(t, [t[i] - reach, t[i] + reach], side="left")
        u = (t[start:stop] - t[i]) / reach
        power = np.arange(min(degree, len(u) - 1) + 1)
        if derivative > power[-1]:
            continue
        weights = np.linalg.pinv(u[:, None] ** power)[derivative]
        out[row] = weights @ x[start:stop] * ((1.0, 1.0, 2.0)[derivative] / reach**derivative)
    return out

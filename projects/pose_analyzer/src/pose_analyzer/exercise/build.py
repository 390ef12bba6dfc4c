"""From good repetitions to a reference: one barycenter per view, the spread around it, limits from repetitions held out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.dtw import align, band, barycenter, onto
from pose_analyzer.exercise.features import BODY_POINTS, FORM_FEATURES, Array, swapped_columns
from pose_analyzer.exercise.profile import ExerciseProfile
from pose_analyzer.exercise.recording import PHASE_OF_SAMPLE, PHASE_SAMPLES, SAMPLES, Repetition, leading_side, nanmean
from pose_analyzer.exercise.reference import POSE_SAMPLES, Reference, ReferenceView

WINDOW = band(SAMPLES)
# Where only lengths are made equal and not phases, half of the band more is for those.
STREAM_WINDOW = WINDOW + SAMPLES // 6
VIEW_STEP_DEG = 15.0
_LEAST_REPETITIONS = 3
# How far from the middle of a view a repetition may be seen and still help to know it.
_REACH_DEG = 20.0
_LEAST_PAIRS = 2
_SLOPE_RIDGE = 3 * 10.0**2
# Of the repetitions, the least share that must show a feature for the view to show it.
_LEAST_SHOWN = 0.8
_LEAST_SCALE_DEG = 4.0
# Few repetitions of one person do not tell how people differ: this spread counts as so many repetitions.
_PRIOR_SPREAD_DEG, _PRIOR_COUNT = 4.0, 3
# People who do it well take their time, or do not: spread of the logarithm of seconds, at least and at most.
_LOG_SPREAD = (0.175, 0.2)
_FOLDS = 4
# A repetition with a feature that far off, in middles of all repetitions' worst features, and degrees, is left out; at most such a share.
_OUTLIER, _OUTLIER_DEG, _MOST_OUTLIERS = 2.5, 25.0, 0.25


class _Led(NamedTuple):
    """A repetition from its leading side, at common length."""

    curves: Array
    even: Array
    azimuth_deg: float
    poses: Array | None


def build_reference(
    repetitions: Sequence[Repetition], profile: ExerciseProfile, *, source: str, leave_out: Collection[str] = ()
) -> Reference:
    """A reference from good repetitions, of any number of people and from any number of views.

    Views are 15 degrees apart; one needs three repetitions seen from there, and uses those of its neighbours, too. What changes with
    the direction is taken out by a line through all of them. Each view is a DTW barycenter from a medoid start; spreads are standard
    deviations of the repetitions aligned to it. Four folds of held-out repetitions give the distances from which the limit of an
    anomaly follows.

    Args:
        repetitions: Good ones only.
        profile: The exercise.
        source: Where they come from, one sentence.
        leave_out: Features (`FORM_FEATURES`) that the repetitions do not stand for.

    Raises:
        ExerciseError: No view has three repetitions.
    """
    turned = [r.led_by(leading_side(r, profile)) for r in repetitions]
    led = [_Led(r.curves(), r.even_curves(), r.azimuth_deg, r.poses(POSE_SAMPLES)) for r in turned if math.isfinite(r.azimuth_deg)]
    middles = {VIEW_STEP_DEG * round(r.azimuth_deg / VIEW_STEP_DEG) for r in led}
    near = {a: [r for r in led if abs(r.azimuth_deg - a) <= _REACH_DEG] for a in sorted(middles)}
    views = (_view(azimuth, rows, leave_out) for azimuth, rows in near.items() if len(rows) >= _LEAST_REPETITIONS)
    views = tuple(v for v in views if v.features)
    if not views:
        raise ExerciseError(
            f"a reference needs {_LEAST_REPETITIONS} good repetitions of {profile.name} from one direction, "
            f"got {len(repetitions)} in all; take a longer clip from one place"
        )
    return Reference(exercise=profile.name, source=source, views=views, durations_s=_durations(repetitions))


def with_limits(reference: Reference, limits: dict[str, float]) -> Reference:
    """The same with other limits of its faults."""
    return replace(reference, limits=limits)


def _view(azimuth_deg: float, rows: Sequence[_Led], leave_out: Collection[str]) -> ReferenceView:
    stack = np.stack([r.curves for r in rows])
    wanted = np.array([name not in leave_out for name in FORM_FEATURES])
    shown = np.flatnonzero(wanted & (np.isfinite(stack).all(1).mean(0) >= _LEAST_SHOWN))
    # What one repetition does not show is as in the others.
    stack = stack[..., shown]
    filled = np.where(np.isfinite(stack), stack, nanmean(stack, 0)[None])
    off = np.array([r.azimuth_deg - azimuth_deg for r in rows])
    slope = _slope(filled, off)
    turned = slope * off[:, None, None]
    filled = filled - turned
    even = np.stack([r.even[:, shown] for r in rows])
    even = np.where(np.isfinite(even), even - turned, filled)
    # First by how far each feature moves; then, knowing how repetitions differ, by that: what is noise in this view weighs little.
    mean, aligned = _average(filled, np.maximum(filled.std(axis=(0, 1)), _LEAST_SCALE_DEG))
    kept = _alike(aligned - mean)
    filled, even, aligned = filled[kept], even[kept], aligned[kept]
    scale = np.maximum(np.sqrt(((aligned - mean) ** 2).mean(axis=(0, 1))), _LEAST_SCALE_DEG)
    distances, streamed = _held_out(filled, even, scale)
    mean, aligned = _average(filled, scale)
    phases = np.array(PHASE_OF_SAMPLE)
    spread = _spread(aligned - mean)
    residual = aligned - mean
    return ReferenceView(
        azimuth_deg=float(azimuth_deg),
        repetitions=len(filled),
        features=tuple(FORM_FEATURES[i] for i in shown),
        mean=mean,
        slope=slope,
        spread=spread,
        phase_spread={p: _spread(residual[:, phases == p].mean(1)) for p in PHASE_SAMPLES},
        scale=scale,
        covariance=_covariance(residual[:, phases == "turn"].mean(1)),
        distance_median=float(np.median(distances)),
        distance_limit=limit_of(distances),
        stream_limit=limit_of(streamed),
        pose=_pose([r.poses for r in rows if r.poses is not None and abs(r.azimuth_deg - azimuth_deg) <= VIEW_STEP_DEG]),
    )


def _alike(residual: Array) -> NDArray[np.bool_]:
    """(r,) which repetitions belong together: not those, few of many, in which the detector saw another body than in all others."""
    # The typical feature says little of a leg that was lost, so it is the worst one that counts.
    worst = np.sqrt((residual**2).mean(1)).max(1)
    middle = float(np.median(worst))
    far = worst > max(_OUTLIER * middle, _OUTLIER_DEG)
    return ~far if far.sum() <= _MOST_OUTLIERS * len(far) else np.ones(len(far), np.bool_)


def _slope(curves: Array, off_deg: Array) -> Array:
    """(SAMPLES, d) change per degree of azimuth over (r, SAMPLES, d) curves: least squares, drawn towards none when there is little."""
    x = off_deg - off_deg.mean()
    return np.tensordot(x, curves - curves.mean(0), axes=1) / (x @ x + _SLOPE_RIDGE)


def _pose(poses: Sequence[Array]) -> Array:
    """(len(POSE_SAMPLES), 14, 2) middle of several people's bodies; NaN where most do not show a point."""
    if not poses:
        return np.zeros((0, len(BODY_POINTS), 2))
    stack = np.stack(poses)
    seen = np.isfinite(stack).mean(0) > 0.5
    return np.where(seen, np.ma.median(np.ma.masked_invalid(stack), axis=0).filled(math.nan), np.nan)


def _average(filled: Array, scale: Array) -> tuple[Array, Array]:
    """(SAMPLES, d) barycenter and (r, SAMPLES, d) repetitions aligned to it, degrees."""
    average, _ = barycenter(list(filled / scale), window=WINDOW)
    aligned = np.stack([onto(average, x / scale, x, window=WINDOW)[0] for x in filled])
    return average * scale, aligned


def _spread(residual: Array) -> Array:
    """Standard deviation over the first axis, drawn towards what is usual when there are few."""
    total = (residual**2).sum(0) + _PRIOR_COUNT * _PRIOR_SPREAD_DEG**2
    return np.sqrt(total / (len(residual) + _PRIOR_COUNT))


def _covariance(residual: Array) -> Array:
    """(d, d) covariance over the first axis, drawn towards its own diagonal and towards what is usual when there are few."""
    n = len(residual)
    total = residual.T @ residual + _PRIOR_COUNT * _PRIOR_SPREAD_DEG**2 * np.eye(residual.shape[1])
    own = total / (n + _PRIOR_COUNT)
    share = 0.8 * residual.shape[1] / (residual.shape[1] + n)
    return (1.0 - share) * own + share * np.diag(np.diag(own))


class FaultySet(NamedTuple):
    """Repetitions with one fault and, by the same person seen from the same place, without it."""

    faulty: Sequence[Repetition]
    good: Sequence[Repetition]
    degrees: float


def with_signatures(reference: Reference, sets: Mapping[str, Sequence[FaultySet]], profile: ExerciseProfile) -> Reference:
    """The same, knowing how faults look: what they change at the turning point, per degree.

    Args:
        reference: Built from good repetitions.
        sets: Fault -> pairs of repetitions with and without it; a view needs pairs of two people. What a view knew of the fault before
            is replaced, of other faults kept.
        profile: The exercise.
    """
    found: dict[float, dict[str, list[Array]]] = {}
    for fault, pairs in sets.items():
        for pair in pairs:
            for azimuth, change in _changes(reference, pair, profile, sided=fault == "asymmetry").items():
                found.setdefault(azimuth, {}).setdefault(fault, []).append(change / pair.degrees)
    return replace(reference, views=tuple(_knowing(v, found.get(v.azimuth_deg, {})) for v in reference.views))


def _knowing(view: ReferenceView, found: Mapping[str, list[Array]]) -> ReferenceView:
    """A view with the middle of the changes that were found; what the fault's people do not show is no change."""
    new = {}
    for fault, rows in found.items():
        if len(rows) >= _LEAST_PAIRS:
            stack = np.ma.masked_invalid(np.stack(rows))
            new[fault] = np.asarray(np.ma.median(stack, axis=0).filled(0.0), np.float64)
    return replace(view, signatures=dict(view.signatures) | new)


def _changes(reference: Reference, pair: FaultySet, profile: ExerciseProfile, *, sided: bool) -> dict[float, Array]:
    """View -> (d,) degrees by which the faulty repetitions differ from the good ones.

    A fault with a side (`sided`: the right one falls behind) is seen in a mirror where the right side leads.
    """
    sides: list[dict[float, list[Array]]] = []
    for repetitions in (pair.faulty, pair.good):
        by_view: dict[float, list[Array]] = {}
        for repetition in repetitions:
            led = leading_side(repetition, profile)
            turned = repetition.led_by(led)
            for view in (v for v in reference.views if abs(v.azimuth_deg - turned.azimuth_deg) <= VIEW_STEP_DEG):
                off = turn_deviation(view, turned)
                by_view.setdefault(view.azimuth_deg, []).append(swapped_columns(view.features, off) if sided and led == "right" else off)
        sides.append(by_view)
    faulty, good = ({a: nanmean(np.stack(rows), 0) for a, rows in side.items()} for side in sides)
    return {azimuth: faulty[azimuth] - good[azimuth] for azimuth in faulty.keys() & good.keys()}


def turn_deviation(view: ReferenceView, turned: Repetition) -> Array:
    """(d,) degrees by which a repetition (its leading side called left) differs around the turning point; NaN = not seen."""
    values = turned.curves()[:, view.columns]
    out, seen = np.full(len(view.columns), np.nan), np.isfinite(values).all(0)
    if seen.any():
        mean, scale = view.mean_at(turned.azimuth_deg)[:, seen], view.scale[seen]
        aligned = onto(mean / scale, values[:, seen] / scale, values[:, seen], window=WINDOW)[0]
        out[seen] = (aligned - mean)[np.array(PHASE_OF_SAMPLE) == "turn"].mean(0)
    return out


def _held_out(filled: Array, even: Array, scale: Array) -> tuple[Array, Array]:
    """Distance of every repetition to a reference built without it (in folds): phase by phase, and by time alone."""
    folds = min(_FOLDS, len(filled))
    out = np.empty((2, len(filled)))
    for fold in range(folds):
        inside = np.arange(len(filled)) % folds != fold
        average, _ = barycenter(list(filled[inside] / scale), window=WINDOW)
        for i in np.flatnonzero(~inside):
            out[0, i] = align(average, filled[i] / scale, window=WINDOW)[0]
            out[1, i] = align(average, even[i] / scale, window=STREAM_WINDOW)[0]
    return out[0], out[1]


def limit_of(distances: Array) -> float:
    """The distance beyond which a repetition is no longer like the held-out good ones: median and three robust deviations more.

    At least a little over the largest when there are many, as the tail of few is not known.

    Example:
        >>> limit_of(np.array([1.0, 1.0, 1.2, 0.8])) > 1.2
        True
    """
    middle = float(np.median(distances))
    robust = 1.4826 * float(np.median(np.abs(distances - middle)))
    return max(middle + 3.0 * robust, 1.1 * float(np.quantile(distances, 0.99)))


def _durations(repetitions: Sequence[Repetition]) -> dict[str, tuple[float, float]]:
    """Phase -> middle and robust spread of the logarithm of its seconds, of whole repetitions where there are any."""
    whole = [r for r in repetitions if not r.partial] or list(repetitions)
    rows = [r.durations_s | {"all": r.end_s - r.start_s, "moving": r.moving_s} for r in whole]
    out = {}
    for name in rows[0]:
        logs = np.log(np.maximum([row[name] for row in rows], 1e-3))
        middle = float(np.median(logs))
        out[name] = middle, float(np.clip(1.4826 * np.median(np.abs(logs - middle)), *_LOG_SPREAD))
    return out

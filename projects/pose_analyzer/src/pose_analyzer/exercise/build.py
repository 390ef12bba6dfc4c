"""From good repetitions to a reference: one barycenter per view, the spread around it, limits from repetitions held out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.dtw import band, barycenter, onto
from pose_analyzer.exercise.features import FORM_FEATURES, Array
from pose_analyzer.exercise.profile import ExerciseProfile
from pose_analyzer.exercise.recording import PHASE_OF_SAMPLE, PHASE_SAMPLES, SAMPLES, Repetition, leading_side
from pose_analyzer.exercise.reference import Reference, ReferenceView

WINDOW = band(SAMPLES)
VIEW_STEP_DEG = 15.0
_LEAST_REPETITIONS = 3
# Of the repetitions, the least share that must show a feature for the view to show it.
_LEAST_SHOWN = 0.8
_LEAST_SCALE_DEG = 4.0
# Few repetitions of one person do not tell how people differ: this spread counts as so many repetitions.
_PRIOR_SPREAD_DEG, _PRIOR_COUNT = 4.0, 3
_LEAST_LOG_SPREAD = 0.12
_FOLDS = 4


class _Led(NamedTuple):
    """A repetition from its leading side, at common length."""

    curves: Array
    azimuth_deg: float


def build_reference(repetitions: Sequence[Repetition], profile: ExerciseProfile, *, source: str) -> Reference:
    """A reference from good repetitions, of any number of people and from any number of views.

    Repetitions are put into views 15 degrees apart by the direction they were seen from; a view needs three. Each view is a
    DTW barycenter from a medoid start; spreads are standard deviations of the repetitions aligned to it. Four folds of held-out
    repetitions give the distances from which the limit of an anomaly follows.

    Args:
        repetitions: Good ones only.
        profile: The exercise.
        source: Where they come from, one sentence.

    Raises:
        ExerciseError: No view has three repetitions.
    """
    led = [_Led(r.led_by(leading_side(r, profile)).curves(), _lead_azimuth(r, profile)) for r in repetitions]
    led = [r for r in led if math.isfinite(r.azimuth_deg)]
    groups: dict[float, list[Array]] = {}
    for r in led:
        groups.setdefault(VIEW_STEP_DEG * round(r.azimuth_deg / VIEW_STEP_DEG), []).append(r.curves)
    views = tuple(_view(azimuth, curves) for azimuth, curves in sorted(groups.items()) if len(curves) >= _LEAST_REPETITIONS)
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


def _lead_azimuth(repetition: Repetition, profile: ExerciseProfile) -> float:
    return repetition.led_by(leading_side(repetition, profile)).azimuth_deg


def _view(azimuth_deg: float, curves: Sequence[Array]) -> ReferenceView:
    stack = np.stack(curves)
    shown = np.flatnonzero(np.isfinite(stack).all(1).mean(0) >= _LEAST_SHOWN)
    # What one repetition does not show is as in the others.
    stack = stack[..., shown]
    filled = np.where(np.isfinite(stack), stack, np.nanmean(stack, axis=0, keepdims=True))
    # First by how far each feature moves; then, knowing how repetitions differ, by that: what is noise in this view weighs little.
    mean, aligned = _average(filled, np.maximum(filled.std(axis=(0, 1)), _LEAST_SCALE_DEG))
    scale = np.maximum(np.sqrt(((aligned - mean) ** 2).mean(axis=(0, 1))), _LEAST_SCALE_DEG)
    distances = _held_out(filled, scale)
    mean, aligned = _average(filled, scale)
    phases = np.array(PHASE_OF_SAMPLE)
    spread = _spread(aligned - mean)
    residual = aligned - mean
    return ReferenceView(
        azimuth_deg=float(azimuth_deg),
        repetitions=len(curves),
        features=tuple(FORM_FEATURES[i] for i in shown),
        mean=mean,
        spread=spread,
        phase_spread={p: _spread(residual[:, phases == p].mean(1)) for p in PHASE_SAMPLES},
        scale=scale,
        covariance=_covariance(residual[:, phases == "turn"].mean(1)),
        distance_median=float(np.median(distances)),
        distance_limit=limit_of(distances),
    )


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
    share = 0.5 * residual.shape[1] / (residual.shape[1] + n)
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
        sets: Fault -> pairs of repetitions with and without it; a view needs pairs of two people.
        profile: The exercise.
    """
    found: dict[float, dict[str, list[Array]]] = {}
    for fault, pairs in sets.items():
        for pair in pairs:
            for azimuth, change in _changes(reference, pair, profile, signed=fault == "asymmetry").items():
                found.setdefault(azimuth, {}).setdefault(fault, []).append(change / pair.degrees)
    views = tuple(
        replace(v, signatures={k: np.median(rows, axis=0) for k, rows in found.get(v.azimuth_deg, {}).items() if len(rows) >= 2})
        for v in reference.views
    )
    return replace(reference, views=views)


def _changes(reference: Reference, pair: FaultySet, profile: ExerciseProfile, *, signed: bool) -> dict[float, Array]:
    """View -> (d,) degrees by which the faulty repetitions differ from the good ones.

    A fault with a side (`signed`: the right one falls behind) turns its sign where the right side leads.
    """
    sides: list[dict[float, list[Array]]] = []
    for repetitions in (pair.faulty, pair.good):
        by_view: dict[float, list[Array]] = {}
        for repetition in repetitions:
            led = leading_side(repetition, profile)
            turned = repetition.led_by(led)
            sign, curves = (-1.0 if signed and led == "right" else 1.0), turned.curves()
            for view in (v for v in reference.views if abs(v.azimuth_deg - turned.azimuth_deg) <= VIEW_STEP_DEG):
                values = curves[:, view.columns]
                if np.isfinite(values).all():
                    by_view.setdefault(view.azimuth_deg, []).append(sign * turn_deviation(view, values))
        sides.append(by_view)
    faulty, good = sides
    return {azimuth: np.mean(faulty[azimuth], axis=0) - np.mean(good[azimuth], axis=0) for azimuth in faulty.keys() & good.keys()}


def turn_deviation(view: ReferenceView, values: Array) -> Array:
    """(d,) degrees by which a repetition's (SAMPLES, d) features differ from the reference around the turning point."""
    aligned = onto(view.scaled(view.mean), view.scaled(values), values, window=WINDOW)[0]
    return (aligned - view.mean)[np.array(PHASE_OF_SAMPLE) == "turn"].mean(0)


def _held_out(filled: Array, scale: Array) -> Array:
    """Distance of every repetition to a reference built without it (in folds)."""
    folds = min(_FOLDS, len(filled))
    out = np.empty(len(filled))
    for fold in range(folds):
        inside = np.arange(len(filled)) % folds != fold
        average, _ = barycenter(list(filled[inside] / scale), window=WINDOW)
        for i in np.flatnonzero(~inside):
            out[i] = onto(average, filled[i] / scale, filled[i], window=WINDOW)[1]
    return out


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
    rows = [r.durations_s | {"all": r.end_s - r.start_s} for r in repetitions]
    logs = {name: np.log(np.maximum([row[name] for row in rows], 1e-3)) for name in rows[0]}
    return {name: (float(x.mean()), max(float(x.std()), _LEAST_LOG_SPREAD)) for name, x in logs.items()}

"""How a person moved in a session: ranges of motion, symmetry, depth, the bar's way, and how still they stood.

Everything comes from the session's series, so that it can be had of a result that was saved long ago. Lengths are in body
heights unless the person's height in metres is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer import reporting
from pose_analyzer.biomechanics import bar_path, path_shape, range_of_motion, squat_depth, stability, stature_px, symmetry
from shared_utils.data_models import Event, EventType, Series, Session

Array = NDArray[np.float64]

JOINTS = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation", "ankle_dorsiflexion")
_SIDES = ("left", "right")
_LEAST_ROWS = 8
# Exercises whose feet stay where they are; of the others it is no measure of steadiness.
_STANDS = {"squat", "barbell_squat", "deadlift", "bicep_curl", "hammer_curl", "lateral_raise", "overhead_press"}


@dataclass(frozen=True, kw_only=True, slots=True)
class RepetitionMeasures:
    """One repetition.

    Args:
        number: As it was counted.
        start_s, end_s: Media clock.
        range_deg, eccentric_s, pause_s, concentric_s: As the counter told them; NaN = not known.
        depth: How far the hips went below the knees at the lowest moment (negative: they stayed above), in `unit`.
        path_rise, path_drift: Height and width of the way of the hands' middle, in `unit`.
        form_score: 0..100; NaN where form was not judged.
    """

    number: int
    start_s: float
    end_s: float
    range_deg: float
    eccentric_s: float
    pause_s: float
    concentric_s: float
    depth: float
    path_rise: float
    path_drift: float
    form_score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MovementMeasures:
    """One person of a session.

    Args:
        track_id: Whose.
        unit: "m" when the person's height was given, else "body heights".
        ranges_deg: Joint with its side -> least, greatest and span, degrees.
        symmetry: Joint -> `difference_deg`, `range_difference_deg`, `imbalance`, `lag_s` (see `biomechanics.symmetry`).
        sway: Root mean square distance of the ankles' middle from its mean place, in `unit`; NaN where feet move by design.
        repetitions: What was counted.
    """

    track_id: int
    unit: str
    ranges_deg: Mapping[str, tuple[float, float, float]]
    symmetry: Mapping[str, Mapping[str, float]]
    sway: float
    repetitions: Sequence[RepetitionMeasures] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; what is not known is null."""
        return _plain(asdict(self))


def measure_movement(session: Session, *, track_id: int | None = None, height_m: float | None = None) -> MovementMeasures:
    """Measures of one person.

    Args:
        session: With keypoints in its series, or without: then there are no lengths.
        track_id: Whose; default: who has most repetitions.
        height_m: The person's height; lengths are then metres, as far as the person keeps at the same distance.

    Raises:
        ChoiceError: There is no such person, or height_m is no height.
    """
    if height_m is not None and not 0.5 <= height_m <= 2.6:
        raise reporting.ChoiceError(f"height_m must be a person's height, 0.5 to 2.6 m, got {height_m}")
    track_id, rows = reporting.person_rows(session, track_id, guess=True)
    time = np.asarray(rows["timestamp_s"], np.float64)
    scale = _scale(rows, height_m)
    exercise = str((session.settings.get("exercise") or {}).get("name") or "")
    events = [e for e in session.events if e.type == EventType.REP_COMPLETED and e.track_id == track_id]
    return MovementMeasures(
        track_id=track_id,
        unit="body heights" if height_m is None else "m",
        ranges_deg=dict(_ranges(rows)),
        symmetry=dict(_symmetries(rows, time)),
        sway=_sway(rows, time, scale) if exercise in _STANDS else math.nan,
        repetitions=tuple(_repetition(event, rows, time, scale) for event in events),
    )


def _ranges(rows: Series) -> Iterator[tuple[str, tuple[float, float, float]]]:
    for joint in JOINTS:
        for side in _SIDES:
            values = _column(rows, f"{side}_{joint}_deg")
            if np.isfinite(values).sum() >= _LEAST_ROWS:
                found = range_of_motion(values)
                yield f"{side}_{joint}", (found.least_deg, found.greatest_deg, found.span_deg)


def _symmetries(rows: Series, time: Array) -> Iterator[tuple[str, Mapping[str, float]]]:
    for joint in JOINTS:
        left, right = (_column(rows, f"{side}_{joint}_deg") for side in _SIDES)
        if (np.isfinite(left) & np.isfinite(right)).sum() >= _LEAST_ROWS:
            yield joint, symmetry(left, right, time)._asdict()


def _scale(rows: Series, height_m: float | None) -> float:
    """Units per px; NaN where the series has no keypoints that tell how tall the person is."""
    if reporting.skeleton_of(rows) is None:
        return math.nan
    tall = stature_px(reporting.poses_of(rows))
    tall = tall[np.isfinite(tall)]
    return (1.0 if height_m is None else height_m) / float(np.median(tall)) if len(tall) else math.nan


def _sway(rows: Series, time: Array, scale: float) -> float:
    ankles = bar_path(*(_point(rows, f"{side}_ankle") for side in _SIDES))
    if not math.isfinite(scale) or np.isfinite(ankles).all(1).sum() < _LEAST_ROWS:
        return math.nan
    return stability(ankles, time).sway * scale


def _repetition(event: Event, rows: Series, time: Array, scale: float) -> RepetitionMeasures:
    own = (time >= event.start_s - 1e-9) & (time <= event.end_s + 1e-9)
    hips, knees = (np.stack([_point(rows, f"{side}_{part}")[own, 1] for side in _SIDES]) for part in ("hip", "knee"))
    depth = max((d for d in (squat_depth(h, k) for h, k in zip(hips, knees, strict=True)) if math.isfinite(d)), default=math.nan)
    shape = path_shape(bar_path(*(_point(rows, f"{side}_wrist")[own] for side in _SIDES)))

    def told(key: str) -> float:
        value = event.data.get(key)
        return float(value) if isinstance(value, int | float) else math.nan

    return RepetitionMeasures(
        number=int(event.value or 0),
        start_s=event.start_s,
        end_s=event.end_s,
        range_deg=told("range_deg"),
        eccentric_s=told("eccentric_s"),
        pause_s=told("pause_s"),
        concentric_s=told("concentric_s"),
        depth=depth * scale,
        path_rise=shape.rise * scale,
        path_drift=shape.drift * scale,
        form_score=told("form_score"),
    )


def _point(rows: Series, name: str) -> Array:
    """(f, 2) px of a keypoint, NaN throughout when the series does not have it."""
    return np.stack([_column(rows, f"{name}_x_px"), _column(rows, f"{name}_y_px")], axis=1)


def _column(rows: Series, name: str) -> Array:
    return np.asarray(rows[name], np.float64) if name in rows.columns else np.full(len(rows), np.nan)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value

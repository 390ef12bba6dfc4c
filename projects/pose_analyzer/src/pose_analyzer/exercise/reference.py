"""References: how good repetitions of an exercise look, with their spread, one set of curves per view.

Built by `build_reference` from repetitions, kept as small JSON files in `data/pose_references/`, used by `FormScorer` and
`TemporalAnalyzer`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.features import BODY_POINTS, FORM_FEATURES, Array
from pose_analyzer.exercise.recording import PHASE_SAMPLES, SAMPLES

_FORMAT = 2
# A view serves for repetitions seen from up to this far beside it.
VIEW_TOLERANCE_DEG = 20.0
POSE_SAMPLES = (0, 4, 8, 11, 13, 16, 20, 22, 25, 29, 33)
"""Samples whose body a reference keeps."""
FOLDER_VARIABLE = "POSE_REFERENCES_DIR"


@cache
def _columns_of(features: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(FORM_FEATURES.index(name) for name in features)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReferenceView:
    """Good repetitions from one direction.

    Args:
        azimuth_deg: Middle of the directions, 0 front or back, 90 from the leading side.
        repetitions: How many it was built from.
        features: The d features that this view shows.
        mean: (SAMPLES, d) degrees, the barycenter, as seen from the middle.
        slope: (SAMPLES, d) degrees by which that changes per degree of azimuth.
        spread: (SAMPLES, d) degrees, standard deviation of the aligned repetitions.
        phase_spread: Phase -> (d,) degrees, standard deviation of the repetitions' means over that phase.
        scale: (d,) degrees by which features are divided for warping.
        covariance: (d, d) square degrees, of the repetitions' means over the turning point; what a turned camera or a longer thigh
            does to all features together.
        signatures: Fault -> (d,) change of those means per degree of the fault; empty where no faulty repetitions were at hand.
        distance_median, distance_limit: Of held-out repetitions, phase by phase, to the reference; beyond the limit is an anomaly.
        stream_limit: The same for repetitions whose phases are not known, as they are found in a stream.
        limits: Fault -> least evidence, in spreads, that held-out good repetitions do not reach from about here.
        pose: (len(POSE_SAMPLES), 14, 2) the body at some samples, for drawing: from the mid-hip, x to the right and y down as in a picture
            from the leading side, in units of trunk, thigh and shank together; NaN = not seen. Empty (0, 14, 2) where nobody kept it.
    """

    azimuth_deg: float
    repetitions: int
    features: tuple[str, ...]
    mean: Array
    slope: Array
    spread: Array
    phase_spread: Mapping[str, Array]
    scale: Array
    covariance: Array
    distance_median: float
    distance_limit: float
    stream_limit: float
    signatures: Mapping[str, Array] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    pose: Array = field(default_factory=lambda: np.zeros((0, len(BODY_POINTS), 2)))

    def mean_at(self, azimuth_deg: float) -> Array:
        """(SAMPLES, d) degrees as seen from a direction, at most `VIEW_TOLERANCE_DEG` from the middle."""
        return self.mean + self.slope * min(max(azimuth_deg - self.azimuth_deg, -VIEW_TOLERANCE_DEG), VIEW_TOLERANCE_DEG)

    def pose_at(self, sample: int) -> Array | None:
        """(14, 2) the body nearest to one of the common samples; None where nobody kept it."""
        return self.pose[int(np.abs(np.array(POSE_SAMPLES) - sample).argmin())] if len(self.pose) else None

    @property
    def columns(self) -> list[int]:
        """Positions of the features among `FORM_FEATURES`."""
        return list(_columns_of(self.features))

    def scaled(self, values: Array) -> Array:
        """(t, d) values of the features -> what warping compares."""
        return values / self.scale


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reference:
    """How an exercise is done well.

    Args:
        exercise: Name of the profile.
        source: Where the repetitions come from, one sentence.
        views: From each direction.
        durations_s: Phase -> (middle, robust spread) of the natural logarithm of its seconds; `all` is the repetition.
        limits: The same where a view has none.

    Example:
        >>> reference = load_reference("squat")
        >>> reference.exercise, reference.view(85.0).azimuth_deg
        ('squat', 90.0)
    """

    exercise: str
    source: str
    views: tuple[ReferenceView, ...]
    durations_s: Mapping[str, tuple[float, float]]
    limits: Mapping[str, float] = field(default_factory=dict)

    def view(self, azimuth_deg: float) -> ReferenceView | None:
        """The nearest view, or None when none lies within `VIEW_TOLERANCE_DEG`; an unknown direction has none."""
        if not math.isfinite(azimuth_deg) or not self.views:
            return None
        nearest = min(self.views, key=lambda v: abs(v.azimuth_deg - azimuth_deg))
        return nearest if abs(nearest.azimuth_deg - azimuth_deg) <= VIEW_TOLERANCE_DEG else None

    def save(self, path: str | Path) -> Path:
        """Write it as JSON; the same reference gives the same bytes.

        Raises:
            ExerciseError: The file cannot be written.
        """
        path = Path(path)
        about = {
            "format": _FORMAT,
            "exercise": self.exercise,
            "source": self.source,
            "phase_samples": PHASE_SAMPLES,
            "durations_log_s": {k: [round(x, 4) for x in v] for k, v in self.durations_s.items()},
            "limits": {k: round(v, 2) for k, v in sorted(self.limits.items())},
        }
        views = [
            {
                "azimuth_deg": v.azimuth_deg,
                "repetitions": v.repetitions,
                "distance_median": round(v.distance_median, 4),
                "distance_limit": round(v.distance_limit, 4),
                "stream_limit": round(v.stream_limit, 4),
                "covariance": [[round(float(x), 2) for x in row[: i + 1]] for i, row in enumerate(v.covariance)],
                "signatures": {k: np.round(s, 3).tolist() for k, s in sorted(v.signatures.items())},
                "limits": {k: round(x, 2) for k, x in sorted(v.limits.items())},
                "pose": [[None if not math.isfinite(x) else round(float(x), 3) for x in row.ravel()] for row in v.pose],
                "features": {
                    name: {
                        "scale": round(float(v.scale[i]), 2),
                        "mean": np.round(v.mean[:, i], 1).tolist(),
                        "slope": np.round(v.slope[:, i], 2).tolist(),
                        "spread": np.round(v.spread[:, i], 1).tolist(),
                        "phase_spread": {p: round(float(s[i]), 2) for p, s in v.phase_spread.items()},
                    }
                    for i, name in enumerate(v.features)
                },
            }
            for v in self.views
        ]
        # One feature a line: small, and a change can be read.
        lines = ",\n".join(_view_text(v) for v in views)
        text = json.dumps(about, indent=1)[:-2] + ',\n "views": [\n' + lines + "\n ]\n}\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ExerciseError(f"the reference cannot be written to {path}: {error.strerror or error}") from error
        return path


def load_reference(name_or_path: str | Path) -> Reference:
    """The reference of an exercise, or from a file.

    Args:
        name_or_path: Name of an exercise, or a path that ends in .json.

    Raises:
        ExerciseError: There is none, or the file is no reference.

    Example:
        >>> load_reference("no_such_exercise")
        Traceback (most recent call last):
        pose_analyzer.errors.ExerciseError: there is no reference for 'no_such_exercise'; ...
    """
    if str(name_or_path).lower().endswith(".json"):
        return _read(Path(name_or_path))
    for folder in reference_folders():
        path = folder / f"{name_or_path}.json"
        if path.is_file():
            return _read(path)
    known = ", ".join(list_references()) or "none"
    raise ExerciseError(
        f"there is no reference for {str(name_or_path)!r}; there are {known}. "
        "`pose-analyzer reference build` makes one from good repetitions"
    )


def list_references() -> list[str]:
    """Names of the exercises with a reference, sorted.

    Example:
        >>> "squat" in list_references()
        True
    """
    return sorted({path.stem for folder in reference_folders() for path in folder.glob("*.json") if not path.stem.startswith("_")})


def reference_folders() -> list[Path]:
    """Where references are looked for, first match wins: $POSE_REFERENCES_DIR, the repository, the package."""
    package = Path(__file__).resolve().parents[1]
    folders = [Path(os.environ[FOLDER_VARIABLE])] if os.environ.get(FOLDER_VARIABLE) else []
    # src/pose_analyzer -> projects/pose_analyzer -> projects -> repository
    folders += [package.parents[3] / "data" / "pose_references", package / "_data" / "pose_references"]
    return [f for f in folders if f.is_dir()]


def find_reference_file(name: str) -> Path | None:
    """A file of the references' folders, first match; None if there is none."""
    return next((folder / name for folder in reference_folders() if (folder / name).is_file()), None)


def _view_text(view: Mapping[str, Any]) -> str:
    head = {k: v for k, v in view.items() if k != "features"}
    rows = ",\n".join(f"   {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in view["features"].items())
    return "  " + json.dumps(head)[:-1] + ', "features": {\n' + rows + "\n  }}"


def _read(path: Path) -> Reference:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] not in (1, _FORMAT) or data["phase_samples"] != PHASE_SAMPLES:
            raise ExerciseError(f"{path.name}: a reference of another version; build it again")
        return Reference(
            exercise=str(data["exercise"]),
            source=str(data["source"]),
            views=tuple(_views(data["views"])),
            durations_s={k: (float(v[0]), float(v[1])) for k, v in data["durations_log_s"].items()},
            limits={k: float(v) for k, v in data["limits"].items()},
        )
    except FileNotFoundError:
        raise ExerciseError(f"there is no reference at {path}") from None
    except (OSError, UnicodeDecodeError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ExerciseError):
            raise
        raise ExerciseError(f"{path.name} is not a reference: {error!r}") from error


def _views(rows: list[dict[str, Any]]) -> Iterator[ReferenceView]:
    for row in rows:
        features: dict[str, Any] = row["features"]
        unknown = set(features) - set(FORM_FEATURES)
        if unknown:
            raise ExerciseError(f"unknown features {', '.join(sorted(unknown))}; build the reference again")
        view = ReferenceView(
            azimuth_deg=float(row["azimuth_deg"]),
            repetitions=int(row["repetitions"]),
            features=tuple(features),
            mean=np.array([f["mean"] for f in features.values()], np.float64).T,
            slope=np.array([f.get("slope", [0.0] * SAMPLES) for f in features.values()], np.float64).T,
            spread=np.array([f["spread"] for f in features.values()], np.float64).T,
            phase_spread={p: np.array([f["phase_spread"][p] for f in features.values()], np.float64) for p in PHASE_SAMPLES},
            scale=np.array([f["scale"] for f in features.values()], np.float64),
            covariance=_symmetric(row["covariance"], len(features)),
            signatures={k: np.array(s, np.float64) for k, s in row["signatures"].items()},
            distance_median=float(row["distance_median"]),
            distance_limit=float(row["distance_limit"]),
            stream_limit=float(row.get("stream_limit", row["distance_limit"])),
            limits={k: float(x) for k, x in row.get("limits", {}).items()},
            pose=np.array(row.get("pose", []), np.float64).reshape(-1, len(BODY_POINTS), 2),
        )
        shapes = {view.mean.shape == (SAMPLES, len(features)), view.spread.shape == view.mean.shape, view.slope.shape == view.mean.shape}
        shapes.add(len(view.pose) in (0, len(POSE_SAMPLES)))
        if shapes != {True} or any(len(s) != len(features) for s in view.signatures.values()) or not (view.scale > 0).all():
            raise ExerciseError(f"the curves of the view at {view.azimuth_deg:g}° are damaged; build the reference again")
        yield view


def _symmetric(lower: list[list[float]], d: int) -> Array:
    """(d, d) from the rows of its lower triangle."""
    out = np.zeros((d, d))
    for i, row in enumerate(lower):
        out[i, : i + 1] = out[: i + 1, i] = row
    return out

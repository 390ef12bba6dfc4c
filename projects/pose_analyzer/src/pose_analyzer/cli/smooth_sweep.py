"""`pose-analyzer smooth-sweep`: the filters' settings tried on the synthetic athlete, best first.

The detector's errors are drawn from a table that was measured once (`--measure`), so that a sweep needs no pictures. Scenes run at 15,
30 and 60 frames/s, one with an uneven rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import typer

from pose_analyzer.cli.common import JsonOption, console, console_err, print_json
from pose_analyzer.cli.exit_codes import ExitCode
from pose_analyzer.cli.smooth_recording import JUDGED, SCENES, filtered, record_scene
from shared_utils.errors import ConfigError

if TYPE_CHECKING:
    from pose_analyzer.cli.smooth_recording import SceneRecord
    from pose_analyzer.smoothing import FilterName
    from pose_analyzer.smoothing.noise import NoiseTable

GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = MappingProxyType(
    {
        "steady": {"noise_factor": (5.0, 7.0, 9.0), "beta": (60.0, 120.0, 240.0), "min_cutoff_hz": (0.1, 0.3)},
        "one_euro": {"min_cutoff_hz": (0.1, 0.5, 2.0), "beta": (20.0, 60.0, 120.0), "derivative_cutoff_hz": (1.0, 5.0)},
        "kalman_velocity": {"acceleration_sizes_per_s2": (3.0, 10.0, 40.0), "noise_sizes": (0.001, 0.002, 0.004)},
        "kalman_acceleration": {"acceleration_sizes_per_s2": (1.5, 5.0, 20.0), "noise_sizes": (0.001, 0.002, 0.004)},
        "ema": {"time_constant_s": (0.02, 0.05, 0.1)},
        "temporal_fusion": {"window_s": (0.08, 0.11, 0.2)},
        "exponential_fusion": {"time_constant_s": (0.02, 0.05, 0.1)},
    }
)
"""Settings that are tried, every combination."""

# Exercise, frames per second, unevenness of the rate.
_CLIPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("rest", {"exercise": "idle", "gestures": ("rest",), "duration_s": 4.0, "hold_s": 5.0, "fps": 30.0, "seed": 1}),
    ("rest", {"exercise": "idle", "gestures": ("rest",), "duration_s": 4.0, "hold_s": 5.0, "fps": 60.0, "azimuth_deg": 60, "seed": 2}),
    ("slow", {"exercise": "squat", "reps": 2, "fps": 30.0, "azimuth_deg": 45, "seed": 3}),
    ("slow", {"exercise": "bicep_curl", "reps": 2, "fps": 15.0, "azimuth_deg": 30, "seed": 4}),
    ("fast", {"exercise": "jumping_jack", "reps": 4, "fps": 30.0, "rate_jitter": 0.5, "seed": 5}),
    ("fast", {"exercise": "jumping_jack", "reps": 4, "fps": 30.0, "faults": {"rushed_tempo": 0.4}, "azimuth_deg": 20, "seed": 6}),
)
# A setting is admitted only if it keeps to both; among these the smallest error wins.
_MOST_JITTER, _MOST_LAG_FRAMES = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class SweepClip:
    """A true path and what a detector might have seen of it.

    Args:
        kind: "rest", "slow" or "fast".
        times_s, truth, seen, boxes: (t,), (t, 33, 2), (t, 33, 2), (t, 4).
    """

    kind: str
    times_s: np.ndarray
    truth: np.ndarray
    seen: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, slots=True)
class SweepRow:
    """How one setting did.

    Args:
        filter: Name of the filter.
        options: Its settings.
        jitter_ratio: Jitter at rest as a share of the unfiltered.
        lag_frames: Lag of the fastest joints in the fast clips, frames; the worst clip.
        error_ratio: Mean error on the truth as a share of the unfiltered, mean of the clips.
        admitted: Whether jitter and lag keep to the limits.
    """

    filter: str
    options: Mapping[str, Any]
    jitter_ratio: float
    lag_frames: float
    error_ratio: float
    admitted: bool


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("smooth-sweep")(smooth_sweep_command)


def smooth_sweep_command(
    names: Annotated[list[str] | None, typer.Argument(help="Filters to try. (default: all)", show_default=False, metavar="FILTER")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="First measure BlazePose's errors on rendered scenes (minutes).")] = False,
    table: Annotated[
        Path | None, typer.Option("--table", help="Noise table to read, or to write. (default: built in)", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Settings to show per filter.")] = 3,
    json_: JsonOption = False,
) -> int:
    """Try the settings of the smoothing filters on the synthetic athlete and list the best."""
    from pose_analyzer.smoothing.noise import BLAZEPOSE_TABLE, load_noise

    unknown = sorted(set(names or ()) - set(GRIDS))
    if unknown:
        raise ConfigError(f"no filter {', '.join(map(repr, unknown))} to sweep; there are {', '.join(GRIDS)}")
    path = table or BLAZEPOSE_TABLE
    if measure:
        measured = measured_table()
        measured.save(path)
        console_err().print(f"written: {path} ({measured.frames} frames)", soft_wrap=True)
    clips = sweep_clips(load_noise(path))
    rows = [row for name in names or GRIDS for row in best_first(sweep(name, clips))[:top]]
    if json_:
        print_json([asdict(row) | {"options": dict(row.options)} for row in rows])
    else:
        _print(rows)
    return ExitCode.OK


def measured_table(records: Sequence[SceneRecord] | None = None) -> NoiseTable:
    """The noise of BlazePose on the scenes of `SCENES`; default: recorded now. `records` hold what it saw as "raw"."""
    from pose_analyzer.detection import create_detector
    from pose_analyzer.smoothing.noise import measure_noise
    from shared_utils.skeletons import BLAZEPOSE_33

    if records is None:
        detector = create_detector("blazepose", max_people=1)
        try:
            records = [record_scene(name, {"raw": detector}) for name in SCENES]
        finally:
            detector.close()
    clips = [(r.times_s, r.truth, np.where(r.visible[..., None], r.seen["raw"], np.nan), r.height_px) for r in records]
    return measure_noise(clips, detector="blazepose", skeleton=BLAZEPOSE_33)


def sweep_clips(noise: NoiseTable) -> list[SweepClip]:
    """The clips that settings are tried on, errors drawn from a `NoiseTable`."""
    from pose_analyzer.synthetic import scene_for

    clips = []
    for kind, options in _CLIPS:
        options = dict(options)
        # Only joints are needed; a small picture makes their truth cheap, and its size does not matter to any filter.
        scene = scene_for(options.pop("exercise"), width=128, height=96, **options)
        truths = [scene.truth_at(i) for i in range(len(scene))]
        truth, boxes = np.stack([t.joints_xy[0] for t in truths]), np.stack([t.boxes_xyxy[0] for t in truths])
        times_s = np.array(scene.timestamps_s)
        height = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1)))
        clips.append(SweepClip(kind, times_s, truth, noise.draw(truth, times_s, height, scene.spec.seed), boxes))
    return clips


def sweep(name: str, clips: Sequence[SweepClip], grid: Mapping[str, Sequence[Any]] | None = None) -> Iterator[SweepRow]:
    """Every combination of settings of one filter."""
    from pose_analyzer.smoothing import create_filter

    kind = cast("FilterName", name)
    grid = GRIDS[name] if grid is None else grid
    for values in itertools.product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        yield _judged(name, options, clips, [_path(create_filter(kind, **options), c) for c in clips])


def best_first(rows: Iterator[SweepRow]) -> list[SweepRow]:
    """Admitted settings before others, then by error; those not admitted by how far they miss."""

    def miss(row: SweepRow) -> float:
        return max(row.jitter_ratio / _MOST_JITTER - 1, 0.0) + max(row.lag_frames / _MOST_LAG_FRAMES - 1, 0.0)

    return sorted(rows, key=lambda row: (not row.admitted, row.error_ratio if row.admitted else miss(row)))


def _path(filter_: Any, clip: SweepClip) -> np.ndarray:
    return filtered(filter_, clip.seen, np.ones(clip.seen.shape[:2]), clip.boxes, clip.times_s)


def _judged(name: str, options: Mapping[str, Any], clips: Sequence[SweepClip], paths: Sequence[np.ndarray]) -> SweepRow:
    from pose_analyzer.smoothing.judge import error_px, fastest_points, jitter_px, lag_s
    from shared_utils.skeletons import BLAZEPOSE_33

    points = BLAZEPOSE_33.indices(JUDGED)
    jitter, lag, error = [], [], []
    for clip, path in zip(clips, paths, strict=True):
        truth, seen, smooth = clip.truth[10:, points], clip.seen[10:, points], path[10:, points]
        error.append(error_px(smooth, truth) / error_px(seen, truth))
        if clip.kind == "rest":
            jitter.append(jitter_px(smooth, truth) / jitter_px(seen, truth))
        if clip.kind == "fast":
            quick = fastest_points(truth, clip.times_s[10:], 2)
            lag.append(lag_s(smooth[:, quick], truth[:, quick], clip.times_s[10:]) / float(np.median(np.diff(clip.times_s))))
    worst_jitter, worst_lag = max(jitter), max(lag)
    admitted = worst_jitter <= _MOST_JITTER and worst_lag <= _MOST_LAG_FRAMES
    return SweepRow(name, options, round(worst_jitter, 4), round(worst_lag, 2), round(float(np.mean(error)), 4), admitted)


def _print(rows: Sequence[SweepRow]) -> None:
    for row in rows:
        settings = ", ".join(f"{k}={v}" for k, v in row.options.items())
        numbers = f"jitter {row.jitter_ratio:.3f}  lag {row.lag_frames:4.2f} frames  error {row.error_ratio:.3f}"
        console().print(f"{numbers}  {'+' if row.admitted else '-'}  {row.filter}: {settings}", soft_wrap=True)
    console().print("Jitter at rest and error: share of the unfiltered. + keeps at most 0.1 of the jitter and lags by at most one frame.")

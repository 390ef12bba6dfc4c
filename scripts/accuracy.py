"""Measure accuracy on the synthetic athlete and on recorded clips; write docs/ACCURACY.md.

    python scripts/accuracy.py                      every section, about half an hour on two cores
    python scripts/accuracy.py smoothing form       these sections; the others stay as they were
    python scripts/accuracy.py athlete --quick      three exercises, two cameras, no file written

Each section comes from one module of the benchmarks and is kept under out/accuracy; the document is made of what is there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DOC, KEPT = ROOT / "docs" / "ACCURACY.md", ROOT / "out" / "accuracy"
BENCHMARKS = ROOT / "projects" / "pose_analyzer" / "benchmarks"
EXERCISES = (
    "squat", "push_up", "bicep_curl", "hammer_curl", "lunge", "overhead_press", "deadlift", "sit_up", "jumping_jack", "lateral_raise",
    "pull_up", "plank", "wall_sit",
)  # fmt: skip
AZIMUTHS_DEG = (0, 30, 45, 60, 90)
JOINTS = tuple(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right"))
ANGLES = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation")
SIDES = ("left", "right")
HOLDS = ("plank", "wall_sit")


# --- the athlete ----------------------------------------------------------------------------------------
def measure(task: tuple[str, int]) -> dict[str, Any]:
    """Errors of one scene: per joint px, per angle degrees, repetitions expected and counted."""
    import cv2

    cv2.setNumThreads(1)
    from pose_analyzer import Pipeline, scene_for
    from shared_utils.skeletons import BLAZEPOSE_33

    exercise, azimuth_deg = task
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, reps=3, width=480, height=640)
    rows = BLAZEPOSE_33.indices(JOINTS)
    names = [f"{side}_{angle}_deg" for angle in ANGLES for side in ("left", "right")]
    pixels: dict[str, list[float]] = {j: [] for j in JOINTS}
    flat: dict[str, list[float]] = {n: [] for n in names}
    solid: dict[str, list[float]] = {n: [] for n in names}
    truths: list[Any] = []

    def frames() -> Any:
        for frame, truth in scene.frames():
            truths.append(truth)
            yield frame

    events, found, total = [], 0, 0
    last = None
    with Pipeline(exercise=exercise, overrides={"detection.threads": 1, "detection.max_people": 1}) as pipeline:
        for update in pipeline.run(frames()):
            events += update.events
            if last is update.frame:
                continue
            last = update.frame
            total += 1
            if not len(update.tracked):
                continue
            found += 1
            truth = truths[update.frame.index]
            true = truth.angles().row(1)
            scale = 640.0 / update.frame.height
            error = np.linalg.norm(update.tracked.keypoints_xy[0, rows] - truth.joints_xy[0, rows], axis=1) * scale
            seen = truth.visible[0, rows]
            for joint, value, ok in zip(JOINTS, error.tolist(), seen.tolist(), strict=True):
                if ok and np.isfinite(value):
                    pixels[joint].append(value)
            measured = update.angles.row(int(update.tracked.track_ids[0]))
            for name in names:
                flat[name].append(abs(measured.get(name, np.nan) - true[name]))
                solid_name = name.replace("_deg", "_3d_deg")
                solid[name].append(abs(measured.get(solid_name, np.nan) - true[solid_name]))
    kind = "hold_completed" if exercise in HOLDS else "rep_completed"
    expected = len(scene.holds(1)) if exercise in HOLDS else sum(r.counts for r in scene.repetitions(1))
    return {
        "exercise": exercise,
        "azimuth_deg": azimuth_deg,
        "frames": total,
        "found": found,
        "pixels": pixels,
        "flat": {k: [v for v in values if np.isfinite(v)] for k, values in flat.items()},
        "solid": {k: [v for v in values if np.isfinite(v)] for k, values in solid.items()},
        "expected": expected,
        "counted": sum(e.type == kind for e in events),
    }


def athlete(*, quick: bool = False, workers: int = 2) -> str:
    """Landmarks, angles and counts of the default pipeline on every exercise from five sides."""
    tasks = [(e, a) for e in EXERCISES for a in AZIMUTHS_DEG]
    if quick:
        tasks = [(e, a) for e in ("squat", "bicep_curl", "jumping_jack") for a in (0, 60)]
    results: list[dict[str, Any]] = []
    with ProcessPoolExecutor(workers) as pool:
        for number, result in enumerate(pool.map(measure, tasks), 1):
            results.append(result)
            pixels = [v for values in result["pixels"].values() for v in values]
            print(
                f"[{number}/{len(tasks)}] {result['exercise']} {result['azimuth_deg']}°: {_stat(pixels)} px, "
                f"counted {result['counted']} of {result['expected']}, found in {result['found']}/{result['frames']}",
                flush=True,
            )
    if not quick:
        (KEPT / "athlete.json").write_text(json.dumps(results))
    return "\n".join([*_landmarks(results), *_angle_errors(results), *_athlete_counts(results)])


def _stat(values: list[float], digits: int = 1) -> str:
    if not values:
        return "–"
    return f"{np.median(values):.{digits}f} / {np.percentile(values, 95):.{digits}f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]


def _gather(results: list[dict[str, Any]], kind: str, *, names: list[str], **where: Any) -> list[float]:
    chosen = [r for r in results if all(r[k] == v for k, v in where.items())]
    return [v for r in chosen for n in names for v in r[kind].get(n, [])]


def _by_view(results: list[dict[str, Any]], kind: str, first: str, rows: list[tuple[str, list[str], dict[str, Any]]]) -> list[str]:
    """A table of medians and 95th percentiles, a column per camera azimuth.

    Args:
        results: Of all scenes.
        kind: `pixels`, `flat` or `solid`.
        first: Head of the first column.
        rows: Label, names to gather, and which scenes.
    """
    azimuths = sorted({r["azimuth_deg"] for r in results})
    cells = [
        [
            label.replace("_", " "),
            *(_stat(_gather(results, kind, names=names, azimuth_deg=a, **where)) for a in azimuths),
            _stat(_gather(results, kind, names=names, **where)),
        ]
        for label, names, where in rows
    ]
    return _table([first, *(f"{a}°" for a in azimuths), "all"], cells)


def _landmarks(results: list[dict[str, Any]]) -> list[str]:
    exercises = list(dict.fromkeys(r["exercise"] for r in results))
    parts = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    return [
        "## Landmarks: distance in px at 640 px image height",
        "",
        *_by_view(results, "pixels", "exercise", [(e, list(JOINTS), {"exercise": e}) for e in exercises]),
        "By joint:",
        "",
        *_by_view(results, "pixels", "joint", [(p, [f"{s}_{p}" for s in SIDES], {}) for p in parts]),
    ]


def _angle_errors(results: list[dict[str, Any]]) -> list[str]:
    exercises = list(dict.fromkeys(r["exercise"] for r in results))
    every = [f"{s}_{a}_deg" for a in ANGLES for s in SIDES]
    text: list[str] = []
    for kind, title, note in (
        ("flat", "Angles in the image plane: error in degrees", "Measured 2D angle against the same angle of the projected true joints."),
        ("solid", "Angles in space: error in degrees", "Measured 3D angle (metric landmarks) against the true joint angle."),
    ):
        text += [f"## {title}", "", note, ""]
        text += _by_view(results, kind, "angle", [(a, [f"{s}_{a}_deg" for s in SIDES], {}) for a in ANGLES])
        text += _by_view(results, kind, "exercise", [(e, every, {"exercise": e}) for e in exercises])
    return text


def _athlete_counts(results: list[dict[str, Any]]) -> list[str]:
    by = {(r["exercise"], r["azimuth_deg"]): r for r in results}
    azimuths = sorted({r["azimuth_deg"] for r in results})
    exact = sum(r["expected"] == r["counted"] for r in results)
    found, frames = sum(r["found"] for r in results), sum(r["frames"] for r in results)
    cells = [
        [e.replace("_", " "), *(f"{by[e, a]['counted']} / {by[e, a]['expected']}" if (e, a) in by else "–" for a in azimuths)]
        for e in dict.fromkeys(r["exercise"] for r in results)
    ]
    return [
        "## Counting the athlete",
        "",
        f"Counted / expected (holds count once). Exact in {exact} of {len(results)} scenes; the person is found in "
        f"{100 * found / max(frames, 1):.1f} % of {frames} frames.",
        "",
        *_table(["exercise", *(f"{a}°" for a in azimuths)], cells),
    ]


# --- sections from the benchmarks -----------------------------------------------------------------------
def _benchmark(name: str) -> Any:
    """A module of the benchmarks."""
    if name in sys.modules:
        return sys.modules[name]
    if str(BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"there is no {BENCHMARKS / f'{name}.py'}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _section(module: str) -> Callable[[], str]:
    return lambda: _benchmark(module).accuracy_markdown()


def scale() -> str:
    """People 40 to 400 px tall, plain and by several scales."""
    return "\n".join(
        [
            "## People far away",
            "",
            "Recall and error of keypoints by height in the picture, 1280 x 720 px, plain and with `detection.multi_scale: auto`.",
            "",
            _benchmark("bench_scale").scale_markdown(),
        ]
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "athlete": athlete,
    "counting": _section("count_clips"),
    "conditions": _section("count_sets"),
    "tracking": _section("bench_tracking"),
    "smoothing": _section("bench_smoothing"),
    "scale": scale,
    "angles": _section("bench_angles"),
    "form": _section("bench_form"),
}
"""Name -> measures, and tells as markdown. In the order of the document."""

_OPENING = """# Accuracy

Generated by `make accuracy`; do not edit. Median / 95th percentile unless a table says otherwise. Each part can be measured by
itself: `python scripts/accuracy.py NAME` with the names {names}.

Judge: the synthetic athlete, whose joints and angles are exact, and recorded clips whose repetitions were counted by eye. Unless
told otherwise scenes are 480 x 640 px at 30 frames/s without noise, one person, three repetitions; camera azimuth 0° is the front,
90° the side; the pipeline is the default one. Only joints that the truth calls visible are judged. The athlete is a
drawing: these are errors of the chain on it, not on people in clothes and light of every kind.
"""


def document() -> str:
    """docs/ACCURACY.md from the sections that were measured."""
    parts = [_OPENING.format(names=", ".join(f"`{name}`" for name in SECTIONS))]
    parts += [path.read_text(encoding="utf-8") for name in SECTIONS if (path := KEPT / f"{name}.md").is_file()]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="three exercises, two cameras, print only")
    options = parser.parse_args(arguments)
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.quick:
        print(athlete(quick=True))
        return 0
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in options.sections or SECTIONS:
        start = time.perf_counter()
        text = SECTIONS[name]()
        (KEPT / f"{name}.md").write_text(text.rstrip() + "\n", encoding="utf-8")
        DOC.write_text(document(), encoding="utf-8")  # after each: what was measured is not lost when the rest is stopped
        print(f"{name}: {time.perf_counter() - start:.0f} s, written to {DOC.relative_to(ROOT)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

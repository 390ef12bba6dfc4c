"""Measure accuracy on the synthetic athlete and on counted clips; write docs/ACCURACY.md.

    python scripts/accuracy.py              everything, about ten minutes on two cores
    python scripts/accuracy.py --quick      three exercises, two cameras, no file written

Every scene is filmed without noise and measured with the default pipeline (BlazePose, ByteTrack, One
Euro, 2D and 3D angles, counter). Errors are against the scene's own truth.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DOC, RESULTS = ROOT / "docs" / "ACCURACY.md", ROOT / "out" / "accuracy" / "results.json"
EXERCISES = (
    "squat", "push_up", "bicep_curl", "hammer_curl", "lunge", "overhead_press", "deadlift", "sit_up", "jumping_jack", "lateral_raise",
    "pull_up", "plank", "wall_sit",
)  # fmt: skip
AZIMUTHS_DEG = (0, 30, 45, 60, 90)
JOINTS = tuple(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right"))
ANGLES = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation")
HOLDS = ("plank", "wall_sit")


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


def counted_clips() -> dict[str, Any] | None:
    """The table of counted real clips, None where the footage is absent."""
    path = ROOT / "projects" / "pose_analyzer" / "benchmarks" / "count_clips.py"
    spec = importlib.util.spec_from_file_location("count_clips", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules["count_clips"] = module
    spec.loader.exec_module(module)
    return module.run()


# --- document -----------------------------------------------------------------------------------------
def _stat(values: list[float], digits: int = 1) -> str:
    if not values:
        return "–"
    return f"{np.median(values):.{digits}f} / {np.percentile(values, 95):.{digits}f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]


def _gather(results: list[dict[str, Any]], kind: str, *, names: list[str], **where: Any) -> list[float]:
    chosen = [r for r in results if all(r[k] == v for k, v in where.items())]
    return [v for r in chosen for n in names for v in r[kind].get(n, [])]


def document(results: list[dict[str, Any]], clips: dict[str, Any] | None) -> str:
    """docs/ACCURACY.md from the measurements."""
    exercises = list(dict.fromkeys(r["exercise"] for r in results))
    azimuths = sorted({r["azimuth_deg"] for r in results})
    sides = ("left", "right")
    angles = [f"{s}_{a}_deg" for a in ANGLES for s in sides]
    text = [
        "# Accuracy",
        "",
        "Generated by `make accuracy`; do not edit. Median / 95th percentile throughout.",
        "",
        "Judge: the synthetic athlete, whose joints and angles are exact. Scenes are 480 x 640 px at 30 frames/s without noise, one",
        "person, three repetitions; camera azimuth 0° is the front, 90° the side. The pipeline is the default one (BlazePose, ByteTrack,",
        "One Euro). Only joints that the truth calls visible are judged. The athlete is a drawing: these are errors of the chain on it,",
        "not on people in clothes and light of every kind.",
        "",
        "## Landmarks: distance in px at 640 px image height",
        "",
    ]
    head = ["exercise", *(f"{a}°" for a in azimuths), "all"]
    text += _table(
        head,
        [
            [
                e.replace("_", " "),
                *(_stat(_gather(results, "pixels", names=list(JOINTS), exercise=e, azimuth_deg=a)) for a in azimuths),
                _stat(_gather(results, "pixels", names=list(JOINTS), exercise=e)),
            ]
            for e in exercises
        ],
    )
    text += ["By joint:", ""]
    parts = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    text += _table(
        ["joint", *(f"{a}°" for a in azimuths), "all"],
        [
            [
                p,
                *(_stat(_gather(results, "pixels", names=[f"{s}_{p}" for s in sides], azimuth_deg=a)) for a in azimuths),
                _stat(_gather(results, "pixels", names=[f"{s}_{p}" for s in sides])),
            ]
            for p in parts
        ],
    )
    for kind, title, note in (
        ("flat", "Angles in the image plane: error in degrees", "Measured 2D angle against the same angle of the projected true joints."),
        ("solid", "Angles in space: error in degrees", "Measured 3D angle (metric landmarks) against the true joint angle."),
    ):
        text += [f"## {title}", "", note, ""]
        text += _table(
            ["angle", *(f"{a}°" for a in azimuths), "all"],
            [
                [
                    a.replace("_", " "),
                    *(_stat(_gather(results, kind, names=[f"{s}_{a}_deg" for s in sides], azimuth_deg=z)) for z in azimuths),
                    _stat(_gather(results, kind, names=[f"{s}_{a}_deg" for s in sides])),
                ]
                for a in ANGLES
            ],
        )
        text += _table(
            ["exercise", *(f"{a}°" for a in azimuths), "all"],
            [
                [
                    e.replace("_", " "),
                    *(_stat(_gather(results, kind, names=angles, exercise=e, azimuth_deg=z)) for z in azimuths),
                    _stat(_gather(results, kind, names=angles, exercise=e)),
                ]
                for e in exercises
            ],
        )
    text += _counting(results, clips, exercises, azimuths)
    return "\n".join(text).rstrip() + "\n"


def _counting(results: list[dict[str, Any]], clips: dict[str, Any] | None, exercises: list[str], azimuths: list[int]) -> list[str]:
    by = {(r["exercise"], r["azimuth_deg"]): r for r in results}
    exact = sum(r["expected"] == r["counted"] for r in results)
    found, frames = sum(r["found"] for r in results), sum(r["frames"] for r in results)
    text = [
        "## Counting",
        "",
        f"Athlete: counted / expected (holds count once). Exact in {exact} of {len(results)} scenes; the person is found in "
        f"{100 * found / max(frames, 1):.1f} % of {frames} frames.",
        "",
    ]
    cells = [
        [e.replace("_", " "), *(f"{by[e, a]['counted']} / {by[e, a]['expected']}" if (e, a) in by else "–" for a in azimuths)]
        for e in exercises
    ]
    text += _table(["exercise", *(f"{a}°" for a in azimuths)], cells)
    if clips is None:
        return text
    rows = clips["clips"]
    text += [
        f"Real clips, counts read by eye, the exercise given: exact {clips['exact']} of {len(rows)}, within one {clips['within_one']}.",
        "",
    ]
    text += _table(
        ["clip", "exercise", "expected", "counted", "difference"],
        [[r["clip"], r["exercise"], str(r["expected"]), str(r["counted"]), f"{r['counted'] - r['expected']:+d}"] for r in rows],
    )
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three exercises, two cameras, print only")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8))
    options = parser.parse_args()
    tasks = [(e, a) for e in EXERCISES for a in AZIMUTHS_DEG]
    if options.quick:
        tasks = [(e, a) for e in ("squat", "bicep_curl", "jumping_jack") for a in (0, 60)]
    results = []
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(options.workers) as pool:
        for number, result in enumerate(pool.map(measure, tasks), 1):
            results.append(result)
            pixels = [v for values in result["pixels"].values() for v in values]
            print(
                f"[{number}/{len(tasks)}] {result['exercise']} {result['azimuth_deg']}°: {_stat(pixels)} px, "
                f"counted {result['counted']} of {result['expected']}, found in {result['found']}/{result['frames']}",
                flush=True,
            )
    clips = None if options.quick else counted_clips()
    text = document(results, clips)
    if options.quick:
        print(text)
        return 0
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"athlete": results, "clips": clips}))
    DOC.write_text(text)
    print(f"written: {DOC.relative_to(ROOT)}, {RESULTS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

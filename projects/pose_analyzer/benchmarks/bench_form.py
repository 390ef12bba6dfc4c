"""Form and recognition on athletes nobody was tuned to: detection and false alarms by fault, confusion by exercise.

    python projects/pose_analyzer/benchmarks/bench_form.py [--people 6] [--json] [--clips]

Truth is the athlete's: landmarks with a detector's errors, bodies, depths, tempi and cameras drawn by seeds that the references
have not seen. `rate` is the share of repetitions with the fault of that degree in which it is named, over the views from which it
should be seen; one that is declared not to be judged counts as missed. `--clips` adds the recorded clips (folder `../shared/data`,
or `POSE_TEST_DATA`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pose_analyzer.cli.recognizer_training import label_of
from pose_analyzer.pipeline.takes import repetitions_by_view, varied_scene
from pose_analyzer.exercise import TemporalAnalyzer, list_references, load_profile, load_reference
from pose_analyzer.exercise.judgement import judge
from pose_analyzer.exercise.recognizer import UNKNOWN, ExerciseRecognizer
from pose_analyzer.synthetic import Exercise, MotionSpec, scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import Poses

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
FIRST_SEED = 9000

# Degrees to try, the last ones clear to anybody who looks; and the views that show the fault (degrees from the front).
FAULTS: dict[str, tuple[tuple[float, ...], float, tuple[float, ...]]] = {
    "knee_valgus_deg": ((4, 8, 12, 16, 20), 16, (0, 15, 30)),
    "forward_lean_deg": ((4, 8, 12, 16, 20), 16, (45, 60, 75, 90)),
    "elbow_drift_deg": ((8, 16, 24, 32, 40), 32, (45, 60, 75, 90)),
    "asymmetry_deg": ((6, 10, 15, 20, 25), 20, (0, 15)),
    "depth_loss_deg": ((8, 15, 22, 30, 38), 30, (60, 75, 90)),
    "half_range": ((0.35, 0.5), 0.5, (60, 75, 90)),
    "rushed_tempo": ((0.3, 0.45, 0.6, 0.7), 0.6, (0, 45, 90)),
    "rounded_back_deg": ((20, 40), 40, (60, 75, 90)),
}
# Movement of the arms to the sides is seen from the front.
FRONTAL = frozenset({"lateral_raise", "jumping_jack", "overhead_press"})


def fault_rows(exercises: Iterable[str] | None = None, *, people: int = 6, reps: int = 2) -> list[dict[str, Any]]:
    """One row per exercise and fault: rate by degree, smallest degree found in 95 % and whether that is so at the clear one."""
    rows = []
    for exercise in exercises or list_references():
        reference, profile = load_reference(exercise), load_profile(exercise)
        possible = MotionSpec(exercise=Exercise.named(exercise)).possible_faults
        for fault, (degrees, clear, views) in FAULTS.items():
            if fault not in possible:
                continue
            name = fault.removesuffix("_deg")
            wanted = {name, "half_range"} if name == "depth_loss" else {name, "depth_loss"} if name == "half_range" else {name}
            seen_from = (0, 15, 30) if exercise in FRONTAL and name in ("depth_loss", "half_range") else views
            rates, told = {}, 0
            for degree in degrees:
                hits = total = 0
                for seed in range(FIRST_SEED, FIRST_SEED + people):
                    for found in repetitions_by_view(exercise, seen_from, reps=reps, seed=seed, faults={fault: degree}).values():
                        for repetition in found:
                            total += 1
                            hits += not wanted.isdisjoint(f.fault for f in judge(repetition, reference, profile).findings)
                rates[degree] = hits / total if total else float("nan")
                told += total
            sure = [d for d in degrees if rates[d] >= 0.95 and all(rates[e] >= 0.95 for e in degrees if e >= d)]
            rows.append(
                {
                    "exercise": exercise,
                    "fault": name,
                    "views_deg": list(seen_from),
                    "rate_by_degree": {str(d): round(r, 3) for d, r in rates.items()},
                    "clear_degree": clear,
                    "rate_at_clear": round(rates[clear], 3),
                    "smallest_found": sure[0] if sure else None,
                    "repetitions": told,
                }
            )
    return rows


def false_alarm_rows(exercises: Iterable[str] | None = None, *, people: int = 10, reps: int = 3) -> list[dict[str, Any]]:
    """One row per exercise: share of good repetitions in which anything is told, and what."""
    rows = []
    for exercise in exercises or list_references():
        reference, profile = load_reference(exercise), load_profile(exercise)
        told: Counter[str] = Counter()
        scores: list[float] = []
        alarms = unusual = 0
        for seed in range(FIRST_SEED + 500, FIRST_SEED + 500 + people):
            for found in repetitions_by_view(exercise, (0, 30, 60, 90), reps=reps, seed=seed).values():
                for s in (judge(r, reference, profile) for r in found):
                    scores.append(s.score)
                    names = {f.fault for f in s.findings}
                    told.update(names)
                    alarms += bool(names)
                    unusual += s.unusual
        n = len(scores)
        rows.append(
            {
                "exercise": exercise,
                "repetitions": n,
                "false_alarms": round(alarms / n, 3) if n else None,
                "unusual": round(unusual / n, 3) if n else None,
                "by_fault": {k: round(v / n, 3) for k, v in told.items()},
                "median_score": round(float(np.nanmedian(scores)), 1) if n else None,
            }
        )
    return rows


def recognition_rows(*, people: int = 4) -> list[dict[str, Any]]:
    """One row per exercise of the athlete: how often it is recognised live within two repetitions, and what else is said."""
    rows = []
    for exercise in Exercise:
        said: Counter[str] = Counter()
        truth = label_of(exercise.value)
        for seed in range(FIRST_SEED + 900, FIRST_SEED + 900 + people):
            for azimuth in (0.0, 40.0, 80.0, 140.0, 200.0, 300.0):
                said[_recognised(exercise, azimuth, seed)] += 1
        rows.append(
            {"exercise": exercise.value, "truth": truth, "rate": round(said[truth] / said.total(), 3), "said": dict(said.most_common())}
        )
    return rows


def _recognised(exercise: Exercise, azimuth: float, seed: int) -> str:
    """The label at the end of the second repetition (or after six seconds of what has none)."""
    if MotionSpec(exercise=exercise).counted:
        scene = varied_scene(exercise.value, azimuth_deg=azimuth, reps=2, seed=seed)
        until = max(scene.repetitions(1)[-1].end_s + 0.3, 2.0)
    else:
        scene = scene_for(exercise, azimuth_deg=azimuth, seed=seed, fps=15, hold_s=8.0)
        until = 6.0
    recognizer = ExerciseRecognizer()
    for poses, time_s, _ in observed(scene, seed=seed):
        if time_s > until:
            break
        recognizer.update(poses, timestamp_s=time_s)
    return recognizer.label(1)


def clip_row(label: str, rows: Iterable[tuple[float, Poses]]) -> dict[str, Any]:
    """What is said of a recorded clip: of its main person, over the whole of it."""
    recognizer, area = ExerciseRecognizer(), defaultdict(float)
    for time_s, poses in rows:
        recognizer.update(poses, timestamp_s=time_s)
        for track_id, px2 in zip(poses.track_ids.tolist(), poses.areas_px.tolist(), strict=True):
            area[track_id] += px2
    main = max(area, key=lambda t: area[t], default=-1)
    return {"label": label, "said": recognizer.overall(main) if main >= 0 else UNKNOWN}


def clip_rows() -> list[dict[str, Any]]:
    """One row per recorded clip.

    Raises:
        FileNotFoundError: The clips are not there.
    """
    from pose_analyzer.detection import create_detector
    from pose_analyzer.pipeline.stream import Pipeline

    listed = json.loads((DATA / "clips.json").read_text(encoding="utf-8"))["clips"]
    detector, rows = create_detector("blazepose", max_people=2), []
    for clip in (c for c in listed if c["file"].startswith(("exercise/", "fight/"))):
        updates = Pipeline(detector=detector).run(DATA / clip["file"])
        rows.append({"clip": Path(clip["file"]).stem} | clip_row(clip["label"], ((u.frame.timestamp_s, u.tracked) for u in updates)))
    detector.close()
    return rows


def cost_row() -> dict[str, Any]:
    """Milliseconds per frame and person of the temporal analyser and of the recogniser, at 33 points."""
    analyzer, recognizer, times, others = TemporalAnalyzer(load_reference("squat")), ExerciseRecognizer(), [], []
    for poses, time_s, index in observed(scene_for("squat", azimuth_deg=45, reps=4, fps=30)):
        start = time.perf_counter()
        analyzer.update(poses, timestamp_s=time_s, frame_index=index)
        middle = time.perf_counter()
        recognizer.update(poses, timestamp_s=time_s)
        times.append(middle - start)
        others.append(time.perf_counter() - middle)
    return {
        "temporal_median_ms": round(1e3 * statistics.median(times), 3),
        "temporal_p99_ms": round(1e3 * float(np.quantile(times, 0.99)), 3),
        "recognizer_median_ms": round(1e3 * statistics.median(others), 3),
        "matches": len(analyzer.matches),
    }


def accuracy_rows(*, people: int = 6, clips: bool = False) -> dict[str, Any]:
    """All tables as plain dicts."""
    return {
        "faults": fault_rows(people=people),
        "false_alarms": false_alarm_rows(people=people + 4),
        "recognition": recognition_rows(),
        "clips": clip_rows() if clips else [],
        "cost": [cost_row()],
    }


def tabulate(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title)
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(v) for v in row.values()))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--people", type=int, default=6, help="athletes per cell (default: %(default)s)")
    parser.add_argument("--clips", action="store_true", help="recognise the recorded clips, too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    arguments = parser.parse_args()
    result = accuracy_rows(people=arguments.people, clips=arguments.clips)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    for title, rows in result.items():
        Console().print(tabulate(title, rows))


if __name__ == "__main__":
    main()

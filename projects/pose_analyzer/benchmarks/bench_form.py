"""Form and recognition on athletes nobody was tuned to: faults found and false alarms by fault, confusion by exercise, cost.

    python projects/pose_analyzer/benchmarks/bench_form.py [--full] [--chosen-on] [--json] [--recognition] [--clips]

The athlete is filmed, detected by BlazePose, smoothed, counted and judged as a user's clip would be; bodies, rooms and cameras
(`form_takes`) are none of those that the references were learnt from, nor those that limits were chosen on (`--chosen-on` judges these
instead). By default only a sample is filmed, about two minutes on a quiet core; `--full` takes all 577 sets, some 15 minutes, and keeps
what the detector saw for the next time (`--cache`). `--recognition` adds the recogniser's table, `--clips` the recorded clips (folder
`../shared/data`, or `POSE_TEST_DATA`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

sys.path.insert(0, str(Path(__file__).parent))
from form_takes import CHOSEN_ON, GRADES, JUDGED_ON, faulty_takes, good_takes, sample

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.cli.recognizer_training import label_of
from pose_analyzer.exercise import FormScore, FormScorer, RepetitionCounter, TemporalAnalyzer, load_profile, load_reference
from pose_analyzer.exercise.recognizer import UNKNOWN, ExerciseRecognizer
from pose_analyzer.pipeline.takes import Studio, Take, varied_scene
from pose_analyzer.synthetic import Exercise, MotionSpec, scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import Angles, Poses

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
CACHE = user_cache_path("pose-analyzer", appauthor=False) / "takes"
FIRST_SEED = 9000
_SAMPLED_FAULTY, _SAMPLED_GOOD = 60, 30
_FOUND_GOAL, _ALARM_GOAL = 0.95, 0.05
# Half a movement is a movement that is too short.
_SAME = {"depth_loss": {"depth_loss", "half_range"}, "half_range": {"depth_loss", "half_range"}}


class Judged:
    """Takes, scored; each take is filmed and judged once.

    Args:
        folder: Where detections are kept, None = nowhere.
        full: All takes, or a sample.
        filmed_only: Leave out what has not been filmed before.
        first_seed: Of the takes, as in `form_takes`.
    """

    def __init__(self, folder: Path | None, *, full: bool = False, filmed_only: bool = False, first_seed: int = JUDGED_ON) -> None:
        studio = Studio(folder)
        faulty, good = faulty_takes(clear_only=not full, first_seed=first_seed), good_takes(first_seed=first_seed)
        if not full:
            faulty, good = sample(faulty, _SAMPLED_FAULTY), sample(good, _SAMPLED_GOOD)
        if filmed_only and folder is not None:
            faulty, good = ([t for t in takes if (folder / f"{t.key}.npz").is_file()] for takes in (faulty, good))
        self.faulty = [(t, _scores(t, studio)) for t in faulty]
        self.good = [(t, _scores(t, studio)) for t in good]
        studio.close()


def _scores(take: Take, studio: Studio) -> list[FormScore]:
    """What the scorer says of a take as of a live stream: of repetitions that are counted, and of attempts that are not."""
    poses, times, frames = studio.steady(take)
    if len(poses) < 2:
        return []
    profile = load_profile(take.exercise)
    counter, scorer = RepetitionCounter(profile), FormScorer(load_reference(take.exercise), profile=profile, cooldown_s=0.0)
    angles = joint_angles(poses, timestamp_s=0.0)
    for i, (time_s, index) in enumerate(zip(times.tolist(), frames.tolist(), strict=True)):
        one = Angles(angles.names, np.ones(1, np.int64), angles.value_deg[i : i + 1])
        told = counter.update(one, poses[i : i + 1], timestamp_s=time_s, frame_index=index)
        scorer.update(poses[i : i + 1], told, timestamp_s=time_s, frame_index=index)
    scorer.flush(counter.flush())
    return list(scorer.scores)


def fault_rows(judged: Judged) -> list[dict[str, Any]]:
    """One row per fault and degree: in how many of the sets it was found, told under another name, or declared not to be seen.

    `not_counted` are sets of which nothing was told at all. `found_of_judged` leaves these out, and the sets in which the fault was
    declared not to be seen from there; `found_of_all` does not.
    """
    rows = []
    for fault, degrees in GRADES.items():
        name = fault.removesuffix("_deg")
        for degree in degrees:
            sets = [s for t, s in judged.faulty if t.faults == {fault: degree} and s]
            uncounted = sum(t.faults == {fault: degree} and not s for t, s in judged.faulty)
            if not sets and not uncounted:
                continue
            found = sum(any(_SAME.get(name, {name}) & {f.fault for f in s.findings} for s in scores) for scores in sets)
            told = sum(any(s.findings for s in scores) for scores in sets)
            hidden = sum(_hidden(name, scores) for scores in sets)
            rows.append(
                {
                    "fault": name,
                    "degree": degree,
                    "clear": degree == degrees[-1],
                    "sets": len(sets),
                    "found": found,
                    "found_or_other_warning": told,
                    "cannot_be_seen": hidden,
                    "not_counted": uncounted,
                    "found_of_judged": round(found / (len(sets) - hidden), 3) if len(sets) > hidden else None,
                    "found_of_all": round(found / (len(sets) + uncounted), 3),
                }
            )
    return rows


def _hidden(name: str, scores: list[FormScore]) -> bool:
    """Whether the fault was declared not to be seen, in every repetition, and not found all the same."""
    names = _SAME.get(name, {name})
    return all((names | {"everything"}) & set(s.not_judged) and not names & {f.fault for f in s.findings} for s in scores)


def exercise_rows(judged: Judged) -> list[dict[str, Any]]:
    """One row per exercise and fault at the clear degree."""
    rows = []
    for exercise in sorted({t.exercise for t, _ in judged.faulty}):
        for fault, degrees in GRADES.items():
            name = fault.removesuffix("_deg")
            sets = [s for t, s in judged.faulty if t.exercise == exercise and t.faults == {fault: degrees[-1]} and s]
            if sets:
                found = sum(any(_SAME.get(name, {name}) & {f.fault for f in s.findings} for s in scores) for scores in sets)
                hidden = sum(_hidden(name, scores) for scores in sets)
                rows.append({"exercise": exercise, "fault": name, "sets": len(sets), "found": found, "cannot_be_seen": hidden})
    return rows


def false_alarm_rows(judged: Judged) -> list[dict[str, Any]]:
    """One row per exercise, and one for all: good sets (of two repetitions) and repetitions in which anything is told, and what."""
    rows = []
    for exercise in [*sorted({t.exercise for t, _ in judged.good}), "all"]:
        sets = [s for t, s in judged.good if exercise in (t.exercise, "all") and s]
        scores = [s for some in sets for s in some]
        told = Counter(f.fault for s in scores for f in s.findings)
        if sets:
            rows.append(
                {
                    "exercise": exercise,
                    "sets": len(sets),
                    "sets_with_a_warning": sum(any(s.findings for s in some) for some in sets),
                    "repetitions": len(scores),
                    "repetitions_with_a_warning": sum(bool(s.findings) for s in scores),
                    "told": dict(told.most_common()),
                    "median_score": round(float(np.nanmedian([s.score for s in scores])), 1),
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
    """Milliseconds of processor time per frame and person of scorer, temporal analyser and recogniser, at 33 points."""
    analyzer, recognizer, times, others = TemporalAnalyzer(load_reference("squat")), ExerciseRecognizer(), [], []
    scorer, counter, judging = FormScorer(load_reference("squat")), RepetitionCounter(load_profile("squat")), []
    for poses, time_s, index in observed(scene_for("squat", azimuth_deg=45, reps=4, fps=30)):
        start = time.thread_time()
        analyzer.update(poses, timestamp_s=time_s, frame_index=index)
        middle = time.thread_time()
        recognizer.update(poses, timestamp_s=time_s)
        times.append(middle - start)
        others.append(time.thread_time() - middle)
        told = counter.update(joint_angles(poses, timestamp_s=time_s), timestamp_s=time_s, frame_index=index)
        start = time.thread_time()
        scorer.update(poses, told, timestamp_s=time_s, frame_index=index)
        judging.append(time.thread_time() - start)
    return {
        "scorer_median_ms": round(1e3 * statistics.median(judging), 3),
        "scorer_p99_ms": round(1e3 * float(np.quantile(judging, 0.99)), 3),
        "temporal_median_ms": round(1e3 * statistics.median(times), 3),
        "temporal_p99_ms": round(1e3 * float(np.quantile(times, 0.99)), 3),
        "recognizer_median_ms": round(1e3 * statistics.median(others), 3),
        "matches": len(analyzer.matches),
    }


def temporal_rows(folder: Path | None, takes: Iterable[Take]) -> list[dict[str, Any]]:
    """One row per exercise: repetitions that `TemporalAnalyzer` finds in good sets, and those it calls unusual."""
    studio, rows = Studio(folder), defaultdict(Counter)
    for take in takes:
        analyzer, row = TemporalAnalyzer(load_reference(take.exercise)), rows[take.exercise]
        poses, times, frames = studio.steady(take)
        for i, (time_s, index) in enumerate(zip(times.tolist(), frames.tolist(), strict=True)):
            analyzer.update(poses[i : i + 1], timestamp_s=time_s, frame_index=index)
        row["repetitions"] += take.reps
        row["found"] += len(analyzer.matches)
        row["unusual"] += sum(m.unusual for m in analyzer.matches)
    studio.close()
    return [{"exercise": exercise, **{k: row[k] for k in ("repetitions", "found", "unusual")}} for exercise, row in sorted(rows.items())]


def form_rows(
    folder: Path | None = CACHE, *, full: bool = False, filmed_only: bool = False, first_seed: int = JUDGED_ON
) -> dict[str, list[dict[str, Any]]]:
    """All tables of form as plain dicts."""
    judged = Judged(folder, full=full, filmed_only=filmed_only, first_seed=first_seed)
    return {
        "faults": fault_rows(judged),
        "exercises": exercise_rows(judged),
        "false_alarms": false_alarm_rows(judged),
        "temporal": temporal_rows(folder, [t for t, _ in judged.good]),
        "cost": [cost_row()],
    }


def accuracy_markdown() -> str:
    """The section of docs/ACCURACY.md: sets that judge, and in one line those that limits were chosen on."""
    # A machine that never filmed takes the short list; what was filmed of the lesser degrees is told as far as it goes.
    filmed = all((CACHE / f"{take.key}.npz").is_file() for take in (*faulty_takes(clear_only=True), *good_takes()))
    text = (
        "## Form\n\nReferences were learnt from other people, rooms and cameras, and limits of the code were chosen on others again than\n"
        "those that are judged here: nobody had looked at these sets when the code was finished.\n\n"
    )
    text += form_markdown(form_rows(full=filmed, filmed_only=filmed))
    chosen = [*faulty_takes(first_seed=CHOSEN_ON), *good_takes(first_seed=CHOSEN_ON)]
    if any((CACHE / f"{take.key}.npz").is_file() for take in chosen):
        judged = Judged(CACHE, full=True, filmed_only=True, first_seed=CHOSEN_ON)
        summary = _summary(fault_rows(judged), false_alarm_rows(judged)[-1])
        text += "\n\nThe sets that limits were chosen on, for comparison. " + " ".join(summary)
    return text + "\n\nCommand: `python projects/pose_analyzer/benchmarks/bench_form.py --full`\n"


def form_markdown(tables: dict[str, list[dict[str, Any]]]) -> str:
    """Tables of `form_rows` as Markdown, with goals and whether they were met."""
    rows = tables["faults"]
    lines = [*_summary(rows, tables["false_alarms"][-1]), ""]
    lines += ["Smallest degree from which on 95 % are found, where the view shows the fault: " + ", ".join(_smallest(rows)) + ".", ""]
    for title, name in (("Faults by degree", "faults"), ("At the clear degree, by exercise", "exercises"), ("Good form", "false_alarms")):
        lines += [f"**{title}**", "", *_table(tables[name]), ""]
    lines += ["**Whole movement, found in the stream**", "", *_table(tables["temporal"]), "", "**Cost**", "", *_table(tables["cost"])]
    return "\n".join(lines)


def _summary(rows: list[dict[str, Any]], alarms: dict[str, Any]) -> list[str]:
    """What was found of clear faults, and the false alarms, with goals."""
    clear = [r for r in rows if r["clear"] and r["fault"] != "rounded_back"]
    found, seen = sum(r["found"] for r in clear), sum(r["sets"] - r["cannot_be_seen"] for r in clear)
    total, silent = sum(r["sets"] + r["not_counted"] for r in clear), sum(r["not_counted"] for r in clear)
    share = alarms["sets_with_a_warning"] / alarms["sets"]
    return [
        f"Faults of clear degree found: {found} of {seen} repetitions that were seen and whose view shows the fault "
        f"({found / max(seen, 1):.1%}); goal {_FOUND_GOAL:.0%}: {_met(found / max(seen, 1) >= _FOUND_GOAL)}. With the {silent} in which "
        f"no movement was noticed: {found} of {seen + silent} ({found / max(seen + silent, 1):.1%}); of all {total}, also where the view "
        f"does not show it: {found / max(total, 1):.1%}.",
        f"False alarms: {alarms['sets_with_a_warning']} of {alarms['sets']} good sets ({share:.1%}), "
        f"{alarms['repetitions_with_a_warning']} of {alarms['repetitions']} repetitions; goal {_ALARM_GOAL:.0%} of sets: "
        f"{_met(share <= _ALARM_GOAL)}.",
    ]


def _smallest(rows: list[dict[str, Any]]) -> list[str]:
    out = []
    for fault in dict.fromkeys(r["fault"] for r in rows):
        degrees = [(r["degree"], r["found_of_judged"] or 0.0) for r in rows if r["fault"] == fault]
        sure = [d for i, (d, _) in enumerate(degrees) if all(rate >= _FOUND_GOAL for _, rate in degrees[i:])]
        out.append(f"{fault.replace('_', ' ')} {sure[0] if sure else 'none'}")
    return out


def _met(yes: bool) -> str:
    return "met" if yes else "missed"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["nothing was filmed"]
    head = [name.replace("_", " ") for name in rows[0]]
    cells = [["–" if v is None else str(v) for v in row.values()] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *cells)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--full", action="store_true", help="film all sets")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where detections are kept (default: %(default)s)")
    parser.add_argument("--chosen-on", action="store_true", help="the sets that limits were chosen on in place of those that judge")
    parser.add_argument("--filmed-only", action="store_true", help="leave out sets that have not been filmed before")
    parser.add_argument("--recognition", action="store_true", help="the recogniser's table, too")
    parser.add_argument("--clips", action="store_true", help="recognise the recorded clips, too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    arguments = parser.parse_args()
    seed = CHOSEN_ON if arguments.chosen_on else JUDGED_ON
    tables = form_rows(arguments.cache, full=arguments.full, filmed_only=arguments.filmed_only, first_seed=seed)
    others = {"recognition": recognition_rows() if arguments.recognition else [], "clips": clip_rows() if arguments.clips else []}
    if arguments.json:
        print(json.dumps(tables | others, indent=1))
        return
    print(form_markdown(tables))
    for title, rows in others.items():
        if rows:
            print("\n".join(["", f"**{title}**", "", *_table(rows)]))


if __name__ == "__main__":
    main()

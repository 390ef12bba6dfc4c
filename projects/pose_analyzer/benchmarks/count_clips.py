"""Repetitions counted on the recorded clips, against counts read by eye: with the exercise given, and recognised by itself.

    python projects/pose_analyzer/benchmarks/count_clips.py [--auto] [--only squat] [--json]   # about three minutes
    python projects/pose_analyzer/benchmarks/count_clips.py --confusion                         # a minute more: athletes, too

Every clip goes once through the product's own path (detector, tracker, filter, angles) with default settings; behind it both counters
get the same readings. One person is counted: the most prominent track (box area summed over frames) and every further track that hardly
shares a frame with it or with another one chosen, in order of prominence; such a track is the same person again after a cut. `--auto`
adds what is recognised, and the clips in which nobody exercises: there, everybody's repetitions count, and there should be none.

The clips lie in the folder `../shared/data` beside the repository; `POSE_TEST_DATA` names another place. The recogniser has seen neither
them nor the athlete: it was trained on stick figures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.cli.recognizer_training import label_of, windows
from pose_analyzer.detection import create_detector
from pose_analyzer.detection.base import PoseDetector
from pose_analyzer.exercise import AutoCounter, RepetitionCounter, load_profile
from pose_analyzer.exercise.network import UNKNOWN, load_model
from pose_analyzer.pipeline.stream import Pipeline
from pose_analyzer.synthetic import Exercise, MotionSpec, scene_for
from pose_analyzer.synthetic.observed import landmarks_over_time, observed
from shared_utils.data_models import Event, EventType, Poses

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
Row = dict[str, Any]
NOBODY = ("fight/", "multi/")
"""Folders of clips in which nobody exercises."""
_AZIMUTHS_DEG = (0.0, 40.0, 80.0, 140.0, 200.0, 300.0)
_FIRST_SEED = 9900
# Of its frames that a track may share with another of the same person: a detector's slip of a frame or two.
_SHARED = 0.02


def count_clip(path: Path, exercise: str | None, detector: PoseDetector) -> Row:
    """Repetitions of the clip's main person with the exercise given and recognised by itself, and the frames per second of the path.

    Args:
        path: The clip.
        exercise: What is done; None = nothing.
        detector: A ready detector.
    """
    seen: dict[int, set[int]] = defaultdict(set)
    area: dict[int, float] = defaultdict(float)
    given = None if exercise is None else RepetitionCounter(load_profile(exercise))
    auto = AutoCounter()
    known: list[Event] = []
    found: list[Event] = []
    frames, start, counting_s, people = 0, time.perf_counter(), 0.0, 0
    last = None
    for update in Pipeline(detector=detector).run(path):
        if last is update.frame:
            continue
        last, when = update.frame, {"timestamp_s": update.frame.timestamp_s, "frame_index": update.frame.index}
        frames += 1
        people += len(update.tracked)
        for track_id, px2 in zip(update.tracked.track_ids.tolist(), update.tracked.areas_px.tolist(), strict=True):
            seen[track_id].add(update.frame.index)
            area[track_id] += px2
        if given is not None:
            known += given.update(update.angles, update.tracked, **when)
        begun = time.perf_counter()
        found += auto.update(update.angles, update.tracked, **when)
        counting_s += time.perf_counter() - begun
    known += [] if given is None else given.flush()
    found += auto.flush()
    chosen: list[int] = []
    for track_id in sorted(area, key=lambda t: (-area[t], t)):
        if all(len(seen[track_id] & seen[c]) <= _SHARED * len(seen[track_id]) for c in chosen):
            chosen.append(track_id)
    mine = chosen if exercise is not None else list(area)
    other = Counter(e.type for e in known)
    return {
        "counted": _repetitions(known, chosen),
        "auto": _repetitions(found, mine),
        "label": ", ".join(dict.fromkeys(e.data["exercise"] for e in _told(found, mine))) or UNKNOWN,
        "said": [(round(e.end_s, 1), e.data["exercise"]) for e in _told(found, mine)],
        "tracks": len(area),
        "tracks_counted": len(chosen),
        **{kind.value: other[kind] for kind in (EventType.REP_PARTIAL, EventType.REP_ABANDONED)},
        "frames": frames,
        "frames_per_s": round(frames / (time.perf_counter() - start), 1),
        "auto_ms": round(1e3 * counting_s / max(people, 1), 2),
    }


def _repetitions(events: Iterable[Event], tracks: list[int]) -> int:
    return sum(e.type == EventType.REP_COMPLETED and e.track_id in tracks for e in events)


def _told(events: Iterable[Event], tracks: list[int]) -> list[Event]:
    return [e for e in events if e.type == EventType.EXERCISE_RECOGNIZED and e.track_id in tracks]


def run(detector_name: str = "blazepose", *, only: str = "", nobody: bool = True) -> dict[str, Any]:
    """Count every clip whose file name contains `only`; rows, and how many are exact and within one.

    Args:
        detector_name: As for `create_detector`.
        only: Part of the file's name.
        nobody: Also the clips in which nobody exercises.

    Raises:
        FileNotFoundError: The clips are not there.
    """
    listed = json.loads((DATA / "clips.json").read_text(encoding="utf-8"))["clips"]
    clips = [c for c in listed if only in c["file"] and (c["reps"] is not None or (nobody and c["file"].startswith(NOBODY)))]
    detector = create_detector(detector_name, max_people=2)  # pyright: ignore[reportArgumentType]
    rows: list[Row] = []
    try:
        for clip in progress(clips, description="counting", console=Console(stderr=True), transient=True):
            expected = clip["reps"]
            found = count_clip(DATA / clip["file"], None if expected is None else clip["label"], detector)
            head = {"clip": Path(clip["file"]).stem, "exercise": clip["label"], "certainty": clip["certainty"], "expected": expected or 0}
            head |= {"difference": found["counted"] - head["expected"], "auto_difference": found["auto"] - head["expected"]}
            rows.append(head | found | {"exercises": expected is not None})
    finally:
        detector.close()
    counted = [r for r in rows if r["exercises"]]
    off, auto_off = ([abs(r[k]) for r in counted] for k in ("difference", "auto_difference"))
    return {
        "detector": detector_name,
        "clips": counted,
        "others": [r for r in rows if not r["exercises"]],
        "of": len(counted),
        "exact": off.count(0),
        "within_one": sum(d <= 1 for d in off),
        "auto_exact": auto_off.count(0),
        "auto_within_one": sum(d <= 1 for d in auto_off),
        "auto_elsewhere": sum(r["auto"] for r in rows if not r["exercises"]),
    }


def confusion_rows(*, people: int = 2, reps: int = 4) -> list[Row]:
    """One row per exercise: how often it is recognised, what else is said, and how often the count is exact.

    Judged on sets of the athlete by people and cameras nobody was tuned to; exercises that the athlete does not know (bench press, incline
    push-up) on single windows of held-out stick figures.
    """
    rows = [_athlete_row(exercise, people, reps) for exercise in Exercise]
    model = load_model()
    for name in ("bench_press", "push_up_incline"):
        found = [d for d, label in windows(name, performances=10 * people, seed=_FIRST_SEED) if label == name]
        said = Counter(model.labels[i] for i in model.probabilities(np.stack(found)).argmax(1))
        rows.append(_confusion(f"{name} (windows)", name, said))
    return rows


def _athlete_row(exercise: Exercise, people: int, reps: int) -> Row:
    said: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    counted = MotionSpec(exercise=exercise).counted
    for seed in range(_FIRST_SEED, _FIRST_SEED + people):
        landmarks = None
        for azimuth_deg in _AZIMUTHS_DEG:
            scene = scene_for(exercise, azimuth_deg=azimuth_deg, reps=reps, seed=seed, fps=20, **({} if counted else {"hold_s": 10.0}))
            landmarks = landmarks_over_time(scene) if landmarks is None else landmarks
            frames = list(observed(scene, seed=seed * 7 + int(azimuth_deg), landmarks_m=landmarks))
            given, auto, label = _both(exercise, frames)
            said[label] += 1
            truth = reps if counted else 0
            exact.update(given=given == truth, auto=auto == truth)
    row = _confusion(exercise.value, label_of(exercise.value), said)
    if counted:
        row |= {f"{way} exact": f"{exact[way]} of {said.total()}" for way in ("given", "auto")}
    return row


def _both(exercise: Exercise, frames: list[tuple[Poses, float, int]]) -> tuple[int, int, str]:
    """Repetitions with the exercise given and recognised, and the label."""
    given = None if label_of(exercise.value) == UNKNOWN else RepetitionCounter(load_profile(exercise.value))
    auto = AutoCounter()
    known: list[Event] = []
    found: list[Event] = []
    for poses, time_s, index in frames:
        angles = joint_angles(poses, timestamp_s=time_s)
        known += [] if given is None else given.update(angles, poses, timestamp_s=time_s, frame_index=index)
        found += auto.update(angles, poses, timestamp_s=time_s, frame_index=index)
    known += [] if given is None else given.flush()
    found += auto.flush()
    told = _told(found, [1])
    return _repetitions(known, [1]), _repetitions(found, [1]), told[-1].data["exercise"] if told else UNKNOWN


def _confusion(exercise: str, truth: str, said: Counter[str]) -> Row:
    others = ", ".join(f"{name} {n}" for name, n in said.most_common() if name != truth)
    head = {"exercise": exercise, "right answer": truth, "said": f"{said[truth]} of {said.total()}", "else": others or "–"}
    return head | {"given exact": "–", "auto exact": "–"}


# --- words ----------------------------------------------------------------------------------------------
_COLUMNS = {"clip": "clip", "exercise": "exercise", "expected": "expected", "counted": "given", "auto": "auto", "label": "recognised as"}


def tabulate(result: dict[str, Any], *, auto: bool = False) -> Table:
    """The table expected / counted / difference, with what was recognised if `auto`."""
    title = f"{result['detector']}: exact {result['exact']} of {result['of']}, within one {result['within_one']} of {result['of']}"
    if auto:
        title += f"; by itself exact {result['auto_exact']}, within one {result['auto_within_one']}, elsewhere {result['auto_elsewhere']}"
    table = Table(title=title)
    names = ["clip", "exercise", "expected", "counted", "difference", "rep_partial", "rep_abandoned", "tracks", "frames_per_s"]
    names = [*names[:5], "auto", "auto_difference", "label", "auto_ms"] if auto else names
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name in ("clip", "exercise", "label") else "right")
    for row in result["clips"] + (result["others"] if auto else []):
        worst = max(abs(row["difference"]) if row["exercises"] else 0, abs(row["auto_difference"]) if auto else 0)
        table.add_row(*(str(row[n]) for n in names), style=("", "yellow")[worst] if worst <= 1 else "red")
    return table


def markdown(rows: list[Row], columns: dict[str, str] | None = None) -> str:
    """Rows as a table; `columns` names those to show and their heads."""
    heads = columns or {name: name for name in rows[0]}
    lines = ["| " + " | ".join(heads.values()) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[n]) for n in heads) + " |" for row in rows)]) + "\n"


def counting_markdown(result: dict[str, Any]) -> str:
    """The clips, with the goals and whether they were met."""
    n, rows = result["of"], result["clips"] + result["others"]
    late = ", ".join(f"{r['clip']} {'; '.join(f'{t} s {label}' for t, label in r['said'])}" for r in result["clips"] if r["said"])
    lines = [
        f"- Exercise given: {result['exact']} of {n} exact (goal 19), {n - result['within_one']} off by more than one (goal 0): "
        + _verdict(result["exact"] >= min(19, n) and result["within_one"] == n),
        f"- Recognised by itself: {result['auto_exact']} of {n} exact (goal 17): " + _verdict(result["auto_exact"] >= min(17, n)),
        f"- Repetitions of everybody in the {len(result['others'])} clips of fighting, dancing, walking, streets: "
        f"{result['auto_elsewhere']} (goal 0): " + _verdict(result["auto_elsewhere"] == 0),
        f"- Recognising and counting takes {np.median([r['auto_ms'] for r in rows]):.2f} ms per person and frame (median of the clips).",
        f"- Told at: {late}.",
    ]
    return "\n".join([markdown(rows, _COLUMNS), *lines, ""])


def _verdict(met: bool) -> str:
    return "met." if met else "**missed.**"


def accuracy_markdown() -> str:
    """The section of docs/ACCURACY.md."""
    text = "## Counting recorded clips\n\nCounts read by eye; `given` with the exercise named, `auto` recognised by itself.\n\n"
    text += counting_markdown(run()) if (DATA / "clips.json").is_file() else "No figures: the recordings are not there.\n"
    text += "\n## Recognising exercises\n\nSets of four by athletes and from cameras that training has not seen (it has seen stick figures "
    text += "only); a curl with the thumbs up is a bicep curl, walking and gestures are unknown.\n\n"
    return text + markdown(confusion_rows()) + "\nCommand: `python projects/pose_analyzer/benchmarks/count_clips.py --confusion`\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--detector", default="blazepose", help="blazepose, mediapipe or yolo (default: %(default)s)")
    parser.add_argument("--only", default="", help="count the clips whose name contains this")
    parser.add_argument("--auto", action="store_true", help="also what is recognised by itself, and the clips in which nobody exercises")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--confusion", action="store_true", help="print the section of docs/ACCURACY.md, with the recogniser's confusion")
    arguments = parser.parse_args()
    if arguments.confusion:
        print(accuracy_markdown())
        return
    result = run(arguments.detector, only=arguments.only, nobody=arguments.auto)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        Console(width=None if Console().is_terminal else 200).print(tabulate(result, auto=arguments.auto))


if __name__ == "__main__":
    main()

"""Repetitions of moving bodies in sixteen conditions, exercise given and recognised: where counting fails, and how.

    python projects/pose_analyzer/benchmarks/count_sets.py [--seeds 100:101] [--exercises squat,lunge] [--conditions fast,slow] [--given]

Every set of `counting_sets` goes through the default filter, the angles and both counters; no picture is drawn. A seed is one set per
exercise and condition (256 sets, some two minutes); odd seeds are done by the athlete where it knows the exercise, even ones by stick
figures. The counter was mended on seeds below 100; those from 100 on judge it. Nobody's seeds: people who walk, talk, dance, do other
exercises or only come and go, of whom nothing may be counted. Gates were mended on those from 1000 on; those from 500 on judge them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from counting_camera import Sight, seen
from counting_sets import CONDITIONS, COUNTED, HOLDS, make_set

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.cli.recognizer_figures import RATE_HZ
from pose_analyzer.cli.recognizer_negatives import nothing
from pose_analyzer.cli.recognizer_training import label_of
from pose_analyzer.exercise import AutoCounter, RepetitionCounter, load_profile
from pose_analyzer.exercise.network import UNKNOWN
from pose_analyzer.pipeline.stream import make_filter
from pose_analyzer.settings import SmoothingSettings
from shared_utils.data_models import Angles, Event, EventType, Poses

Row = dict[str, Any]
Watched = list[tuple[Poses, Angles, float]]
FIRST_SEED, FIRST_NOBODY = 100, 500
_MAIN = 1
_SECONDS, _FPS = 15.0, 25.0


def watched(frames: Iterable[tuple[Poses, float]]) -> Watched:
    """People behind the default filter with their angles, frame by frame."""
    smooth = make_filter(SmoothingSettings())
    steady = [(smooth.update(poses, timestamp_s=t), t) for poses, t in frames]
    known = [poses for poses, _ in steady if len(poses)]
    if not known:
        return []
    everybody = joint_angles(Poses.concatenate(known), timestamp_s=0.0)
    out, first = [], 0
    for poses, t in steady:
        rows = slice(first, first + len(poses))
        out.append((poses, Angles(everybody.names, everybody.track_ids[rows], everybody.value_deg[rows]), t))
        first = rows.stop
    return out


def events_of(counter: RepetitionCounter | AutoCounter, rows: Watched) -> list[Event]:
    """Everything that a counter tells of a set."""
    events: list[Event] = []
    for i, (poses, angles, t) in enumerate(rows):
        events += counter.update(angles, poses, timestamp_s=t, frame_index=i)
    return events + counter.flush()


def set_row(exercise: str, condition: str, seed: int, *, auto: bool = True) -> Row:
    """One set: how many repetitions too many are counted with the exercise given and by itself, and what is recognised.

    By itself, everybody's repetitions count; given, those of the athlete.
    """
    done = make_set(exercise, condition, seed)
    rows = watched(done.frames)
    kind = EventType.HOLD_COMPLETED if exercise in HOLDS else EventType.REP_COMPLETED
    truth = 1 if exercise in HOLDS else done.repetitions
    told = events_of(RepetitionCounter(load_profile(exercise)), rows)
    row = {"exercise": exercise, "condition": condition, "given": _number(told, kind, own=True) - truth}
    if auto:
        told = events_of(AutoCounter(), rows)
        row |= {"auto": _number(told, kind, own=False) - truth, "said": _said(told), "right": label_of(exercise)}
    return row


def nobody_rows(seeds: Sequence[int]) -> list[Row]:
    """People who do no exercise: repetitions counted by itself, which should be none."""
    rows = []
    for seed in seeds:
        random = np.random.default_rng((seed, 91))
        slow = nothing(random, seconds=_SECONDS)
        times = np.arange(0.0, (len(slow) - 1) / RATE_HZ, 1.0 / _FPS)
        at = np.arange(len(slow)) / RATE_HZ
        flat = np.stack([np.interp(times, at, column) for column in slow.reshape(len(slow), -1).T], axis=1)
        sight = Sight(azimuth_deg=float(random.uniform(-180, 180)), elevation_deg=float(random.uniform(-5, 30)))
        frames = seen(flat.reshape(len(times), 7, 2, 3), times, sight, random)
        told = events_of(AutoCounter(), watched(zip(frames, times.tolist(), strict=True)))
        rows.append({"seed": seed, "auto": _number(told, EventType.REP_COMPLETED, own=False), "said": _said(told)})
    return rows


def rows_of(seeds: Sequence[int], *, exercises: Sequence[str] = (), conditions: Sequence[str] = (), auto: bool = True) -> list[Row]:
    """A row for every exercise, condition and seed; default all exercises and conditions."""
    return [
        set_row(exercise, condition, seed, auto=auto)
        for exercise in exercises or (*COUNTED, *HOLDS)
        for condition in conditions or CONDITIONS
        for seed in seeds
    ]


def _number(events: Iterable[Event], kind: EventType, *, own: bool) -> int:
    return sum(e.type == kind and (not own or e.track_id == _MAIN) for e in events)


def _said(events: Iterable[Event]) -> str:
    said = [e.data["exercise"] for e in events if e.type == EventType.EXERCISE_RECOGNIZED and e.track_id == _MAIN]
    return said[-1] if said else UNKNOWN


# --- words ----------------------------------------------------------------------------------------------
def table(rows: Sequence[Row], by: str) -> str:
    """Share of exact counts, of those off by at most one, and of right names, by exercise or condition."""
    auto = "auto" in rows[0]
    heads = [by, "sets", "given exact", "within one", "too many / too few"]
    heads += ["auto exact", "within one", "too many / too few", "recognised", "else"] if auto else []
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name in (*dict.fromkeys(r[by] for r in rows), "all"):
        group = [r for r in rows if name in ("all", r[by])]
        cells = [name, str(len(group)), *_shares([r["given"] for r in group])]
        if auto:
            wrong = Counter(r["said"] for r in group if r["said"] != r["right"])
            others = ", ".join(f"{label} {n}" for label, n in wrong.most_common(3)) or "–"
            cells += [*_shares([r["auto"] for r in group]), f"{sum(r['said'] == r['right'] for r in group)}", others]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shares(off: Sequence[int]) -> tuple[str, str, str]:
    d = np.array(off)
    return f"{100 * (d == 0).mean():.0f} %", f"{100 * (np.abs(d) <= 1).mean():.0f} %", f"{(d > 0).sum()} / {(d < 0).sum()}"


def accuracy_markdown(seeds: Sequence[int] = (FIRST_SEED,), *, people: int = 100) -> str:
    """The section of docs/ACCURACY.md."""
    rows, nobody = rows_of(seeds), nobody_rows(range(FIRST_NOBODY, FIRST_NOBODY + people))
    counted = [r for r in nobody if r["auto"]]
    text = (
        "## Counting in every condition\n\nSets of 3 to 7 repetitions by moving bodies, from random cameras, with a detector's errors and "
    )
    text += (
        "without pictures; held-out seeds. Exact counts with the exercise given, and recognised by itself (everybody's repetitions).\n\n"
    )
    text += table(rows, "condition") + "\n" + table(rows, "exercise")
    text += f"\nCounted among {len(nobody)} people who walk, talk, dance, or do something that is not listed: {len(counted)}"
    named = ", ".join(f"{r['said']} {r['auto']}" for r in counted)
    text += f" ({named})." if counted else "."
    return text + "\n\nCommand: `python projects/pose_analyzer/benchmarks/count_sets.py`\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", default=f"{FIRST_SEED}:{FIRST_SEED + 1}", help="first:last, last not included (default: %(default)s)")
    parser.add_argument("--exercises", default="", help="names with commas; default all")
    parser.add_argument("--conditions", default="", help=f"with semicolons, of {'; '.join(CONDITIONS)}; default all")
    parser.add_argument("--given", action="store_true", help="only with the exercise given")
    options = parser.parse_args()
    first, last = (int(x) for x in options.seeds.split(":"))
    chosen = [x for x in options.exercises.split(",") if x], [x for x in options.conditions.split(";") if x]
    if not any(chosen) and not options.given:
        print(accuracy_markdown(range(first, last)))
        return
    rows = rows_of(range(first, last), exercises=chosen[0], conditions=chosen[1], auto=not options.given)
    print(table(rows, "condition"), table(rows, "exercise"), sep="\n")


if __name__ == "__main__":
    main()

"""Repetitions counted on the recorded clips, against counts read by eye.

    python projects/pose_analyzer/benchmarks/count_clips.py [--detector blazepose] [--json]

Every clip goes through the product's own path (detector, tracker, One Euro, angles, counter) with the exercise
given and default settings. One person is counted: the most prominent track (box area summed over frames)
and every further track that never shares a frame with it or with another one chosen, in order of prominence;
such a track is the same person again after a cut. The clips lie in the folder `../shared/data` beside the
repository; `POSE_TEST_DATA` names another place.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from pose_analyzer.detection import create_detector
from pose_analyzer.detection.base import PoseDetector
from pose_analyzer.pipeline.stream import Pipeline
from shared_utils.data_models import EventType

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))


def count_clip(path: Path, exercise: str, detector: PoseDetector) -> dict[str, Any]:
    """Repetitions of the clip's main person, and the frames per second of the whole path."""
    seen: dict[int, set[int]] = defaultdict(set)
    area: dict[int, float] = defaultdict(float)
    done: dict[int, int] = defaultdict(int)
    other: dict[str, int] = defaultdict(int)
    frames, start = 0, time.perf_counter()
    for update in Pipeline(exercise=exercise, detector=detector).run(path):
        frames += 1
        for track_id, px2 in zip(update.tracked.track_ids.tolist(), update.tracked.areas_px.tolist(), strict=True):
            seen[track_id].add(update.frame.index)
            area[track_id] += px2
        for event in update.events:
            if event.type == EventType.REP_COMPLETED:
                done[event.track_id] += 1
            elif event.type in (EventType.REP_PARTIAL, EventType.REP_ABANDONED):
                other[event.type.value] += 1
    chosen: list[int] = []
    for track_id in sorted(area, key=lambda t: (-area[t], t)):
        if all(seen[track_id].isdisjoint(seen[c]) for c in chosen):
            chosen.append(track_id)
    return {
        "counted": sum(done[t] for t in chosen),
        "tracks": len(area),
        "tracks_counted": len(chosen),
        **{kind.value: other[kind.value] for kind in (EventType.REP_PARTIAL, EventType.REP_ABANDONED)},
        "frames": frames,
        "frames_per_s": round(frames / (time.perf_counter() - start), 1),
    }


def run(detector_name: str = "blazepose", *, only: str = "") -> dict[str, Any]:
    """Count every clip whose file name contains `only`; rows, and how many are exact and within one.

    Raises:
        FileNotFoundError: The clips are not there.
    """
    listed = json.loads((DATA / "clips.json").read_text(encoding="utf-8"))["clips"]
    clips = [c for c in listed if c["reps"] is not None and only in c["file"]]
    detector = create_detector(detector_name, max_people=2)
    rows: list[dict[str, Any]] = []
    try:
        for clip in progress(clips, description="counting", console=Console(stderr=True), transient=True):
            found = count_clip(DATA / clip["file"], clip["label"], detector)
            rows.append(
                {
                    "clip": Path(clip["file"]).stem,
                    "exercise": clip["label"],
                    "certainty": clip["certainty"],
                    "expected": clip["reps"],
                    "difference": found["counted"] - clip["reps"],
                    **found,
                }
            )
    finally:
        detector.close()
    off = [abs(row["difference"]) for row in rows]
    return {"detector": detector_name, "clips": rows, "of": len(rows), "exact": off.count(0), "within_one": sum(d <= 1 for d in off)}


def tabulate(result: dict[str, Any]) -> Table:
    """The table expected / counted / difference."""
    table = Table(
        title=f"{result['detector']}: exact {result['exact']} of {result['of']}, within one {result['within_one']} of {result['of']}"
    )
    for name in ("clip", "exercise", "expected", "counted", "difference", "partial", "abandoned", "tracks", "frames/s"):
        table.add_column(name, justify="left" if name in ("clip", "exercise") else "right")
    for row in result["clips"]:
        style = "" if row["difference"] == 0 else "yellow" if abs(row["difference"]) == 1 else "red"
        cells = (row["expected"], row["counted"], f"{row['difference']:+d}", row["rep_partial"], row["rep_abandoned"])
        table.add_row(
            row["clip"],
            row["exercise"],
            *map(str, cells),
            f"{row['tracks_counted']}/{row['tracks']}",
            str(row["frames_per_s"]),
            style=style,
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--detector", default="blazepose", help="blazepose, mediapipe or yolo (default: %(default)s)")
    parser.add_argument("--only", default="", help="count the clips whose name contains this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    result = run(arguments.detector, only=arguments.only)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        Console().print(tabulate(result))


if __name__ == "__main__":
    main()

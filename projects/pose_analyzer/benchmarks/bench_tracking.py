"""Cost and quality of our trackers beside the ByteTrack of ultralytics and of roboflow's trackers.

    python projects/pose_analyzer/benchmarks/bench_tracking.py
    python projects/pose_analyzer/benchmarks/bench_tracking.py --scenes   # identity switches of athletes, by scene and tracker

Cost: median time per frame with 20 walking people, the three taking turns frame by frame in one process.
Quality: MOTA, IDF1 and switches on TUD-Stadtmitte's detections, when that sequence lies beside the project
(`POSE_TEST_DATA` names another place), each tracker with its own default thresholds and with a common set;
all of them wait 1 s for who is lost.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pose_analyzer.tracking import ByteTracker, create_tracker
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
SEQUENCE = DATA / "mot/TUD-Stadtmitte"
SEQUENCE_RATE_HZ = 25.0  # motchallenge.net, MOT15

COMMON = {"track_high_thresh": 0.6, "track_low_thresh": 0.1, "new_track_thresh": 0.7, "match_thresh": 0.8}
BUFFER_S = 1.0


@dataclass(frozen=True)
class Runner:
    """A tracker behind one face; `prepare` builds its own kind of input, which `step` turns into ids (-1 = none)."""

    prepare: Callable[[np.ndarray, np.ndarray], Any]
    step: Callable[[Any, float], Any]
    ids: Callable[[Any, int], np.ndarray]


def as_poses(boxes: np.ndarray, scores: np.ndarray) -> Poses:
    n = len(boxes)
    return Poses(
        boxes_xyxy=boxes,
        scores=scores,
        keypoints_xy=np.full((n, 17, 2), np.nan, np.float32),
        keypoint_confidence=np.zeros((n, 17), np.float32),
        skeleton=COCO_17,
    )


def ours(rate_hz: float, *, common: bool = False) -> Runner:
    tracker = ByteTracker(**({**COMMON} if common else {}), track_buffer=30 * BUFFER_S)
    return Runner(as_poses, lambda poses, t: tracker.update(poses, timestamp_s=t), lambda poses, n: poses.track_ids)


def ultralytics(rate_hz: float, *, common: bool = False) -> Runner:
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.byte_tracker import BYTETracker

    defaults = {"track_high_thresh": 0.25, "track_low_thresh": 0.1, "new_track_thresh": 0.25, "match_thresh": 0.8, "fuse_score": True}
    # It counts frames: the same wait for everybody means another number at another rate.
    tracker = BYTETracker(SimpleNamespace(**{**defaults, **(COMMON if common else {})}, track_buffer=BUFFER_S * rate_hz))

    def prepare(boxes: np.ndarray, scores: np.ndarray) -> Any:
        return Boxes(np.concatenate([boxes, scores[:, None], np.zeros((len(boxes), 1))], axis=1).astype(np.float32), (1080, 1920))

    def ids(rows: np.ndarray, n: int) -> np.ndarray:
        result = np.full(n, -1)
        if len(rows):
            result[rows[:, 7].astype(int)] = rows[:, 4].astype(int)
        return result

    return Runner(prepare, lambda boxes, t: tracker.update(boxes), ids)


def roboflow(rate_hz: float, *, common: bool = False) -> Runner:
    import supervision as sv
    from trackers import ByteTrackTracker

    settings = {"track_activation_threshold": 0.7, "high_conf_det_threshold": 0.6, "minimum_iou_threshold": 0.2} if common else {}
    tracker = ByteTrackTracker(lost_track_buffer=int(30 * BUFFER_S), **settings)

    def prepare(boxes: np.ndarray, scores: np.ndarray) -> Any:
        return sv.Detections(boxes.astype(np.float32), confidence=scores, data={"row": np.arange(len(boxes))})

    def ids(found: Any, n: int) -> np.ndarray:
        result = np.full(n, -1)
        if len(found):
            result[found.data["row"]] = found.tracker_id
        return result

    return Runner(prepare, lambda detections, t: tracker.update(detections, timestamp=t), ids)


TRACKERS: dict[str, Callable[..., Runner]] = {"pose_analyzer": ours, "ultralytics": ultralytics, "trackers": roboflow}


def walkers(people: int, frames: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """People who walk across a 1920x1080 view at 30 frames/s, with noise and doubtful scores."""
    rng = np.random.default_rng(seed)
    position = rng.uniform([0, 300], [1900, 900], (people, 2))
    speed = rng.uniform(-120, 120, (people, 2)) * [1, 0.15]
    height = rng.uniform(150, 300, people)
    result = []
    for i in range(frames):
        centre = position + speed * i / 30 + rng.normal(0, 2, (people, 2))
        size = np.stack([0.4 * height, height], axis=1) * rng.normal(1, 0.01, (people, 2))
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        result.append((boxes.astype(np.float32), rng.uniform(0.2, 1.0, people).astype(np.float32)))
    return result


def read_mot(path: Path) -> dict[int, np.ndarray]:
    """Frame -> rows (id, x1, y1, x2, y2, score) of a MOTChallenge file."""
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    boxes = np.concatenate([table[:, 1:2], table[:, 2:4], table[:, 2:4] + table[:, 4:6], table[:, 6:7]], axis=1)
    return {int(f): boxes[table[:, 0] == f] for f in np.unique(table[:, 0])}


def evaluate(build: Callable[..., Runner], *, common: bool = False, every: int = 1, drop: float = 0.0, seed: int = 0) -> dict[str, float]:
    """MOTA, IDF1, switches and number of ids of a tracker on TUD-Stadtmitte.

    Args:
        build: One of `TRACKERS`.
        common: The same thresholds for all instead of each one's own defaults.
        every: Use each n-th frame only, as a slower camera would.
        drop: Part of the detections left out at random, as a worse detector would.
        seed: Of the random choice.
    """
    import motmetrics

    runner = build(SEQUENCE_RATE_HZ / every, common=common)
    rng = np.random.default_rng(seed)
    truth, detections = read_mot(SEQUENCE / "mot15_gt.txt"), read_mot(SEQUENCE / "sort_det.txt")
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    ids_used: set[int] = set()
    for frame in range(1, 180, every):
        rows = detections.get(frame, np.zeros((0, 6)))
        rows = rows[rng.random(len(rows)) >= drop]
        ids = runner.ids(runner.step(runner.prepare(rows[:, 1:5], rows[:, 5]), frame / SEQUENCE_RATE_HZ), len(rows))
        kept, actual = ids >= 0, truth.get(frame, np.zeros((0, 6)))
        ids_used.update(ids[kept].tolist())
        distances = motmetrics.distances.iou_matrix(_xywh(actual[:, 1:5]), _xywh(rows[kept, 1:5]), max_iou=0.5)
        accumulator.update(actual[:, 0].astype(int).tolist(), ids[kept].tolist(), distances)
    summary = motmetrics.metrics.create().compute(accumulator, metrics=["mota", "idf1", "num_switches"], name="t").loc["t"]
    return {
        "mota": float(summary["mota"]),
        "idf1": float(summary["idf1"]),
        "switches": float(summary["num_switches"]),
        "ids": len(ids_used),
    }


def _xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def cost_per_frame_ms(people: int = 20, frames: int = 300) -> dict[str, float]:
    """Median ms per frame from a tracker's own kind of input to its own kind of result.

    The trackers take turns frame by frame, so that a busy machine is busy for all.
    """
    views = walkers(people, frames)
    runners = {name: build(30.0) for name, build in TRACKERS.items()}
    inputs = {name: [runner.prepare(*view) for view in views] for name, runner in runners.items()}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for i in range(frames):
        for name, runner in runners.items():
            start = time.perf_counter()
            runner.step(inputs[name][i], i / 30)
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values[frames // 10 :]) for name, values in times.items()}


OURS = ("bytetrack", "botsort", "deepsort", "oks")


def cost_of_ours_ms(people: int = 20, frames: int = 300) -> dict[str, float]:
    """As `cost_per_frame_ms`, for all our trackers on poses with joints, without images, beside ultralytics' ByteTrack on the boxes."""
    views, rng = walkers(people, frames), np.random.default_rng(1)
    shape = rng.uniform(0.05, 0.95, (people, 17, 2))
    poses = []
    for boxes, scores in views:
        size = boxes[:, None, 2:] - boxes[:, None, :2]
        xy = boxes[:, None, :2] + shape * size + rng.normal(0, 2, (people, 17, 2))
        poses.append(as_poses(boxes, scores).replace(keypoints_xy=xy, keypoint_confidence=np.full((people, 17), 0.9)))
    trackers: dict[str, Any] = {name: create_tracker(name) for name in OURS}  # type: ignore[arg-type]
    peer = ultralytics(30.0)
    boxes_of = [peer.prepare(*view) for view in views]
    times: dict[str, list[float]] = {name: [] for name in (*OURS, "ultralytics")}
    steps: dict[str, Callable[[int], Any]] = {
        name: lambda i, tracker=tracker: tracker.update(poses[i], timestamp_s=i / 30) for name, tracker in trackers.items()
    }
    steps["ultralytics"] = lambda i: peer.step(boxes_of[i], i / 30)
    names = list(steps)
    for i in range(frames):
        # Whoever follows the largest of them finds the caches cold: by lot.
        for name in rng.permutation(names).tolist():
            start = time.perf_counter()
            steps[name](i)
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values[frames // 10 :]) for name, values in times.items()}


def identity(*, with_images: bool = True) -> list[dict[str, Any]]:
    """Identity switches, one row per scene; `gap_s` is the longest time for which anybody in view goes undetected.

    A name with "+ image" is the tracker with pictures (camera motion and looks), one without is the tracker on poses alone.
    """
    sys.path.insert(0, str(Path(__file__).parent))
    import tracking_scenes

    rows = []
    for scene in tracking_scenes.scenes():
        row: dict[str, Any] = {"scene": scene.name, "gap_s": tracking_scenes.longest_gap_s(scene.name)}
        pictures = list(tracking_scenes.images(scene.name)) if with_images else None
        for name in OURS:
            row[name] = tracking_scenes.switches(scene.name, create_tracker(name))  # type: ignore[arg-type]
            if with_images and name != "bytetrack":
                row[f"{name} + image"] = tracking_scenes.switches(scene.name, create_tracker(name), pictures=pictures)  # type: ignore[arg-type]
        rows.append(row)
    return rows


CONDITIONS: dict[str, list[dict[str, Any]]] = {
    "25 Hz": [{}],
    "8.3 Hz": [{"every": 3}],
    "1 to 5 frames apart, 0 to 30 % of boxes missing": [
        {"every": every, "drop": drop, "seed": seed}
        for every in (1, 2, 3, 5)
        for drop, seeds in ((0, 1), (0.15, 3), (0.3, 3))
        for seed in range(seeds)
    ],
}


def quality() -> list[dict[str, Any]]:
    """One row per condition, thresholds and tracker, means over the condition's runs; empty when the sequence is not there."""
    if not SEQUENCE.exists():
        return []
    rows = []
    for condition, variants in CONDITIONS.items():
        for common in (False, True):
            for name, build in TRACKERS.items():
                scores = [evaluate(build, common=common, **variant) for variant in variants]
                means = {key: statistics.fmean(score[key] for score in scores) for key in scores[0]}
                rows.append({"condition": condition, "thresholds": "common" if common else "own", "tracker": name, **means})
    return rows


def run(*, people: int = 20, frames: int = 300) -> dict[str, Any]:
    """All figures: `cost_ms` by tracker, and `quality` as a list of rows."""
    return {"people": people, "cost_ms": cost_per_frame_ms(people, frames), "quality": quality()}


def accuracy_markdown() -> str:
    """The part of docs/ACCURACY.md about this: all tables of `tracking_tables`."""
    sys.path.insert(0, str(Path(__file__).parent))
    import tracking_tables

    return tracking_tables.section()


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost and quality of tracking")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--scenes", action="store_true", help="identity switches of athletes by scene instead")
    options = parser.parse_args()
    if options.scenes:
        rows = identity()
        names = [key for key in rows[0] if key not in ("scene", "gap_s")]
        print(f"{'scene':<52}{'gap s':>6}" + "".join(f"{name:>17}" for name in names))
        for row in rows:
            print(f"{row['scene']:<52}{row['gap_s']:>6.2f}" + "".join(f"{row[name]:>17}" for name in names))
        return
    result = run(people=options.people, frames=options.frames)
    print(f"median per frame with {result['people']} people")
    for name, ms in result["cost_ms"].items():
        print(f"  {name:<14} {ms:7.3f} ms  {ms / result['cost_ms']['pose_analyzer']:5.2f} x")
    ours_ms = cost_of_ours_ms(options.people, options.frames)
    print("the same with joints")
    for name, ms in ours_ms.items():
        print(f"  {name:<14} {ms:7.3f} ms  ultralytics takes {ours_ms['ultralytics'] / ms:5.2f} x")
    if not result["quality"]:
        print(f"no quality figures: {SEQUENCE.name} is not there")
    for row in result["quality"]:
        who = f"{row['condition']}, {row['thresholds']} thresholds, {row['tracker']}"
        print(f"  {who:<84} MOTA {row['mota']:.3f}  IDF1 {row['idf1']:.3f}  switches {row['switches']:4.1f}  ids {row['ids']:4.1f}")


if __name__ == "__main__":
    main()

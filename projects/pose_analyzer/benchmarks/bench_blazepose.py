"""`BlazePoseDetector` beside MediaPipe's own solution: speed and distance of landmarks, in one run.

    python projects/pose_analyzer/benchmarks/bench_blazepose.py                 a part of every clip
    python projects/pose_analyzer/benchmarks/bench_blazepose.py --frames 0      all of every clip
    python projects/pose_analyzer/benchmarks/bench_blazepose.py --json out.json

Both see the same decoded frames, in turns, thirty frames at a time (a video is analysed by one of them, so each
finds its own data in the caches, not the other's): the test athlete and, where they lie beside the
project (`POSE_TEST_DATA` names another place), the exercise clips at their own size. Decoding is not
counted. MediaPipe runs `model_complexity=1`, tracking, smoothing off. Its Python solution has no setting
for threads, so the speed is taken twice: all cores, each side as it comes; and in a process that may use
one core only.

Distances are over frames in which both find the person, in px at 640 px image height. A third series is
MediaPipe against itself, the lowest bit of one pixel flipped in each frame: from frame to frame its
regions follow from its landmarks, so rounding grows until two runs differ as much as the picture lets
them. Nothing can come closer to it than it comes to itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
CLIPS = sorted((DATA / "exercise").glob("*.mp4"))
ATHLETE = (("squat", 0.0), ("push_up", 90.0), ("bicep_curl", 45.0))
FRAMES = 90
BLOCK = 30
REFERENCE_HEIGHT_PX = 640
FRAMES_PER_SECOND_GOAL, MEDIAN_GOAL_PX, P95_GOAL_PX = 4.0, 1.0, 3.0

Images = Iterator[np.ndarray]
Find = Callable[[np.ndarray], np.ndarray | None]  # image -> (33, 3) x px, y px, visibility, or nobody


def clip_frames(path: Path, count: int) -> Images:
    import av

    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if count and i >= count:
                return
            yield frame.to_ndarray(format="rgb24")


def athlete_frames(exercise: str, azimuth_deg: float, count: int) -> Images:
    from pose_analyzer.synthetic import scene_for

    for i, (frame, _) in enumerate(scene_for(exercise, azimuth_deg=azimuth_deg, width=640, height=640)):
        if count and i >= count:
            return
        yield frame.image


def sources(count: int) -> dict[str, Callable[[], Images]]:
    """Name -> maker of frames."""
    made: dict[str, Callable[[], Images]] = {
        f"athlete {name} {azimuth:.0f} deg": lambda name=name, azimuth=azimuth: athlete_frames(name, azimuth, count or 150)
        for name, azimuth in ATHLETE
    }
    return made | {path.stem: lambda path=path: clip_frames(path, count) for path in CLIPS}


def mediapipe(*, flip_a_bit: bool = False) -> Find:
    from mediapipe.python.solutions.pose import Pose

    pose = Pose(model_complexity=1, smooth_landmarks=False)

    def find(image: np.ndarray) -> np.ndarray | None:
        height, width = image.shape[:2]
        if flip_a_bit:
            image = image.copy()
            image[height // 2, width // 2] ^= 1
        found = pose.process(image).pose_landmarks
        return None if found is None else np.array([(m.x * width, m.y * height, m.visibility) for m in found.landmark])

    return find


def blazepose(**options: Any) -> Callable[[], Find]:
    """A maker of followers: one detector, a new stream each time."""
    from pose_analyzer.detection import BlazePoseDetector

    detector = BlazePoseDetector(max_people=1, **options)
    number = itertools.count()

    def make() -> Find:
        stream_id = f"bench {next(number)}"

        def find(image: np.ndarray) -> np.ndarray | None:
            [poses] = detector.detect([image], stream_ids=[stream_id])
            return np.column_stack([poses.keypoints_xy[0], poses.keypoint_confidence[0]]) if len(poses) else None

        return find

    return make


def compare(makers: dict[str, Callable[[], Find]], count: int, *, names: list[str] | None = None, warm_up: int = 3) -> dict[str, Any]:
    """Feed the frames to each in turn, a block at a time.

    Returns:
        Per source: median ms of each side, and distances of each side to the first one.
    """
    result: dict[str, Any] = {}
    for name, make_frames in sources(count).items():
        if names is not None and name not in names:
            continue
        sides = {side: make() for side, make in makers.items()}
        times: dict[str, list[float]] = {side: [] for side in sides}
        distances: dict[str, list[np.ndarray]] = {side: [] for side in sides}
        seen: dict[str, list[np.ndarray]] = {side: [] for side in sides}
        size = [0, 0]
        for i, images in enumerate(_blocks(make_frames())):
            found: dict[str, list[np.ndarray | None]] = {side: [] for side in sides}
            for side in list(sides) if i % 2 else list(sides)[::-1]:
                for k, image in enumerate(images):
                    start = time.perf_counter()
                    found[side].append(sides[side](image))
                    if k >= warm_up:
                        times[side].append((time.perf_counter() - start) * 1e3)
            size = list(images[0].shape[1::-1])
            reference_side, *others = sides
            for side in others:
                for reference, other in zip(found[reference_side], found[side], strict=True):
                    if reference is not None and other is not None:
                        distances[side].append(np.hypot(*(other - reference)[:, :2].T) * REFERENCE_HEIGHT_PX / size[1])
                        seen[side].append(reference[:, 2] >= 0.5)
        result[name] = {
            "size": size,
            "ms": {side: statistics.median(t) for side, t in times.items()},
            "px": {side: np.array(d).reshape(-1, 33) for side, d in distances.items()},
            "visible": {side: np.array(v, bool).reshape(-1, 33) for side, v in seen.items()},
        }
    return result


def _blocks(images: Images) -> Iterator[list[np.ndarray]]:
    while block := list(itertools.islice(images, BLOCK)):
        yield block


def pooled(result: dict[str, Any], side: str) -> dict[str, float]:
    """Median and 95th percentile over all sources, of all landmarks and of those that MediaPipe sees."""
    px = np.concatenate([row["px"][side] for row in result.values()])
    visible = np.concatenate([row["visible"][side] for row in result.values()])
    if not px.size:
        return {}
    return {
        "frames": len(px),
        "median_px": float(np.median(px)),
        "p95_px": float(np.percentile(px, 95)),
        "visible_median_px": float(np.median(px[visible])),
        "visible_p95_px": float(np.percentile(px[visible], 95)),
    }


def frames_per_second(result: dict[str, Any]) -> dict[str, float]:
    """Side -> frames/s, from the mean over sources of the median time per frame."""
    sides = next(iter(result.values()))["ms"]
    return {side: 1e3 / statistics.fmean(row["ms"][side] for row in result.values()) for side in sides}


def one_core(count: int) -> dict[str, float]:
    """Frames/s of each side in a process that may use a single core."""
    if not hasattr(os, "sched_setaffinity"):
        return {}
    done = subprocess.run(
        [sys.executable, __file__, "--pinned", "--frames", str(count)], capture_output=True, text=True, check=True, env=os.environ
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def pinned(count: int) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    bf16 = blazepose(threads=1, precision="bf16")
    makers = {"mediapipe": mediapipe, "blazepose": blazepose(threads=1), "blazepose bf16": bf16}
    names = [path.stem for path in CLIPS[::5]] or None
    print(json.dumps(frames_per_second(compare(makers, count, names=names))))


def batches() -> dict[str, float]:
    """Frames/s of eight streams: one call each, and all in one call."""
    from pose_analyzer.detection import BlazePoseDetector

    frames = list(athlete_frames("squat", 0.0, 12))
    ids = [f"s{i}" for i in range(8)]
    out: dict[str, list[float]] = {"one call each": [], "one call for all": []}
    with BlazePoseDetector(max_people=1) as detector:
        for image in frames:
            for kind, rows in out.items():
                start = time.perf_counter()
                if kind == "one call each":
                    for stream_id in ids:
                        detector.detect([image], stream_ids=[f"a{stream_id}"])
                else:
                    detector.detect([image] * 8, stream_ids=ids)
                rows.append(time.perf_counter() - start)
    return {kind: 8 / statistics.median(rows[2:]) for kind, rows in out.items()}


def growth_mb(frames: int = 500) -> float:
    """Growth of resident memory, MB, over so many frames after the first hundred."""
    import psutil

    from pose_analyzer.detection import BlazePoseDetector

    images = list(athlete_frames("squat", 0.0, 20))
    process = psutil.Process()
    with BlazePoseDetector(max_people=6, threads=1) as detector:
        for i in range(100):
            detector.detect([images[i % 20]], stream_ids=["s"])
        before = process.memory_info().rss
        for i in range(frames):
            detector.detect([images[i % 20]], stream_ids=["s"])
        return (process.memory_info().rss - before) / 1e6


def run(out: dict[str, Any] | None = None, *, frames: int = FRAMES) -> dict[str, Any]:
    """All figures.

    Args:
        out: Filled and returned, if given.
        frames: Of each source; 0 = all.
    """
    out = {} if out is None else out
    makers = {
        "mediapipe": mediapipe,
        "blazepose": blazepose(),
        "blazepose bf16": blazepose(precision="bf16"),
        "mediapipe, a bit flipped": lambda: mediapipe(flip_a_bit=True),
    }
    result = compare(makers, frames)
    out["frames_per_second"] = {"all cores": frames_per_second(result), "one core": one_core(frames or FRAMES)}
    out["distance"] = {side: pooled(result, side) for side in list(makers)[1:]}
    out["sources"] = {
        name: {
            "size": row["size"],
            "ms": row["ms"],
            "px": {side: pooled({name: row}, side) for side in list(makers)[1:]},
        }
        for name, row in result.items()
    }
    out["eight_streams_frames_per_second"] = batches()
    out["growth_mb_per_500_frames"] = growth_mb()
    return out


def rows(out: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Comparisons for the table of all benchmarks."""
    out = run() if out is None else out
    for cores, speed in out["frames_per_second"].items():
        for side in ("blazepose", "blazepose bf16"):
            if side in speed:
                label = "BlazePose" + (" in bfloat16" if side.endswith("bf16") else "")
                yield {
                    "what": f"{label}, frames/s, {cores}",
                    "ours": speed[side],
                    "other": speed["mediapipe"],
                    "against": "MediaPipe's solution, the same frames",
                    "ratio": speed[side] / speed["mediapipe"],
                    "goal": FRAMES_PER_SECOND_GOAL if side == "blazepose" else None,
                }
    ours, itself = out["distance"]["blazepose"], out["distance"]["mediapipe, a bit flipped"]
    for key, label, goal in (
        ("median_px", "median, all landmarks", MEDIAN_GOAL_PX),
        ("visible_p95_px", "95th percentile, visible landmarks", P95_GOAL_PX),
        ("p95_px", "95th percentile, all landmarks", P95_GOAL_PX),
    ):
        what = f"BlazePose to MediaPipe, px at 640 px height, {label}"
        yield {"what": what, "ours": ours[key], "other": goal, "against": "limit", "ratio": goal / ours[key], "goal": 1.0}
        against = "MediaPipe to itself, one bit of a pixel flipped"
        yield {"what": what, "ours": ours[key], "other": itself[key], "against": against, "ratio": itself[key] / ours[key]}
    streams = out["eight_streams_frames_per_second"]
    together, apart = streams["one call for all"], streams["one call each"]
    yield {
        "what": "BlazePose, frames/s of eight streams in one call",
        "ours": together,
        "other": apart,
        "against": "one call each",
        "ratio": together / apart,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="BlazePose on OpenVINO against MediaPipe")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each source; 0 = all")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--pinned", action="store_true", help="frames/s on one core, as JSON; used by the run itself")
    options = parser.parse_args()
    if options.pinned:
        pinned(options.frames)
        return
    out = run(frames=options.frames)
    for name, row in out["sources"].items():
        px, ms = row["px"], row["ms"]
        if px["blazepose"]:
            print(
                f"{name:<28} {row['size'][0]:>4}x{row['size'][1]:<4} ms {ms['mediapipe']:6.2f} {ms['blazepose']:6.2f}"
                f"   px {px['blazepose']['median_px']:6.3f} {px['blazepose']['p95_px']:7.2f}"
                f"   MediaPipe to itself {px['mediapipe, a bit flipped']['median_px']:6.3f} {px['mediapipe, a bit flipped']['p95_px']:7.2f}"
            )
    for row in rows(out):
        print(f"{row['what']:<78} {row['ours']:8.3f} {row['other']:8.3f} {row['ratio']:6.2f}x  {row['against']}")
    print(f"memory grows by {out['growth_mb_per_500_frames']:.1f} MB in 500 frames")
    if options.json:
        options.json.write_text(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()

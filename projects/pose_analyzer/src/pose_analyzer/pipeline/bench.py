"""How fast and how large the pipeline is on this machine, all of it measured in one process."""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pose_analyzer.detection import PoseDetector
from pose_analyzer.pipeline.demo import demo_scene
from pose_analyzer.pipeline.stream import Pipeline, make_detector
from pose_analyzer.settings import load_pose_settings
from pose_analyzer.video import open_source, prefetch
from shared_utils.devices import peak_memory_bytes


def bench_pipeline(clip: Path | None = None, *, frames: int = 240, rounds: int = 3) -> dict[str, Any]:
    """Time decode, decode + raw inference and the whole pipeline over the same frames.

    The raw loop and the pipeline both decode in a thread ahead of inference, so that the difference is
    what tracking, smoothing, angles and counting cost. Rounds alternate; medians are reported.

    Args:
        clip: A video; None films the demo scene first.
        frames: Frames per round.
        rounds: Rounds.

    Returns:
        `stages_ms` (ms a frame), `overhead_percent` (pipeline over raw), `peak_rss_mb`, the clip and
        the machine.
    """
    with ExitStack() as stack:
        if clip is None:
            from pose_analyzer.synthetic import write_clip

            clip = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "athlete.mp4"
            write_clip(demo_scene()[0], clip)
        settings = load_pose_settings(overrides={"exercise.name": "squat"})
        detector = make_detector(settings)
        stack.callback(detector.close)
        with open_source(clip) as source:
            info = source.info
        times: dict[str, list[float]] = {"decode": [], "decode + inference": [], "pipeline": []}
        inner: dict[str, list[float]] = {}
        done = 0
        for _ in range(rounds + 1):  # the first round warms caches and is thrown away below
            times["decode"].append(_timed(lambda: _decode(clip, frames)))
            times["decode + inference"].append(_timed(lambda: _raw(clip, frames, detector)))
            start = time.perf_counter()
            done = _whole(clip, frames, Pipeline(settings, detector=detector), inner)
            times["pipeline"].append(time.perf_counter() - start)
    per_frame = {stage: 1000 * statistics.median(values[1:]) / done for stage, values in times.items()}
    raw = times["decode + inference"][1:]
    overhead = statistics.median(p / r for p, r in zip(times["pipeline"][1:], raw, strict=True)) - 1
    return {
        "clip": clip.name,
        "width": info.width,
        "height": info.height,
        "frames": done,
        "rounds": rounds,
        "machine": f"{platform.machine()} {platform.processor() or platform.system()}",
        "stages_ms": per_frame | {f"· {name}": 1000 * statistics.median(v) for name, v in inner.items()},
        "overhead_percent": 100 * overhead,
        "peak_rss_mb": peak_memory_bytes() / 1e6,
    }


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _frames(clip: Path, count: int) -> Iterator[Any]:
    with open_source(clip) as source:
        for number, frame in enumerate(prefetch(source, size=8)):
            if number == count:
                return
            yield frame


def _decode(clip: Path, count: int) -> int:
    return sum(1 for _ in _frames(clip, count))


def _raw(clip: Path, count: int, detector: PoseDetector) -> int:
    detector.forget("bench")
    return sum(len(detector.detect([f.image], stream_ids=["bench"])) for f in _frames(clip, count))


def _whole(clip: Path, count: int, pipeline: Pipeline, inner: dict[str, list[float]]) -> int:
    done = 0
    for update in pipeline.run(_frames(clip, count)):
        done += 1
        for stage, seconds in update.timings_s.items():
            inner.setdefault(stage, []).append(seconds)
    return done

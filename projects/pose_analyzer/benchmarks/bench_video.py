"""How fast videos are read and written, against OpenCV in the same process.

`run()` returns the figures, `main()` prints them as a table. Each figure is the median of alternating rounds, so that
another program's load falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose_analyzer.video import Backoff, LiveSource, SourceInfo, VideoWriter, open_source, prefetch
from pose_analyzer.video.live import LivePicture


def run(clip: Path | None = None, *, rounds: int = 5, frames: int = 300) -> dict[str, Any]:
    """Measure decoding, seeking, writing and closing.

    Args:
        clip: The video to read; None writes one of moving noise, 1280x720.
        rounds: How often each figure is taken.
        frames: Pictures of the written clip.

    Returns:
        Frames per second and seconds by name, and the machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = clip or _noise(Path(folder) / "noise.mp4", frames)
        with open_source(path) as source:
            size, last_s = (source.info.width, source.info.height), 0.0
            count = 0
            for frame in source:
                count, last_s = count + 1, frame.timestamp_s
        readers: dict[str, Callable[[], int]] = {
            "open_source": lambda: _read(path),
            "open_source_prefetch": lambda: _read(path, ahead=True),
            "open_source_1_thread": lambda: _read(path, threads=1),
            "opencv_bgr": lambda: _opencv(path, rgb=False),
            "opencv_rgb": lambda: _opencv(path, rgb=True),
        }
        rates, cpu_ms = _alternate(readers, rounds)
        writers = {
            f"write_{width}x{height}": (lambda width=width, height=height: _write(Path(folder) / "w.mp4", width, height, 60))
            for width, height in ((640, 480), (1280, 720))
        }
        for figures, more in zip((rates, cpu_ms), _alternate(writers, rounds), strict=True):
            figures |= more
        seek_s = statistics.median(_seek(path, last_s * share) for share in (0.9, 0.3, 0.6, 0.1, 0.8))
        close_s = statistics.median(_close_hanging() for _ in range(3))
    return {
        "clip": {"name": path.name, "width": size[0], "height": size[1], "frames": count},
        "frames_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "cpu_ms_per_frame": {name: round(value, 3) for name, value in cpu_ms.items()},
        "ratio_to_opencv_rgb": round(rates["open_source"] / rates["opencv_rgb"], 2),
        "seek_s": round(seek_s, 4),
        "close_of_a_hanging_camera_s": round(close_s, 3),
        "cores": os.cpu_count(),
        "rounds": rounds,
    }


def _noise(path: Path, frames: int) -> Path:
    dice = np.random.default_rng(0)
    back = cv2.resize(dice.integers(0, 255, (45, 80, 3), np.uint8), (1280 + frames, 720), interpolation=cv2.INTER_CUBIC)
    with VideoWriter(path, width=1280, height=720, fps=30) as writer:
        for i in range(frames):
            writer.write(np.ascontiguousarray(back[:, i : i + 1280]))
    return path


def _read(path: Path, *, threads: int = 0, ahead: bool = False) -> int:
    source = open_source(path, decode_threads=threads)
    with prefetch(source) if ahead else source as frames:
        return sum(1 for _ in frames)


def _opencv(path: Path, *, rgb: bool) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while True:
        good, image = capture.read()
        if not good:
            return count
        if rgb:
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        count += 1


def _write(path: Path, width: int, height: int, frames: int) -> int:
    dice = np.random.default_rng(0)
    back = cv2.resize(dice.integers(0, 255, (12, 16, 3), np.uint8), (width + frames, height), interpolation=cv2.INTER_CUBIC)
    images = [np.ascontiguousarray(back[:, i : i + width]) for i in range(frames)]
    with VideoWriter(path, width=width, height=height, fps=30) as writer:
        for image in images:
            writer.write(image)
    return frames


def _seek(path: Path, target_s: float) -> float:
    with open_source(path) as source:
        # The first jump reads the packets' times; what is measured is one after it.
        source.seek(target_s / 2)
        next(source)
        begun = time.perf_counter()
        source.seek(target_s)
        next(source)
        return time.perf_counter() - begun


class _Hanging:
    """A camera that gives one picture and then nothing for a minute."""

    def __init__(self) -> None:
        self.info = SourceInfo(
            width=8, height=8, nominal_fps=25.0, frame_count=None, duration_s=None, is_live=True, codec="none", name="hanging"
        )
        self.release = threading.Event()

    def pictures(self):
        yield LivePicture(0.0, lambda: np.zeros((8, 8, 3), np.uint8))
        self.release.wait(60)

    def close(self) -> None:
        pass


def _close_hanging() -> float:
    connection = _Hanging()
    source = LiveSource(connection, lambda: connection, stream_id="bench", shown="bench", backoff=Backoff(attempts=1))
    next(source)
    begun = time.perf_counter()
    source.close()
    elapsed = time.perf_counter() - begun
    connection.release.set()
    return elapsed


def _alternate(works: dict[str, Callable[[], int]], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median items per second, and ms of processor time per item, of each work; the works take turns.

    Processor time counts all threads of this process and hardly minds what else the machine does.
    """
    rates: dict[str, list[float]] = {name: [] for name in works}
    cpu_ms: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begun, begun_cpu = time.perf_counter(), time.process_time()
            done = work()
            rates[name].append(done / (time.perf_counter() - begun))
            cpu_ms[name].append((time.process_time() - begun_cpu) / done * 1000)
    return _medians(rates), _medians(cpu_ms)


def _medians(taken: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path, help="video to read; default: one is made")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = parser.parse_args()
    figures = run(arguments.clip, rounds=arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    clip = figures["clip"]
    print(f"{clip['name']}: {clip['frames']} pictures, {clip['width']}x{clip['height']}")
    print(f"{figures['cores']} cores, median of {figures['rounds']} rounds")
    for name, rate in figures["frames_per_s"].items():
        print(f"  {name:<24}{rate:>9.1f} frames/s{figures['cpu_ms_per_frame'][name]:>9.2f} ms of processor time a frame")
    print(f"  {'open_source / opencv_rgb':<24}{figures['ratio_to_opencv_rgb']:>9.2f}")
    print(f"  {'exact seek':<24}{figures['seek_s'] * 1000:>9.1f} ms")
    print(f"  {'close, camera hanging':<24}{figures['close_of_a_hanging_camera_s']:>9.2f} s")


if __name__ == "__main__":
    main()

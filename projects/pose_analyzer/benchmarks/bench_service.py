"""The service under load, as clients meet it: a server process of its own, real files, real sockets.

    python projects/pose_analyzer/benchmarks/bench_service.py                   everything, 2 minutes of streaming for the memory
    python projects/pose_analyzer/benchmarks/bench_service.py --minutes 10      the figure of docs/PERFORMANCE.md
    python projects/pose_analyzer/benchmarks/bench_service.py --only streams

Streams are files at their natural pace, so every frame has a time at which it is due: latency is from there to the
message's arrival at a client on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import psutil

STREAMS, WATCHERS = 4, 20
SECONDS = 20.0
P99_GOAL_S, START_GOAL_S, FIRST_PICTURE_GOAL_S = 0.050, 3.0, 3.0


class Service:
    """The service in a process of its own, with a folder of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._environment = {**os.environ, "HTTP_API_DATA_DIR": str(folder / "data")}
        self._environment |= {f"HTTP_API_{key.upper()}": str(value) for key, value in settings.items()}
        self._log = folder / "service.log"

    def __enter__(self) -> Self:
        self.started = time.perf_counter()
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pose_analyzer.api.main", "--port", "0", "--log-level", "WARNING"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://[\d.:]+", line):
                self.address = found[0]
                return self
        raise RuntimeError(f"the service did not start:\n{self._log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    @property
    def sockets(self) -> str:
        return self.address.replace("http", "ws", 1)

    def memory_mb(self) -> float:
        """Proportional memory of the server and its measuring processes."""
        server = psutil.Process(self.process.pid)
        return sum(_pss(p) for p in [server, *server.children(recursive=True)]) / 1e6


def _pss(process: psutil.Process) -> float:
    try:
        info = process.memory_full_info()
        return getattr(info, "pss", info.uss)
    except psutil.Error:
        return 0.0


def athlete_clip(path: Path, *, width: int, height: int, fps: int, seconds: float) -> None:
    """An H.264 clip of the athlete; one turn of the motion rendered, repeated."""
    from pose_analyzer.synthetic import scene_for
    from pose_analyzer.video import VideoWriter

    scene = scene_for("squat", reps=2, azimuth_deg=30, width=width, height=height, fps=fps)
    images = [frame.image for frame, _ in scene.frames()][: round(fps * 6)]
    with VideoWriter(path, width=width, height=height, fps=fps) as writer:
        for i in range(round(seconds * fps)):
            writer.write(images[i % len(images)], i / fps)


async def _watch(address: str, seconds: float, *, images: bool) -> dict[str, Any]:
    """Ages of the frames of one stream as one client sees them, after the first three seconds."""
    from websockets.asyncio.client import connect

    ages, frames, skipped, bytes_seen = [], 0, 0, 0
    async with connect(f"{address}/live?images={int(images)}", max_size=None) as socket:
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            message = await socket.recv()
            if isinstance(message, bytes):
                bytes_seen += len(message)
                continue
            said = json.loads(message)
            if said["type"] == "frame" and time.perf_counter() - started > 3.0:
                frames += 1
                skipped += said["skipped"]
                ages.append(said["age_s"])
    return {"frames": frames, "skipped": skipped, "ages_s": ages, "bytes": bytes_seen, "fps": frames / (seconds - 3.0)}


def streams(precision: str, width: int = 1920, height: int = 1080, *, images: bool = False) -> dict[str, Any]:
    """Four files of 1080p30 at natural pace, each watched by one client."""
    settings = {"demo": False, "max_streams": STREAMS, "stream_precision": precision}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        media = folder / "media"
        media.mkdir()
        athlete_clip(media / "athlete.mp4", width=width, height=height, fps=30, seconds=SECONDS + 15)
        with Service(folder, media_dir=media, **settings) as service, httpx.Client(base_url=service.address) as client:
            ids = []
            for _ in range(STREAMS):
                answer = client.post(
                    "/v1/streams", json={"source": {"kind": "file", "name": "athlete.mp4"}, "exercise": "squat"}, timeout=30
                )
                answer.raise_for_status()
                ids.append(answer.json()["id"])

            async def watch_all() -> list[dict[str, Any]]:
                return await asyncio.gather(*(_watch(f"{service.sockets}/v1/streams/{i}", SECONDS, images=images) for i in ids))

            time.sleep(2.0)
            busy = _cpu_seconds(service)
            began = time.perf_counter()
            seen = asyncio.run(watch_all())
            cores = (_cpu_seconds(service) - busy) / (time.perf_counter() - began)
            views = [client.get(f"/v1/streams/{i}").json() for i in ids]
    ages = np.concatenate([np.asarray(s["ages_s"]) for s in seen])
    return {
        "streams": STREAMS,
        "size": [width, height],
        "frames_per_second": sum(s["fps"] for s in seen),
        "dropped": sum(v["dropped"] for v in views),
        "frames": sum(v["frames"] for v in views),
        "latency_s": {f"p{q}": float(np.percentile(ages, q)) for q in (50, 95, 99)} if len(ages) else {},
        "cores_busy": cores,
        "precision": precision,
    }


def _cpu_seconds(service: Service) -> float:
    server = psutil.Process(service.process.pid)
    total = 0.0
    for process in [server, *server.children(recursive=True)]:
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.Error:
            continue
    return total


def round_trip(frames: int = 150) -> dict[str, Any]:
    """A browser's webcam at 640x480: JPEG out, measurements back, one after the other."""
    import cv2
    from websockets.sync.client import connect

    from pose_analyzer.synthetic import scene_for

    scene = scene_for("squat", reps=1, azimuth_deg=30, width=640, height=480, fps=30)
    pictures = [cv2.imencode(".jpg", f.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes() for f, _ in scene.frames()]
    times = []
    with (
        tempfile.TemporaryDirectory() as name,
        Service(Path(name), demo=False) as service,
        connect(f"{service.sockets}/v1/live", max_size=None) as socket,
    ):
        socket.send(json.dumps({"type": "start", "exercise": "squat"}))
        for i in range(frames):
            start = time.perf_counter()
            socket.send(pictures[i % len(pictures)])
            while json.loads(socket.recv(timeout=60))["type"] != "frame":
                pass
            times.append(time.perf_counter() - start)
    return {f"p{q}_s": float(np.percentile(times[10:], q)) for q in (50, 95, 99)} | {"frames_per_second": 1 / statistics.fmean(times[10:])}


def watchers(count: int = WATCHERS) -> dict[str, Any]:
    """Many clients on one stream, with pictures."""
    with tempfile.TemporaryDirectory() as name, Service(Path(name)) as service:

        async def watch_all(n: int) -> list[dict[str, Any]]:
            return await asyncio.gather(*(_watch(f"{service.sockets}/v1/streams/demo", 10.0, images=True) for _ in range(n)))

        one = asyncio.run(watch_all(1))
        busy, began = _cpu_seconds(service), time.perf_counter()
        many = asyncio.run(watch_all(count))
        cores = (_cpu_seconds(service) - busy) / (time.perf_counter() - began)
    ages = np.concatenate([np.asarray(m["ages_s"]) for m in many])
    return {
        "clients": count,
        "alone_frames_per_second": one[0]["fps"],
        "slowest_frames_per_second": min(m["fps"] for m in many),
        "p99_s": float(np.percentile(ages, 99)) if len(ages) else float("nan"),
        "cores_busy": cores,
    }


def start() -> dict[str, float]:
    """From the start of the process, and from the moment it answers, to the first measured frame of the demo."""
    from websockets.sync.client import connect

    whole, after_up = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name, Service(Path(name)) as service:
            while True:
                try:
                    if httpx.get(f"{service.address}/readyz", timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.02)
            up = time.perf_counter()
            with connect(f"{service.sockets}/v1/streams/demo/live?images=1", max_size=None, open_timeout=30) as socket:
                while not isinstance(message := socket.recv(timeout=60), str) or json.loads(message)["type"] != "frame":
                    pass
                while not json.loads(message)["people"]:
                    message = socket.recv(timeout=60)
                    while not isinstance(message, str):
                        message = socket.recv(timeout=60)
            now = time.perf_counter()
            whole.append(now - service.started)
            after_up.append(now - up)
    return {"from_process_start_s": statistics.median(whole), "from_up_s": statistics.median(after_up)}


def memory(minutes: float) -> dict[str, float]:
    """Memory over minutes of streaming with a watcher: a line through it, after the first quarter."""
    with tempfile.TemporaryDirectory() as name, Service(Path(name)) as service:
        points: list[tuple[float, float]] = []

        async def sample() -> None:
            began = time.perf_counter()
            while (now := time.perf_counter() - began) < minutes * 60:
                points.append((now / 60, service.memory_mb()))
                await asyncio.sleep(2.0)

        async def both() -> None:
            watching = asyncio.create_task(_watch(f"{service.sockets}/v1/streams/demo", minutes * 60 + 1, images=True))
            await sample()
            watching.cancel()

        asyncio.run(both())
    kept = np.array([p for p in points if p[0] >= minutes / 4])
    slope = float(np.polyfit(kept[:, 0], kept[:, 1], 1)[0])
    return {"minutes": minutes, "slope_mb_per_minute": slope, "mean_mb": float(kept[:, 1].mean())}


def run(out: dict[str, Any] | None = None, *, minutes: float = 2.0, only: str | None = None) -> dict[str, Any]:
    """All figures, or one group of them."""
    out = {} if out is None else out
    from shared_utils.devices import machine_profile

    groups: dict[str, Callable[[], dict[str, Any]]] = {
        "start": start,
        "round_trip": round_trip,
        "streams": lambda: streams("f32"),
        "watchers": watchers,
        "memory": lambda: memory(minutes),
    }
    if "avx512_bf16" in machine_profile()["cpu"]["flags"]:
        groups["streams_bf16"] = lambda: streams("bf16")
    for name, group in groups.items():
        if only in (None, name):
            out[name] = group()
            print(f"{name}: {json.dumps(out[name])}", file=sys.stderr, flush=True)
    return out


def rows(out: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Comparisons for the table of all benchmarks."""
    out = run() if out is None else out

    def row(what: str, ours: float, limit: float, against: str, *, more_is_better: bool = False, goal: bool = True) -> dict[str, Any]:
        ratio = (ours / limit if more_is_better else limit / ours) if ours and limit else float("inf")
        return {"what": what, "ours": ours, "other": limit, "against": against, "ratio": ratio, "goal": 1.0 if goal else None}

    if at := out.get("start"):
        yield row(
            "service: process start to the demo's first measured frame, s", at["from_process_start_s"], START_GOAL_S, "limit", goal=False
        )
        yield row("service: up to the demo's first measured frame, s", at["from_up_s"], FIRST_PICTURE_GOAL_S, "limit")
    if at := out.get("round_trip"):
        yield row("WebSocket round trip of a 640x480 JPEG, median, ms", at["p50_s"] * 1e3, 1e3 / 30, "a frame at 30 frames/s")
        yield row("the same, 99th percentile, ms", at["p99_s"] * 1e3, 1e3 / 30, "a frame at 30 frames/s", goal=False)
    for key in ("streams", "streams_bf16"):
        if at := out.get(key):
            name = f"4 streams of 1080p30 in {at['precision']}"
            yield row(f"{name}, frames/s in all", at["frames_per_second"], 120.0, "what the cameras give", more_is_better=True, goal=False)
            yield row(
                f"{name}, frames dropped of a hundred", 100 * at["dropped"] / max(at["frames"] + at["dropped"], 1), 0.1, "nearly none"
            )
            yield row(f"{name}, cores busy", at["cores_busy"], float(os.cpu_count() or 1), "cores there are", goal=False)
            for q in (50, 95, 99):
                yield row(f"{name}, frame to result, p{q}, ms", at["latency_s"][f"p{q}"] * 1e3, P99_GOAL_S * 1e3, "limit", goal=q == 99)
    if at := out.get("watchers"):
        yield row(
            f"{at['clients']} watchers of one stream with pictures: the slowest one's frames/s",
            at["slowest_frames_per_second"],
            at["alone_frames_per_second"],
            "one watcher alone",
            more_is_better=True,
            goal=False,
        )
    if at := out.get("memory"):
        yield row(
            f"memory over {at['minutes']:g} minutes of streaming, growth in MB a minute", max(at["slope_mb_per_minute"], 1e-3), 1.0, "limit"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="of streaming for the memory")
    parser.add_argument("--only", choices=["start", "round_trip", "streams", "streams_bf16", "watchers", "memory"])
    parser.add_argument("--json", type=Path)
    flags = parser.parse_args()
    figures = run(minutes=flags.minutes, only=flags.only)
    if flags.json:
        flags.json.write_text(json.dumps(figures, indent=2))
    for line in rows(figures):
        print(f"{line['what']:70} {line['ours']:10.3f} {line['other']:10.3f} {line['ratio']:8.2f}")

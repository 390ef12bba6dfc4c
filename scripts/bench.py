"""Measure speed and memory side by side with the peer or the limit; print a table, write JSON.

    python scripts/bench.py                 everything
    python scripts/bench.py pipeline start  some groups
    python scripts/bench.py --docs          also rewrite docs/PERFORMANCE.md, with the groups of earlier runs on this machine

Each row's two numbers come from one run on this machine; out/bench/results.json keeps the newest of
each group. A ratio above 1 means better than the peer or within the limit.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bench_memory  # beside this file

ROOT = Path(__file__).resolve().parent.parent
RESULTS, DOC = ROOT / "out" / "bench" / "results.json", ROOT / "docs" / "PERFORMANCE.md"
BENCHMARKS = ROOT / "projects" / "pose_analyzer" / "benchmarks"


@dataclass(frozen=True)
class Row:
    """One comparison: ours, theirs, and what would be good enough.

    Args:
        group: Which benchmark.
        what: What is measured, with its unit.
        ours: Our figure.
        other: The peer's figure or the limit.
        against: Who the peer is or what the limit means.
        ratio: How many times better than `other`; above 1 is better.
        goal: Ratio to reach, None where there is none.
    """

    group: str
    what: str
    ours: float
    other: float
    against: str
    ratio: float
    goal: float | None = None

    @property
    def verdict(self) -> str:
        """met, missed, or nothing to meet."""
        return "" if self.goal is None else "met" if self.ratio >= self.goal else "missed"


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# --- the groups ---------------------------------------------------------------------------------------
def pipeline() -> Iterator[Row]:
    """Whole pipeline against decode + raw inference over the same frames."""
    from pose_analyzer.pipeline.bench import bench_pipeline

    result = bench_pipeline(frames=300, rounds=5)
    stages = result["stages_ms"]
    raw, whole = stages["decode + inference"], stages["pipeline"]
    limit = 1.2 * raw
    yield Row("pipeline", "whole pipeline, ms a frame at 640x480", whole, limit, "decode + raw inference + 20 %", limit / whole, 1.0)
    yield Row("pipeline", "frames/s, whole pipeline", 1000 / whole, 30.0, "a 30 frames/s camera", 1000 / whole / 30.0, 1.0)


_FIRST = """
import sys, time
from pose_analyzer import Pipeline
with Pipeline(exercise="squat") as pipeline:
    update = next(pipeline.run(sys.argv[1]))
assert len(update.poses) == 1
"""
_MEMORY = """
import sys
from pose_analyzer import analyze
from shared_utils.devices import peak_memory_bytes
analyze(sys.argv[1], exercise="squat", out=sys.argv[2])
print(peak_memory_bytes() / 1e6)
"""
_PEER_FIRST = """
import sys, cv2, mediapipe as mp
capture = cv2.VideoCapture(sys.argv[1])
image = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
assert mp.solutions.pose.Pose(model_complexity=1).process(image).pose_landmarks is not None
"""
_PEER_MEMORY = """
import sys, cv2, mediapipe as mp
from shared_utils.devices import peak_memory_bytes
capture = cv2.VideoCapture(sys.argv[1])
pose = mp.solutions.pose.Pose(model_complexity=1)
while True:
    ok, image = capture.read()
    if not ok:
        break
    pose.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
print(peak_memory_bytes() / 1e6)
"""


def start() -> Iterator[Row]:
    """From the start of the process to the first measured frame, and the memory of a whole analysis."""
    from pose_analyzer.pipeline.demo import demo_scene
    from pose_analyzer.synthetic import write_clip

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "athlete.mp4"
        write_clip(demo_scene()[0], clip)
        ours, peer = [], []
        for _ in range(6):
            ours.append(_seconds(_FIRST, str(clip)))
            peer.append(_seconds(_PEER_FIRST, str(clip)))
        # The first start fills the cache of compiled networks and the file cache; a user meets the others.
        first, again, theirs = ours[0], statistics.median(ours[1:]), statistics.median(peer[1:])
        yield Row("start", "process start to first result, s", again, theirs, "MediaPipe + OpenCV", theirs / again)
        yield Row("start", "the same, very first time, s", first, peer[0], "MediaPipe + OpenCV, very first time", peer[0] / first)
        memory, theirs_mb = float(_output(_MEMORY, str(clip), folder)), float(_output(_PEER_MEMORY, str(clip)))
        yield Row(
            "memory", "peak of a whole analysis with video and plot, MB", memory, theirs_mb, "MediaPipe + OpenCV loop", theirs_mb / memory
        )


def _seconds(code: str, *words: str) -> float:
    begin = time.perf_counter()
    _output(code, *words)
    return time.perf_counter() - begin


def _output(code: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def blazepose() -> Iterator[Row]:
    """BlazePose on OpenVINO against MediaPipe's own solution."""
    yield from (Row("blazepose", **row) for row in _load("bench_blazepose").rows())


def tracking() -> Iterator[Row]:
    """ByteTrack against ultralytics' and trackers'."""
    cost = _load("bench_tracking").cost_per_frame_ms(people=20, frames=300)
    ours = cost.pop("pose_analyzer")
    for name, theirs in cost.items():
        yield Row("tracking", "ByteTrack at 20 people, ms a frame", ours, theirs, name, theirs / ours)
    ours = _load("bench_tracking").cost_of_ours_ms(people=20)
    ratio = ours["ultralytics"] / ours["oks"]
    yield Row("tracking", "pose tracker at 20 people, ms a frame", ours["oks"], ours["ultralytics"], "ultralytics' ByteTrack", ratio, 3.0)


def smoothing() -> Iterator[Row]:
    """Vectorised One Euro against one filter object per scalar."""
    r = _load("bench_smoothing").run()
    what = f"One Euro at {r['people']} people x {r['keypoints']} keypoints, microseconds a frame"
    yield Row("smoothing", what, r["vectorised_us"], r["scalar_loop_us"], "one filter per scalar", r["speed_up"], 20.0)


def form() -> Iterator[Row]:
    """What judging a movement as it goes costs."""
    row = _load("bench_form").cost_row()
    for name, key, goal in (("median", "temporal_median_ms", 1.0), ("99th percentile", "temporal_p99_ms", None)):
        yield Row("form", f"movement search at 33 points, ms a frame, {name}", row[key], 2.0, "limit", 2.0 / row[key], goal)


def video() -> Iterator[Row]:
    """Decoding against OpenCV's VideoCapture."""
    r = _load("bench_video").run()
    rates, clip = r["frames_per_s"], r["clip"]
    what = f"decoding {clip['width']}x{clip['height']} to RGB, frames/s"
    yield Row("video", what, rates["open_source"], rates["opencv_rgb"], "OpenCV VideoCapture", r["ratio_to_opencv_rgb"])
    close_s = r["close_of_a_hanging_camera_s"]
    yield Row("video", "closing a camera that hangs, s", close_s, 1.0, "limit", 1.0 / max(close_s, 1e-6), 1.0)


def synthetic() -> Iterator[Row]:
    """Filming the athlete against 15 frames/s on one core."""
    for row in _load("bench_synthetic").rows():
        yield Row("synthetic", **row)


def service(minutes: float = 2.0) -> Iterator[Row]:
    """The service under load, as its clients see it."""
    module = _load("bench_service")
    for row in module.rows(module.run(minutes=minutes)):
        yield Row("service", **row)


def _rows_of(name: str, group: Callable[[], Iterator[dict[str, Any]]]) -> Callable[[], Iterator[Row]]:
    return lambda: (Row(group=name, **row) for row in group())


GROUPS: dict[str, Callable[[], Iterator[Row]]] = {
    "blazepose": blazepose,
    "pipeline": pipeline,
    "start": start,
    "tracking": tracking,
    "smoothing": smoothing,
    "form": form,
    "video": video,
    "synthetic": synthetic,
    "service": service,
} | {name: _rows_of(name, group) for name, group in bench_memory.GROUPS.items()}


# --- output -------------------------------------------------------------------------------------------
def machine() -> str:
    """The machine in one line."""
    from shared_utils.devices import machine_profile

    profile = machine_profile()
    cpu, accelerators = profile["cpu"], profile["accelerators"] or []
    names = ", ".join(str(a.get("name", a)) if isinstance(a, dict) else str(a) for a in accelerators) or "no GPU"
    flags = " ".join(cpu["flags"])
    memory_gib = profile["memory_bytes"] / 2**30
    system = f"{profile['os']['system']} {profile['os']['machine']}"
    return f"{cpu['model']} ({flags}), {cpu['cores_usable']} cores, {memory_gib:.0f} GiB, {names}, {system}, Python {profile['python']}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def document(rows: list[Row], where: str) -> str:
    """docs/PERFORMANCE.md from the rows."""
    lines = [
        "# Performance",
        "",
        "Generated by `make bench ARGS=--docs`; do not edit. Both numbers of a row come from one run on one machine, medians, side by",
        "side. A ratio above 1 is better than the peer or within the limit.",
        "",
        f"Machine: {where}.",
        "",
        "| what | ours | other | against | ratio | goal | |",
        "|---|---:|---:|---|---:|---:|---|",
    ]
    for r in rows:
        goal = "" if r.goal is None else f"{r.goal:g}"
        lines.append(f"| {r.what} | {_number(r.ours)} | {_number(r.other)} | {r.against} | {r.ratio:.2f} | {goal} | {r.verdict} |")
    return "\n".join([*lines, "", *_limits(rows), *bench_memory.sections()]).rstrip() + "\n"


def _limits(rows: list[Row]) -> list[str]:
    """What stands in the way of goals that were missed."""
    missed = " ".join(r.what for r in rows if r.verdict == "missed")
    lines = []
    if "4 streams" in missed:
        lines.append(
            '- Four streams: the landmark network alone takes most of what two cores have (see "cores busy"); decoding, drawing '
            "and sending share the rest. bfloat16 (`stream_precision`) nearly halves it, more cores or an accelerator do the rest."
        )
    if "BlazePose, frames/s" in missed:
        lines.append(
            "- BlazePose against MediaPipe: both run the same float32 network; its 0.7 GFLOP take 4.7 ms of two cores near their "
            "peak, and four times MediaPipe's speed would leave 4.6 ms for everything. bfloat16 comes near it, and moves one landmark "
            "in twenty by 9 px or more."
        )
    return ["## What limits", "", *lines] if lines else []


def show(rows: list[Row]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=machine())
    for name in ("what", "ours", "other", "against", "ratio", "goal", ""):
        table.add_column(name, justify="left" if name in ("what", "against", "") else "right", overflow="fold")
    for r in rows:
        style = {"missed": "red", "met": "green"}.get(r.verdict)
        goal = "" if r.goal is None else f"{r.goal:g}"
        table.add_row(r.what, _number(r.ours), _number(r.other), r.against, f"{r.ratio:.2f}", goal, r.verdict, style=style)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _earlier() -> list[Row]:
    """Rows that earlier runs on this machine left."""
    try:
        kept = json.loads(RESULTS.read_text())
    except (OSError, ValueError):
        return []
    if kept.get("machine") != machine():
        return []
    return [Row(**{key: value for key, value in row.items() if key != "verdict"}) for row in kept["rows"]]


def _merge(old: list[Row], new: list[Row]) -> list[Row]:
    """The rows of both, in the order of the groups; a group that was measured again counts as it is now."""
    groups = list(dict.fromkeys([_group(r) for r in new]))
    rows = [r for r in old if _group(r) not in groups] + new
    return sorted(rows, key=lambda r: list(GROUPS).index(_group(r)) if _group(r) in GROUPS else len(GROUPS))


def _group(row: Row) -> str:
    return "start" if row.group == "memory" else row.group


def _keep(rows: list[Row]) -> None:
    """Write what is known so far."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine(), "rows": [asdict(r) | {"verdict": r.verdict} for r in rows]}, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--docs", action="store_true", help="rewrite docs/PERFORMANCE.md")
    parser.add_argument("--minutes", type=float, default=2.0, help="of streaming, for the service's memory; default %(default)g")
    options = parser.parse_args()
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    rows: list[Row] = []
    earlier = _earlier()
    failed: list[str] = []
    for name in options.groups or GROUPS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            rows += service(options.minutes) if name == "service" else GROUPS[name]()
            _keep(_merge(earlier, rows))
        except KeyboardInterrupt:
            print("stopped; the rows so far:", file=sys.stderr)
            break
        except Exception as error:  # noqa: BLE001 - one failing benchmark must not hide the others
            failed.append(f"{name}: {type(error).__name__}: {error}")
    show(rows)
    if options.docs:
        DOC.write_text(document(_merge(earlier, rows), machine()))
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

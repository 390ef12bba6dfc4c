"""`pose-analyzer live` and `serve`: streams measured as they come."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pose_analyzer.cli.common import (
    ConfigOption,
    DetectorOption,
    DeviceOption,
    ExerciseOption,
    JsonOption,
    ModelOption,
    PeopleOption,
    SetOption,
    console,
    console_err,
    settings_from,
)
from pose_analyzer.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pose_analyzer.pipeline import Update


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.command("live")(live_command)
    app.command("serve")(serve_command)


def live_command(
    source: Annotated[str, typer.Argument(help="Webcam number, rtsp:// address, file, or 'demo' for the built-in athlete.")] = "0",
    exercise: ExerciseOption = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long, s. (default: until Ctrl-C)", show_default=False)] = None,
    record: Annotated[Path | None, typer.Option("--record", "-r", help="Write the annotated video here.", show_default=False)] = None,
    window: Annotated[bool, typer.Option("--window", help="Show the picture in a window.")] = False,
    detector: DetectorOption = None,
    device: DeviceOption = None,
    model: ModelOption = None,
    max_people: PeopleOption = None,
    config: ConfigOption = None,
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Measure a camera or a stream as it comes; --json prints one line per event."""
    from pose_analyzer.pipeline import Pipeline

    if source == "demo" and exercise is None:
        exercise = "squat"
    settings = settings_from(config, pairs, exercise=exercise, detector=detector, device=device, model=model, max_people=max_people)
    try:
        with ExitStack() as stack:
            pipeline = stack.enter_context(Pipeline(settings))
            frames = stack.enter_context(_open(source))
            updates = _until(pipeline.run(frames), seconds)
            if record is not None or window:
                updates = _with_pictures(updates, stack, record, window, pipeline.settings.exercise.name)
            if as_json or not sys.stdout.isatty():
                _print_events(updates, as_json=as_json)
            else:
                _show_table(updates, frames)
    except KeyboardInterrupt:
        console_err().print("stopped", style="yellow")
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def serve_command(
    host: Annotated[str, typer.Option(help="Address to bind to; anything but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 8001,
) -> int:
    """Serve the HTTP API."""
    from pose_analyzer.api.main import main

    return main(["--host", host, "--port", str(port)]) or ExitCode.OK


def _open(source: str) -> Any:
    from pose_analyzer.video import open_source

    if source == "demo":
        from pose_analyzer.pipeline.demo import DemoSource

        return DemoSource()
    is_file = Path(source).exists()
    # A file stands in for a camera here, so it runs at its natural pace.
    return open_source(int(source) if source.isdigit() else source, pace=1.0 if is_file else None)


def _until(updates: Iterator[Update], seconds: float | None) -> Iterator[Update]:
    start = time.monotonic()
    for update in updates:
        yield update
        if seconds is not None and time.monotonic() - start >= seconds:
            return


def _with_pictures(
    updates: Iterator[Update], stack: ExitStack, record: Path | None, window: bool, exercise: str | None
) -> Iterator[Update]:
    from pose_analyzer.pipeline import annotate
    from pose_analyzer.reporting import FormCues
    from pose_analyzer.video import VideoWriter

    writer: VideoWriter | None = None
    cues = FormCues()
    for update in updates:
        cues.take(update.events, timestamp_s=update.frame.timestamp_s)
        picture = annotate(update, exercise=exercise, cues=cues)
        if record is not None:
            if writer is None:
                writer = stack.enter_context(VideoWriter(record, width=update.frame.width, height=update.frame.height))
            writer.write(picture, update.frame.timestamp_s)
        if window:
            _show(picture)
        yield update


def _show(picture: Any) -> None:
    import cv2

    try:
        cv2.imshow("pose-analyzer (q ends)", picture[..., ::-1])
        pressed = cv2.waitKey(1) & 0xFF
    except cv2.error as error:
        raise typer.BadParameter("there is no display for --window here; use --record FILE.mp4 instead") from error
    if pressed in (ord("q"), 27):
        raise KeyboardInterrupt


def _print_events(updates: Iterator[Update], *, as_json: bool) -> None:
    for update in updates:
        for event in update.events:
            line = json.dumps(event.to_dict()) if as_json else f"{event.end_s:8.2f} s  {event.message or event.type}"
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _show_table(updates: Iterator[Update], source: Any) -> None:
    from rich.live import Live

    arrivals: deque[float] = deque(maxlen=60)
    lines: deque[str] = deque(maxlen=6)
    with Live(console=console(), refresh_per_second=10, transient=True) as screen:
        for update in updates:
            arrivals.append(time.monotonic())
            lines.extend(f"{e.end_s:7.2f} s  {e.message or e.type}" for e in update.events)
            screen.update(_table(update, arrivals, lines, int(getattr(source, "dropped", 0))))
    for line in lines:
        console().print(line)


def _table(update: Update, arrivals: deque[float], lines: deque[str], dropped: int) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    span = arrivals[-1] - arrivals[0]
    rate = (len(arrivals) - 1) / span if span > 0 else 0.0
    spent_ms = 1000 * sum(update.timings_s.values())
    table = Table(title=f"{update.frame.timestamp_s:.1f} s · {rate:.0f} frames/s · {spent_ms:.1f} ms a frame · {dropped} dropped")
    for name in ("person", "repetitions", "phase", "left knee °", "right knee °", "left elbow °", "right elbow °"):
        table.add_column(name, justify="right")
    for track_id in update.tracked.track_ids.tolist():
        angles, state = update.angles.row(track_id), update.repetitions.get(track_id)
        shown = (angles.get(f"{side}_{joint}_flexion_deg", float("nan")) for joint in ("knee", "elbow") for side in ("left", "right"))
        counted = (str(state.count), state.phase) if state else ("-", "-")
        table.add_row(str(track_id), *counted, *("-" if a != a else f"{a:.0f}" for a in shown))
    return Group(table, *(Text(line) for line in lines))

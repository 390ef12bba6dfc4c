"""What the sub-commands share: consoles, options, settings from flags."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console

    from pose_analyzer.settings import PoseSettings

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file with settings.", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="One setting by dotted key, for example detection.threads=1.", show_default=False
    ),
]
ExerciseOption = Annotated[
    str | None, typer.Option("--exercise", "-e", help="Profile to count by: a name or a YAML file.", show_default=False)
]
DetectorOption = Annotated[
    str | None, typer.Option("--detector", "-d", help="blazepose, mediapipe or yolo. (default: blazepose)", show_default=False)
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu, gpu, npu, cuda, mps or auto. (default: cpu)", show_default=False)]
ModelOption = Annotated[str | None, typer.Option("--model", help="Weights: a registry name or a path.", show_default=False)]
PeopleOption = Annotated[
    int | None, typer.Option("--max-people", help="Most people measured in one frame. (default: 6)", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def console() -> Console:
    """Console on stdout, for results."""
    from rich.console import Console

    return Console(highlight=False)


def console_err() -> Console:
    """Console on stderr, for progress and complaints."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False, default=str) + "\n")


def settings_from(
    config: Path | None,
    pairs: list[str] | None,
    *,
    exercise: str | None = None,
    detector: str | None = None,
    device: str | None = None,
    model: str | None = None,
    max_people: int | None = None,
    more: dict[str, Any] | None = None,
) -> PoseSettings:
    """Settings tree from the common flags.

    Raises:
        ConfigError: A flag names an unknown key or a wrong value.
    """
    from pose_analyzer.settings import load_pose_settings
    from shared_utils.config import parse_override

    flags: dict[str, Any] = {
        "exercise.name": exercise,
        "detection.name": detector,
        "detection.device": device,
        "detection.model": model,
        "detection.max_people": max_people,
        **(more or {}),
    }
    overrides = dict(parse_override(p) for p in pairs or []) | {k: v for k, v in flags.items() if v is not None}
    return load_pose_settings(config, overrides)


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Make sure that Ctrl-C is not lost.

    Python raises `KeyboardInterrupt` wherever the main thread happens to be. In a destructor or a callback of a library
    it is reported and dropped, and the program goes on. The function that is given out raises it again then.
    """
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.default_int_handler(number, frame)

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    # Under nohup, and in a thread, Ctrl-C is not ours to take.
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

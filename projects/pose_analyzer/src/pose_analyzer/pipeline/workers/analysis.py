"""Analyses in a process of their own: look at an upload, or measure a recording from its beginning to its end.

In: an "analyze" order. Out: messages on how far it is, and a folder of results that is renamed into place
only when it is whole. Limits hold for what is decoded, whatever a header says.

An order's fields (see `Order`): task "probe" looks whether the first picture can be decoded; task "measure"
fetches (if there is a url), measures and keeps. Messages that answer it:

- `probed`: {width, height, duration_s, frames, codec}; a probe ends with it.
- `progress`: {stage "fetching", bytes, total} or {stage "measuring", frames, total, repetitions, people}.
- `fetched`: {size_bytes}; the recording lies in its place.
- `done`: {frames, duration_s, repetitions, people, complete, notes}; the results lie in their place.
- `refused`: {reason, detail}; the recording is not one that can be measured, and why.
- `stopped`: the stop that was asked for was understood; nothing more comes.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pose_analyzer.errors import (
    DamagedSourceError,
    EmptySourceError,
    MissingSourceError,
    NotAVideoError,
    SinkError,
    SourceError,
    UnreadableSourceError,
    WorkerError,
)
from pose_analyzer.pipeline.workers.fetching import ForeignHostError, Stopped, TooManyBytesError, fetch
from pose_analyzer.video import Source, SourceInfo, TimingReport, open_source
from shared_utils.data_models import Frame
from shared_utils.logging import redact

if TYPE_CHECKING:
    from threading import Event as Flag

    from pose_analyzer.pipeline import PoseSession, Progress

MAX_FRAME_RATE_HZ = 250.0
"""A recording may have so many frames per second of the longest duration; no gym camera has more."""

_PROGRESS_S = 0.25
_RESULT_FILE = "result.json"


class TooLongError(SourceError):
    """A recording is longer than it may be, in media time or in frames."""


_REASONS: tuple[tuple[type[SourceError], str], ...] = (
    (TooLongError, "too_long"),
    (TooManyBytesError, "too_large"),
    (ForeignHostError, "foreign_host"),
    (NotAVideoError, "not_a_video"),
    (EmptySourceError, "empty"),
    (DamagedSourceError, "damaged"),
    (UnreadableSourceError, "unreadable"),
    (MissingSourceError, "missing"),
)


class Line(Protocol):
    """What is needed of `workers.channel.Channel`."""

    @property
    def stop_requested(self) -> Flag:
        """Set when the service wants an end."""
        ...

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a message."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be done.

    Args:
        task: Look at a recording, or measure it.
        source: Where the recording lies, or is put after it was fetched.
        label: What people call it; it stands for its path in every message and result.
        stream_id: Name of the stream in events.
        max_duration_s: Longest media time, seconds.
        max_pixels: Largest picture, px.
        exercise: Profile to count by.
        work: Folder that is filled; made here, and of no use to anybody until it is renamed.
        out: What it is renamed to. An unfinished one from before is replaced.
        url: Where to fetch the recording from when it is not at `source` yet.
        url_hosts: Hosts that may be addressed for it.
        max_bytes: Largest size that is fetched.
    """

    task: Literal["probe", "measure"]
    source: str
    label: str
    max_duration_s: float
    max_pixels: int
    stream_id: str = "stream"
    exercise: str | None = None
    work: str | None = None
    out: str | None = None
    url: str | None = None
    url_hosts: tuple[str, ...] = ()
    max_bytes: int = 2**31

    def message(self) -> dict[str, Any]:
        """As first message to a measuring process."""
        return {"type": "analyze", **{name: getattr(self, name) for name in self.__dataclass_fields__}}

    @classmethod
    def of_message(cls, header: Mapping[str, Any]) -> Order:
        """Inverse of `message`; what other parts of the service put beside it is left alone.

        Raises:
            WorkerError: A field is missing.

        Example:
            >>> order = Order(task="probe", source="a", label="b", max_duration_s=1.0, max_pixels=100)
            >>> Order.of_message(json.loads(json.dumps(order.message()))) == order
            True
        """
        fields = {name: header[name] for name in cls.__dataclass_fields__ if name in header}
        try:
            return cls(**{**fields, "url_hosts": tuple(fields.get("url_hosts") or ())})
        except TypeError as error:
            raise WorkerError(f"no order to analyse: {error}") from None


def run(channel: Line, spec: Mapping[str, Any]) -> None:
    """Do what an order says.

    Args:
        channel: To the service.
        spec: The order's message.

    Raises:
        WorkerError: It is no order.
        PoseAnalyzerError: Something other than the recording is wrong, such as an unknown exercise or a full disk.
    """
    order = Order.of_message(spec)
    try:
        if order.task == "probe":
            channel.send({"type": "probed", **probe(order)})
        else:
            channel.send({"type": "done", **_measure(channel, order)})
    except Stopped:
        pass  # the message is out already
    except SourceError as error:
        reason = next((name for kind, name in _REASONS if isinstance(error, kind)), "unusable")
        channel.send({"type": "refused", "reason": reason, "detail": _for_people(error, order)})
    except SinkError as error:
        raise SinkError(_for_people(error, order)) from error
    finally:
        if order.work is not None:
            shutil.rmtree(order.work, ignore_errors=True)


def probe(order: Order) -> dict[str, Any]:
    """Decode the first picture and tell what is announced.

    Raises:
        SourceError: Not one picture can be decoded, it is too large, or the header announces too long a duration.
    """
    with open_source(Path(order.source), max_pixels=order.max_pixels, stream_id=order.stream_id, decode_threads=1) as source:
        info = source.info
    if info.duration_s is not None and info.duration_s > order.max_duration_s:
        raise TooLongError(_too_long(order, f"announces {info.duration_s:.0f} s"))
    return {"width": info.width, "height": info.height, "duration_s": info.duration_s, "frames": info.frame_count, "codec": info.codec}


def _measure(channel: Line, order: Order) -> dict[str, Any]:
    from pose_analyzer.pipeline import analyze
    from pose_analyzer.settings import load_pose_settings

    if order.work is None or order.out is None:
        raise WorkerError("no order to measure: work and out are missing")
    work, out, recording = Path(order.work), Path(order.out), Path(order.source)
    shutil.rmtree(work, ignore_errors=True)
    _make_folder(work)
    if order.url is not None and not recording.exists():
        _fetch(channel, order, order.url, work, recording)
    settings = load_pose_settings()
    video = settings.video
    tell = _Teller(channel)
    with open_source(
        recording, stride=video.stride, start_s=video.start_s, end_s=video.end_s, max_pixels=order.max_pixels, stream_id=order.stream_id
    ) as source:
        limited = _Limited(source, order)
        session = analyze(limited, exercise=order.exercise, out=work, settings=settings, progress=tell.measuring)
    tell.check()
    facts = _finish(session, order, work, recording)
    _put_in_place(work, out)
    return facts


def _fetch(channel: Line, order: Order, url: str, work: Path, recording: Path) -> None:
    tell = _Teller(channel)
    partial = work.with_name(work.name + ".part")
    try:
        size = fetch(url, partial, hosts=order.url_hosts, max_bytes=order.max_bytes, stop=channel.stop_requested, progress=tell.fetching)
        _sync(partial)
        partial.replace(recording)
    except Stopped:
        channel.send({"type": "stopped"})
        raise
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SinkError(f"the recording cannot be kept: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    channel.send({"type": "fetched", "size_bytes": size})


class _Teller:
    """Tells how far it is, a few times a second, and ends it when the service wants an end."""

    def __init__(self, channel: Line, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel, self._clock = channel, clock
        self._next_s = 0.0

    def check(self) -> None:
        """Raise `Stopped` when the service wants an end."""
        if self._channel.stop_requested.is_set():
            # Told before anything is tidied up: the service need not wait for that.
            self._channel.send({"type": "stopped"})
            raise Stopped

    def measuring(self, progress: Progress) -> None:
        self.check()
        self._say(
            {
                "stage": "measuring",
                "frames": progress.frames,
                "total": progress.total,
                "repetitions": progress.repetitions,
                "people": progress.people,
            }
        )

    def fetching(self, done: int, total: int | None) -> None:
        self._say({"stage": "fetching", "bytes": done, "total": total})

    def _say(self, facts: dict[str, Any]) -> None:
        now_s = self._clock()
        if now_s >= self._next_s:
            self._next_s = now_s + _PROGRESS_S
            self._channel.send({"type": "progress", **facts})


class _Limited:
    """A source that ends with an error where it gets too long, under the name that people know."""

    def __init__(self, source: Source, order: Order) -> None:
        self._source, self._order = source, order
        self.info: SourceInfo = replace(source.info, name=order.label)
        self.stream_id = order.stream_id
        self._first_s: float | None = None
        self._frames = 0
        self._most_frames = order.max_duration_s * MAX_FRAME_RATE_HZ

    @property
    def damage(self) -> str | None:
        return None if self._source.damage is None else _for_people(self._source.damage, self._order)

    @property
    def dropped(self) -> int:
        return self._source.dropped

    @property
    def timing(self) -> TimingReport:
        return self._source.timing

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = next(self._source)
        self._frames += 1
        first_s = self._first_s = frame.timestamp_s if self._first_s is None else self._first_s
        if frame.timestamp_s - first_s > self._order.max_duration_s:
            raise TooLongError(_too_long(self._order, "goes on beyond that"))
        if self._frames > self._most_frames:
            raise TooLongError(_too_long(self._order, f"has more than {self._most_frames:.0f} frames"))
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def seek(self, timestamp_s: float) -> None:
        self._source.seek(timestamp_s)

    def close(self) -> None:
        self._source.close()


def _finish(session: PoseSession, order: Order, work: Path, recording: Path) -> dict[str, Any]:
    """Put the recording's fingerprint into the result, and sum it up."""
    from pose_analyzer import reporting
    from pose_analyzer.pipeline.analyze import file_fingerprint

    session = replace(session, source_info={**session.source_info, "sha256": file_fingerprint(recording)})
    result = reporting.session_to_dict(session)
    try:
        (work / _RESULT_FILE).write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise SinkError(f"the results cannot be kept: {error.strerror or error}") from error
    return {
        "frames": session.frames,
        "duration_s": session.duration_s,
        "repetitions": session.repetition_count,
        "people": len(result["people"]),
        "complete": session.complete,
        "notes": [_for_people(note, order) for note in session.notes],
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise SinkError(f"the results cannot be kept: {error.strerror or error}") from error


def _put_in_place(work: Path, out: Path) -> None:
    """Make the results last, then visible, at once."""
    try:
        for path in work.iterdir():
            _sync(path)
        _sync(work)
        shutil.rmtree(out, ignore_errors=True)
        work.rename(out)
        _sync(out.parent)
    except OSError as error:
        raise SinkError(f"the results cannot be kept: {error.strerror or error}") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _too_long(order: Order, what: str) -> str:
    return f"{order.label}: recordings of up to {order.max_duration_s:g} s are analysed (max_duration_s), this one {what}; cut it"


def _for_people(text: object, order: Order) -> str:
    """A message without the places where things lie on this machine, and without credentials."""
    words = str(text)
    for path in (order.source, order.work, order.out):
        if path:
            words = words.replace(path, order.label)
    return redact(words)

"""What every source is and says about itself: the `Source` protocol, `SourceInfo` and the tally of repaired times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from shared_utils.data_models import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What is known of a source before its frames are read.

    Args:
        width: Width in px of the frames as delivered: upright, with square pixels.
        height: Height in px of the frames as delivered.
        nominal_fps: Average rate that the container or camera announces, frames per second; None if it says nothing sane.
            A hint only: time is `Frame.timestamp_s`.
        frame_count: Number of frames that the header announces; None if unknown. A damaged file may hold fewer.
        duration_s: Length in seconds that the header announces; None if unknown or live.
        is_live: True for cameras and network streams: they can be neither sought nor paced, and may drop frames.
        codec: Name of the codec, such as "h264"; "images" for a folder of pictures.
        name: Short name for people; never contains credentials.

    Example:
        >>> SourceInfo(width=640, height=480, nominal_fps=25.0, frame_count=50, duration_s=2.0, is_live=False,
        ...            codec="h264", name="squat.mp4").duration_s
        2.0
    """

    width: int
    height: int
    nominal_fps: float | None
    frame_count: int | None
    duration_s: float | None
    is_live: bool
    codec: str
    name: str


@dataclass(slots=True)
class TimingReport:
    """How often a stream's own times could not be used as they were.

    Args:
        missing: Frames without a time; theirs was derived from the nominal rate (files) or the arrival (cameras).
        nudged: Frames whose time did not rise; they were set half a nominal period (files) after the frame before.
        breaks: Jumps of the stream's clock (backwards by more than 1 s, or absurdly far forwards) that were bridged.

    Example:
        >>> TimingReport(missing=2).clean
        False
    """

    missing: int = 0
    nudged: int = 0
    breaks: int = 0

    @property
    def clean(self) -> bool:
        """True when every time is the stream's own."""
        return not (self.missing or self.nudged or self.breaks)


@runtime_checkable
class Source(Protocol):
    """Frames in the order of their time: a context manager and an iterator of `Frame`.

    `damage` is None, or a sentence that says why the source ended early or lost pictures; the frames until then were
    delivered. `dropped` counts the frames that a live source captured and nobody fetched in time; it stays 0 for files.
    """

    @property
    def info(self) -> SourceInfo:
        """What is known of the source."""
        ...

    @property
    def stream_id(self) -> str:
        """The id that every frame carries."""
        ...

    @property
    def damage(self) -> str | None:
        """Why it ended early or lost pictures; None when all is well."""
        ...

    @property
    def dropped(self) -> int:
        """Captured frames that were never delivered."""
        ...

    @property
    def timing(self) -> TimingReport:
        """How often the stream's own times had to be repaired."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def __next__(self) -> Frame: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def seek(self, timestamp_s: float) -> None:
        """Continue at the first frame whose time is not before `timestamp_s`."""
        ...

    def close(self) -> None:
        """Release file, camera and threads; safe to call twice and from another thread."""
        ...

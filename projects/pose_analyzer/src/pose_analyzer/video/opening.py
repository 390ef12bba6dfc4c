"""`open_source`: one door for files, folders, webcams and network streams."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from pose_analyzer.errors import SourceError
from pose_analyzer.video.address import Address
from pose_analyzer.video.cameras import connect_url, connect_webcam
from pose_analyzer.video.container import MAX_PIXELS, OpenVideo, check_path, open_file, open_url
from pose_analyzer.video.files import ContainerReader
from pose_analyzer.video.folders import FolderReader
from pose_analyzer.video.info import Source
from pose_analyzer.video.live import Backoff, LiveSource
from pose_analyzer.video.pace import Clock
from pose_analyzer.video.reading import Reader
from pose_analyzer.video.recorded import RecordedSource, check_range
from shared_utils.data_models import Event


def open_source(
    spec: str | Path | int,
    *,
    stride: int = 1,
    start_s: float | None = None,
    end_s: float | None = None,
    pace: float | None = None,
    loop: bool = False,
    stream_id: str | None = None,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    decode_threads: int = 0,
    queue_size: int = 2,
    open_timeout_s: float = 10.0,
    read_timeout_s: float = 5.0,
    backoff: Backoff | None = None,
    on_event: Callable[[Event], None] | None = None,
    clock: Clock | None = None,
) -> Source:
    """Open anything that gives pictures.

    A video or picture file is told by its content, not by its name. The first picture is decoded (or received) at once,
    so whatever is wrong with a source is an error here; what breaks later ends the iteration and stands in `damage`.

    Args:
        spec: A path to a video, a picture or a folder of pictures; the address of a stream (rtsp, http, rtmp, udp, tcp,
            srt); the number of a webcam, or "webcam:NUMBER" or "webcam:DEVICE".
        stride: Deliver the frames whose number is a multiple of it.
        start_s: First time to deliver, seconds; recordings only.
        end_s: First time not to deliver, seconds.
        pace: None as fast as possible, 1.0 natural, N times as fast; recordings only.
        loop: Play for ever; recordings only.
        stream_id: Id that frames and events carry; None takes the file's stem, or host and path of an address.
        fps: Frames per second of a folder of pictures (default 30), or to ask a webcam for.
        size: (width, height) in px to ask a webcam for.
        max_pixels: Largest picture that is decoded, px.
        decode_threads: Decoder threads for recordings; 0 decides by the machine.
        queue_size: Frames of a live source that may wait; the oldest is dropped for a newer one.
        open_timeout_s: Longest wait for a network connection or a device, seconds.
        read_timeout_s: Longest silence of a live source before it counts as lost, seconds.
        backoff: How to come back to a lost camera.
        on_event: Called, in the capture thread, when a live source is lost and when it is back.
        clock: The wall clock; tests put in their own.

    Returns:
        A context manager and iterator of `Frame`.

    Raises:
        MissingSourceError: Nothing is there, or nothing answers.
        UnreadableSourceError: It may not be read, or the camera refuses the credentials.
        EmptySourceError: No bytes, or a video stream without a frame.
        NotAVideoError: Another kind of file, sound only, or a folder without pictures.
        DamagedSourceError: A video of which not one picture can be decoded.
        SourceError: An argument is out of range or does not fit this kind of source.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from pose_analyzer.video import VideoWriter
        >>> path = Path(tempfile.mkdtemp()) / "two.mp4"
        >>> with VideoWriter(path, width=64, height=48) as writer:
        ...     for time_s in (0.0, 0.04, 0.12):
        ...         writer.write(np.zeros((48, 64, 3), np.uint8), time_s)
        >>> with open_source(path) as source:
        ...     [(frame.index, round(frame.timestamp_s, 3)) for frame in source]
        [(0, 0.0), (1, 0.04), (2, 0.12)]
    """
    check_range(stride, start_s, end_s)
    _check_numbers(fps, size, queue_size, open_timeout_s, read_timeout_s)
    address = Address.parse(spec)
    if address.kind == "path":
        address = _device_or_path(address)
    name = stream_id or address.stream_id
    timeouts_s = (open_timeout_s, read_timeout_s)
    reader: Reader | None = None
    if address.kind == "path":
        reader = _open_path(address, fps, max_pixels, decode_threads)
    elif address.kind == "url" and re.match("(?i)https?://", address.value):
        reader = _open_download(address, max_pixels, timeouts_s, decode_threads)
    if reader is not None:
        try:
            return RecordedSource(reader, stream_id=name, stride=stride, start_s=start_s, end_s=end_s, pace=pace, loop=loop, clock=clock)
        except BaseException:
            reader.close()
            raise
    if start_s or pace is not None or loop:
        raise SourceError(f"{address.shown}: is live; start_s, pace and loop are for recordings")
    if address.kind == "webcam":
        connect = partial(connect_webcam, address, capture_size=size, fps=fps, max_pixels=max_pixels, timeouts_s=timeouts_s)
    else:
        connect = partial(connect_url, address, max_pixels=max_pixels, timeouts_s=timeouts_s)
    first = connect()
    return LiveSource(
        first,
        partial(connect, size=(first.info.width, first.info.height)),
        stream_id=name,
        shown=address.shown,
        stride=stride,
        end_s=end_s,
        queue_size=queue_size,
        backoff=backoff,
        on_event=on_event,
        clock=clock,
    )


def _device_or_path(address: Address) -> Address:
    """`/dev/video2` is a webcam, whatever it looks like."""
    path = Path(address.value)
    try:
        is_device = stat.S_ISCHR(path.stat().st_mode)
    except (OSError, ValueError):
        is_device = False
    return replace(address, kind="webcam", shown=f"webcam {path}") if is_device and path.name.startswith("video") else address


def _open_path(address: Address, fps: float | None, max_pixels: int, threads: int) -> Reader:
    path = check_path(Path(address.value))
    if path.is_dir():
        return FolderReader(path, fps=fps or 30.0, max_pixels=max_pixels)
    return ContainerReader(partial(open_file, path, max_pixels=max_pixels), name=str(path), threads=threads, max_pixels=max_pixels)


def _open_download(address: Address, max_pixels: int, timeouts_s: tuple[float, float], threads: int) -> Reader | None:
    """A web address is a recording when it has a length; None for one that goes on, such as a camera's MJPEG."""

    def open_video() -> OpenVideo:
        return open_url(address, max_pixels=max_pixels, timeouts_s=timeouts_s, live=False)

    video = open_video()
    has_end = bool(video.container.duration)
    video.close()
    return ContainerReader(open_video, name=address.shown, threads=threads, max_pixels=max_pixels) if has_end else None


def _check_numbers(fps: float | None, size: tuple[int, int] | None, queue_size: int, open_timeout_s: float, read_timeout_s: float) -> None:
    if fps is not None and not 0 < fps <= 1000:
        raise SourceError(f"fps must lie above 0 and at most at 1000, got {fps}")
    if size is not None and not (len(size) == 2 and min(size) > 0):
        raise SourceError(f"size must be (width, height) in px, got {size}")
    if queue_size < 1:
        raise SourceError(f"queue_size must be 1 or more, got {queue_size}")
    if not (open_timeout_s > 0 and read_timeout_s > 0):
        raise SourceError(f"time limits must be above 0 s, got {open_timeout_s} and {read_timeout_s}")

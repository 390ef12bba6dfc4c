"""Connections to cameras: network streams and webcams, both through FFmpeg."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av.device
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import DamagedSourceError, MissingSourceError, SourceError
from pose_analyzer.video.address import Address
from pose_analyzer.video.container import AV_ERRORS, MAX_PIXELS, OpenVideo, open_input, open_url, reason
from pose_analyzer.video.info import SourceInfo
from pose_analyzer.video.live import LivePicture
from pose_analyzer.video.picture import PictureConverter
from pose_analyzer.video.timing import sane_rate

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

_MAX_DECODE_FAILURES = 250
_DEVICES = Path("/dev")
_DEVICE_NAMES = Path("/sys/class/video4linux")


class CameraConnection:
    """One connection to a camera; its first picture has been received.

    Args:
        video: The open stream; it is closed with the connection.
        address: Where it comes from, for messages.
        size: (width, height) in px that pictures are fitted into; None takes that of the first one.
        max_pixels: Largest picture, px.
        patience_s: Longest wait for the first picture, seconds; many cameras begin in the middle of a group of pictures.

    Raises:
        DamagedSourceError: The camera sends, but nothing that can be decoded.
    """

    def __init__(
        self,
        video: OpenVideo,
        address: Address,
        *,
        size: tuple[int, int] | None = None,
        max_pixels: int = MAX_PIXELS,
        patience_s: float = 20.0,
    ) -> None:
        self._video = video
        self._deadline_s: float | None = time.monotonic() + patience_s
        self._address = address
        self._base = video.stream.time_base
        codec = video.stream.codec_context
        # Frame threads would hold back as many pictures as there are threads.
        codec.thread_type = "SLICE"
        self._converter = PictureConverter(video.stream.sample_aspect_ratio, size=size, max_pixels=max_pixels)
        self._frames = self._decode()
        try:
            self._first = next(self._frames)
            image = self._converter.rgb(self._first)
        except StopIteration:
            video.close()
            raise DamagedSourceError(f"{address.shown}: answers, but ends before the first picture") from None
        except SourceError as error:
            video.close()
            raise DamagedSourceError(f"{address.shown}: {error}") from None
        except AV_ERRORS as error:
            video.close()
            raise DamagedSourceError(f"{address.shown}: answers, but no picture came ({address.clean(reason(error))})") from None
        except BaseException:
            video.close()
            raise
        self._deadline_s = None
        self.info = SourceInfo(
            width=image.shape[1],
            height=image.shape[0],
            nominal_fps=sane_rate(video.stream.average_rate) or sane_rate(video.stream.guessed_rate),
            frame_count=None,
            duration_s=None,
            is_live=True,
            codec=codec.name,
            name=address.shown,
        )

    def pictures(self) -> Iterator[LivePicture]:
        """Pictures as they arrive."""
        yield self._picture(self._first)
        del self._first
        try:
            for frame in self._frames:
                yield self._picture(frame)
        except AV_ERRORS as error:
            raise SourceError(self._address.clean(reason(error))) from None

    def close(self) -> None:
        """Let go of the camera."""
        self._video.close()

    def _picture(self, frame: VideoFrame) -> LivePicture:
        pts_s = None if frame.pts is None or self._base is None else float(frame.pts * self._base)
        return LivePicture(pts_s, partial(self._rgb, frame))

    def _rgb(self, frame: VideoFrame) -> NDArray[np.uint8] | None:
        try:
            return self._converter.rgb(frame)
        except (SourceError, *AV_ERRORS):
            return None

    def _decode(self) -> Iterator[VideoFrame]:
        """Frames; single packets may be broken, but not hundreds in a row."""
        failures = 0
        codec = self._video.stream.codec_context
        for packet in self._packets():
            try:
                frames = codec.decode(packet)
                failures = 0
            except AV_ERRORS:
                failures += 1
                if failures > _MAX_DECODE_FAILURES:
                    raise
                continue
            if not frames and self._deadline_s is not None and time.monotonic() > self._deadline_s:
                raise TimeoutError("it sends, but no picture came out in time")
            yield from frames

    def _packets(self) -> Iterator[Packet]:
        for packet in self._video.container.demux(self._video.stream):
            if packet.size:
                yield packet


def connect_url(
    address: Address, *, size: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS, timeouts_s: tuple[float, float] = (10.0, 5.0)
) -> CameraConnection:
    """Connect to a network camera.

    Args:
        address: Its address.
        size: (width, height) in px that pictures are fitted into.
        max_pixels: Largest picture, px.
        timeouts_s: Longest wait for the connection and for the next packet, seconds.

    Raises:
        SourceError: Nothing answers, access is refused, or what comes is no video.
    """
    video = open_url(address, max_pixels=max_pixels, timeouts_s=timeouts_s, live=True)
    return CameraConnection(video, address, size=size, max_pixels=max_pixels, patience_s=2 * timeouts_s[0])


def connect_webcam(
    address: Address,
    *,
    capture_size: tuple[int, int] | None = None,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    timeouts_s: tuple[float, float] = (10.0, 5.0),
) -> CameraConnection:
    """Connect to a webcam.

    Args:
        address: Its number or device.
        capture_size: (width, height) in px to ask the camera for; None leaves it its choice.
        fps: Frames per second to ask the camera for; None leaves it its choice.
        size: (width, height) in px that pictures are fitted into.
        max_pixels: Largest picture, px.
        timeouts_s: Longest wait for the device and for the next picture, seconds.

    Raises:
        SourceError: There is no such webcam; the message names those that there are.
    """
    name, form = webcam_input(address.value)
    options = {}
    if capture_size is not None:
        options["video_size"] = f"{capture_size[0]}x{capture_size[1]}"
    if fps is not None or form == "avfoundation":
        # AVFoundation's default of 29.97 is refused by most Macs' own cameras.
        options["framerate"] = f"{fps or 30:g}"
    try:
        video = open_input(address, name, form, options, timeouts_s)
    except MissingSourceError as error:
        raise MissingSourceError(f"{error} {describe_webcams()}") from None
    return CameraConnection(video, address, size=size, max_pixels=max_pixels, patience_s=2 * timeouts_s[0])


def webcam_input(device: str) -> tuple[str, str]:
    """FFmpeg's name and input format for a webcam's number or device.

    Raises:
        MissingSourceError: There is none, or this system is neither Linux nor macOS.
    """
    if sys.platform.startswith("linux"):
        path = Path(device) if "/" in device else _DEVICES / (f"video{device}" if device.isdecimal() else device)
        if not path.exists():
            raise MissingSourceError(f"webcam {device}: there is no {path}. {describe_webcams()}")
        return str(path), "v4l2"
    if sys.platform == "darwin":
        return device, "avfoundation"
    raise MissingSourceError(f"webcam {device}: webcams are read on Linux and macOS only; use the camera's rtsp:// address")


def find_webcams() -> dict[str, str]:
    """The webcams of this computer: what to write after `webcam:`, and the device's own name.

    Example:
        >>> isinstance(find_webcams(), dict)
        True
    """
    if sys.platform.startswith("linux"):
        names = {}
        for entry in sorted(_DEVICES.glob("video[0-9]*"), key=lambda path: int(path.name.removeprefix("video") or 0)):
            label = _DEVICE_NAMES / entry.name / "name"
            try:
                names[entry.name.removeprefix("video")] = label.read_text().strip()
            except OSError:
                names[entry.name.removeprefix("video")] = str(entry)
        return names
    if sys.platform == "darwin":
        try:
            devices = av.device.enumerate_input_devices("avfoundation")
        except AV_ERRORS:
            return {}
        return {str(i): device.description for i, device in enumerate(devices) if "video" in device.media_types}
    return {}


def describe_webcams() -> str:
    """One sentence that names the webcams of this computer."""
    found = find_webcams()
    if not found:
        return "This computer shows no webcam; connect one, or give a file or an rtsp:// address"
    return "Found: " + ", ".join(f"webcam:{number} ({name})" for number, name in found.items())

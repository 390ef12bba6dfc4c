"""Opening what holds a video: a file by its content or a network address; every failure becomes one of our errors.

Files are handed to FFmpeg without their name, so a wrong extension misleads nobody, and with every further protocol
forbidden, so that a playlist dressed up as a video can neither read other files nor call other machines.
"""

from __future__ import annotations

import io
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.stream import Disposition

from pose_analyzer.errors import (
    DamagedSourceError,
    EmptySourceError,
    MissingSourceError,
    NotAVideoError,
    SourceError,
    UnreadableSourceError,
)
from pose_analyzer.video.address import Address
from pose_analyzer.video.content import HEAD_BYTES, Content, exif_orientation, identify, whole_parts_end

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_PIXELS = 8192 * 8192
"""Largest picture that is decoded, in px; a hostile header may announce far more than there is memory."""

AV_ERRORS = (av.error.FFmpegError, OSError, ValueError, RuntimeError, MemoryError, ArithmeticError, LookupError)
"""What PyAV raises on broken input: its own errors and, out of its conversions, a few of Python's."""

_BUFFER_BYTES = 1 << 18
_SLACK_BYTES = 64 << 20
_NETWORK_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto,data,rtmp,rtmps,srt"


class ContentFile:
    """A file without a name, which refuses to be read in circles.

    A damaged index can send a demuxer round and round without one packet coming out. `progress` tells the file that one
    came; between two of them at most twice the file's size (and some slack) may be read.

    Args:
        path: An existing regular file.
        end: Show only this many bytes of it; None shows all.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, end: int | None = None) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = self._file.seek(0, io.SEEK_END) if end is None else end
        self._file.seek(0)
        self._end = end
        self._left = 0
        self.progress()

    def progress(self) -> None:
        """A packet was found: the allowance starts afresh."""
        self._left = 2 * self.size + _SLACK_BYTES

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        if self._end is not None:
            size = max(min(size, self._end - self._file.tell()), 0)
        data = self._file.read(size)
        # An empty read counts too: a loop at the end of the file is a loop.
        self._left -= max(len(data), 4096)
        if self._left < 0:
            raise OSError("its index leads round in circles")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the reading position."""
        self._left -= 512
        if whence == io.SEEK_END and self._end is not None:
            return self._file.seek(self._end + offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The reading position."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(slots=True)
class OpenVideo:
    """A container, open, with the one stream of it that is the video."""

    container: InputContainer
    stream: VideoStream
    content: Content
    file: ContentFile | None = None
    note_packet: Callable[[], None] = field(default=lambda: None)
    exif_orientation: int = 1
    cut_off: bool = False

    def close(self) -> None:
        """Release the decoder, the container and the file."""
        self.container.close()
        if self.file is not None:
            self.file.close()


def check_path(path: Path) -> Path:
    """Make sure that there is something to read at `path`.

    Returns:
        The path, with a leading `~` expanded: a folder, or a regular file that has bytes.

    Raises:
        MissingSourceError: Nothing is there.
        UnreadableSourceError: It may not be looked at.
        EmptySourceError: The file has no bytes.
        NotAVideoError: It is neither a file nor a folder.
    """
    try:
        path = path.expanduser()
        status = path.stat()
    except PermissionError:
        raise UnreadableSourceError(f"{path}: no permission to look into its folder; give yourself read permission") from None
    except (FileNotFoundError, NotADirectoryError):
        raise MissingSourceError(f"{path}: there is no such file or folder{_nearby(path)}") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingSourceError(f"{path!s}: this is no usable path ({error})") from None
    if stat.S_ISDIR(status.st_mode):
        return path
    if not stat.S_ISREG(status.st_mode):
        raise NotAVideoError(f"{path}: is neither a file nor a folder; for a webcam say webcam:0, for a stream give its address")
    if status.st_size == 0:
        raise EmptySourceError(f"{path}: the file is empty (0 bytes); copy or record it again")
    return path


def _nearby(path: Path) -> str:
    """A hint when only the spelling or the extension is wrong."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.stem.lower() == path.stem.lower())
    except OSError:
        return ""
    return f"; did you mean {names[0]}?" if names else ""


def read_head(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        UnreadableSourceError: It may not be read, or the disk refuses.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except PermissionError:
        raise UnreadableSourceError(f"{path}: no permission to read it; give yourself read permission") from None
    except OSError as error:
        raise UnreadableSourceError(f"{path}: cannot be read ({error.strerror or error})") from None


def open_file(path: Path, *, max_pixels: int = MAX_PIXELS) -> OpenVideo:
    """Open a video or picture file by its content.

    Args:
        path: A file that `check_path` let pass.
        max_pixels: Largest picture that may be decoded, px.

    Raises:
        UnreadableSourceError: It may not be read.
        NotAVideoError: It holds no pictures.
        DamagedSourceError: It holds a video whose header or index is unusable.
    """
    head = read_head(path)
    content = identify(head)
    if content.kind == "unsupported":
        raise NotAVideoError(f"{path}: is {content.label}, which cannot be read; export it as JPEG or PNG")
    parts_end = whole_parts_end(path) if content.label in {"an MP4 or MOV video", "a MOV video"} else None
    try:
        container, file = _open_content(path, None, max_pixels)
    except AV_ERRORS as error:
        if not parts_end:
            raise _refusal(path, content, error) from None
        # A fragmented recording can be cut through the head of its last fragment; those before it are whole.
        try:
            container, file = _open_content(path, parts_end, max_pixels)
        except AV_ERRORS:
            raise _refusal(path, content, error) from None
    video = _choose_stream(container, content, str(path), file.close)
    video.file = file
    video.cut_off = parts_end is not None
    video.note_packet = file.progress
    if content.kind == "picture":
        video.exif_orientation = exif_orientation(head)
    return video


def _open_content(path: Path, end: int | None, max_pixels: int) -> tuple[InputContainer, ContentFile]:
    file = ContentFile(path, end)
    options = {"protocol_whitelist": "none", "max_pixels": str(max_pixels)}
    try:
        return av.open(file, "r", options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES), file
    except BaseException:
        file.close()
        raise


def open_url(address: Address, *, max_pixels: int = MAX_PIXELS, timeouts_s: tuple[float, float] = (10.0, 5.0), live: bool) -> OpenVideo:
    """Open a network address.

    Args:
        address: The address of a stream.
        max_pixels: Largest picture that may be decoded, px.
        timeouts_s: Longest wait for the connection and for the next packet, seconds.
        live: Begin with the first picture, without measuring the rate first.

    Raises:
        MissingSourceError: Nothing answers there.
        UnreadableSourceError: The camera wants other credentials.
        NotAVideoError: What comes is no video.
    """
    options = {
        "protocol_whitelist": _NETWORK_PROTOCOLS,
        "max_pixels": str(max_pixels),
    }
    scheme = address.value.partition("://")[0].lower()
    if scheme in {"rtsp", "rtsps", "tcp", "http", "https"}:
        # In microseconds, of a single read or write. RTMP has an option of the same name that means another thing.
        options["timeout"] = str(int(timeouts_s[0] * 1e6))
    if scheme in {"rtsp", "rtsps"}:
        # Interleaved in the control connection: UDP loses packets, and a lost packet is a smeared person.
        options["rtsp_transport"] = "tcp"
        # What people say is not asked for.
        options["allowed_media_types"] = "video"
    if live:
        # Not "nobuffer": that throws away what was read while the stream was recognised, the first key frame with it, and nothing
        # can be shown until the next one, often seconds later.
        options["fpsprobesize"] = "0"
        if scheme in {"rtsp", "rtsps"}:
            # The codec stands in the session's description.
            options["analyzeduration"] = "1000000"
    return open_input(address, address.value, None, options, timeouts_s)


def open_input(address: Address, name: str, form: str | None, options: dict[str, str], timeouts_s: tuple[float, float]) -> OpenVideo:
    """Open a stream or device by FFmpeg's name for it; errors name it as `address` shows it."""
    begun_s = time.monotonic()
    try:
        container = av.open(name, "r", format=form, options=options, metadata_errors="replace", timeout=timeouts_s)
    except AV_ERRORS as error:
        # Some protocols report their own interruption as invalid data.
        too_late = time.monotonic() - begun_s >= timeouts_s[0]
        raise _network_refusal(address, TimeoutError() if too_late else error, timeouts_s[0]) from None
    return _choose_stream(container, Content("video", "a stream"), address.shown, lambda: None)


def _refusal(path: Path, content: Content, error: Exception) -> SourceError:
    """Why FFmpeg would not open a file."""
    if isinstance(error, MemoryError):
        return DamagedSourceError(f"{path}: is {content.label}, but its header asks for more memory than there is")
    if content.kind in {"video", "picture"}:
        return DamagedSourceError(
            f"{path}: is {content.label}, but its header or index is damaged or missing ({reason(error)}); "
            "a recording that was cut off looks like this: copy it again or repair it with a recovery tool"
        )
    if content.kind == "audio":
        return NotAVideoError(f"{path}: holds sound only ({content.label}); give a file with pictures")
    return NotAVideoError(f"{path}: is not a video but {content.label}; give a video, a picture or a folder of pictures")


def _network_refusal(address: Address, error: Exception, limit_s: float) -> SourceError:
    """Why nothing came from an address."""
    why = address.clean(reason(error))
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, PermissionError)):
        return UnreadableSourceError(f"{address.shown}: access refused ({why}); check user name and password")
    if isinstance(error, (av.error.InvalidDataError, av.error.DemuxerNotFoundError)):
        return NotAVideoError(f"{address.shown}: answers, but not with a video ({why}); check the path of the stream")
    if isinstance(error, (av.error.ExitError, TimeoutError)):
        return MissingSourceError(f"{address.shown}: no answer within {limit_s:g} s; check the address, the network and the camera's power")
    return MissingSourceError(f"{address.shown}: cannot be reached ({why}); check the address, the network and the camera's power")


def reason(error: BaseException) -> str:
    """FFmpeg's words for an error, without file name and number."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words).strip().rstrip(".").replace("\n", " ")[:200]


def _choose_stream(container: Any, content: Content, shown: str, close_file: Callable[[], None]) -> OpenVideo:
    """Pick the video among the streams; cover art and thumbnails are not one."""
    stream = container.streams.best("video")
    if stream is not None and not _is_cover(stream) and stream.codec_context is not None:
        return OpenVideo(container, stream, content)
    if stream is not None and not _is_cover(stream):
        problem = DamagedSourceError(f"{shown}: no decoder for its video codec; convert it to H.264")
    else:
        problem = _no_pictures(container, shown)
    container.close()
    close_file()
    raise problem


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _no_pictures(container: Any, shown: str) -> SourceError:
    kinds = {stream.type for stream in container.streams}
    if "audio" in kinds:
        return NotAVideoError(f"{shown}: holds sound only, no pictures; give a file with a video stream")
    if kinds:
        return NotAVideoError(f"{shown}: holds {' and '.join(sorted(kinds))} only, no pictures; give a file with a video stream")
    return EmptySourceError(f"{shown}: the container has no streams at all; record or convert it again")

"""H.264 MP4 files with true timestamps, whole or not at all."""

from __future__ import annotations

import secrets
import warnings
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import av
import av.codec
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from numpy.typing import NDArray

from pose_analyzer.errors import SinkError
from pose_analyzer.video.container import AV_ERRORS, reason

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

TICKS_PER_S = 90_000
_TIME_BASE = Fraction(1, TICKS_PER_S)
_BT709 = 1
# Fixed, because x264's output depends on their number: the same pictures give the same bytes on every machine.
_ENCODER_THREADS = 4


class VideoWriter:
    """Writes pictures with their times into an H.264 MP4 that every player and browser opens.

    Times are kept as they are, to 1/90000 s, so a variable rate stays variable; the first picture becomes the file's
    zero. The file appears under its name only when it is complete. Leaving the `with` block by an exception (Ctrl-C
    included) completes it with the pictures so far: what was analysed is kept. Without a single picture there is no
    file. The same pictures give the same bytes: a fixed number of threads, no macroblock
    trees, no dates, no version of the container.

    Args:
        path: Where to; its folder is made if need be, an existing file is replaced.
        width: Width of every picture, px; an odd one is padded by one column, as H.264 needs even sizes.
        height: Height of every picture, px; likewise.
        fps: Nominal rate: the times of pictures written without one, and how long the last one stands. None is 30.
        crf: Constant quality of x264, 0 (lossless) to 51. 26 here gives the size of x264's usual 23, which has macroblock
            trees; they are off, because with them the bytes are not always the same.
        preset: x264's preset; "veryfast" keeps up with the analysis on a laptop.
        rotation_deg: Tells players to turn the picture counter-clockwise by this, degrees; pixels stay as they are.

    Raises:
        SinkError: The folder cannot be written to, or an argument is out of range.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "black.mp4"
        >>> with VideoWriter(path, width=64, height=48, fps=25) as writer:
        ...     writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
        ...     writer.write(np.zeros((48, 64, 3), np.uint8), 0.1)
        >>> path.exists(), writer.frames
        (True, 2)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        fps: float | None = 30,
        crf: int = 26,
        preset: str = "veryfast",
        rotation_deg: int = 0,
    ) -> None:
        if not (0 < width <= 16384 and 0 < height <= 16384):
            raise SinkError(f"a video needs 1 to 16384 px each way, got {width}x{height}")
        if not 0 <= crf <= 51:
            raise SinkError(f"crf must lie within 0 (lossless) to 51, got {crf}")
        rate = 30.0 if fps is None else float(fps)
        if not 0 < rate <= 1000:
            raise SinkError(f"fps must lie above 0 and at most at 1000, got {fps}")
        self.path = Path(path).expanduser()
        self.frames = 0
        self._size = (width, height)
        self._period = max(round(TICKS_PER_S / rate), 1)
        self._rate = Fraction(rate).limit_denominator(1001)
        self._settings = (crf, preset, rotation_deg)
        self._zero_s: float | None = None
        self._last_pts = -1
        self._last_s = -float("inf")
        self._waiting: VideoFrame | None = None
        self._reformatter = VideoReformatter()
        self._partial = self._make_partial()
        self._container: OutputContainer | None = None
        try:
            self._container, self._stream = self._open()
        except BaseException:
            self.discard()
            raise

    def write(self, image_rgb: NDArray[np.uint8], timestamp_s: float | None = None) -> None:
        """Add a picture.

        Args:
            image_rgb: (height, width, 3) uint8 RGB.
            timestamp_s: Its time, seconds, not before that of the picture before; None follows it by 1/fps.

        Raises:
            SinkError: Wrong shape or type, time runs backwards, the writer is closed, or the disk is full.
        """
        width, height = self._size
        if self._container is None:
            raise SinkError(f"{self.path}: the writer is closed")
        if not isinstance(image_rgb, np.ndarray) or image_rgb.shape != (height, width, 3) or image_rgb.dtype != np.uint8:
            got = f"{image_rgb.dtype} {image_rgb.shape}" if isinstance(image_rgb, np.ndarray) else type(image_rgb).__name__
            raise SinkError(f"a picture must be ({height}, {width}, 3) uint8 RGB, got {got}")
        pts = self._pts(timestamp_s)
        pads = ((0, height % 2), (0, width % 2), (0, 0))
        image = np.pad(image_rgb, pads, mode="edge") if height % 2 or width % 2 else np.ascontiguousarray(image_rgb)
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.time_base = pts, _TIME_BASE
        frame.color_range, frame.colorspace = ColorRange.MPEG, _BT709
        frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        # One picture behind: how long a picture stands is known when the next one comes.
        if self._waiting is not None:
            self._encode(self._waiting, pts - cast(int, self._waiting.pts))
        self._waiting = frame
        self.frames += 1

    def close(self) -> None:
        """Complete the file; without a single picture, leave none. Safe to call twice.

        Raises:
            SinkError: The end cannot be written.
        """
        if self._container is None:
            return
        if self._waiting is None:
            self.discard()
            return
        try:
            self._encode(self._waiting, self._period)
            self._waiting = None
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
            self._partial.replace(self.path)
        except AV_ERRORS as error:
            self.discard()
            raise SinkError(f"{self.path}: cannot be completed ({reason(error)}); is the disk full?") from None
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave no file; what was written is given up. Safe to call twice."""
        container, self._container = self._container, None
        self._waiting = None
        if container is not None:
            # On a full disk the trailer does not fit either; the file goes away anyhow.
            with suppress(*AV_ERRORS):
                container.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except SinkError:
            # A full disk has been reported already by the picture that did not fit.
            if error is None:
                raise

    def _pts(self, timestamp_s: float | None) -> int:
        """Ticks since the first picture, strictly rising."""
        if timestamp_s is None:
            return self._advance(self._last_pts + self._period if self._last_pts >= 0 else 0)
        if not np.isfinite(timestamp_s) or timestamp_s < self._last_s:
            raise SinkError(f"{self.path}: times must be finite and not run backwards, got {timestamp_s} s after {self._last_s} s")
        self._last_s = timestamp_s
        if self._zero_s is None:
            # Pictures without a time may have come before.
            self._zero_s = timestamp_s - (self._last_pts + self._period) / TICKS_PER_S if self._last_pts >= 0 else timestamp_s
        return self._advance(round((timestamp_s - self._zero_s) * TICKS_PER_S))

    def _advance(self, pts: int) -> int:
        self._last_pts = max(pts, self._last_pts + 1)
        return self._last_pts

    def _encode(self, frame: VideoFrame, ticks: int) -> None:
        if self._container is None:
            return
        frame.duration = max(ticks, 1)
        try:
            self._container.mux(self._stream.encode(frame))
        except AV_ERRORS as error:
            self.discard()
            raise SinkError(f"{self.path}: cannot be written ({reason(error)}); is the disk full?") from None

    def _make_partial(self) -> Path:
        """An empty file beside the wanted one, so that the last step is a rename within one file system."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise SinkError(f"{self.path}: is a folder; give the name of a file in it")
            partial = partial_beside(self.path)
        except OSError as error:
            if isinstance(error, SinkError):
                raise
            raise SinkError(f"{self.path}: cannot be written ({error.strerror or error}); choose another folder") from None
        return partial

    def _open(self) -> tuple[OutputContainer, VideoStream]:
        crf, preset, rotation_deg = self._settings
        codec, options = _encoder(crf, preset)
        try:
            container = av.open(str(self._partial), "w", format="mp4", container_options={"movflags": "+faststart", "fflags": "+bitexact"})
            stream = cast("VideoStream", container.add_stream(codec, rate=self._rate, options=options))
            stream.width, stream.height = self._size[0] + self._size[0] % 2, self._size[1] + self._size[1] % 2
            stream.pix_fmt = "yuv420p"
            stream.time_base = _TIME_BASE
            context: Any = stream.codec_context
            # MPEG-4 Part 2 counts at most 65535 ticks a second.
            context.time_base = _TIME_BASE if codec == "libx264" else Fraction(1, 60_000)
            context.thread_count = _ENCODER_THREADS
            context.flags |= av.codec.context.Flags.bitexact
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = ColorRange.MPEG
            if rotation_deg:
                stream.set_display_rotation(rotation_deg)
        except AV_ERRORS as error:
            raise SinkError(f"{self.path}: no video can be written there ({reason(error)})") from None
        return container, stream


def _encoder(crf: int, preset: str) -> tuple[str, dict[str, str]]:
    """The H.264 encoder of this FFmpeg, or MPEG-4 with a warning."""
    if "libx264" in av.codec.codecs_available:
        # Without macroblock trees: their assembly code in x264 (core 165) reads memory that nobody wrote, so that with them
        # about one file in fifty has other bytes. At the same sharpness they would save a tenth of the size.
        return "libx264", {"crf": str(crf), "preset": preset, "mbtree": "0"}
    warnings.warn("this FFmpeg has no libx264: writing MPEG-4 Part 2, larger and not shown by browsers", RuntimeWarning, stacklevel=4)
    return "mpeg4", {"qscale": str(max(1, min(31, round(1 + crf * 0.5))))}


def partial_beside(path: Path) -> Path:
    """Create an empty, hidden file of a fresh name beside `path`, with the permissions of any new file.

    Raises:
        OSError: The folder does not let itself be written to.
    """
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.partial")
    partial.touch(exist_ok=False)
    return partial

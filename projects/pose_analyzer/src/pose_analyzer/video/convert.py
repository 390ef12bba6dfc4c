"""Conversion of recordings (`.dav` and others) into MP4: copied where MP4 can hold the stream, encoded anew where not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
import numpy as np

from pose_analyzer.errors import NotAVideoError, SinkError, SourceError
from pose_analyzer.video.container import AV_ERRORS, OpenVideo, check_path, open_file
from pose_analyzer.video.files import ContainerReader
from pose_analyzer.video.seeking import map_packets
from pose_analyzer.video.writer import VideoWriter, partial_beside

if TYPE_CHECKING:
    from av.packet import Packet

COPIED_VIDEO = frozenset({"h264", "hevc"})
"""Codecs that are copied into MP4; browsers and phones play them there."""

COPIED_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})

Progress = Callable[[float, float | None], None]
"""Called with the seconds done and, if known, the seconds in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What became of one file.

    Args:
        path: The MP4.
        how: "copied" (bit for bit, no loss) or "encoded" (anew, by x264).
        frames: Pictures in it.
        duration_s: Its length, seconds.
        sound: Whether sound came along; it does only by copying.
        damage: What could not be read of the original; None if all could.
    """

    path: Path
    how: Literal["copied", "encoded"]
    frames: int
    duration_s: float
    sound: bool
    damage: str | None


def convert(
    src: str | Path,
    dst: str | Path,
    *,
    crf: int = 23,
    preset: str = "veryfast",
    overwrite: bool = False,
    reencode: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Turn any video that FFmpeg reads into an MP4 with the same times.

    H.264 and HEVC with sound times are copied: fast, no loss; times start at 0, turned phones stay turned. All else is
    decoded and encoded anew with upright, square pixels. Of a damaged file, what can be read is kept.

    Args:
        src: The recording, whatever its extension.
        dst: The MP4 to make; its folder is made if need be.
        crf: Quality when encoding, 0 (lossless) to 51.
        preset: x264's preset when encoding.
        overwrite: Replace `dst` if it exists.
        reencode: Encode even what could be copied.
        progress: Called now and then with (seconds done, seconds in all or None).

    Returns:
        What was done.

    Raises:
        SourceError: `src` cannot be read.
        SinkError: `dst` exists, is `src` itself, or cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> folder = Path(tempfile.mkdtemp())
        >>> with VideoWriter(folder / "a.mp4", width=64, height=48, fps=25) as writer:
        ...     for _ in range(3):
        ...         writer.write(np.zeros((48, 64, 3), np.uint8))
        >>> result = convert(folder / "a.mp4", folder / "b.mp4")
        >>> result.how, result.frames
        ('copied', 3)
    """
    source, target = check_path(Path(src)), Path(dst).expanduser()
    if source.is_dir():
        raise NotAVideoError(f"{source}: is a folder; convert its files one by one, or use scripts/convert_dav.sh")
    if target.exists() and target.samefile(source):
        raise SinkError(f"{target}: is the recording itself; choose another name")
    if target.exists() and not overwrite:
        raise SinkError(f"{target}: exists already; choose another name or allow overwriting")
    opener = partial(open_file, source)
    reader = ContainerReader(opener, name=str(source))
    try:
        copied = None if reencode else _copy(opener, reader, target, progress)
        return copied or _encode(reader, target, crf, preset, progress)
    finally:
        reader.close()


def _encode(reader: ContainerReader, target: Path, crf: int, preset: str, progress: Progress | None) -> Conversion:
    info = reader.info
    end_s = 0.0
    with VideoWriter(target, width=info.width, height=info.height, fps=info.nominal_fps, crf=crf, preset=preset) as writer:
        for picture in reader.pictures():
            image = picture.rgb()
            if image is None:
                continue
            writer.write(image, picture.timestamp_s)
            end_s = picture.timestamp_s + picture.duration_s
            if progress is not None:
                progress(end_s, info.duration_s)
    return Conversion(path=target, how="encoded", frames=writer.frames, duration_s=end_s, sound=False, damage=reader.damage)


def _copy(opener: Callable[[], OpenVideo], reader: ContainerReader, target: Path, progress: Progress | None) -> Conversion | None:
    """Copy the packets; None if MP4 cannot hold them as they are."""
    video = opener()
    try:
        usable = video.stream.codec_context.name in COPIED_VIDEO and map_packets(video) is not None
    finally:
        video.close()
    if not usable:
        return None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = partial_beside(target)
    except OSError as error:
        raise SinkError(f"{target}: cannot be written ({error.strerror or error}); choose another folder") from None
    video = opener()
    try:
        frames, end_s, sound = _copy_packets(video, unfinished, reader.info.duration_s, progress)
        if not _same_pictures(unfinished, reader, frames):
            return None
        unfinished.replace(target)
    except (SourceError, *AV_ERRORS):
        # What cannot be copied can be encoded; a full disk fails there again, with its own words.
        return None
    finally:
        video.close()
        unfinished.unlink(missing_ok=True)
    return Conversion(path=target, how="copied", frames=frames, duration_s=end_s, sound=sound, damage=reader.ends_early(end_s))


def _copy_packets(video: OpenVideo, path: Path, total_s: float | None, progress: Progress | None) -> tuple[int, float, bool]:
    """Write every packet of the video, and of sound that MP4 holds; (pictures, length in s, whether there is sound)."""
    sound = next((s for s in video.container.streams.audio if s.codec_context and s.codec_context.name in COPIED_SOUND), None)
    inputs = [stream for stream in (video.stream, sound) if stream is not None]
    first: Fraction | None = None
    frames, end = 0, Fraction(0)
    early: list[Packet] = []
    with av.open(str(path), "w", format="mp4", container_options={"movflags": "+faststart", "fflags": "+bitexact"}) as output:
        outputs: dict[int, Any] = {stream.index: output.add_stream_from_template(stream) for stream in inputs}
        if video.stream.codec_context.name == "hevc":
            # Apple's players know HEVC in MP4 by this tag only.
            outputs[video.stream.index].codec_context.codec_tag = "hvc1"
        for packet in _packets(video, inputs):
            is_picture = packet.stream_index == video.stream.index
            if first is None and not is_picture:
                # Where zero lies is known with the first picture.
                early.append(packet)
                continue
            if first is None:
                first = Fraction(packet.pts or 0) * packet.time_base
            if is_picture:
                frames += 1
                end = max(end, (Fraction(packet.pts or 0) + (packet.duration or 0)) * packet.time_base - first)
                if progress is not None:
                    progress(float(end), total_s)
            for one in (*early, packet):
                _rebase(one, first)
                one.stream = outputs[one.stream_index]
                output.mux(one)
            early.clear()
    return frames, float(end), sound is not None


def _packets(video: OpenVideo, streams: list[Any]) -> Iterator[Packet]:
    for packet in video.container.demux(streams):
        video.note_packet()
        if packet.size and packet.pts is not None and not packet.is_corrupt:
            yield packet


def _rebase(packet: Any, first: Fraction) -> None:
    """Let the first picture be at 0; MP4 takes the decoding times before it as they come."""
    shift = round(first / packet.time_base)
    packet.pts -= shift
    packet.dts = None if packet.dts is None else packet.dts - shift


def _same_pictures(path: Path, reader: ContainerReader, frames: int) -> bool:
    """Whether the copy shows what the original shows: as many pictures, the first one the same, turned the same way."""
    copy = ContainerReader(partial(open_file, path), name=str(path))
    try:
        if copy.info.frame_count != frames:
            return False
        with closing(copy.pictures()) as ours, closing(reader.pictures()) as theirs:
            copied, original = next(ours).rgb(), next(theirs).rgb()
        return copied is not None and original is not None and np.array_equal(copied, original)
    finally:
        copy.close()

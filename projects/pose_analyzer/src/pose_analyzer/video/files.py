"""Video files as recordings: true times and numbers, exact seeking, and whatever a damaged file still holds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import DamagedSourceError, EmptySourceError, SourceError
from pose_analyzer.video.container import AV_ERRORS, MAX_PIXELS, OpenVideo, reason
from pose_analyzer.video.decoding import DecodePass, Losses, counts_pictures
from pose_analyzer.video.info import SourceInfo, TimingReport
from pose_analyzer.video.picture import PictureConverter
from pose_analyzer.video.reading import TIME_TOLERANCE_S, Picture
from pose_analyzer.video.seeking import PacketMap, map_packets
from pose_analyzer.video.timing import DEFAULT_PERIOD_S, FORWARD_BREAK_S, MediaClock, sane_rate

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_ENDS_EARLY_S = 0.5
_RECOUNTED = 500


@dataclass(slots=True)
class _Walk:
    """An open video whose first wanted frame is decoded."""

    video: OpenVideo
    decode: DecodePass
    first: VideoFrame
    rest: Iterator[VideoFrame]
    from_start: bool


class ContainerReader:
    """A video file, or one still picture, read by FFmpeg.

    The first picture is decoded at once, so a file without a single good picture is refused here and not later.

    Args:
        open_video: Opens the container anew for each walk.
        name: How messages call it.
        threads: Decoder threads; 0 decides by the machine.
        max_pixels: Largest picture, px.

    Raises:
        SourceError: What `open_video` raises, and:
        EmptySourceError: There is a video stream, but not a single frame in it.
        DamagedSourceError: There are frames, but none can be decoded.
    """

    def __init__(self, open_video: Callable[[], OpenVideo], *, name: str, threads: int = 0, max_pixels: int = MAX_PIXELS) -> None:
        self.timing = TimingReport()
        self.damage: str | None = None
        self._open_video = open_video
        self._name = name
        self._threads = threads
        self._map: PacketMap | None = None
        self._mapped = False
        self._head: _Walk | None = None
        video = open_video()
        try:
            stream = video.stream
            self._still = video.content.kind == "picture"
            self._base = stream.time_base or Fraction(1, 90_000)
            rate = sane_rate(stream.average_rate) or sane_rate(stream.guessed_rate)
            self._period_s = 1 / rate if rate else DEFAULT_PERIOD_S
            self._announced_s = None if self._still else _announced_s(video)
            self._converter = PictureConverter(stream.sample_aspect_ratio, max_pixels=max_pixels, exif_orientation=video.exif_orientation)
            self._head = self._first(video)
            self._origin_pts = self._head.first.pts
            width, height = self._first_size(self._head.first)
            self.info = SourceInfo(
                width=width,
                height=height,
                nominal_fps=None if self._still else rate,
                frame_count=1 if self._still else stream.frames or None,
                duration_s=self._announced_s,
                is_live=False,
                codec=stream.codec_context.name,
                name=Path(name).name or name,
            )
        except BaseException:
            video.close()
            raise

    def pictures(self, from_s: float = 0.0) -> Generator[Picture]:
        """Walk through the pictures whose time is not before `from_s`, exactly.

        Their numbers are true, too; only in a damaged file, numbers after a jump count the undecodable pictures as well.
        """
        packets = self._packets() if from_s > TIME_TOLERANCE_S else None
        if packets is not None and self._origin_pts is not None:
            wanted = packets.rank(self._origin_pts + math.ceil(Fraction(from_s - TIME_TOLERANCE_S) / self._base))
            if wanted >= len(packets.pts):
                return
            walk = self._sought(packets, packets.pts[wanted])
            if walk is not None:
                yield from self._walk_on(walk, packets)
                return
        for picture in self._walk_from_start():
            if picture.timestamp_s >= from_s - TIME_TOLERANCE_S:
                yield picture

    def ends_early(self, end_s: float, end_pts: int | None = None) -> str | None:
        """What to say when a file holds clearly less than its header announces; None if it holds it all.

        Args:
            end_s: When the last picture ends, as far as known, seconds.
            end_pts: How far the packets reach; with B-frames it is not the last picture's packet that tells.
        """
        reached_s = end_s
        if end_pts is not None and self._origin_pts is not None:
            reached_s = max(end_s, float((end_pts - self._origin_pts) * self._base))
        if self._announced_s is None or reached_s >= self._announced_s - max(_ENDS_EARLY_S, 2 * self._period_s):
            return None
        return f"the file ends early: {end_s:.2f} s of the {self._announced_s:.2f} s that its header announces could be read"

    def close(self) -> None:
        """Close the file."""
        if self._head is not None:
            self._head.video.close()
            self._head = None

    def _first(self, video: OpenVideo) -> _Walk:
        """Decode until the first picture."""
        decode = DecodePass(video, threads=self._threads)
        frames = decode.frames()
        for frame in frames:
            return _Walk(video, decode, frame, frames, from_start=True)
        losses = decode.losses
        if losses.packets or losses.failed or losses.why:
            why = losses.stopped or losses.why or "the decoder gave none"
            raise DamagedSourceError(f"{self._name}: is {video.content.label}, but not one picture of it can be decoded ({why})")
        if video.stream.frames:
            raise DamagedSourceError(f"{self._name}: announces {video.stream.frames} pictures, but ends before the first; copy it again")
        raise EmptySourceError(f"{self._name}: has a video stream without a single frame; record or convert it again")

    def _first_size(self, frame: VideoFrame) -> tuple[int, int]:
        try:
            image = self._converter.rgb(frame)
        except SourceError as error:
            raise DamagedSourceError(f"{self._name}: {error}") from None
        except AV_ERRORS as error:
            raise DamagedSourceError(f"{self._name}: its pictures cannot be converted ({reason(error)})") from None
        return image.shape[1], image.shape[0]

    def _walk_from_start(self) -> Iterator[Picture]:
        walk, self._head = self._head, None
        if walk is None:
            video = self._open_video()
            try:
                walk = self._first(video)
            except BaseException:
                video.close()
                raise
        clock = MediaClock(self._base, self._period_s)
        self.timing = clock.report
        end_s = 0.0
        try:
            for index, frame in enumerate(self._frames(walk)):
                time_s = clock.stamp(frame.pts)
                end_s = time_s + self._stands_s(frame)
                yield self._picture(frame, index, time_s, walk.decode.losses)
                if self._still:
                    return
            self._conclude(walk, end_s)
        finally:
            walk.video.close()

    def _walk_on(self, walk: _Walk, packets: PacketMap) -> Iterator[Picture]:
        """Pictures from a landing on; the packet map numbers them."""
        clock = MediaClock(self._base, self._period_s)
        clock.origin_pts = self._origin_pts
        clock.resume(walk.first.pts or 0)
        self.timing = clock.report
        skipped = packets.rank(self._origin_pts or 0)
        index, end_s = -1, 0.0
        try:
            for frame in self._frames(walk):
                time_s = clock.stamp(frame.pts)
                end_s = time_s + self._stands_s(frame)
                index = index + 1 if frame.pts is None else max(index + 1, packets.rank(frame.pts) - skipped)
                yield self._picture(frame, index, time_s, walk.decode.losses)
            self._conclude(walk, end_s)
        finally:
            walk.video.close()

    def _frames(self, walk: _Walk) -> Iterator[VideoFrame]:
        """All frames of a walk; from a failure on by one decoder thread (see `decoding`)."""
        last_pts = walk.first.pts
        yield walk.first
        for frame in walk.rest:
            last_pts = frame.pts
            yield frame
        if not walk.decode.unsure:
            return
        delivered = walk.decode.losses.pictures
        # Counting is exact, but decodes all anew; by time, pictures of the same time could be mistaken for each other.
        counting_is_cheap = walk.from_start and delivered <= _RECOUNTED
        for by_time in (False, True) if counting_is_cheap else (True, False):
            video = self._open_video()
            try:
                decode = DecodePass(video, threads=1)
                frames = decode.frames()
                if by_time:
                    caught_up = last_pts is not None and _seek(video, last_pts) and _reaches(frames, last_pts)
                else:
                    caught_up = walk.from_start and sum(1 for _ in islice(frames, delivered)) == delivered
                if caught_up:
                    decode.losses.pictures = delivered
                    walk.decode = decode
                    yield from frames
                    return
            finally:
                video.close()

    def _packets(self) -> PacketMap | None:
        """The map of the file, made once; None if it cannot be sought exactly."""
        if not self._mapped:
            self._mapped = True
            video = self._open_video()
            try:
                self._map = map_packets(video)
                if self._map is not None and counts_pictures(video) and self._map.pts[0] != self._origin_pts:
                    # The decoder holds pictures back, so a packet's time is not its picture's.
                    self._map = None
            finally:
                video.close()
        return self._map

    def _sought(self, packets: PacketMap, wanted_pts: int) -> _Walk | None:
        """Jump to a key frame before the wanted picture and decode up to it."""
        for start in packets.starts(wanted_pts):
            walk = self._land(start, wanted_pts)
            if walk is not None:
                return walk
        return None

    def _land(self, start: int, wanted_pts: int) -> _Walk | None:
        """Seek and decode up to the wanted picture; None if it does not come out."""
        video = self._open_video()
        if _seek(video, start):
            decode = DecodePass(video, threads=self._threads)
            frames = decode.frames()
            for frame in frames:
                if frame.pts == wanted_pts:
                    return _Walk(video, decode, frame, frames, from_start=False)
                if frame.pts is not None and frame.pts > wanted_pts:
                    break
        video.close()
        return None

    def _picture(self, frame: VideoFrame, index: int, time_s: float, losses: Losses) -> Picture:
        return Picture(index, time_s, self._stands_s(frame), partial(self._rgb, frame, losses))

    def _stands_s(self, frame: VideoFrame) -> float:
        """How long a picture stands; the nominal period where a demuxer announces one tick for every picture."""
        duration_s = float(frame.duration * self._base) if frame.duration else 0.0
        return duration_s if 0.1 * self._period_s <= duration_s <= FORWARD_BREAK_S else self._period_s

    def _rgb(self, frame: VideoFrame, losses: Losses) -> NDArray[np.uint8] | None:
        """Colours of a frame; one that cannot be converted costs itself, not the file."""
        try:
            return self._converter.rgb(frame)
        except (SourceError, *AV_ERRORS) as error:
            losses.failed += 1
            losses.note(str(error) if isinstance(error, SourceError) else reason(error))
            return None

    def _conclude(self, walk: _Walk, end_s: float) -> None:
        """Put what a walk to the end lost into a sentence."""
        losses = walk.decode.losses
        first = "" if losses.first_failure is None else f", the first after picture {losses.first_failure}"
        if losses.stopped:
            self.damage = f"the file is damaged: reading stopped after {end_s:.2f} s ({losses.stopped})"
        elif early := self.ends_early(end_s, walk.decode.end_pts):
            self.damage = early
        elif losses.failed:
            self.damage = f"the file is damaged: {losses.failed} pictures could not be decoded{first} ({losses.why})"
        elif losses.why:
            self.damage = f"the file is damaged: a part could not be read{first} ({losses.why})"
        elif walk.video.cut_off:
            self.damage = f"the file is cut off: it ends in the middle of a part, after {end_s:.2f} s of pictures"


def _reaches(frames: Iterator[VideoFrame], pts: int) -> bool:
    """Decode up to the picture of this presentation time; False if it does not turn up."""
    for frame in frames:
        if frame.pts is None or frame.pts >= pts:
            return frame.pts == pts
    return False


def _seek(video: OpenVideo, start: int) -> bool:
    try:
        video.container.seek(start, stream=video.stream, backward=True)
    except AV_ERRORS:
        return False
    return True


def _announced_s(video: OpenVideo) -> float | None:
    """Length of the video stream by its header, seconds from its first picture."""
    stream = video.stream
    if video.container.format.name == "dhav":
        # Whole seconds between the dates of the first and the last packet; it tells nothing about what is missing.
        return None
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
        return seconds if seconds > 0 else None
    if "matroska" not in video.container.format.name:
        return None
    seconds = _tagged_s(stream)
    if seconds is None and video.container.duration and all(other.type == "video" for other in video.container.streams):
        seconds = video.container.duration / 1e6
    if seconds is not None and stream.start_time and stream.time_base:
        seconds -= float(stream.start_time * stream.time_base)
    return seconds if seconds and seconds > 0 else None


def _tagged_s(stream: VideoStream) -> float | None:
    """Matroska writes each stream's end as a tag, "00:01:02.500000000"."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])

"""One pass over the packets of a video: pictures out, damage counted, never a hang.

`DecodePass` reads packets and decodes them; it goes on after what cannot be decoded, gives up after a bounded number of
failures, and knows afterwards what was lost. It cares neither for time nor for colour.

Several decoder threads are fast, but at a failure good pictures that other threads still hold get lost, more of them with
more threads. A pass with several threads therefore stops at the first failure and says that it is `unsure`; the caller
continues with one thread, so that what comes out of a damaged file does not depend on the machine.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pose_analyzer.video.container import AV_ERRORS, OpenVideo, reason

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

MAX_DECODE_FAILURES = 3000
"""Consecutive packets that may fail (two minutes at 25 frames/s, a second of work) before the rest is given up."""

MAX_READ_FAILURES = 16
"""Consecutive failures of reading from the container before the rest is given up."""

_MAX_THREADS = 8
_TAIL = 64


def counts_pictures(video: OpenVideo) -> bool:
    """Whether the container stores no presentation times but only counts pictures (AVI).

    FFmpeg then makes presentation times up, wrongly when there are B-frames; the decoding time of the packet with which a
    picture comes out is right but for a constant.
    """
    return video.container.format.name == "avi"


def default_threads() -> int:
    """Decoder threads when nobody says: one per core, eight at most, since each holds pictures in memory."""
    return min(os.cpu_count() or 1, _MAX_THREADS)


@dataclass(slots=True)
class Losses:
    """What one pass could not read.

    Args:
        packets: Packets given to the decoder.
        pictures: Pictures that came out.
        failed: Packets that the decoder refused, or that came incomplete.
        first_failure: Pictures delivered before the first failure; None without failure.
        why: FFmpeg's words for the first failure.
        stopped: Why reading ended before the end of the file; None if it did not.
    """

    packets: int = 0
    pictures: int = 0
    failed: int = 0
    first_failure: int | None = None
    why: str = ""
    stopped: str | None = None

    def note(self, why: str) -> None:
        """Count one failure."""
        if self.first_failure is None:
            self.first_failure, self.why = self.pictures, why


class DecodePass:
    """Decodes an open video from where it stands to its end.

    Args:
        video: The open container; the pass does not close it.
        threads: Decoder threads; 0 decides by the machine.

    Attributes:
        losses: What could not be read so far.
        unsure: The pass stopped, or ended, with pictures lost between the threads.
        end_pts: How far the packets reach, in the stream's time base: the largest time plus duration; None without times.
    """

    def __init__(self, video: OpenVideo, *, threads: int = 0) -> None:
        self.losses = Losses()
        self.threads = threads or default_threads()
        self.unsure = False
        self.end_pts: int | None = None
        self._video = video
        self._by_dts = counts_pictures(video)
        self._codec = video.stream.codec_context
        self._sent: deque[int] = deque(maxlen=_TAIL)
        self._last_got: int | None = None
        if not self._codec.is_open:
            self._codec.thread_type = "AUTO" if self.threads > 1 else "SLICE"
            self._codec.thread_count = self.threads

    def frames(self) -> Iterator[VideoFrame]:
        """Every picture that can be decoded, in the order of presentation."""
        held: Packet | None = None
        failures = 0
        for packet in self._packets():
            batch = [packet] if held is None else [held, packet]
            # FFmpeg marks a packet that the end of the file cut through. Decoded, it smears; what follows tells them apart.
            held = batch.pop() if packet.is_corrupt else None
            for one in batch:
                pictures = self._decode(one)
                failures = 0 if pictures is not None else failures + 1
                if failures and self.threads > 1 and self.losses.pictures:
                    self.unsure = True
                    return
                yield from self._count(pictures or [])
            if failures >= MAX_DECODE_FAILURES:
                self.losses.stopped = f"{failures} packets in a row could not be decoded"
                return
        if held is not None:
            self.losses.failed += 1
            self.losses.note("the last picture is cut through")
        yield from self._count(self._decode(None) or [])
        self.unsure = self._lost_in_flight()

    def _packets(self) -> Iterator[Packet]:
        """Packets with content; a failure to read is survived a few times."""
        failures = 0
        while failures < MAX_READ_FAILURES:
            try:
                for packet in self._video.container.demux(self._video.stream):
                    self._video.note_packet()
                    if packet.size:
                        failures = 0
                        yield packet
                return
            except AV_ERRORS as error:
                failures += 1
                self.losses.note(reason(error))
                if failures == MAX_READ_FAILURES:
                    self.losses.stopped = reason(error)

    def _decode(self, packet: Packet | None) -> list[VideoFrame] | None:
        """Pictures that one packet completes; None if it failed. None as a packet empties the decoder."""
        if packet is not None:
            self.losses.packets += 1
            pts = packet.dts if self._by_dts else packet.pts
            if pts is not None and not packet.is_discard:
                self._sent.append(pts)
                self.end_pts = max(self.end_pts or pts, pts + (packet.duration or 0))
        try:
            return self._codec.decode(packet)
        except EOFError:
            return []
        except AV_ERRORS as error:
            self.losses.failed += 1
            self.losses.note(reason(error))
            return None

    def _count(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            self.losses.pictures += 1
            if self._by_dts:
                # The decoder's last pictures carry none; the unit is one picture.
                frame.pts = frame.dts if frame.dts is not None or self._last_got is None else self._last_got + 1
            if frame.pts is not None:
                self._last_got = frame.pts
            yield frame

    def _lost_in_flight(self) -> bool:
        """Whether pictures that were sent last never came out: PyAV stops emptying the decoder at the first error."""
        if self.threads == 1 or self._last_got is None:
            return False
        return any(pts > self._last_got for pts in self._sent)

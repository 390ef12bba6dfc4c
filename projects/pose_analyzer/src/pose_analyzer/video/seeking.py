"""Where in a file a time lies: the packets' presentation times, read without decoding.

A container's own index finds key frames, roughly. To land exactly on a picture and to know its number, the packets of
the video are read through once; that costs reading the file, but no decoding.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise

from pose_analyzer.video.container import AV_ERRORS, OpenVideo
from pose_analyzer.video.decoding import counts_pictures
from pose_analyzer.video.timing import BACKWARD_BREAK_S, FORWARD_BREAK_S


@dataclass(frozen=True, slots=True)
class PacketMap:
    """Presentation times of a video's packets.

    Args:
        pts: All of them, rising, in units of the stream's time base.
        keys: Of the key frames: (pts, time to seek to), rising.
    """

    pts: list[int]
    keys: list[tuple[int, int]]

    def rank(self, pts: int) -> int:
        """How many pictures come before this presentation time."""
        return bisect_left(self.pts, pts)

    def starts(self, pts: int, count: int = 3) -> list[int]:
        """Times to seek to in order to decode up to `pts`: the nearest key frame before it first, then earlier ones."""
        end = bisect_right(self.keys, pts, key=lambda key: key[0])
        return [self.keys[i][1] for i in range(end - 1, max(end - 1 - count, -1), -1)]


def map_packets(video: OpenVideo) -> PacketMap | None:
    """Read the presentation times of all packets.

    Args:
        video: A freshly opened video, which is read to its end.

    Returns:
        None if the times do not tell the pictures' order: some are missing or double, the clock jumps, or reading fails.
    """
    entries: list[tuple[int, int, bool]] = []
    by_dts = counts_pictures(video)
    try:
        for packet in video.container.demux(video.stream):
            video.note_packet()
            if not packet.size or packet.is_discard:
                continue
            pts = packet.dts if by_dts else packet.pts
            if pts is None:
                return None
            entries.append((pts, pts if packet.dts is None else packet.dts, packet.is_keyframe))
    except AV_ERRORS:
        return None
    if not entries or _jumps([pts for pts, _, _ in entries], float(video.stream.time_base or 0)):
        return None
    entries.sort()
    pts = [entry[0] for entry in entries]
    if any(a == b for a, b in pairwise(pts)):
        return None
    return PacketMap(pts, [(entry[0], min(entry[0], entry[1])) for entry in entries if entry[2]])


def _jumps(pts: list[int], time_base: float) -> bool:
    """Whether the clock breaks anywhere, in the order of decoding."""
    steps = ((b - a) * time_base for a, b in pairwise(pts))
    return any(not -BACKWARD_BREAK_S <= step <= FORWARD_BREAK_S for step in steps)

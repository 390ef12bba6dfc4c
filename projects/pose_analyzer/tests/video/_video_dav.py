"""A minimal writer of Dahua's DHAV recordings, since FFmpeg only reads them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
from _video_clips import make_clip


def make_dav(path: Path, *, frames: int = 30, size: tuple[int, int] = (64, 48), rate: int = 25, codec: str = "libx264") -> Path:
    """Write numbered pictures as a DHAV file beginning on 2024-03-05 at 10:20:30."""
    elementary = io.BytesIO()
    form = {"libx264": "h264", "libx265": "hevc"}[codec]
    options = {"bf": "0", "x265-params": "bframes=0:log-level=none"}
    make_clip(elementary, codec=codec, form=form, frames=frames, size=size, rate=rate, gop=10, options=options)
    elementary.seek(0)
    out = bytearray()
    with av.open(elementary) as container:
        packets = [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    for number, (data, is_key) in enumerate(packets):
        out += _chunk(number, data, is_key, size, rate, {"libx264": 0x02, "libx265": 0x0C}[codec])
    path.write_bytes(bytes(out))
    return path


def _chunk(number: int, data: bytes, is_key: bool, size: tuple[int, int], rate: int, codec: int) -> bytes:
    """One picture: a 24-byte head, extensions, the data, and a tail with the length again."""
    second, part = divmod(number, rate)
    date = (24 << 26) | (3 << 22) | (5 << 17) | (10 << 12) | (20 << 6) | (30 + second)
    extension = struct.pack("<BBBB", 0x81, 0, codec, rate) + struct.pack("<BBHHH", 0x82, 0, 0, *size)
    length = 24 + len(extension) + len(data) + 8
    head = struct.pack("<4sBBBBIII", b"DHAV", 0xFD if is_key else 0xFC, 0, 0, 0, number, length, date)
    head += struct.pack("<HBB", part * 1000 // rate, len(extension), 0)
    return head + extension + data + struct.pack("<4sI", b"dhav", length)

"""What a file holds, told from its first bytes and never from its name."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HEAD_BYTES = 16384
_ORIENTATION = 0x0112

Kind = Literal["video", "picture", "audio", "unsupported", "other"]


@dataclass(frozen=True, slots=True)
class Content:
    """A guess at what a file is.

    Args:
        kind: "video", "picture", "audio", "unsupported" (pictures that cannot be read here) or "other".
        label: Words for a person, such as "an MP4 or MOV video" or "plain text".
    """

    kind: Kind
    label: str


# (offset, bytes, what it is); the first match counts.
_SIGNATURES: tuple[tuple[int, bytes, Content], ...] = (
    (4, b"ftypheic", Content("unsupported", "an HEIC picture")),
    (4, b"ftypheix", Content("unsupported", "an HEIC picture")),
    (4, b"ftypmif1", Content("unsupported", "an HEIF picture")),
    (4, b"ftypavif", Content("picture", "an AVIF picture")),
    (4, b"ftypM4A", Content("audio", "MPEG-4 sound")),
    (4, b"ftyp", Content("video", "an MP4 or MOV video")),
    (4, b"moov", Content("video", "a MOV video")),
    (4, b"mdat", Content("video", "a MOV video")),
    (4, b"wide", Content("video", "a MOV video")),
    (4, b"free", Content("video", "an MP4 or MOV video")),
    (4, b"skip", Content("video", "an MP4 or MOV video")),
    (0, b"\x1a\x45\xdf\xa3", Content("video", "a Matroska or WebM video")),
    (8, b"AVI ", Content("video", "an AVI video")),
    (8, b"WAVE", Content("audio", "WAV sound")),
    (8, b"WEBP", Content("picture", "a WebP picture")),
    (0, b"FLV\x01", Content("video", "a Flash video")),
    (0, b"DHAV", Content("video", "a Dahua DAV recording")),
    (0, b"DAHUA", Content("video", "a Dahua DAV recording")),
    (0, b"\x00\x00\x01\xba", Content("video", "an MPEG programme stream")),
    (0, b"\x00\x00\x01\xb3", Content("video", "an MPEG video")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Content("video", "a WMV or ASF video")),
    (0, b"\x00\x00\x00\x01\x67", Content("video", "a bare H.264 stream")),
    (0, b"\x00\x00\x01\x67", Content("video", "a bare H.264 stream")),
    (0, b"GIF8", Content("video", "a GIF")),
    (0, b"\xff\xd8\xff", Content("picture", "a JPEG picture")),
    (0, b"\x89PNG\r\n\x1a\n", Content("picture", "a PNG picture")),
    (0, b"BM", Content("picture", "a BMP picture")),
    (0, b"II*\x00", Content("picture", "a TIFF picture")),
    (0, b"MM\x00*", Content("picture", "a TIFF picture")),
    (0, b"P6\n", Content("picture", "a PPM picture")),
    (0, b"P5\n", Content("picture", "a PGM picture")),
    (0, b"ID3", Content("audio", "MP3 sound")),
    (0, b"\xff\xfb", Content("audio", "MP3 sound")),
    (0, b"\xff\xf1", Content("audio", "AAC sound")),
    (0, b"fLaC", Content("audio", "FLAC sound")),
    (0, b"%PDF", Content("other", "a PDF document")),
    (0, b"PK\x03\x04", Content("other", "a ZIP archive or an office document")),
    (0, b"\x1f\x8b", Content("other", "a gzip archive")),
    (0, b"7z\xbc\xaf", Content("other", "a 7-Zip archive")),
    (0, b"Rar!", Content("other", "a RAR archive")),
    (0, b"\x7fELF", Content("other", "a program")),
    (0, b"MZ", Content("other", "a program")),
    (0, b"SQLite format 3", Content("other", "an SQLite database")),
    (0, b"#EXTM3U", Content("other", "an HLS playlist; give the address it was fetched from instead")),
    (0, b"ffconcat", Content("other", "a playlist; give the videos one by one")),
    (0, b"v=0\r\n", Content("other", "an SDP description; give the camera's rtsp:// address instead")),
    (0, b"v=0\n", Content("other", "an SDP description; give the camera's rtsp:// address instead")),
)
_TS_PACKET = 188


def identify(head: bytes) -> Content:
    r"""Say what a file is by its first bytes.

    Args:
        head: The first `HEAD_BYTES` of the file, or all of it.

    Example:
        >>> identify(b"just some words").label
        'plain text'
        >>> identify(b"\x89PNG\r\n\x1a\n....").kind
        'picture'
    """
    for offset, signature, content in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature and _plausible(head, signature):
            return content
    if len(head) > 2 * _TS_PACKET and head[0] == head[_TS_PACKET] == head[2 * _TS_PACKET] == 0x47:
        return Content("video", "an MPEG transport stream")
    if not head.strip(b"\x00"):
        return Content("other", "nothing but zero bytes")
    if _is_text(head):
        start = head.lstrip()[:200].lower()
        return Content("other", "a web page" if start.startswith((b"<!doctype html", b"<html")) else "plain text")
    return Content("other", "data of an unknown kind")


def exif_orientation(head: bytes) -> int:
    """How a photograph lies, by its Exif tag (Exif 2.3, section 4.6.4 A).

    Args:
        head: The first `HEAD_BYTES` of the picture.

    Returns:
        1 (upright) to 8; 1 when there is no tag.
    """
    if head[:4] in {b"II*\x00", b"MM\x00*"}:
        start = 0
    else:
        start = next((at + len(mark) for mark in (b"Exif\x00\x00", b"eXIf") if (at := head.find(mark)) >= 0), -1)
    order = {b"II": "<", b"MM": ">"}.get(head[start : start + 2])
    if start < 0 or order is None:
        return 1
    try:
        directory = start + struct.unpack_from(f"{order}I", head, start + 4)[0]
        for i in range(min(struct.unpack_from(f"{order}H", head, directory)[0], 100)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", head, directory + 2 + 12 * i)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def whole_parts_end(path: Path) -> int | None:
    """Where the last whole part ("box", ISO 14496-12) of an MP4 or MOV file ends.

    Args:
        path: An MP4 or MOV file.

    Returns:
        The offset in bytes if the part after it is cut off; None if the file ends with a whole part, or is no such file.
    """
    size = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1 and len(head) == 16:
                length = int.from_bytes(head[8:], "big")
            # 0 means "to the end of the file"; 1 to 7 are no lengths at all.
            if length < 8:
                return None
            if offset + length > size:
                return offset
            offset += length
    return offset if 0 < offset < size else None


def _plausible(head: bytes, signature: bytes) -> bool:
    """Two letters are a weak sign: text may begin with them too."""
    if signature == b"BM":
        return len(head) > 18 and head[14:18] in {b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"}
    if signature in {b"AVI ", b"WAVE", b"WEBP"}:
        return head[:4] == b"RIFF"
    if signature == b"MZ":
        return not _is_text(head)
    return True


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(character.isprintable() or character in "\t\n\r\f\x1b\ufeff" for character in text)

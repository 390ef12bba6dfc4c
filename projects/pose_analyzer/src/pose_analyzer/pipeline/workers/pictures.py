"""Single pictures as browsers send them: JPEG or WebP, their size read from the header before anything is decoded."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import DamagedSourceError, NotAVideoError

LEAST_SIDE_PX = 16
_NO_SIZE = frozenset({0x01, *range(0xD0, 0xD9)})
# Every "start of frame" but the ones that mean something else: Huffman tables, reserved, arithmetic conditioning.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def decode_picture(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """The picture in a message.

    Args:
        data: A whole JPEG or WebP file.
        max_pixels: Largest picture, px.

    Returns:
        (H, W, 3) uint8 RGB, turned as its Exif data says.

    Raises:
        NotAVideoError: It is neither JPEG nor WebP.
        DamagedSourceError: It is cut off or damaged, smaller than 16 px a side, or larger than allowed.

    Example:
        >>> jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))[1].tobytes()
        >>> decode_picture(jpeg, max_pixels=10_000).shape
        (48, 64, 3)
        >>> decode_picture(jpeg, max_pixels=1_000)
        Traceback (most recent call last):
        pose_analyzer.errors.DamagedSourceError: a picture has 16 px a side or more and at most 1000 px in all, this one has 64x48
    """
    width, height = picture_size(data)
    if min(width, height) < LEAST_SIDE_PX or width * height > max_pixels:
        raise DamagedSourceError(
            f"a picture has {LEAST_SIDE_PX} px a side or more and at most {max_pixels} px in all, this one has {width}x{height}"
        )
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-1024:]:
        # The decoder would fill the rest with grey and say nothing.
        raise DamagedSourceError("the picture is cut off: its end is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise DamagedSourceError(f"the picture cannot be decoded ({error.err})") from None
    if image is None or sorted(image.shape[:2]) != sorted((height, width)):
        raise DamagedSourceError("the picture cannot be decoded: it is damaged or cut off")
    return np.asarray(image, np.uint8)


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height that the header of a JPEG or WebP file announces, px.

    Raises:
        NotAVideoError: It is neither.
        DamagedSourceError: The header is cut off or makes no sense.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError):
        raise DamagedSourceError("the picture's header is cut off") from None
    raise NotAVideoError("a picture is JPEG or WebP, this is neither")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the start of frame (ITU-T T.81, annex B)."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise DamagedSourceError("the picture's header is damaged")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _NO_SIZE:
            at += 2
        elif marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in (0xD9, 0xDA):
            raise DamagedSourceError("the picture's header is damaged: it announces no size")
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2:
                raise DamagedSourceError("the picture's header is damaged")
            at += 2 + length


def _webp_size(data: bytes) -> tuple[int, int]:
    """Size in the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 2:
            raise DamagedSourceError("the picture is an animation; send single pictures")
        size = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        if len(data) < 30:
            raise IndexError
        return size
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise DamagedSourceError("the picture's header is damaged")

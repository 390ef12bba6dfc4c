"""Tiny clips whose pictures carry their own number, so that a test can read off which picture it got."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

_COLUMNS, _ROWS = 4, 3
MAX_NUMBER = 2 ** (_COLUMNS * _ROWS) - 1


def numbered(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """(H, W, 3) uint8: the binary digits of `number` as black and white blocks, the lowest at the top left."""
    width, height = size
    bits = np.array([number >> i & 1 for i in range(_COLUMNS * _ROWS)], np.uint8).reshape(_ROWS, _COLUMNS) * 200 + 20
    rows = np.arange(height) * _ROWS // height
    columns = np.arange(width) * _COLUMNS // width
    return np.repeat(bits[rows][:, columns][:, :, None], 3, axis=2)


def number_in(image: np.ndarray) -> int:
    """The number that a picture carries."""
    height, width = image.shape[:2]
    rows = [(2 * r + 1) * height // (2 * _ROWS) for r in range(_ROWS)]
    columns = [(2 * c + 1) * width // (2 * _COLUMNS) for c in range(_COLUMNS)]
    bits = [image[r, c].mean() > 128 for r in rows for c in columns]
    return sum(1 << i for i, bit in enumerate(bits) if bit)


def make_clip(
    path: Path | io.BytesIO,
    *,
    frames: int = 30,
    size: tuple[int, int] = (64, 48),
    images: list[np.ndarray] | None = None,
    codec: str = "libx264",
    form: str | None = None,
    rate: Fraction | int = 25,
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    gop: int = 250,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    turn: tuple[float, bool, bool] | None = None,
    sar: Fraction | None = None,
    sound: bool = False,
) -> Path | io.BytesIO:
    """Write a clip of numbered pictures (or of `images`) and return its path."""
    pictures = images if images is not None else [numbered(i, size) for i in range(frames)]
    height, width = pictures[0].shape[:2]
    base = time_base or 1 / Fraction(rate)
    target = str(path) if isinstance(path, Path) else path
    with av.open(target, "w", format=form, container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1], vflip=turn[2])
        audio = _add_sound(container) if sound else None
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (pts[i] if pts else i), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            _fill_sound(container, audio, len(pictures) / float(rate))
    return path


def make_sound(path: Path, codec: str = "aac", seconds: float = 1.0) -> Path:
    """Write a file that holds sound only."""
    with av.open(str(path), "w") as container:
        _fill_sound(container, _add_sound(container, codec), seconds)
    return path


def _add_sound(container, codec: str = "aac"):
    return container.add_stream(codec, rate=8000, layout="mono")


def _fill_sound(container, stream, seconds: float) -> None:
    size = stream.codec_context.frame_size or 1024
    for i in range(max(int(seconds * 8000) // size, 1)):
        tone = np.sin(np.arange(i * size, (i + 1) * size) * 0.3).astype(np.float32)[None] * 0.1
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, i * size, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))

"""Text on pictures: DejaVu Sans out of matplotlib, because OpenCV's stroke font has no ° and reads badly."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
PANEL: Colour = (16, 18, 22)


def text_size(text: str, size_px: int) -> tuple[int, int]:
    """(width, height) px of a line of text."""
    height, width = _glyphs(text, size_px).shape
    return width, height


def draw_text(canvas: NDArray[np.uint8], text: str, at: tuple[int, int], size_px: int, colour: Colour, *, shade: bool = False) -> None:
    """Write a line onto an image in place; what lies outside is cut off.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        text: One line.
        at: Left and top of its ink, px.
        size_px: Of the font.
        colour: RGB.
        shade: Darken the picture behind it.
    """
    if not text:
        return
    glyphs = _glyphs(text, size_px)
    if shade:
        pad = max(size_px // 5, 2)
        x1, y1 = max(at[0] - pad, 0), max(at[1] - pad, 0)
        area = canvas[y1 : at[1] + glyphs.shape[0] + pad, x1 : at[0] + glyphs.shape[1] + pad]
        if area.size:
            cv2.addWeighted(area, 0.4, np.full_like(area, PANEL), 0.6, 0.0, dst=area)
    x1, y1 = max(at[0], 0), max(at[1], 0)
    x2, y2 = min(at[0] + glyphs.shape[1], canvas.shape[1]), min(at[1] + glyphs.shape[0], canvas.shape[0])
    if x2 <= x1 or y2 <= y1:
        return
    cover = glyphs[y1 - at[1] : y2 - at[1], x1 - at[0] : x2 - at[0], None]
    area = canvas[y1:y2, x1:x2]
    area[:] = (area * (1.0 - cover) + np.array(colour, np.float32) * cover + 0.5).astype(np.uint8)


@lru_cache(maxsize=2048)
def _glyphs(text: str, size_px: int) -> NDArray[np.float32]:
    """(h, w) coverage 0..1 of a line of text."""
    from PIL import Image, ImageDraw

    font = _font(size_px)
    left, top, right, bottom = font.getbbox(text or " ")
    mask = Image.new("L", (max(int(right - left), 1), max(int(bottom - top), 1)))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    coverage = np.asarray(mask, np.float32) / 255.0
    coverage.setflags(write=False)
    return coverage


@lru_cache(maxsize=16)
def _font(size_px: int):
    from PIL import ImageFont

    return ImageFont.truetype(_font_path(), max(size_px, 6))


@lru_cache(maxsize=1)
def _font_path() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf")

"""A strip of curves with a moving cursor, drawn once and then quickly per picture of a video."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.lettering import Colour, draw_text, text_size

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_PAPER: Colour = (20, 23, 27)
_PANEL: Colour = (27, 31, 37)
_SHADE: Colour = (38, 44, 52)
_GRID: Colour = (58, 66, 76)
_MUTED: Colour = (163, 173, 184)
_INK: Colour = (241, 243, 245)
_FRACTION_BITS = 4


class CurveStrip:
    """Two curves over time.

    Args:
        width, height: px.
        span_s: First and last time.
        curves: (times, degrees, colour) of A and B; NaN breaks a line.
        shades: (start, end) of repetitions.
        title: Above the curves.
    """

    def __init__(
        self,
        *,
        width: int,
        height: int,
        span_s: tuple[float, float],
        curves: Sequence[tuple[Array, Array, Colour]],
        shades: Sequence[tuple[float, float]] = (),
        title: str = "",
    ) -> None:
        self._unit = height / 120
        self._size = max(round(13 * self._unit), 8)
        pad = round(12 * self._unit)
        self._left, self._right = round(52 * self._unit), width - round(176 * self._unit)
        self._right = max(self._right, self._left + width // 3)
        self._top, self._bottom = round(30 * self._unit), height - round(14 * self._unit)
        self._span = span_s
        known = np.concatenate([v[np.isfinite(v)] for _, v, _ in curves] or [np.zeros(1)])
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 90.0)
        margin = max(0.06 * (high - low), 2.0)
        self._low, self._high = low - margin, high + margin
        self._colours = [c for _, _, c in curves]
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = _PAPER
        canvas[self._top : self._bottom, self._left : self._right] = _PANEL
        for start, end in shades:
            x1, x2 = (int(np.clip(self._x(t), self._left, self._right)) for t in (start, end))
            canvas[self._top : self._bottom, x1:x2] = _SHADE
        self._draw_scale(canvas)
        for times_s, values, colour in curves:
            self._draw_curve(canvas, times_s, values, colour)
        draw_text(canvas, title, (self._left, pad - round(2 * self._unit)), self._size, _MUTED)
        self._canvas = canvas

    def at(self, time_s: float, a_deg: float, b_deg: float) -> Image:
        """The strip with its cursor at a time, and both readings beside it."""
        canvas = self._canvas.copy()
        x = int(np.clip(self._x(time_s), self._left, self._right))
        cv2.line(canvas, (x, self._top), (x, self._bottom - 1), _INK, max(round(self._unit), 1), cv2.LINE_AA)
        for value, colour in zip((a_deg, b_deg), self._colours, strict=False):
            if math.isfinite(value):
                cv2.circle(canvas, (x, int(self._y(value))), max(round(4.5 * self._unit), 2), colour, -1, cv2.LINE_AA)
        self._draw_readings(canvas, a_deg, b_deg)
        return canvas

    def _draw_readings(self, canvas: Image, a_deg: float, b_deg: float) -> None:
        x, step = self._right + round(18 * self._unit), (self._bottom - self._top) / 3
        rows = [("A", a_deg, self._colours[0], ""), ("B", b_deg, self._colours[1], ""), ("B − A", b_deg - a_deg, _INK, "+")]
        for i, (name, value, colour, sign) in enumerate(rows):
            middle = round(self._top + (i + 0.5) * step)
            text = f"{value:{sign}.0f}°" if math.isfinite(value) else "no reading"
            draw_text(canvas, name, (x, middle - text_size(name, self._size)[1] // 2), self._size, colour)
            size = round(1.35 * self._size) if math.isfinite(value) else self._size
            draw_text(canvas, text, (x + round(62 * self._unit), middle - text_size(text, size)[1] // 2), size, colour)

    def _draw_scale(self, canvas: Image) -> None:
        step = next((s for s in (10, 20, 30, 45, 60, 90) if (self._high - self._low) / s <= 4), 90)
        for value in np.arange(math.ceil(self._low / step) * step, self._high, step):
            y = int(self._y(float(value)))
            cv2.line(canvas, (self._left, y), (self._right, y), _GRID, 1)
            text = f"{value:.0f}°"
            width, tall = text_size(text, self._size)
            draw_text(canvas, text, (self._left - width - round(8 * self._unit), y - tall // 2), self._size, _MUTED)

    def _draw_curve(self, canvas: Image, times_s: Array, values: Array, colour: Colour) -> None:
        known = np.isfinite(values) & np.isfinite(times_s)
        cuts = np.flatnonzero(~known)
        for piece in np.split(np.arange(len(values)), cuts):
            piece = piece[known[piece]]
            if len(piece) > 1:
                points = np.stack([self._x(times_s[piece]), self._y(values[piece])], axis=1) * 2**_FRACTION_BITS
                thick = max(round(2 * self._unit), 1)
                cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, colour, thick, cv2.LINE_AA, _FRACTION_BITS)

    def _x(self, time_s: float | Array) -> Array:
        share = (np.asarray(time_s, np.float64) - self._span[0]) / max(self._span[1] - self._span[0], 1e-9)
        return self._left + share * (self._right - self._left)

    def _y(self, value: float | Array) -> Array:
        share = (np.asarray(value, np.float64) - self._low) / (self._high - self._low)
        return self._bottom - share * (self._bottom - self._top)

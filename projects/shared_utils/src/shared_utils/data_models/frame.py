"""One picture with its time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from shared_utils.errors import ValidationError


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a stream, with the time that its container or camera gave it.

    Args:
        image: (H, W, 3) uint8, RGB.
        index: Position in the stream, from 0, of the decoded (not the delivered) frames.
        timestamp_s: Media clock in seconds, finite and non-decreasing within a stream.
        wall_time: When the camera saw it, timezone-aware UTC; None for recordings without a clock.
        stream_id: Which stream it belongs to.

    Raises:
        ValidationError: An argument has the wrong shape, type or range.

    Example:
        >>> frame = Frame(np.zeros((480, 640, 3), np.uint8), index=0, timestamp_s=0.0)
        >>> frame.width, frame.height
        (640, 480)
    """

    image: NDArray[np.uint8]
    index: int
    timestamp_s: float
    wall_time: datetime | None = None
    stream_id: str = "stream"

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValidationError(f"Frame.image must be a non-empty (H, W, 3) uint8 RGB array, got {got}")
        if self.index < 0:
            raise ValidationError(f"Frame.index must be 0 or more, got {self.index}")
        if not math.isfinite(self.timestamp_s):
            raise ValidationError(f"Frame.timestamp_s must be finite seconds, got {self.timestamp_s}")
        if self.wall_time is not None and self.wall_time.utcoffset() is None:
            raise ValidationError("Frame.wall_time must be timezone-aware UTC, got a naive datetime")

    @property
    def width(self) -> int:
        """Image width in px."""
        return self.image.shape[1]

    @property
    def height(self) -> int:
        """Image height in px."""
        return self.image.shape[0]

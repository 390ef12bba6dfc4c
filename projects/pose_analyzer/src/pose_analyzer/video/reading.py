"""What a recording offers to playback: pictures with their number and time, from any time on, as often as wanted."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.video.info import SourceInfo, TimingReport

TIME_TOLERANCE_S = 1e-6
"""Times that differ by less are the same: a user's 0.04 is not exactly a container's 512/12800."""


@dataclass(slots=True)
class Picture:
    """One decoded picture; its colours are converted only when asked for.

    Args:
        index: Number among all decoded pictures, from 0.
        timestamp_s: Media clock, seconds; the first picture has 0.
        duration_s: How long it stands, seconds, as far as known.
        rgb: Gives the (H, W, 3) uint8 RGB array, or None if its pixels turn out to be unusable.
    """

    index: int
    timestamp_s: float
    duration_s: float
    rgb: Callable[[], NDArray[np.uint8] | None]


class Reader(Protocol):
    """A recording."""

    @property
    def info(self) -> SourceInfo:
        """What is known of it."""
        ...

    @property
    def timing(self) -> TimingReport:
        """Repairs to its times in the current walk."""
        ...

    @property
    def damage(self) -> str | None:
        """What was lost in the walks so far."""
        ...

    def pictures(self, from_s: float = 0.0) -> Generator[Picture]:
        """Walk through the pictures whose time is not before `from_s`."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...

"""What every tracker offers: the people of one frame in, the same people with their ids out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Poses


@runtime_checkable
class Tracker(Protocol):
    """Gives the people of one stream their identity over time. One tracker serves one stream."""

    def update(self, poses: Poses, *, timestamp_s: float, image: NDArray[np.uint8] | None = None) -> Poses:
        """The same rows in the same order, ids added; boxes and keypoints are the detected ones.

        Args:
            poses: Everybody detected in one frame, in any order; ids they carry are not read.
            timestamp_s: Media clock of the frame in seconds. A frame whose time is not finite or lies before
                the previous frame's is not used: all its ids are -1.
            image: (H, W, 3) uint8 RGB, the frame; for the camera's own motion and for people's looks. Without
                it, trackers that use these do without.

        Returns:
            `poses` with `track_ids`: 1 and up, counted by this tracker; -1 = not yet confirmed.
        """
        ...

    def reset(self) -> None:
        """Forget everybody and count from 1 again, as if new; also when a stream starts over."""
        ...

"""What every filter of poses offers, whatever its mathematics."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from shared_utils.data_models import Poses


@runtime_checkable
class PoseFilter(Protocol):
    """A causal filter of the keypoints of one stream, with a state per track.

    Implementations keep rows, order, boxes, scores, confidences and ids; only positions change.
    """

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """The same people with filtered positions.

        Args:
            poses: The people of one frame; rows without a track (id -1) pass unfiltered.
            timestamp_s: Media clock of the frame in seconds.
        """
        ...

    def forget(self, track_id: int) -> None:
        """Drop the state of one track; unknown ids are ignored."""
        ...

    def reset(self) -> None:
        """Drop the state of every track, as at the start of a stream."""
        ...

"""Several filters in a row behind the face of one."""

from __future__ import annotations

from collections.abc import Sequence

from pose_analyzer.smoothing.pose_filter import PoseFilter
from shared_utils.data_models import Poses


class FilterChain:
    """Filters that take turns on every frame, each given what the one before it made.

    Args:
        filters: In the order in which they work: `SwapRepair` before a filter, `GapFiller` behind it.

    Example:
        >>> from pose_analyzer.smoothing import GapFiller, SwapRepair, create_filter
        >>> from shared_utils.skeletons import COCO_17
        >>> chain = FilterChain([SwapRepair(), create_filter("one_euro"), GapFiller(max_gap_s=0.3)])
        >>> len(chain.update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    def __init__(self, filters: Sequence[PoseFilter]) -> None:
        self.filters = tuple(filters)

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """The people of one frame after all filters; see `PoseFilter.update`. A `GapFiller` adds rows."""
        for one in self.filters:
            poses = one.update(poses, timestamp_s=timestamp_s)
        return poses

    def forget(self, track_id: int) -> None:
        """Drop the state of one track in all of them; unknown ids are ignored."""
        for one in self.filters:
            one.forget(track_id)

    def reset(self) -> None:
        """Drop everything, as at the start of a stream."""
        for one in self.filters:
            one.reset()

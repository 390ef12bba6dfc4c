"""BoT-SORT on true time: overlap, the camera's own motion, and looks where people are close."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.appearance import Appearance
from pose_analyzer.tracking.association import iou_matrix
from pose_analyzer.tracking.bytetrack import LOW_SCORE_COST, UNCONFIRMED_COST, match
from pose_analyzer.tracking.configured import ConfiguredTracker
from pose_analyzer.tracking.engine import Engine, View
from pose_analyzer.tracking.kalman import BoxPrediction
from pose_analyzer.tracking.lone import match_lone
from pose_analyzer.tracking.settings import BotSortConfig
from pose_analyzer.tracking.tracks import TRACKED, Tracks


class BotSortTracker(ConfiguredTracker[BotSortConfig]):
    """BoT-SORT (Aharon, Orfaig, Bobrovsky, arXiv:2206.14651), written for pose streams with true timestamps.

    ByteTrack's order of associations, with what the paper adds: the Kalman state holds width and height, all tracks are
    carried along when the camera moves, and the first cost is the smaller of the overlap's and the looks', where looks count
    only for boxes near enough (`proximity_thresh`) that are alike enough (`appearance_thresh`). Looks are a running mean of
    clear views. Differences from the paper are those of `ByteTracker`; besides, who comes back after the budget gets the old
    id when looks say so clearly (`reentries`). Without images it works on boxes alone.

    Settings: `BotSortConfig`; see `ConfiguredTracker` for the constructor.

    Example:
        >>> tracker = BotSortTracker(track_buffer=60, with_reid=False)
        >>> tracker.config.lost_budget_s
        2.0
    """

    name = "botsort"
    settings_type = BotSortConfig

    def _build(self, looks: Appearance | None) -> Engine:
        return Engine(self._rules(), self._associate, appearance=looks)

    def _associate(self, view: View, prediction: BoxPrediction, tracks: Tracks) -> NDArray[np.intp]:
        config, scores = self.config, view.scores
        track_of = np.full(len(scores), -1, np.intp)
        if not len(scores) or not len(tracks):
            return track_of
        high = scores >= config.track_high_thresh
        low = ~high & (scores >= config.track_low_thresh)
        overlap = iou_matrix(prediction.boxes_xyxy, view.boxes_xyxy)
        cost = 1 - overlap
        fused = 1 - overlap * scores if config.fuse_score else cost
        by_looks = self._cost_of_looks(view, cost, tracks)
        match(tracks.confirmed, high, np.minimum(fused, by_looks), config.match_thresh, track_of)
        match(tracks.state == TRACKED, low, cost, LOW_SCORE_COST, track_of)
        match(~tracks.confirmed, high, np.minimum(fused, by_looks), UNCONFIRMED_COST, track_of)
        match_lone(prediction, view.boxes_xyxy, high, track_of)
        return track_of

    def _cost_of_looks(self, view: View, cost: NDArray[np.float64], tracks: Tracks) -> NDArray[np.float64]:
        """(t, n) half the cosine distance; 1 where it does not count (equations 8 and 9 of the paper)."""
        if view.looks is None:
            return np.ones_like(cost)
        distance = 1 - tracks.columns["look"] @ view.looks.T
        # A crop that shows two people has the looks of either. A comparison with NaN, somebody not seen yet, is false.
        counts = view.clear & (distance <= 1 - self.config.appearance_thresh) & (cost <= self.config.proximity_thresh)
        return np.where(counts, distance / 2, 1.0)

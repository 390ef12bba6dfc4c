"""DeepSORT on true time: looks first, those seen last first, within reach of the motion; then overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.appearance import Appearance
from pose_analyzer.tracking.association import iou_matrix
from pose_analyzer.tracking.bytetrack import match
from pose_analyzer.tracking.configured import ConfiguredTracker
from pose_analyzer.tracking.engine import Engine, View
from pose_analyzer.tracking.kalman import BoxPrediction
from pose_analyzer.tracking.lone import match_lone
from pose_analyzer.tracking.settings import DeepSortConfig
from pose_analyzer.tracking.tracks import Tracks

# 95 % of a chi-squared distribution with four degrees of freedom (centre, width, height), the paper's gate.
_GATE = 9.4877
_NEVER = 1e3


class DeepSortTracker(ConfiguredTracker[DeepSortConfig]):
    """DeepSORT (Wojke, Bewley, Paulus, arXiv:1703.07402), written for pose streams with true timestamps.

    A cascade goes through the confirmed tracks from those seen most recently to those missed longest; within each step the cost
    is the cosine distance to the nearest of the kept views, for pairs inside the Mahalanobis gate of the motion. What is left,
    if it was seen in the frame before or is unconfirmed, is matched by overlap. Steps of the cascade are times, not frames; a
    track waits a number of seconds. The motion model, the association of lone people and of those who return are those of this
    room (see `ByteTracker`, `BotSortTracker`). Where no looks are at hand, all
    are matched by overlap, as in SORT (arXiv:1602.00763).

    Settings: `DeepSortConfig`; see `ConfiguredTracker` for the constructor.

    Example:
        >>> DeepSortTracker(nn_budget=50).config.confirm_frames
        3
    """

    name = "deepsort"
    settings_type = DeepSortConfig

    def _build(self, looks: Appearance | None) -> Engine:
        config = self.config
        columns = {} if looks is None else {"kept": (config.nn_budget, looks.size), "kept_next": ()}
        rules = self._rules(confirm_frames=config.confirm_frames)
        return Engine(rules, self._associate, appearance=looks, columns=columns, remember=self._remember)

    def _associate(self, view: View, prediction: BoxPrediction, tracks: Tracks) -> NDArray[np.intp]:
        config = self.config
        track_of = np.full(len(view.scores), -1, np.intp)
        if not len(view.scores) or not len(tracks):
            return track_of
        used = view.scores >= config.track_high_thresh
        overlap_cost = 1 - iou_matrix(prediction.boxes_xyxy, view.boxes_xyxy)
        seen_s = tracks.motion.seen_s
        recent = ~tracks.confirmed | (seen_s == seen_s.max())
        if view.looks is None:
            recent = np.ones(len(tracks), bool)
            match(tracks.confirmed, used, overlap_cost, config.match_thresh, track_of)
        else:
            gated = prediction.box_distance(view.boxes_xyxy) <= _GATE
            cost = np.where(gated, self._cost_of_looks(view.looks, tracks), _NEVER)
            for at_s in np.unique(seen_s[tracks.confirmed])[::-1]:
                match(tracks.confirmed & (seen_s == at_s), used, cost, 1 - config.appearance_thresh + 1e-9, track_of)
        match(recent, used, overlap_cost, config.match_thresh, track_of)
        match_lone(prediction, view.boxes_xyxy, used, track_of)
        return track_of

    def _cost_of_looks(self, looks: NDArray[np.float64], tracks: Tracks) -> NDArray[np.float64]:
        """(t, n) cosine distance to the nearest kept view; people without a kept or a present view are left to the overlap."""
        similarity = np.fmax.reduce(np.einsum("tbd,nd->tbn", tracks.columns["kept"], looks), axis=1)
        return np.nan_to_num(1 - similarity, nan=_NEVER)

    def _remember(self, view: View, tracks: Tracks, rows: NDArray[np.intp]) -> None:
        """Keep the clear views, the oldest of each person going first."""
        if view.looks is None:
            return
        good = np.flatnonzero((rows >= 0) & view.clear)
        at = rows[good]
        place = np.nan_to_num(tracks.columns["kept_next"][at]).astype(np.intp)
        tracks.columns["kept"][at, place % self.config.nn_budget] = view.looks[good]
        tracks.columns["kept_next"][at] = place + 1

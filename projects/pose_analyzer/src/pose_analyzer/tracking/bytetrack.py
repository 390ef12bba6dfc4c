"""ByteTrack on true time: boxes matched in order of trust, the surest first, the doubtful as a second chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.appearance import Appearance
from pose_analyzer.tracking.association import assign, iou_matrix
from pose_analyzer.tracking.configured import ConfiguredTracker
from pose_analyzer.tracking.engine import Engine, View
from pose_analyzer.tracking.kalman import BoxPrediction
from pose_analyzer.tracking.lone import free_rows, match_lone
from pose_analyzer.tracking.settings import ByteTrackConfig
from pose_analyzer.tracking.tracks import TRACKED, Tracks

# Limits of the second and third association in the authors' code.
LOW_SCORE_COST = 0.5
UNCONFIRMED_COST = 0.7


class ByteTracker(ConfiguredTracker[ByteTrackConfig]):
    """ByteTrack (Zhang et al., ECCV 2022, arXiv:2110.06864), written for pose streams with true timestamps.

    Detections of high score are matched to the predicted boxes of all confirmed tracks by overlap; those of
    low score get a second chance with tracks that were seen in the frame before, for a person half hidden
    scores low; unconfirmed tracks come third. What differs from the paper, and why:

    - Time is the timestamp: a track waits a number of seconds, not of frames, and the Kalman filter moves by
      the true step (`pose_analyzer.tracking.kalman`).
    - A fourth association for those left over: a track and a detection with nobody else near belong together
      even where the boxes do not overlap enough. An athlete who drops to the floor between two frames of a slow
      camera turns an upright box into a lying one. Where there is a rival, nothing is guessed.
    - A lost track that a live one covers is kept, not merged: the one in front hides the other for a while.
    - Ids are given at confirmation, so that they do not skip, and start at 1 in every tracker. Who is new
      in one frame is numbered by box area, the largest first. The order of the rows does not matter.

    People of the first frame are confirmed at once, later ones when they are matched in the next frame.
    A frame that repeats the timestamp before it is matched without moving anything. One with a time that is
    not finite or runs backwards gets ids -1 and changes nothing; a stream that starts over needs `reset`.

    Settings: `ByteTrackConfig`; see `ConfiguredTracker` for the constructor.

    Example:
        >>> from shared_utils.data_models import Poses
        >>> from shared_utils.skeletons import COCO_17
        >>> def frame(x):
        ...     return Poses(
        ...         boxes_xyxy=np.array([[x, 0, x + 40, 100]]), scores=np.ones(1), skeleton=COCO_17,
        ...         keypoints_xy=np.full((1, 17, 2), np.nan), keypoint_confidence=np.zeros((1, 17)))
        >>> tracker = ByteTracker(track_buffer=60)
        >>> [int(tracker.update(frame(10 * i), timestamp_s=0.1 * i).track_ids[0]) for i in range(3)]
        [1, 1, 1]
    """

    name = "bytetrack"
    settings_type = ByteTrackConfig

    def _build(self, looks: Appearance | None) -> Engine:
        return Engine(self._rules(), self._associate)

    def _associate(self, view: View, prediction: BoxPrediction, tracks: Tracks) -> NDArray[np.intp]:
        """(n,) row of the track that each detection belongs to, -1 = none."""
        config, scores = self.config, view.scores
        track_of = np.full(len(scores), -1, np.intp)
        if not len(scores) or not len(tracks):
            return track_of
        high = scores >= config.track_high_thresh
        low = ~high & (scores >= config.track_low_thresh)
        overlap = iou_matrix(prediction.boxes_xyxy, view.boxes_xyxy)
        cost = 1 - overlap
        fused = 1 - overlap * scores if config.fuse_score else cost
        match(tracks.confirmed, high, fused, config.match_thresh, track_of)
        match(tracks.state == TRACKED, low, cost, LOW_SCORE_COST, track_of)
        match(~tracks.confirmed, high, fused, UNCONFIRMED_COST, track_of)
        match_lone(prediction, view.boxes_xyxy, high, track_of)
        return track_of


def match(
    tracks: NDArray[np.bool_], detections: NDArray[np.bool_], costs: NDArray[np.float64], limit: float, track_of: NDArray[np.intp]
) -> None:
    """Join the free ones of (t,) tracks and (n,) detections by their (t, n) costs; writes into `track_of`."""
    columns = (detections & (track_of < 0)).nonzero()[0]
    if len(columns) and len(rows := free_rows(tracks, track_of)):
        r, c = assign(costs[rows[:, None], columns], limit)
        track_of[columns[c]] = rows[r]

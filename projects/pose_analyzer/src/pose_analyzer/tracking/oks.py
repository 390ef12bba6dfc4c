"""The pose-native tracker: people are told apart by their joints first, then by box and looks, on true time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.appearance import Appearance
from pose_analyzer.tracking.association import iou_matrix, iou_pairs, oks_and_trust, oks_pairs
from pose_analyzer.tracking.body import BODY, BODY_SIGMAS, LIMB_SPEED, TRUNK, body_points, box_around, trunk_anchors, trunk_hidden
from pose_analyzer.tracking.bytetrack import match
from pose_analyzer.tracking.configured import ConfiguredTracker
from pose_analyzer.tracking.engine import Engine, View
from pose_analyzer.tracking.kalman import BoxPrediction
from pose_analyzer.tracking.lone import match_lone
from pose_analyzer.tracking.settings import OksConfig
from pose_analyzer.tracking.tracks import TRACKED, Tracks

# Parts of the likeness. Where a part cannot be told (no keypoints in common, no image) the others take its share.
_OF_POSE, _OF_BOX, _OF_LOOKS = 0.5, 0.2, 0.3
# A limb that left its place has come back, or moved to another, after about this long: its distance grows no further.
_LIMB_TURN_S = 0.35
# 99.9 % of a chi-squared distribution with two degrees of freedom, for the trunk.
_GATE = 13.8
_HALF_HIDDEN = 4.0
# Greatest 1 - overlap of a box with itself a frame ago, where the joints say otherwise.
_UNMOVED_COST = 0.7
# Square root of a person's area in longer sides, which stay when somebody bends.
_AREA_ROOT = 0.6
# Of two who could be it, the one seen last; a second of waiting costs this much likeness.
_WAITING_COST_PER_S = 0.10
_DOUBT = 0.1
_TWICE_THE_SAME_OKS = 0.75
_TWICE_THE_SAME_IOU = 0.6
# Clothes do not change: while there is no doubt who is who, a glance now and then keeps them in mind.
_LOOK_EVERY_S = 0.25
# Cosine of looks from which likeness counts; strangers in a gym lie around it.
_STRANGERS = 0.5


class OksTracker(ConfiguredTracker[OksConfig]):
    """Tracks poses by object keypoint similarity (OKS), box overlap and looks, with true time steps.

    - The motion of a person is that of the trunk's middle (shoulders and hips), which neither swinging arms nor a half hidden box
      displace; a Kalman filter on true time steps predicts it (`pose_analyzer.tracking.kalman`).
    - The likeness of a track and a detection is OKS of the predicted and the detected joints, with constants larger than COCO's
      (`sigma_scale`), widened by how far a joint may have moved in the time that passed and by how sure the motion is; plus
      overlap of boxes; plus cosine of looks where an image is given.
    - Sure detections are matched first to all confirmed tracks, doubtful ones to those in view, then the unconfirmed, then people
      who have nobody else near (`pose_analyzer.tracking.lone`). Who has been missed for longer counts a little less.
    - A second detection of somebody already matched starts no track.
    - Who comes back after the budget gets the old id when looks say so clearly; `reentries` keeps the lead over the second best.

    Settings: `OksConfig`; see `ConfiguredTracker` for the constructor.

    Example:
        >>> from shared_utils.data_models import Poses
        >>> from shared_utils.skeletons import COCO_17
        >>> stand = np.random.default_rng(0).uniform([0, 0], [40, 100], (1, 17, 2))
        >>> def frame(x):
        ...     return Poses(
        ...         boxes_xyxy=np.array([[x, 0, x + 40, 100]]), scores=np.ones(1), skeleton=COCO_17,
        ...         keypoints_xy=stand + [x, 0], keypoint_confidence=np.ones((1, 17)))
        >>> tracker = OksTracker()
        >>> [int(tracker.update(frame(10 * i), timestamp_s=0.1 * i).track_ids[0]) for i in range(3)]
        [1, 1, 1]
    """

    name = "oks"
    settings_type = OksConfig

    def _build(self, looks: Appearance | None) -> Engine:
        # (2, 1, k) variance of a joint for a body of size 1.
        self._spread = (2 * _AREA_ROOT * BODY_SIGMAS) ** 2 * np.array([[[1.0]], [[self.config.sigma_scale**2]]])
        return Engine(
            self._rules(look_every_s=_LOOK_EVERY_S, warped=("pose", "box", "surprise")),
            self._associate,
            appearance=looks,
            # Joints and the box's corners relative to the trunk's middle, as they were seen last, and how far that middle then lay
            # from where the motion has it.
            columns={"pose": (len(BODY), 2), "box": (2, 2), "surprise": (1, 2)},
            remember=self._remember,
            joints=body_points,
            anchors=trunk_anchors,
            hidden=trunk_hidden,
        )

    # --- who is who -----------------------------------------------------------------------------------
    def _associate(self, view: View, prediction: BoxPrediction, tracks: Tracks) -> NDArray[np.intp]:
        config, scores = self.config, view.scores
        track_of = np.full(len(scores), -1, np.intp)
        if not len(scores) or not len(tracks):
            return track_of
        high = scores >= config.track_high_thresh
        low = ~high & (scores >= config.track_low_thresh)
        cost = 1 - self._likeness(view, prediction, tracks)
        match(tracks.confirmed, high, cost, config.match_thresh, track_of)
        match(tracks.state == TRACKED, low, cost, config.match_thresh, track_of)
        _match_unmoved(view, prediction, tracks, high, track_of)
        match(~tracks.confirmed, high, cost, config.match_thresh, track_of)
        match_lone(prediction, view.anchors_xyxy, high, track_of, whole=lambda: (_last_boxes(prediction, tracks), view.boxes_xyxy))
        _leave_doubles(view, track_of)
        _place_half_hidden(view, prediction, tracks, track_of)
        return track_of

    def _likeness(self, view: View, prediction: BoxPrediction, tracks: Tracks) -> NDArray[np.float64]:
        """(t, n) 0..1, less the cost of waiting; 0 beyond the gate of the motion."""
        size_px = np.maximum(np.maximum(prediction.seen[:, 2], prediction.seen[:, 3]), 1.0)
        missed_s = view.now_s - tracks.motion.seen_s
        t, n, move = _near(view, prediction, tracks, size_px)
        overlap = iou_pairs(_known_boxes(prediction, tracks)[t], view.boxes_xyxy[n])
        confidence = view.joints_confidence[n]
        alike, trust = oks_and_trust(move, variance_px2=self._variance(prediction, size_px, missed_s, t), weight=confidence)
        pose_share = np.where(trust > 0, _OF_POSE, 0.0)
        # Overlap says little about somebody who has been out of sight.
        box_share = (_OF_BOX * np.exp(missed_s / -0.5))[t] + (_OF_POSE - pose_share)
        total, share = pose_share * (alike.sum(0) / len(alike)) + box_share * overlap, pose_share + box_share
        if view.looks is not None:
            looks = (tracks.columns["look"][t] * view.looks[n]).sum(1)
            told = ~np.isnan(looks)
            total = total + np.where(told, _OF_LOOKS * ((looks - _STRANGERS) / (1 - _STRANGERS)).clip(-1, 1), 0)
            share = share + np.where(told, _OF_LOOKS, 0)
        # Of two detections of one person, the surer one.
        total *= (1 - _DOUBT * (1 - view.scores))[n]
        total /= share
        np.minimum(np.maximum(total, 0.0, out=total), 1.0, out=total)
        total -= (_WAITING_COST_PER_S * np.minimum(missed_s, 2))[t]
        likeness = np.zeros((len(tracks), len(view.scores)))
        likeness[t, n] = total
        return likeness

    def _variance(
        self, prediction: BoxPrediction, size_px: NDArray[np.float64], missed_s: NDArray[np.float64], rows: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """(2, p, k) px²: how far a joint of (p,) rows may lie from its prediction, per coordinate, by COCO's constants and by wider ones.

        The wide ones find who moved fast, the narrow ones tell apart people who are nearly in one place.
        """
        away = (_LIMB_TURN_S * size_px * (1 - np.exp(missed_s / -_LIMB_TURN_S)))[rows, None] * LIMB_SPEED
        away *= away
        variance = prediction.covariance[0]
        away += ((variance[:, 0] + variance[:, 1]) / 2)[rows, None]
        return self._spread * (size_px * size_px)[rows, None] + away

    def _remember(self, view: View, tracks: Tracks, rows: NDArray[np.intp]) -> None:
        seen = slice(None) if (known := rows >= 0).all() else known.nonzero()[0]
        at, boxes, anchors = rows[seen], view.boxes_xyxy[seen], view.anchors_xyxy[seen]
        middle = (anchors[:, :2] + anchors[:, 2:])[:, None] / 2
        pose = view.joints_xy[seen] - middle
        # Joints that are hidden now keep their last place beside the trunk.
        hidden = np.isnan(pose)
        if hidden.any():
            pose[hidden] = tracks.columns["pose"][at][hidden]
        tracks.columns["pose"][at] = pose
        tracks.columns["box"][at] = box_around(boxes, middle)
        tracks.columns["surprise"][at] = middle - tracks.motion.position[at, None, :2]


def _match_unmoved(view: View, prediction: BoxPrediction, tracks: Tracks, high: NDArray[np.bool_], track_of: NDArray[np.intp]) -> None:
    """Join those left over whose boxes lie where they lay a frame ago, however the joints in them jumped; writes into `track_of`.

    A detector that takes a barbell for arms, or a pose apart, moves joints by half a body; the box says less, and goes on saying it.
    """
    left = high & (track_of < 0)
    if not left.any():
        return
    match(tracks.state == TRACKED, left, 1 - iou_matrix(_last_boxes(prediction, tracks), view.boxes_xyxy), _UNMOVED_COST, track_of)


def _last_boxes(prediction: BoxPrediction, tracks: Tracks) -> NDArray[np.float64]:
    """(t, 4) px boxes as and where they were seen last."""
    return (tracks.columns["box"] + tracks.columns["surprise"] + prediction.seen[:, None, :2]).reshape(-1, 4)


def _known_boxes(prediction: BoxPrediction, tracks: Tracks) -> NDArray[np.float64]:
    """(t, 4) px boxes as they were seen last, moved along with the trunk."""
    return (tracks.columns["box"] + prediction.position[:, None, :2]).reshape(-1, 4)


def _near(
    view: View, prediction: BoxPrediction, tracks: Tracks, size_px: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """(p,) tracks and (p,) detections inside each other's gate, and how far the (p, k, 2) joints would have moved, px.

    Most people are nowhere near each other: what is costly is then done for the pairs that can be.
    """
    anchors, middle = view.anchors_xyxy, prediction.position[:, :2]
    shifts = (anchors[:, :2] + anchors[:, 2:]) / 2 - middle[:, None]
    near = prediction.shift_distance(shifts, anchors) <= _GATE
    hidden = trunk_hidden(view.joints_xy)
    if hidden.any():
        reach = np.sqrt(_HALF_HIDDEN * _GATE * prediction.covariance[0, :, :2].max(1)) + size_px
        near[:, hidden] = (shifts[:, hidden] ** 2).sum(-1) <= (reach * reach)[:, None]
    t, n = near.nonzero()
    move = view.joints_xy[n]
    move -= middle[t][:, None]
    move -= tracks.columns["pose"][t]
    # A trunk that is seen whole says itself how far it has gone; one that is hidden in part is placed less exactly, by the joints.
    partly = hidden[n].nonzero()[0]
    if len(partly):
        rows, columns = t[partly], n[partly]
        by_joints = _shift(move[partly], view.joints_confidence[columns])
        # Without a common joint, the boxes' middles have to do.
        shift = np.where(np.isnan(by_joints), shifts[rows, columns], by_joints)
        inside = np.ones(len(t), bool)
        inside[partly] = prediction.pair_distance(rows, columns, shift, anchors) <= _HALF_HIDDEN * _GATE
        t, n, move = t[inside], n[inside], move[inside]
    return t, n, move


def _shift(move: NDArray[np.float64], confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the trunk has gone, by its joints; by all joints where none of it is seen.

    Args:
        move: (p, k, 2) px of each joint; NaN = unknown.
        confidence: (p, k) of the joints; doubtful ones, which a detector guesses, count little.

    Returns:
        (p, 2) px, NaN where no joint is known.
    """
    weight = np.where(np.isnan(move[:, TRUNK, 0]), 0.0, confidence[:, TRUNK])
    shift = _mean_move(move[:, TRUNK], weight)
    hidden = np.flatnonzero(np.isnan(shift[:, 0]))
    if len(hidden):
        known = ~np.isnan(move[hidden, :, 0])
        shift[hidden] = _mean_move(move[hidden], np.where(known, confidence[hidden], 0.0))
    return shift


def _mean_move(move: NDArray[np.float64], confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """(p, 2) mean of (p, k, 2) moves by the square of (p, k) confidences; NaN where all are 0."""
    weight = (confidence * confidence)[..., None]
    total = np.where(weight > 0, move, 0.0)
    total *= weight
    norm = weight.sum(1)
    return np.divide(total.sum(1), norm, out=np.full_like(norm, np.nan).repeat(2, axis=1), where=norm > 0)


def _place_half_hidden(view: View, prediction: BoxPrediction, tracks: Tracks, track_of: NDArray[np.intp]) -> None:
    """Move the anchors of matched people whose trunk is hidden in part to where its seen joints say that it is; writes into `view`."""
    joined = ((track_of >= 0) & trunk_hidden(view.joints_xy)).nonzero()[0]
    if not len(joined):
        return
    xy, confidence = view.joints_xy[joined], view.joints_confidence[joined]
    rows = track_of[joined]
    middle = prediction.position[rows, :2]
    shift = _shift(xy - middle[:, None] - tracks.columns["pose"][rows], confidence)
    half = (view.boxes_xyxy[joined, 2:] - view.boxes_xyxy[joined, :2]) / 2
    placed = np.concatenate([middle + shift - half, middle + shift + half], axis=1)
    view.anchors_xyxy[joined] = np.where(np.isnan(placed), view.anchors_xyxy[joined], placed)


def _leave_doubles(view: View, track_of: NDArray[np.intp]) -> None:
    """Mark free detections that show somebody already matched, so that they start no track; writes into `track_of`."""
    free, taken = (track_of == -1).nonzero()[0], (track_of >= 0).nonzero()[0]
    if not len(free) or not len(taken):
        return
    overlap = iou_matrix(view.boxes_xyxy[free], view.boxes_xyxy[taken])
    near = overlap.max(1) >= _TWICE_THE_SAME_IOU
    if not near.any():
        return
    xy, confidence = view.joints_xy, view.joints_confidence
    size = (view.boxes_xyxy[taken, 2:] - view.boxes_xyxy[taken, :2]).max(1).clip(1)
    variance = (2 * BODY_SIGMAS * _AREA_ROOT * size[:, None]) ** 2
    f, k = np.nonzero(overlap >= _TWICE_THE_SAME_IOU)
    same = oks_pairs(xy[taken[k]], xy[free[f]], variance_px2=variance[k], weight=confidence[free[f]])
    track_of[free[f[same >= _TWICE_THE_SAME_OKS]]] = -2

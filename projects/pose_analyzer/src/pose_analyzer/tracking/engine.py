"""What all trackers of this room do with a frame, around the one thing in which they differ: who is who.

A tracker hands over a function that says which row of `Tracks` each detection belongs to. The engine keeps time, puts the
detections in an order of their own, carries the tracks along with the camera, looks at people's looks, starts and confirms
tracks, and gives returning people their id back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.alone import follow
from pose_analyzer.tracking.appearance import Appearance
from pose_analyzer.tracking.association import iou_matrix
from pose_analyzer.tracking.camera_motion import CameraMotion
from pose_analyzer.tracking.kalman import BoxPrediction
from pose_analyzer.tracking.reentry import CLEAR_VIEWS, PATIENCE_S, Gallery, ReEntry
from pose_analyzer.tracking.settings import GmcMethod
from pose_analyzer.tracking.tracks import LOST, TRACKED, UNCONFIRMED, Tracks
from shared_utils.data_models import Poses

LOOK_KEPT = 0.9
"""Share of the known looks that stays when a clear view is added; BoT-SORT's value."""

# A view is clear when the box is covered by no other by more than this and no side of it lies on the picture's edge.
_MOST_COVERED = 0.25
_EDGE_PX = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The detections of one frame, in the engine's order.

    Args:
        poses: n people, in the order in which they came.
        order: (n,) row of `poses` of each detection.
        boxes_xyxy: (n, 4) float64 px.
        scores: (n,) float64.
        anchors_xyxy: (n, 4) px, what the motion is measured by; the boxes themselves unless the tracker has something better.
        looks: (n, d) of unit length, NaN = not seen; None without image or appearance.
        clear: (n,) views good enough to remember looks by.
        now_s: Media clock.
        joints_xy: (n, k, 2) px and
        joints_confidence: (n, k), where the tracker asks for them; else of k = 0.
    """

    poses: Poses
    order: NDArray[np.intp]
    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    anchors_xyxy: NDArray[np.float64]
    looks: NDArray[np.float64] | None
    clear: NDArray[np.bool_]
    now_s: float
    joints_xy: NDArray[np.float64]
    joints_confidence: NDArray[np.float64]


Associate = Callable[[View, BoxPrediction, Tracks], NDArray[np.intp]]
"""(n,) row of the track that each detection belongs to, -1 = none, -2 = none and no new one either (seen double)."""

Remember = Callable[[View, Tracks, NDArray[np.intp]], None]
"""Called with the (n,) row of each detection, new ones included, -1 = none, to fill the tracker's own columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the trackers tell the engine.

    Args:
        start_score: Least score of a new track.
        lost_s: How long a missed person is waited for, s.
        confirm_frames: Frames in a row after which a new person is confirmed.
        gmc_method: Camera motion, "none" to leave it out.
        reentry_s: How long people who left are remembered, s.
        min_similarity: Least similarity of looks for a return.
        min_margin: Least lead over the second best for a return.
        look_every_s: While everybody known is seen and nobody is close to another, looks are only refreshed this often, s; 0 = in every
            frame.
        warped: Names of columns that hold px positions (..., 2), carried along with the camera.
    """

    start_score: float
    lost_s: float
    confirm_frames: int = 2
    gmc_method: GmcMethod = "none"
    reentry_s: float = 0.0
    min_similarity: float = 1.0
    min_margin: float = 0.0
    look_every_s: float = 0.0
    warped: tuple[str, ...] = ()


class Engine:
    """Runs one stream's frames through an association.

    Args:
        rules: Limits.
        associate: Says who is who.
        appearance: Describes looks; None = do without.
        columns: The tracker's own columns of `Tracks`.
        remember: Fills them.
        joints: (n, k, 2) px and (n, k) confidence of the joints it compares, from the poses and their order.
        anchors: (n, 4) px boxes whose centres move with the body, from the joints and the boxes; default the detected boxes.
        hidden: (n,) whose anchors the association corrects, from the joints; default nobody's.
    """

    def __init__(
        self,
        rules: Rules,
        associate: Associate,
        *,
        appearance: Appearance | None = None,
        columns: Mapping[str, tuple[int, ...]] | None = None,
        remember: Remember | None = None,
        joints: Callable[[Poses, NDArray[np.intp]], tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None,
        anchors: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]] | None = None,
        hidden: Callable[[NDArray[np.float64]], NDArray[np.bool_]] | None = None,
    ) -> None:
        self._rules, self._associate, self._appearance, self._remember = rules, associate, appearance, remember
        self._joints, self._anchors, self._hidden = joints, anchors, hidden
        looks = {} if appearance is None else {"look": (appearance.size,), "views": ()}
        self._columns = {**(columns or {}), **looks}
        self.reset()

    def reset(self) -> None:
        """Forget everybody and count from 1 again."""
        rules = self._rules
        self.tracks = Tracks(lost_s=rules.lost_s, columns=self._columns)
        self.gallery = Gallery(keep_s=rules.reentry_s, min_similarity=rules.min_similarity, min_margin=rules.min_margin)
        self.reentries: list[ReEntry] = []
        self._looked_s = -np.inf
        self._camera = None if rules.gmc_method == "none" else CameraMotion(rules.gmc_method)

    def update(self, poses: Poses, timestamp_s: float, image: NDArray[np.uint8] | None) -> Poses:
        """The same rows with ids; see `Tracker.update`."""
        if (image is None or not self._must_look(timestamp_s)) and self._alone(poses, timestamp_s):
            return _with_ids(poses, self.tracks.ids.copy())
        ids = np.full(len(poses), -1, np.int64)
        if self.tracks.usable(timestamp_s):
            # In an order of their own, so that nothing below depends on the order of the rows.
            order = np.lexsort((poses.scores, *poses.boxes_xyxy.T))
            first = self.tracks.now_s is None
            self._forget(float(timestamp_s))
            view = self._view(poses, order, float(timestamp_s), image)
            ids[order] = self._identify(view, first=first)
        return _with_ids(poses, ids)

    def _must_look(self, now_s: float) -> bool:
        """Whether a frame in which nothing is in doubt needs its image."""
        return self._camera is not None or (self._appearance is not None and now_s - self._looked_s >= self._rules.look_every_s)

    def _in_doubt(self, boxes: NDArray[np.float64]) -> bool:
        """Whether anybody is new, missing or close to another."""
        tracks = self.tracks
        if len(tracks) != len(boxes) or (tracks.state != TRACKED).any():
            return True
        return bool((np.count_nonzero(iou_matrix(boxes, boxes), axis=1) > 1).any())

    def _alone(self, poses: Poses, now_s: float) -> bool:
        """One person known, one detected, and no doubt: everything the general way does then, in short. False = nothing was done."""
        tracks = self.tracks
        if len(poses.scores) != 1 or len(tracks) != 1 or not tracks.awaited(now_s) or poses.scores[0] < self._rules.start_score:
            return False
        view = None
        if self._remember is None:
            box = poses.boxes_xyxy[0].tolist()
        else:
            view = self._view(poses, np.zeros(1, np.intp), float(now_s), None)
            if self._hidden is not None and self._hidden(view.joints_xy).any():
                return False
            box = view.anchors_xyxy[0].tolist()
        if not follow(tracks.motion, box, float(now_s)):
            return False
        tracks.now_s = float(now_s)
        self.gallery.forget_old(now_s)
        tracks.hits[0] += 1
        tracks.state[0] = TRACKED
        if self._remember is not None and view is not None:
            self._remember(view, tracks, np.zeros(1, np.intp))
        return True

    def _forget(self, now_s: float) -> None:
        tracks = self.tracks
        gone = tracks.expired(now_s)
        tracks.now_s = now_s
        self.gallery.forget_old(now_s)
        if gone.any():
            if self._appearance is not None:
                known = gone & tracks.confirmed
                self.gallery.add(tracks.ids[known], tracks.columns["look"][known], tracks.motion.seen_s[known])
            tracks.keep(~gone)

    def _view(self, poses: Poses, order: NDArray[np.intp], now_s: float, image: NDArray[np.uint8] | None) -> View:
        boxes, scores = poses.boxes_xyxy[order].astype(np.float64), poses.scores[order].astype(np.float64)
        looks, clear = None, np.zeros(len(poses), bool)
        if image is not None:
            if self._camera is not None:
                self._carry(self._camera.update(image, boxes))
            if self._appearance is not None and (self._must_look(now_s) or self._in_doubt(boxes)):
                self._looked_s = now_s
                looks = self._appearance.describe(image, poses)[order]
                clear = _clear_views(boxes, image.shape[1], image.shape[0]) & ~np.isnan(looks).any(1) & (scores >= self._rules.start_score)
        xy, confidence = (np.zeros((len(boxes), 0, 2)), np.zeros((len(boxes), 0))) if self._joints is None else self._joints(poses, order)
        anchors = boxes if self._anchors is None else self._anchors(xy, boxes)
        return View(poses, order, boxes, scores, anchors, looks, clear, now_s, xy, confidence)

    def _carry(self, affine: NDArray[np.float64]) -> None:
        self.tracks.motion.warp(affine)
        for name in self._rules.warped:
            # These are positions relative to the track's centre: turned and scaled, not shifted.
            self.tracks.columns[name] = self.tracks.columns[name] @ affine[:, :2].T

    def _identify(self, view: View, *, first: bool) -> NDArray[np.int64]:
        tracks, rules = self.tracks, self._rules
        prediction = tracks.motion.predict(view.now_s)
        rows = self._associate(view, prediction, tracks)
        matched = (rows >= 0).nonzero()[0]
        tracks.motion.update(prediction, rows[matched], view.anchors_xyxy[matched], view.now_s)
        starting = ((rows == -1) & (view.scores >= rules.start_score)).nonzero()[0]
        rows[starting] = tracks.add(view.anchors_xyxy[starting], view.now_s)
        seen = (rows >= 0).nonzero()[0]
        tracks.hits[rows[seen]] += 1
        if view.looks is not None:
            self._learn_looks(view, rows)
        if self._remember is not None:
            self._remember(view, tracks, rows)
        self._confirm(view, rows, seen, first=first)
        ids = np.full(len(rows), -1, np.int64)
        ids[seen] = tracks.ids[rows[seen]]
        tracks.settle(rows[seen])
        return ids

    def _confirm(self, view: View, rows: NDArray[np.intp], seen: NDArray[np.intp], *, first: bool) -> None:
        tracks = self.tracks
        newcomers = seen[tracks.state[rows[seen]] == UNCONFIRMED]
        if not first:
            newcomers = newcomers[tracks.hits[rows[newcomers]] >= self._rules.confirm_frames]
        if not len(newcomers):
            return
        ready = rows[newcomers]
        area = np.zeros(len(tracks))
        area[ready] = (view.boxes_xyxy[newcomers, 2:] - view.boxes_xyxy[newcomers, :2]).prod(1)
        ready = np.sort(ready)
        if not first and view.looks is not None and self._rules.reentry_s > 0:
            ready = self._recognise(ready, view.now_s)
        tracks.confirm(ready, area[ready])

    def _learn_looks(self, view: View, rows: NDArray[np.intp]) -> None:
        """Add the clear views to the tracks' looks."""
        assert view.looks is not None  # noqa: S101 - the caller asked
        good = np.flatnonzero((rows >= 0) & view.clear)
        at = rows[good]
        known = self.tracks.columns["look"][at]
        new = np.isnan(known).any(1, keepdims=True)
        mixed = np.where(new, view.looks[good], LOOK_KEPT * known + (1 - LOOK_KEPT) * view.looks[good])
        self.tracks.columns["look"][at] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        self.tracks.columns["views"][at] = np.nan_to_num(self.tracks.columns["views"][at]) + 1

    def _recognise(self, ready: NDArray[np.intp], now_s: float) -> NDArray[np.intp]:
        """Those of the newcomers that can be confirmed now; who is known gets the old id."""
        tracks, gallery = self.tracks, self.gallery
        lost = np.flatnonzero(tracks.state == LOST)
        lost = lost[~np.isnan(tracks.columns["look"][lost, 0])]
        if not len(gallery) and not len(lost):
            return ready
        views, looks = np.nan_to_num(tracks.columns["views"]), tracks.columns["look"]
        judged = (views[ready] >= CLEAR_VIEWS) | (now_s - tracks.started_s[ready] >= PATIENCE_S)
        for row in ready[judged & (views[ready] > 0)].tolist():
            missing = Gallery(keep_s=np.inf, min_similarity=0, min_margin=0)
            missing.add(tracks.ids[lost], looks[lost], tracks.motion.seen_s[lost])
            in_view = (tracks.ids > 0) & (tracks.state != LOST)
            found = gallery.recognise(looks[row], looks[in_view], now_s, missing=missing)
            if found is not None:
                self.reentries.append(found)
                gallery.discard(found.track_id)
                # Whoever was still waited for under this id is this newcomer: that row is nobody's now and goes with the frame.
                old = lost[tracks.ids[lost] == found.track_id]
                tracks.ids[old], tracks.state[old] = -1, UNCONFIRMED
                lost = lost[tracks.ids[lost] > 0]
                tracks.ids[row] = found.track_id
        return ready[judged]


def _clear_views(boxes: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """(n,) boxes away from the picture's sides and mostly their own."""
    overlap = iou_matrix(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    inside = (boxes[:, 0] > _EDGE_PX) & (boxes[:, 2] < width - _EDGE_PX)
    return inside & (overlap.max(1, initial=0) <= _MOST_COVERED) & (boxes[:, 3] - boxes[:, 1] > 0.05 * height)


def _with_ids(poses: Poses, ids: NDArray[np.int64]) -> Poses:
    """`poses` with other ids; everything else is what was validated before, so it is not validated again."""
    named = object.__new__(Poses)
    named.__dict__.update(poses.__dict__)
    object.__setattr__(named, "track_ids", ids)
    return named

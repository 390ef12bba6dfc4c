"""ByteTrack on true time: boxes matched in order of trust, the surest first, the doubtful as a second chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pose_analyzer.tracking.association import assign, iou_matrix, lone_pairs
from pose_analyzer.tracking.kalman import BoxKalman, BoxPrediction
from shared_utils.data_models import Poses
from shared_utils.errors import ConfigError

BUFFER_RATE_HZ = 30.0
"""`track_buffer` counts frames of this rate, as in the authors' code, whatever the stream's own."""

# Limits of the second and third association in the authors' code.
_LOW_SCORE_COST = 0.5
_UNCONFIRMED_COST = 0.7
# A lone track takes a lone detection inside the 99.9 % gate of its centre (chi squared, 2 degrees of freedom), or
# within half a body length: so far the centre moves when somebody drops to the floor. The longer sides must agree by
# a factor of 3: whoever lies with head or feet to the camera shows the breadth of the shoulders, a third of the stature.
_LONE_GATE = 13.8
_LONE_DISTANCE = 0.5
_LONE_SIZE_RATIO = 3.0
_TIME_TOLERANCE_S = 1e-6


class _State(IntEnum):
    UNCONFIRMED = 0
    TRACKED = 1
    LOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTrackConfig:
    """Settings of `ByteTracker`, named as in ultralytics' tracker files.

    Args:
        track_high_thresh: Least score 0..1 for the first association and for new tracks. Default 0.25.
        track_low_thresh: Least score 0..1 for the second association; what is below is not looked at.
            Default 0.1.
        new_track_thresh: Least score 0..1 to start a track. Default 0.25.
        track_buffer: How long a track waits for its person, in frames of 30 Hz: 30 is 1.0 s in a stream of
            any rate. Default 30.
        match_thresh: Greatest cost 0..1 of the first association, 1 - overlap (times score). Default 0.8.
        fuse_score: Multiply the overlap by the detection's score. Default true.

    Raises:
        ConfigError: A value is out of range.
    """

    track_high_thresh: float = 0.25
    track_low_thresh: float = 0.1
    new_track_thresh: float = 0.25
    track_buffer: float = 30
    match_thresh: float = 0.8
    fuse_score: bool = True

    def __post_init__(self) -> None:
        for name in ("track_high_thresh", "track_low_thresh", "new_track_thresh", "match_thresh", "track_buffer"):
            value, highest = getattr(self, name), math.inf if name == "track_buffer" else 1
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest or math.isinf(value):
                raise ConfigError(f"{name} must be a number {'of 0 or more' if highest > 1 else 'in 0..1'}, got {value!r}")
        if not isinstance(self.fuse_score, bool):
            raise ConfigError(f"fuse_score must be true or false, got {self.fuse_score!r}")
        if self.track_low_thresh > self.track_high_thresh:
            raise ConfigError(f"track_low_thresh ({self.track_low_thresh}) must not exceed track_high_thresh ({self.track_high_thresh})")

    @property
    def lost_budget_s(self) -> float:
        """How long a track waits for its person, seconds."""
        return self.track_buffer / BUFFER_RATE_HZ


class ByteTracker:
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

    Args:
        config: Settings as an object; or give them by keyword:
        **settings: The fields of `ByteTrackConfig`.

    Raises:
        ConfigError: A setting is unknown or out of range, or both forms are given.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> def frame(x):
        ...     return Poses(
        ...         boxes_xyxy=np.array([[x, 0, x + 40, 100]]), scores=np.ones(1), skeleton=COCO_17,
        ...         keypoints_xy=np.full((1, 17, 2), np.nan), keypoint_confidence=np.zeros((1, 17)))
        >>> tracker = ByteTracker(track_buffer=60)
        >>> [int(tracker.update(frame(10 * i), timestamp_s=0.1 * i).track_ids[0]) for i in range(3)]
        [1, 1, 1]
    """

    def __init__(self, config: ByteTrackConfig | None = None, **settings: Any) -> None:
        if config is not None and settings:
            raise ConfigError("give ByteTracker either a config or settings by keyword, not both")
        self.config = config or _config_from(settings, "ByteTracker")
        self.reset()

    @classmethod
    def from_yaml(cls, path: str | Path) -> ByteTracker:
        """A tracker with the settings of a YAML file in ultralytics' form.

        Args:
            path: Keys are those of `ByteTrackConfig`, all optional; `tracker_type`, if given, is `bytetrack`.

        Raises:
            ConfigError: The file cannot be read, or a key is unknown (the text names the nearest) or its value
                out of range.
        """
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read tracker settings from {path}: {error}") from error
        settings = {} if content is None else content
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{path} must hold `key: value` lines, got a {type(settings).__name__}")
        kind = settings.get("tracker_type", "bytetrack")
        if kind != "bytetrack":
            raise ConfigError(f"{path} is for tracker_type {kind!r}; ByteTracker takes 'bytetrack'")
        return cls(_config_from({k: v for k, v in settings.items() if k != "tracker_type"}, str(path)))

    def reset(self) -> None:
        """Forget everybody and count from 1 again."""
        self._motion = BoxKalman()
        self._ids = np.zeros(0, np.int64)
        self._state = np.zeros(0, np.int8)
        self._last_id = 0
        self._now_s: float | None = None

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """The same rows in the same order, ids added; see `Tracker.update`.

        Args:
            poses: Everybody detected in one frame.
            timestamp_s: Media clock in seconds.

        Returns:
            `poses` with `track_ids`; -1 = not yet confirmed, too low a score, or a frame of unusable time.
        """
        ids = np.full(len(poses), -1, np.int64)
        before_s = self._now_s
        if math.isfinite(timestamp_s) and (before_s is None or timestamp_s >= before_s):
            self._now_s = now_s = float(timestamp_s)
            # In an order of their own, so that nothing below depends on the order of the rows.
            order = np.lexsort((poses.scores, *poses.boxes_xyxy.T))
            boxes, scores = poses.boxes_xyxy[order].astype(np.float64), poses.scores[order].astype(np.float64)
            self._drop_expired(before_s, now_s)
            ids[order] = self._identify(boxes, scores, now_s, first=before_s is None)
        return poses.replace(track_ids=ids)

    def _drop_expired(self, before_s: float | None, now_s: float) -> None:
        """Drop those missed for longer than the budget; after a gap as long as that, everybody.

        The frame before is the last in which anybody could be missed.
        """
        longest_s = self.config.lost_budget_s + _TIME_TOLERANCE_S
        if before_s is not None:
            self._keep((before_s - self._motion.seen_s <= longest_s) & (now_s - before_s <= longest_s))

    def _identify(self, boxes: NDArray[np.float64], scores: NDArray[np.float64], now_s: float, *, first: bool) -> NDArray[np.int64]:
        """(n,) ids of the detections of one frame."""
        ids = np.full(len(boxes), -1, np.int64)
        prediction = self._motion.predict(now_s)
        track_of = self._associate(prediction, boxes, scores)
        matched = np.flatnonzero(track_of >= 0)
        tracks = track_of[matched]
        self._motion.update(prediction, tracks, boxes[matched], now_s)
        new = self._state[tracks] == _State.UNCONFIRMED
        self._ids[tracks[new]] = self._number(boxes[matched[new]])
        ids[matched] = self._ids[tracks]
        self._settle(tracks)
        starting = (track_of < 0) & (scores >= max(self.config.new_track_thresh, self.config.track_high_thresh))
        ids[starting] = self._start(boxes[starting], now_s, confirmed=first)
        return ids

    def _associate(self, prediction: BoxPrediction, boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.intp]:
        """(n,) row of the track that each detection belongs to, -1 = none."""
        config = self.config
        track_of = np.full(len(boxes), -1, np.intp)
        if not len(boxes) or not len(self._ids):
            return track_of
        high = scores >= config.track_high_thresh
        low = ~high & (scores >= config.track_low_thresh)
        overlap = iou_matrix(prediction.boxes_xyxy, boxes)
        cost = 1 - overlap
        fused = 1 - overlap * scores if config.fuse_score else cost

        def match(tracks: NDArray[np.bool_], detections: NDArray[np.bool_], costs: NDArray[np.float64], limit: float) -> None:
            rows, columns = _free(tracks, track_of), np.flatnonzero(detections & (track_of < 0))
            if len(rows) and len(columns):
                r, c = assign(costs[np.ix_(rows, columns)], limit)
                track_of[columns[c]] = rows[r]

        match(self._state != _State.UNCONFIRMED, high, fused, config.match_thresh)
        match(self._state == _State.TRACKED, low, cost, _LOW_SCORE_COST)
        match(self._state == _State.UNCONFIRMED, high, fused, _UNCONFIRMED_COST)
        _match_lone(prediction, boxes, high, track_of)
        return track_of

    def _settle(self, tracks: NDArray[np.intp]) -> None:
        """`tracks` were seen: confirmed. Of the others, those never confirmed are noise and go."""
        missed = np.ones(len(self._ids), bool)
        missed[tracks] = False
        noise = missed & (self._state == _State.UNCONFIRMED)
        self._state = np.where(missed, _State.LOST, _State.TRACKED).astype(np.int8)
        self._keep(~noise)

    def _start(self, boxes: NDArray[np.float64], now_s: float, *, confirmed: bool) -> NDArray[np.int64]:
        """Ids of the new tracks, one per box; -1 while unconfirmed."""
        ids = self._number(boxes) if confirmed else np.full(len(boxes), -1, np.int64)
        if len(boxes):
            self._motion.append(boxes, now_s)
            self._ids = np.concatenate([self._ids, ids])
            state = _State.TRACKED if confirmed else _State.UNCONFIRMED
            self._state = np.concatenate([self._state, np.full(len(boxes), state, np.int8)])
        return ids

    def _number(self, boxes: NDArray[np.float64]) -> NDArray[np.int64]:
        """The next free ids, one per box, the largest box first."""
        ids = np.empty(len(boxes), np.int64)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        ids[np.argsort(-area, kind="stable")] = self._last_id + 1 + np.arange(len(boxes))
        self._last_id += len(boxes)
        return ids

    def _keep(self, rows: NDArray[np.bool_]) -> None:
        if not rows.all():
            self._motion.keep(rows)
            self._ids, self._state = self._ids[rows], self._state[rows]


def _match_lone(prediction: BoxPrediction, boxes: NDArray[np.float64], high: NDArray[np.bool_], track_of: NDArray[np.intp]) -> None:
    """Join a free track and a free detection that have nobody else near; writes into `track_of`."""
    free_tracks = _free(np.ones(len(prediction.position), bool), track_of)
    free_boxes = np.flatnonzero(high & (track_of < 0))
    if not len(free_tracks) or not len(free_boxes):
        return
    # A body that was folding up when it was lost has either gone on or turned back: both are believed.
    states = (prediction.position, prediction.seen)
    possible = np.any([_alike(state, boxes, prediction.centre_distance(boxes) <= _LONE_GATE) for state in states], axis=0)
    rows, columns = lone_pairs(possible)
    free = np.isin(rows, free_tracks) & np.isin(columns, free_boxes)
    track_of[columns[free]] = rows[free]


def _alike(state: NDArray[np.float64], boxes: NDArray[np.float64], expected: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(t, n) whether boxes of (t, 4) states are about as large as (n, 4) px boxes, and near to them or expected there."""
    known = state[:, 2:].max(1).clip(1)[:, None]
    seen = (boxes[:, 2:] - boxes[:, :2]).max(1).clip(1)[None]
    similar = np.maximum(known / seen, seen / known) <= _LONE_SIZE_RATIO
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = np.linalg.norm(state[:, None, :2] - centres, axis=-1) / np.maximum(known, seen)
    return similar & ((distance <= _LONE_DISTANCE) | expected)


def _free(tracks: NDArray[np.bool_], track_of: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of the (t,) mask that no detection has been given yet."""
    free = tracks.copy()
    free[track_of[track_of >= 0]] = False
    return np.flatnonzero(free)


def _config_from(settings: Mapping[str, Any], where: str) -> ByteTrackConfig:
    names = [f.name for f in fields(ByteTrackConfig)]
    for key in settings:
        if key not in names:
            near = get_close_matches(str(key), names, n=1, cutoff=0.0)
            raise ConfigError(f"{where}: unknown setting {key!r}; did you mean {near[0]!r}? There are {', '.join(names)}")
    return ByteTrackConfig(**settings)

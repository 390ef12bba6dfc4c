"""Where people will be when a picture of them is on the screen: predicted one frame ahead, for drawing only."""

from __future__ import annotations

import math

import numpy as np

from pose_analyzer.smoothing.extrapolation import damped
from pose_analyzer.smoothing.motion import MotionAnalyzer
from pose_analyzer.smoothing.tracks import Array, require_finite_at_least, require_positive
from shared_utils.data_models import Origin, Poses
from shared_utils.errors import ValidationError

_DECAY_S = 0.12
_SLOW = 0.15  # body heights per second; slower points stay where they are, so that rest stays at rest


class DisplayPredictor:
    """Moves skeletons ahead by the time that passes until they are drawn.

    Every keypoint goes on with its velocity, which dies away within about a tenth of a second, by the time ahead. Points slower than about
    0.15 body heights per second keep still. Measurements must not use the result: its rows have
    origin `PREDICTED`.

    Args:
        ahead_s: Time to look ahead, seconds, 0..0.25. Default: one frame, as measured from the stream (median of the last
            steps).
        window_s: Readings that old make the velocity, seconds.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> def person(x):
        ...     return Poses(boxes_xyxy=[[0, 0, 50, 100]], scores=[1], keypoints_xy=np.full((1, 17, 2), x),
        ...                  keypoint_confidence=np.ones((1, 17)), track_ids=[1], skeleton=COCO_17)
        >>> ahead = DisplayPredictor(ahead_s=0.02)
        >>> for i in range(5):
        ...     shown = ahead.update(person(3.0 * i), timestamp_s=i / 30)
        >>> bool(shown.keypoints_xy[0, 0, 0] > 12.0)
        True
    """

    def __init__(self, *, ahead_s: float | None = None, window_s: float = 0.07) -> None:
        require_positive(window_s=window_s)
        if ahead_s is not None:
            require_finite_at_least(0, ahead_s=ahead_s)
            if ahead_s > 0.25:
                raise ValidationError(f"ahead_s must be at most 0.25, got {ahead_s}; nobody's movement is known for longer")
        self._ahead_s = ahead_s
        self._motion = MotionAnalyzer(window_s=window_s)
        self._steps_s: list[float] = []
        self._last_s = -math.inf

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """The same rows, tracked people moved ahead; people without a track and points without a velocity stay.

        Raises:
            ValidationError: `timestamp_s` is not finite, ids repeat, or the skeleton changed.
        """
        motion = self._motion.update(poses, timestamp_s=timestamp_s)
        if motion.timestamp_s != timestamp_s:  # the clock stood still
            return poses
        if 0 < timestamp_s - self._last_s < math.inf:
            self._steps_s = [*self._steps_s[-8:], min(timestamp_s - self._last_s, 0.25)]
        self._last_s = float(timestamp_s)
        ahead_s = self._ahead_s if self._ahead_s is not None else (float(np.median(self._steps_s)) if self._steps_s else 0.0)
        rows = np.flatnonzero(poses.track_ids >= 0)
        if not len(rows) or ahead_s == 0.0:
            return poses
        shift = self._shift(motion.velocity, ahead_s) * _heights(poses)[rows, None, None]
        xy, boxes, origin = poses.keypoints_xy.copy(), poses.boxes_xyxy.copy(), poses.origin.copy()
        xy[rows] += shift.astype(np.float32)
        boxes[rows] += np.tile(_middle_shift(shift), (1, 2)).astype(np.float32)
        origin[rows] = Origin.PREDICTED
        return poses.replace(keypoints_xy=xy, boxes_xyxy=boxes, origin=origin)

    def forget(self, track_id: int) -> None:
        """Drop the state of one track; unknown ids are ignored."""
        self._motion.forget(track_id)

    def reset(self) -> None:
        """Drop everything, as at the start of a stream."""
        self._motion.reset()
        self._steps_s.clear()
        self._last_s = -math.inf

    @staticmethod
    def _shift(velocity: Array, ahead_s: float) -> Array:
        velocity = np.nan_to_num(velocity)
        ratio = (np.sqrt((velocity**2).sum(-1, keepdims=True)) / _SLOW) ** 4
        return damped(np.zeros_like(velocity), velocity * (ratio / (1 + ratio)), ahead_s, _DECAY_S)


def _heights(poses: Poses) -> Array:
    boxes = poses.boxes_xyxy.astype(np.float64)
    return np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0), 1.0)


def _middle_shift(shift: Array) -> Array:
    return np.median(shift, axis=1)

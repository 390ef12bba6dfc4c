"""Says when the camera stands where the exercise cannot be measured well, and where to put it: `camera_misplaced` events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose_analyzer.biomechanics import Placement, camera_direction_deg, check_placement
from shared_utils.data_models import Angles, Event, EventType, Frame, Poses

# Five looks a second for three seconds: long enough to be sure, and of no weight beside the rest.
_INTERVAL_S, _WINDOW_S, _LEAST = 0.2, 3.0, 10
# Whoever turns further than this within the window is on the way to the place, not in it.
_STEADY_DEG = 20.0
_UPRIGHT_DEG = 30.0
_WORTH_DEG = 10.0
# The same advice to the same person again.
_COOLDOWN_S = 60.0

_Look = tuple[float, float, float, float]  # time, azimuth, elevation (NaN unless upright), height in px


class PlacementAnalyzer:
    """Judges the camera by each person of one stream once they keep still towards it.

    Args:
        stream_id: Stream named in the events.
        exercise: Name of the profile; None judges only distance and height.

    Example:
        >>> from pose_analyzer.biomechanics import joint_angles
        >>> from shared_utils.skeletons import COCO_17
        >>> nobody = Poses.empty(COCO_17)
        >>> frame = Frame(np.zeros((2, 2, 3), np.uint8), index=0, timestamp_s=0.0)
        >>> PlacementAnalyzer("cam", "squat").update(nobody, joint_angles(nobody, timestamp_s=0.0), frame)
        []
    """

    def __init__(self, stream_id: str, exercise: str | None) -> None:
        self._stream_id, self._exercise = stream_id, exercise
        self._looks: dict[int, deque[_Look]] = {}
        self._told: dict[int, tuple[float, str]] = {}
        self._last_s = -math.inf

    def update(self, people: Poses, angles: Angles, frame: Frame) -> list[Event]:
        """Take in a frame.

        Args:
            people: Tracked, smoothed people.
            angles: Theirs, in the same rows.
            frame: The frame.
        """
        now = frame.timestamp_s
        if now < self._last_s:  # the clock has started anew
            self._looks.clear()
            self._told.clear()
        elif now < self._last_s + _INTERVAL_S or not len(people):
            return []
        self._last_s = now
        azimuth, elevation = camera_direction_deg(people)
        upright = angles["trunk_lean_deg"] < _UPRIGHT_DEG
        heights = people.boxes_xyxy[:, 3] - people.boxes_xyxy[:, 1]
        sizes = np.maximum(heights, people.boxes_xyxy[:, 2] - people.boxes_xyxy[:, 0])
        events: list[Event] = []
        for row, track_id in enumerate(people.track_ids.tolist()):
            looks = self._looks.setdefault(track_id, deque())
            look = (now, float(azimuth[row]), float(elevation[row]) if upright[row] else math.nan, float(sizes[row]))
            looks.append(look)
            while looks[0][0] < now - _WINDOW_S:
                looks.popleft()
            events += self._judged(track_id, looks, frame)
        for track_id in [t for t, looks in self._looks.items() if looks[-1][0] < now - _WINDOW_S]:
            del self._looks[track_id]
        return events

    def _judged(self, track_id: int, looks: Sequence[_Look], frame: Frame) -> list[Event]:
        if len(looks) < _LEAST or looks[-1][0] - looks[0][0] < 0.8 * _WINDOW_S:
            return []
        _, azimuth, elevation, height = np.array(looks).T
        known = azimuth[np.isfinite(azimuth)]
        if len(known) < _LEAST:
            return []
        placement = check_placement(azimuth, self._exercise, elevation_deg=elevation, height_px=height)
        turned = np.abs((known - placement.azimuth_deg + 180.0) % 360.0 - 180.0)
        # The direction comes first among the advice; nobody moves a tripod for a few degrees, which cannot be told exactly, either.
        advice = placement.advice[1:] if 0 < placement.off_deg < _WORTH_DEG else placement.advice
        if not advice or float(np.quantile(turned, 0.9)) > _STEADY_DEG:
            return []
        return self._event(track_id, replace(placement, advice=advice), looks[0][0], frame)

    def _event(self, track_id: int, placement: Placement, since_s: float, frame: Frame) -> list[Event]:
        # Figures in the sentence change from look to look; what it is about does not.
        about = "".join(c for c in placement.advice[0] if not c.isdigit())
        told_s, told = self._told.get(track_id, (-math.inf, ""))
        if about == told and frame.timestamp_s < told_s + _COOLDOWN_S:
            return []
        self._told[track_id] = (frame.timestamp_s, about)
        sentence = placement.advice[0]
        return [
            Event(
                EventType.CAMERA_MISPLACED,
                self._stream_id,
                track_id,
                since_s,
                frame.timestamp_s,
                value=round(placement.off_deg, 1),
                unit="deg",
                frames=(frame.index,),
                message=sentence[0].upper() + sentence[1:],
                data={"advice": list(placement.advice), "azimuth_deg": round(placement.azimuth_deg, 1), "level": "info"},
            )
        ]

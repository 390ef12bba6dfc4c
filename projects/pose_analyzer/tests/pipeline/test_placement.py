"""Advice on where the camera stands: given when somebody keeps still before a badly placed one, once, and not otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.pipeline.placement import PlacementAnalyzer
from pose_analyzer.synthetic import scene_for
from shared_utils import Event, EventType, Frame, Poses

_PICTURE = np.zeros((2, 2, 3), np.uint8)


def seen_from(azimuth_deg: float, *, exercise: str = "squat", height: int = 640, reps: int = 3) -> Iterator[tuple[Poses, float]]:
    """True landmarks of an athlete, 10 a second."""
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, reps=reps, width=480, height=height, fps=10)
    for i in range(60):
        poses = scene.truth_at(i).poses()
        yield poses.replace(keypoint_confidence=np.ones((1, 33)), track_ids=np.array([4])), i / 10


def told(analyzer: PlacementAnalyzer, people: Iterator[tuple[Poses, float]]) -> list[Event]:
    return [
        event
        for i, (poses, now) in enumerate(people)
        for event in analyzer.update(poses, joint_angles(poses, timestamp_s=now), Frame(_PICTURE, index=i, timestamp_s=now))
    ]


def test_a_squat_from_the_front_is_advised_once_to_move_the_camera():
    [event] = told(PlacementAnalyzer("cam", "squat"), seen_from(10))
    assert (event.type, event.track_id, event.stream_id) == (EventType.CAMERA_MISPLACED, 4, "cam")
    assert 2.0 < event.end_s < 4.0
    assert "move it" in event.message
    assert event.value == pytest.approx(50, abs=10)


@pytest.mark.parametrize(
    ("exercise", "azimuth_deg"), [("squat", 90), ("squat", -75), ("squat", 55), ("lateral_raise", 0), ("lateral_raise", 180)]
)
def test_a_well_placed_camera_hears_nothing(exercise, azimuth_deg):
    assert told(PlacementAnalyzer("cam", exercise), seen_from(azimuth_deg, exercise=exercise)) == []


def test_somebody_far_away_is_told_so_whatever_they_do():
    [event] = told(PlacementAnalyzer("cam", None), seen_from(90, height=150))
    assert "px tall" in event.message


def test_whoever_turns_is_not_in_place_yet():
    def turning() -> Iterator[tuple[Poses, float]]:
        for i in range(60):
            [(poses, _)] = [next(seen_from(-90.0 + 3.0 * i))]
            yield poses, i / 10

    assert told(PlacementAnalyzer("cam", "squat"), turning()) == []


def test_a_clock_that_starts_anew_and_people_without_metric_landmarks_are_no_trouble():
    analyzer = PlacementAnalyzer("cam", "squat")
    assert len(told(analyzer, seen_from(0))) == 1
    assert len(told(analyzer, seen_from(0))) == 1  # the media clock begins at 0 again
    flat = ((poses.replace(world_xyz_m=None), now + 100) for poses, now in seen_from(0))
    assert told(analyzer, flat) == []

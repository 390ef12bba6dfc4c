"""Counting judged by the athlete's own truth: exact for every exercise, from several cameras, at several rates."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.exercise import RepetitionCounter, load_profile
from pose_analyzer.smoothing import OneEuroPoseFilter
from pose_analyzer.synthetic import scene_for

COUNTED = (
    "squat", "push_up", "bicep_curl", "hammer_curl", "lunge", "overhead_press", "deadlift", "sit_up", "jumping_jack", "lateral_raise",
    "pull_up",
)  # fmt: skip


def true_poses(scene, index):
    """All landmarks where they are, hidden ones too: what a perfect detector would say."""
    poses = scene.truth_at(index).poses()
    return poses.replace(keypoint_confidence=np.ones_like(poses.keypoint_confidence))


def count(scene, exercise):
    """(completed, partial) repetitions told from the scene's true landmarks."""
    counter, smoother = RepetitionCounter(load_profile(exercise)), OneEuroPoseFilter()
    events = []
    for index, timestamp_s in enumerate(scene.timestamps_s):
        poses = smoother.update(true_poses(scene, index), timestamp_s=timestamp_s)
        angles = joint_angles(poses, timestamp_s=timestamp_s)
        events += counter.update(angles, timestamp_s=timestamp_s, frame_index=index)
    events += counter.flush()
    kinds = [e.type.value for e in events]
    return kinds.count("rep_completed"), kinds.count("rep_partial")


@pytest.mark.parametrize("azimuth_deg", [0, 45, 90])
@pytest.mark.parametrize("exercise", COUNTED)
def test_every_repetition_of_every_exercise_is_counted_once(exercise, azimuth_deg):
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, reps=4, fps=20, width=320, height=240)
    assert count(scene, exercise)[0] == 4


@pytest.mark.parametrize("fps", [8, 15, 60])
def test_the_frame_rate_does_not_matter(fps):
    scene = scene_for("squat", azimuth_deg=30, reps=3, fps=fps, width=320, height=240)
    assert count(scene, "squat")[0] == 3


def test_partial_repetitions_are_told_but_not_counted():
    scene = scene_for("squat", azimuth_deg=45, reps=5, fps=20, partial={3: 0.6}, width=320, height=240)
    true = scene.repetitions(1)
    assert sum(r.partial for r in true) == 1
    assert count(scene, "squat") == (sum(r.counts for r in true), 1)


@pytest.mark.parametrize("exercise", ["plank", "wall_sit"])
def test_holds_are_timed(exercise):
    scene = scene_for(exercise, azimuth_deg=60, fps=10, width=320, height=240)
    counter = RepetitionCounter(load_profile(exercise))
    events = []
    for index, timestamp_s in enumerate(scene.timestamps_s):
        angles = joint_angles(true_poses(scene, index), timestamp_s=timestamp_s)
        events += counter.update(angles, timestamp_s=timestamp_s, frame_index=index)
    events += counter.flush()
    held = [e for e in events if e.type.value == "hold_completed"]
    (true,) = scene.holds(1)
    assert len(held) == 1
    assert held[0].duration_s == pytest.approx(true.turn_end_s - true.turn_start_s, abs=1.5)

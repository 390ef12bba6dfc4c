"""Holds of which a view shows only a part, and the scenes that showed why: heads, feet and lenses in line."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer import Pipeline, scene_for
from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import RepetitionCounter, load_profile
from shared_utils.data_models import Angles

LEVEL = {"trunk_rise": 5.0, "upper_arm_lean": 10.0, "hip_flexion_in_plane": 10.0, "knee_flexion_in_plane": 10.0}


def held_s(posture, *, exercise="plank", end_s=5.0, fps=10.0):
    """Seconds of the holds told of somebody who keeps that posture, a mapping or a function of time."""
    counter = RepetitionCounter(load_profile(exercise))
    names = tuple(f"{side}_{name}_deg" for name in LEVEL for side in ("left", "right"))
    events = []
    for i in range(int(end_s * fps) + 1):
        now = posture(i / fps) if callable(posture) else posture
        values = [LEVEL[name] if name not in now else now[name] for name in LEVEL for _ in ("left", "right")]
        angles = Angles(names, np.array([1]), np.array([values]))
        events += counter.update(angles, timestamp_s=i / fps, frame_index=i)
    return [e.value for e in events + counter.flush()]


def test_a_plank_that_is_seen_whole_is_held():
    assert held_s({}) == [5.0]


@pytest.mark.parametrize(
    "hidden", [("hip_flexion_in_plane", "knee_flexion_in_plane"), ("upper_arm_lean",), ("upper_arm_lean", "knee_flexion_in_plane")]
)
def test_what_the_view_hides_is_not_held_against_the_athlete(hidden):
    assert held_s(dict.fromkeys(hidden, np.nan)) == [5.0]


@pytest.mark.parametrize(
    "fault", [{"hip_flexion_in_plane": 70.0}, {"knee_flexion_in_plane": 80.0}, {"upper_arm_lean": 90.0}, {"trunk_rise": 85.0}]
)
def test_what_the_view_shows_must_be_right(fault):
    assert held_s(fault) == []
    assert held_s({"hip_flexion_in_plane": np.nan, "knee_flexion_in_plane": np.nan} | fault) == []


def test_without_the_trunk_there_is_no_plank():
    assert held_s({"trunk_rise": np.nan}) == []


def test_legs_that_come_into_view_bent_end_the_hold():
    (first,) = held_s(lambda t: {"knee_flexion_in_plane": np.nan if t < 4 else 80.0}, end_s=7)
    assert first == pytest.approx(3.9, abs=0.11)


def test_legs_that_flicker_into_view_for_a_moment_do_not():
    assert held_s(lambda t: {"knee_flexion_in_plane": 80.0 if 2.0 < t < 2.35 else np.nan}, end_s=5) == [5.0]


def test_a_hold_that_requires_nothing_is_refused(tmp_path):
    path = tmp_path / "lying.yaml"
    path.write_text("name: lying\ndescription: Nothing.\nlimits: [{angle: trunk_rise, max_deg: 20, required: false}]\n", encoding="utf-8")
    with pytest.raises(ExerciseError, match="first limit must be required"):
        load_profile(path)


@pytest.mark.parametrize("azimuth_deg", [0, 90])
@pytest.mark.parametrize("exercise", ["squat", "deadlift", "sit_up", "jumping_jack", "wall_sit"])
def test_no_other_exercise_is_a_plank(exercise, azimuth_deg):
    """Judged by true landmarks: all of them known, as no camera would show them."""
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, reps=2, fps=8, width=160, height=120)
    counter = RepetitionCounter(load_profile("plank"))
    for index, timestamp_s in enumerate(scene.timestamps_s):
        poses = scene.truth_at(index).poses()
        poses = poses.replace(keypoint_confidence=np.ones_like(poses.keypoint_confidence))
        angles = joint_angles(poses, timestamp_s=timestamp_s)
        assert counter.update(angles, timestamp_s=timestamp_s, frame_index=index) == []
    assert counter.flush() == []


# --- the athlete, filmed along the movement, by the whole chain ----------------------------------------
@pytest.mark.parametrize(
    ("exercise", "azimuth_deg", "more"),
    [
        ("plank", 0, {"hold_s": 3.5, "fps": 8}),
        ("plank", 30, {"hold_s": 3.5, "fps": 8}),
        ("sit_up", 0, {"fps": 15, "width": 480, "height": 640}),
        ("jumping_jack", 90, {"fps": 30}),
    ],
)
def test_the_athlete_is_counted_when_filmed_along_the_movement(exercise, azimuth_deg, more):
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, **({"width": 240, "height": 320, "antialias": False} | more))
    with Pipeline(exercise=exercise, max_people=1, overrides={"detection.threads": 1}) as pipeline:
        events = [e for update in pipeline.run(frame for frame, _ in scene.frames()) for e in update.events]
    expected = len(scene.holds(1)) or sum(r.counts for r in scene.repetitions(1))
    assert sum(e.type.value in ("rep_completed", "hold_completed") for e in events) == expected

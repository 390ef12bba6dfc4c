"""Movements of the same joints that are no repetitions: getting ready, walking up, bowing; and detectors that take left for right."""

from __future__ import annotations

import numpy as np
import pytest
from _exercise_sessions import count, names_of, reps, row_of

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.exercise import RepetitionCounter, load_profile
from pose_analyzer.exercise.body import FALLEN, Bodies
from pose_analyzer.exercise.cuts import ViewWatch
from pose_analyzer.exercise.place import Heights
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import Angles


def watched(exercise, level, more, *, end_s, fps=30.0):
    """Events of one person at `level(t)`, with further angles (name -> function of time)."""
    profile = load_profile(exercise)
    counter, events = RepetitionCounter(profile), []
    names = (*names_of(profile), *more)
    for i in range(int(end_s * fps) + 1):
        t = i / fps
        values = [*row_of(profile, float(level(t)), float(level(t))), *(float(f(t)) for f in more.values())]
        events += counter.update(Angles(names, np.array([1]), np.array([values])), timestamp_s=t, frame_index=i)
    return events + counter.flush()


def test_arms_that_bend_while_somebody_kneels_are_no_push_up():
    level, end_s = reps([1.0] * 6)
    rise = {"left_trunk_rise_deg": lambda t: 85.0 if t < 6.0 else 15.0, "left_arm_raise_deg": lambda t: 20.0 if t < 6.0 else 90.0}
    assert count(watched("push_up", level, rise, end_s=end_s)) == 4
    assert count(watched("push_up", level, {"left_trunk_rise_deg": lambda t: 15.0}, end_s=end_s)) == 6


def test_a_moment_out_of_the_position_costs_nothing():
    level, end_s = reps([1.0] * 4)
    rise = {"left_trunk_rise_deg": lambda t: 85.0 if 3.9 < t < 4.1 else 15.0, "left_arm_raise_deg": lambda t: 90.0}
    assert count(watched("push_up", level, rise, end_s=end_s)) == 4


def test_a_position_of_which_nothing_is_seen_is_not_held_against_anybody():
    level, end_s = reps([1.0] * 3)
    assert count(watched("push_up", level, {"left_trunk_rise_deg": lambda t: np.nan}, end_s=end_s)) == 3


def test_getting_up_from_the_floor_is_no_sit_up():
    """The last rise goes on: from sitting to standing, where the trunk is upright and the hips are straight."""
    profile = load_profile("sit_up")
    names = [c.angle for c in profile.cues]
    counter, events = RepetitionCounter(profile), []
    level, end_s = reps([1.0] * 3 + [1.2])
    last_up_s = end_s - 1.0 - 0.6 - 0.8 - 0.2  # the fourth is up
    for i in range(int((end_s + 3) * 30)):
        t = i / 30
        values = [c.rest_deg + float(level(t)) * (c.work_deg - c.rest_deg) for c in profile.cues]
        if t > last_up_s:
            values = [{"hip_flexion": 5.0, "trunk_rise": 88.0, "shoulder_over_knee": 90.0}[name] for name in names]
        angles = Angles(tuple(f"left_{n}_deg" for n in names), np.array([1]), np.array([values]))
        events += counter.update(angles, timestamp_s=t, frame_index=i)
    events += counter.flush()
    assert count(events) == 3
    assert counter.state(1).count == 3


@pytest.mark.parametrize(
    ("exercise", "fallen", "expected"), [("lunge", 60.0, 4), ("lunge", 4.0, 0), ("bicep_curl", 4.0, 4), ("bicep_curl", 60.0, 0)]
)
def test_knees_that_bend_without_sinking_are_no_lunge_and_arms_in_a_bow_no_curl(exercise, fallen, expected):
    level, end_s = reps([1.0] * 4)
    assert count(watched(exercise, level, {FALLEN: lambda t: fallen * float(level(t))}, end_s=end_s)) == expected


def test_heights_that_are_not_known_say_nothing():
    heights = Heights(80.0, (FALLEN,))
    heights.note(np.array([np.nan]), 0.0)
    assert heights.lifted(0.0, 1.0)


def test_what_falls_and_rises_is_measured_between_any_two_times():
    scene = scene_for("squat", reps=2, azimuth_deg=60, fps=15)
    bodies = Bodies()
    fallen = np.array([bodies.add_to(joint_angles(p, timestamp_s=t), p, timestamp_s=t)[FALLEN][0] for p, t, _ in observed(scene, seed=3)])
    assert 50 < fallen.max() - fallen[0] < 130
    assert abs(fallen[-1] - fallen[0]) < 20


@pytest.mark.parametrize("exercise", ["squat", "lunge", "bicep_curl"])
def test_left_and_right_exchanged_is_no_other_camera(exercise):
    bodies, watch = Bodies(), None
    for i, (p, t, _) in enumerate(observed(scene_for(exercise, reps=2, azimuth_deg=20, seed=5, fps=20), seed=5)):
        if i % 20 >= 12:  # for eight frames of twenty
            order = [p.skeleton.index(n.replace("left", "*").replace("right", "left").replace("*", "right")) for n in p.skeleton.keypoints]
            p = p.replace(keypoints_xy=p.keypoints_xy[:, order], keypoint_confidence=p.keypoint_confidence[:, order])
        angles = bodies.add_to(joint_angles(p, timestamp_s=t), p, timestamp_s=t)
        watch = watch or ViewWatch(angles.names)
        assert watch.look(angles.value_deg[0], t) != "changed"

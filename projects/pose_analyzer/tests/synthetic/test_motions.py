"""What each exercise promises: the leading joint's angle, feet and hands that stay put, balance, a floor nobody sinks into."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.synthetic.anthropometry import LEFT, RIGHT, SIDES, dimensions
from pose_analyzer.synthetic.exercises import DEPTHS_DEG, FAULTS, Exercise
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.landmarks import ANGLE_NAMES, angles_deg, landmark_offsets
from pose_analyzer.synthetic.motion_spec import FaultSpec, MotionSpec
from pose_analyzer.synthetic.motions import Moment, program
from pose_analyzer.synthetic.presets import random_body
from pose_analyzer.synthetic.spec import BodySpec
from shared_utils.skeletons import BLAZEPOSE_33

LEADING = {
    Exercise.SQUAT: "left_knee_flexion_deg",
    Exercise.PUSH_UP: "left_elbow_flexion_deg",
    Exercise.BICEP_CURL: "left_elbow_flexion_deg",
    Exercise.HAMMER_CURL: "right_elbow_flexion_deg",
    Exercise.LUNGE: "right_knee_flexion_deg",
    Exercise.OVERHEAD_PRESS: "left_elbow_flexion_deg",
    Exercise.DEADLIFT: "left_hip_flexion_deg",
    Exercise.SIT_UP: "left_hip_flexion_deg",
    Exercise.JUMPING_JACK: "left_shoulder_elevation_deg",
    Exercise.LATERAL_RAISE: "right_shoulder_elevation_deg",
    Exercise.PULL_UP: "right_elbow_flexion_deg",
    Exercise.PLANK: "left_elbow_flexion_deg",
    Exercise.WALL_SIT: "left_knee_flexion_deg",
}
BODY = BodySpec(height_m=1.78)


def pose(exercise, u, *, body=BODY, time_s=1.0, side="both", faults=None, **motion):
    faults = faults or FaultSpec()
    spec = MotionSpec(exercise=exercise, faults=faults, **motion)
    figure = Figure(dimensions(body))
    program(figure.lengths, spec, 0).pose(figure, Moment(time_s, u=u, share=u, side=side, faults=faults))
    return figure


def angles(figure):
    return dict(zip(ANGLE_NAMES, angles_deg(figure.points(*landmark_offsets(figure.lengths))), strict=True))


def landmark(figure, name):
    return figure.points(*landmark_offsets(figure.lengths))[BLAZEPOSE_33.index(name)]


@pytest.mark.parametrize("exercise", LEADING)
def test_the_leading_joint_has_the_programmed_angle_at_the_turning_point(exercise):
    depth = DEPTHS_DEG[exercise][1]
    assert angles(pose(exercise, 1.0))[LEADING[exercise]] == pytest.approx(depth, abs=1e-4)


@pytest.mark.parametrize("exercise", [e for e in LEADING if e is not Exercise.SIT_UP])
def test_the_leading_joint_has_the_programmed_angle_at_rest(exercise):
    assert angles(pose(exercise, 0.0))[LEADING[exercise]] == pytest.approx(DEPTHS_DEG[exercise][0], abs=1e-4)


@given(depth=st.floats(60, 125), u=st.floats(0, 1), seed=st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_a_squat_of_any_depth_flexes_both_knees_exactly_so_far(depth, u, seed):
    found = angles(pose(Exercise.SQUAT, u, body=random_body(seed), depth_deg=depth))
    for side in ("left", "right"):
        assert found[f"{side}_knee_flexion_deg"] == pytest.approx(5 + u * (depth - 5), abs=1e-6)


@pytest.mark.parametrize("exercise", [Exercise.SQUAT, Exercise.DEADLIFT, Exercise.WALL_SIT])
def test_feet_stay_where_they_are(exercise):
    places = []
    for u in np.linspace(0, 1, 21):
        figure = pose(exercise, u)
        places.append([figure.joint("ankle", s) for s in SIDES] + [landmark(figure, "left_heel"), landmark(figure, "right_foot_index")])
    drift = np.ptp(np.array(places), axis=0)
    assert drift.max() < 1e-4  # a tenth of a millimetre


def test_a_lunge_keeps_the_front_foot_and_the_rear_toes_where_they_are():
    figures = [pose(Exercise.LUNGE, u) for u in np.linspace(0, 1, 21)]
    assert np.ptp([f.joint("ankle", RIGHT) for f in figures], axis=0).max() < 1e-4
    toes = np.array([landmark(f, "left_foot_index") for f in figures])
    # The shoe's tip is the pivot; the toe inside it moves by less than the shoe's thickness.
    assert np.ptp(toes, axis=0).max() < 0.03


@pytest.mark.parametrize("exercise", [Exercise.PUSH_UP, Exercise.PULL_UP])
def test_hands_stay_where_they_are(exercise):
    wrists = [[pose(exercise, u).joint("wrist", s) for s in SIDES] for u in np.linspace(0, 1, 21)]
    assert np.ptp(np.array(wrists), axis=0).max() < 1e-4


def test_a_push_up_turns_about_the_toes_with_a_straight_body():
    figures = [pose(Exercise.PUSH_UP, u) for u in np.linspace(0, 1, 11)]
    toes = np.array([landmark(f, "left_foot_index") for f in figures])
    assert np.ptp(toes, axis=0).max() < 0.012
    for f in figures:
        line = [f.joint(n) for n in ("shoulder", "hip", "knee", "ankle")]
        # Shoulders and hips differ in breadth; seen from the side the body is one line.
        flat = np.array(line)[:, [0, 2]]
        direction = (flat[0] - flat[-1]) / np.linalg.norm(flat[0] - flat[-1])
        off = (flat - flat[-1]) @ np.array([-direction[1], direction[0]])
        assert np.abs(off).max() < 1e-9


@pytest.mark.parametrize("exercise", [Exercise.SQUAT, Exercise.DEADLIFT, Exercise.BICEP_CURL, Exercise.LATERAL_RAISE])
@pytest.mark.parametrize("seed", [0, 3, 8])
def test_the_weight_stays_over_the_feet(exercise, seed):
    for u in np.linspace(0, 1, 9):
        figure = pose(exercise, u, body=random_body(seed))
        heel, toe = landmark(figure, "left_heel")[0], landmark(figure, "left_foot_index")[0]
        x, y, _ = figure.centre_of_mass()
        assert heel + 0.01 < x < toe - 0.03
        assert abs(y) < 0.02


@pytest.mark.parametrize("lean", [10, 25])
def test_a_forward_lean_is_added_in_full_and_the_hips_go_back_to_keep_the_balance(lean):
    right, wrong = pose(Exercise.SQUAT, 1.0), pose(Exercise.SQUAT, 1.0, faults=FaultSpec(forward_lean_deg=lean))
    assert angles(wrong)["trunk_lean_deg"] - angles(right)["trunk_lean_deg"] == pytest.approx(lean, abs=1e-6)
    assert angles(wrong)["left_knee_flexion_deg"] == pytest.approx(110, abs=1e-6)
    assert wrong.joint("hip")[0] < right.joint("hip")[0] - 0.01
    assert wrong.centre_of_mass()[0] == pytest.approx(right.centre_of_mass()[0], abs=0.03)


def test_knee_valgus_brings_the_knees_together_without_changing_their_flexion():
    right, wrong = pose(Exercise.SQUAT, 1.0), pose(Exercise.SQUAT, 1.0, faults=FaultSpec(knee_valgus_deg=20))
    gap = [f.joint("knee", LEFT)[1] - f.joint("knee", RIGHT)[1] for f in (right, wrong)]
    assert gap[1] < gap[0] - 0.08
    assert angles(wrong)["right_knee_flexion_deg"] == pytest.approx(110, abs=1e-6)


def test_asymmetry_stops_the_right_side_so_many_degrees_earlier():
    found = angles(pose(Exercise.SQUAT, 1.0, faults=FaultSpec(asymmetry_deg=8)))
    assert (found["left_knee_flexion_deg"], found["right_knee_flexion_deg"]) == pytest.approx((110, 102), abs=1e-5)
    found = angles(pose(Exercise.BICEP_CURL, 1.0, faults=FaultSpec(asymmetry_deg=15)))
    assert (found["left_elbow_flexion_deg"], found["right_elbow_flexion_deg"]) == pytest.approx((138, 123), abs=1e-6)


def test_elbow_drift_swings_the_upper_arm_forward():
    right, wrong = (pose(Exercise.BICEP_CURL, 1.0, faults=FaultSpec(elbow_drift_deg=d)) for d in (0, 30))

    def forward(f):
        arm = f.joint("elbow") - f.joint("shoulder")
        return np.degrees(np.arctan2(arm[0], -arm[2]))

    assert forward(wrong) - forward(right) == pytest.approx(30, abs=0.5)


def test_a_rounded_back_bends_the_spine_and_leaves_the_lean_of_hips_to_shoulders():
    right, wrong = (pose(Exercise.DEADLIFT, 1.0, faults=FaultSpec(rounded_back_deg=d)) for d in (0, 30))
    assert angles(wrong)["left_hip_flexion_deg"] == pytest.approx(105, abs=1e-4)

    def bend(f):
        cosine = float(f.rotation[0][:, 2] @ f.rotation[2][:, 2])
        return np.degrees(np.arccos(np.clip(cosine, -1, 1)))

    assert bend(right) == pytest.approx(0, abs=1e-4)
    assert bend(wrong) == pytest.approx(30, abs=1e-6)


@pytest.mark.parametrize("exercise", [Exercise.BICEP_CURL, Exercise.OVERHEAD_PRESS, Exercise.LATERAL_RAISE])
def test_with_one_side_the_other_arm_rests(exercise):
    working = angles(pose(exercise, 1.0, side="left"))
    resting = angles(pose(exercise, 0.0))
    name = LEADING[exercise].removeprefix("left_").removeprefix("right_")
    assert working[f"right_{name}"] == pytest.approx(resting[f"right_{name}"], abs=1e-6)
    assert abs(working[f"left_{name}"] - resting[f"left_{name}"]) > 60


def test_an_alternating_lunge_starts_from_standing_and_steps_out():
    spec = MotionSpec(exercise="lunge", side="alternating")
    figure = Figure(dimensions(BODY))
    motion = program(figure.lengths, spec, 0)
    motion.pose(figure, Moment(0.0, u=0.0, side="left"))
    assert abs(figure.joint("ankle", LEFT)[0] - figure.joint("ankle", RIGHT)[0]) < 0.01
    motion.pose(figure, Moment(1.0, u=1.0, share=1.0, side="left"))
    assert figure.joint("ankle", LEFT)[0] - figure.joint("ankle", RIGHT)[0] > 0.6
    assert angles(figure)["left_knee_flexion_deg"] == pytest.approx(95, abs=1e-5)


@given(
    exercise=st.sampled_from(list(Exercise)),
    seed=st.integers(0, 200),
    u=st.floats(0, 1),
    time_s=st.floats(0, 20),
    height=st.floats(1.3, 2.1),
)
@settings(max_examples=60, deadline=None)
def test_no_motion_stretches_a_bone_of_any_body(exercise, seed, u, time_s, height):
    body = replace(random_body(seed), height_m=height)
    figure = pose(exercise, u, body=body, time_s=time_s)
    d = figure.lengths
    for side in SIDES:
        for a, b, length in (
            ("shoulder", "elbow", d.upper_arm),
            ("elbow", "wrist", d.forearm),
            ("hip", "knee", d.thigh),
            ("knee", "ankle", d.shank),
        ):
            assert np.linalg.norm(figure.joint(a, side) - figure.joint(b, side)) == pytest.approx(length, abs=1e-9)
    assert np.linalg.norm(figure.joint("hip", LEFT) - figure.joint("hip", RIGHT)) == pytest.approx(2 * d.hip_half, abs=1e-9)
    turns = figure.rotation @ np.swapaxes(figure.rotation, 1, 2)
    assert np.abs(turns - np.eye(3)).max() < 1e-9
    assert (np.linalg.det(figure.rotation) > 0).all()


def test_pull_up_feet_hang_free_and_the_chin_rises_to_the_bar():
    hanging, top = pose(Exercise.PULL_UP, 0.0), pose(Exercise.PULL_UP, 1.0)
    assert landmark(hanging, "left_foot_index")[2] > 0.05
    assert landmark(top, "nose")[2] > top.joint("wrist")[2] - 0.05


def test_jumping_jack_feet_leave_the_floor_between_and_stand_on_it_at_both_ends():
    floor = [pose(Exercise.JUMPING_JACK, u).joint("ankle")[2] for u in (0.0, 0.5, 1.0)]
    rest = dimensions(BODY).foot_height
    assert floor[0] == pytest.approx(rest, abs=1e-9)
    assert floor[2] == pytest.approx(rest, abs=1e-9)
    assert floor[1] > rest + 0.03


@pytest.mark.parametrize("exercise", [e for e in Exercise if e is not Exercise.PULL_UP])
@pytest.mark.parametrize("seed", [0, 5])
def test_no_landmark_sinks_into_the_floor(exercise, seed):
    for u in np.linspace(0, 1, 6):
        figure = pose(exercise, u, body=random_body(seed), time_s=0.5 + u)
        points = figure.points(*landmark_offsets(figure.lengths))
        assert points[:, 2].min() > -0.005


@pytest.mark.parametrize("exercise", list(Exercise))
def test_every_posture_is_continuous_in_time(exercise):
    # In steps of a fortieth of the movement nothing jumps.
    spec = MotionSpec(exercise=exercise, reps=1)
    figure = Figure(dimensions(BODY))
    motion = program(figure.lengths, spec, 0)
    steps = np.linspace(0, 1, 41)
    last = None
    for u in steps:
        motion.pose(figure, Moment(1.0 + 0.01 * u * 40, u=u, share=u))
        points = figure.points(*landmark_offsets(figure.lengths))
        if last is not None:
            assert np.linalg.norm(points - last, axis=1).max() < 0.12
        last = points


@pytest.mark.parametrize(("exercise", "fault"), [(e, f) for e, names in FAULTS.items() for f in sorted(names) if f != "depth_loss_deg"])
def test_every_fault_that_an_exercise_can_show_changes_its_posture(exercise, fault):
    wrong = pose(exercise, 1.0, faults=FaultSpec(**{fault: 12.0}))
    right = pose(exercise, 1.0)
    difference = wrong.points(*landmark_offsets(wrong.lengths)) - right.points(*landmark_offsets(right.lengths))
    bend = np.abs(wrong.rotation - right.rotation).max()
    assert np.abs(difference).max() > 0.01 or bend > 0.05

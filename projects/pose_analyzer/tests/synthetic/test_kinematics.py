"""Forward kinematics against arithmetic by hand, and what no posture may change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.synthetic.anthropometry import LEFT, RIGHT, Segment, dimensions, mass_points
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.landmarks import ANGLE_NAMES, angles_deg, landmark_offsets
from pose_analyzer.synthetic.rotations import between, hanging, middle_joint, reach, rot_x, rot_y, rot_z
from pose_analyzer.synthetic.spec import BodySpec
from shared_utils.skeletons import BLAZEPOSE_33

BODIES = st.builds(
    BodySpec,
    height_m=st.floats(1.2, 2.1),
    leg_scale=st.floats(0.85, 1.2),
    trunk_scale=st.floats(0.85, 1.2),
    arm_scale=st.floats(0.85, 1.2),
    shoulder_scale=st.floats(0.85, 1.2),
    hip_scale=st.floats(0.85, 1.2),
)


def standing(**body: float) -> Figure:
    figure = Figure(dimensions(BodySpec(**body)))
    figure.stand()
    return figure


def test_standing_joints_lie_at_the_heights_of_the_anthropometric_table():
    figure = standing(height_m=2.0)
    # Winter's figure 4.1 at 2 m, plus a sole of 0.024 m.
    expected = {"ankle": 0.078, "knee": 0.570, "hip": 1.060, "shoulder": 1.636}
    for name, height in expected.items():
        assert figure.joint(name, LEFT)[2] == pytest.approx(height + 0.024, abs=1e-12)
    arm = figure.joint("shoulder") - figure.joint("wrist")
    assert arm == pytest.approx([0, 0, 2.0 * (0.186 + 0.146)], abs=1e-12)


def test_a_knee_at_90_degrees_puts_the_ankle_straight_behind_it():
    figure = standing(height_m=2.0)
    figure.leg(LEFT, np.eye(3), knee_deg=90)
    knee = figure.joint("knee")
    assert figure.joint("ankle") - knee == pytest.approx([-2.0 * 0.246, 0, 0], abs=1e-12)


def test_an_elbow_at_90_degrees_puts_the_wrist_straight_before_it():
    figure = standing(height_m=2.0)
    figure.arm(RIGHT, np.eye(3), elbow_deg=90)
    elbow = figure.joint("elbow", RIGHT)
    assert figure.joint("wrist", RIGHT) - elbow == pytest.approx([2.0 * 0.146, 0, 0], abs=1e-12)


def test_an_arm_raised_sideways_and_a_trunk_leaning_forward_add_up():
    figure = Figure(dimensions(BodySpec(height_m=2.0)))
    figure.place_trunk(np.zeros(3), rot_y(30))
    for side in (LEFT, RIGHT):
        figure.leg(side, np.eye(3))
        figure.arm(side, rot_y(30) @ rot_x(90 if side == LEFT else -90))
    trunk = 2.0 * 0.288
    shoulder = np.array([trunk * 0.5, 2.0 * 0.102, trunk * math.cos(math.radians(30))])
    assert figure.joint("shoulder") == pytest.approx(shoulder, abs=1e-12)
    # An arm straight to the side points along y whatever the trunk's lean.
    assert figure.joint("elbow") - shoulder == pytest.approx([0, 2.0 * 0.186, 0], abs=1e-12)
    angles = angles_deg(figure.points(*landmark_offsets(figure.lengths)))
    assert angles[ANGLE_NAMES.index("trunk_lean_deg")] == pytest.approx(30)


def test_turning_and_shifting_a_figure_moves_every_point_rigidly():
    figure = standing(height_m=1.7)
    before = figure.points(*landmark_offsets(figure.lengths))
    figure.move(90, np.array([1.0, 2.0, 0.0]))
    after = figure.points(*landmark_offsets(figure.lengths))
    # A quarter turn to the left sends x to y and y to -x.
    expected = np.stack([1.0 - before[:, 1], 2.0 + before[:, 0], before[:, 2]], axis=1)
    assert after == pytest.approx(expected, abs=1e-12)


def test_palms_face_the_thighs_and_thumbs_point_forward_at_attention():
    figure = standing()
    points = figure.points(*landmark_offsets(figure.lengths))
    for side in ("left", "right"):
        thumb, pinky = (points[BLAZEPOSE_33.index(f"{side}_{n}")] for n in ("thumb", "pinky"))
        assert thumb[0] > pinky[0] + 0.05


def test_supination_turns_the_thumb_outwards():
    figure = standing()
    for side, outwards in ((LEFT, 1.0), (RIGHT, -1.0)):
        figure.arm(side, np.eye(3), pronation_deg=-90)
        thumb = figure.rotation[Segment.LEFT_HAND + side][:, 0]
        assert thumb == pytest.approx([0, outwards, 0], abs=1e-12)


@given(
    body=BODIES,
    knee=st.floats(0, 140),
    elbow=st.floats(0, 150),
    lean=st.floats(-80, 90),
    twist=st.floats(-60, 60),
    raise_deg=st.floats(0, 25),
)
@settings(max_examples=40, deadline=None)
def test_bones_keep_their_length_in_every_posture(body, knee, elbow, lean, twist, raise_deg):
    d = dimensions(body)
    figure = Figure(d)
    figure.place_trunk(np.array([0.3, -0.2, 1.0]), rot_y(lean), abdomen=rot_y(lean / 2), thorax=rot_z(twist) @ rot_y(lean / 3))
    for side in (LEFT, RIGHT):
        figure.raise_shoulder(side, raise_deg)
        figure.arm(side, rot_x(twist) @ rot_y(-lean), elbow_deg=elbow)
        figure.leg(side, rot_z(twist), knee_deg=knee)
    for side in (LEFT, RIGHT):
        bones = {
            ("shoulder", "elbow"): d.upper_arm,
            ("elbow", "wrist"): d.forearm,
            ("hip", "knee"): d.thigh,
            ("knee", "ankle"): d.shank,
        }
        for (a, b), length in bones.items():
            assert np.linalg.norm(figure.joint(a, side) - figure.joint(b, side)) == pytest.approx(length, abs=1e-12)
    angles = dict(zip(ANGLE_NAMES, angles_deg(figure.points(*landmark_offsets(d))), strict=True))
    assert angles["left_knee_flexion_deg"] == pytest.approx(knee, abs=1e-6)
    assert angles["right_elbow_flexion_deg"] == pytest.approx(elbow, abs=1e-6)
    assert figure.rotation @ np.swapaxes(figure.rotation, 1, 2) == pytest.approx(np.tile(np.eye(3), (len(Segment), 1, 1)), abs=1e-12)


@given(body=BODIES)
def test_proportions_never_change_the_stature(body):
    d = dimensions(body)
    assert d.foot_height - d.sole + d.leg + d.trunk + d.neck + d.head == pytest.approx(body.height_m)


def test_a_limb_reaches_its_target_with_the_joint_on_the_side_of_the_pole():
    figure = standing(height_m=1.8)
    target = figure.joint("shoulder") + np.array([0.35, 0.1, -0.1])
    figure.arm_to(LEFT, target, np.array([0.0, 0.0, -1.0]))
    assert figure.joint("wrist") == pytest.approx(target, abs=1e-12)
    middle = (figure.joint("shoulder") + target) / 2
    assert figure.joint("elbow")[2] < middle[2] - 0.05
    ankle = figure.joint("hip") + np.array([0.1, 0.0, -0.6])
    figure.leg_to(LEFT, ankle, np.eye(3), np.array([1.0, 0.0, 0.0]))
    assert figure.joint("ankle") == pytest.approx(ankle, abs=1e-12)
    assert figure.joint("knee")[0] > 0.2


def test_a_target_out_of_reach_leaves_the_limb_nearly_straight_towards_it():
    elbow = middle_joint(np.zeros(3), np.array([0, 0, -5.0]), 0.3, 0.25, np.array([1.0, 0, 0]))
    assert elbow == pytest.approx([0, 0, -0.3], abs=1e-3)


def test_reach_follows_the_law_of_cosines():
    assert reach(0.3, 0.4, 90) == pytest.approx(0.5)
    assert reach(0.3, 0.4, 0) == pytest.approx(0.7)


@given(st.floats(-170, 170), st.floats(-170, 170), st.floats(0, 1))
def test_the_rotation_between_two_turns_about_one_axis_is_the_turn_between(a, b, share):
    if abs(a - b) > 175:
        return
    assert between(rot_y(a), rot_y(b), share) == pytest.approx(rot_y(a + share * (b - a)), abs=1e-6)


def test_a_limb_frame_is_right_handed_even_when_the_hint_is_parallel():
    frame = hanging(np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    assert np.linalg.det(frame) == pytest.approx(1.0)
    assert -frame[:, 2] == pytest.approx([1.0, 0.0, 0.0])


def test_masses_sum_to_one_and_balance_over_the_ankles_when_standing():
    figure = standing(height_m=1.8)
    segments, centres, share = mass_points(figure.lengths)
    assert share.sum() == pytest.approx(1.0)
    by_hand = sum(w * figure.point(int(s), c) for s, c, w in zip(segments, centres, share, strict=True))
    assert figure.centre_of_mass() == pytest.approx(by_hand, abs=1e-12)
    # Winter: the whole body's centre lies at about 0.55 of stature.
    assert figure.centre_of_mass()[2] == pytest.approx(0.56 * 1.8 + figure.lengths.sole, abs=0.03)

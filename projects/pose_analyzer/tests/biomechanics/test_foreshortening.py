"""Stand-ins for angles that point at the camera: a stick person by arithmetic, seen from all sides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.biomechanics import joint_angles
from shared_utils import BLAZEPOSE_33, COCO_17, Poses

HEIGHT_PX = 1000.0
# Segment lengths in body heights: Drillis and Contini, and the biacromial breadth of ANSUR II.
TRUNK, BREADTH, HIPS, ARM, THIGH, SHANK = 0.288, 0.230, 0.120, 0.332, 0.245, 0.246

azimuths = st.floats(0, 360)


def direction(pitch_deg):
    """Unit vector in the plane of symmetry: 0° to the front, 90° up."""
    return np.array([math.cos(math.radians(pitch_deg)), 0.0, math.sin(math.radians(pitch_deg))])


def stick_person(*, trunk_pitch_deg=90.0, thigh_pitch_deg=-90.0, shank_pitch_deg=-90.0, arm=(0.0, 0.0, -1.0)):
    """Joints in body heights; x to the person's front, y to the left, z up."""
    joints = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hip = np.array([0.0, sign * HIPS / 2, 0.0])
        shoulder = np.array([0.0, sign * BREADTH / 2, 0.0]) + TRUNK * direction(trunk_pitch_deg)
        knee = hip + THIGH * direction(thigh_pitch_deg)
        joints |= {
            f"{side}_hip": hip, f"{side}_shoulder": shoulder, f"{side}_knee": knee,
            f"{side}_ankle": knee + SHANK * direction(shank_pitch_deg),
            f"{side}_wrist": shoulder + ARM * np.asarray(arm) / np.linalg.norm(arm),
            f"{side}_elbow": shoulder + 0.56 * ARM * np.asarray(arm) / np.linalg.norm(arm),
        }  # fmt: skip
    return joints


def seen(joints, azimuth_deg, *, hidden=(), skeleton=BLAZEPOSE_33, size_px=HEIGHT_PX):
    """Angles from a camera far away, level, at that azimuth (0 front, 90 the person's left side)."""
    a = math.radians(azimuth_deg)
    xy = np.full((1, len(skeleton), 2), np.nan)
    for name, (x, y, z) in joints.items():
        if name not in hidden:
            xy[0, skeleton.index(name)] = 700 + size_px * (y * math.cos(a) - x * math.sin(a)), 700 - size_px * z
    known = ~np.isnan(xy[..., 0])
    poses = Poses(
        boxes_xyxy=[[0, 0, 0.5 * size_px, size_px]],
        scores=[1.0],
        keypoints_xy=xy,
        keypoint_confidence=known.astype(float),
        skeleton=skeleton,
        track_ids=[1],
    )
    return joint_angles(poses, timestamp_s=0.0).row(1)


# --- arms ---------------------------------------------------------------------------------------------
@given(st.floats(0, 180), st.floats(0, 360), azimuths)
@settings(deadline=None)
def test_an_arm_raised_in_any_plane_reads_the_same_from_all_sides(elevation_deg, plane_deg, azimuth_deg):
    e, p = math.radians(elevation_deg), math.radians(plane_deg)
    arm = (math.sin(e) * math.cos(p), math.sin(e) * math.sin(p), -math.cos(e))
    assert seen(stick_person(arm=arm), azimuth_deg)["left_arm_raise_deg"] == pytest.approx(elevation_deg, abs=0.1)


def test_the_angle_of_an_arm_that_passes_the_lens_flips_while_its_height_moves_steadily():
    """Arms out to the sides, seen from the side, a few degrees off: 80° and 100° of elevation."""
    below, above = (seen(stick_person(arm=(0.0, math.sin(math.radians(e)), -math.cos(math.radians(e)))), 88) for e in (80, 100))
    assert above["left_shoulder_elevation_deg"] - below["left_shoulder_elevation_deg"] > 100
    assert above["left_arm_raise_deg"] - below["left_arm_raise_deg"] == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize(("stretch", "expected"), [(1.2, 180.0), (1.5, math.nan)])
def test_an_arm_a_little_too_long_is_straight_and_one_much_too_long_is_no_reading(stretch, expected):
    joints = stick_person(arm=(0, 0, 1))
    joints["left_wrist"] = joints["left_shoulder"] + [0, 0, stretch * ARM]
    assert seen(joints, 30)["left_arm_raise_deg"] == pytest.approx(expected, nan_ok=True)


# --- trunk --------------------------------------------------------------------------------------------
@given(st.floats(-60, 90), st.sampled_from([0.0, 90.0, 180.0, 270.0]))
@settings(deadline=None)
def test_the_rise_of_the_trunk_is_exact_head_on_and_from_the_side(pitch_deg, azimuth_deg):
    row = seen(stick_person(trunk_pitch_deg=pitch_deg), azimuth_deg)
    assert row["left_trunk_rise_deg"] == pytest.approx(pitch_deg, abs=0.1)


@given(st.floats(0, 89), st.floats(1, 20), azimuths)
@settings(deadline=None)
def test_the_rise_of_the_trunk_grows_with_the_trunk_from_all_sides(pitch_deg, more_deg, azimuth_deg):
    low, high = (
        seen(stick_person(trunk_pitch_deg=p), azimuth_deg)["left_trunk_rise_deg"] for p in (pitch_deg, min(pitch_deg + more_deg, 90))
    )
    assert high > low
    assert low == pytest.approx(pitch_deg, abs=16)


def test_the_lean_in_the_picture_calls_a_level_trunk_upright_head_on_and_the_rise_does_not():
    row = seen(stick_person(trunk_pitch_deg=5.0), 0)
    assert row["trunk_lean_deg"] < 1
    assert row["left_trunk_rise_deg"] == pytest.approx(5, abs=0.1)


@given(st.floats(0.3, 3.0), azimuths)
@settings(deadline=None)
def test_size_does_not_matter(scale, azimuth_deg):
    joints = stick_person(trunk_pitch_deg=30, thigh_pitch_deg=40)
    small, large = (seen(joints, azimuth_deg, size_px=HEIGHT_PX * s) for s in (1.0, scale))
    for name in ("left_trunk_rise_deg", "left_shoulder_over_knee_deg", "right_arm_raise_deg"):
        assert large[name] == pytest.approx(small[name], abs=0.1)


# --- knees --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("azimuth_deg", [0, 90, 180])
def test_the_shoulders_of_a_sit_up_rise_from_below_the_knees_to_above_them(azimuth_deg):
    lying, sitting = (seen(stick_person(trunk_pitch_deg=p, thigh_pitch_deg=50), azimuth_deg) for p in (180.0, 90.0))
    knee = THIGH * math.sin(math.radians(50)) / TRUNK
    assert lying["left_shoulder_over_knee_deg"] == pytest.approx(-math.degrees(math.asin(knee)), abs=0.1)
    assert sitting["left_shoulder_over_knee_deg"] == pytest.approx(math.degrees(math.asin(1 - knee)), abs=0.1)


def test_whoever_stands_is_at_the_end_of_that_range():
    assert seen(stick_person(), 45)["left_shoulder_over_knee_deg"] == 90.0


# --- in plane -----------------------------------------------------------------------------------------
def test_an_angle_in_the_plane_is_the_angle():
    row = seen(stick_person(trunk_pitch_deg=10, thigh_pitch_deg=60, shank_pitch_deg=-70), 90)
    for joint in ("hip", "knee"):
        assert row[f"left_{joint}_flexion_in_plane_deg"] == row[f"left_{joint}_flexion_deg"]


def test_a_trunk_that_points_at_the_camera_makes_no_hip_angle_and_upright_shanks_make_none_of_the_knee():
    row = seen(stick_person(trunk_pitch_deg=8, thigh_pitch_deg=188, shank_pitch_deg=188), 0)
    assert not math.isnan(row["left_hip_flexion_deg"])
    assert math.isnan(row["left_hip_flexion_in_plane_deg"])
    assert math.isnan(row["left_knee_flexion_in_plane_deg"])


def test_legs_guessed_behind_a_trunk_that_points_at_the_camera_make_no_knee_angle():
    row = seen(stick_person(trunk_pitch_deg=8, thigh_pitch_deg=100, shank_pitch_deg=-80), 0)
    assert row["left_knee_flexion_deg"] == pytest.approx(180, abs=1)
    assert math.isnan(row["left_knee_flexion_in_plane_deg"])


# --- what is missing ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("hidden", "lost"),
    [
        ("left_knee", ["shoulder_over_knee", "hip_flexion_in_plane", "knee_flexion_in_plane"]),
        ("left_wrist", ["arm_raise"]),
        ("left_hip", ["trunk_rise", "shoulder_over_knee", "arm_raise", "hip_flexion_in_plane", "knee_flexion_in_plane"]),
    ],
)
def test_a_missing_keypoint_takes_its_own_readings_and_no_others(hidden, lost):
    whole, row = (seen(stick_person(thigh_pitch_deg=-80), 60, hidden=h) for h in ((), (hidden,)))
    names = ["trunk_rise", "shoulder_over_knee", "arm_raise", "hip_flexion_in_plane", "knee_flexion_in_plane"]
    assert [n for n in names if math.isnan(row[f"left_{n}_deg"])] == [n for n in names if n in lost]
    assert not any(math.isnan(whole[f"left_{n}_deg"]) for n in names)
    # Without one hip the trunk has no middle, and the slant of its side stays in.
    assert all(row[f"right_{n}_deg"] == pytest.approx(whole[f"right_{n}_deg"], abs=8) for n in names)


def test_a_hidden_shoulder_leaves_the_other_side_its_own_length():
    row = seen(stick_person(trunk_pitch_deg=40), 90, hidden=("right_shoulder",))
    assert row["left_trunk_rise_deg"] == pytest.approx(40, abs=0.1)
    assert math.isnan(row["right_trunk_rise_deg"])


def test_other_skeletons_read_the_same():
    joints = stick_person(trunk_pitch_deg=50, thigh_pitch_deg=20)
    ours, theirs = (seen(joints, 40, skeleton=s) for s in (BLAZEPOSE_33, COCO_17))
    for name in ("left_trunk_rise_deg", "right_shoulder_over_knee_deg", "left_arm_raise_deg", "left_hip_flexion_in_plane_deg"):
        assert theirs[name] == pytest.approx(ours[name], abs=1e-3)


@pytest.mark.parametrize(("arm", "expected_deg"), [((0, 0, -1), 0.0), ((1, 0, 0), 90.0), ((0, 0, 1), 180.0)])
def test_the_upper_arm_leans_from_a_shoulder_straight_above_the_elbow(arm, expected_deg):
    assert seen(stick_person(arm=arm), 90)["left_upper_arm_lean_deg"] == pytest.approx(expected_deg, abs=1e-3)

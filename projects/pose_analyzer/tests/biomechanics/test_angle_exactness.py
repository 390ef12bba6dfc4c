"""Joint angles against the slow textbook formula and against what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.biomechanics import ANGLE_NAMES, joint_angles
from shared_utils import BLAZEPOSE_33, COCO_17, Poses
from shared_utils.errors import ValidationError

angle = st.floats(0.0, 180.0)
number = st.floats(-math.pi, math.pi)


def person(points: dict[str, tuple[float, float]], *, confidence: float = 1.0, skeleton=COCO_17, **more) -> Poses:
    xy = np.full((1, len(skeleton), 2), np.nan)
    for name, at in points.items():
        xy[0, skeleton.index(name)] = at
    return Poses(
        boxes_xyxy=[[-2000, -2000, 2000, 2000]],
        scores=[1.0],
        keypoints_xy=xy,
        keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0.0, confidence),
        skeleton=skeleton,
        track_ids=np.array([1]),
        **more,
    )


def leg(flexion_deg: float, turn: float = 0.0, scale: float = 400.0, mirror: bool = False) -> dict[str, tuple[float, float]]:
    """Hip, knee and ankle of a leg bent by a known angle, turned by `turn` rad in the picture."""
    thigh = np.array([math.cos(turn), math.sin(turn)])
    bend = math.radians(flexion_deg) * (-1 if mirror else 1)
    shank = np.array([math.cos(turn + bend), math.sin(turn + bend)])
    hip = np.zeros(2)
    knee = hip + scale * thigh
    return {"left_hip": tuple(hip), "left_knee": tuple(knee), "left_ankle": tuple(knee + 0.9 * scale * shank)}


@given(angle, number, st.floats(300, 900), st.booleans())
@settings(deadline=None)
def test_turn_size_and_mirror_do_not_change_an_angle(flexion_deg, turn, scale, mirror):
    measured = joint_angles(person(leg(flexion_deg, turn, scale, mirror)), timestamp_s=0.0)["left_knee_flexion_deg"][0]
    # Keypoints are float32: some 1e-5 px of a few hundred.
    assert measured == pytest.approx(flexion_deg, abs=2e-3)


@pytest.mark.parametrize("flexion_deg", [0.0, 0.01, 90.0, 179.99, 180.0])
def test_straight_and_folded_limbs_keep_their_digits(flexion_deg):
    measured = joint_angles(person(leg(flexion_deg)), timestamp_s=0.0)["left_knee_flexion_deg"][0]
    assert measured == pytest.approx(flexion_deg, abs=1e-3)


def test_the_conventions_are_those_of_the_table():
    standing = {
        "left_shoulder": (0, -300), "left_elbow": (0, -150), "left_wrist": (0, 0), "left_hip": (0, 0), "left_knee": (0, 250),
        "left_ankle": (0, 500), "left_heel": (-40, 520), "left_foot_index": (120, 520), "right_shoulder": (10, -300), "right_hip": (10, 0),
    }  # fmt: skip
    angles = joint_angles(person(standing, skeleton=BLAZEPOSE_33), timestamp_s=0.0).row(1)
    for name in ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation", "ankle_dorsiflexion"):
        assert angles[f"left_{name}_deg"] == pytest.approx(0.0, abs=1e-6), name
    assert angles["trunk_lean_deg"] == pytest.approx(0.0, abs=1e-6)
    overhead = joint_angles(person(standing | {"left_elbow": (0, -450)}, skeleton=BLAZEPOSE_33), timestamp_s=0.0).row(1)
    assert overhead["left_shoulder_elevation_deg"] == pytest.approx(180.0, abs=1e-6)
    lying = {name: (y, 0) for name, (_, y) in standing.items()}
    assert joint_angles(person(lying, skeleton=BLAZEPOSE_33), timestamp_s=0.0).row(1)["trunk_lean_deg"] == pytest.approx(90.0, abs=3.0)


def test_angles_in_space_see_what_the_picture_hides():
    # A knee bent by 90° towards the camera: straight in the picture, bent in space.
    world = np.full((1, 17, 3), np.nan)
    for name, at in {"left_hip": (0, 0, 0), "left_knee": (0, 0.4, 0), "left_ankle": (0, 0.4, -0.4)}.items():
        world[0, COCO_17.index(name)] = at
    angles = joint_angles(person(leg(0.0), world_xyz_m=world), timestamp_s=0.0).row(1)
    assert angles["left_knee_flexion_deg"] == pytest.approx(0.0, abs=1e-3)
    assert angles["left_knee_flexion_3d_deg"] == pytest.approx(90.0, abs=1e-3)


@pytest.mark.parametrize("hidden", ["left_hip", "left_knee", "left_ankle"])
def test_a_missing_or_unsure_keypoint_is_no_reading(hidden):
    points = leg(60.0)
    missing = joint_angles(person({k: v for k, v in points.items() if k != hidden}), timestamp_s=0.0)
    unsure = joint_angles(person(points, confidence=0.3), timestamp_s=0.0, min_confidence=0.5)
    assert np.isnan(missing["left_knee_flexion_deg"][0])
    assert np.isnan(unsure["left_knee_flexion_deg"][0])


def test_a_segment_of_no_length_has_no_direction():
    points = leg(60.0) | {"left_knee": (0.0, 0.0)}
    assert np.isnan(joint_angles(person(points), timestamp_s=0.0)["left_knee_flexion_deg"][0])


def test_a_skeleton_without_feet_gives_no_ankle_but_the_same_names():
    coco = joint_angles(person(leg(10.0)), timestamp_s=0.0)
    assert coco.names == ANGLE_NAMES
    assert np.isnan(coco["left_ankle_dorsiflexion_deg"][0])


def test_nobody_has_no_angles():
    assert joint_angles(Poses.empty(COCO_17), timestamp_s=0.0).value_deg.shape == (0, len(ANGLE_NAMES))


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ValidationError, match=r"0\.\.1"):
        joint_angles(Poses.empty(COCO_17), timestamp_s=0.0, min_confidence=2.0)


def test_propagated_error_agrees_with_repeated_measurement():
    sigma_px, rng = 2.0, np.random.default_rng(0)
    points = leg(70.0)
    sigma = np.full((1, 17), sigma_px)
    said = joint_angles(person(points, keypoint_sigma_px=sigma), timestamp_s=0.0)
    assert said.sigma_deg is not None
    seen = [
        joint_angles(person({k: tuple(np.add(v, rng.normal(scale=sigma_px, size=2))) for k, v in points.items()}), timestamp_s=0.0)[
            "left_knee_flexion_deg"
        ][0]
        for _ in range(2000)
    ]
    assert said.sigma_deg[0, ANGLE_NAMES.index("left_knee_flexion_deg")] == pytest.approx(np.std(seen), rel=0.1)

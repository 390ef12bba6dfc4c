"""Folds of limbs, leans by side, and angles across skeletons."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17, HALPE_26

TRUNK_PX = 288.0  # a person 1000 px tall by Drillis and Contini
UPPER_ARM_PX, FOREARM_PX, THIGH_PX, SHANK_PX = 186.0, 146.0, 245.0, 246.0


def person(points, *, world=None, skeleton=BLAZEPOSE_33):
    xy = np.full((1, len(skeleton), 2), np.nan)
    for name, at in points.items():
        xy[0, skeleton.index(name)] = at
    return Poses(
        boxes_xyxy=[[0, 0, 500, 1000]],
        scores=[1.0],
        keypoints_xy=xy,
        keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0, 1),
        world_xyz_m=world,
        skeleton=skeleton,
        track_ids=[1],
    )


def bent(flexion_deg, upper, lower, root):
    """(middle, end) of a limb that hangs from `root`, bent at its middle."""
    middle = np.add(root, (0, upper))
    end = middle + lower * np.array([math.sin(math.radians(flexion_deg)), math.cos(math.radians(flexion_deg))])
    return tuple(middle), tuple(end)


SHOULDER, HIP = (250.0, 182.0), (250.0, 182.0 + TRUNK_PX)


@pytest.mark.parametrize("flexion_deg", [20.0, 60.0, 90.0, 140.0])
def test_a_fold_is_the_flexion_of_a_limb_of_standard_proportions(flexion_deg):
    elbow, wrist = bent(flexion_deg, UPPER_ARM_PX, FOREARM_PX, SHOULDER)
    knee, ankle = bent(flexion_deg, THIGH_PX, SHANK_PX, HIP)
    points = {"left_shoulder": SHOULDER, "left_hip": HIP, "left_elbow": elbow, "left_wrist": wrist, "left_knee": knee, "left_ankle": ankle}
    row = joint_angles(person(points), timestamp_s=0.0).row(1)
    assert row["left_arm_fold_deg"] == pytest.approx(flexion_deg, abs=1e-3)
    assert row["left_leg_fold_deg"] == pytest.approx(flexion_deg, abs=1e-3)
    assert row["left_elbow_flexion_deg"] == pytest.approx(flexion_deg, abs=1e-3)


def test_a_fold_needs_no_middle_joint():
    _, wrist = bent(90.0, UPPER_ARM_PX, FOREARM_PX, SHOULDER)
    row = joint_angles(person({"left_shoulder": SHOULDER, "left_hip": HIP, "left_wrist": wrist}), timestamp_s=0.0).row(1)
    assert np.isnan(row["left_elbow_flexion_deg"])
    assert row["left_arm_fold_deg"] == pytest.approx(90.0, abs=1e-3)


def test_a_limb_a_little_too_long_is_straight_and_one_much_too_long_is_no_reading():
    def fold(stretch):
        wrist = (250.0, 182.0 + stretch * (UPPER_ARM_PX + FOREARM_PX))
        return joint_angles(person({"left_shoulder": SHOULDER, "left_hip": HIP, "left_wrist": wrist}), timestamp_s=0.0).row(1)

    assert fold(1.1)["left_arm_fold_deg"] == 0.0
    assert np.isnan(fold(1.4)["left_arm_fold_deg"])


def test_a_trunk_seen_from_one_side_still_leans():
    points = {"left_hip": (200, 500), "left_shoulder": (200 + 288 * math.sin(0.5), 500 - 288 * math.cos(0.5))}
    row = joint_angles(person(points), timestamp_s=0.0).row(1)
    assert row["left_trunk_lean_deg"] == pytest.approx(math.degrees(0.5), abs=1e-3)
    assert np.isnan(row["trunk_lean_deg"])


def test_the_lean_of_the_middle_is_free_of_the_shoulders_breadth():
    points = {"left_hip": (260, 500), "right_hip": (240, 500), "left_shoulder": (310, 200), "right_shoulder": (190, 200)}
    row = joint_angles(person(points), timestamp_s=0.0).row(1)
    assert row["trunk_lean_deg"] == pytest.approx(0.0, abs=1e-4)
    assert row["left_trunk_lean_deg"] > 5


def test_a_segment_much_shorter_than_the_person_has_no_direction():
    knee = (250.0, 470.0 + 15)
    points = {"left_hip": HIP, "left_knee": knee, "left_ankle": (250.0, 900.0)}
    assert np.isnan(joint_angles(person(points), timestamp_s=0.0)["left_knee_flexion_deg"][0])


@pytest.mark.parametrize("skeleton", [COCO_17, HALPE_26])
def test_other_skeletons_give_the_angles_of_blazepose(skeleton):
    rng = np.random.default_rng(0)
    poses = person(dict(zip(BLAZEPOSE_33.keypoints, rng.uniform(100, 900, (33, 2)), strict=True)))
    ours, theirs = (joint_angles(p, timestamp_s=0.0).row(1) for p in (poses, poses.to_skeleton(skeleton)))
    shared = [n for n, value in theirs.items() if not np.isnan(value)]
    assert len(shared) >= 15
    for name in shared:
        if "ankle" not in name:
            assert theirs[name] == pytest.approx(ours[name], abs=1e-3), name


def test_joints_in_space_do_not_care_where_the_camera_stands():
    rng = np.random.default_rng(4)
    world = rng.normal(size=(1, 33, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = world @ (rotation * np.linalg.det(rotation))  # no mirror: forward and outward have a sign
    xy = dict(zip(BLAZEPOSE_33.keypoints, rng.uniform(100, 900, (33, 2)), strict=True))
    a, b = (joint_angles(person(xy, world=w), timestamp_s=0.0) for w in (world, turned))
    joints = [i for i, n in enumerate(a.names) if n.endswith("_3d_deg") and "lean" not in n]
    assert len(joints) == 21
    np.testing.assert_allclose(a.value_deg[:, joints], b.value_deg[:, joints], atol=1e-3)


def test_rows_and_ids_are_those_of_the_poses():
    poses = Poses.concatenate([person({"left_hip": HIP}), person({"left_hip": HIP})]).replace(track_ids=np.array([9, -1]))
    angles = joint_angles(poses, timestamp_s=2.5)
    np.testing.assert_array_equal(angles.track_ids, [9, -1])
    assert angles.timestamp_s == 2.5

"""Signed joint angles and segment angles of a figure that was put into its posture by commanded angles."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles, segment_angles
from pose_analyzer.synthetic import BodySpec
from pose_analyzer.synthetic.anthropometry import LEFT, dimensions
from pose_analyzer.synthetic.camera import look_at
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.landmarks import landmark_offsets
from pose_analyzer.synthetic.rotations import rot_x, rot_y, rot_z
from shared_utils import BLAZEPOSE_33, COCO_17, Poses
from shared_utils.errors import ValidationError

RIGHT = 1 - LEFT


def seen(figure: Figure, azimuth_deg: float, *, sigma_px: float | None = None) -> Poses:
    """A figure from far away, so that perspective does not turn angles."""
    points = figure.points(*landmark_offsets(figure.lengths))
    camera = look_at((0, 0, 0.9), azimuth_deg=azimuth_deg, elevation_deg=0, distance_m=400, fov_deg=0.4, width=1000, height=1000)
    in_camera = camera.to_camera(points)
    hips = BLAZEPOSE_33.indices(["left_hip", "right_hip"])
    xy = camera.project(points)
    return Poses(
        boxes_xyxy=np.concatenate([xy.min(0), xy.max(0)])[None],
        scores=[1.0],
        keypoints_xy=xy[None],
        keypoint_confidence=np.ones((1, 33)),
        world_xyz_m=(in_camera - in_camera[hips].mean(0))[None],
        keypoint_sigma_px=None if sigma_px is None else np.full((1, 33), sigma_px),
        skeleton=BLAZEPOSE_33,
        track_ids=np.array([1]),
    )


def standing() -> Figure:
    figure = Figure(dimensions(BodySpec(height_m=1.8)))
    figure.stand()
    return figure


@pytest.mark.parametrize("flexion_deg", [-30.0, 0.0, 45.0, 90.0, 150.0, 180.0])
@pytest.mark.parametrize("azimuth_deg", [90, -90])
def test_shoulder_flexion_is_positive_forward_from_either_side(flexion_deg, azimuth_deg):
    figure = standing()
    for side in (LEFT, RIGHT):
        figure.arm(side, rot_y(-flexion_deg))
    angles = joint_angles(seen(figure, azimuth_deg), timestamp_s=0.0).row(1)
    for side in ("left", "right"):
        assert angles[f"{side}_shoulder_flexion_deg"] == pytest.approx(flexion_deg, abs=0.5)
        assert angles[f"{side}_shoulder_flexion_3d_deg"] == pytest.approx(flexion_deg, abs=0.01)
        assert np.isnan(angles[f"{side}_shoulder_abduction_deg"])  # not to be seen from the side


@pytest.mark.parametrize("abduction_deg", [-20.0, 0.0, 60.0, 120.0, 180.0])
@pytest.mark.parametrize("azimuth_deg", [0, 180])
def test_abduction_is_positive_outward_from_front_and_back(abduction_deg, azimuth_deg):
    figure = standing()
    for side, sign in ((LEFT, 1), (RIGHT, -1)):
        figure.arm(side, rot_x(sign * abduction_deg))
        figure.leg(side, rot_x(sign * abduction_deg / 6))
    angles = joint_angles(seen(figure, azimuth_deg), timestamp_s=0.0).row(1)
    for side in ("left", "right"):
        assert angles[f"{side}_shoulder_abduction_deg"] == pytest.approx(abduction_deg, abs=0.5)
        assert angles[f"{side}_shoulder_abduction_3d_deg"] == pytest.approx(abduction_deg, abs=0.01)
        assert angles[f"{side}_hip_abduction_deg"] == pytest.approx(abduction_deg / 6, abs=0.5)
        assert angles[f"{side}_hip_abduction_3d_deg"] == pytest.approx(abduction_deg / 6, abs=0.01)
        assert np.isnan(angles[f"{side}_shoulder_flexion_deg"])


def test_an_oblique_view_gives_no_plane_angle_in_the_picture_but_one_in_space():
    figure = standing()
    figure.arm(LEFT, rot_y(-70))
    angles = joint_angles(seen(figure, 45), timestamp_s=0.0).row(1)
    assert np.isnan([v for n, v in angles.items() if "shoulder_flexion_deg" in n or "abduction_deg" in n]).all()
    assert angles["left_shoulder_flexion_3d_deg"] == pytest.approx(70, abs=0.01)


def test_an_arm_across_a_plane_has_no_angle_in_it():
    figure = standing()
    figure.arm(LEFT, rot_x(90))
    angles = joint_angles(seen(figure, 30), timestamp_s=0.0).row(1)
    assert np.isnan(angles["left_shoulder_flexion_3d_deg"])
    assert angles["left_shoulder_abduction_3d_deg"] == pytest.approx(90, abs=0.01)


def test_hip_abduction_in_space_does_not_change_with_flexion():
    figure = standing()
    found = []
    for flexion_deg in (0.0, 60.0, 90.0):
        figure.leg(LEFT, rot_y(-flexion_deg) @ rot_x(25))
        found.append(joint_angles(seen(figure, 20), timestamp_s=0.0)["left_hip_abduction_3d_deg"][0])
    np.testing.assert_allclose(found, 25, atol=0.01)


def test_a_bent_wrist_and_a_bent_neck_are_told():
    figure = standing()
    figure.arm(LEFT, np.eye(3), wrist_deg=40)
    straight, bent = standing(), standing()
    for side in (LEFT, RIGHT):
        straight.arm(side, np.eye(3))
    trunk = bent.joint("mid_hip")
    bent.place_trunk(trunk, np.eye(3), head=rot_y(40))
    wrist = [joint_angles(seen(f, 30), timestamp_s=0.0)["left_wrist_flexion_3d_deg"][0] for f in (straight, figure)]
    # The knuckles do not lie on the hand's axis: what a bend of 40 degrees adds.
    assert wrist[1] - wrist[0] == pytest.approx(40, abs=12)
    neck = [joint_angles(seen(f, 90), timestamp_s=0.0)["neck_flexion_deg"][0] for f in (straight, bent)]
    assert 20 < neck[1] - neck[0] < 40  # half of the turn happens below the skull


@pytest.mark.parametrize(
    ("name", "degrees"),
    [
        ("trunk_segment_deg", 90.0),
        ("left_thigh_segment_deg", -90.0),
        ("left_shank_segment_deg", -90.0),
        ("left_arm_segment_deg", -90.0),
        ("trunk_segment_3d_deg", 90.0),
        ("left_thigh_segment_3d_deg", -90.0),
    ],
)
def test_segments_of_a_standing_person_follow_sports2d(name, degrees):
    assert segment_angles(seen(standing(), 0), timestamp_s=0.0)[name][0] == pytest.approx(degrees, abs=0.5)


def test_feet_and_shoulders_tell_where_they_point():
    from_right = segment_angles(seen(standing(), -90), timestamp_s=0.0).row(1)  # faces the picture's right
    from_left = segment_angles(seen(standing(), 90), timestamp_s=0.0).row(1)
    assert abs(from_right["left_foot_segment_deg"]) < 12  # the toes of a shoe lie a little above or below its heel
    assert abs(from_left["left_foot_segment_deg"]) > 168
    figure = standing()
    figure.place_trunk(figure.joint("mid_hip"), rot_x(10))  # leans to its right: the left shoulder is the higher one
    assert segment_angles(seen(figure, 0), timestamp_s=0.0)["shoulders_segment_deg"][0] == pytest.approx(10, abs=0.5)


def test_a_raised_arm_turns_anticlockwise_with_the_clock_of_the_picture():
    figure = standing()
    figure.arm(LEFT, rot_x(60))  # to the picture's right when seen from the front
    assert segment_angles(seen(figure, 0), timestamp_s=0.0)["left_arm_segment_deg"][0] == pytest.approx(-30, abs=0.5)


def test_turning_the_body_around_the_vertical_keeps_every_angle_in_space():
    figure = standing()
    figure.arm(LEFT, rot_y(-50) @ rot_x(20))
    a = joint_angles(seen(figure, 0), timestamp_s=0.0)
    figure.move(70, np.zeros(3))
    b = joint_angles(seen(figure, 0), timestamp_s=0.0)
    columns = [i for i, n in enumerate(a.names) if n.endswith("_3d_deg")]
    np.testing.assert_allclose(a.value_deg[:, columns], b.value_deg[:, columns], atol=0.01)
    assert rot_z(0).shape == (3, 3)


@pytest.mark.parametrize("name", ["left_shoulder_abduction_deg", "left_knee_flexion_3d_deg", "left_thigh_segment_deg"])
def test_propagated_errors_of_new_angles_agree_with_repeated_measurement(name):
    figure = standing()
    for side, sign in ((LEFT, 1), (RIGHT, -1)):
        figure.arm(side, rot_x(sign * 70))
        figure.leg(side, rot_y(-60), knee_deg=80)
    rng = np.random.default_rng(3)
    poses = seen(figure, 0, sigma_px=3.0)
    measure = segment_angles if "segment" in name else joint_angles
    said = measure(poses, timestamp_s=0.0)
    assert said.sigma_deg is not None
    size = float((poses.boxes_xyxy[0, 2:] - poses.boxes_xyxy[0, :2]).max())
    assert poses.world_xyz_m is not None
    values = []
    for _ in range(1500):
        noisy = poses.replace(
            keypoints_xy=poses.keypoints_xy + rng.normal(scale=3.0, size=(1, 33, 2)),
            world_xyz_m=poses.world_xyz_m + rng.normal(scale=3.0 / size * 1.7, size=(1, 33, 3)),
        )
        values.append(measure(noisy, timestamp_s=0.0)[name][0])
    assert said.sigma_deg[0, said.names.index(name)] == pytest.approx(np.nanstd(values), rel=0.1)


def test_nobody_and_an_impossible_confidence():
    assert segment_angles(Poses.empty(COCO_17), timestamp_s=0.0).value_deg.shape[0] == 0
    with pytest.raises(ValidationError, match=r"0\.\.1"):
        segment_angles(Poses.empty(COCO_17), timestamp_s=0.0, min_confidence=-1)

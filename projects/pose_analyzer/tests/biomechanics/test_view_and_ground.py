"""Where the camera stands and how far things are: against the athlete's own camera."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.biomechanics import (
    PREFERRED_VIEWS,
    GroundPlane,
    camera_direction_deg,
    check_placement,
    focal_px_from_fov,
    joint_angles,
    metres_per_px,
    metres_per_px_of_line,
    plane_disagreement_deg,
    positions_m,
    wrap_deg,
)
from pose_analyzer.exercise import list_profiles
from pose_analyzer.synthetic import Truth, scene_for
from shared_utils import BLAZEPOSE_33, COCO_17, Angles, Poses
from shared_utils.errors import ValidationError


def standing(azimuth_deg: float = 0.0, **more) -> tuple[Truth, Poses]:
    truth = scene_for("squat", azimuth_deg=azimuth_deg, reps=1, width=480, height=640, fps=10, height_m=1.75, **more).truth_at(0)
    return truth, truth.poses().replace(keypoint_confidence=np.ones((1, 33)))


@pytest.mark.parametrize("azimuth_deg", [-150, -90, -30, 0, 45, 90, 135, 180])
def test_the_camera_is_found_where_it_stands(azimuth_deg):
    _, poses = standing(azimuth_deg)
    assert abs(float(wrap_deg(camera_direction_deg(poses)[0][0] - azimuth_deg))) < 5


def test_looking_down_is_told():
    elevation = [camera_direction_deg(standing(30, elevation_deg=e)[1])[1][0] for e in (0, 40)]
    assert elevation[1] - elevation[0] == pytest.approx(40, abs=6)


def test_a_lying_person_seen_from_the_side_is_seen_from_the_side():
    truth = scene_for("push_up", azimuth_deg=90, reps=1, width=480, height=480, fps=10).truth_at(3)
    azimuth, _ = camera_direction_deg(truth.poses().replace(keypoint_confidence=np.ones((1, 33))))
    assert abs(azimuth[0]) == pytest.approx(90, abs=10)


def test_without_metric_landmarks_or_confidence_nothing_is_known():
    _, poses = standing()
    assert np.isnan(camera_direction_deg(poses.replace(world_xyz_m=None))[0]).all()
    assert np.isnan(camera_direction_deg(poses.replace(keypoint_confidence=np.full((1, 33), 0.1)))[0]).all()
    assert camera_direction_deg(Poses.empty(BLAZEPOSE_33))[0].shape == (0,)


@pytest.mark.parametrize(
    ("exercise", "azimuth_deg", "ok"),
    [
        ("squat", 90, True),
        ("squat", -70, True),
        ("squat", 0, False),
        ("squat", 150, False),
        ("lateral_raise", 10, True),
        ("lateral_raise", 175, True),
        ("lateral_raise", 90, False),
        ("unheard_of", 37, True),
        (None, 37, True),
    ],
)
def test_a_camera_suits_an_exercise_or_not(exercise, azimuth_deg, ok):
    assert check_placement(np.array([azimuth_deg, np.nan]), exercise).ok is ok


@pytest.mark.parametrize("azimuth_deg", [20, -20, 160, -170, 0])
def test_following_the_advice_ends_in_a_good_place(azimuth_deg):
    before = check_placement(np.array([azimuth_deg]), "squat")
    assert f"{before.off_deg:.0f}°" in before.advice[0]
    side = 1 if "left side" in before.advice[0] else -1
    moved = azimuth_deg + side * before.off_deg * (1 if abs(azimuth_deg) < 90 else -1)
    assert check_placement(np.array([moved]), "squat").ok
    assert not before.ok


def test_far_and_high_cameras_are_told():
    far = check_placement(np.array([90.0]), "squat", height_px=np.array([60.0, 80.0, 70.0]))
    high = check_placement(np.array([90.0]), "squat", elevation_deg=np.array([50.0]))
    assert "closer" in far.advice[0]
    assert "lower it" in high.advice[0]
    assert check_placement(np.array([np.nan]), "squat").ok  # nothing is known, nothing is claimed


def test_every_preferred_view_belongs_to_a_profile():
    assert set(PREFERRED_VIEWS) == set(list_profiles())


def test_movement_out_of_the_picture_s_plane_shows_as_disagreement():
    found = {}
    for azimuth_deg in (0, 90):
        scene = scene_for("squat", azimuth_deg=azimuth_deg, elevation_deg=0, reps=1, width=480, height=640, fps=10)
        deepest = max((scene.truth_at(i) for i in range(len(scene))), key=lambda t: float(t.progress[0]))
        angles = joint_angles(deepest.poses().replace(keypoint_confidence=np.ones((1, 33))), timestamp_s=0.0)
        found[azimuth_deg] = plane_disagreement_deg(angles)[0]["left_knee_flexion"][0]
    assert found[0] > 20 > 10 > found[90]
    with pytest.raises(ValidationError, match="joint_angles"):
        plane_disagreement_deg(Angles(("x_deg",), np.array([1]), np.zeros((1, 1))))


@pytest.mark.parametrize("azimuth_deg", [0, 45, 90])
def test_metres_follow_from_a_known_height(azimuth_deg):
    truth, poses = standing(azimuth_deg)
    depth = truth.joints_camera_m[0, BLAZEPOSE_33.indices(["left_hip", "right_hip"]), 2].mean()
    assert metres_per_px([poses], 1.75) == pytest.approx(depth / truth.focal_px, rel=0.08)
    place = positions_m(poses, height_m=1.75, focal_px=truth.focal_px, width=480, height=640)[0]
    assert np.linalg.norm(place - truth.joints_camera_m[0, 23:25].mean(0)) < 0.08 * depth


def test_the_floor_under_a_standing_person_is_the_floor():
    truth, poses = standing(30, elevation_deg=15)
    plane = GroundPlane.from_people([poses], height_m=1.75, focal_px=truth.focal_px, width=480, height=640)
    assert plane.camera_height_m == pytest.approx(truth.camera_position[2], abs=0.2)
    assert plane.tilt_deg == pytest.approx(15, abs=4)
    assert abs(plane.roll_deg) < 3


def test_a_floor_turns_pixels_into_metres():
    truth, _ = standing(30, elevation_deg=15)
    r = truth.camera_rotation
    plane = GroundPlane(normal=r[:, 2], camera_height_m=float(truth.camera_position[2]), focal_px=truth.focal_px, width=480, height=640)
    assert plane.tilt_deg == pytest.approx(15, abs=0.01)
    spots = np.array([[0.3, -0.2, 0.0], [-0.5, 0.4, 0.0]])
    seen = (spots - truth.camera_position) @ r.T
    xy = truth.focal_px * seen[:, :2] / seen[:, 2:] + [240, 320]
    floor = plane.to_floor_m(xy)
    assert np.linalg.norm(floor[0] - floor[1]) == pytest.approx(np.linalg.norm(spots[0] - spots[1]), abs=1e-6)
    assert np.isnan(plane.to_floor_m(np.array([240.0, -5000.0]))).all()  # the sky


def test_bad_input_of_the_ground_is_refused():
    _, poses = standing()
    for bad in (0.0, 3.0, float("nan")):
        with pytest.raises(ValidationError, match="height"):
            metres_per_px([poses], bad)
    with pytest.raises(ValidationError, match="one person"):
        metres_per_px([Poses.concatenate([poses, poses])], 1.7)
    with pytest.raises(ValidationError, match="stands"):
        GroundPlane.from_people([Poses.empty(COCO_17)], height_m=1.7, focal_px=500, width=10, height=10)
    with pytest.raises(ValidationError, match="fov"):
        focal_px_from_fov(100, 180)
    with pytest.raises(ValidationError, match="ends"):
        metres_per_px_of_line((1, 1), (1, 1), 2.0)
    assert np.isnan(metres_per_px([Poses.empty(COCO_17)], 1.7))

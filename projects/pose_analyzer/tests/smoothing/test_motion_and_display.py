"""Velocities and features against movements written down as formulas; pictures drawn one frame ahead."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.smoothing import DisplayPredictor, MotionAnalyzer
from shared_utils.data_models import Origin, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import COCO_17

HEIGHT = 200.0


def person(xy, track=1, height=HEIGHT):
    xy = np.broadcast_to(np.asarray(xy, float), (17, 2)).copy()
    return Poses(
        boxes_xyxy=[[0, 0, 80, height]],
        scores=[1],
        keypoints_xy=xy[None],
        keypoint_confidence=(~np.isnan(xy[None, :, 0])).astype(float),
        track_ids=[track],
        skeleton=COCO_17,
    )


@given(st.lists(st.floats(0.004, 0.15), min_size=6, max_size=40), st.floats(-3, 3), st.floats(-3, 3))
@settings(deadline=None, max_examples=40)
def test_an_even_movement_has_its_speed_whatever_the_times(gaps, vx, vy):
    analyzer, t = MotionAnalyzer(), 0.0
    for dt in gaps:
        t += dt
        motion = analyzer.update(person([100 + HEIGHT * vx * t, 50 + HEIGHT * vy * t]), timestamp_s=t)
    np.testing.assert_allclose(motion.velocity[0], np.tile([vx, vy], (17, 1)), atol=0.02)
    assert motion.mean_speed[0] == pytest.approx(np.hypot(vx, vy), abs=0.02)
    assert bool(motion.rapid[0]) == (motion.max_speed[0] > 2.0)


@pytest.mark.parametrize("fps", [15, 30, 60, 240])
def test_a_fall_has_its_acceleration(fps):
    analyzer = MotionAnalyzer()
    for i in range(fps):
        t = i / fps
        motion = analyzer.update(person([50.0, 10 + HEIGHT * 0.5 * 3.0 * t**2]), timestamp_s=t)
    np.testing.assert_allclose(motion.acceleration[0, :, 1], 3.0, atol=0.05)
    np.testing.assert_allclose(motion.acceleration[0, :, 0], 0.0, atol=0.05)


def test_arms_legs_and_trunk_are_told_apart_and_absent_joints_left_out():
    analyzer = MotionAnalyzer()
    arms = COCO_17.indices(["left_elbow", "right_elbow", "left_wrist", "right_wrist"])
    for i in range(10):
        xy = np.full((17, 2), 100.0)
        xy[arms, 0] += HEIGHT * 1.5 * i / 30
        xy[COCO_17.index("left_knee")] = np.nan
        motion = analyzer.update(person(xy), timestamp_s=i / 30)
    assert motion.arms[0] == pytest.approx(1.5, abs=1e-3)
    assert motion.legs[0] == pytest.approx(0, abs=1e-6)
    assert motion.trunk[0] == pytest.approx(0, abs=1e-6)
    assert motion.mean_speed[0] == pytest.approx(1.5 * 4 / 11, abs=1e-3)
    assert motion.max_speed[0] == pytest.approx(1.5, abs=1e-3)
    assert np.isnan(motion.velocity[0, COCO_17.index("left_knee")]).all()


def test_variance_of_speed_is_zero_for_even_and_large_for_jerky_movement():
    even, jerky = MotionAnalyzer(), MotionAnalyzer()
    for i in range(60):
        a = even.update(person([5.0 * i, 50.0]), timestamp_s=i / 30)
        b = jerky.update(person([40.0 * (i // 8), 50.0]), timestamp_s=i / 30)
    assert a.variance[0] == pytest.approx(0, abs=1e-6)
    assert b.variance[0] > 0.1


def test_nothing_is_measured_across_a_gap_an_absence_or_another_person():
    analyzer = MotionAnalyzer(max_gap_s=0.3)
    for i in range(5):
        analyzer.update(person([0.0, 0.0]), timestamp_s=i / 30)
    assert np.isnan(analyzer.update(person([500.0, 0.0]), timestamp_s=1.0).velocity).all()
    assert np.isnan(analyzer.update(person([500.0, 0.0], track=2), timestamp_s=1.03).velocity).all()
    assert len(analyzer.update(Poses.empty(COCO_17), timestamp_s=1.06)) == 0
    analyzer.forget(2)
    with pytest.raises(ValidationError, match="finite"):
        analyzer.update(person([0.0, 0.0]), timestamp_s=float("inf"))


def test_a_repeated_time_gives_the_same_motion():
    analyzer = MotionAnalyzer()
    for i in range(5):
        motion = analyzer.update(person([4.0 * i, 0.0]), timestamp_s=i / 30)
    again = analyzer.update(person([900.0, 0.0]), timestamp_s=4 / 30)
    np.testing.assert_array_equal(again.velocity, motion.velocity)


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_drawn_one_frame_ahead_a_swing_is_nearer_to_where_it_will_be(fps):
    ahead, late, shown = DisplayPredictor(), [], []
    path = lambda t: np.array([300 + 60 * np.sin(2 * np.pi * t), 200.0])  # noqa: E731
    for i in range(3 * fps):
        poses = person(path(i / fps))
        out = ahead.update(poses, timestamp_s=i / fps)
        future = path((i + 1) / fps)[0]
        late.append(abs(poses.keypoints_xy[0, 0, 0] - future))
        shown.append(abs(out.keypoints_xy[0, 0, 0] - future))
    assert np.mean(shown[fps:]) < 0.65 * np.mean(late[fps:])
    assert Origin(int(out.origin[0])) is Origin.PREDICTED


def test_a_person_at_rest_is_drawn_where_they_are():
    ahead, rng = DisplayPredictor(), np.random.default_rng(0)
    for i in range(60):
        poses = person(100 + rng.normal(scale=0.02, size=(17, 2)))
        out = ahead.update(poses, timestamp_s=i / 30)
    np.testing.assert_allclose(out.keypoints_xy, poses.keypoints_xy, atol=0.02)


def test_display_passes_strangers_and_repeated_frames_and_names_bad_settings():
    ahead = DisplayPredictor()
    assert (ahead.update(person([0.0, 0.0], track=-1), timestamp_s=0.0).origin == Origin.DETECTED).all()
    poses = person([9.0, 9.0])
    assert ahead.update(poses, timestamp_s=0.0) is poses
    for value in (-0.1, 0.5):
        with pytest.raises(ValidationError, match="ahead_s"):
            DisplayPredictor(ahead_s=value)

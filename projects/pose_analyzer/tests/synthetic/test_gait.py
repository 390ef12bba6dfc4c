"""Walking: feet that do not slide, hips that go where the path goes."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.synthetic.anthropometry import SIDES, dimensions
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.landmarks import ANGLE_NAMES, angles_deg, landmark_offsets
from pose_analyzer.synthetic.motion_spec import MotionSpec
from pose_analyzer.synthetic.motions import GESTURES, Moment, Path, program
from pose_analyzer.synthetic.spec import BodySpec


def walk(seconds, rate=200, speed=1.2, path=((0, 0), (8, 0)), **body):
    spec = MotionSpec(exercise="walking", path_m=path, speed_m_s=speed)
    lengths = dimensions(BodySpec(**body))
    motion = program(lengths, spec, 0)
    figures = []
    for t in np.arange(1.0, 1.0 + seconds, 1 / rate):
        figure = Figure(lengths)
        motion.pose(figure, Moment(float(t)))
        figures.append(figure)
    return figures


def soles(figure, side):
    """Lowest points of heel and toe of a shoe, (2, 3)."""
    d = figure.lengths
    offsets = np.array([[-d.heel_back, 0, -d.foot_height], [d.foot_length - d.heel_back, 0, -d.foot_height]])
    return figure.origin[17 + side] + offsets @ figure.rotation[17 + side].T


def test_what_touches_the_floor_does_not_slide():
    figures = walk(2.5)
    touching = 0
    for side in SIDES:
        points = np.array([soles(f, side) for f in figures])
        for part in (0, 1):
            down = (points[1:, part, 2] < 1e-5) & (points[:-1, part, 2] < 1e-5)
            step = np.linalg.norm(np.diff(points[:, part, :2], axis=0), axis=1)
            assert step[down].max() < 5e-4
            touching += down.sum()
    assert touching > 400


def test_one_foot_at_least_always_touches_the_floor_and_none_sinks():
    for figure in walk(2.0, rate=50, height_m=1.62):
        lowest = [soles(figure, side)[:, 2].min() for side in SIDES]
        assert min(lowest) == pytest.approx(0.0, abs=2e-3)
        assert min(lowest) > -1e-3


@pytest.mark.parametrize("speed", [0.8, 1.2, 1.6])
@pytest.mark.parametrize("height", [1.5, 1.9])
def test_hips_move_at_the_asked_speed_and_bob_by_a_few_centimetres(speed, height):
    hips = np.array([f.joint("mid_hip") for f in walk(3.0, rate=50, speed=speed, height_m=height)])
    assert (hips[-1, 0] - hips[0, 0]) / (2.98) == pytest.approx(speed, rel=0.01)
    assert 0.015 < np.ptp(hips[:, 2]) < 0.07
    assert hips[:, 2].min() > 0.47 * height


def test_the_knee_swings_through_sixty_degrees_and_is_nearly_straight_at_landing():
    segments, offsets = landmark_offsets(dimensions(BodySpec()))
    knee = np.array([angles_deg(f.points(segments, offsets)) for f in walk(2.5, rate=60)])[:, ANGLE_NAMES.index("left_knee_flexion_deg")]
    assert 50 < knee.max() < 80
    assert knee.min() < 15


def test_arms_swing_against_the_legs():
    for figure in walk(2.0, rate=25):
        feet = figure.joint("ankle", 0)[0] - figure.joint("ankle", 1)[0]
        hands = figure.joint("wrist", 0)[0] - figure.joint("wrist", 1)[0]
        if abs(feet) > 0.4:
            assert feet * hands < 0


def test_a_path_is_followed_around_its_corner_facing_along_it():
    figures = walk(5.0, rate=30, path=((0, 0), (3, 0), (3, 6)))
    hips = np.array([f.joint("mid_hip") for f in figures])
    on_first, on_second = np.abs(hips[:, 1]) < 0.05, np.abs(hips[:, 0] - 3) < 0.05
    corner = np.hypot(hips[:, 0] - 3, hips[:, 1]) < 0.7
    assert (on_first | on_second | corner).all()
    assert figures[0].rotation[0][:, 0] == pytest.approx([1, 0, 0], abs=0.15)
    assert figures[-1].rotation[0][:, 0] == pytest.approx([0, 1, 0], abs=0.15)


def test_a_path_is_measured_along_its_pieces():
    path = Path(((0, 0), (3, 0), (3, 4)))
    assert path.length_m == pytest.approx(7.0)
    assert path.at(5.0) == pytest.approx([3, 2])
    assert path.at(-1.0) == pytest.approx([-1, 0])
    spot, heading = path.smooth(1.5)
    assert spot == pytest.approx([1.5, 0])
    assert heading == pytest.approx(0.0)


@pytest.mark.parametrize("gesture", GESTURES)
def test_every_gesture_keeps_the_feet_and_changes_the_arms(gesture):
    lengths = dimensions(BodySpec())
    motion = program(lengths, MotionSpec(exercise="idle", gestures=(gesture,)), 0)
    figure = Figure(lengths)
    motion.pose(figure, Moment(0.4))
    ankle, wrist = figure.joint("ankle"), figure.joint("wrist", 1)
    motion.pose(figure, Moment(1.6))
    assert figure.joint("ankle") == pytest.approx(ankle, abs=1e-9)
    resting = program(lengths, MotionSpec(exercise="idle", gestures=("rest",)), 0)
    resting.pose(figure, Moment(0.4))
    away = np.linalg.norm(figure.joint("wrist", 1) - wrist)
    assert (away < 1e-9) == (gesture in ("rest", "check_watch"))


def test_idle_gestures_are_drawn_by_seed():
    lengths = dimensions(BodySpec())
    spec = MotionSpec(exercise="idle")
    orders = [program(lengths, spec, seed).order for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert all(a != b for a, b in zip(orders[0], orders[0][1:], strict=False))

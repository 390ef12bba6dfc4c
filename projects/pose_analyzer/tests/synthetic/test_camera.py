"""The pinhole camera against one written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_analyzer.synthetic.camera import look_at


def by_hand(point, target, azimuth, elevation, distance, fov, width, height):
    """Pinhole projection in scalars: angles and distances of the point as seen along the axis."""
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = [
        target[0] + distance * math.cos(e) * math.cos(a),
        target[1] + distance * math.cos(e) * math.sin(a),
        target[2] + distance * math.sin(e),
    ]
    forward = [-math.cos(e) * math.cos(a), -math.cos(e) * math.sin(a), -math.sin(e)]
    right = [-math.sin(a), math.cos(a), 0.0]
    up = [-math.sin(e) * math.cos(a), -math.sin(e) * math.sin(a), math.cos(e)]
    v = [p - q for p, q in zip(point, eye, strict=True)]
    depth, x, y = (sum(i * j for i, j in zip(v, axis, strict=True)) for axis in (forward, right, up))
    focal = height / 2 / math.tan(math.radians(fov / 2))
    return width / 2 + focal * x / depth, height / 2 - focal * y / depth


@given(
    st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 2)),
    st.floats(-180, 180),
    st.floats(-30, 80),
    st.floats(2.5, 10),
    st.floats(20, 90),
)
def test_projection_is_the_textbook_pinhole(point, azimuth, elevation, distance, fov):
    camera = look_at(
        (0.1, -0.2, 0.9), azimuth_deg=azimuth, elevation_deg=elevation, distance_m=distance, fov_deg=fov, width=640, height=480
    )
    expected = by_hand(point, (0.1, -0.2, 0.9), azimuth, elevation, distance, fov, 640, 480)
    assert camera.project(np.array(point)) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("azimuth", "side"),
    [
        (0, 1),  # from the front the left hand is on the image's right
        (180, -1),  # from behind on its left
    ],
)
def test_azimuth_says_from_which_side_one_looks(azimuth, side):
    camera = look_at((0, 0, 1), azimuth_deg=azimuth, elevation_deg=0, distance_m=4, fov_deg=40, width=640, height=480)
    left_hand = camera.project(np.array([0.0, 0.5, 1.0]))
    assert (left_hand[0] - 320) * side > 50


def test_azimuth_90_stands_at_the_left_side_of_the_athlete():
    camera = look_at((0, 0, 1), azimuth_deg=90, elevation_deg=0, distance_m=4, fov_deg=40, width=640, height=480)
    assert camera.position == pytest.approx([0, 4, 1])
    # Who faces +x then looks to the image's left.
    assert camera.project(np.array([0.5, 0.0, 1.0]))[0] < 320


def test_the_target_lies_in_the_middle_and_the_field_of_view_spans_the_height():
    camera = look_at((0, 0, 1), azimuth_deg=0, elevation_deg=0, distance_m=3, fov_deg=60, width=640, height=480)
    assert camera.project(np.array([0.0, 0.0, 1.0])) == pytest.approx([320, 240])
    top = 1.0 + 3 * math.tan(math.radians(30))
    assert camera.project(np.array([0.0, 0.0, top])) == pytest.approx([320, 0], abs=1e-9)


def test_a_point_behind_the_camera_has_no_pixel():
    camera = look_at((0, 0, 1), azimuth_deg=0, elevation_deg=0, distance_m=3, fov_deg=60, width=640, height=480)
    assert np.isnan(camera.project(np.array([5.0, 0.0, 1.0]))).all()


def test_rolling_the_camera_clockwise_turns_the_picture_anticlockwise():
    camera = look_at((0, 0, 1), azimuth_deg=0, elevation_deg=0, distance_m=3, fov_deg=60, width=640, height=480, roll_deg=90)
    above = camera.project(np.array([0.0, 0.0, 1.5]))
    assert above[0] < 320 - 10
    assert above[1] == pytest.approx(240)


def test_panning_right_moves_the_picture_left_and_keeps_the_position():
    camera = look_at((0, 0, 1), azimuth_deg=30, elevation_deg=10, distance_m=3, fov_deg=60, width=640, height=480)
    turned = camera.turned(5)
    assert turned.position == pytest.approx(camera.position)
    assert turned.project(np.array([0.0, 0.0, 1.0]))[0] < 320 - 10
    assert turned.rotation @ turned.rotation.T == pytest.approx(np.eye(3))

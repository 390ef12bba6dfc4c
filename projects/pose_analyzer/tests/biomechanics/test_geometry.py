"""Angles between vectors: nine digits everywhere, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_analyzer.biomechanics import angle_between_deg, interior_angle_deg

any_angle = st.floats(0, 180)
turns = st.floats(-math.pi, math.pi)
lengths = st.floats(1e-3, 1e4)


def direction(radians: float) -> np.ndarray:
    return np.array([math.cos(radians), math.sin(radians)])


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """A rotation of space by three Euler angles."""
    x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


@pytest.mark.parametrize("degrees", [0.0, 1e-7, 1e-4, 1.0, 45.0, 90.0, 135.0, 179.0, 179.9999, 180.0 - 1e-7, 180.0])
@pytest.mark.parametrize("d", [2, 3])
def test_angles_are_exact_to_nine_digits_also_near_straight(degrees, d):
    u, v = np.zeros(d), np.zeros(d)
    u[0] = 3.0
    v[:2] = 0.2 * direction(math.radians(degrees))
    assert float(angle_between_deg(u, v)) == pytest.approx(degrees, abs=1e-9)


@given(any_angle, turns, lengths, lengths, st.booleans())
def test_turning_scaling_and_mirroring_the_plane_change_nothing(degrees, turn, p, q, mirrored):
    sign = -1 if mirrored else 1
    u, v = p * direction(turn), q * direction(turn + sign * math.radians(degrees))
    assert float(angle_between_deg(u, v)) == pytest.approx(degrees, abs=1e-9)
    assert float(angle_between_deg(v, u)) == pytest.approx(degrees, abs=1e-9)


@given(any_angle, turns, turns, turns, lengths)
def test_turning_and_scaling_space_changes_nothing(degrees, a, b, c, scale):
    r = rotation(a, b, c) * scale
    u, v = r @ [1, 0, 0], r @ [*direction(math.radians(degrees)), 0]
    assert float(angle_between_deg(u, v)) == pytest.approx(degrees, abs=1e-9)


@given(any_angle, turns, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_the_interior_angle_is_that_of_three_points_wherever_they_lie(degrees, turn, x, y):
    b = np.array([x, y])
    a, c = b + 300 * direction(turn), b + 200 * direction(turn + math.radians(degrees))
    assert float(interior_angle_deg(a, b, c)) == pytest.approx(degrees, abs=1e-8)


def test_vectors_without_a_direction_have_no_angle():
    got = angle_between_deg([[0, 0], [1, 0], [np.nan, 0], [0.5, 0]], [0.0, 1.0], min_length=0.6)
    np.testing.assert_array_equal(np.isnan(got), [True, False, True, True])


def test_every_pair_of_a_stack_is_measured_at_once():
    u = np.stack([direction(x) for x in np.linspace(0, 3, 12)]).reshape(3, 4, 2)
    one_by_one = [[float(angle_between_deg(u[i, j], [0.0, 2.0])) for j in range(4)] for i in range(3)]
    np.testing.assert_array_equal(angle_between_deg(u, [0.0, 2.0]), one_by_one)

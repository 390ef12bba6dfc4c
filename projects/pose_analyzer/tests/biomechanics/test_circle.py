"""Signed angles, wrapping, paths and means on the circle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.biomechanics import circular_mean_deg, signed_angle_deg, unwrap_deg, wrap_deg

degrees = st.floats(-179.0, 179.0)


@given(degrees, degrees)
@settings(deadline=None)
def test_a_signed_angle_is_the_difference_of_two_directions(a, b):
    # Directions anticlockwise from the right, in pixels with y down.
    u, v = ([np.cos(np.radians(t)), -np.sin(np.radians(t))] for t in (a, b))
    assert float(wrap_deg(signed_angle_deg(u, v) - (a - b))) == pytest.approx(0.0, abs=1e-6) or abs(abs(a - b) - 180) < 1e-6


@given(st.floats(-1e4, 1e4), st.floats(-300, 300), st.sampled_from([180.0, 360.0]))
@settings(deadline=None)
def test_wrapping_moves_by_whole_periods_into_the_window(angle, low, period):
    wrapped = float(wrap_deg(angle, low=low, period=period))
    assert low - 1e-9 < wrapped <= low + period
    turns = (wrapped - angle) / period
    assert turns == pytest.approx(round(turns), abs=1e-6)


@given(st.lists(st.floats(-170, 170), min_size=1, max_size=60), degrees)
@settings(deadline=None)
def test_unwrapping_gives_back_a_path_whose_steps_are_less_than_half_a_turn(steps, start):
    path = start + np.cumsum(steps)
    np.testing.assert_allclose(unwrap_deg(wrap_deg(path)) - path, unwrap_deg(wrap_deg(path))[0] - path[0], atol=1e-6)


def test_a_gap_in_a_path_stays_a_gap_and_breaks_nothing():
    path = unwrap_deg(np.array([[170.0, 0.0], [np.nan, 1.0], [-170.0, np.nan]]))
    np.testing.assert_allclose(path, [[170, 0], [np.nan, 1], [190, np.nan]])


def test_means_on_the_circle():
    assert float(circular_mean_deg([170.0, -170.0])) == pytest.approx(180.0)
    assert np.isnan(circular_mean_deg([0.0, 180.0]))
    assert np.isnan(circular_mean_deg([np.nan]))
    assert float(circular_mean_deg([0.0, 90.0], weights=[1.0, 0.0])) == pytest.approx(0.0)
    np.testing.assert_allclose(circular_mean_deg([[10.0, 350.0], [20.0, np.nan]], axis=1), [0.0, 20.0], atol=1e-9)

"""The media clocks: exact where the stream's times are good, repaired and counted where they are not."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_analyzer.video.timing import LiveClock, MediaClock, sane_rate

MS = Fraction(1, 1000)


def stamps(pts, period_s=0.04, base=MS):
    clock = MediaClock(base, period_s)
    return [clock.stamp(value) for value in pts], clock.report


@given(
    start=st.integers(-(10**9), 10**9),
    steps=st.lists(st.integers(1, 60_000), max_size=50),
    base=st.sampled_from([MS, Fraction(1, 90_000), Fraction(1001, 30_000)]),
)
def test_rising_times_are_kept_exactly(start, steps, base):
    pts = np.cumsum([start, *[max(min(step, int(500 / base)), 1) for step in steps]]).tolist()
    times, report = stamps(pts, base=base)
    assert times == [float((value - start) * base) for value in pts]
    assert report.clean


@given(pts=st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), max_size=100))
def test_whatever_comes_time_is_finite_and_rises(pts):
    times, _ = stamps(pts)
    assert np.isfinite(times).all()
    assert all(a < b for a, b in pairwise(times)) or max(times, default=0) > 1e9


def test_missing_times_follow_the_nominal_rate_without_drift():
    times, report = stamps([None] * 100_000)
    assert times[-1] == pytest.approx(99_999 * 0.04, abs=1e-6)
    assert report.missing == 100_000


def test_missing_times_between_good_ones_do_not_shift_these():
    times, report = stamps([0, 40, None, None, 160, 200])
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12, 0.16, 0.2])
    assert (report.missing, report.nudged, report.breaks) == (2, 0, 0)


def test_a_doubled_time_is_set_between_its_neighbours():
    times, report = stamps([0, 40, 40, 80, 120])
    np.testing.assert_allclose(times, [0, 0.04, 0.06, 0.08, 0.12])
    assert report.nudged == 1


def test_a_clock_that_was_set_back_goes_on():
    times, report = stamps([0, 40, 80, -50_000, -49_960])
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12, 0.16])
    assert report.breaks == 1


def test_an_absurd_leap_forward_is_no_time():
    times, report = stamps([0, 40, 10**9, 10**9 + 40])
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12])
    assert report.breaks == 1


def test_a_long_pause_of_a_screen_recording_is_time():
    times, report = stamps([0, 40, 300_040])
    assert times[-1] == pytest.approx(300.04)
    assert report.clean


@pytest.mark.parametrize(
    ("rate", "expected"), [(Fraction(25), 25.0), (Fraction(90_000), None), (Fraction(0), None), (None, None), (Fraction(1, 10), 0.1)]
)
def test_only_believable_rates_are_passed_on(rate, expected):
    assert sane_rate(rate) == expected


def live(pairs):
    clock = LiveClock()
    return [clock.stamp(pts, arrival) for pts, arrival in pairs], clock


def test_a_cameras_own_clock_wins_over_late_arrival():
    pairs = [(10.0, 0.0), (10.04, 0.3), (10.08, 0.31), (10.12, 0.32)]
    times, clock = live(pairs)
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12])
    assert clock.report.clean


def test_a_camera_without_times_is_timed_by_arrival():
    times, clock = live([(None, 5.0), (None, 5.1), (None, 5.3)])
    np.testing.assert_allclose(times, [0, 0.1, 0.3])
    assert clock.report.missing == 3


def test_a_camera_whose_clock_stands_still_is_timed_by_arrival():
    times, clock = live([(0.0, 0.0), (0.0, 0.04), (0.0, 0.08)])
    np.testing.assert_allclose(times, [0, 0.04, 0.08])
    assert clock.report.breaks == 2


def test_a_cameras_clock_that_leaps_is_bridged_by_arrival():
    times, clock = live([(0.0, 0.0), (0.04, 0.04), (3600.0, 0.08), (3600.04, 0.12)])
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12])
    assert clock.report.breaks == 1


def test_a_gap_without_pictures_is_time():
    times, _ = live([(0.0, 0.0), (0.04, 0.04), (5.04, 5.04)])
    assert times[-1] == pytest.approx(5.04)


def test_after_a_reconnection_the_gap_is_measured_by_arrival():
    clock = LiveClock()
    clock.stamp(100.0, 0.0)
    clock.stamp(100.04, 0.04)
    clock.reconnect()
    assert clock.stamp(0.0, 7.04) == pytest.approx(7.04)
    assert clock.stamp(0.04, 7.09) == pytest.approx(7.08)


def test_a_clock_that_is_a_little_fast_all_day_is_followed():
    clock = LiveClock()
    for second in range(0, 86_400, 10):
        last = clock.stamp(second * 1.0002, float(second))
    assert clock.report.breaks == 0
    assert last == pytest.approx(86_390 * 1.0002)


@given(pairs=st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e9, 1e9)), st.floats(0, 100)), max_size=60))
def test_whatever_a_camera_says_time_never_runs_back(pairs):
    clock = LiveClock()
    arrival, times = 0.0, []
    for pts, step in pairs:
        arrival += step
        times.append(clock.stamp(pts, arrival))
    assert all(a < b for a, b in pairwise(times))

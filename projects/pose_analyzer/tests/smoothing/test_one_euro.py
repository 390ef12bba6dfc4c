"""The One Euro core against the published algorithm with holes and gaps, and its contract."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_analyzer.smoothing import OneEuroFilter
from shared_utils.errors import ValidationError


class ScalarTwin:
    """The algorithm of the paper for one number, in its own symbols; the derivative is taken from the filtered value."""

    def __init__(self, mincutoff: float, beta: float, dcutoff: float, max_gap_s: float = math.inf) -> None:
        self.mincutoff, self.beta, self.dcutoff, self.max_gap_s = mincutoff, beta, dcutoff, max_gap_s
        self.hatx: float | None = None
        self.hatdx = 0.0
        self.t = 0.0

    @staticmethod
    def alpha(cutoff: float, te: float) -> float:
        tau = 1.0 / (2 * math.pi * cutoff)
        return 1.0 / (1.0 + tau / te)

    def __call__(self, x: float, t: float) -> float:
        if math.isnan(x):
            return x
        if self.hatx is None or t - self.t > self.max_gap_s:
            self.hatx, self.hatdx, self.t = x, 0.0, t
            return x
        te = t - self.t
        dx = (x - self.hatx) / te
        self.hatdx = self.alpha(self.dcutoff, te) * dx + (1 - self.alpha(self.dcutoff, te)) * self.hatdx
        a = self.alpha(self.mincutoff + self.beta * abs(self.hatdx), te)
        self.hatx = a * x + (1 - a) * self.hatx
        self.t = t
        return self.hatx


times = st.lists(st.floats(1e-3, 0.5), min_size=1, max_size=30).map(lambda steps: np.cumsum(steps).tolist())
settings_of_filters = st.tuples(st.floats(0.05, 10), st.floats(0, 50), st.floats(0.05, 10))


@given(times, settings_of_filters, st.integers(0, 2**32 - 1), st.floats(0.05, 0.6))
def test_the_array_filter_equals_the_scalar_algorithm_with_holes_and_gaps(ts, parameters, seed, max_gap_s):
    rng = np.random.default_rng(seed)
    signal = rng.normal(scale=3, size=(len(ts), 2, 3))
    signal[rng.random(signal.shape) < 0.3] = np.nan
    low, beta, derivative = parameters
    smooth = OneEuroFilter(min_cutoff_hz=low, beta=beta, derivative_cutoff_hz=derivative, max_gap_s=max_gap_s)
    twins = [[ScalarTwin(low, beta, derivative, max_gap_s) for _ in range(3)] for _ in range(2)]
    for t, x in zip(ts, signal, strict=True):
        expected = [[twins[i][j](float(x[i, j]), t) for j in range(3)] for i in range(2)]
        np.testing.assert_allclose(smooth.update(x, timestamp_s=t), expected, rtol=1e-9, atol=1e-9)


def test_the_first_sample_and_a_constant_pass_unchanged():
    smooth = OneEuroFilter()
    assert [float(smooth.update(4.5, timestamp_s=t)) for t in (0.0, 0.1, 0.4)] == [4.5, 4.5, 4.5]


def test_a_stream_that_begins_at_zero_is_filtered_like_one_that_begins_later():
    values = [0.0, 1.0, 0.5, 2.0]
    at_zero, later = OneEuroFilter(beta=1.0), OneEuroFilter(beta=1.0)
    a = [float(at_zero.update(x, timestamp_s=i / 8)) for i, x in enumerate(values)]
    b = [float(later.update(x, timestamp_s=64 + i / 8)) for i, x in enumerate(values)]
    assert a == b
    assert a[1] != values[1]


def test_a_faster_clock_smooths_less_per_second_of_motion():
    """The same ramp sampled at two rates ends near the same place: the filter goes by time, not by samples."""
    slow, fast = OneEuroFilter(min_cutoff_hz=2.0), OneEuroFilter(min_cutoff_hz=2.0)
    for i in range(31):
        a = slow.update(i / 30, timestamp_s=i / 30)
    for i in range(241):
        b = fast.update(i / 240, timestamp_s=i / 240)
    assert float(a) == pytest.approx(float(b), abs=0.02)


def test_reset_makes_it_new():
    smooth = OneEuroFilter()
    smooth.update(1.0, timestamp_s=5.0)
    smooth.reset()
    assert float(smooth.update(9.0, timestamp_s=0.0)) == 9.0


@pytest.mark.parametrize("timestamp_s", [1.0, 0.5, math.nan, math.inf])
def test_time_must_go_on(timestamp_s):
    smooth = OneEuroFilter()
    smooth.update([1.0], timestamp_s=1.0)
    with pytest.raises(ValidationError, match=r"later than 1\.0"):
        smooth.update([1.0], timestamp_s=timestamp_s)


def test_a_refused_sample_leaves_no_trace():
    smooth, untouched = OneEuroFilter(), OneEuroFilter()
    for f in (smooth, untouched):
        f.update([1.0], timestamp_s=1.0)
    with pytest.raises(ValidationError):
        smooth.update([50.0], timestamp_s=1.0)
    assert smooth.update([2.0], timestamp_s=1.1) == untouched.update([2.0], timestamp_s=1.1)


def test_a_change_of_shape_is_refused():
    smooth = OneEuroFilter()
    smooth.update([1.0, 2.0], timestamp_s=0.0)
    with pytest.raises(ValidationError, match=r"keep its shape \(2,\)"):
        smooth.update([1.0], timestamp_s=1.0)


@pytest.mark.parametrize(
    ("name", "value"), [("min_cutoff_hz", 0), ("derivative_cutoff_hz", -1), ("max_gap_s", math.nan), ("beta", -0.1), ("beta", math.inf)]
)
def test_impossible_settings_are_named(name, value):
    with pytest.raises(ValidationError, match=name):
        OneEuroFilter(**{name: value})

"""One Euro against the published algorithm written out scalar by scalar, and against its reference output."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.smoothing import OneEuroFilter, OneEuroPoseFilter
from shared_utils import COCO_17, Poses


class ScalarOneEuro:
    """Casiez, Roussel and Vogel 2012, one number at a time."""

    def __init__(self, min_cutoff: float, beta: float, d_cutoff: float) -> None:
        self.min_cutoff, self.beta, self.d_cutoff = min_cutoff, beta, d_cutoff
        self.x = self.dx = self.t = None

    @staticmethod
    def alpha(te: float, cutoff: float) -> float:
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / te)

    def __call__(self, x: float, t: float) -> float:
        if self.t is None:
            self.x, self.dx, self.t = x, 0.0, t
            return x
        te, self.t = t - self.t, t
        derivative = (x - self.x) / te
        a = self.alpha(te, self.d_cutoff)
        self.dx = a * derivative + (1 - a) * self.dx
        a = self.alpha(te, self.min_cutoff + self.beta * abs(self.dx))
        self.x = a * x + (1 - a) * self.x
        return self.x


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 0.2)), min_size=2, max_size=40),
    st.floats(0.1, 10),
    st.floats(0, 5),
)
@settings(deadline=None)
def test_equal_to_the_scalar_algorithm_on_uneven_times(samples, min_cutoff, beta):
    ours = OneEuroFilter(min_cutoff_hz=min_cutoff, beta=beta, derivative_cutoff_hz=1.0)
    judge, t = ScalarOneEuro(min_cutoff, beta, 1.0), 0.0
    for x, step in samples:
        t += step
        assert float(ours.update(np.array([x]), timestamp_s=t)[0]) == pytest.approx(judge(x, t), rel=1e-9, abs=1e-9)


@pytest.mark.footage
def test_equal_to_the_reference_output(footage):
    rows = list(csv.reader((footage / "vectors" / "one_euro_groundTruth.csv").open()))
    values = [[float(v) for v in row] for row in rows if row and row[0].replace(".", "", 1).isdigit()]
    assert len(values) > 100
    ours = OneEuroFilter(min_cutoff_hz=1.0, beta=0.1, derivative_cutoff_hz=1.0)
    # The file holds six significant digits of what was made at 120 Hz exactly.
    assert all(abs(row[0] - i / 120) < 1e-4 for i, row in enumerate(values))
    for i, (_, _, noisy, filtered) in enumerate(values):
        assert float(ours.update(np.array([noisy]), timestamp_s=i / 120)[0]) == pytest.approx(filtered, rel=5e-6, abs=1e-6)


def _poses(xy, ids, box=(0, 0, 100, 200)) -> Poses:
    n = len(ids)
    return Poses(
        boxes_xyxy=np.tile(np.array(box, float), (n, 1)),
        scores=np.ones(n),
        keypoints_xy=xy,
        keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0.0, 1.0),
        skeleton=COCO_17,
        track_ids=np.asarray(ids),
    )


def test_people_are_filtered_each_by_themselves_in_any_row_order():
    rng = np.random.default_rng(1)
    together, alone = OneEuroPoseFilter(), {7: OneEuroPoseFilter(), 9: OneEuroPoseFilter()}
    for i in range(20):
        xy = rng.normal(100, 5, (2, 17, 2))
        order = [7, 9] if i % 2 else [9, 7]
        out = together.update(_poses(xy, order), timestamp_s=i / 30)
        for row, track in enumerate(order):
            single = alone[track].update(_poses(xy[row : row + 1], [track]), timestamp_s=i / 30)
            np.testing.assert_allclose(out.keypoints_xy[row], single.keypoints_xy[0], rtol=1e-6)


def test_people_without_an_id_pass_unchanged():
    filter_ = OneEuroPoseFilter()
    for i in range(3):
        xy = np.random.default_rng(i).normal(100, 5, (1, 17, 2)).astype(np.float32)
        np.testing.assert_array_equal(filter_.update(_poses(xy, [-1]), timestamp_s=i / 30).keypoints_xy, xy)


def test_a_missing_keypoint_stays_missing_and_starts_afresh_after_a_long_gap():
    filter_ = OneEuroPoseFilter(max_gap_s=0.5)
    here, there = np.full((1, 17, 2), 50.0), np.full((1, 17, 2), 150.0)
    filter_.update(_poses(here, [1]), timestamp_s=0.0)
    gap = here.copy()
    gap[0, 3] = np.nan
    assert np.isnan(filter_.update(_poses(gap, [1]), timestamp_s=0.1).keypoints_xy[0, 3]).all()
    after = filter_.update(_poses(there, [1]), timestamp_s=2.0)
    np.testing.assert_allclose(after.keypoints_xy, there)


def test_the_same_movement_at_twice_the_size_is_filtered_alike():
    rng = np.random.default_rng(2)
    small, large = OneEuroPoseFilter(), OneEuroPoseFilter()
    for i in range(15):
        xy = rng.normal(100, 3, (1, 17, 2))
        a = small.update(_poses(xy, [1]), timestamp_s=i / 30)
        b = large.update(_poses(2 * xy, [1], box=(0, 0, 200, 400)), timestamp_s=i / 30)
        np.testing.assert_allclose(2 * a.keypoints_xy, b.keypoints_xy, rtol=1e-4)


def test_rest_is_steadied_and_fast_motion_kept():
    rng, t = np.random.default_rng(3), np.arange(120) / 30
    still = OneEuroPoseFilter()
    noise = rng.normal(0, 1.0, (120, 17, 2))
    out = np.stack([still.update(_poses(100 + noise[i : i + 1], [1]), timestamp_s=t[i]).keypoints_xy[0] for i in range(120)])
    assert out[30:].std() < 0.6 * noise[30:].std()
    # A squat: the hip travels a quarter of the body's height in half a second.
    moving = OneEuroPoseFilter()
    path = 100 + 25 * (1 - np.cos(2 * np.pi * t))
    seen = [moving.update(_poses(np.full((1, 17, 2), y), [1]), timestamp_s=s).keypoints_xy[0, 0, 1] for y, s in zip(path, t, strict=True)]
    # The depth of the turning point is what a coach reads.
    assert max(seen[15:]) == pytest.approx(path.max(), abs=1.0)


@pytest.mark.parametrize("backwards_s", [0.0, -1.0])
def test_time_that_does_not_advance_neither_breaks_nor_poisons_the_filter(backwards_s):
    filter_ = OneEuroPoseFilter()
    xy = np.full((1, 17, 2), 50.0)
    filter_.update(_poses(xy, [1]), timestamp_s=1.0)
    assert np.isfinite(filter_.update(_poses(xy, [1]), timestamp_s=1.0 + backwards_s).keypoints_xy).all()
    assert np.isfinite(filter_.update(_poses(xy, [1]), timestamp_s=1.1).keypoints_xy).all()


def test_a_forgotten_person_starts_afresh():
    filter_ = OneEuroPoseFilter()
    filter_.update(_poses(np.full((1, 17, 2), 50.0), [1]), timestamp_s=0.0)
    filter_.forget(1)
    jump = np.full((1, 17, 2), 150.0)
    np.testing.assert_allclose(filter_.update(_poses(jump, [1]), timestamp_s=0.03).keypoints_xy, jump)

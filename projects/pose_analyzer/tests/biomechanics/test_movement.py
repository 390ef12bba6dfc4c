"""Range, symmetry, tempo, path, depth and stability: against the athlete's orders and arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.biomechanics import bar_path, path_shape, range_of_motion, squat_depth, stability, symmetry, tempo
from pose_analyzer.synthetic import scene_for
from shared_utils.errors import ValidationError


@pytest.mark.parametrize("fps", [15, 60])
@pytest.mark.parametrize("ordered", [(2.0, 0.5, 1.0, 0.5), (0.8, 1.5, 0.8, 0.2)])
def test_a_tempo_is_the_one_that_was_ordered(ordered, fps):
    scene = scene_for("squat", azimuth_deg=90, reps=1, width=64, height=64, fps=fps, tempo=list(ordered))
    [rep] = scene.repetitions(1)
    truths = [(t, scene.truth_at(i)) for i, t in enumerate(scene.timestamps_s) if rep.start_s - 0.1 <= t <= rep.end_s + 0.1]
    found = tempo([truth.angle_deg("left_knee_flexion_deg") for _, truth in truths], [t for t, _ in truths])
    assert found.eccentric_s == pytest.approx(ordered[0], rel=0.15)
    assert found.bottom_pause_s == pytest.approx(ordered[1], abs=0.2)
    assert found.concentric_s == pytest.approx(ordered[2], rel=0.15)
    whole = found.eccentric_s + found.bottom_pause_s + found.concentric_s + found.top_pause_s
    assert whole == pytest.approx(truths[-1][0] - truths[0][0], abs=1e-6)


@given(st.floats(0.3, 3), st.floats(0.0, 2), st.floats(0.3, 3), st.floats(-50, 50), st.floats(1, 200), st.booleans())
@settings(deadline=None, max_examples=50)
def test_tempo_of_straight_lines_is_exact_whatever_the_unit_and_direction(down, pause, up, offset, gain, upside_down):
    time = np.unique(np.concatenate([np.linspace(0, 1 + down + pause + up, 97), [0.5, 0.5 + down, 0.5 + down + pause]]))
    x = np.interp(time, [0.5, 0.5 + down, 0.5 + down + pause, 0.5 + down + pause + up], [0, 1, 1, 0])
    x = offset + gain * (1 - x if upside_down else x)
    found = tempo(x, time, bottom_is_high=not upside_down, profile="linear")
    # Corners between frames are cut by less than a frame of 1 / 97 of the whole.
    assert found.eccentric_s == pytest.approx(down, abs=0.1)
    assert found.concentric_s == pytest.approx(up, abs=0.1)
    assert found.bottom_pause_s == pytest.approx(pause, abs=0.1)


@pytest.mark.parametrize(
    ("signal", "time", "message"),
    [
        ([0, 1, 2], [0, 1, 2], "moves"),
        ([5, 5, 5, 5, 5], [0, 1, 2, 3, 4], "moves"),
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], "end at rest"),
        ([0, 1, 2, 1, 0], [0, 1, 1, 3, 4], "rise"),
        ([0, 1, 2, 1, 0], [0, 1], "shape"),
        ([np.nan] * 6, [0, 1, 2, 3, 4, 5], "moves"),
    ],
)
def test_a_tempo_of_nothing_is_refused(signal, time, message):
    with pytest.raises(ValidationError, match=message):
        tempo(signal, time)


def test_asymmetry_that_was_ordered_is_found_and_none_where_none_is():
    found = {}
    for fault in (0.0, 20.0):
        scene = scene_for("bicep_curl", reps=2, width=64, height=64, fps=20, faults={"asymmetry_deg": fault} if fault else {})
        truths = [scene.truth_at(i) for i in range(len(scene))]
        left, right = ([t.angle_deg(f"{side}_elbow_flexion_deg") for t in truths] for side in ("left", "right"))
        found[fault] = symmetry(left, right, scene.timestamps_s)
    assert abs(found[0.0].range_difference_deg) < 2
    assert found[20.0].range_difference_deg == pytest.approx(20, abs=3)
    assert found[20.0].imbalance > 0.1 > abs(found[0.0].imbalance)


@pytest.mark.parametrize("lag_s", [-0.3, 0.0, 0.2])
def test_a_late_side_is_late_by_its_lag(lag_s):
    time = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.05, 300))  # variable rate
    left, right = (60 - 50 * np.cos(2.5 * (time - d)) for d in (lag_s, 0.0))
    assert symmetry(left, right, time).lag_s == pytest.approx(lag_s, abs=0.02)


def test_sides_that_are_missing_or_still_have_no_symmetry():
    time = np.arange(20) / 10
    missing = symmetry(np.full(20, np.nan), np.ones(20), time)
    assert all(math.isnan(v) for v in missing)
    still = symmetry(np.ones(20), np.ones(20), time)
    assert still.difference_deg == 0
    assert math.isnan(still.imbalance)
    with pytest.raises(ValidationError, match="equally long"):
        symmetry([1.0], [1.0, 2.0], [0.0])


def test_range_leaves_out_single_frames_gone_wrong():
    angle = np.concatenate([np.linspace(10, 110, 400), [300.0, -80.0]])
    assert range_of_motion(angle).span_deg == pytest.approx(100, abs=3)
    assert math.isnan(range_of_motion([np.nan]).span_deg)
    with pytest.raises(ValidationError, match="trim"):
        range_of_motion([1.0], trim=0.5)


def test_a_bar_s_path_in_metres():
    time = np.linspace(0, 1, 50)
    left = np.stack([100 + 20 * time, 400 - 300 * time], 1)
    right = left + np.array([60, 0])
    right[10] = np.nan
    bar = bar_path(left, right)
    assert np.isfinite(bar).all()
    np.testing.assert_allclose(bar[0], [130, 400])
    np.testing.assert_allclose(bar[10], left[10])
    shape = path_shape(bar_path(left, left), scale=0.002)
    assert shape.rise == pytest.approx(0.6)
    assert shape.drift == pytest.approx(0.04)
    assert shape.straightness == pytest.approx(1.0)
    assert shape.length == pytest.approx(math.hypot(0.6, 0.04))
    assert np.isnan(bar_path([[np.nan, np.nan]], [[np.nan, np.nan]])).all()
    with pytest.raises(ValidationError, match="shape"):
        path_shape([1.0, 2.0])


def test_depth_of_the_athlete_s_squat_grows_with_the_knee():
    depths = []
    for depth_deg in (60, 100, 125):
        scene = scene_for("squat", azimuth_deg=90, elevation_deg=0, reps=1, width=480, height=640, fps=10, depth_deg=depth_deg, seed=4)
        truths = [scene.truth_at(i) for i in range(len(scene))]
        hip, knee = ([t.joints_xy[0, i, 1] for t in truths] for i in (23, 25))
        depths.append(squat_depth(hip, knee))
    assert depths[0] < depths[1] < depths[2]
    assert depths[0] < -20  # a half squat stays far above the knee
    assert math.isnan(squat_depth([np.nan], [1.0]))


def test_sway_of_a_known_spread():
    rng = np.random.default_rng(3)
    points = rng.normal(scale=[4.0, 2.0], size=(4000, 2))
    time = np.arange(4000) / 30
    found = stability(points, time, body_scale=2.0)
    assert found.sway == pytest.approx(math.hypot(2, 1), rel=0.05)
    # 95 % of a normal distribution lies within chi-square 5.991 of two degrees of freedom.
    assert found.area == pytest.approx(math.pi * 5.991 * 2 * 1, rel=0.06)
    gap = points.copy()
    gap[10:20] = np.nan
    assert np.isfinite(stability(gap, time)).all()
    assert all(math.isnan(v) for v in stability(np.full((5, 2), np.nan), np.arange(5.0)))
    with pytest.raises(ValidationError, match="body_scale"):
        stability(points, time, body_scale=0)

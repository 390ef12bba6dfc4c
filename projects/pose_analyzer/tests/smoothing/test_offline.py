"""Offline smoothing: no lag, the promised cutoff, uneven times, gaps bounded and marked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from pose_analyzer.smoothing import butterworth, fill_gaps, savitzky_golay, smooth_offline
from shared_utils.data_models import Origin, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import COCO_17


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("cutoff_hz", [3.0, 4.5, 6.0])
def test_at_the_cutoff_both_passes_together_leave_0_707_and_no_delay(order, cutoff_hz):
    t = np.arange(2000) / 100
    out = butterworth(np.sin(2 * np.pi * cutoff_hz * t), t, cutoff_hz=cutoff_hz, order=order)[500:1500]
    s, c = np.sin(2 * np.pi * cutoff_hz * t[500:1500]), np.cos(2 * np.pi * cutoff_hz * t[500:1500])
    in_phase, out_of_phase = 2 * np.mean(out * s), 2 * np.mean(out * c)
    assert in_phase == pytest.approx(2**-0.5, abs=0.01)
    assert out_of_phase == pytest.approx(0, abs=0.01)


def test_uneven_times_give_what_even_times_give():
    rng = np.random.default_rng(0)
    even = np.arange(600) / 60
    uneven = even + rng.uniform(-0.4, 0.4, 600) / 60
    slow = lambda t: np.sin(2 * np.pi * 0.7 * t) + 0.3 * np.sin(2 * np.pi * 1.5 * t)  # noqa: E731
    out = butterworth(slow(uneven), uneven, cutoff_hz=6)
    np.testing.assert_allclose(out[30:-30], slow(uneven)[30:-30], atol=0.01)


def test_nothing_flows_across_a_hole_and_short_stretches_pass():
    t = np.arange(60) / 30
    x = np.where(t < 1, 0.0, 100.0)
    x[28:32] = np.nan
    out = butterworth(x, t, cutoff_hz=3)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))
    assert np.allclose(out[:28], 0)
    assert np.allclose(out[32:], 100)
    short = np.full(10, np.nan)
    short[4:7] = [1.0, 5.0, 2.0]
    np.testing.assert_array_equal(butterworth(short, t[:10], cutoff_hz=3), short)


@pytest.mark.parametrize("cutoff_hz", [15.0, 40.0])
def test_a_cutoff_the_rate_cannot_hold_is_refused(cutoff_hz):
    with pytest.raises(ValidationError, match="below half of the sample rate"):
        butterworth(np.zeros(60), np.arange(60) / 30, cutoff_hz=cutoff_hz)


@pytest.mark.parametrize(("degree", "derivative"), [(2, 0), (3, 0), (3, 1), (3, 2)])
def test_even_steps_give_savitzky_and_golays_filter(degree, derivative):
    x, t = np.random.default_rng(1).normal(size=(80, 3)), np.arange(80) / 50
    judge = savgol_filter(x, 11, degree, deriv=derivative, delta=0.02, axis=0)
    ours = savitzky_golay(x, t, window_s=0.2, degree=degree, derivative=derivative)
    np.testing.assert_allclose(ours[5:-5], judge[5:-5], atol=1e-8 * 50**derivative)


@given(st.lists(st.floats(0.01, 0.2), min_size=8, max_size=30), st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.integers(0, 2))
@settings(deadline=None, max_examples=50)
def test_a_cubic_is_its_own_fit_and_gives_its_own_derivatives_on_any_times(gaps, coefficients, derivative):
    t = np.cumsum(gaps)
    p = np.polynomial.Polynomial(coefficients)
    out = savitzky_golay(p(t), t, window_s=10.0, degree=3, derivative=derivative)
    truth = p.deriv(derivative)(t) if derivative else p(t)
    np.testing.assert_allclose(out, truth, rtol=1e-5, atol=1e-4)


def test_missing_values_stay_missing_and_do_not_matter():
    t = np.arange(40) / 30
    x = 3 * t**2
    x[[5, 6, 20]] = np.nan
    out = savitzky_golay(x, t, window_s=0.4, degree=2)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))
    np.testing.assert_allclose(out[~np.isnan(x)], x[~np.isnan(x)], atol=1e-9)


def test_gaps_are_closed_between_readings_only_and_within_their_bound():
    t = np.arange(30) / 30
    x = np.sin(3 * t)
    x[:3] = x[10:15] = x[20:28] = np.nan
    out, filled = fill_gaps(x, t, max_gap_s=0.25)
    assert np.isnan(out[:3]).all()
    assert np.isnan(out[20:28]).all()
    assert filled.sum() == 5
    np.testing.assert_allclose(out[10:15], np.sin(3 * t[10:15]), atol=0.005)


@pytest.mark.parametrize("times", [[0, 1, 1], [0, 2, 1], [0, 1, np.nan], [0, 1]])
def test_times_must_increase(times):
    for call in (butterworth, savitzky_golay, fill_gaps):
        with pytest.raises(ValidationError, match=r"times_s|one row per time"):
            call(np.zeros(3), np.array(times, float))


def frame(x, ids, hidden=()):
    n = len(ids)
    xy = np.tile(np.array([[x, 100.0]]), (n, 17, 1)) + np.arange(17)[None, :, None]
    xy[:, list(hidden)] = np.nan
    return Poses(
        boxes_xyxy=np.tile([x, 90.0, x + 40, 190.0], (n, 1)),
        scores=np.full(n, 0.8),
        keypoints_xy=xy,
        keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0.0, 0.9),
        track_ids=ids,
        skeleton=COCO_17,
    )


def test_a_hidden_person_is_interpolated_and_marked_and_a_long_absence_is_not():
    t = np.arange(60) / 30
    frames = [frame(3.0 * i, [5]) for i in range(60)]
    for i in (*range(10, 16), *range(30, 55)):
        frames[i] = Poses.empty(COCO_17)
    out = smooth_offline(frames, t, method="none", max_gap_s=0.5)
    assert [len(p) for p in out] == [0 if 30 <= i < 55 else 1 for i in range(60)]
    assert {Origin(int(p.origin[0])).name for p in out[10:16]} == {"INTERPOLATED"}
    assert {Origin(int(p.origin[0])).name for p in out[:10]} == {"DETECTED"}
    np.testing.assert_allclose([p.keypoints_xy[0, 0, 0] for p in out[10:16]], [30, 33, 36, 39, 42, 45], atol=1e-3)
    np.testing.assert_allclose([p.boxes_xyxy[0, 0] for p in out[10:16]], [30, 33, 36, 39, 42, 45], atol=1e-3)
    assert 0.4 <= out[12].keypoint_confidence[0, 0] < 0.6
    assert out[12].scores[0] < 0.8


def test_a_hidden_keypoint_is_filled_with_less_confidence_and_others_stay():
    frames = [frame(2.0 * i, [1], hidden=(7,) if 8 <= i < 12 else ()) for i in range(20)]
    out = smooth_offline(frames, np.arange(20) / 30, method="savgol")
    assert out[10].keypoints_xy[0, 7, 0] == pytest.approx(27, abs=0.01)
    assert 0 < out[10].keypoint_confidence[0, 7] < 0.6
    assert out[10].keypoint_confidence[0, 6] == pytest.approx(0.9)


@pytest.mark.parametrize("method", ["butterworth", "savgol"])
def test_people_keep_their_rows_and_smoothing_has_no_lag(method):
    t, rng = np.arange(120) / 30, np.random.default_rng(2)
    frames, truth = [], 200 + 60 * np.sin(2 * np.pi * 0.8 * t)
    for i, x in enumerate(truth):
        frames.append(Poses.concatenate([frame(50.0, [9]), frame(x, [-1]), frame(x + rng.normal(scale=2), [2])]))
        assert i >= 0
    out = smooth_offline(frames, t, method=method)
    assert all(p.track_ids.tolist() == [9, -1, 2] for p in out)
    np.testing.assert_array_equal([p.keypoints_xy[1] for p in out], [p.keypoints_xy[1] for p in frames])
    error = np.array([p.keypoints_xy[2, 0, 0] for p in out]) - truth
    raw = np.array([p.keypoints_xy[2, 0, 0] for p in frames]) - truth
    assert np.std(error[10:-10]) < 0.7 * np.std(raw[10:-10])


@pytest.mark.parametrize(("frames", "times", "word"), [(2, [0.0], "one time per frame"), (2, [1.0, 1.0], "increasing")])
def test_bad_recordings_are_refused(frames, times, word):
    with pytest.raises(ValidationError, match=word):
        smooth_offline([frame(0.0, [1])] * frames, times)


def test_one_frame_per_second_and_a_recording_of_nobody_are_fine():
    assert [len(p) for p in smooth_offline([Poses.empty(COCO_17)] * 3, [0, 1, 2])] == [0, 0, 0]
    out = smooth_offline([frame(5.0 * i, [1]) for i in range(6)], np.arange(6.0))
    assert all(np.isfinite(p.keypoints_xy).all() for p in out)

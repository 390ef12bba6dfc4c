"""Warping against dtaidistance's pure Python, and the live search against the athlete's repetitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from _filmed import SEED, frames_of
from dtaidistance import dtw_ndim
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pose_analyzer.exercise import TemporalAnalyzer, load_profile, load_reference
from pose_analyzer.exercise.dtw import align, band, barycenter, medoid, onto
from pose_analyzer.exercise.features import view_azimuth_deg
from pose_analyzer.exercise.temporal import _Direction
from pose_analyzer.pipeline.takes import Take
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import EventType, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33

series = arrays(np.float64, st.tuples(st.integers(4, 14), st.just(3)), elements=st.floats(-5, 5, width=32))


@settings(max_examples=40, deadline=None)
@given(a=series, b=series, window=st.integers(2, 8))
def test_the_distance_is_that_of_dtaidistance_in_pure_python(a, b, window):
    distance, path = align(a, b, window=window)
    expected = dtw_ndim.distance(a, b, window=window, use_c=False)
    assert distance * math.sqrt(len(path)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(a=series, b=series, window=st.integers(2, 8))
def test_the_path_is_whole_monotone_inside_the_band_and_costs_what_is_said(a, b, window):
    distance, path = align(a, b, window=window)
    assert path[0] == (0, 0)
    assert path[-1] == (len(a) - 1, len(b) - 1)
    steps = {(j[0] - i[0], j[1] - i[1]) for i, j in itertools.pairwise(path)}
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert max(abs(i - j) for i, j in path) < window + abs(len(a) - len(b)) + 1
    assert sum(float(np.square(a[i] - b[j]).sum()) for i, j in path) == pytest.approx(distance**2 * len(path), abs=1e-9)


def test_series_of_different_dimensions_are_refused():
    with pytest.raises(ValueError, match="same d"):
        align(np.zeros((4, 2)), np.zeros((4, 3)), window=3)


def test_the_barycenter_of_shifted_bumps_keeps_the_bump():
    t = np.linspace(0, 1, 34)
    bumps = [np.exp(-(((t - 0.5 - shift) / 0.08) ** 2))[:, None] for shift in (-0.04, -0.02, 0.0, 0.02, 0.04)]
    average, _ = barycenter(bumps, window=band(34))
    assert average.max() > 0.97  # the plain mean is lower
    assert np.mean(bumps, axis=0).max() < 0.95


def test_the_medoid_is_the_nearest_to_all():
    rows = [np.full((5, 1), x) for x in (0.0, 1.0, 9.0)]
    assert medoid(rows, window=3) == 1


def test_values_are_carried_onto_the_reference():
    a = np.array([[0.0], [0.0], [1.0], [1.0]])
    out, distance, _ = onto(a, a, np.arange(4.0)[:, None], window=3)
    assert distance == 0
    assert out.shape == (4, 1)


def watch(analyzer, frames):
    events, phases = [], []
    for poses, time_s, index in frames:
        events += analyzer.update(poses, timestamp_s=time_s, frame_index=index)
        phases.append((time_s, analyzer.phase(1)))
    return events, phases


@pytest.mark.parametrize("azimuth_deg", [5.0, 30.0, 60.0, 85.0])
def test_good_repetitions_are_found_in_the_stream_from_all_sides_and_not_told(azimuth_deg):
    analyzer = TemporalAnalyzer(load_reference("squat"), stream_id="cam")
    events, phases = watch(analyzer, frames_of("squat", azimuth_deg, reps=2))
    truth = Take(exercise="squat", azimuth_deg=azimuth_deg, seed=SEED, reps=2).scene().repetitions(1)
    assert len(analyzer.matches) == len(truth)
    for match, rep in zip(analyzer.matches, truth, strict=True):
        assert match.start_s < rep.turn_s < match.end_s
    assert events == []
    assert {p for _, p in phases} >= {"down", "bottom", "up"}


def test_the_path_names_the_phase_of_the_moment():
    _, phases = watch(TemporalAnalyzer(load_reference("squat")), frames_of("squat", 60.0, reps=2))
    for rep in Take(exercise="squat", azimuth_deg=60.0, seed=SEED, reps=2).scene().repetitions(1):
        at_turn = [p for t, p in phases if rep.turn_start_s <= t <= rep.turn_end_s]
        assert at_turn.count("bottom") >= 0.6 * len(at_turn)


def test_a_movement_unlike_the_reference_is_told_once_within_the_cooldown():
    analyzer = TemporalAnalyzer(load_reference("squat"), stream_id="cam", cooldown_s=1000)
    events, _ = watch(analyzer, frames_of("squat", 75.0, fault="forward_lean_deg", degree=18.0, reps=2))
    assert sum(m.unusual for m in analyzer.matches) == 2
    (event,) = events
    assert event.type == EventType.FORM_DEVIATION
    assert event.data["fault"] == "unusual_movement"
    assert event.data["distance"] > event.data["limit"]


def test_somebody_who_stands_about_matches_nothing():
    analyzer = TemporalAnalyzer(load_reference("squat"))
    events, _ = watch(analyzer, observed(scene_for("idle", azimuth_deg=85, seed=3, fps=15, hold_s=10.0, gestures=("scratch_head",))))
    assert events == []
    assert analyzer.matches == []


def test_the_direction_that_is_kept_up_with_is_that_of_the_last_frames():
    random = np.random.default_rng(4)
    rows = random.normal([0.2, 0.6], 0.3, (700, 2))
    rows[random.random(700) < 0.1] = np.nan
    kept = _Direction()
    assert math.isnan(kept.azimuth_deg)
    for i, row in enumerate(rows):
        kept.add(row)
        assert kept.azimuth_deg == view_azimuth_deg(rows[max(0, i - 299) : i + 1]) or not np.isfinite(rows[: i + 1]).any()


@pytest.mark.parametrize("fps", [1, 240])
def test_any_frame_rate_is_taken(fps):
    analyzer = TemporalAnalyzer(load_reference("squat"))
    watch(analyzer, observed(scene_for("squat", azimuth_deg=80, reps=1, fps=fps)))
    assert all(0 <= m.distance < math.inf and m.start_s < m.end_s for m in analyzer.matches)


def test_bad_input_breaks_nothing():
    analyzer = TemporalAnalyzer(load_reference("squat"), profile=load_profile("squat"))
    seen = observed(scene_for("squat", azimuth_deg=85, reps=1, fps=10))
    for i, (poses, time_s, index) in enumerate(seen):
        hidden = poses.replace(keypoint_confidence=np.zeros((1, 33), np.float32))
        odd = (poses, hidden, Poses.empty(BLAZEPOSE_33), poses.replace(track_ids=np.array([i % 3], np.int64)))[i % 4]
        analyzer.update(odd, timestamp_s=time_s if i % 5 else time_s - 0.5, frame_index=index)
    with pytest.raises(ValidationError, match="finite"):
        analyzer.update(Poses.empty(BLAZEPOSE_33), timestamp_s=math.nan, frame_index=0)
    with pytest.raises(ValidationError, match="slack"):
        TemporalAnalyzer(load_reference("squat"), slack=0.5)

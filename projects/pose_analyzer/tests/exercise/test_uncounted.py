"""Movements that the counter leaves out: told with the reason where they were meant as the exercise, and only then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.exercise import FormScorer, RepetitionCounter, load_profile, load_reference
from pose_analyzer.exercise.styles import feature_style_deg, tolerated
from pose_analyzer.exercise.uncounted import UncountedMovements
from pose_analyzer.pipeline.stream import make_filter
from pose_analyzer.settings import SmoothingSettings
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import Event, EventType, Poses


def frames_of(exercise: str, azimuth_deg: float, **keywords: object) -> list[tuple[Poses, float, int]]:
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, seed=5, fps=20, start_delay_s=1.0, end_pause_s=1.0, **keywords)
    steady = make_filter(SmoothingSettings())
    return [(steady.update(poses, timestamp_s=time_s), time_s, index) for poses, time_s, index in observed(scene, seed=5)]


def told(exercise: str, frames: list[tuple[Poses, float, int]]) -> tuple[list[Event], list[Event]]:
    """What the counter tells, and what the scorer adds."""
    profile = load_profile(exercise)
    counter, scorer = RepetitionCounter(profile, stream_id="cam"), FormScorer(load_reference(exercise), profile=profile, stream_id="cam")
    counted, added = [], []
    for poses, time_s, index in frames:
        events = counter.update(joint_angles(poses, timestamp_s=time_s), poses, timestamp_s=time_s, frame_index=index)
        counted += events
        added += scorer.update(poses, events, timestamp_s=time_s, frame_index=index)
    events = counter.flush()
    return counted + events, added + scorer.flush(events)


def test_an_attempt_too_short_to_count_is_told_with_the_reason():
    counted, added = told("squat", frames_of("squat", 80.0, reps=1, depth_deg=42.0))
    assert not [e for e in counted if e.type == EventType.REP_COMPLETED]
    (partial,) = [e for e in [*counted, *added] if e.type == EventType.REP_PARTIAL]
    assert partial.data["uncounted"]
    assert partial.message == f"Not counted: {partial.data['reason']}"
    assert partial.data["fault"] in ("half_range", "depth_loss")
    deviations = [e for e in added if e.type == EventType.FORM_DEVIATION]
    assert partial.data["fault"] in [e.data["fault"] for e in deviations]
    assert added.index(partial) < added.index(deviations[0])


def test_what_the_counter_tells_is_not_told_again():
    counted, added = told("squat", frames_of("squat", 80.0, reps=3))
    assert len([e for e in counted if e.type == EventType.REP_COMPLETED]) == 3
    assert not [e for e in added if e.type == EventType.REP_PARTIAL]


@pytest.mark.parametrize("exercise", ["squat", "bicep_curl", "overhead_press"])
def test_gestures_are_no_attempts(exercise):
    _, added = told(exercise, frames_of("idle", 30.0, hold_s=15.0))
    assert not [e for e in added if e.type == EventType.REP_PARTIAL]


def test_missing_points_and_a_clock_that_starts_anew_break_nothing():
    watch = UncountedMovements(load_profile("squat"))
    frames = frames_of("squat", 80.0, reps=1, depth_deg=42.0)
    for poses, time_s, index in (*frames, *frames):
        hole = poses.replace(keypoint_confidence=np.zeros_like(poses.keypoint_confidence)) if index % 3 == 0 else poses
        watch.update(hole, [], timestamp_s=time_s, frame_index=index)
    assert all(e.end_s > e.start_s for e in watch.flush())


@given(noise=st.floats(0.1, 20.0), degrees=st.floats(-60.0, 60.0), style=st.floats(0.0, 20.0))
def test_style_never_adds_evidence_and_counts_as_noise_does(noise, degrees, style):
    found = tolerated(degrees / noise, degrees, style)
    assert found == pytest.approx(degrees / np.hypot(noise, style), abs=1e-9)
    assert abs(found) <= abs(degrees / noise) + 1e-9


def test_two_sides_of_a_body_differ_less_than_bodies_do():
    assert feature_style_deg("knee_difference") < feature_style_deg("left_knee_flexion")

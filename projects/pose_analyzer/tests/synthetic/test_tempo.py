"""Time lines against arithmetic by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.synthetic.motion_spec import FaultSpec, MotionSpec, TempoSpec
from pose_analyzer.synthetic.tempo import Phase, ease, time_line

TEMPO = TempoSpec(eccentric_s=2.0, bottom_pause_s=0.5, concentric_s=1.0, top_pause_s=0.25)


def line(**motion):
    return time_line(MotionSpec(**({"tempo": TEMPO, "reps": 3, "start_delay_s": 1.0, "end_pause_s": 0.75} | motion)))


def test_a_squat_lowers_first_and_a_curl_lifts_first():
    squat, curl = line(exercise="squat"), line(exercise="bicep_curl")
    assert [squat.attempts[0].turn_start_s, squat.attempts[0].turn_end_s, squat.attempts[0].end_s] == pytest.approx([3.0, 3.5, 4.5])
    assert [curl.attempts[0].turn_start_s, curl.attempts[0].turn_end_s, curl.attempts[0].end_s] == pytest.approx([2.0, 2.25, 4.25])
    # Between repetitions a squat pauses at the top, a curl at the bottom.
    assert squat.attempts[1].start_s == pytest.approx(4.75)
    assert curl.attempts[1].start_s == pytest.approx(4.75)


@pytest.mark.parametrize(
    ("exercise", "phases"),
    [
        ("squat", [Phase.TOP, Phase.DOWN, Phase.BOTTOM, Phase.UP, Phase.TOP]),
        ("bicep_curl", [Phase.BOTTOM, Phase.UP, Phase.TOP, Phase.DOWN, Phase.BOTTOM]),
    ],
)
def test_phases_follow_the_load(exercise, phases):
    one = line(exercise=exercise)
    a = one.attempts[0]
    times = [0.5, (a.start_s + a.turn_start_s) / 2, (a.turn_start_s + a.turn_end_s) / 2, (a.turn_end_s + a.end_s) / 2, a.end_s + 0.1]
    assert [one.at(t).phase for t in times] == phases


def test_progress_is_nothing_at_rest_half_at_half_time_and_full_at_the_turn():
    one = line(exercise="squat")
    assert [one.at(t).u for t in (0.0, 1.0, 2.0, 3.0, 3.3, 4.0, 4.6, 99.0)] == pytest.approx([0, 0, 0.5, 1, 1, 0.5, 0, 0])


def test_partial_attempts_are_not_counted_but_numbered():
    one = line(exercise="squat", partial={2: 0.4})
    assert [(a.number, a.ordinal, a.partial, a.peak) for a in one.attempts] == [(1, 1, False, 1.0), (2, 0, True, 0.4), (3, 2, False, 1.0)]


def test_fatigue_slows_and_shrinks_towards_the_last_repetition():
    one = line(exercise="squat", fatigue_slowdown=0.5, fatigue_shrink=0.2)
    durations = [a.end_s - a.start_s for a in one.attempts]
    assert durations == pytest.approx([3.5, 3.5 * 1.25, 3.5 * 1.5])
    assert [a.peak for a in one.attempts] == pytest.approx([1.0, 0.9, 0.8])


def test_pauses_come_before_their_attempt():
    plain, paused = line(exercise="squat"), line(exercise="squat", pauses={2: 5.0})
    assert paused.attempts[0].start_s == plain.attempts[0].start_s
    assert paused.attempts[1].start_s == pytest.approx(plain.attempts[1].start_s + 5)


def test_a_rushed_tempo_shortens_the_movement_but_not_the_pauses():
    one = line(exercise="squat", faults=FaultSpec(rushed_tempo=0.5))
    a = one.attempts[0]
    assert (a.turn_start_s - a.start_s, a.turn_end_s - a.turn_start_s, a.end_s - a.turn_end_s) == pytest.approx((1.0, 0.5, 0.5))


def test_depth_loss_and_half_range_lower_the_peak():
    # A squat's knee goes from 5 to 110 degrees.
    assert line(exercise="squat", faults=FaultSpec(depth_loss_deg=21)).attempts[0].peak == pytest.approx(0.8)
    assert line(exercise="squat", faults=FaultSpec(half_range=0.5)).attempts[0].peak == pytest.approx(0.5)


def test_faults_can_be_of_some_attempts_only():
    one = line(exercise="squat", faults=FaultSpec(half_range=0.5, reps=(2,)))
    assert [a.peak for a in one.attempts] == [1.0, 0.5, 1.0]
    assert [a.faults.active() for a in one.attempts] == [{}, {"half_range": 0.5}, {}]


def test_alternating_sides_begin_with_the_left():
    assert [a.side for a in line(exercise="bicep_curl", side="alternating").attempts] == ["left", "right", "left"]


def test_a_held_position_is_one_attempt_that_counts_for_nothing():
    one = line(exercise="wall_sit", hold_s=8.0)
    (hold,) = one.attempts
    assert (hold.ordinal, hold.turn_end_s - hold.turn_start_s) == (0, pytest.approx(8.0))
    assert one.at(6.0).phase is Phase.HOLD


@given(st.floats(0, 1))
def test_ease_is_minimum_jerk(x):
    assert ease(x) == pytest.approx(10 * x**3 - 15 * x**4 + 6 * x**5)
    assert ease(x) + ease(1 - x) == pytest.approx(1.0)


@given(
    reps=st.integers(0, 8),
    jitter=st.floats(0, 0.5),
    slow=st.floats(0, 2),
    delay=st.floats(0, 3),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_attempts_never_overlap_and_fit_into_the_duration(reps, jitter, slow, delay, seed):
    one = time_line(MotionSpec(reps=reps, tempo_jitter=jitter, fatigue_slowdown=slow, start_delay_s=delay), seed=seed)
    assert len(one.attempts) == reps
    clock = delay
    for a in one.attempts:
        assert clock - 1e-9 <= a.start_s < a.turn_start_s <= a.turn_end_s < a.end_s
        clock = a.end_s
    assert one.duration_s >= clock

"""The counter as a stream sees it: events, tracks, missing readings, clocks, holds."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from _exercise_sessions import angles_of, count, kinds, names_of, reps, watch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import RepetitionCounter, load_profile
from shared_utils.data_models import Angles, Event
from shared_utils.errors import ValidationError

SQUAT, CURL = load_profile("squat"), load_profile("bicep_curl")


def feed(counter, frames) -> list[Event]:
    """Events of (timestamp_s, {track: (left, right)}) frames."""
    profile = counter.profile
    return [e for i, (t, people) in enumerate(frames) for e in counter.update(angles_of(profile, people), timestamp_s=t, frame_index=i)]


def film(level, end_s, fps=30.0, track=1):
    return [(i / fps, {track: (float(level(i / fps)),) * 2}) for i in range(int(end_s * fps) + 1)]


# --- events -----------------------------------------------------------------------------------------
def test_a_squat_tells_its_times_range_and_frames():
    """Leaves rest at 1.0 s, at the bottom 2.5-3.5 s, up at 4.3 s."""
    (event,) = watch("squat", *reps([1.0], out_s=1.5, turn_s=1.0, back_s=0.8))
    assert event.stream_id == "cam"
    assert (event.track_id, event.value) == (1, 1.0)
    assert event.start_s == pytest.approx(1.0, abs=0.45)  # a tenth of the range is still rest
    assert event.end_s == pytest.approx(4.3, abs=0.3)
    assert event.data["eccentric_s"] == pytest.approx(1.5 * 0.6, abs=0.3)
    assert event.data["concentric_s"] == pytest.approx(0.8 * 0.6, abs=0.3)
    assert event.data["pause_s"] == pytest.approx(1.0, abs=0.8)
    assert 2.4 < event.data["peak_time_s"] < 3.6
    assert event.data["range_deg"] == pytest.approx(90.0, abs=5)
    assert event.data["min_deg"] == pytest.approx(10.0, abs=5)
    assert event.data["max_deg"] == pytest.approx(100.0, abs=1)
    assert event.data["side"] == "both"
    assert event.data["confidence"] == 1.0
    start, turn, end = event.frames
    assert start < turn < end
    assert start == round(event.start_s * 30)
    assert turn == round(event.data["peak_time_s"] * 30)
    assert event.message == f"Repetition 1 in {event.duration_s:.1f} s, range {event.data['range_deg']:.0f}°"


def test_a_curl_tells_the_way_up_as_concentric():
    (event,) = watch("bicep_curl", *reps([1.0], out_s=0.6, turn_s=0.2, back_s=2.0))
    assert event.data["concentric_s"] < event.data["eccentric_s"]


def test_events_are_json_and_numbered_in_order():
    events = watch("bicep_curl", *reps([1.0] * 4))
    assert [e.value for e in events] == [1.0, 2.0, 3.0, 4.0]
    assert all(a.end_s <= b.end_s for a, b in pairwise(events))
    assert json.loads(json.dumps([e.to_dict() for e in events])) == [e.to_dict() for e in events]


def test_a_repetition_whose_start_was_not_seen_does_not_invent_one():
    level, _ = reps([1.0, 1.0], lead_s=-1.1)
    first = watch("squat", level, 5.0)[0]
    assert first.data["eccentric_s"] is None
    assert first.data["concentric_s"] > 0


def test_partial_and_abandoned_carry_no_ordinal():
    events = watch("squat", *reps([1.0, 0.5, 1.0]))
    assert [e.value for e in events] == [1.0, None, 2.0]
    assert "Partial" in events[1].message


# --- live -------------------------------------------------------------------------------------------
def test_a_curl_counts_at_the_top_and_is_told_at_the_bottom():
    counter = RepetitionCounter(CURL)
    level, end_s = reps([1.0], out_s=1.0, turn_s=0.5, back_s=1.0)
    frames = film(level, end_s)
    assert feed(counter, [f for f in frames if f[0] <= 2.45]) == []
    assert counter.state(1).count == 1
    assert kinds(feed(counter, [f for f in frames if f[0] > 2.45])) == ["completed"]
    assert counter.state(1).count == 1


def test_a_squat_counts_within_a_third_of_a_second_of_standing_up():
    counter = RepetitionCounter(SQUAT)
    level, _ = reps([1.0], out_s=1.0, turn_s=0.2, back_s=0.8)
    feed(counter, film(level, 2.9))
    assert counter.state(1).count == 0
    feed(counter, [f for f in film(level, 3.35) if f[0] > 2.9])
    assert counter.state(1).count == 1


@pytest.mark.parametrize(("profile", "expected"), [(SQUAT, ["top", "down", "bottom", "up"]), (CURL, ["bottom", "up", "top", "down"])])
def test_phases_follow_the_movement(profile, expected):
    counter = RepetitionCounter(profile)
    level, end_s = reps([1.0, 1.0], out_s=1.0, turn_s=0.6, back_s=1.0, rest_s=1.0)
    seen, progress = [], []
    for i, (t, people) in enumerate(film(level, end_s)):
        counter.update(angles_of(profile, people), timestamp_s=t, frame_index=i)
        state = counter.state(1)
        progress.append(state.progress)
        if not seen or seen[-1] != state.phase:
            seen.append(state.phase)
    assert seen == [*expected, *expected, expected[0]]
    assert min(progress) >= 0
    assert max(progress) == 1.0


def test_the_state_tells_the_first_cues_angle():
    counter = RepetitionCounter(SQUAT)
    feed(counter, [(0.0, {1: (0.5, 0.5)})])
    assert counter.state(1).signal_deg == pytest.approx(55.0)
    assert math.isnan(counter.state(2).signal_deg)
    assert (counter.state(2).phase, counter.state(2).count, counter.state(2).progress) == ("top", 0, 0.0)


def test_asking_changes_nothing():
    level, end_s = reps([1.0] * 3)
    asked, quiet = RepetitionCounter(SQUAT), RepetitionCounter(SQUAT)
    a = []
    for i, (t, people) in enumerate(film(level, end_s)):
        a += asked.update(angles_of(SQUAT, people), timestamp_s=t, frame_index=i)
        asked.state(1), asked.state(2)
    assert [e.to_dict() for e in a] == [e.to_dict() for e in feed(quiet, film(level, end_s))]


@given(st.floats(0, 1e5))
@settings(max_examples=15, deadline=None)
def test_the_clock_may_begin_anywhere(start_s):
    level, end_s = reps([1.0, 0.5, 1.0])
    a, b = watch("squat", level, end_s), watch("squat", level, end_s, start_s=start_s)
    assert [e.type for e in a] == [e.type for e in b]
    for x, y in zip(a, b, strict=True):
        assert y.start_s - start_s == pytest.approx(x.start_s, abs=1e-6)


# --- missing readings -------------------------------------------------------------------------------
def test_missing_readings_pause_the_repetition():
    level, end_s = reps([1.0] * 3, turn_s=1.0)
    hidden = lambda t: np.nan if 2.1 < t < 2.9 else float(level(t))  # noqa: E731
    events = watch("squat", hidden, end_s)
    assert kinds(events) == ["completed"] * 3
    assert events[0].data["confidence"] < 0.9
    assert events[1].data["confidence"] == 1.0


def test_too_long_a_gap_ends_the_repetition_but_not_the_count():
    level, end_s = reps([1.0] * 3, turn_s=3.0)
    hidden = lambda t: np.nan if 2.2 < t < 4.5 else float(level(t))  # noqa: E731
    events = watch("squat", hidden, end_s)
    assert kinds(events) == ["abandoned", "completed", "completed", "completed"]
    assert events[0].end_s < 2.3
    assert [e.value for e in events[1:]] == [1.0, 2.0, 3.0]
    assert events[1].data["eccentric_s"] is None  # it was found at the bottom and seen to stand up


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_readings_that_drop_out_at_random_do_not_matter(share):
    rng = np.random.default_rng(2)
    level, end_s = reps([1.0] * 5)
    assert count(watch("squat", lambda t: np.nan if rng.random() < share else float(level(t)), end_s)) == 5


def test_no_row_is_the_same_as_no_reading():
    level, end_s = reps([1.0] * 3, turn_s=1.0)
    absent = lambda t: 2.1 < t < 2.7  # noqa: E731
    with_nan = [(t, {1: (math.nan, math.nan)} if absent(t) else p) for t, p in film(level, end_s)]
    without = [(t, {} if absent(t) else p) for t, p in film(level, end_s)]
    a, b = RepetitionCounter(SQUAT), RepetitionCounter(SQUAT)
    assert [e.to_dict() for e in feed(a, with_nan) + a.flush()] == [e.to_dict() for e in feed(b, without) + b.flush()]


def test_somebody_who_is_never_readable_never_counts():
    assert watch("squat", lambda t: math.nan, 20) == []


# --- tracks -----------------------------------------------------------------------------------------
def test_everybody_is_counted_by_themselves_in_any_row():
    rng = np.random.default_rng(0)
    a, end_s = reps([1.0] * 4)
    b, _ = reps([0.9] * 3, lead_s=2.1, out_s=0.7)
    counter = RepetitionCounter(SQUAT)
    frames = []
    for i in range(int(end_s * 30)):
        people = [(7, (float(a(i / 30)),) * 2), (3, (float(b(i / 30)),) * 2)]
        rng.shuffle(people)
        frames.append((i / 30, dict(people)))
    events = feed(counter, frames) + counter.flush()
    assert count([e for e in events if e.track_id == 7]) == 4
    assert count([e for e in events if e.track_id == 3]) == 3
    assert (counter.state(7).count, counter.state(3).count) == (4, 3)


def test_people_without_an_id_are_not_counted():
    counter, (level, end_s) = RepetitionCounter(SQUAT), reps([1.0] * 3)
    assert feed(counter, film(level, end_s, track=-1)) + counter.flush() == []


def test_a_new_id_in_mid_repetition_takes_over_without_counting_twice():
    level, end_s = reps([1.0] * 4)
    switch = [(t, {1 if t < 6.9 else 2: levels[1]}) for t, levels in film(level, end_s)]  # at the bottom of the third
    counter = RepetitionCounter(SQUAT)
    events = feed(counter, switch) + counter.flush()
    assert count(events) == 4
    assert [e.track_id for e in events if e.value] == [1, 1, 2, 2]


def test_a_track_that_returns_goes_on_counting():
    level, end_s = reps([1.0] * 2)
    frames = film(level, end_s)
    later = [(t + end_s + 10, p) for t, p in frames]
    counter = RepetitionCounter(SQUAT)
    assert [e.value for e in feed(counter, frames + later) + counter.flush()] == [1.0, 2.0, 3.0, 4.0]


def test_counters_of_two_streams_share_nothing():
    level, end_s = reps([1.0] * 2)
    a, b = RepetitionCounter(SQUAT, stream_id="a"), RepetitionCounter(SQUAT, stream_id="b")
    feed(a, film(level, end_s))
    assert b.state(1).count == 0
    assert {e.stream_id for e in feed(b, film(level, end_s))} == {"b"}


# --- clocks and bad input ---------------------------------------------------------------------------
def test_repeated_and_late_frames_are_ignored():
    level, end_s = reps([1.0] * 3)
    frames = film(level, end_s)
    stuttering = [f for i, f in enumerate(frames) for f in ((f, f, (f[0] - 0.02, {1: (0.7, 0.7)})) if i else (f,))]
    a, b = RepetitionCounter(SQUAT), RepetitionCounter(SQUAT)
    assert [e.start_s for e in feed(a, frames)] == [e.start_s for e in feed(b, stuttering)]


def test_a_clock_that_starts_anew_ends_what_was_under_way():
    level, end_s = reps([1.0] * 2)
    counter = RepetitionCounter(SQUAT)
    cut = [f for f in film(level, end_s) if f[0] < 4.8]  # at the bottom of the second
    events = feed(counter, cut + film(level, end_s))
    assert kinds(events) == ["completed", "abandoned", "completed", "completed"]
    assert counter.state(1).count == 3


@pytest.mark.parametrize("timestamp_s", [math.nan, math.inf])
def test_time_must_be_finite(timestamp_s):
    with pytest.raises(ValidationError, match="finite"):
        RepetitionCounter(SQUAT).update(angles_of(SQUAT, {1: (0, 0)}), timestamp_s=timestamp_s, frame_index=0)


def test_nobody_at_all_is_fine():
    counter = RepetitionCounter(SQUAT)
    assert feed(counter, [(i / 30, {}) for i in range(90)]) + counter.flush() == []


def test_angles_that_are_not_measured_are_named():
    angles = Angles(("left_elbow_flexion_deg",), np.array([1]), np.array([[10.0]]))
    with pytest.raises(ExerciseError, match=r"no angle 'knee_flexion' is measured; there are left_elbow_flexion_deg"):
        RepetitionCounter(SQUAT).update(angles, timestamp_s=0.0, frame_index=0)


def test_flushing_twice_tells_nothing_twice():
    counter = RepetitionCounter(CURL)
    level, _ = reps([1.0])
    feed(counter, film(level, 2.15))
    assert len(counter.flush()) == 1
    assert counter.flush() == []


# --- holds ------------------------------------------------------------------------------------------
def hold(seconds, *, profile="plank", fps=20.0, bad=lambda t: False, missing=lambda t: False, total=None):
    profile = load_profile(profile)
    names = names_of(profile)
    inside = [(m.min_deg + m.max_deg) / 2 for m in profile.limits for _ in "lr"]
    outside = [m.max_deg + 15 for m in profile.limits for _ in "lr"]
    counter, events = RepetitionCounter(profile), []
    for i in range(int((total or seconds + 4) * fps)):
        t = i / fps
        values = outside if t < 1 or t >= 1 + seconds or bad(t) else inside
        row = [math.nan] * len(values) if missing(t) else values
        events += counter.update(Angles(names, np.array([1]), np.array([row])), timestamp_s=t, frame_index=i)
    return events + counter.flush(), counter


@pytest.mark.parametrize("profile", ["plank", "wall_sit"])
def test_a_hold_is_timed(profile):
    (event,), counter = hold(10, profile=profile)
    assert event.type == "hold_completed"
    assert event.value == pytest.approx(10.0, abs=0.1)
    assert event.unit == "s"
    assert (event.start_s, event.end_s) == (pytest.approx(1.0, abs=0.06), pytest.approx(11.0, abs=0.06))
    assert event.message == "Hold 1 of 9.9 s"
    assert counter.state(1).count == 1


def test_a_short_hold_is_not_told():
    assert hold(2.0)[0] == []


@pytest.mark.parametrize("what", ["bad", "missing"])
def test_a_short_interruption_does_not_end_a_hold_and_a_long_one_does(what):
    (event,), _ = hold(12, **{what: lambda t: 6 < t < 6.7})
    assert event.value == pytest.approx(12.0, abs=0.1)
    events, _ = hold(12, **{what: lambda t: 6 < t < 8})
    assert [e.value for e in events] == [pytest.approx(5.0, abs=0.1), pytest.approx(5.0, abs=0.1)]


def test_the_end_of_the_stream_ends_a_hold():
    (event,), _ = hold(30, total=9)
    assert event.value == pytest.approx(8.0, abs=0.1)


def test_a_hold_under_way_shows_in_the_state():
    _, counter = hold(3, total=2.5)
    profile = load_profile("plank")
    assert counter.state(1).phase == "rest"  # flushed
    fresh = RepetitionCounter(profile)
    names, inside = names_of(profile), [(m.min_deg + m.max_deg) / 2 for m in profile.limits for _ in "lr"]
    for i in range(100):
        fresh.update(Angles(names, np.array([1]), np.array([inside])), timestamp_s=i / 20, frame_index=i)
        if i == 30:
            early = fresh.state(1)
    assert (early.phase, early.count) == ("hold", 0)
    assert early.progress == pytest.approx(0.5)
    assert (fresh.state(1).count, fresh.state(1).progress) == (1, 1.0)

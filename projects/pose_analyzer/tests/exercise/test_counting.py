"""What counts as a repetition, what does not, and when: levels by arithmetic, counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from _exercise_sessions import count, ease, kinds, names_of, reps, row_of, watch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.exercise import RepetitionCounter, list_profiles, load_profile
from shared_utils.data_models import Angles

COUNTED = [name for name in list_profiles() if not load_profile(name).is_hold]
LIFTS_FIRST = ["bicep_curl", "lateral_raise", "sit_up"]
LOWERS_FIRST = ["squat", "push_up", "deadlift"]


# --- whole repetitions ------------------------------------------------------------------------------
@pytest.mark.parametrize("exercise", COUNTED)
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_each_repetition_counts_once(exercise, n):
    assert kinds(watch(exercise, *reps([1.0] * n))) == ["completed"] * n


@given(
    st.sampled_from(["squat", "bicep_curl", "jumping_jack"]),
    st.integers(1, 6),
    st.floats(10, 120),
    st.floats(0.4, 2.5),
    st.floats(0.4, 2.5),
    st.floats(0.0, 1.0),
    st.floats(0.15, 1.5),
    st.floats(0.7, 1.6),
)
@settings(max_examples=60, deadline=None)
def test_rate_tempo_pauses_and_depth_do_not_matter(exercise, n, fps, out_s, back_s, turn_s, rest_s, depth):
    level, end_s = reps([depth] * n, out_s=out_s, turn_s=turn_s, back_s=back_s, rest_s=rest_s)
    assert count(watch(exercise, level, end_s, fps=fps)) == n


@given(st.lists(st.floats(0.8, 1.2), min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_depth_may_vary_from_one_to_the_next(depths):
    assert count(watch("squat", *reps(depths))) == len(depths)


@pytest.mark.parametrize("exercise", ["squat", "bicep_curl"])
def test_a_shallow_set_counts_from_its_first_repetition(exercise):
    """Half of the profile's range, all the time: that is this athlete's range (or this camera's)."""
    assert kinds(watch(exercise, *reps([0.5] * 5))) == ["completed"] * 5


def test_a_tiring_athlete_who_loses_a_quarter_of_the_range_is_counted():
    assert kinds(watch("squat", *reps(np.linspace(1.0, 0.75, 8)))) == ["completed"] * 8


@pytest.mark.parametrize("fps", [1.0, 2.0])
def test_a_slow_squat_counts_at_one_frame_a_second(fps):
    level, end_s = reps([1.0] * 4, out_s=2, turn_s=1, back_s=2, rest_s=2)
    assert count(watch("squat", level, end_s, fps=fps)) == 4


def test_a_fast_camera_changes_nothing():
    slow, fast = (watch("squat", *reps([1.0] * 3), fps=fps) for fps in (30, 240))
    assert [e.value for e in slow] == [e.value for e in fast]
    for a, b in zip(slow, fast, strict=True):
        assert a.end_s == pytest.approx(b.end_s, abs=0.1)


# --- beginnings and ends ----------------------------------------------------------------------------
def from_the_turn(t):
    """Starts at the turning point, back to rest within a second, then two whole repetitions."""
    level, _ = reps([1.0, 1.0], lead_s=2.5)
    return level(t) + 1 - ease(t - 0.7)


@pytest.mark.parametrize(("exercise", "expected"), [("push_up", 3), ("bicep_curl", 2)])
def test_a_recording_that_begins_at_the_turn_counts_the_lifts_it_shows(exercise, expected):
    """A push-up's lift is the way back; a curl's was over before the recording began."""
    assert count(watch(exercise, from_the_turn, 8.5)) == expected


def to_the_turn(t):
    """Two whole repetitions, then out and staying there."""
    level, _ = reps([1.0, 1.0])
    return level(t) + ease(t - 6.2)


@pytest.mark.parametrize(("exercise", "expected"), [("bicep_curl", ["completed"] * 3), ("squat", ["completed", "completed", "abandoned"])])
def test_a_recording_that_ends_at_the_turn_counts_the_lifts_it_shows(exercise, expected):
    assert kinds(watch(exercise, to_the_turn, 7.6)) == expected


@pytest.mark.parametrize("exercise", LIFTS_FIRST)
def test_a_lift_cut_off_half_way_is_abandoned(exercise):
    level, _ = reps([1.0, 1.0, 1.0])
    half_way = 1.0 + 2 * 2.6 + 0.5
    assert kinds(watch(exercise, level, half_way)) == ["completed", "completed", "abandoned"]


@pytest.mark.parametrize(("share", "expected"), [(0.7, "abandoned"), (0.9, "completed")])
def test_a_last_lift_that_is_still_under_way_counts_from_eight_tenths(share, expected):
    level, _ = reps([1.0, 1.0])
    rising = lambda t: level(t) + np.clip((t - 6.2) / 2, 0, share)  # noqa: E731
    assert kinds(watch("bicep_curl", rising, 6.2 + 2 * share)) == ["completed", "completed", expected]


def test_pulses_at_the_top_belong_to_the_repetition():
    """Up, a fifth down and up again twice, then down: one curl, which ends at the bottom."""
    pulses = lambda t: 0.1 * (1 - np.cos(2 * np.pi * (t - 2.2) / 0.8)) * (2.2 < t < 3.8)  # noqa: E731
    level, end_s = reps([1.0], turn_s=1.8, back_s=1.0)
    (event,) = watch("bicep_curl", lambda t: level(t) - pulses(t), end_s)
    assert event.end_s > 4.4


def test_a_new_way_of_standing_becomes_the_rest():
    """After half a minute on slightly bent knees the next squat starts when it starts."""
    squats, _ = reps([1.0, 1.0])
    third = lambda t: 0.85 * (ease(t - 40) - ease(t - 41.2))  # noqa: E731
    bent = lambda t: 0.15 * ease(t - 8)  # noqa: E731
    events = watch("squat", lambda t: squats(t) + third(t) + bent(t), 44)
    assert kinds(events) == ["completed"] * 3
    assert events[-1].start_s > 39.5


def test_what_happened_before_is_no_repetition():
    """Standing about with small movements, then one deep look at the shoes, then squats."""
    squats, _ = reps([1.0] * 3, lead_s=8.0)
    assert count(watch("squat", lambda t: squats(t) + 0.15 * np.sin(5 * t) * (t < 6), 16.0)) == 3


# --- less than a repetition -------------------------------------------------------------------------
@pytest.mark.parametrize("exercise", ["squat", "push_up", "bicep_curl", "sit_up", "jumping_jack"])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_half_a_repetition_is_partial_wherever_it_comes(exercise, at):
    depths = [1.0] * 5
    depths[at] = 0.5
    expected = ["completed"] * 5
    expected[at] = "partial"
    assert kinds(watch(exercise, *reps(depths))) == expected


def test_three_short_ones_become_the_new_measure():
    found = kinds(watch("squat", *reps([1.0] * 3 + [0.5] * 6)))
    assert found[:3] == ["completed"] * 3
    assert found[-3:] == ["completed"] * 3
    assert found.count("partial") == 3


def test_one_enormous_movement_does_not_spoil_the_set():
    assert count(watch("squat", *reps([2.2, 0.9, 0.9, 0.9, 0.9]))) == 5


@pytest.mark.parametrize("exercise", COUNTED)
def test_less_than_the_least_range_is_nothing(exercise):
    profile = load_profile(exercise)
    least = profile.min_range_deg / profile.nominal_range_deg
    assert watch(exercise, *reps([0.85 * least] * 4)) == []


def test_a_failed_attempt_between_others_is_partial():
    """Up to half of the way, down again, up for good: one squat, one failed lift."""
    squats, _ = reps([1.0, 1.0])
    rise_and_fall = lambda t: -0.5 * (ease((t - 7.5) / 0.6) - ease((t - 8.3) / 0.6))  # noqa: E731
    third = lambda t: ease(t - 6.2) - ease(t - 9.5)  # noqa: E731
    found = kinds(watch("squat", lambda t: squats(t) + third(t) + rise_and_fall(t), 12.0))
    assert found == ["completed", "completed", "partial", "completed"]


def test_sitting_down_for_long_is_not_a_squat():
    profile = load_profile("squat")
    level, end_s = reps([1.0, 1.0, 1.0], turn_s=0.2)
    sit = lambda t: ease(t - end_s) - ease(t - end_s - profile.max_duration_s)  # noqa: E731
    found = kinds(watch("squat", lambda t: level(t) + sit(t), end_s + profile.max_duration_s + 3))
    assert found == ["completed"] * 3 + ["abandoned"]


# --- noise ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("exercise", ["squat", "bicep_curl"])
@pytest.mark.parametrize("seed", range(5))
def test_jitter_counts_nothing_twice(exercise, seed):
    rng = np.random.default_rng(seed)
    level, end_s = reps([1.0] * 5)
    assert count(watch(exercise, lambda t: level(t) + rng.normal(scale=0.05), end_s)) == 5


def test_jitter_at_rest_counts_nothing():
    rng = np.random.default_rng(0)
    assert watch("squat", lambda t: rng.normal(scale=0.05), 60) == []


def test_single_wrong_frames_count_nothing():
    assert watch("squat", lambda t: 1.2 * (round(t * 30) % 45 == 20), 20) == []


@pytest.mark.parametrize("exercise", ["squat", "bicep_curl"])
def test_one_wrong_frame_in_twenty_changes_no_count(exercise):
    rng = np.random.default_rng(7)
    level, end_s = reps([1.0] * 6)
    wrong = lambda t: rng.uniform(-0.8, 1.8) if rng.random() < 0.05 else float(level(t))  # noqa: E731
    assert kinds(watch(exercise, wrong, end_s)) == ["completed"] * 6


def test_the_guesses_of_a_detector_that_has_just_found_somebody_do_not_count():
    """A fade-in: the first pose is a crouch that unfolds into the person who stands there."""
    assert watch("squat", lambda t: 0.9 * (1 - ease(t / 0.3)), 4) == []


@pytest.mark.parametrize("exercise", ["squat", "bicep_curl"])
def test_twitches_faster_than_the_shortest_repetition_do_not_count(exercise):
    profile = load_profile(exercise).model_copy(update={"min_phase_s": 0.0, "min_duration_s": 0.8})
    level, end_s = reps([1.0] * 6, out_s=0.2, turn_s=0.0, back_s=0.2, rest_s=0.1)
    assert count(watch(profile, level, end_s)) <= (0 if exercise == "squat" else 3)


def test_a_jump_is_no_lift():
    """What a cut of the film shows: bottom in one frame, standing in the next."""
    assert count(watch("squat", lambda t: 1.0 * (t % 4 < 2), 3.5)) == 0


def test_trembling_at_the_sticking_point_does_not_split_the_lift():
    level, end_s = reps([1.0] * 4, back_s=2.0)
    assert kinds(watch("squat", lambda t: level(t) + 0.08 * np.sin(25 * t), end_s)) == ["completed"] * 4


# --- sides ------------------------------------------------------------------------------------------
def test_one_arm_curls_count_and_name_the_arm():
    level, end_s = reps([1.0] * 3)
    events = watch("bicep_curl", level, end_s, right=lambda t: 0.05)
    assert count(events) == 3
    assert {e.data["side"] for e in events} == {"left"}


def test_alternating_curls_count_each_arm():
    left, _ = reps([1.0, 1.0, 1.0], rest_s=2.6, lead_s=1.0)
    right, end_s = reps([1.0, 1.0, 1.0], rest_s=2.6, lead_s=3.3)
    events = watch("bicep_curl", left, end_s, right=right)
    assert [e.data["side"] for e in events] == ["left", "right"] * 3


def test_a_side_that_is_never_seen_is_not_missed():
    level, end_s = reps([1.0] * 3)
    events = watch("squat", level, end_s, right=lambda t: np.nan)
    assert count(events) == 3
    assert {e.data["confidence"] for e in events} == {1.0}


def test_a_side_that_flickers_in_and_out_with_another_angle_does_not_count():
    level, end_s = reps([1.0] * 5, rest_s=2.0)
    flicker = lambda t: 1.4 if t % 1.3 > 1.1 else np.nan  # noqa: E731
    assert kinds(watch("squat", level, end_s, right=flicker)) == ["completed"] * 5


def test_a_side_that_disappears_for_good_is_not_waited_for():
    level, end_s = reps([1.0] * 8)
    leaving = lambda t: float(level(t)) if t < 8.6 else np.nan  # noqa: E731
    assert kinds(watch("squat", level, end_s, right=leaving)) == ["completed"] * 8


def spaces(image, space):
    """Angles of a squat whose image angles are at one level and whose angles in space at another."""
    profile = load_profile("squat")
    names = names_of(profile)
    values = [*row_of(profile, image, image), *row_of(profile, space, space)]
    return Angles((*names, *(n.replace("_deg", "_3d_deg") for n in names)), np.array([1]), np.array([values]))


def test_angles_in_space_carry_the_count_where_the_image_shows_nothing():
    level, end_s = reps([1.0] * 4)
    counter, events = RepetitionCounter(load_profile("squat")), []
    for i in range(int(end_s * 30)):
        events += counter.update(spaces(0.05, float(level(i / 30))), timestamp_s=i / 30, frame_index=i)
    assert count(events + counter.flush()) == 4


@pytest.mark.parametrize(("space", "expected"), [("image", 100.0), ("space", 10.0), ("both", 55.0), ("best", 10.0)])
def test_a_cue_reads_the_space_it_asks_for(space, expected):
    squat = load_profile("squat")
    knee = squat.cues[0].model_copy(update={"space": space})
    counter = RepetitionCounter(squat.model_copy(update={"cues": (knee,)}))
    for i in range(40):
        counter.update(spaces(1.0, 0.0), timestamp_s=i / 30, frame_index=i)
    assert counter.state(1).signal_deg == pytest.approx(expected, abs=0.5)


def test_the_image_stands_in_while_space_is_not_measured():
    squat = load_profile("squat")
    knee = squat.cues[0].model_copy(update={"space": "best"})
    counter = RepetitionCounter(squat.model_copy(update={"cues": (knee,)}))
    counter.update(spaces(1.0, np.nan), timestamp_s=0.0, frame_index=0)
    assert counter.state(1).signal_deg == pytest.approx(100.0)


@pytest.mark.parametrize("exercise", LIFTS_FIRST)
def test_a_lift_that_goes_on_from_where_landmarks_have_leapt_to_is_counted(exercise):
    """Before each lift the resting signal leaps by a whole range within a frame, and back after it: another guess at hidden joints."""
    level, end_s = reps([1.0] * 3, rest_s=2.0, lead_s=2.0)

    def leaping(t):
        since = (t - 2.0) % 4.0  # of the lift's start; it takes 2 s in all
        return float(level(t)) - (0.0 if t > 1.7 and (since < 2.3 or since > 3.7) else 1.0)

    assert count(watch(exercise, leaping, end_s)) == 3

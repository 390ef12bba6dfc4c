"""Counting whatever somebody does: athletes the recogniser was not trained on, as a detector sees them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.exercise import AutoCounter, RepetitionCounter, load_profile
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import EventType, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33


@cache
def frames(exercise, *, azimuth_deg=60.0, reps=3, seed=9951, fps=15.0, **more):
    """(poses, time, angles) of a set."""
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, reps=reps, seed=seed, fps=fps, **more)
    return [(poses, t, joint_angles(poses, timestamp_s=t)) for poses, t, _ in observed(scene, seed=seed)]


def later(part, seconds, *, track_id=1):
    """The same frames at a later time, of a person of that id."""
    tracks = np.array([track_id])
    return [(p.replace(track_ids=tracks), t + seconds, joint_angles(p.replace(track_ids=tracks), timestamp_s=t)) for p, t, _ in part]


def counted(sequence, *, flush=True):
    counter = AutoCounter(stream_id="cam")
    events = [e for i, (p, t, a) in enumerate(sequence) for e in counter.update(a, p, timestamp_s=t, frame_index=i)]
    return events + (counter.flush() if flush else []), counter


def said(events):
    return [e.data["exercise"] for e in events if e.type == EventType.EXERCISE_RECOGNIZED]


def repetitions(events, exercise=None):
    return [e for e in events if e.type == EventType.REP_COMPLETED and exercise in (None, e.data["exercise"])]


@pytest.mark.parametrize(
    ("exercise", "azimuth_deg", "label"),
    [
        ("squat", 20, "squat"),
        ("deadlift", 250, "deadlift"),
        ("push_up", 100, "push_up"),
        ("hammer_curl", 30, "bicep_curl"),
        ("overhead_press", 0, "overhead_press"),
        ("lateral_raise", 200, "lateral_raise"),
        ("sit_up", 280, "sit_up"),
        ("pull_up", 170, "pull_up"),
        ("lunge", 300, "lunge"),
    ],
)
def test_an_exercise_is_recognised_and_counted_from_its_first_repetition(exercise, azimuth_deg, label):
    events, counter = counted(frames(exercise, azimuth_deg=azimuth_deg))
    assert said(events) == [label]
    assert [e.value for e in repetitions(events)] == [1, 2, 3]
    assert {e.data["exercise"] for e in events} == {label}
    assert (counter.state(1).exercise, counter.state(1).count) == (label, 3)


def test_it_is_told_live_at_the_second_repetition_with_the_first():
    set_of_five = frames("squat", reps=5)
    second_s = repetitions(counted(set_of_five)[0])[1].end_s
    events, _ = counted([f for f in set_of_five if f[1] <= second_s + 0.6], flush=False)
    assert said(events) == ["squat"]
    assert len(repetitions(events)) == 2
    assert events[0].type == EventType.EXERCISE_RECOGNIZED
    assert events[0].start_s == repetitions(events)[0].start_s


@pytest.mark.parametrize("exercise", ["idle", "walking"])
@pytest.mark.parametrize("azimuth_deg", [0, 75])
def test_what_is_no_exercise_counts_nothing(exercise, azimuth_deg):
    events, counter = counted(frames(exercise, azimuth_deg=azimuth_deg, seed=9952, hold_s=15.0))
    assert events == []
    assert counter.state(1).exercise == "unknown"


def with_knees(sequence, left_deg, right_deg):
    """The same arms above legs that bend like that, a function of time each."""
    out = []
    for poses, t, angles in sequence:
        values = angles.value_deg.copy()
        for side, degrees in (("left", left_deg), ("right", right_deg)):
            values[:, angles.names.index(f"{side}_knee_flexion_in_plane_deg")] = degrees(t)
        out.append((poses, t, replace(angles, value_deg=values)))
    return out


def test_arms_that_curl_while_the_legs_step_are_no_set():
    curls = frames("bicep_curl", azimuth_deg=20, reps=4)
    stepping = with_knees(curls, lambda t: 40 * max(np.sin(5 * t), 0), lambda t: 40 * max(-np.sin(5 * t), 0))
    assert counted(stepping)[0] == []
    together = with_knees(curls, lambda t: 20 + 20 * np.sin(5 * t), lambda t: 20 + 20 * np.sin(5 * t))  # helps along
    hidden = with_knees(curls, lambda t: np.nan, lambda t: np.nan)
    assert len(repetitions(counted(together)[0])) == len(repetitions(counted(hidden)[0])) == 4


def test_two_quick_jumps_are_no_set():
    assert counted(frames("jumping_jack", azimuth_deg=0, reps=2, fps=20.0))[0] == []


def test_a_hold_is_recognised_and_timed():
    events, _ = counted(frames("plank", azimuth_deg=80, hold_s=8.0))
    assert said(events) == ["plank"]
    assert [e.type for e in events[1:]] == [EventType.HOLD_COMPLETED]


def test_another_exercise_closes_the_count_and_begins_its_own():
    curls = frames("bicep_curl", azimuth_deg=20)
    squats = later(frames("squat", azimuth_deg=20, reps=4), curls[-1][1] + 1.0)
    events, counter = counted(curls + squats)
    assert said(events) == ["bicep_curl", "squat"]
    assert [e.value for e in repetitions(events, "bicep_curl")] == [1, 2, 3]
    assert [e.value for e in repetitions(events, "squat")] == [1, 2, 3, 4]
    assert counter.state(1).count == 4


def test_a_person_who_gets_another_id_goes_on_with_less_evidence():
    """Two repetitions, a lost track, one more: alone it would be too little, after the others it is not."""
    part = frames("squat", reps=2)
    one_more = later(frames("squat", reps=1, seed=9953), part[-1][1] + 0.5, track_id=2)
    events, _ = counted(part + one_more)
    assert [(e.track_id, e.value) for e in repetitions(events)] == [(1, 1), (1, 2), (2, 1)]


def test_alternating_curls_count_each_arm():
    events, _ = counted(frames("bicep_curl", azimuth_deg=15, reps=4, side="alternating"))
    assert sorted(e.data["side"] for e in repetitions(events)) == ["left", "left", "right", "right"]


def test_nothing_depends_on_what_comes_later():
    everything = frames("squat", reps=4)
    whole, part = counted(everything, flush=False)[0], counted(everything[:80], flush=False)[0]
    assert part == whole[: len(part)]


@pytest.mark.parametrize("exercise", ["squat", "push_up", "bicep_curl"])
def test_live_and_given_counts_agree(exercise):
    """Live sees every second frame; whoever names the exercise beforehand gets the same repetitions at the same times."""
    sequence = frames(exercise, reps=4, fps=30.0)
    counter = RepetitionCounter(load_profile(exercise), stream_id="cam")
    given = [e for i, (p, t, a) in enumerate(sequence) for e in counter.update(a, p, timestamp_s=t, frame_index=i)] + counter.flush()
    auto = counted(sequence)[0]
    assert [e.start_s for e in repetitions(auto)] == [e.start_s for e in repetitions(given)]
    assert len(repetitions(counted(sequence[::2])[0])) == len(repetitions(given)) == 4


def test_two_people_are_recognised_apart():
    both = []
    for (p, t, _), (q, _, _) in zip(frames("squat"), later(frames("bicep_curl"), 0.0, track_id=2), strict=False):
        people = Poses.concatenate([p, q])
        both.append((people, t, joint_angles(people, timestamp_s=t)))
    events, _ = counted(both)
    assert {(e.track_id, e.data["exercise"]) for e in repetitions(events)} == {(1, "squat"), (2, "bicep_curl")}


def test_events_are_json():
    json.dumps([e.to_dict() for e in counted(frames("squat"))[0]], allow_nan=False)


@pytest.mark.parametrize("fps", [1.0, 240.0])
def test_any_rate_is_taken(fps):
    events, _ = counted(frames("squat", reps=2, fps=fps, seed=9954))
    assert len(repetitions(events)) == (2 if fps > 1 else 0)  # one frame a second shows no movement


def test_bad_input_breaks_nothing():
    counter, nobody = AutoCounter(), Poses.empty(BLAZEPOSE_33)
    for i, (p, t, _) in enumerate(frames("squat")):
        hidden = p.replace(keypoint_confidence=np.zeros((1, 33), np.float32))
        q = (hidden, nobody, p.replace(track_ids=np.array([-1])), p)[i % 4]
        counter.update(joint_angles(q, timestamp_s=t), q, timestamp_s=t if i % 9 else t - 5.0, frame_index=i)
    assert counter.state(99).count == 0
    counter.flush()
    with pytest.raises(ValidationError, match="finite"):
        counter.update(joint_angles(p, timestamp_s=0.0), p, timestamp_s=float("nan"), frame_index=0)


def test_late_frames_change_nothing_and_a_new_clock_starts_anew():
    once = frames("squat")
    events, _ = counted([f for frame in once for f in (frame, frame)])
    assert len(repetitions(events)) == 3
    again, _ = counted(later(once, 100.0) + once)
    assert len(repetitions(again)) == 6


def test_four_fast_repetitions_are_a_set_by_their_rhythm():
    """Two seconds of work in all: fewer or slower ones must last longer."""
    events, _ = counted(frames("deadlift", azimuth_deg=75.0, reps=4, fps=25.0, tempo=(0.3, 0.05, 0.3, 0.1)))
    assert said(events) == ["deadlift"]
    assert sum(e.type == EventType.REP_COMPLETED for e in events) == 4

"""Clocks that meet, and two recordings of different size, rate and length in one picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.reporting import ChoiceError, Side, SideBySide
from pose_analyzer.reporting.alignment import TimeMap, _path, by_offset, by_repetitions, by_warping
from pose_analyzer.reporting.side_by_side import COLOUR_A, COLOUR_B, joint_curve, shared_joint
from shared_utils import Event, EventType, Frame, Series, Session, ValidationError


def _knee(times: np.ndarray, reps: list[tuple[float, float]]) -> np.ndarray:
    """Straight, and bent to 100 degrees and back within each repetition."""
    out = np.full(len(times), 5.0)
    for start, end in reps:
        inside = (times >= start) & (times <= end)
        out[inside] += 47.5 * (1 - np.cos(2 * np.pi * (times[inside] - start) / (end - start)))
    return out


def _events(reps: list[tuple[float, float]]) -> list[Event]:
    return [Event(EventType.REP_COMPLETED, "cam", 1, a, b, value=i + 1) for i, (a, b) in enumerate(reps)]


def _session(reps, *, fps: float, length_s: float, size=(64, 48), missing=()) -> Session:
    times = np.arange(round(length_s * fps)) / fps
    knee = _knee(times, reps)
    for start, end in missing:
        knee[(times >= start) & (times <= end)] = np.nan
    columns = {"frame_index": np.arange(len(times)), "timestamp_s": times, "track_id": np.ones(len(times), int)}
    columns["left_knee_flexion_deg"] = knee
    return Session(source="a.mp4", source_info={"width": size[0], "height": size[1]}, series=Series(columns), events=tuple(_events(reps)))


def _frames(session: Session):
    """Each frame is grey by its number, so that a picture tells which frame it shows."""
    width, height = session.source_info["width"], session.source_info["height"]
    for i, t in enumerate(session.series["timestamp_s"].tolist()):
        yield Frame(np.full((height, width, 3), i % 200 + 40, np.uint8), index=i, timestamp_s=t)


SLOW, FAST = [(1.0, 5.0), (6.0, 10.0)], [(2.0, 4.0), (4.0, 6.0), (7.0, 9.0)]


# --- clocks -----------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=1, max_size=8), st.floats(-20, 40))
@settings(max_examples=60, deadline=None)
def test_a_time_map_and_its_inverse_cancel_and_rise(steps, at):
    a, b = np.cumsum(np.array(steps), axis=0).T
    clock = TimeMap(a_s=a, b_s=b)
    assert float(clock.to_a(float(clock.to_b(at)))) == pytest.approx(at, abs=1e-6)
    assert (np.diff(clock.to_b(np.linspace(-10, 50, 200))) > 0).all()


@pytest.mark.parametrize("knots", [[], [0.0, 0.0], [1.0, 0.5], [np.nan]])
def test_knots_that_do_not_rise_are_refused(knots):
    with pytest.raises(ValidationError):
        TimeMap(a_s=np.array(knots), b_s=np.arange(max(len(knots), 1), dtype=float))


def test_beginning_turn_and_end_of_repetitions_meet_and_touching_ones_do_not_stop_the_clock():
    times = np.arange(0, 11, 0.01)
    clock = by_repetitions(_events(SLOW), _events(FAST), (times, _knee(times, SLOW)), (times, _knee(times, FAST)))
    np.testing.assert_allclose(clock.to_b(np.array([1.0, 3.0, 5.0, 8.0, 10.0])), [2.0, 3.0, 4.0, 5.0, 6.0], atol=0.02)
    np.testing.assert_allclose(clock.to_b(np.array([0.0, 12.0])), [1.0, 8.0], atol=0.02)  # outside both run equally fast
    with pytest.raises(ChoiceError, match="offset"):
        by_repetitions([], _events(FAST), (times, times), (times, times))


@pytest.mark.parametrize("delay", [0.0, 0.7, -0.6])
def test_warping_finds_a_delay_and_a_change_of_speed(delay):
    times = np.arange(0, 12, 1 / 30)
    other = np.arange(0, 16, 1 / 24)
    reps = [(1.0 + delay, 2.8 + delay), (4.0 + delay, 5.5 + delay), (7.0 + delay, 10.0 + delay)]
    base = [(1.0, 3.0), (4.0, 6.0), (7.0, 9.0)]
    clock = by_warping((times, _knee(times, base)), (other, _knee(other, reps)))
    middles = np.array([(a + b) / 2 for a, b in base])
    np.testing.assert_allclose(clock.to_b(middles), [(a + b) / 2 for a, b in reps], atol=0.15)


def test_warping_path_costs_as_little_as_dtaidistances():
    from dtaidistance import dtw

    random = np.random.default_rng(4)
    a, b = random.normal(size=40).cumsum(), random.normal(size=55).cumsum()
    cost = sum((a[i] - b[j]) ** 2 for i, j in _path(a, b))
    steps = _path(a, b)
    alone = sum(1 for p, q in pairwise(steps) if p[0] == q[0] or p[1] == q[1])
    assert np.sqrt(cost + 0.1 * alone) == pytest.approx(dtw.distance(a, b, penalty=np.sqrt(0.1)), rel=1e-9)


def test_what_does_not_move_cannot_be_warped():
    times = np.arange(0, 5, 0.1)
    for values in (np.full(50, 20.0), np.full(50, np.nan)):
        with pytest.raises(ChoiceError, match="hardly moves"):
            by_warping((times, values), (times, values))


def test_an_offset_is_that_far_ahead():
    assert float(by_offset(-2.0).to_b(5.0)) == 3.0


# --- joints -----------------------------------------------------------------------------------------
def test_one_side_is_shown_where_the_other_is_hidden_for_a_while():
    left, right = np.linspace(0, 90, 50), np.linspace(10, 100, 50)
    both = Series({"left_knee_flexion_deg": left, "right_knee_flexion_deg": right})
    np.testing.assert_allclose(joint_curve(both, "knee_flexion"), (left + right) / 2)
    hidden = Series({"left_knee_flexion_deg": np.where(np.arange(50) > 30, np.nan, left), "right_knee_flexion_deg": right})
    np.testing.assert_array_equal(joint_curve(hidden, "knee_flexion"), right)


def test_the_joint_is_one_that_moves_in_both():
    moving, still = np.linspace(0, 90, 50), np.full(50, 3.0)
    a = Series({"left_knee_flexion_deg": still, "left_elbow_flexion_deg": moving, "left_hip_flexion_deg": moving})
    assert shared_joint(a, a, None) == "elbow_flexion"
    with pytest.raises(ChoiceError, match="knee_flexion, elbow_flexion"):
        shared_joint(a, a, "toe")
    with pytest.raises(ChoiceError, match="no joint angle"):
        shared_joint(a, Series({"left_wrist_flexion_deg": np.full(50, np.nan)}), None)


# --- pictures ---------------------------------------------------------------------------------------
def test_sizes_rates_and_lengths_may_differ():
    a = _session(SLOW, fps=30, length_s=11, size=(64, 48))
    b = _session(FAST, fps=12, length_s=10, size=(50, 100))
    layer = SideBySide(Side(session=a), Side(session=b), height_px=120)
    pictures = list(layer.pictures(_frames(a), _frames(b), fps=10))
    assert {p.shape for p, _ in pictures} == {(8 + 120 + 26, 160 + 4 + 60, 3)}
    np.testing.assert_allclose([t for _, t in pictures], np.arange(len(pictures)) / 10)
    # Repetitions 1 and 2 meet, the third is B's alone. On A's clock B lasts from -1 s (2 s before its first repetition) to
    # 13.9 s (3.9 s after its second).
    assert pictures[-1][1] == pytest.approx(14.9, abs=0.05)


def test_pictures_show_the_frames_of_their_times_and_one_that_is_over_is_dark():
    a, b = _session(SLOW, fps=10, length_s=6), _session(SLOW, fps=20, length_s=4)
    layer = SideBySide(Side(session=a), Side(session=b), align="offset", offset_s=1.0, height_px=120)
    shown = {round(t, 2): (p[60, 80, 0], p[60, 250, 0]) for p, t in layer.pictures(_frames(a), _frames(b), fps=5)}
    # The first picture is of -1 s on A's clock: A waits, dark, until B's second second.
    assert shown[0.0] == (int(40 * 0.45), 40)
    assert shown[1.0] == (40, 40 + 20)
    assert shown[2.0] == (40 + 10, 40 + 40)
    assert shown[6.0] == (40 + 50, int((40 + 79) * 0.45))


def test_readings_stand_beside_the_curves_in_their_colours_and_gaps_say_no_reading():
    a = _session(SLOW, fps=10, length_s=11, missing=[(2.0, 4.0)])
    layer = SideBySide(Side(session=a), Side(session=a), align="start", height_px=240)
    picture = next(p for p, t in layer.pictures(_frames(a), _frames(a), fps=1) if t == 6.0)
    foot = picture[-53:].reshape(-1, 3)
    for colour in (COLOUR_A, COLOUR_B):
        assert (np.abs(foot.astype(int) - colour).max(1) < 4).any()
    gap = next(p for p, t in layer.pictures(_frames(a), _frames(a), fps=1) if t == 3.0)
    assert (gap[-53:] != picture[-53:]).any()


@pytest.mark.parametrize("fps", [1.0, 240.0])
def test_one_and_240_frames_a_second_go_together(fps):
    a, b = _session(SLOW, fps=30, length_s=11), _session(SLOW, fps=fps, length_s=11)
    layer = SideBySide(Side(session=a), Side(session=b), height_px=120, align="start")
    assert len(list(layer.pictures(_frames(a), _frames(b), fps=2))) >= 20


def test_what_cannot_be_compared_says_why():
    a = _session(SLOW, fps=10, length_s=11)
    with pytest.raises(ChoiceError, match="nobody was found"):
        SideBySide(Side(session=a), Side(session=Session(source="empty.mp4")))
    with pytest.raises(ValidationError, match="height_px"):
        SideBySide(Side(session=a), Side(session=a), height_px=50)
    layer = SideBySide(Side(session=a), Side(session=a), height_px=120)
    with pytest.raises(ValidationError, match="no frame"):
        next(layer.pictures(iter(()), _frames(a)))
    with pytest.raises(ValidationError, match="fps"):
        next(layer.pictures(_frames(a), _frames(a), fps=0))

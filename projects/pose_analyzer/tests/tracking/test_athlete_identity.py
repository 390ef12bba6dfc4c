"""One athlete, whatever the exercise, stays one person: by formula, and by the test athlete's silhouettes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pose_analyzer.synthetic import scene_for
from pose_analyzer.tracking import ByteTracker

BODY_PX = 300.0

# (centre x, foot y, width, height) in body lengths at a part p of the cycle.
Outline = Callable[[float], tuple[float, float, float, float]]


def _between(p: float, *points: tuple[float, float]) -> float:
    return float(np.interp(p, [at for at, _ in points], [value for _, value in points]))


def _jumping_jack(p: float) -> tuple[float, float, float, float]:
    out = (1 - np.cos(2 * np.pi * p)) / 2
    return 0.0, -0.06 * abs(np.sin(2 * np.pi * p)), 0.3 + 0.7 * out, 1 + 0.2 * out


def _squat(p: float) -> tuple[float, float, float, float]:
    down = (1 - np.cos(2 * np.pi * p)) / 2
    return 0.1 * down, 0.0, 0.3 + 0.25 * down, 1 - 0.4 * down


def _push_up(p: float) -> tuple[float, float, float, float]:
    return 0.0, 0.0, 1.0, 0.32 + 0.1 * np.cos(2 * np.pi * p)


def _sit_up(p: float) -> tuple[float, float, float, float]:
    up = (1 - np.cos(2 * np.pi * p)) / 2
    return -0.1 * up, 0.0, 0.95 - 0.3 * up, 0.3 + 0.3 * up


def _burpee(p: float) -> tuple[float, float, float, float]:
    down = _between(p, (0, 0), (0.2, 0.5), (0.35, 1), (0.6, 1), (0.75, 0.5), (0.85, 0), (1, 0))
    jump = _between(p, (0.8, 0), (0.88, 1), (0.96, 0))
    return 0.35 * down, -0.25 * jump, 0.3 + 0.75 * down, 1 - 0.7 * down + 0.2 * jump


def _lateral_raise(p: float) -> tuple[float, float, float, float]:
    return 0.0, 0.0, 0.65 - 0.35 * np.cos(2 * np.pi * p), 1.0


OUTLINES: dict[str, tuple[Outline, float]] = {  # with cycles per second, brisk ones
    "jumping jack": (_jumping_jack, 1.5),
    "squat": (_squat, 0.8),
    "push-up": (_push_up, 1.2),
    "sit-up": (_sit_up, 0.6),
    "burpee": (_burpee, 0.35),
    "lateral raise": (_lateral_raise, 0.8),
}


def _box(outline: Outline, p: float, noise: np.ndarray, x_px: float = 500.0) -> np.ndarray:
    x, y, width, height = outline(p % 1)
    return np.array([x - width / 2, y - height, x + width / 2, y]) * BODY_PX + [x_px, 700, x_px, 700] + noise


def _track(people, times, boxes, missed) -> set[int]:
    tracker, ids = ByteTracker(), set()
    for t, box, gone in zip(times, boxes, missed, strict=True):
        ids.update(tracker.update(people([] if gone else [box]), timestamp_s=float(t)).track_ids.tolist())
    return ids


@pytest.mark.parametrize("missed_s", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate_hz", [10, 30])
@pytest.mark.parametrize("name", OUTLINES)
def test_an_athlete_alone_keeps_the_id(people, name, rate_hz, missed_s):
    outline, cycles_hz = OUTLINES[name]
    rng = np.random.default_rng(0)
    times = np.arange(0, 12, 1 / rate_hz)
    boxes = [_box(outline, cycles_hz * t, rng.normal(0, 0.01 * BODY_PX, 4)) for t in times]
    missed = np.zeros(len(times), bool)
    for start in np.arange(1.5, 12, 2.6):
        missed |= (times >= start) & (times < start + missed_s)
    assert _track(people, times, boxes, missed) == {1}


@pytest.mark.parametrize("rate_hz", [10, 30])
@pytest.mark.parametrize("name", OUTLINES)
def test_two_athletes_side_by_side_keep_theirs(people, name, rate_hz):
    outline, cycles_hz = OUTLINES[name]
    rng = np.random.default_rng(1)
    tracker, seen = ByteTracker(), [set(), set()]
    for t in np.arange(0, 12, 1 / rate_hz):
        one = _box(outline, cycles_hz * t, rng.normal(0, 0.01 * BODY_PX, 4))
        other = _box(outline, 0.9 * cycles_hz * t + 0.3, rng.normal(0, 0.01 * BODY_PX, 4), x_px=500 + 1.1 * BODY_PX)
        for ids, track_id in zip(seen, tracker.update(people([one, other]), timestamp_s=float(t)).track_ids.tolist(), strict=True):
            ids.add(track_id)
    assert len(seen[0]) == len(seen[1]) == 1
    assert seen[0] != seen[1]


@pytest.mark.parametrize("exercise", ["jumping_jack", "push_up", "lunge", "sit_up"])
def test_the_silhouette_of_the_test_athlete_is_one_person(people, exercise):
    scene = scene_for(exercise, reps=2, width=160, height=120, azimuth_deg=40)
    truths = [scene.truth_at(i) for i in range(len(scene))]
    for every in (1, 3):  # 30 and 10 Hz
        boxes = [truth.boxes_xyxy[0] for truth in truths[::every]]
        times = np.array([truth.timestamp_s for truth in truths[::every]])
        missed = (times > times.mean()) & (times < times.mean() + 0.9)
        assert _track(people, times, boxes, missed) == {1}


@pytest.mark.parametrize("missed", [1, 2, 8])
def test_a_body_that_folded_up_before_the_lens_and_comes_up_again_keeps_the_id(people, missed):
    """The sit-up seen from behind the head: the box shrinks to the shoulders' breadth, is lost, and comes back as large as before."""
    heights = [*np.linspace(0.9, 0.35, 6), *[None] * missed, 0.8, 0.9, 0.9]
    boxes = [None if h is None else np.array([300 - 0.2 * h * BODY_PX, 700 - h * BODY_PX, 300 + 0.2 * h * BODY_PX, 700]) for h in heights]
    times = np.arange(len(heights)) / 15
    assert _track(people, times, boxes, [b is None for b in boxes]) == {1}


def test_somebody_three_times_as_large_at_the_same_place_is_somebody_else(people):
    small, large = np.array([300, 500, 340, 600]), np.array([220, 200, 400, 610])
    tracker = ByteTracker()
    for i in range(10):
        tracker.update(people([small]), timestamp_s=i / 15)
    tracker.update(people([]), timestamp_s=10 / 15)
    later = [tracker.update(people([large]), timestamp_s=i / 15).track_ids.tolist() for i in (11, 12)]
    assert later == [[-1], [2]]

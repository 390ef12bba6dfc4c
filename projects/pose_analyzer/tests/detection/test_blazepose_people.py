"""Who is followed, when people are looked for, and when two findings are one person. No network runs here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pose_analyzer.detection.blazepose.decode import Candidate, Landmarks
from pose_analyzer.detection.blazepose.people import Finding, Person, Stream
from pose_analyzer.detection.blazepose.regions import Region
from shared_utils.skeletons import BLAZEPOSE_33

WIDE = (640, 360)
_BODY = np.random.default_rng(0).uniform(-0.5, 0.5, (33, 2)) * (60, 170)


def _landmarks(x: float, y: float = 180.0, *, score: float = 0.9, posture: np.ndarray = _BODY) -> Landmarks:
    return Landmarks(
        score=score,
        xy_px=posture + np.array([x, y]),
        visibility=np.ones(33, np.float32),
        presence=np.ones(33, np.float32),
        world_xyz_m=np.zeros((33, 3)),
        span_px=(x, y, x, y - 90.0),
    )


def _candidate(x: float, y: float = 180.0, *, score: float = 0.9) -> Candidate:
    return Candidate(score, Region.from_points((x, y), (x, y - 90.0)))


def _frame(stream: Stream, everybody: dict[str, float], *, seen: list[str] | None = None) -> tuple[bool, list[Landmarks]]:
    """One frame with people at the given x; `seen` are those the person detector would find."""
    searched = stream.start_frame(*WIDE) is not None
    findings = []
    for person in stream.people:
        nearest = min(everybody.values(), key=lambda x: abs(x - person.region.x_px), default=math.inf)
        if abs(nearest - person.region.x_px) < 40:
            findings.append(Finding(person, False, _landmarks(nearest)))
    if searched:
        names = everybody if seen is None else seen
        findings += [Finding(p, True, _landmarks(p.region.x_px)) for p in stream.newcomers([_candidate(everybody[n]) for n in names])]
    return searched, stream.end_frame(findings)


def test_with_one_person_the_detector_runs_only_when_nobody_is_followed():
    stream = Stream(max_people=1, search_frames=3)
    steps = [{}, {}, {"a": 100}, {"a": 102}, {"a": 104}, {"a": 106}, {"a": 108}, {}, {}, {"a": 300}, {"a": 301}]
    assert [_frame(stream, people)[0] for people in steps] == [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0]


def test_with_room_for_more_it_runs_at_intervals():
    stream = Stream(max_people=2, search_frames=4)
    assert [_frame(stream, {"a": 100})[0] for _ in range(10)] == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]


def test_without_room_it_does_not_run():
    stream = Stream(max_people=2, search_frames=2)
    assert [_frame(stream, {"a": 100, "b": 300})[0] for _ in range(6)] == [1, 0, 0, 0, 0, 0]


def test_after_a_loss_it_runs_soon_and_then_less_and_less_often():
    stream = Stream(max_people=3, search_frames=8)
    _frame(stream, {"a": 100, "b": 300})
    _frame(stream, {"a": 100})  # b is lost here
    assert [_frame(stream, {"a": 100})[0] for _ in range(24)] == [i in (0, 1, 3, 7, 15, 23) for i in range(24)]


def test_searches_take_turns_between_the_whole_image_and_its_tiles():
    stream = Stream(max_people=2, search_frames=5)
    places = [stream.start_frame(*WIDE) for _ in range(5)]
    assert places[0] == places[4] == Region.around(*WIDE)
    assert places[1:4] == Region.tiles(*WIDE)


def test_with_one_person_the_whole_image_is_searched_only():
    stream = Stream(max_people=1, search_frames=5)
    assert {stream.start_frame(*WIDE) for _ in range(4)} == {Region.around(*WIDE)}


def test_who_is_followed_already_is_no_newcomer():
    stream = Stream(max_people=6, search_frames=1)
    _frame(stream, {"a": 200})
    stream.start_frame(*WIDE)
    newcomers = stream.newcomers([_candidate(205.0), _candidate(420.0)])
    assert [round(p.region.x_px) for p in newcomers] == [420]


def test_no_more_people_than_there_is_room_for_the_best_first():
    stream = Stream(max_people=2, search_frames=1)
    stream.start_frame(*WIDE)
    assert [round(p.region.x_px) for p in stream.newcomers([_candidate(x) for x in (100.0, 250.0, 400.0)])] == [100, 250]


def test_the_region_follows_the_person():
    stream = Stream(max_people=1, search_frames=5)
    for x in range(100, 220, 3):
        _, found = _frame(stream, {"a": float(x)})
        assert len(found) == 1
    # 3 px a frame is fast; the filter lags behind by a few frames and no more.
    assert 200 < stream.people[0].region.x_px < 218


def test_two_people_stay_two_while_they_pass_one_another():
    stream = Stream(max_people=6, search_frames=10)
    mirrored = _BODY * (-1, 1)
    counts = []
    for step in range(60):
        places = {"a": 100.0 + 6 * step, "b": 460.0 - 6 * step}
        stream.start_frame(*WIDE)
        if step == 0:
            findings = [Finding(p, True, _landmarks(p.region.x_px)) for p in stream.newcomers([_candidate(x) for x in places.values()])]
        else:
            postures = (_BODY, mirrored)
            findings = [
                Finding(p, False, _landmarks(x, posture=q)) for p, x, q in zip(stream.people, places.values(), postures, strict=True)
            ]
        counts.append(len(stream.end_frame(findings)))
    assert counts == [2] * 60
    assert stream.people[0].region.x_px > 400 > 200 > stream.people[1].region.x_px


def test_two_findings_of_one_person_are_one_and_the_followed_stays():
    stream = Stream(max_people=6, search_frames=1)
    _frame(stream, {"a": 200.0})
    [followed] = stream.people
    stream.start_frame(*WIDE)
    newcomer = Person(Region.from_points((230.0, 180.0), (230.0, 60.0)))
    kept = stream.end_frame([Finding(newcomer, True, _landmarks(201.0)), Finding(followed, False, _landmarks(200.0))])
    assert len(kept) == 1
    assert stream.people == [followed]


def test_who_drifted_onto_a_neighbour_gives_way():
    stream = Stream(max_people=6, search_frames=10)
    _frame(stream, {"a": 200.0, "b": 300.0})
    a, b = stream.people
    stream.start_frame(*WIDE)
    # Both regions show the person at 296; that is b, who was at 300, not a, who was at 200.
    stream.end_frame([Finding(a, False, _landmarks(296.0)), Finding(b, False, _landmarks(297.0))])
    assert stream.people == [b]


def test_another_picture_size_is_another_view():
    stream = Stream(max_people=1, search_frames=10)
    _frame(stream, {"a": 200.0})
    assert stream.start_frame(*WIDE) is None
    assert stream.start_frame(360, 640) == Region.around(360, 640)
    assert stream.people == []


@pytest.mark.parametrize("span", [(np.nan, 0.0, 0.0, 0.0), (50.0, 50.0, 50.0, 50.0), (0.0, 0.0, np.inf, 0.0)])
def test_without_a_next_region_a_person_is_shown_but_not_followed(span):
    stream = Stream(max_people=1, search_frames=10)
    stream.start_frame(*WIDE)
    [person] = stream.newcomers([_candidate(100.0)])
    found = _landmarks(100.0)
    broken = Landmarks(found.score, found.xy_px, found.visibility, found.presence, found.world_xyz_m, span)
    assert len(stream.end_frame([Finding(person, True, broken)])) == 1
    assert stream.people == []


def _upright(x: float, y: float, trunk_px: float) -> Landmarks:
    """Somebody upright whose trunk, around (x, y), has that length."""
    posture = np.tile([0.0, 0.0], (33, 1))
    for i, at in {11: (-0.35, -0.5), 12: (0.35, -0.5), 23: (-0.2, 0.5), 24: (0.2, 0.5)}.items():
        posture[i] = np.array(at) * trunk_px
    posture[25:] = np.array([0.0, 1.5]) * trunk_px
    return _landmarks(x, y, posture=posture)


@pytest.mark.parametrize(
    ("x", "y", "trunk_px", "people"),
    [
        (310, 170, 50, 1),  # a print on the shirt
        (350, 170, 90, 2),  # somebody as large: one of the two is in front
        (305, 178, 90, 1),  # hardly beside: the same body once more
        (420, 170, 50, 2),  # a child, or somebody farther away, beside
        (310, 20, 50, 2),  # somebody farther away, above the shoulder
    ],
)
def test_a_small_body_on_the_trunk_of_a_large_one_is_nobody(x, y, trunk_px, people):
    stream = Stream(max_people=3, search_frames=1)
    stream.start_frame(*WIDE)
    (large,) = stream.newcomers([_candidate(300)])
    stream.end_frame([Finding(large, True, _upright(300, 180, 100))])
    stream.start_frame(*WIDE)
    findings = [Finding(large, False, _upright(301, 180, 100)), Finding(Person(_candidate(x, y).region), True, _upright(x, y, trunk_px))]
    assert len(stream.end_frame(findings)) == people


def test_a_newcomer_whose_limbs_all_lie_on_somebody_is_a_second_skeleton_of_them():
    """Somebody lies along the x axis; a smaller skeleton with its trunk on the thighs, and one that holds an arm beside the body."""
    lying = {"shoulder": 0.0, "elbow": 30.0, "wrist": 60.0, "hip": 100.0, "knee": 160.0, "ankle": 220.0, "heel": 225.0, "foot_index": 230.0}
    on_legs = {part: 110.0 + 0.5 * x for part, x in lying.items()}

    def body(at: dict[str, float], arm_px: float = 0.0) -> Landmarks:
        posture = np.array([[at.get(name.split("_", 1)[-1], at["shoulder"] - 10.0), 0.0] for name in BLAZEPOSE_33.keypoints])
        posture[BLAZEPOSE_33.indices(["left_elbow", "left_wrist"]), 1] = arm_px
        return _landmarks(100.0, posture=posture)

    for arm_px, people in ((0.0, 1), (60.0, 2)):
        stream = Stream(max_people=3, search_frames=1)
        stream.start_frame(*WIDE)
        (followed,) = stream.newcomers([_candidate(150.0)])
        stream.end_frame([Finding(followed, True, body(lying))])
        stream.start_frame(*WIDE)
        newcomer = Finding(Person(_candidate(260.0).region), True, body(on_legs, arm_px))
        assert len(stream.end_frame([Finding(followed, False, body(lying)), newcomer])) == people

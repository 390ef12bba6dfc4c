from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.tracking import ByteTracker, Tracker
from pose_analyzer.tracking.bytetrack import ByteTrackConfig
from shared_utils.data_models import Poses
from shared_utils.errors import ConfigError
from shared_utils.skeletons import COCO_17

A, B = (100, 100, 160, 280), (400, 100, 460, 280)


def _moved(box, dx=0.0, dy=0.0):
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


def _ids(tracker: ByteTracker, poses: Poses, timestamp_s: float) -> list[int]:
    return tracker.update(poses, timestamp_s=timestamp_s).track_ids.tolist()


# --- what comes back ------------------------------------------------------------------------------
def test_it_is_a_tracker():
    assert isinstance(ByteTracker(), Tracker)


def test_rows_stay_as_they_were_but_for_the_ids(people):
    tracker = ByteTracker()
    tracker.update(people([A, B]), timestamp_s=0.0)
    poses = people([_moved(B, 3, -2), _moved(A, 5, 1)], [0.9, 0.8])
    tracked = tracker.update(poses, timestamp_s=0.1)
    assert tracked.track_ids.tolist() == [2, 1]
    np.testing.assert_array_equal(tracked.boxes_xyxy, poses.boxes_xyxy)  # detected, never predicted
    np.testing.assert_array_equal(tracked.scores, poses.scores)
    assert poses.track_ids.tolist() == [-1, -1]  # the input is left alone


def test_ids_that_the_poses_carry_are_not_read(people):
    tracker = ByteTracker()
    assert _ids(tracker, people([A]).replace(track_ids=np.array([7])), 0.0) == [1]


def test_nobody_is_fine(people):
    tracker = ByteTracker()
    assert _ids(tracker, people([]), 0.0) == []
    assert _ids(tracker, people([]), 0.1) == []


def test_every_tracker_counts_for_itself(people):
    one, two = ByteTracker(), ByteTracker()
    assert _ids(one, people([A, B]), 0.0) == [1, 2]
    assert _ids(two, people([A]), 0.0) == [1]


def test_the_largest_is_number_one(people):
    assert _ids(ByteTracker(), people([(0, 0, 10, 20), (300, 0, 400, 200), (600, 0, 650, 100)]), 0.0) == [3, 1, 2]


def test_reset_starts_over(people):
    tracker = ByteTracker()
    _ids(tracker, people([A, B]), 5.0)
    tracker.reset()
    assert _ids(tracker, people([B]), 0.0) == [1]


# --- confirmation ---------------------------------------------------------------------------------
def test_people_of_the_first_frame_are_confirmed_at_once_later_ones_when_seen_again(people):
    tracker = ByteTracker()
    assert _ids(tracker, people([A]), 0.0) == [1]
    assert _ids(tracker, people([A, B]), 0.1) == [1, -1]
    assert _ids(tracker, people([A, B]), 0.2) == [1, 2]


def test_a_flash_of_one_frame_gets_no_id_and_uses_none_up(people):
    tracker = ByteTracker()
    _ids(tracker, people([A]), 0.0)
    _ids(tracker, people([A, B]), 0.1)
    assert _ids(tracker, people([A]), 0.2) == [1]
    assert _ids(tracker, people([A, B]), 0.3) == [1, -1]
    assert _ids(tracker, people([A, B]), 0.4) == [1, 2]


def test_a_first_frame_without_people_is_the_first_frame(people):
    tracker = ByteTracker()
    _ids(tracker, people([]), 0.0)
    assert _ids(tracker, people([A]), 0.1) == [-1]


# --- scores ---------------------------------------------------------------------------------------
def test_a_low_score_keeps_a_track_but_starts_none(people):
    tracker = ByteTracker(track_high_thresh=0.5, track_low_thresh=0.1, new_track_thresh=0.6)
    _ids(tracker, people([A]), 0.0)
    for i in range(1, 6):
        assert _ids(tracker, people([A, B], [0.2, 0.2]), 0.1 * i) == [1, -1]


def test_a_high_score_below_the_one_for_new_tracks_starts_none(people):
    tracker = ByteTracker(track_high_thresh=0.5, new_track_thresh=0.7)
    assert _ids(tracker, people([A, B], [0.9, 0.6]), 0.0) == [1, -1]
    assert _ids(tracker, people([A, B], [0.6, 0.6]), 0.1) == [1, -1]


def test_a_low_score_does_not_revive_who_is_lost(people):
    tracker = ByteTracker(track_high_thresh=0.5)
    _ids(tracker, people([A, B]), 0.0)
    _ids(tracker, people([B]), 0.1)
    assert _ids(tracker, people([A, B], [0.2, 0.9]), 0.2) == [-1, 2]
    assert _ids(tracker, people([A, B], [0.9, 0.9]), 0.3) == [1, 2]


def test_below_the_low_threshold_nothing_is_looked_at(people):
    tracker = ByteTracker()
    _ids(tracker, people([A]), 0.0)
    assert _ids(tracker, people([A], 0.05), 0.1) == [-1]


def test_the_sure_box_wins_over_the_doubtful_one(people):
    tracker = ByteTracker(track_high_thresh=0.5)
    _ids(tracker, people([A]), 0.0)
    assert _ids(tracker, people([_moved(A, 1), _moved(A, 20)], [0.3, 0.9]), 0.1) == [-1, 1]


@pytest.mark.parametrize(("fuse", "expected"), [(True, {-1}), (False, {1, -1})])
def test_a_doubtful_score_makes_a_doubtful_overlap_weaker(people, fuse, expected):
    tracker = ByteTracker(fuse_score=fuse)
    _ids(tracker, people([A]), 0.0)
    # Overlap 0.41 each, times score 0.12; two of them, so that neither is taken for want of another.
    assert set(_ids(tracker, people([_moved(A, -25), _moved(A, 25)], 0.3), 1 / 30)) == expected


# --- time -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("bad_s", [math.nan, math.inf, -math.inf, 0.9])
def test_a_frame_of_unusable_time_has_no_ids_and_changes_nothing(people, bad_s):
    tracker, twin = ByteTracker(), ByteTracker()
    for t in (tracker, twin):
        _ids(t, people([A, B]), 1.0)
    assert _ids(tracker, people([_moved(A, 90), B]), bad_s) == [-1, -1]
    after = people([_moved(A, 4), _moved(B, 4)])
    assert _ids(tracker, after, 1.1) == _ids(twin, after, 1.1) == [1, 2]


def test_a_first_frame_of_unusable_time_does_not_count_as_the_first(people):
    tracker = ByteTracker()
    assert _ids(tracker, people([A]), math.nan) == [-1]
    assert _ids(tracker, people([A]), 0.0) == [1]


def test_a_repeated_timestamp_moves_nobody(people):
    tracker = ByteTracker()
    for i in range(10):
        _ids(tracker, people([_moved(A, 20 * i)]), 0.1 * i)
    before = tracker._engine.tracks.motion.predict(0.9)
    assert _ids(tracker, people([]), 0.9) == []
    np.testing.assert_array_equal(tracker._engine.tracks.motion.predict(0.9).position, before.position)
    assert _ids(tracker, people([_moved(A, 181)]), 0.9) == [1]


@pytest.mark.parametrize("rate_hz", [5, 10, 30, 120])
@pytest.mark.parametrize("missed_s", [0.4, 1.0])
def test_who_is_missed_up_to_the_budget_keeps_the_id_at_any_frame_rate(people, rate_hz, missed_s):
    tracker = ByteTracker(track_buffer=30)
    ids = set()
    for i in range(4 * rate_hz):
        t = i / rate_hz
        gone = 2.0 <= t < 2.0 + missed_s - 1e-9
        ids.update(_ids(tracker, people([B] if gone else [A, B]), t))
    assert ids == {1, 2}


@pytest.mark.parametrize("rate_hz", [5, 30])
def test_who_is_missed_for_longer_comes_back_as_somebody_else(people, rate_hz):
    tracker = ByteTracker(track_buffer=30)
    seen = [i for i in range(6 * rate_hz) if not 2.0 <= i / rate_hz < 3.5]
    last = [_ids(tracker, people([A, B] if i in seen else [B]), i / rate_hz) for i in range(6 * rate_hz)][-1]
    assert last == [3, 2]


def test_a_gap_longer_than_the_budget_leaves_nobody(people):
    tracker = ByteTracker(track_buffer=30)
    _ids(tracker, people([A, B]), 0.0)
    assert _ids(tracker, people([A, B]), 60.0) == [-1, -1]
    assert _ids(tracker, people([A, B]), 60.1) == [3, 4]


def test_the_buffer_counts_frames_of_30_hz():
    assert ByteTrackConfig(track_buffer=45).lost_budget_s == 1.5


@pytest.mark.parametrize("rate_hz", [4, 10, 30, 60])
def test_a_walker_keeps_the_id_at_any_frame_rate(people, rate_hz):
    tracker = ByteTracker()
    ids = {_ids(tracker, people([_moved(A, 150 * i / rate_hz)]), i / rate_hz)[0] for i in range(3 * rate_hz)}
    assert ids == {1}


def test_irregular_frames_follow_a_walker_through_an_occlusion(people):
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.02, 0.05, 0.2], 60))
    tracker, ids = ByteTracker(), set()
    for t in times:
        # Hidden for 0.8 s while walking on by more than twice the box's width.
        boxes = [] if 3.0 < t < 3.8 else [_moved(A, 200 * t)]
        ids.update(_ids(tracker, people(boxes), float(t)))
    assert ids == {1}


# --- several people -------------------------------------------------------------------------------
@pytest.mark.parametrize("rate_hz", [10, 30])
def test_two_who_cross_keep_their_ids(people, rate_hz):
    tracker = ByteTracker()
    for i in range(4 * rate_hz):
        t = i / rate_hz
        left_to_right, right_to_left = _moved(A, 100 * t), _moved((400, 110, 470, 310), -100 * t)
        ids = _ids(tracker, people([left_to_right, right_to_left]), t)
    assert ids == [2, 1]  # the taller is number one


def test_who_is_hidden_while_crossing_gets_the_id_back(people):
    tracker = ByteTracker()
    for i in range(120):
        t = i / 30
        front, behind = _moved((100, 100, 180, 300), 100 * t), _moved((400, 105, 470, 295), -100 * t)
        overlap = min(front[2], behind[2]) - max(front[0], behind[0])
        ids = _ids(tracker, people([front] if overlap > 35 else [front, behind]), t)
    assert ids == [1, 2]


def test_a_newcomer_beside_a_lost_one_does_not_take_over_when_there_is_a_rival(people):
    tracker = ByteTracker()
    for i in range(10):
        _ids(tracker, people([A, _moved(A, 90)]), i / 10)
    for i in range(10, 13):
        _ids(tracker, people([_moved(A, 90)]), i / 10)
    ids = _ids(tracker, people([_moved(A, -60), _moved(A, 90), _moved(A, -60, 60)]), 1.3)
    assert ids[1] in (1, 2)
    assert ids[0] == ids[2] == -1  # both could be the lost one: no guess


# --- properties -----------------------------------------------------------------------------------
_EDGE = st.floats(0, 500, width=32)
_BOX = st.tuples(_EDGE, _EDGE, st.floats(0, 200, width=32), st.floats(0, 200, width=32)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
_PERSON = st.tuples(_BOX, st.floats(0, 1, width=32))
_FRAME = st.lists(_PERSON, max_size=6, unique_by=lambda person: person[0])
_CLIP = st.lists(st.tuples(_FRAME, st.sampled_from([0.0, 1 / 32, 1 / 8, 0.5, 2.0])), max_size=8)


def _poses(frame) -> Poses:
    n = len(frame)
    return Poses(
        boxes_xyxy=np.array([box for box, _ in frame], np.float32).reshape(n, 4),
        scores=np.array([score for _, score in frame], np.float32),
        keypoints_xy=np.full((n, 17, 2), np.nan, np.float32),
        keypoint_confidence=np.zeros((n, 17), np.float32),
        skeleton=COCO_17,
    )


def _run(clip, *, order=lambda n: np.arange(n), start_s=0.0, scale=1.0) -> list[list[int]]:
    tracker, t, result = ByteTracker(), start_s, []
    for frame, step in clip:
        t += step
        poses, rows = _poses(frame), order(len(frame))
        poses = poses.replace(boxes_xyxy=poses.boxes_xyxy * np.float32(scale))[rows]
        ids = np.empty(len(rows), int)
        ids[rows] = tracker.update(poses, timestamp_s=t).track_ids
        result.append(ids.tolist())
    return result


@settings(max_examples=150, deadline=None)
@given(_CLIP)
def test_no_id_occurs_twice_in_a_frame_and_none_is_skipped(clip):
    per_frame = _run(clip)
    for ids in per_frame:
        given_ids = [i for i in ids if i != -1]
        assert len(set(given_ids)) == len(given_ids)
        assert all(i >= 1 for i in given_ids)
    ever = {i for ids in per_frame for i in ids if i != -1}
    assert ever == set(range(1, len(ever) + 1))


@settings(max_examples=100, deadline=None)
@given(_CLIP, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(clip, random):
    def shuffled(n):
        rows = list(range(n))
        random.shuffle(rows)
        return np.array(rows, int)

    assert _run(clip, order=shuffled) == _run(clip)


@settings(max_examples=100, deadline=None)
@given(_CLIP, st.sampled_from([1.0, 1024.0, -16.0]))
def test_only_differences_of_time_matter(clip, start_s):
    assert _run(clip, start_s=start_s) == _run(clip)


@settings(max_examples=50, deadline=None)
@given(_CLIP)
def test_the_same_clip_gives_the_same_ids(clip):
    assert _run(clip) == _run(clip)


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_the_size_of_the_image_does_not_matter(scale):
    rng = np.random.default_rng(0)
    clip = []
    for i in range(40):
        corners = np.array([(100 + 4 * i, 100), (250 + 4 * i, 100), (600 + 4 * i, 150)]) + rng.normal(0, 4, (3, 2))
        frame = [((x, y, x + 60, y + 180), 0.9) for x, y in corners.tolist()]
        clip.append(([person for person in frame if rng.random() > 0.2], 1 / 16))
    assert _run(clip, scale=scale) == _run(clip)


# --- settings -------------------------------------------------------------------------------------
def test_the_file_in_config_holds_the_defaults():
    file = Path(__file__).parents[4] / "config/trackers/bytetrack.yaml"
    assert ByteTracker.from_yaml(file).config == ByteTrackConfig()


def test_a_file_may_name_some_settings_only(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("track_buffer: 60\nfuse_score: false\n")
    assert ByteTracker.from_yaml(file).config == ByteTrackConfig(track_buffer=60, fuse_score=False)
    file.write_text("# nothing\n")
    assert ByteTracker.from_yaml(str(file)).config == ByteTrackConfig()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("track_bufer: 30", r"unknown setting 'track_bufer'; did you mean 'track_buffer'"),
        ("tracker_type: botsort", "this tracker takes 'bytetrack'"),
        ("track_high_thresh: 1.5", r"track_high_thresh must be a number in 0\.\.1, got 1\.5"),
        ("track_high_thresh: high", "track_high_thresh must be a number"),
        ("match_thresh: true", "match_thresh must be a number"),
        ("track_buffer: -1", "track_buffer must be a number of 0 or more"),
        ("track_buffer: .inf", "track_buffer must be a number"),
        ("fuse_score: 1", "fuse_score must be true or false"),
        ("track_low_thresh: 0.5", r"track_low_thresh \(0\.5\) must not exceed track_high_thresh"),
        ("- a\n- b", "must hold `key: value` lines, got a list"),
        ("a: b: c", "cannot read tracker settings"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, content, words):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=words):
        ByteTracker.from_yaml(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read tracker settings from .*nowhere\.yaml"):
        ByteTracker.from_yaml(tmp_path / "nowhere.yaml")


def test_settings_by_keyword_are_checked_too():
    with pytest.raises(ConfigError, match="did you mean 'match_thresh'"):
        ByteTracker(match_tresh=0.5)
    with pytest.raises(ConfigError, match="not both"):
        ByteTracker(ByteTrackConfig(), track_buffer=3)

"""What all trackers promise, whatever their method; and their settings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.tracking import BotSortConfig, BotSortTracker, DeepSortTracker, OksConfig, OksTracker, Tracker, create_tracker
from pose_analyzer.tracking.settings import ByteTrackConfig, DeepSortConfig, load_config
from shared_utils.data_models import Poses
from shared_utils.errors import ConfigError, ModelError
from shared_utils.skeletons import COCO_17

TRACKERS = ["bytetrack", "botsort", "deepsort", "oks"]
CONFIG = Path(__file__).parents[4] / "config/trackers"

_EDGE = st.floats(0, 400, width=32)
_BOX = st.tuples(_EDGE, _EDGE, st.floats(0, 200, width=32), st.floats(0, 200, width=32))
_FRAME = st.lists(st.tuples(_BOX, st.floats(0, 1, width=32), st.integers(0, 17)), max_size=5, unique_by=lambda p: p[0])
_CLIP = st.lists(st.tuples(_FRAME, st.sampled_from([0.0, 1 / 32, 1 / 8, 0.5, 2.0])), max_size=7)


def _poses(frame) -> Poses:
    """Joints spread over the box in a fixed pattern, the first `seen` of them seen."""
    n = len(frame)
    boxes = np.array([(x, y, x + w, y + h) for (x, y, w, h), _, _ in frame], np.float32).reshape(n, 4)
    pattern = np.random.default_rng(0).uniform(0, 1, (17, 2))
    xy = boxes[:, None, :2] + pattern * (boxes[:, None, 2:] - boxes[:, None, :2])
    hidden = np.arange(17) >= np.array([seen for _, _, seen in frame], int).reshape(n, 1)
    return Poses(
        boxes_xyxy=boxes,
        scores=np.array([score for _, score, _ in frame], np.float32),
        keypoints_xy=np.where(hidden[..., None], np.nan, xy).astype(np.float32),
        keypoint_confidence=np.where(hidden, 0, 0.9).astype(np.float32),
        skeleton=COCO_17,
    )


def _run(name, clip, *, shuffle=None, images=None) -> list[list[int]]:
    tracker, t, result = create_tracker(name), 0.0, []
    for frame, step in clip:
        t += step
        rows = np.arange(len(frame)) if shuffle is None else shuffle.permutation(len(frame))
        ids = np.empty(len(frame), int)
        ids[rows] = tracker.update(_poses(frame)[rows], timestamp_s=t, image=images).track_ids
        result.append(ids.tolist())
    return result


@pytest.mark.parametrize("name", TRACKERS)
@settings(max_examples=60, deadline=None)
@given(clip=_CLIP, seed=st.integers(0, 99))
def test_ids_are_unique_start_at_one_skip_none_and_do_not_depend_on_the_order_of_rows(name, clip, seed):
    per_frame = _run(name, clip)
    for ids in per_frame:
        named = [i for i in ids if i != -1]
        assert len(set(named)) == len(named)
    ever = {i for ids in per_frame for i in ids if i != -1}
    assert ever == set(range(1, len(ever) + 1))
    assert _run(name, clip, shuffle=np.random.default_rng(seed)) == per_frame


@pytest.mark.parametrize("name", ["botsort", "deepsort", "oks"])
@settings(max_examples=25, deadline=None)
@given(clip=_CLIP)
def test_any_picture_with_any_people_gives_the_same_ids_twice(name, clip):
    picture = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    assert _run(name, clip, images=picture) == _run(name, clip, images=picture)


@pytest.mark.parametrize("name", TRACKERS)
def test_boxes_joints_and_rows_come_back_as_they_were(name):
    poses = _poses([((10, 10, 50, 100), 0.9, 17), ((200, 10, 50, 120), 0.8, 12)])
    named = create_tracker(name).update(poses, timestamp_s=0.0)
    np.testing.assert_array_equal(named.boxes_xyxy, poses.boxes_xyxy)
    np.testing.assert_array_equal(named.keypoints_xy, poses.keypoints_xy)
    assert named.track_ids.tolist() == [2, 1]
    assert poses.track_ids.tolist() == [-1, -1]


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("bad_s", [math.nan, math.inf, 0.5])
def test_a_frame_of_unusable_time_has_no_ids_and_changes_nothing(name, bad_s):
    tracker, twin = create_tracker(name), create_tracker(name)
    people = _poses([((10, 10, 50, 100), 0.9, 17)])
    for t in (tracker, twin):
        t.update(people, timestamp_s=1.0)
    assert tracker.update(_poses([((90, 10, 50, 100), 0.9, 17)]), timestamp_s=bad_s).track_ids.tolist() == [-1]
    assert tracker.update(people, timestamp_s=1.1).track_ids.tolist() == twin.update(people, timestamp_s=1.1).track_ids.tolist() == [1]


@pytest.mark.parametrize("name", TRACKERS)
def test_reset_starts_over_and_nobody_is_remembered(name):
    tracker = create_tracker(name)
    assert isinstance(tracker, Tracker)
    tracker.update(_poses([((10, 10, 50, 100), 0.9, 17), ((200, 10, 50, 120), 0.8, 12)]), timestamp_s=5.0)
    tracker.reset()
    assert tracker.update(_poses([((200, 10, 50, 120), 0.8, 12)]), timestamp_s=0.0).track_ids.tolist() == [1]


@pytest.mark.parametrize("rate_hz", [1, 240])
@pytest.mark.parametrize("name", TRACKERS)
def test_a_person_at_rest_keeps_the_id_at_1_and_at_240_fps(name, rate_hz):
    tracker = create_tracker(name)
    people = _poses([((10, 10, 50, 100), 0.9, 17), ((200, 10, 50, 120), 0.9, 17)])
    assert {tuple(tracker.update(people, timestamp_s=i / rate_hz).track_ids.tolist()) for i in range(12)} == {(2, 1)}


def test_poses_decide_where_boxes_cannot():
    """Two people in the same box swap nothing: one stands, the other is upside down."""
    stand = np.random.default_rng(2).uniform(0, 1, (17, 2)) * [40, 100] + [100, 100]
    turned = np.array([240, 300]) - stand
    tracker, seen = create_tracker("oks"), []
    for i in range(12):
        order = [0, 1] if i % 2 else [1, 0]
        xy = np.stack([stand, turned])[order].astype(np.float32)
        poses = Poses(
            boxes_xyxy=np.tile(np.array([[100, 100, 140, 200]], np.float32), (2, 1)),
            scores=np.full(2, 0.9, np.float32),
            keypoints_xy=xy,
            keypoint_confidence=np.full((2, 17), 0.9, np.float32),
            skeleton=COCO_17,
        )
        ids = tracker.update(poses, timestamp_s=i / 15).track_ids
        seen.append(ids[np.argsort(order)].tolist())
    assert all(ids == seen[0] for ids in seen)


# --- settings -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "kind"), [("bytetrack", ByteTrackConfig), ("botsort", BotSortConfig), ("deepsort", DeepSortConfig), ("oks", OksConfig)]
)
def test_the_file_in_config_holds_every_default(name, kind):
    assert create_tracker(name, config=CONFIG / f"{name}.yaml").config == kind()
    keys = {line.split(":")[0] for line in (CONFIG / f"{name}.yaml").read_text().splitlines() if line and not line.startswith("#")}
    assert keys == {"tracker_type", *kind.__dataclass_fields__}


def test_ultralytics_own_files_are_read():
    import importlib.util

    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        pytest.skip("needs ultralytics installed")
    folder = Path(spec.origin).parent / "cfg/trackers"
    assert load_config(BotSortConfig, folder / "botsort.yaml", "botsort").gmc_method == "sparseOptFlow"
    assert load_config(ByteTrackConfig, folder / "bytetrack.yaml", "bytetrack").lost_budget_s == 1.0


def test_options_stand_above_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tracker_type: oks\ntrack_buffer: 45\nsigma_scale: 2\n")
    config = create_tracker("oks", config=file, track_buffer=90).config  # type: ignore[attr-defined]
    assert (config.lost_budget_s, config.sigma_scale) == (3.0, 2)
    with pytest.raises(ConfigError, match="did you mean 'track_buffer'"):
        create_tracker("oks", config=file, track_bufer=90)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sort", {}, "there is no tracker 'sort'; there are bytetrack, botsort, deepsort, oks"),
        ("botsort", {"gmc_method": "flow"}, "gmc_method must be one of sparseOptFlow, orb, sift, ecc, none, got 'flow'"),
        ("oks", {"sigma_scale": 0.5}, r"sigma_scale must be a number in 1\.\.10, got 0\.5"),
        ("deepsort", {"nn_budget": 0}, "nn_budget must be a whole number of 1 or more, got 0"),
        ("oks", {"with_reid": 1}, "with_reid must be true or false"),
        ("oks", {"model": ""}, "model must be 'auto' or a model's name or path"),
        ("oks", {"proximity_thresh": 0.5}, "unknown setting 'proximity_thresh'"),
    ],
)
def test_a_wrong_setting_is_named(name, options, words):
    with pytest.raises(ConfigError, match=words):
        create_tracker(name, **options)


@pytest.mark.parametrize(
    ("kind", "config"), [(OksTracker, OksConfig()), (BotSortTracker, BotSortConfig()), (DeepSortTracker, DeepSortConfig())]
)
def test_a_config_and_keywords_are_one_too_many(kind, config):
    with pytest.raises(ConfigError, match="not both"):
        kind(config, track_buffer=3)


def test_a_network_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="nowhere"):
        create_tracker("botsort", model="nowhere.onnx")

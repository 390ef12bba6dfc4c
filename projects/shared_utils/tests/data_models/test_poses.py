"""`Poses` behaves like the arrays it holds, and loses nothing on the way to other libraries and back."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_utils.data_models import Origin, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17, HALPE_26, Skeleton, keypoint_map

SKELETONS = (COCO_17, HALPE_26, BLAZEPOSE_33)
ARRAYS = (
    "boxes_xyxy",
    "scores",
    "keypoints_xy",
    "keypoint_confidence",
    "keypoint_sigma_px",
    "keypoint_presence",
    "world_xyz_m",
    "track_ids",
    "origin",
)
OPTIONAL = ("keypoint_sigma_px", "keypoint_presence", "world_xyz_m")


def people(n: int, skeleton: Skeleton = COCO_17, seed: int = 0, optional: tuple[str, ...] = OPTIONAL) -> Poses:
    """n made-up people; about a fifth of the keypoints is missing."""
    rng, k = np.random.default_rng(seed), len(skeleton)
    corner = rng.uniform(0, 500, (n, 2))
    xy = rng.uniform(1, 600, (n, k, 2)).astype(np.float32)
    confidence = rng.uniform(0.1, 1, (n, k)).astype(np.float32)
    missing = rng.random((n, k)) < 0.2
    xy[missing], confidence[missing] = np.nan, 0
    extra = {
        "keypoint_sigma_px": rng.uniform(0, 5, (n, k)),
        "keypoint_presence": rng.uniform(0, 1, (n, k)),
        "world_xyz_m": rng.normal(size=(n, k, 3)),
    }
    return Poses(
        boxes_xyxy=np.concatenate([corner, corner + rng.uniform(1, 300, (n, 2))], axis=1),
        scores=rng.uniform(0, 1, n),
        keypoints_xy=xy,
        keypoint_confidence=confidence,
        skeleton=skeleton,
        track_ids=rng.integers(-1, 9, n),
        origin=rng.integers(0, 3, n),
        **{name: extra[name] for name in optional},
    )


counts = st.integers(0, 6)
seeds = st.integers(0, 1000)
skeletons = st.sampled_from(SKELETONS)
some_optional = st.sets(st.sampled_from(OPTIONAL)).map(lambda names: tuple(sorted(names)))
poses = st.builds(people, counts, skeletons, seeds, some_optional)


def same(actual: Poses, expected: Poses) -> bool:
    """Whether they are; what differs is told by the failure."""
    assert actual.skeleton == expected.skeleton
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)
    return True


# --- like numpy ------------------------------------------------------------------------------------
@given(poses, st.data())
def test_indexing_is_numpy_s_on_every_array(whole, data):
    n = len(whole)
    rows = data.draw(
        st.slices(n)
        | st.lists(st.integers(-n, max(n - 1, -n)), max_size=8 if n else 0)
        | st.lists(st.booleans(), min_size=n, max_size=n).map(lambda mask: np.array(mask, bool))
    )
    part = whole[rows]
    index = np.array(rows, int) if isinstance(rows, list) else rows
    for name in ARRAYS:
        array = getattr(whole, name)
        if array is None:
            assert getattr(part, name) is None
        else:
            np.testing.assert_array_equal(getattr(part, name), array[index])


@given(poses)
def test_one_row_and_iteration_keep_the_row(whole):
    for i, one in enumerate(whole):
        assert len(one) == 1
        assert same(one, whole[[i]])
        assert same(whole[i - len(whole)], one)
        assert same(whole[np.int64(i)], one)


@given(poses)
def test_a_list_of_booleans_is_a_mask(whole):
    assert same(whole[[True] * len(whole)], whole)
    assert len(whole[[False] * len(whole)]) == 0


@given(poses)
def test_a_row_that_is_not_there_is_an_index_error(whole):
    for i in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError, match=f"of {len(whole)}"):
            whole[i]


def test_a_mask_of_another_length_is_an_index_error():
    with pytest.raises(IndexError):
        people(3)[np.array([True, False])]


@given(st.lists(st.builds(people, counts, st.just(COCO_17), seeds, st.just(OPTIONAL)), min_size=1, max_size=4))
def test_concatenation_is_numpy_s_on_every_array(parts):
    whole = Poses.concatenate(parts)
    for name in ARRAYS:
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(p, name) for p in parts]), equal_nan=True), name


@given(poses, st.data())
def test_what_was_cut_is_joined_again(whole, data):
    at = data.draw(st.integers(0, len(whole)))
    assert same(Poses.concatenate([whole[:at], whole[at:]]), whole)


def test_joining_fills_what_only_some_have():
    joined = Poses.concatenate([people(2), people(1, optional=())])
    assert joined.keypoint_sigma_px is not None
    assert np.isnan(joined.keypoint_sigma_px[2]).all()
    assert np.isnan(joined.world_xyz_m[2]).all()
    np.testing.assert_array_equal(joined.keypoint_presence[2], 0)
    assert Poses.concatenate([people(1, optional=())] * 2).world_xyz_m is None


def test_joining_nothing_or_unlike_skeletons_is_refused():
    with pytest.raises(ValidationError, match="at least one part"):
        Poses.concatenate([])
    with pytest.raises(ValidationError, match="skeleton"):
        Poses.concatenate([people(1, COCO_17), people(1, HALPE_26)])


# --- validation ------------------------------------------------------------------------------------
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes_xyxy": np.zeros((2, 3))}, r"boxes_xyxy must have shape \(2, 4\), got \(2, 3\)"),
        ({"boxes_xyxy": np.full((2, 4), NAN)}, "boxes_xyxy must be finite"),
        ({"boxes_xyxy": np.full((2, 4), INF)}, "boxes_xyxy must be finite"),
        ({"boxes_xyxy": [[5, 5, 1, 9]] * 2}, "turned inside out"),
        ({"boxes_xyxy": [[5, 5, 9, 1]] * 2}, "turned inside out"),
        ({"boxes_xyxy": "ab"}, "boxes_xyxy must be an array of float32"),
        ({"scores": [0.5, 1.1]}, r"scores must lie in 0\.\.1"),
        ({"scores": [0.5, -0.1]}, r"scores must lie in 0\.\.1"),
        ({"scores": [0.5, NAN]}, r"scores must lie in 0\.\.1"),
        ({"keypoints_xy": np.zeros((2, 16, 2))}, r"keypoints_xy must have shape \(2, 17, 2\)"),
        ({"keypoints_xy": np.full((2, 17, 2), INF)}, "keypoints_xy must be finite, or NaN"),
        ({"keypoints_xy": np.full((2, 17, 2), NAN)}, "must be 0 where keypoints_xy is NaN"),
        ({"keypoint_confidence": np.full((2, 17), 2.0)}, "keypoint_confidence must lie"),
        ({"keypoint_confidence": np.full((2, 17), NAN)}, "keypoint_confidence must lie"),
        ({"keypoint_presence": np.full((2, 17), -1.0)}, "keypoint_presence must lie"),
        ({"keypoint_sigma_px": np.zeros((2, 17, 2))}, r"keypoint_sigma_px must have shape \(2, 17\)"),
        ({"world_xyz_m": np.zeros((2, 17, 2))}, r"world_xyz_m must have shape \(2, 17, 3\)"),
        ({"track_ids": [1]}, r"track_ids must have shape \(2,\)"),
        ({"origin": [0, 3]}, r"origin must be one of \[0, 1, 2\]"),
        ({"skeleton": HALPE_26}, r"keypoints_xy must have shape \(2, 26, 2\)"),
    ],
)
def test_a_wrong_field_is_named(changes, message):
    good = people(2).replace(keypoints_xy=np.ones((2, 17, 2)), keypoint_confidence=np.ones((2, 17)))
    with pytest.raises(ValidationError, match=message):
        good.replace(**changes)


def test_plain_lists_become_arrays_of_the_stated_types():
    made = people(1, optional=()).replace(boxes_xyxy=[[1, 2, 3, 4]], scores=[1], track_ids=[7.0], origin=[Origin.PREDICTED])
    assert (made.boxes_xyxy.dtype, made.scores.dtype, made.track_ids.dtype, made.origin.dtype) == (
        np.float32,
        np.float32,
        np.int64,
        np.int8,
    )
    assert made.areas_px.tolist() == [4.0]


def test_a_box_may_have_no_area_and_a_keypoint_may_lie_outside():
    xy = np.full((1, 17, 2), -50.0)
    made = people(1, optional=()).replace(boxes_xyxy=[[5, 5, 5, 5]], keypoints_xy=xy, keypoint_confidence=np.ones((1, 17)))
    assert made.areas_px.tolist() == [0.0]


def test_nobody_has_the_shapes_of_nobody():
    nobody = Poses.empty(HALPE_26)
    assert len(nobody) == 0
    assert nobody.boxes_xyxy.shape == (0, 4)
    assert nobody.keypoints_xy.shape == (0, 26, 2)
    assert nobody.visible.shape == (0, 26)
    assert list(nobody) == []
    assert same(nobody[[]], nobody)
    assert same(nobody[:], nobody)


@given(poses)
def test_pickling_keeps_everything(whole):
    assert same(pickle.loads(pickle.dumps(whole)), whole)


def test_poses_are_frozen():
    with pytest.raises(AttributeError):
        people(1).scores = np.zeros(1)


# --- reading ---------------------------------------------------------------------------------------
@given(poses)
def test_visible_is_where_a_position_is(whole):
    for i in range(len(whole)):
        for j, name in enumerate(whole.skeleton.keypoints):
            seen = not np.isnan(whole.keypoints_xy[i, j]).any()
            assert whole.visible[i, j] == seen
            np.testing.assert_array_equal(whole.keypoint(name)[i], whole.keypoints_xy[i, j])


@given(poses, st.floats(0, 1))
def test_masking_makes_doubtful_keypoints_missing_and_touches_no_other(whole, threshold):
    masked = whole.masked(threshold)
    low = whole.keypoint_confidence < np.float32(threshold)
    np.testing.assert_array_equal(masked.visible, whole.visible & ~low)
    np.testing.assert_array_equal(masked.keypoint_confidence, np.where(low, 0, whole.keypoint_confidence))
    np.testing.assert_array_equal(masked.keypoints_xy[~low], whole.keypoints_xy[~low])
    np.testing.assert_array_equal(masked.boxes_xyxy, whole.boxes_xyxy)
    if whole.world_xyz_m is not None:
        assert np.isnan(masked.world_xyz_m[low]).all()
        np.testing.assert_array_equal(masked.world_xyz_m[~low], whole.world_xyz_m[~low])


# --- other skeletons -------------------------------------------------------------------------------
def slow_to_skeleton(poses: Poses, target: Skeleton) -> dict[str, np.ndarray | None]:
    """One keypoint of one person at a time, by name."""
    weights = keypoint_map(poses.skeleton, target)
    n, k = len(poses), len(target)
    xy, confidence = np.full((n, k, 2), np.nan), np.zeros((n, k))
    sigma, presence, world = np.full((n, k), np.nan), np.zeros((n, k)), np.full((n, k, 3), np.nan)
    for i in range(n):
        for j in range(k):
            sources = [s for s in range(len(poses.skeleton)) if weights[j, s] > 0]
            if not sources:
                continue
            xy[i, j] = sum(poses.keypoints_xy[i, s] for s in sources) / len(sources)
            confidence[i, j] = min(poses.keypoint_confidence[i, s] for s in sources)
            if poses.keypoint_sigma_px is not None:
                sigma[i, j] = np.sqrt(sum(float(poses.keypoint_sigma_px[i, s]) ** 2 for s in sources)) / len(sources)
            if poses.keypoint_presence is not None:
                presence[i, j] = min(poses.keypoint_presence[i, s] for s in sources)
            if poses.world_xyz_m is not None:
                world[i, j] = sum(poses.world_xyz_m[i, s] for s in sources) / len(sources)
    return {
        "keypoints_xy": xy,
        "keypoint_confidence": confidence,
        "keypoint_sigma_px": None if poses.keypoint_sigma_px is None else sigma,
        "keypoint_presence": None if poses.keypoint_presence is None else presence,
        "world_xyz_m": None if poses.world_xyz_m is None else world,
    }


@given(poses, skeletons)
def test_another_skeleton_equals_the_slow_way(whole, target):
    mapped = whole.to_skeleton(target)
    assert mapped.skeleton == target
    for name, expected in slow_to_skeleton(whole, target).items():
        actual = getattr(mapped, name)
        if expected is None:
            assert actual is None
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-5, err_msg=name)
    for name in ("boxes_xyxy", "scores", "track_ids", "origin"):
        np.testing.assert_array_equal(getattr(mapped, name), getattr(whole, name))


@given(poses)
def test_the_same_skeleton_is_the_same_object(whole):
    assert whole.to_skeleton(whole.skeleton) is whole


@given(st.builds(people, counts, st.just(COCO_17), seeds, some_optional), st.sampled_from([HALPE_26, BLAZEPOSE_33]))
def test_a_richer_skeleton_and_back_keeps_coco(whole, richer):
    assert same(whole.to_skeleton(richer).to_skeleton(COCO_17), whole)


def test_a_midpoint_needs_both_ends():
    xy = np.ones((1, 17, 2), np.float32)
    confidence = np.full((1, 17), 0.8, np.float32)
    xy[0, COCO_17.index("left_hip")], confidence[0, COCO_17.index("left_hip")] = np.nan, 0
    mapped = people(1, optional=()).replace(keypoints_xy=xy, keypoint_confidence=confidence).to_skeleton(HALPE_26)
    assert np.isnan(mapped.keypoint("mid_hip")).all()
    assert mapped.keypoint_confidence[0, HALPE_26.index("mid_hip")] == 0
    assert mapped.keypoint("neck").tolist() == [[1, 1]]


# --- supervision -----------------------------------------------------------------------------------
@given(st.builds(people, st.integers(1, 5), skeletons, seeds, st.just(())))
def test_supervision_and_back_is_the_same(whole):
    key_points, detections = whole.to_supervision()
    assert same(Poses.from_supervision(key_points, detections, skeleton=whole.skeleton), whole)


def test_supervision_gets_copies_and_our_missing():
    whole = people(2)
    key_points, detections = whole.to_supervision()
    assert np.array_equal(key_points.visible, whole.visible)
    assert np.array_equal(detections.tracker_id, whole.track_ids)
    detections.xyxy[:] = 0
    key_points.xy[:] = 0
    assert same(whole, people(2))


def test_key_points_alone_give_hull_boxes_and_drop_people_without_any():
    import supervision as sv

    xy = np.zeros((3, 17, 2), np.float32)
    xy[0, :2] = [[10, 20], [30, 5]]
    xy[2, 4] = [7, 8]
    confidence = np.full((3, 17), 0.5, np.float32)
    made = Poses.from_supervision(sv.KeyPoints(xy=xy, keypoint_confidence=confidence), skeleton=COCO_17)
    assert made.boxes_xyxy.tolist() == [[10, 5, 30, 20], [7, 8, 7, 8]]
    assert made.visible.sum(1).tolist() == [2, 1]
    assert made.keypoint_confidence[0, 2] == 0
    assert made.scores.tolist() == [0.5, 0.5]
    assert made.track_ids.tolist() == [-1, -1]


def test_key_points_of_nobody_are_nobody():
    import supervision as sv

    assert len(Poses.from_supervision(sv.KeyPoints(xy=np.zeros((0, 17, 2), np.float32)), skeleton=COCO_17)) == 0
    nothing_seen = sv.KeyPoints(xy=np.zeros((2, 17, 2), np.float32))
    assert len(Poses.from_supervision(nothing_seen, skeleton=COCO_17)) == 0


def test_rows_that_do_not_match_are_refused():
    key_points, detections = people(2).to_supervision()
    with pytest.raises(ValidationError, match="2 people in key_points but 1 in detections"):
        Poses.from_supervision(key_points, detections[:1], skeleton=COCO_17)


def test_another_number_of_keypoints_is_refused():
    key_points, _ = people(3).to_supervision()
    with pytest.raises(ValidationError, match=r"17 keypoints.*26"):
        Poses.from_supervision(key_points, skeleton=HALPE_26)


# --- ultralytics -----------------------------------------------------------------------------------
class Tensor:
    """What ultralytics hands out: something with `.cpu().numpy()`."""

    def __init__(self, values) -> None:
        self._values = np.asarray(values, np.float32)

    def cpu(self):
        return self

    def numpy(self):
        return self._values


def result(keypoints, boxes=((1, 2, 30, 40),), scores=(0.9,), ids=None) -> SimpleNamespace:
    found = SimpleNamespace(xyxy=Tensor(np.reshape(boxes, (-1, 4))), conf=Tensor(scores), id=None if ids is None else Tensor(ids))
    return SimpleNamespace(boxes=found, keypoints=SimpleNamespace(data=Tensor(keypoints)))


@given(st.builds(people, st.integers(1, 5), skeletons, seeds, st.just(())))
def test_ultralytics_results_come_in_with_zeros_as_missing(whole):
    raw = np.concatenate([np.nan_to_num(whole.keypoints_xy), whole.keypoint_confidence[..., None]], axis=2)
    made = Poses.from_ultralytics(result(raw, whole.boxes_xyxy, whole.scores, whole.track_ids))
    assert same(made, whole.replace(origin=np.zeros(len(whole))))


def test_a_model_without_confidences_is_sure_of_what_it_gives():
    raw = np.ones((1, 17, 2))
    raw[0, 3] = 0
    made = Poses.from_ultralytics(result(raw))
    assert made.keypoint_confidence[0].tolist() == [0.0 if j == 3 else 1.0 for j in range(17)]
    assert np.isnan(made.keypoints_xy[0, 3]).all()


def test_confidences_just_above_one_are_rounding():
    raw = np.concatenate([np.ones((1, 17, 2)), np.full((1, 17, 1), 1.0000001)], axis=2)
    assert Poses.from_ultralytics(result(raw, scores=(1.0000002,))).scores.tolist() == [1.0]


def test_nobody_in_an_ultralytics_result_is_nobody():
    for shape in ((0, 17, 3), (1, 0, 3)):  # both occur, by version
        empty = result(np.zeros(shape), np.zeros((0, 4)), ())
        assert len(Poses.from_ultralytics(empty, skeleton=COCO_17)) == 0
    assert Poses.from_ultralytics(result(np.zeros((0, 17, 3)), np.zeros((0, 4)), ())).skeleton == COCO_17


def test_what_is_no_pose_result_is_refused():
    with pytest.raises(ValidationError, match="use a pose model"):
        Poses.from_ultralytics(SimpleNamespace(boxes=None, keypoints=None))
    with pytest.raises(ValidationError, match="gives 5 keypoints; pass the skeleton"):
        Poses.from_ultralytics(result(np.ones((1, 5, 3))))
    with pytest.raises(ValidationError, match=r"17 keypoints.*26"):
        Poses.from_ultralytics(result(np.ones((1, 17, 3))), skeleton=HALPE_26)

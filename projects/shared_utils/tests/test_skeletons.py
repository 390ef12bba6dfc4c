"""Keypoint sets and the maps between them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17, HALPE_26, Skeleton, get_skeleton, keypoint_map

SKELETONS = (COCO_17, HALPE_26, BLAZEPOSE_33)
every = pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)


def test_coco_s_order_is_coco_s():
    """COCO keypoint annotations, `categories[0].keypoints`."""
    assert COCO_17.keypoints == (
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    )


def test_coco_s_sigmas_are_pycocotools():
    from pycocotools.cocoeval import Params

    assert np.allclose(COCO_17.oks_sigmas, Params(iouType="keypoints").kpt_oks_sigmas, rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("index", "name"),
    # MediaPipe's pose landmark model card, figure of the 33 landmarks.
    [
        (0, "nose"),
        (2, "left_eye"),
        (3, "left_eye_outer"),
        (4, "right_eye_inner"),
        (7, "left_ear"),
        (9, "left_mouth"),
        (11, "left_shoulder"),
        (12, "right_shoulder"),
        (15, "left_wrist"),
        (17, "left_pinky"),
        (20, "right_index"),
        (21, "left_thumb"),
        (23, "left_hip"),
        (26, "right_knee"),
        (27, "left_ankle"),
        (30, "right_heel"),
        (31, "left_foot_index"),
        (32, "right_foot_index"),
    ],
)
def test_blazepose_s_order_is_mediapipe_s(index, name):
    assert BLAZEPOSE_33.index(name) == index


@pytest.mark.parametrize(
    ("index", "name"),
    # Halpe-FullBody annotation format, 26 keypoints.
    [
        (16, "right_ankle"),
        (17, "head_top"),
        (18, "neck"),
        (19, "mid_hip"),
        (20, "left_big_toe"),
        (23, "right_small_toe"),
        (25, "right_heel"),
    ],
)
def test_halpe_s_order_is_halpe_s(index, name):
    assert HALPE_26.index(name) == index


def test_sizes():
    assert [len(s) for s in SKELETONS] == [17, 26, 33]


@every
def test_mirroring_twice_is_nothing(skeleton):
    for name in skeleton.keypoints:
        assert skeleton.mirror(skeleton.mirror(name)) == name
    flip = skeleton.flip_indices
    np.testing.assert_array_equal(flip[flip], np.arange(len(skeleton)))


@every
def test_left_and_right_come_in_pairs(skeleton):
    assert {n for pair in skeleton.pairs for n in pair} == {n for n in skeleton.keypoints if n.startswith(("left_", "right_"))}
    for left, right in skeleton.pairs:
        assert (left.removeprefix("left_"), skeleton.mirror(left)) == (right.removeprefix("right_"), right)
        assert skeleton.oks_sigmas[skeleton.index(left)] == skeleton.oks_sigmas[skeleton.index(right)]


@every
def test_edges_mirror_onto_edges(skeleton):
    edges = {frozenset(edge) for edge in skeleton.edges}
    assert len(edges) == len(skeleton.edges)
    assert {frozenset(map(skeleton.mirror, edge)) for edge in edges} == edges
    assert skeleton.edge_indices.shape == (len(edges), 2)
    assert [skeleton.keypoints[i] for i in skeleton.edge_indices[0]] == list(skeleton.edges[0])


@every
def test_every_keypoint_can_be_scored(skeleton):
    assert skeleton.oks_sigmas.shape == (len(skeleton),)
    assert (skeleton.oks_sigmas > 0).all()
    with pytest.raises(ValueError, match="read-only"):
        skeleton.oks_sigmas[0] = 1


@every
def test_names_are_found_and_unknown_ones_listed(skeleton):
    assert [skeleton.index(n) for n in skeleton.keypoints] == list(range(len(skeleton)))
    assert skeleton.indices(["nose", "left_hip"]).tolist() == [skeleton.index("nose"), skeleton.index("left_hip")]
    assert "nose" in skeleton
    assert "tail" not in skeleton
    for ask in (skeleton.index, skeleton.mirror):
        with pytest.raises(ValidationError, match=f"{skeleton.name} has no keypoint 'tail'; it has nose"):
            ask("tail")


@every
def test_a_skeleton_survives_pickle_and_is_found_by_name(skeleton):
    assert pickle.loads(pickle.dumps(skeleton)) is skeleton
    assert get_skeleton(skeleton.name) is skeleton


def test_a_skeleton_of_one_s_own_survives_pickle():
    mine = Skeleton("mine", ("a", "b"), (("a", "b"),), np.ones(2))
    again = pickle.loads(pickle.dumps(mine))
    assert again == mine
    assert hash(again) == hash(mine)
    assert again != COCO_17
    assert again.edge_indices.tolist() == [[0, 1]]
    assert Skeleton("dots", ("a",), (), np.ones(1)).edge_indices.shape == (0, 2)


def test_an_unknown_skeleton_lists_the_known():
    with pytest.raises(ValidationError, match="unknown skeleton 'coco'; there are blazepose_33, coco_17, halpe_26"):
        get_skeleton("coco")


@pytest.mark.parametrize(
    ("keypoints", "edges", "sigmas", "message"),
    [
        (("a", "a"), (), np.ones(2), "names repeat"),
        (("a", "b"), (("a", "c"),), np.ones(2), r"unknown keypoints \['c'\]"),
        (("a", "b"), (), np.ones(3), r"shape \(3,\), expected \(2,\)"),
    ],
)
def test_a_wrong_skeleton_is_refused(keypoints, edges, sigmas, message):
    with pytest.raises(ValidationError, match=message):
        Skeleton("mine", keypoints, edges, sigmas)


@given(st.sampled_from(SKELETONS), st.sampled_from(SKELETONS))
def test_a_map_names_each_target_by_sources_of_the_same_meaning(source, target):
    weights = keypoint_map(source, target)
    assert weights.shape == (len(target), len(source))
    assert set(np.round(weights.sum(1), 12)) <= {0.0, 1.0}
    for row, name in enumerate(target.keypoints):
        names = [source.keypoints[i] for i in np.flatnonzero(weights[row])]
        if name in source:
            assert names == [name]
        elif name in ("neck", "mid_hip"):
            part = {"neck": "shoulder", "mid_hip": "hip"}[name]
            assert names == [f"left_{part}", f"right_{part}"]
        elif name.endswith(("big_toe", "foot_index")) and source is not COCO_17:
            other = "foot_index" if name.endswith("big_toe") else "big_toe"
            assert names == [f"{name.split('_')[0]}_{other}"]
        else:
            assert names == []


def test_a_map_is_made_once_and_not_changed():
    weights = keypoint_map(COCO_17, HALPE_26)
    assert keypoint_map(COCO_17, HALPE_26) is weights
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 0


def test_the_package_loads_numpy_and_nothing_heavier():
    heavy = [
        "pydantic",
        "structlog",
        "fastapi",
        "yaml",
        "httpx",
        "prometheus_client",
        "psutil",
        "pynvml",
        "torch",
        "supervision",
        "pandas",
        "cv2",
    ]
    code = f"import sys, shared_utils; print([m for m in {heavy} if m in sys.modules], 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["[]", "True"]

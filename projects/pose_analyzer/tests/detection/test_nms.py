"""Suppression against slow twins and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pose_analyzer.detection.nms import iou_matrix, oks_matrix, weighted_nms
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

corner = arrays(np.float64, st.tuples(st.integers(0, 12), st.just(4)), elements=st.floats(0, 20, width=16))


def _as_boxes(corners: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], axis=1)


def _slow_iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = width * height if width > 0 and height > 0 else 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def _slow_weighted_nms(boxes, scores, values, threshold):
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])
    out = []
    while left:
        best = left[0]
        cluster = [i for i in left if i == best or _slow_iou(boxes[i], boxes[best]) > threshold]
        total = sum(scores[i] for i in cluster)
        box = sum(scores[i] * boxes[i] for i in cluster) / total
        value = sum(scores[i] * values[i] for i in cluster) / total
        out.append((box, scores[best], value))
        left = [i for i in left if i not in cluster]
    return out


def test_overlap_by_hand():
    a = np.array([[0.0, 0.0, 4.0, 2.0]])
    b = np.array([[2.0, 1.0, 6.0, 3.0], [4.0, 0.0, 5.0, 2.0], [0.0, 0.0, 4.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    assert iou_matrix(a, b)[0] == pytest.approx([2 / 14, 0.0, 1.0, 0.0])


@given(corner, corner)
def test_overlap_equals_its_slow_twin(first, second):
    a, b = _as_boxes(first), _as_boxes(second)
    expected = np.array([[_slow_iou(x, y) for y in b] for x in a]).reshape(len(a), len(b))
    np.testing.assert_allclose(iou_matrix(a, b), expected, atol=1e-12)


@given(corner, st.randoms(use_true_random=False), st.floats(0.05, 0.95))
def test_merging_equals_its_slow_twin(corners, random, threshold):
    boxes = _as_boxes(corners)
    scores = np.array([random.uniform(0.5, 1.0) for _ in boxes])
    values = np.array([[random.gauss(0, 1) for _ in range(3)] for _ in boxes]).reshape(-1, 3)
    merged, best, mean = weighted_nms(boxes, scores, values, iou_threshold=threshold)
    expected = _slow_weighted_nms(boxes, scores, values, threshold)
    assert len(merged) == len(expected)
    for row, (box, score, value) in enumerate(expected):
        np.testing.assert_allclose(merged[row], box, atol=1e-9)
        np.testing.assert_allclose(mean[row], value, atol=1e-9)
        assert best[row] == score


def test_equal_scores_keep_the_order_of_the_input():
    boxes = np.array([[0.0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10]])
    merged, _, _ = weighted_nms(boxes, np.full(3, 0.7), np.zeros((3, 0)))
    np.testing.assert_array_equal(merged, boxes)


def test_nothing_in_nothing_out():
    boxes, scores, values = weighted_nms(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4, 2)))
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
    assert values.shape == (0, 4, 2)


def _slow_oks(a, b, seen_a, seen_b, skeleton) -> float:
    def area(points, seen):
        chosen = points[seen]
        return float(np.prod(chosen.max(0) - chosen.min(0))) if len(chosen) else 0.0

    scale = (area(a, seen_a) + area(b, seen_b)) / 2
    terms = []
    for k in range(len(skeleton)):
        if seen_a[k] and seen_b[k]:
            squared = ((a[k] - b[k]) ** 2).sum()
            variance = scale * (2 * skeleton.oks_sigmas[k]) ** 2
            terms.append(np.exp(-squared / (2 * variance)) if variance > 0 else float(squared == 0))
    return float(np.mean(terms)) if terms else 0.0


@given(st.integers(0, 10_000))
def test_similarity_of_poses_equals_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    poses = rng.uniform(0, 100, (1, 17, 2)) + rng.normal(0, rng.uniform(0, 30), (4, 17, 2))
    confidence = rng.uniform(0, 1, (4, 17))
    confidence[3] = 0.0
    poses[rng.uniform(size=(4, 17)) < 0.1] = np.nan
    seen = (confidence >= 0.5) & np.isfinite(poses).all(-1)
    expected = [[_slow_oks(poses[i], poses[j], seen[i], seen[j], COCO_17) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(oks_matrix(poses, confidence, COCO_17), expected, atol=1e-9)


def test_poses_without_a_common_keypoint_are_not_alike():
    pose = np.random.default_rng(0).uniform(0, 100, (33, 2))
    confidence = np.zeros((2, 33))
    confidence[0, :16], confidence[1, 16:] = 1.0, 1.0
    assert oks_matrix(np.stack([pose, pose]), confidence, BLAZEPOSE_33)[0, 1] == 0.0


def test_all_keypoints_in_one_place_are_alike_only_to_themselves():
    here, there = np.full((17, 2), 5.0), np.full((17, 2), 6.0)
    alike = oks_matrix(np.stack([here, here, there]), np.ones((3, 17)), COCO_17)
    assert alike[0].tolist() == [1.0, 1.0, 0.0]

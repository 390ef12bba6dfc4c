from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pose_analyzer.tracking.association import assign, iou_matrix, lone_pairs


def _iou_by_hand(a, b) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


_BOXES = arrays(float, st.tuples(st.integers(0, 4), st.just(4)), elements=st.integers(0, 20)).map(
    lambda a: np.concatenate([np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:])], axis=1)
)


@given(_BOXES, _BOXES)
def test_overlaps_are_those_of_the_loop(a, b):
    expected = np.array([[_iou_by_hand(x, y) for y in b] for x in a]).reshape(len(a), len(b))
    np.testing.assert_allclose(iou_matrix(a, b), expected)


@settings(deadline=None)
@given(arrays(float, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=st.floats(0, 1)), st.floats(0.1, 1))
def test_the_assignment_is_the_cheapest_of_all(cost, limit):
    def total(pairs) -> float:
        return sum(cost[r, c] - limit for r, c in pairs)

    best = 0.0
    for k in range(1, min(cost.shape) + 1):
        for rows in itertools.combinations(range(cost.shape[0]), k):
            for columns in itertools.permutations(range(cost.shape[1]), k):
                best = min(best, total(zip(rows, columns, strict=True)))
    rows, columns = assign(cost, limit)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert (cost[rows, columns] < limit).all()
    np.testing.assert_allclose(total(zip(rows, columns, strict=True)), best, atol=1e-12)


def test_lone_pairs_have_no_rival_on_either_side():
    possible = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]], bool)
    rows, columns = lone_pairs(possible)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0)]

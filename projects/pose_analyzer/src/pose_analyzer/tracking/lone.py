"""A track and a detection with nobody else near belong together, even where their boxes do not overlap enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.association import lone_pairs
from pose_analyzer.tracking.kalman import BoxPrediction, to_state

# A lone track takes a lone detection inside the 99.9 % gate of its centre (chi squared, 2 degrees of freedom), or
# within half a body length: so far the centre moves when somebody drops to the floor. The longer sides must agree by
# a factor of 3: whoever lies with head or feet to the camera shows the breadth of the shoulders, a third of the stature.
LONE_GATE = 13.8
LONE_DISTANCE = 0.5
LONE_SIZE_RATIO = 3.0


def match_lone(
    prediction: BoxPrediction,
    boxes: NDArray[np.float64],
    high: NDArray[np.bool_],
    track_of: NDArray[np.intp],
    *,
    whole: Callable[[], tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None,
) -> None:
    """Join a free track and a free detection that have nobody else near; writes into `track_of`.

    Args:
        prediction: t tracks.
        boxes: (n, 4) px.
        high: (n,) detections that may be joined.
        track_of: (n,) row of the track of each detection, negative = free.
        whole: (t, 4) and (n, 4) px whole boxes of both, where `boxes` are something else: a box that stays where it was is near,
            wherever the joints in it are believed to be.
    """
    free_boxes = (high & (track_of < 0)).nonzero()[0]
    if not len(free_boxes) or not len(free_tracks := free_rows(np.ones(len(prediction.position), bool), track_of)):
        return
    # A body that was folding up when it was lost has either gone on or turned back: both are believed.
    states = (prediction.position, prediction.seen)
    expected = prediction.centre_distance(boxes) <= LONE_GATE
    possible = np.any([_alike(state, boxes, expected) for state in states], axis=0)
    if whole is not None:
        known, seen = whole()
        possible |= _alike(to_state(known), seen, np.zeros_like(expected))
    rows, columns = lone_pairs(possible)
    free = np.isin(rows, free_tracks) & np.isin(columns, free_boxes)
    track_of[columns[free]] = rows[free]


def free_rows(tracks: NDArray[np.bool_], track_of: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of the (t,) mask that no detection has been given yet."""
    free = tracks.copy()
    free[track_of[track_of >= 0]] = False
    return free.nonzero()[0]


def _alike(state: NDArray[np.float64], boxes: NDArray[np.float64], expected: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(t, n) whether boxes of (t, 4) states are about as large as (n, 4) px boxes, and near to them or expected there."""
    known = state[:, 2:].max(1).clip(1)[:, None]
    seen = (boxes[:, 2:] - boxes[:, :2]).max(1).clip(1)[None]
    similar = np.maximum(known / seen, seen / known) <= LONE_SIZE_RATIO
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = np.linalg.norm(state[:, None, :2] - centres, axis=-1) / np.maximum(known, seen)
    return similar & ((distance <= LONE_DISTANCE) | expected)

"""Identities on a real street scene beside those of an independent ByteTrack, by motmetrics."""

from __future__ import annotations

import os
from pathlib import Path

import motmetrics
import numpy as np
import pytest

from pose_analyzer.tracking import ByteTracker

SEQUENCE = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[4] / "../shared/data")) / "mot/TUD-Stadtmitte"
RATE_HZ = 25.0


def _read(file: str) -> dict[int, np.ndarray]:
    """Frame -> rows (id, x1, y1, x2, y2, score)."""
    if not SEQUENCE.exists():
        pytest.skip(f"needs the sequence {SEQUENCE}")
    table = np.loadtxt(SEQUENCE / file, delimiter=",")
    table[:, 4:6] += table[:, 2:4]
    return {int(f): table[table[:, 0] == f][:, 1:7] for f in np.unique(table[:, 0])}


def _score(step, every: int) -> tuple[float, float]:
    """MOTA and IDF1."""
    truth, detections = _read("mot15_gt.txt"), _read("sort_det.txt")
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in range(1, 180, every):
        rows = detections.get(frame, np.zeros((0, 6)))
        ids = step(rows[:, 1:5], rows[:, 5], frame / RATE_HZ)
        kept, actual = ids >= 0, truth.get(frame, np.zeros((0, 6)))
        as_xywh = [np.concatenate([b[:, 1:3], b[:, 3:5] - b[:, 1:3]], axis=1) for b in (actual, rows[kept])]
        distances = motmetrics.distances.iou_matrix(*as_xywh, max_iou=0.5)
        accumulator.update(actual[:, 0].tolist(), ids[kept].tolist(), distances)
    summary = motmetrics.metrics.create().compute(accumulator, metrics=["mota", "idf1"], name="sequence")
    return float(summary["mota"].iloc[0]), float(summary["idf1"].iloc[0])


def _theirs():
    import supervision as sv
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker()

    def step(boxes, scores, t):
        found = tracker.update(sv.Detections(boxes, confidence=scores, data={"row": np.arange(len(boxes))}), timestamp=t)
        ids = np.full(len(boxes), -1)
        if len(found):
            ids[found.data["row"]] = found.tracker_id
        return ids

    return step


@pytest.mark.footage
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("every", [1, 2])
def test_identities_are_at_least_as_good_as_those_of_the_trackers_package(people, every):
    tracker = ByteTracker()
    mota, idf1 = _score(lambda boxes, scores, t: tracker.update(people(boxes, scores), timestamp_s=t).track_ids, every)
    their_mota, their_idf1 = _score(_theirs(), every)
    assert mota >= their_mota - 0.005
    assert idf1 >= their_idf1
    assert mota > 0.68
    assert idf1 > 0.65

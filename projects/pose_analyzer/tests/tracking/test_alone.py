"""One person known and one detected: the short way must come to the very same numbers as the general one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.tracking import create_tracker
from pose_analyzer.tracking.engine import Engine
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17

TRACKERS = ("bytetrack", "botsort", "deepsort", "oks")
STEPS = st.lists(
    st.tuples(
        st.sampled_from([1 / 240, 1 / 30, 1 / 30, 1 / 30, 0.2, 1.0, 2.5, 4.0, 0.0, -0.1, float("nan")]),  # s since the frame before
        st.sampled_from([0.0, 0.01, 0.02, 0.1, 0.6, 3.0]),  # how far the person jumps, body lengths
        st.sampled_from([1.0, 1.0, 1.0, 0.4, 2.0, 3.5]),  # how much larger the box becomes for this frame
        st.sampled_from([0.95, 0.95, 0.3, 0.15, 0.05]),  # score
        st.sampled_from([1, 1, 1, 1, 0, 2]),  # people
        st.sampled_from([0, 0, 0, 1, 4, 17]),  # joints not seen, from the hips up
    ),
    min_size=3,
    max_size=25,
)


def _frames(steps, seed: int) -> list[tuple[float, Poses]]:
    rng = np.random.default_rng(seed)
    shape, centre, now, frames = rng.uniform(0.1, 0.9, (17, 2)), np.array([500.0, 300.0]), 0.0, []
    for elapsed, jump, grown, score, n, unseen in steps:
        now += 0.0 if np.isnan(elapsed) else elapsed
        centre = centre + rng.normal(0, 1, 2) * jump * 200
        size = np.array([80.0, 200.0]) * grown
        low = centre + np.arange(n)[:, None] * [300, 0] + rng.normal(0, 2, (n, 2)) - size / 2
        xy = low[:, None] + shape * size + rng.normal(0, 2, (n, 17, 2))
        confidence = np.full((n, 17), 0.9)
        confidence[:, 13 - min(unseen, 13) : 13 + unseen] = 0.1 if unseen else 0.9
        poses = Poses(
            boxes_xyxy=np.concatenate([low, low + size], axis=1),
            scores=np.full(n, score),
            keypoints_xy=xy,
            keypoint_confidence=confidence,
            skeleton=COCO_17,
        )
        frames.append((elapsed if np.isnan(elapsed) else now, poses))
    return frames


def _memory(tracker) -> list[np.ndarray]:
    tracks = tracker._engine.tracks
    known = [tracks.columns[name] for name in sorted(tracks.columns)]
    return [tracks.motion._state, tracks.motion.seen_s, tracks.ids, tracks.state, tracks.hits, tracks.started_s, *known]


@pytest.mark.parametrize("name", TRACKERS)
@settings(max_examples=40, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_the_short_way_is_the_general_one_to_the_last_bit(name, steps, seed):
    short, general = create_tracker(name), create_tracker(name)
    for now, poses in _frames(steps, seed):
        ids = short.update(poses, timestamp_s=now).track_ids
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "_alone", lambda *_: False)
            expected = general.update(poses, timestamp_s=now).track_ids
        np.testing.assert_array_equal(ids, expected)
        for a, b in zip(_memory(short), _memory(general), strict=True):
            np.testing.assert_array_equal(a, b)
        assert short._engine.tracks.now_s == general._engine.tracks.now_s


@pytest.mark.parametrize("name", TRACKERS)
def test_an_ordinary_stream_of_one_person_goes_the_short_way(name, monkeypatch):
    taken = []
    whole = Engine._alone
    monkeypatch.setattr(Engine, "_alone", lambda self, *frame: taken.append(whole(self, *frame)) or taken[-1])
    tracker = create_tracker(name)
    for now, poses in _frames([(1 / 30, 0.01, 1.0, 0.95, 1, 0)] * 20, 3):
        tracker.update(poses, timestamp_s=now)
    assert taken == [False] + [True] * 19  # the first frame knows nobody yet

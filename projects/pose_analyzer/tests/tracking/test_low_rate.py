"""A single person in view keeps the id at the few frames per second of an overloaded machine."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pose_analyzer.synthetic import scene_for
from pose_analyzer.tracking import create_tracker
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

TRACKERS = ["bytetrack", "botsort", "deepsort", "oks"]


def _frames(exercise: str, times: np.ndarray) -> list[tuple[float, Poses]]:
    return _filmed(exercise, tuple(times.tolist()))


@cache
def _filmed(exercise: str, times: tuple[float, ...], noise: float = 0.01) -> list[tuple[float, Poses]]:
    scene, rng = scene_for(exercise, reps=6, width=640, height=480, azimuth_deg=35), np.random.default_rng(0)
    athlete, camera = scene.athletes[0], scene.camera_at(0.0)
    frames = []
    for t in times:
        xy = camera.project(athlete.at(float(t)).landmarks_m)
        size = float((xy.max(0) - xy.min(0)).max())
        xy = xy + rng.normal(0, noise * size, xy.shape)
        box = np.concatenate([xy.min(0) - 0.05 * size, xy.max(0) + 0.05 * size])
        frames.append(
            (
                float(t),
                Poses(
                    boxes_xyxy=box[None].astype(np.float32),
                    scores=np.array([0.9], np.float32),
                    keypoints_xy=xy[None].astype(np.float32),
                    keypoint_confidence=np.full((1, 33), 0.9, np.float32),
                    skeleton=BLAZEPOSE_33,
                ),
            )
        )
    return frames


def _ids(tracker, frames) -> set[int]:
    return {int(tracker.update(poses, timestamp_s=t).track_ids[0]) for t, poses in frames}


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("rate_hz", [3, 4, 5])
@pytest.mark.parametrize("exercise", ["squat", "jumping_jack", "push_up", "sit_up", "lunge"])
def test_the_athlete_alone_stays_one_person(name, rate_hz, exercise):
    assert _ids(create_tracker(name), _frames(exercise, np.arange(0, 10, 1 / rate_hz))) == {1}


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pauses_of_the_stream_of_up_to_two_seconds_and_missed_frames_change_nothing(name, seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.choice([0.2, 0.25, 0.33, 0.6, 1.3, 2.0], 25, p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.05]))
    tracker, ids = create_tracker(name), set()
    for i, (t, poses) in enumerate(_frames("squat", times)):
        seen = poses if i % 6 or not i else poses[[]]
        ids.update(tracker.update(seen, timestamp_s=t).track_ids.tolist())
    assert ids == {1}


@pytest.mark.parametrize("name", TRACKERS)
def test_a_second_box_around_the_same_person_for_a_frame_is_nobody_new(name):
    tracker = create_tracker(name)
    for i, (t, poses) in enumerate(_frames("squat", np.arange(0, 8, 0.25))):
        if i % 5 == 2:
            again = poses.replace(boxes_xyxy=poses.boxes_xyxy + np.float32([4, 3, -6, 5]), scores=poses.scores * np.float32(0.6))
            poses = Poses.concatenate([poses, again])
        ids = tracker.update(poses, timestamp_s=t).track_ids
        assert {i for i in ids.tolist() if i >= 0} == {1}

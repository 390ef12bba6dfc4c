"""Sides that the detector exchanged are put right; keypoints that cannot be relied on are known."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.smoothing import KeypointReliability, SwapRepair
from pose_analyzer.synthetic import scene_for
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

LEGS = BLAZEPOSE_33.indices([f"{s}_{p}" for s in ("left", "right") for p in ("hip", "knee", "ankle", "heel", "foot_index")])


@pytest.fixture(scope="module")
def walk():
    scene = scene_for("walking", azimuth_deg=30, width=96, height=96)
    truths = [t for t in (scene.truth_at(i) for i in range(len(scene))) if len(t)]
    return [(t.timestamp_s, t.joints_xy[0], t.boxes_xyxy[0]) for t in truths]


def person(xy, box, track=1):
    return Poses(
        boxes_xyxy=box[None],
        scores=[1],
        keypoints_xy=xy[None],
        keypoint_confidence=np.linspace(0.5, 1, 33)[None],
        world_xyz_m=np.concatenate([xy, xy[:, :1]], axis=1)[None],
        track_ids=[track],
        skeleton=BLAZEPOSE_33,
    )


def exchanged(poses, points):
    flip = np.arange(33)
    flip[points] = BLAZEPOSE_33.flip_indices[points]
    return poses.replace(
        keypoints_xy=poses.keypoints_xy[:, flip],
        keypoint_confidence=poses.keypoint_confidence[:, flip],
        world_xyz_m=poses.world_xyz_m[:, flip],
    )


@pytest.mark.parametrize("points", [LEGS, np.arange(33)], ids=["legs", "everything"])
def test_exchanges_of_a_few_frames_are_undone_and_nothing_else_is_touched(walk, points):
    repair, wrong, harmed = SwapRepair(), 0, 0
    height = np.median([box[3] - box[1] for _, _, box in walk])
    for i, (t, xy, box) in enumerate(walk):
        true = person(xy, box)
        bad = i % 20 in (10, 11, 12)
        out = repair.update(exchanged(true, points) if bad else true, timestamp_s=t)
        # Where both sides lie on top of each other an exchange moves nothing, and nobody can tell.
        off = np.abs(out.keypoints_xy - true.keypoints_xy).max() > 0.06 * height
        wrong += bad and off
        harmed += not bad and off
        if bad and not off and 1 in repair.repaired and len(repair.repaired[1]) == 3:
            np.testing.assert_allclose(out.world_xyz_m, true.world_xyz_m)
            np.testing.assert_allclose(out.keypoint_confidence, true.keypoint_confidence)
    assert wrong <= 1
    assert harmed == 0


def test_a_detector_that_keeps_to_its_sides_is_believed(walk):
    repair, (_, xy, box) = SwapRepair(max_repair_s=0.5), walk[10]
    still = person(xy, box)
    for i in range(10):
        repair.update(still, timestamp_s=i / 30)
    repaired = []
    for i in range(10, 40):
        repair.update(exchanged(still, LEGS), timestamp_s=i / 30)
        repaired.append(1 in repair.repaired)
    assert repaired[0]
    assert 0.4 < sum(repaired) / 30 < 0.6
    assert not any(repaired[-10:])


def test_missing_points_nobody_and_repeated_frames_are_fine(walk):
    repair, (_, xy, box) = SwapRepair(), walk[0]
    assert len(repair.update(Poses.empty(BLAZEPOSE_33), timestamp_s=0.0)) == 0
    nothing = Poses(
        boxes_xyxy=box[None],
        scores=[1],
        keypoints_xy=np.full((1, 33, 2), np.nan),
        keypoint_confidence=np.zeros((1, 33)),
        track_ids=[1],
        skeleton=BLAZEPOSE_33,
    )
    for i in range(1, 4):
        assert np.isnan(repair.update(nothing, timestamp_s=i / 30).keypoints_xy).all()
    poses = person(xy, box)
    assert repair.update(poses, timestamp_s=3 / 30) is poses
    repair.forget(1)
    repair.reset()
    with pytest.raises(ValidationError, match="tolerance_sizes"):
        SwapRepair(tolerance_sizes=0)


def seen(xy, confidence):
    xy = np.where(confidence[:, None] > 0, xy, np.nan)
    return Poses(
        boxes_xyxy=[[0, 0, 100, 200]],
        scores=[1],
        keypoints_xy=xy[None],
        keypoint_confidence=confidence[None],
        track_ids=[1],
        skeleton=COCO_17,
    )


def history(make, frames=90, fps=30):
    reliability = KeypointReliability()
    for i in range(frames):
        reliability.update(seen(*make(i)), timestamp_s=i / fps)
    return reliability


def test_the_score_falls_with_absence_doubt_and_unrest():
    rng, nose, wrist, knee, ankle = np.random.default_rng(0), 0, 9, 13, 15

    def make(i):
        xy, confidence = np.full((17, 2), 100.0 + i), np.ones(17)
        confidence[wrist] = 0.0 if i % 2 else 1.0
        confidence[knee] = 0.4
        xy[ankle] += rng.normal(scale=8, size=2)
        return xy, confidence

    score = history(make).score(1)
    assert score[nose] == pytest.approx(1.0, abs=0.01)
    assert score[wrist] == pytest.approx(0.5, abs=0.05)
    assert score[knee] == pytest.approx(0.4, abs=0.02)
    assert score[ankle] < 0.4


def test_the_past_is_forgotten_in_about_a_second_at_any_rate():
    for fps in (10, 60):

        def make(i, fps=fps):
            return np.full((17, 2), 50.0), np.where(np.arange(17) == 3, 1.0 if i < 3 * fps else 0.0, 1.0)

        score = history(make, frames=4 * fps, fps=fps).score(1)
        assert score[3] == pytest.approx(np.exp(-1), abs=0.05)


def test_stable_keypoints_are_named_and_take_time_to_become_so():
    reliability = KeypointReliability()
    steady = (np.full((17, 2), 50.0), np.where(np.arange(17) < 5, 0.0, 1.0))
    reliability.update(seen(*steady), timestamp_s=0.0)
    assert reliability.stable_keypoints(1) == ()
    for i in range(1, 30):
        reliability.update(seen(*steady), timestamp_s=i / 30)
    assert reliability.stable_keypoints(1) == COCO_17.keypoints[5:]
    assert reliability.stable_keypoints(2) == ()
    assert reliability.score(2) is None
    reliability.forget(1)
    assert reliability.score(1) is None

"""Live gap filling on the athlete's own movement, whose truth is exact: bounded, marked, and better than holding still."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from pose_analyzer.smoothing import GapFiller
from pose_analyzer.synthetic import scene_for
from shared_utils.data_models import Origin, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

WRIST = BLAZEPOSE_33.index("left_wrist")


@pytest.fixture(scope="module")
def clips():
    """Exact paths of three exercises: (time, joints, box) per frame."""
    made = []
    for exercise in ("squat", "overhead_press", "lunge"):
        scene = scene_for(exercise, reps=3, azimuth_deg=40, width=96, height=96)
        made.append([(t.timestamp_s, t.joints_xy[0], t.boxes_xyxy[0]) for t in (scene.truth_at(i) for i in range(len(scene)))])
    return made


def one(xy, box, hidden=(), track=1):
    xy = xy.copy()
    xy[list(hidden)] = np.nan
    return Poses(
        boxes_xyxy=box[None],
        scores=[0.9],
        keypoints_xy=xy[None],
        keypoint_confidence=(~np.isnan(xy[None, :, 0])).astype(float),
        track_ids=[track],
        skeleton=BLAZEPOSE_33,
    )


def error(clip, method, hidden, whole, length=30):
    """Sum of distances to the truth of hidden keypoints, over gaps that begin at six times of the clip."""
    filler, total, done = GapFiller(method=method, max_gap_s=1.1), 0.0, 0
    for start in np.linspace(20, len(clip) - length - 1, 6).astype(int):
        for t, xy, box in clip[done:start]:
            filler.update(one(xy, box), timestamp_s=t)
        done, branch = start, copy.deepcopy(filler)
        for t, xy, box in clip[start : start + length]:
            out = branch.update(Poses.empty(BLAZEPOSE_33) if whole else one(xy, box, hidden), timestamp_s=t)
            total += np.linalg.norm(out.keypoints_xy[0, hidden] - xy[hidden], axis=-1).sum()
    return total


@pytest.mark.parametrize("whole", [True, False], ids=["whole person", "keypoints"])
def test_over_1_to_30_hidden_frames_recall_has_at_most_half_the_error_of_holding_still(clips, whole):
    names = (
        ("left_wrist", "left_elbow", "right_knee", "right_ankle") if not whole else ("left_wrist", "right_wrist", "left_hip", "left_knee")
    )
    hidden = BLAZEPOSE_33.indices(names)
    for clip in clips:
        assert error(clip, "recall", hidden, whole) <= 0.5 * error(clip, "hold", hidden, whole)


@pytest.mark.parametrize("method", ["velocity", "kalman", "recall"])
def test_over_five_hidden_frames_every_method_beats_holding_still(clips, method):
    hidden = BLAZEPOSE_33.indices(("left_wrist", "right_wrist", "left_hip", "left_knee"))
    ours, held = (sum(error(clip, m, hidden, True, 5) for clip in clips) for m in (method, "hold"))
    assert ours < 0.8 * held


def walker(x, ids=(1,)):
    xy = np.tile(np.array([[x, 100.0]]), (len(ids), 17, 1)) + np.arange(17)[None, :, None] * 3
    return Poses(
        boxes_xyxy=np.tile([x - 5, 90.0, x + 60, 190.0], (len(ids), 1)),
        scores=np.full(len(ids), 0.9),
        keypoints_xy=xy,
        keypoint_confidence=np.full((len(ids), 17), 0.8),
        keypoint_sigma_px=np.ones((len(ids), 17)),
        track_ids=list(ids),
        skeleton=COCO_17,
    )


def filled(method="velocity", frames=10, **options):
    filler = GapFiller(method=method, **options)
    for i in range(frames):
        filler.update(walker(3.0 * i), timestamp_s=i / 30)
    return filler


@pytest.mark.parametrize("method", ["hold", "velocity", "kalman", "recall"])
def test_a_hidden_person_is_predicted_marked_fading_and_given_up_in_time(method):
    filler, seen = filled(method, max_gap_s=0.5, half_life_s=0.2), []
    for i in range(10, 40):
        out = filler.update(Poses.empty(COCO_17), timestamp_s=i / 30)
        if len(out):
            assert Origin(int(out.origin[0])) is Origin.PREDICTED
            assert (filler.keypoint_origin == Origin.PREDICTED).all()
            seen.append((i / 30 - 9 / 30, float(out.keypoint_confidence[0, 0]), float(out.scores[0]), float(out.keypoint_sigma_px[0, 0])))
    ages, confidences, scores, sigmas = np.array(seen).T
    assert ages.max() == pytest.approx(0.5, abs=0.001)
    np.testing.assert_allclose(confidences, 0.8 * 0.5 ** (ages / 0.2), rtol=1e-5)
    np.testing.assert_allclose(scores, 0.9 * 0.5 ** (ages / 0.2), rtol=1e-5)
    assert (np.diff(sigmas) > 0).all()


def test_the_box_goes_along():
    out = filled().update(Poses.empty(COCO_17), timestamp_s=10 / 30)
    np.testing.assert_allclose(out.boxes_xyxy[0] - [22.0, 90.0, 87.0, 190.0], [out.keypoints_xy[0, 0, 0] - 27.0, 0] * 2, atol=1e-3)
    assert 28 < out.keypoints_xy[0, 0, 0] <= 30.1


def test_a_hidden_keypoint_is_filled_and_only_it_is_marked():
    filler = filled()
    poses = walker(30.0)
    xy, confidence = poses.keypoints_xy.copy(), poses.keypoint_confidence.copy()
    xy[0, 9], confidence[0, 9] = np.nan, 0
    out = filler.update(poses.replace(keypoints_xy=xy, keypoint_confidence=confidence), timestamp_s=10 / 30)
    assert out.keypoints_xy[0, 9, 0] == pytest.approx(57, abs=1.0)
    assert 0 < out.keypoint_confidence[0, 9] < 0.8
    assert np.flatnonzero(filler.keypoint_origin[0] == Origin.PREDICTED).tolist() == [9]
    assert Origin(int(out.origin[0])) is Origin.DETECTED


def test_points_of_low_confidence_are_predicted_where_asked():
    filler = filled(min_confidence=0.5)
    poses = walker(30.0)
    confidence, xy = poses.keypoint_confidence.copy(), poses.keypoints_xy.copy()
    confidence[0, 4], xy[0, 4] = 0.2, 500.0
    out = filler.update(poses.replace(keypoint_confidence=confidence, keypoints_xy=xy), timestamp_s=10 / 30)
    assert np.abs(out.keypoints_xy[0, 4] - [42, 112]).max() < 1.5


def test_what_never_was_seen_is_not_invented():
    filler = GapFiller()
    xy = np.full((1, 17, 2), np.nan)
    nobody = Poses(
        boxes_xyxy=[[0, 0, 50, 90]], scores=[1], keypoints_xy=xy, keypoint_confidence=np.zeros((1, 17)), track_ids=[1], skeleton=COCO_17
    )
    for i in range(5):
        assert np.isnan(filler.update(nobody, timestamp_s=i / 30).keypoints_xy).all()
    assert np.isnan(filler.update(Poses.empty(COCO_17), timestamp_s=0.2).keypoints_xy).all()


def test_a_new_id_in_the_same_place_ends_the_prediction_and_a_known_neighbour_does_not():
    out = filled().update(walker(30.0, ids=(2,)), timestamp_s=10 / 30)
    assert out.track_ids.tolist() == [2]
    filler = GapFiller(method="velocity")
    for i in range(10):
        filler.update(walker(30.0, ids=(1, 2)), timestamp_s=i / 30)
    assert filler.update(walker(30.0, ids=(2,)), timestamp_s=10 / 30).track_ids.tolist() == [2, 1]


def test_forget_and_a_new_clock_end_predictions():
    filler = filled()
    filler.forget(1)
    filler.forget(77)
    assert len(filler.update(Poses.empty(COCO_17), timestamp_s=10 / 30)) == 0
    filler = filled(frames=60)
    assert len(filler.update(Poses.empty(COCO_17), timestamp_s=0.0)) == 0


def test_a_frame_that_repeats_its_time_passes_untouched():
    filler = filled()
    poses = walker(500.0)
    assert filler.update(poses, timestamp_s=9 / 30) is poses
    assert len(filler.update(Poses.empty(COCO_17), timestamp_s=8 / 30)) == 0


def test_it_does_not_look_ahead():
    """What comes later cannot change what was said before."""
    a, b = filled("recall"), filled("recall")
    first = [f.update(Poses.empty(COCO_17), timestamp_s=0.4).keypoints_xy for f in (a, b)]
    a.update(walker(90.0), timestamp_s=0.5)
    b.update(walker(10.0), timestamp_s=0.5)
    np.testing.assert_array_equal(*first)


@pytest.mark.parametrize(
    ("options", "word"), [({"method": "guess"}, "method"), ({"max_gap_s": 0}, "max_gap_s"), ({"half_life_s": -1}, "half_life_s")]
)
def test_impossible_settings_are_named(options, word):
    with pytest.raises(ValidationError, match=word):
        GapFiller(**options)


def test_bad_frames_are_named():
    with pytest.raises(ValidationError, match="finite"):
        GapFiller().update(Poses.empty(COCO_17), timestamp_s=float("nan"))
    with pytest.raises(ValidationError, match="differ"):
        GapFiller().update(walker(0.0, ids=(1, 1)), timestamp_s=0.0)

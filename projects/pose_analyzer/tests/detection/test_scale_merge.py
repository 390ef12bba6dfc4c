"""Several readings of one person become one; different people stay two."""

from __future__ import annotations

import _scale_fakes as fakes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.detection.scale.merge import body_px, merge_poses, seen_again, similarities, without_known, without_twins
from pose_analyzer.synthetic import scene_for
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17


def _merge(*people: Poses, sigmas=None, **options):
    sigmas = np.ones(len(people)) if sigmas is None else np.array(sigmas, float)
    return merge_poses(Poses.concatenate(list(people)), sigmas, **options)


def test_two_readings_of_one_person_become_their_weighted_mean():
    merged = _merge(fakes.body(100, 50, 80), fakes.body(103, 50, 80), sigmas=[1.0, 2.0])
    assert len(merged.poses) == 1
    # Weights 1 and 1/4.
    assert np.allclose(merged.poses.keypoints_xy[0], fakes.body(100.6, 50, 80).keypoints_xy[0], atol=1e-3)


def test_two_people_side_by_side_stay_two():
    assert len(_merge(fakes.body(100, 50, 80), fakes.body(125, 50, 80)).poses) == 2


def test_the_surer_reading_leads_whatever_the_sizes():
    small, large = fakes.body(100, 50, 80, score=0.9), fakes.body(100, 44, 92, score=0.4)
    for order in ((small, large), (large, small)):
        [kept] = _merge(*order, fuse=False).poses
        assert np.array_equal(kept.keypoints_xy, small.keypoints_xy)


def test_somebody_far_behind_in_the_box_of_somebody_near_stays():
    merged = _merge(fakes.body(300, 50, 400), fakes.body(340, 150, 60, score=0.5))
    assert len(merged.poses) == 2


def test_a_limb_taken_for_a_person_is_dropped():
    assert len(_merge(fakes.body(300, 50, 400), fakes.body(330, 200, 160, score=0.6)).poses) == 1


def test_left_and_right_exchanged_is_the_same_person_and_does_not_collapse_to_the_middle():
    person = fakes.body(100, 50, 80)
    flip = COCO_17.flip_indices
    turned = person.replace(keypoints_xy=person.keypoints_xy[:, flip], scores=[0.5])
    merged = _merge(person, turned)
    assert len(merged.poses) == 1
    assert np.allclose(merged.poses.keypoints_xy, person.keypoints_xy, atol=1e-3)


def test_a_keypoint_that_contradicts_the_best_reading_does_not_count():
    person = fakes.body(100, 50, 80)
    wrong = person.keypoints_xy.copy()
    wrong[0, 9] += 20
    merged = _merge(person, person.replace(keypoints_xy=wrong, scores=[0.8]))
    assert np.allclose(merged.poses.keypoints_xy, person.keypoints_xy, atol=1e-3)


def test_a_keypoint_only_one_reading_has_is_kept_and_one_nobody_has_is_missing():
    a, b = fakes.body(100, 50, 80), fakes.body(100, 50, 80, score=0.7)
    xy, confidence = a.keypoints_xy.copy(), a.keypoint_confidence.copy()
    xy[0, [3, 4]], confidence[0, [3, 4]] = np.nan, 0
    other, other_confidence = xy.copy(), confidence.copy()
    other[0, 3], other_confidence[0, 3] = b.keypoints_xy[0, 3], 0.9
    merged = _merge(
        a.replace(keypoints_xy=xy, keypoint_confidence=confidence), b.replace(keypoints_xy=other, keypoint_confidence=other_confidence)
    )
    assert np.allclose(merged.poses.keypoints_xy[0, 3], b.keypoints_xy[0, 3], atol=1e-3)
    assert np.isnan(merged.poses.keypoints_xy[0, 4]).all()
    assert merged.poses.keypoint_confidence[0, 4] == 0


def test_where_no_keypoint_can_be_compared_the_boxes_decide():
    vague = fakes.body(100, 50, 80).replace(keypoints_xy=np.full((1, 17, 2), np.nan), keypoint_confidence=np.zeros((1, 17)))
    merged = _merge(vague, fakes.body(100, 50, 80, score=0.5), fakes.body(400, 50, 80))
    assert len(merged.poses) == 2
    assert np.isfinite(merged.poses.keypoints_xy).all()
    assert body_px(vague).tolist() == pytest.approx([80.0])


people = st.tuples(st.floats(0, 600), st.floats(0, 400), st.floats(20, 300), st.integers(1, 100))


@settings(max_examples=40, deadline=None)
@given(st.lists(people, min_size=1, max_size=6, unique_by=lambda person: person[3]))
def test_scores_stay_in_range_nobody_is_invented_and_the_order_of_the_input_does_not_matter(people):
    readings = [fakes.body(x, y, h, score=s / 100) for x, y, h, s in people]
    merged = _merge(*readings)
    assert 1 <= len(merged.poses) <= len(readings)
    assert ((merged.poses.scores >= 0) & (merged.poses.scores <= 1)).all()
    used = np.concatenate(merged.members)
    assert len(used) == len(set(used.tolist()))
    back = _merge(*readings[::-1])
    assert np.allclose(back.poses.keypoints_xy, merged.poses.keypoints_xy, atol=1e-2)


def test_similarity_is_cocos_by_the_plain_loop():
    a, b = fakes.body(100, 50, 80), fakes.body(104, 52, 86)
    both = Poses.concatenate([a, b])
    area = [np.prod(np.ptp(p.keypoints_xy[0], axis=0)) for p in (a, b)]
    terms = []
    for i in range(17):
        d2 = float(((a.keypoints_xy[0, i] - b.keypoints_xy[0, i]) ** 2).sum())
        terms.append(np.exp(-d2 / (2 * np.mean(area) * (2 * COCO_17.oks_sigmas[i]) ** 2)))
    plain, _ = similarities(both, 0, np.array([0, 1]))
    assert plain.tolist() == pytest.approx([1.0, float(np.mean(terms))], abs=1e-5)


def test_known_people_and_their_parts_are_not_newcomers():
    known = fakes.body(300, 50, 400)
    readings = Poses.concatenate([fakes.body(305, 52, 395), fakes.body(310, 200, 150), fakes.body(700, 300, 60)])
    assert without_known(readings, known).boxes_xyxy[:, 1].tolist() == [300]
    assert len(without_known(readings, Poses.empty(COCO_17))) == 3


def test_somebody_followed_twice_with_sides_exchanged_is_there_once():
    person, other = fakes.body(300, 50, 100), fakes.body(500, 50, 100)
    turned = person.replace(keypoints_xy=person.keypoints_xy[:, COCO_17.flip_indices])
    assert without_twins(Poses.concatenate([person, other, turned])).keypoints_xy.shape[0] == 2
    assert len(without_twins(Poses.concatenate([person, other]))) == 2
    assert len(without_twins(Poses.empty(COCO_17))) == 0


def test_only_who_is_seen_again_in_the_same_posture_counts():
    first = Poses.concatenate([fakes.body(300, 50, 100), fakes.body(700, 300, 60)])
    second = Poses.concatenate([fakes.body(301, 50, 101), fakes.body(700, 330, 40)])
    assert seen_again(second, first).boxes_xyxy[:, 1].tolist() == [50]
    assert len(seen_again(second, Poses.empty(COCO_17))) == 0


@pytest.mark.parametrize("exercise", ["squat", "deadlift", "push_up"])
def test_somebody_who_bends_down_is_as_tall_as_before(exercise):
    scene = scene_for(exercise, azimuth_deg=90, reps=1, width=320, height=240, fps=5)
    standing = [(t, a.spec.body.height_m) for a in scene.athletes for t in (scene.truth_at(i) for i in range(len(scene)))]
    for truth, stature_m in standing:
        height_px = stature_m * truth.focal_px / truth.joints_camera_m[0, :, 2].mean()
        everything_sure = truth.poses().replace(keypoint_confidence=np.ones((1, 33)))
        assert body_px(everything_sure)[0] == pytest.approx(height_px, rel=0.12)

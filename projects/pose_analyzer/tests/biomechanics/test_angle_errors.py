"""Keypoint errors, their way into angles, and readings that are none: against the athlete and against arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pose_analyzer.biomechanics import (
    ANGLE_NAMES,
    MEASURED_NAMES,
    fill_keypoint_sigma,
    joint_angles,
    lift,
    measure_angles,
    picture_errors,
    strict,
)
from pose_analyzer.biomechanics.agreement import agreement
from pose_analyzer.biomechanics.angle_sigma import ANGLE_FEATURES
from pose_analyzer.biomechanics.calibration import balanced_scale, coverage, fit_angle, fit_keypoints, fit_trust
from pose_analyzer.biomechanics.consensus import agreed, view_basis
from pose_analyzer.biomechanics.keypoint_sigma import SigmaModel, default_sigma_model, similarity
from pose_analyzer.synthetic import scene_for
from shared_utils import BLAZEPOSE_33, COCO_17, Poses
from shared_utils.errors import ValidationError


@pytest.fixture(scope="module")
def squatting() -> Poses:
    """A squat at half depth, seen from the side: the true landmarks."""
    scene = scene_for("squat", azimuth_deg=90, reps=1, width=480, height=640, fps=10)
    truth = scene.truth_at(12)
    return truth.poses().replace(keypoint_confidence=np.ones((1, 33)), track_ids=np.array([7]))


@pytest.fixture(scope="module")
def oblique() -> Poses:
    truth = scene_for("squat", azimuth_deg=45, reps=1, width=480, height=640, fps=10).truth_at(12)
    return truth.poses().replace(keypoint_confidence=np.ones((1, 33)))


def test_doubt_makes_a_keypoint_s_error_larger(squatting):
    sure, unsure = (fill_keypoint_sigma(squatting.replace(keypoint_confidence=np.full((1, 33), c))).keypoint_sigma_px for c in (0.99, 0.3))
    assert (unsure > 1.3 * sure).all()


def test_error_in_px_grows_with_the_person_but_less_than_in_proportion(squatting):
    half = squatting.replace(boxes_xyxy=squatting.boxes_xyxy / 2, keypoints_xy=squatting.keypoints_xy / 2)
    large, small = (fill_keypoint_sigma(p).keypoint_sigma_px for p in (squatting, half))
    assert (small < large).all()
    assert (small > large / 2).all()


def test_a_sigma_that_the_detector_gave_is_kept(squatting):
    own = np.full((1, 33), 9.0, np.float32)
    own[0, 3] = np.nan
    filled = fill_keypoint_sigma(squatting.replace(keypoint_sigma_px=own)).keypoint_sigma_px
    assert (np.delete(filled, 3, axis=1) == 9.0).all()
    assert np.isfinite(filled[0, 3])


def test_missing_keypoints_have_no_sigma_and_nobody_is_fine(squatting):
    xy, confidence = squatting.keypoints_xy.copy(), squatting.keypoint_confidence.copy()
    xy[0, 5], confidence[0, 5] = np.nan, 0
    sigma = fill_keypoint_sigma(squatting.replace(keypoints_xy=xy, keypoint_confidence=confidence)).keypoint_sigma_px
    assert np.isnan(sigma[0, 5])
    assert np.isfinite(np.delete(sigma, 5, axis=1)).all()
    assert measure_angles(Poses.empty(COCO_17), timestamp_s=0.0, evidence="strict").value_deg.shape == (0, len(MEASURED_NAMES))


def test_measuring_adds_columns_and_leaves_values_alone(squatting):
    plain, more = joint_angles(squatting, timestamp_s=1.5), measure_angles(squatting, timestamp_s=1.5)
    assert more.names[: len(ANGLE_NAMES)] == ANGLE_NAMES
    np.testing.assert_array_equal(more.value_deg[:, : len(ANGLE_NAMES)], plain.value_deg)
    assert more.timestamp_s == 1.5
    assert more.track_ids.tolist() == [7]


def test_strict_evidence_gives_the_side_view_and_not_what_points_at_the_camera(squatting):
    strict = measure_angles(squatting, timestamp_s=0.0, evidence="strict").row(7)
    assert not np.isnan([strict["left_knee_flexion_deg"], strict["left_hip_flexion_deg"]]).any()
    # The same squat from the front: thighs point at the camera.
    scene = scene_for("squat", azimuth_deg=0, elevation_deg=0, reps=1, width=480, height=640, fps=10, depth_deg=110)
    front = max((scene.truth_at(i) for i in range(len(scene))), key=lambda t: float(t.progress[0])).poses()
    front = front.replace(keypoint_confidence=np.ones((1, 33)), track_ids=np.array([7]))
    lenient, strict = (measure_angles(front, timestamp_s=0.0, evidence=e).row(7) for e in ("lenient", "strict"))
    assert not np.isnan(lenient["left_hip_flexion_deg"])
    assert np.isnan(strict["left_hip_flexion_deg"])
    assert np.isnan(strict["left_knee_flexion_deg"])


def test_strict_evidence_never_adds_or_changes_a_reading(squatting):
    unsure = squatting.replace(keypoint_confidence=np.random.default_rng(0).uniform(0.3, 1, (1, 33)))
    lenient, strict = (measure_angles(unsure, timestamp_s=0.0, evidence=e) for e in ("lenient", "strict"))
    given_ = ~np.isnan(strict.value_deg)
    np.testing.assert_array_equal(strict.value_deg[given_], lenient.value_deg[given_])
    assert given_.sum() < (~np.isnan(lenient.value_deg)).sum()
    assert strict.sigma_deg is not None
    assert (np.isnan(strict.sigma_deg) | given_).all()
    with pytest.raises(ValidationError, match="lenient"):
        measure_angles(squatting, timestamp_s=0.0, evidence="none")  # type: ignore[arg-type]


def test_lifting_true_landmarks_changes_little_and_repairs_a_wrong_plane(oblique):
    """Landmarks in space that are wrong across the view, as a network's are, get the picture's directions back."""
    rng = np.random.default_rng(1)
    true = joint_angles(oblique, timestamp_s=0.0)["left_knee_flexion_3d_deg"][0]
    kept = joint_angles(lift(oblique, depth_share={}, proportions=False), timestamp_s=0.0)["left_knee_flexion_3d_deg"][0]
    assert kept == pytest.approx(true, abs=4)  # perspective is all that is left out
    worse, better = [], []
    for _ in range(40):
        noise = rng.normal(scale=0.05, size=(1, 33, 3)) * [1, 1, 0]
        wrong = oblique.replace(world_xyz_m=oblique.world_xyz_m + noise)
        worse.append(abs(joint_angles(wrong, timestamp_s=0.0)["left_knee_flexion_3d_deg"][0] - true))
        flat = lift(wrong, depth_share={}, proportions=False)
        better.append(abs(joint_angles(flat, timestamp_s=0.0)["left_knee_flexion_3d_deg"][0] - true))
    assert np.median(better) < 0.5 * np.median(worse)


def test_a_limb_that_is_seen_in_full_length_lies_in_the_picture_whatever_depth_a_network_gives_it():
    """Noise of depth bends straight legs; the length of bones takes most of that back."""
    standing = scene_for("squat", azimuth_deg=90, reps=1, width=480, height=640, fps=10).truth_at(0).poses()
    standing = standing.replace(keypoint_confidence=np.ones((1, 33)))
    rng = np.random.default_rng(4)
    found = {True: [], False: []}
    for _ in range(40):
        noisy = standing.replace(world_xyz_m=standing.world_xyz_m + rng.normal(scale=0.08, size=(1, 33, 3)) * [0, 0, 1])
        for proportions, bends in found.items():
            angles = joint_angles(lift(noisy, depth_share={}, proportions=proportions), timestamp_s=0.0)
            bends.append(angles["left_knee_flexion_3d_deg"][0])
    true = joint_angles(standing, timestamp_s=0.0)["left_knee_flexion_3d_deg"][0]
    assert abs(np.median(found[True]) - true) < 0.6 * abs(np.median(found[False]) - true)


def test_proportions_keep_what_a_missing_joint_leaves(oblique):
    xyz = oblique.world_xyz_m.copy()
    xyz[0, BLAZEPOSE_33.indices(["left_wrist", "right_shoulder"])] = np.nan
    lifted = lift(oblique.replace(world_xyz_m=xyz)).world_xyz_m
    lost = np.isnan(lifted).any(-1)[0]
    assert lost[BLAZEPOSE_33.indices(["left_wrist", "right_shoulder", "right_elbow"])].all()
    assert not lost[BLAZEPOSE_33.indices(["left_knee", "right_knee", "right_ankle"])].any()


def test_lifting_without_metric_landmarks_or_people_is_nothing(squatting):
    flat = squatting.replace(world_xyz_m=None)
    assert lift(flat) is flat
    assert len(lift(Poses.empty(BLAZEPOSE_33))) == 0


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(2)
    source = rng.normal(size=(3, 12, 2))
    scale, offset = similarity(source, 40 * source + [7, -3], np.ones((3, 12), bool))
    np.testing.assert_allclose(scale, 40)
    np.testing.assert_allclose(offset, np.tile([7, -3], (3, 1)), atol=1e-9)
    assert np.isnan(similarity(source, source, np.zeros((3, 12), bool))[0]).all()


def test_a_calibration_finds_the_errors_that_were_put_in(squatting):
    rng = np.random.default_rng(5)
    samples = []
    for _ in range(400):
        confidence = rng.uniform(0.5, 1.0, (1, 33))
        sigma = 2.0 + 8.0 * (1 - confidence)
        noisy = squatting.keypoints_xy + rng.normal(size=(1, 33, 2)) * sigma[..., None]
        samples.append((squatting.replace(keypoints_xy=noisy, keypoint_confidence=confidence), squatting.keypoints_xy))
    model = fit_keypoints(samples)
    for confidence, expected in ((0.95, 2.4), (0.6, 5.2)):
        said = model.keypoint_sigma_px(squatting.replace(keypoint_confidence=np.full((1, 33), confidence)))
        assert float(np.median(said)) == pytest.approx(expected, rel=0.25)
    with pytest.raises(ValidationError, match="50"):
        fit_keypoints(samples[:3])


@given(st.floats(0.3, 3.0), st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_bands_of_an_angle_hold_what_they_promise(factor, seed):
    rng = np.random.default_rng(seed)
    features = rng.uniform(0, 1, (3000, len(ANGLE_FEATURES)))
    features[:, 0] = 1.0
    sigma = np.exp(np.log(factor) + 2 * features[:, 1] - features[:, 4])
    weights = fit_angle(sigma * rng.normal(size=3000), features)
    assert weights is not None
    held = coverage(sigma * rng.normal(size=3000), np.exp(features @ weights))
    assert held.met
    assert fit_angle(np.ones(20), features[:20]) is None


def test_the_better_witness_of_a_view_is_the_one_that_is_believed():
    """Lifted angles that are right when segments are seen, plain ones that are right when they are not."""
    rng = np.random.default_rng(3)
    seen, front, true = rng.uniform(0.2, 1.1, 4000), rng.uniform(0, 1, 4000), rng.uniform(0, 120, 4000)
    lost = seen < 0.5
    lifted = true + rng.normal(size=4000) * np.where(lost, 30.0, 3.0)
    plain = true + rng.normal(size=4000) * np.where(lost, 5.0, 12.0)
    trust = fit_trust(lifted, plain, true, seen, front)
    assert trust is not None
    hardly, _, fully = np.array(trust).reshape(2, 3).T
    assert (hardly < 0.2).all()
    assert (fully > 0.8).all()
    best = agreed(lifted[:, None], plain[:, None], seen[:, None], front, np.array([trust]))[:, 0]
    assert np.abs(best - true).mean() < min(np.abs(lifted - true).mean(), np.abs(plain - true).mean())
    assert fit_trust(*(values[:20] for values in (lifted, plain, true, seen, front))) is None


def test_one_witness_alone_is_heard():
    one = np.array([[np.nan, 40.0, 50.0, np.nan]])
    other = np.array([[30.0, np.nan, 20.0, np.nan]])
    trust = np.stack([*np.full((2, 6), 0.5), np.full(6, np.nan), np.full(6, 0.5)])
    np.testing.assert_array_equal(agreed(one, other, np.ones((1, 4)), np.array([np.nan]), trust), [[30.0, 40.0, 50.0, np.nan]])


@given(hnp.arrays(np.float64, 50, elements=st.floats(0, 3)), st.floats(0, 1))
def test_shares_of_a_view_add_up_to_one(seen, front):
    basis = view_basis(seen, np.full(50, front))
    assert (basis >= 0).all()
    np.testing.assert_allclose(basis.sum(-1), 1.0)


def test_an_angle_is_less_sure_the_more_its_two_measures_disagree(oblique):
    said = []
    for turned in (0.0, 0.25):
        xyz = oblique.world_xyz_m.copy()
        xyz[0, BLAZEPOSE_33.index("left_ankle")] += turned
        angles = measure_angles(oblique.replace(world_xyz_m=xyz), timestamp_s=0.0)
        said.append(angles.sigma_deg[0, angles.names.index("left_knee_flexion_3d_deg")])
    assert said[1] > 1.3 * said[0]


def test_a_balanced_scale_of_heavy_tails_misses_both_promises_alike():
    z = np.abs(np.random.default_rng(0).standard_t(3, 20000))
    scale = balanced_scale(z)
    low, high = (z <= scale).mean() - 0.68, 0.95 - (z <= 2 * scale).mean()
    assert low / 0.08 == pytest.approx(high / 0.04, abs=0.1)


def test_a_model_survives_its_file():
    model = default_sigma_model()
    again = SigmaModel.from_json(model.to_json())
    assert again.to_json() == model.to_json()
    assert {"knee_flexion_deg", "knee_flexion_3d_deg", "knee_flexion_lifted_deg"} <= set(model.angles)
    for broken in ("{}", "[]", json.dumps({**json.loads(model.to_json()), "format": 99})):
        with pytest.raises(ValidationError):
            SigmaModel.from_json(broken)


def test_agreement_of_numbers_worked_by_hand():
    found = agreement([12.0, 18.0, 33.0], [10.0, 20.0, 30.0])
    # Differences 2, -2, 3: mean 1, standard deviation sqrt(7).
    assert found.bias == pytest.approx(1.0)
    assert (found.lower, found.upper) == pytest.approx((1 - 1.96 * 7**0.5, 1 + 1.96 * 7**0.5))
    assert found.rmse == pytest.approx((17 / 3) ** 0.5)
    assert found.median_absolute == 2.0
    assert agreement([1.0], [1.0]).count == 1
    assert agreement([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).icc == pytest.approx(1.0)


def test_intraclass_correlation_of_shrout_and_fleiss():
    """Judges 1 and 2 of the table in Shrout and Fleiss 1979, by the textbook's mean squares."""
    one, two = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])
    n, k = 6, 2
    means = (one + two) / 2
    between = k * ((means - means.mean()) ** 2).sum() / (n - 1)
    judges = n * ((one.mean() - means.mean()) ** 2 + (two.mean() - means.mean()) ** 2)
    rest = (((one - means) - (one.mean() - means.mean())) ** 2 + ((two - means) - (two.mean() - means.mean())) ** 2).sum() / (n - 1)
    expected = (between - rest) / (between + rest + k * (judges - rest) / n)
    assert agreement(one, two).icc == pytest.approx(expected)


@pytest.mark.parametrize("people", ["squatting", "oblique"])
def test_errors_in_the_picture_are_those_of_the_full_measurement(people, request):
    poses = request.getfixturevalue(people)
    full, quick = measure_angles(poses, timestamp_s=0.0), picture_errors(joint_angles(poses, timestamp_s=0.0), poses)
    same = [name for name in ANGLE_NAMES if "_3d" not in name and "abduction" not in name and "shoulder_flexion" not in name]
    columns, others = (
        [full.names.index(n) for n in same if "_in_plane" not in n],
        [quick.names.index(n) for n in same if "_in_plane" not in n],
    )
    np.testing.assert_allclose(quick.sigma_deg[:, others], full.sigma_deg[:, columns], rtol=1e-9)
    assert np.isfinite(quick.sigma_deg[0, quick.names.index("trunk_lean_deg")])
    np.testing.assert_array_equal(quick.value_deg[:, others], full.value_deg[:, columns])


def test_an_angle_without_a_reading_has_no_error(squatting):
    hidden = squatting.keypoint_confidence.copy()
    hidden[0, BLAZEPOSE_33.index("left_knee")] = 0.1
    poses = squatting.replace(keypoint_confidence=hidden)
    angles = picture_errors(joint_angles(poses, timestamp_s=0.0), poses)
    assert np.isnan(angles.sigma_deg[np.isnan(angles.value_deg)]).all()
    assert np.isnan(angles.sigma_deg[0, angles.names.index("left_knee_flexion_deg")])
    assert np.isfinite(angles.sigma_deg[0, angles.names.index("right_knee_flexion_deg")])


def test_strict_evidence_takes_readings_away_and_changes_none():
    truth = scene_for("squat", azimuth_deg=0, reps=1, width=480, height=640, fps=10).truth_at(12)  # the arms, held out, point at the camera
    poses = truth.poses().replace(keypoint_confidence=np.ones((1, 33)))
    angles = picture_errors(joint_angles(poses, timestamp_s=0.0), poses)
    sure = strict(angles, poses)
    kept = np.isfinite(sure.value_deg)
    assert not kept[0, angles.names.index("left_elbow_flexion_deg")]
    assert kept[0, angles.names.index("left_knee_flexion_deg")]
    np.testing.assert_array_equal(sure.value_deg[kept], angles.value_deg[kept])
    with pytest.raises(ValidationError, match="picture_errors"):
        strict(joint_angles(poses, timestamp_s=0.0), poses)


def test_errors_of_nobody_are_none():
    nobody = Poses.empty(BLAZEPOSE_33)
    assert picture_errors(joint_angles(nobody, timestamp_s=0.0), nobody).sigma_deg.shape == (0, len(ANGLE_NAMES))


def test_a_scale_keeps_both_promises_in_easy_and_in_hard_conditions():
    rng = np.random.default_rng(6)
    easy, hard = rng.normal(size=9000) * 0.93, rng.normal(size=3000) * 1.07
    scale = balanced_scale(easy, hard)
    assert all(coverage(part, np.full(part.shape, scale)).met for part in (easy, hard))
    assert balanced_scale(easy) < scale < balanced_scale(hard)

"""Pictures of evidence and of references, asymmetry by side, limits from held-out people."""

from __future__ import annotations

import numpy as np
import pytest
from _filmed import frames_of, scores

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import load_profile, load_reference
from pose_analyzer.exercise.build import build_reference
from pose_analyzer.exercise.calibrate import calibrated, limit_of_evidence
from pose_analyzer.exercise.evidence import evidence_picture, stacked
from pose_analyzer.exercise.features import BODY_POINTS, FORM_FEATURES, body_points, mirrored_points
from pose_analyzer.exercise.findings import keypoints_of
from pose_analyzer.exercise.reference_plot import plot_reference, save_reference_plot
from pose_analyzer.pipeline.takes import repetitions_by_view
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import PERFECT, observed
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

RED, GREEN = (250, 82, 82), (64, 192, 87)


def leaning():
    """A finding with its score and the person at that frame."""
    how = {"fault": "forward_lean_deg", "degree": 15.0}
    score = scores("squat", 75.0, **how)[0]
    finding = next(f for f in score.findings if f.fault == "forward_lean")
    person = next(p for p, _, index in frames_of("squat", 75.0, **how) if index == finding.frame)
    return finding, score, person, load_reference("squat")


def share_of(picture, colour):
    return float((picture == colour).all(-1).mean())


def test_evidence_marks_the_person_red_and_the_reference_green():
    finding, score, person, reference = leaning()
    picture = evidence_picture(np.full((640, 480, 3), 128, np.uint8), person, finding, score, reference)
    middle = picture.shape[1] // 2
    assert share_of(picture[:, :middle], RED) > 0.001
    assert share_of(picture[:, middle:], GREEN) > 0.001
    assert share_of(picture[:, middle:], RED) == share_of(picture[:, :middle], GREEN) == 0


def test_evidence_of_a_person_half_outside_of_the_picture_is_drawn():
    finding, score, person, reference = leaning()
    far = person.replace(keypoints_xy=person.keypoints_xy + np.float32(300))
    assert evidence_picture(np.zeros((200, 200, 3), np.uint8), far, finding, score, reference).shape[2] == 3


def test_evidence_needs_one_person():
    finding, score, _, reference = leaning()
    with pytest.raises(ValueError, match="one person, got 0"):
        evidence_picture(np.zeros((9, 9, 3), np.uint8), Poses.empty(BLAZEPOSE_33), finding, score, reference)


def test_pictures_are_stacked_in_order():
    both = stacked([np.zeros((2, 3, 3), np.uint8), np.ones((1, 3, 3), np.uint8)])
    assert both[:, 0, 0].tolist() == [0, 0, 1]


def test_a_reference_is_drawn_the_same_each_time(tmp_path):
    reference = load_reference("squat")
    first, second = (save_reference_plot(reference, tmp_path / name) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()


def test_every_view_has_its_body_and_eight_curves():
    assert len(plot_reference(load_reference("squat"), view_deg=0.0).axes) == 9


def test_a_view_that_is_not_there_is_named():
    with pytest.raises(ExerciseError, match="no view at -80"):
        plot_reference(load_reference("squat"), view_deg=-80.0)


def test_asymmetry_names_the_side_that_stays_behind():
    told = [f for s in scores("squat", -8.0, fault="asymmetry_deg", degree=22.0) for f in s.findings if f.fault == "asymmetry"]
    assert {f.side for f in told} == {"right"}  # the athlete's right side is the one that stops early


def test_a_finding_names_keypoints_of_the_skeleton():
    finding, *_ = leaning()
    assert set(finding.keypoints) == {"left_shoulder", "left_hip", "right_shoulder", "right_hip"}
    assert set(keypoints_of("knee", "right")) <= set(BLAZEPOSE_33.keypoints)


def test_limits_lie_beyond_what_held_out_people_reach():
    profile = load_profile("squat")
    people = [repetitions_by_view("squat", [90.0], reps=1, seed=s)[90.0] for s in range(7400, 7406)]
    reference = build_reference([r for rows in people for r in rows], profile, source="x")
    limits = calibrated(reference, people, profile).limits
    assert limit_of_evidence([0.5, 5.0, 4.9, 0.1]) > 4.8
    assert limit_of_evidence([*([0.5] * 30), 9.0]) < 3.0  # one person whom the detector lost makes no limit
    assert limit_of_evidence([-5.0, *[0.1] * 20]) < 5.0  # the opposite of a fault is none
    assert min(limits.values()) >= 2.6


def test_body_points_in_a_mirror_change_sides():
    poses = observed(scene_for("squat", azimuth_deg=30, reps=1, fps=5), noise=PERFECT).poses
    points = body_points(poses)
    mirrored = mirrored_points(points)
    left, right = BODY_POINTS.index("left_knee"), BODY_POINTS.index("right_knee")
    np.testing.assert_allclose(mirrored[:, left, 0], -points[:, right, 0])
    np.testing.assert_allclose(mirrored[:, left, 1], points[:, right, 1])


def test_folds_in_space_are_missing_without_metric_landmarks():
    from pose_analyzer.exercise.features import form_features

    poses = observed(scene_for("squat", azimuth_deg=30, reps=1, fps=5)).poses.replace(world_xyz_m=None)
    in_space = [i for i, n in enumerate(FORM_FEATURES) if n.endswith("_3d")]
    assert np.isnan(form_features(poses)[:, in_space]).all()

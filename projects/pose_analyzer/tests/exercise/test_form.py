"""Form against references: truth is the athlete, whose faults are known by degree."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from _filmed import frames_of, live, repetitions, scores

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import FormScorer, RepetitionCounter, load_profile, load_reference
from pose_analyzer.exercise.build import build_reference
from pose_analyzer.exercise.features import FORM_FEATURES, form_features, swapped, view_azimuth_deg
from pose_analyzer.exercise.judgement import judge
from pose_analyzer.exercise.reference import Reference
from pose_analyzer.pipeline.takes import repetitions_by_view
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import PERFECT, observed
from shared_utils.data_models import EventType, Poses
from shared_utils.skeletons import BLAZEPOSE_33

CLEAR = [
    ("squat", 15.0, "knee_valgus_deg", 18.0),
    ("squat", 75.0, "forward_lean_deg", 15.0),
    ("squat", 75.0, "half_range", 0.5),
    ("bicep_curl", 75.0, "elbow_drift_deg", 30.0),
    ("squat", 75.0, "rushed_tempo", 0.65),
]


@pytest.mark.parametrize(("exercise", "azimuth_deg", "fault", "degree"), CLEAR)
def test_a_clear_fault_is_named_and_costs_points(exercise, azimuth_deg, fault, degree):
    good, bad = scores(exercise, azimuth_deg), scores(exercise, azimuth_deg, fault=fault, degree=degree)
    assert bad
    name = fault.removesuffix("_deg")
    assert all(name in [f.fault for f in s.findings] for s in bad)
    assert all(s.findings == () for s in good)
    assert max(s.score for s in bad) < min(s.score for s in good)


def test_the_parts_of_a_score_add_up():
    for s in (*scores("squat", 15.0, fault="knee_valgus_deg", degree=18.0), *scores("squat", 75.0)):
        assert s.score == pytest.approx(100 - sum(s.parts.values()))
        assert 0 <= s.score <= 100
        assert min(s.parts.values(), default=0) >= 0


def test_the_sentence_has_joint_phase_degrees_and_reference():
    (finding, *_) = scores("squat", 75.0, fault="forward_lean_deg", degree=15.0)[0].findings
    assert finding.phase == "bottom"
    assert finding.degrees == pytest.approx(15, abs=6)
    assert finding.value - finding.reference_mean == pytest.approx(finding.degrees, abs=6)
    assert "at the bottom" in finding.message
    assert f"{finding.degrees:.0f} degrees" in finding.message
    assert "reference" in finding.message


def test_what_a_view_does_not_show_is_not_judged():
    (s, *_) = scores("squat", 75.0)
    assert {"knee_valgus", "rounded_back"} <= set(s.not_judged)


def test_a_view_without_reference_gives_no_score():
    reference, profile = load_reference("squat"), load_profile("squat")
    only_side = Reference(
        exercise="squat", source="x", views=tuple(v for v in reference.views if v.azimuth_deg == 90), durations_s=reference.durations_s
    )
    s = judge(repetitions("squat", 15.0)[0], only_side, profile)
    assert math.isnan(s.score)
    assert s.findings == ()


def test_a_reference_is_the_same_after_saving_and_loading(tmp_path):
    reference = load_reference("squat")
    again = load_reference(reference.save(tmp_path / "a.json"))
    assert again.save(tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert [v.features for v in again.views] == [v.features for v in reference.views]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 99, "phase_samples": {}}', '{"format": 1}'])
def test_a_damaged_reference_is_an_error_of_ours(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ExerciseError, match="reference"):
        load_reference(path)


def test_a_user_builds_a_reference_from_one_set_and_scores_another():
    profile = load_profile("squat")
    good = repetitions_by_view("squat", [60.0], reps=6, seed=7001)[60.0]
    reference = build_reference(good, profile, source="one set")
    same = repetitions_by_view("squat", [60.0], reps=2, seed=7001)[60.0]
    bent = repetitions_by_view("squat", [60.0], reps=2, seed=7001, faults={"forward_lean_deg": 25})[60.0]
    assert min(judge(r, reference, profile).score for r in same) > max(judge(r, reference, profile).score for r in bent)
    assert any(f.fault == "forward_lean" for r in bent for f in judge(r, reference, profile).findings)


def test_too_few_repetitions_make_no_reference():
    with pytest.raises(ExerciseError, match="needs 3 good repetitions"):
        build_reference([], load_profile("squat"), source="nothing")


def test_live_events_have_a_cooldown_and_every_repetition_a_score():
    frames = frames_of("squat", 75.0, fault="forward_lean_deg", degree=18.0, reps=2)
    scorer = FormScorer(load_reference("squat"), stream_id="cam", cooldown_s=1000)
    events = [e for e in live(scorer, frames) if e.data["fault"] == "forward_lean"]
    assert len(scorer.scores) == 2
    assert len(events) == 1
    assert events[0].type == EventType.FORM_DEVIATION
    assert events[0].data["level"] == "warn"
    assert set(events[0].data["keypoints"]) <= set(BLAZEPOSE_33.keypoints)
    assert events[0].frames[0] <= frames[-1][2]
    again = FormScorer(load_reference("squat"), stream_id="cam", cooldown_s=0)
    assert len([e for e in live(again, frames) if e.data["fault"] == "forward_lean"]) == 2


def test_live_and_offline_scores_agree():
    scorer = FormScorer(load_reference("squat"))
    live(scorer, frames_of("squat", 75.0))
    assert [s.score for s in scorer.scores] == [s.score for s in scores("squat", 75.0)]


@pytest.mark.parametrize(
    ("kind", "fps"),
    [("nobody", 20), ("all missing", 20), ("backwards", 20), ("changes track", 20), ("in part missing", 20), ("slow", 1), ("fast", 240)],
)
def test_bad_input_breaks_nothing(kind, fps):
    scene = scene_for("squat", azimuth_deg=80, reps=1, seed=1, fps=fps)
    scorer, counter = FormScorer(load_reference("squat")), RepetitionCounter(load_profile("squat"))
    for poses, time_s, index in observed(scene):
        changed = poses
        if kind == "nobody":
            changed = Poses.empty(BLAZEPOSE_33)
        elif kind == "all missing":
            changed = poses.replace(keypoint_confidence=np.zeros((1, 33), np.float32))
        elif kind == "in part missing" and index % 3 == 0:
            changed = poses.replace(keypoint_confidence=np.zeros((1, 33), np.float32), keypoints_xy=np.full((1, 33, 2), np.nan, np.float32))
        elif kind == "changes track":
            changed = poses.replace(track_ids=np.array([index % 2], np.int64))
        now = 10.0 - time_s if kind == "backwards" else time_s
        events = counter.update(joint_angles(changed, timestamp_s=now), timestamp_s=now, frame_index=index)
        scorer.update(changed, events, timestamp_s=now, frame_index=index)
    scorer.flush(counter.flush())
    assert all(math.isnan(s.score) or 0 <= s.score <= 100 for s in scorer.scores)


def test_mirrored_pictures_have_mirrored_features():
    poses = observed(scene_for("squat", azimuth_deg=30, reps=1, fps=5), noise=PERFECT).poses
    flip = [BLAZEPOSE_33.index(_other(n)) for n in BLAZEPOSE_33.keypoints]
    xy = poses.keypoints_xy[:, flip].copy()
    xy[..., 0] = 640 - xy[..., 0]
    box = poses.boxes_xyxy[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [640, 0, 640, 0]
    mirrored = poses.replace(keypoints_xy=xy, keypoint_confidence=poses.keypoint_confidence[:, flip], boxes_xyxy=box.astype(np.float32))
    np.testing.assert_allclose(form_features(mirrored), swapped(form_features(poses)), atol=0.05)
    assert len(FORM_FEATURES) == form_features(poses).shape[1]


def _other(name):
    return name.replace("left", "*").replace("right", "left").replace("*", "right") if name != "nose" else name


def test_the_view_is_a_median_over_time():
    assert view_azimuth_deg(np.array([[0.0, 1.0]] * 5 + [[1.0, 0.0]] * 2)) == pytest.approx(90)
    assert math.isnan(view_azimuth_deg(np.full((3, 2), np.nan)))


def test_half_a_repetition_is_told_by_about_the_share_that_was_done():
    (score, *_) = scores("squat", 75.0, fault="half_range", degree=0.5)
    (finding,) = [f for f in score.findings if f.fault == "half_range"]
    share = re.search(r"(\d+)% of the range", finding.message)
    assert share, finding.message
    assert 35 <= int(share[1]) <= 70

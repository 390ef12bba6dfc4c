"""Exercises recognised by themselves: athletes the model was not trained on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pose_analyzer.cli.reference_athlete import varied_scene
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import ExerciseRecognizer
from pose_analyzer.exercise.descriptor import QUANTITIES, describe, landmarks_of
from pose_analyzer.exercise.network import load_model, train_model
from pose_analyzer.synthetic import scene_for
from pose_analyzer.synthetic.observed import observed
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33


def said(scene, *, seed=11):
    """Labels of track 1 over time."""
    recognizer = ExerciseRecognizer()
    return [recognizer.update(poses, timestamp_s=t).get(1) for poses, t, _ in observed(scene, seed=seed)], recognizer


@pytest.mark.parametrize(
    ("exercise", "azimuth_deg"),
    [
        ("squat", 60),
        ("push_up", 80),
        ("bicep_curl", 20),
        ("jumping_jack", 10),
        ("lateral_raise", 0),
        ("deadlift", 75),
        ("overhead_press", 20),
    ],
)
def test_an_exercise_is_recognised_within_two_repetitions(exercise, azimuth_deg):
    labels, recognizer = said(varied_scene(exercise, azimuth_deg=float(azimuth_deg), reps=2, seed=8101))
    assert labels[-1] == exercise
    assert recognizer.overall(1) == exercise


@pytest.mark.parametrize("exercise", ["idle", "walking"])
def test_what_is_no_exercise_is_unknown(exercise):
    labels, _ = said(scene_for(exercise, azimuth_deg=30, seed=5, fps=15, hold_s=8.0))
    assert labels.count("unknown") >= 0.8 * len(labels)


def test_nothing_is_said_before_there_was_time_to_look():
    labels, _ = said(varied_scene("squat", azimuth_deg=60.0, reps=1, seed=8101))
    assert labels[:20] == ["unknown"] * 20  # one second


def test_bad_input_breaks_nothing():
    recognizer = ExerciseRecognizer()
    for i, (poses, t, _) in enumerate(observed(varied_scene("squat", azimuth_deg=60.0, reps=1, seed=8101))):
        hidden = poses.replace(keypoint_confidence=np.zeros((1, 33), np.float32))
        recognizer.update((hidden, Poses.empty(BLAZEPOSE_33), poses)[i % 3], timestamp_s=t if i % 7 else t - 5.0)
    assert recognizer.label(99) == "unknown"
    with pytest.raises(ValidationError, match="finite"):
        recognizer.update(Poses.empty(BLAZEPOSE_33), timestamp_s=float("nan"))
    with pytest.raises(ValidationError, match="least_probability"):
        ExerciseRecognizer(least_probability=2)


def window(exercise="lunge", *, fps=10.0, azimuth_deg=60.0):
    seen = observed(scene_for(exercise, azimuth_deg=azimuth_deg, reps=1, fps=fps, seed=3), seed=3)
    return landmarks_of(seen.poses)


@pytest.mark.parametrize("change", [lambda w: 2 * w, lambda w: w + 300, lambda w: w[:, :, ::-1], lambda w: w * [-1, 1]])
def test_a_description_knows_neither_size_nor_place_nor_side(change):
    np.testing.assert_allclose(describe(change(window())), describe(window()), atol=1e-6)


def test_a_description_tells_a_movement_from_its_double_speed_by_nothing_but_time():
    slow, fast = describe(window()), describe(window()[::2])
    same = [i for i, name in enumerate(QUANTITIES) if name.startswith(("most_knee@", "hip_rise"))]
    np.testing.assert_allclose(slow[same], fast[same], atol=6)
    assert slow[-1] > 1.8 * fast[-1]


def test_what_is_rarely_seen_is_missing():
    seen = window()
    seen[: int(0.6 * len(seen)), 5] = np.nan  # the ankles
    description = dict(zip(QUANTITIES, describe(seen), strict=True))
    assert np.isnan([description["most_knee@0.5"], description["ankle_height@0.05"], description["ankle_rise"]]).all()
    assert np.isfinite(description["most_hip@0.5"])


def test_nobody_is_described_by_nothing():
    assert np.isnan(describe(np.full((30, 7, 2, 2), np.nan))).all()


def test_training_separates_what_is_apart_and_repeats_itself(tmp_path):
    random = np.random.default_rng(0)
    width = 3 * len(QUANTITIES)
    x = np.concatenate([random.normal(m, 5, (150, width)) for m in (0, 40)])
    labels = ["a"] * 150 + ["b"] * 150
    model = train_model(x, labels, epochs=20)
    guess = [model.labels[i] for i in model.probabilities(x).argmax(1)]
    assert np.mean(np.array(guess) == np.array(labels)) > 0.95
    again = train_model(x, labels, epochs=20)
    assert model.save(tmp_path / "a.json").read_bytes() == again.save(tmp_path / "b.json").read_bytes()
    assert load_model(tmp_path / "a.json").labels == ("a", "b", "unknown")


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"format": 2})])
def test_a_damaged_model_is_an_error_of_ours(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ExerciseError, match="model"):
        load_model(tmp_path / "m.json")

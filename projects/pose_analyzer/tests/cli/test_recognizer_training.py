"""The stick figures that the recogniser learns from: bodies that could be, films that repeat, windows of every label."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.cli.recognizer_figures import SLOTS, filmed, performed, posture
from pose_analyzer.cli.recognizer_movements import EXERCISES, bench_press, pull_up, push_up, squat
from pose_analyzer.cli.recognizer_negatives import nothing
from pose_analyzer.cli.recognizer_training import label_of, windows
from pose_analyzer.exercise import list_profiles

SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE = range(6)


@pytest.mark.parametrize("name", EXERCISES)
def test_limbs_keep_their_length_and_bodies_their_size(name):
    random = np.random.default_rng(1)
    joints, active = performed(EXERCISES[name](random), random, seconds=6.0)
    assert joints.shape == (60, 7, 2, 3)
    assert set(np.unique(active)) <= {0.0, 1.0}
    for a, b in ((SHOULDER, ELBOW), (ELBOW, WRIST), (HIP, KNEE), (KNEE, ANKLE)):
        lengths = np.linalg.norm(joints[:, a] - joints[:, b], axis=-1)
        np.testing.assert_allclose(lengths, lengths[:1].repeat(60, 0))
        assert ((lengths > 0.15) & (lengths < 0.6)).all()


@pytest.mark.parametrize(("maker", "part"), [(squat, ANKLE), (push_up, WRIST), (pull_up, WRIST), (bench_press, HIP)])
def test_what_carries_stays_in_its_place(maker, part):
    for seed in range(5):
        random = np.random.default_rng(seed)
        joints, _ = performed(maker(random), random, seconds=6.0)
        assert np.ptp(joints[:, part].mean(1)[:, :2], axis=0).max() < 1e-9


def test_the_directions_are_those_that_are_said():
    lying = posture(trunk=-90, thigh_pitch=90)
    from pose_analyzer.cli.recognizer_figures import figure

    joints = figure(lying[None], np.random.default_rng(0), anchor="hips")[0]
    assert joints[SHOULDER, :, 0].max() < -0.4  # on the back, the head behind
    assert joints[KNEE, :, 0].min() > 0.3
    assert abs(joints[SHOULDER, :, 2]).max() < 1e-9
    assert len(lying) == len(SLOTS)


def test_people_who_do_nothing_are_people():
    for seed in range(30):
        assert np.isfinite(nothing(np.random.default_rng(seed), seconds=4.0)).all()


def test_a_film_repeats_and_another_one_differs():
    joints, _ = performed(squat(np.random.default_rng(3)), np.random.default_rng(3), seconds=4.0)
    one, same, other = (filmed(joints, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other, equal_nan=True)


def test_there_are_windows_of_every_exercise():
    assert set(EXERCISES) | {"barbell_squat", "hammer_curl"} == set(list_profiles())
    for name in EXERCISES:
        assert any(label == name for _, label in windows(name, performances=3, seed=4)), name
    assert {label for _, label in windows("unknown", performances=2, seed=4)} == {"unknown"}


@pytest.mark.parametrize(("exercise", "label"), [("hammer_curl", "bicep_curl"), ("walking", "unknown"), ("lunge", "lunge")])
def test_what_a_picture_does_not_tell_apart_has_one_label(exercise, label):
    assert label_of(exercise) == label

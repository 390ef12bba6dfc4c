"""The figures by which filters are judged, against paths written down; the table of a detector's errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pose_analyzer.smoothing.judge import error_px, fastest_points, jitter_px, lag_s, wander_px
from pose_analyzer.smoothing.noise import NoiseTable, load_noise, measure_noise
from shared_utils.errors import ValidationError
from shared_utils.skeletons import COCO_17


@pytest.mark.parametrize("late_s", [0.0, 0.02, 0.1])
def test_a_delay_is_measured_through_noise_and_offset(late_s):
    t = np.arange(150) / 30
    path = lambda s: np.stack([50 * np.sin(5 * s), 30 * np.cos(4 * s)], axis=-1)[:, None]  # noqa: E731
    seen = path(t - late_s) + 12 + np.random.default_rng(0).normal(size=(150, 1, 2))
    assert lag_s(seen, path(t), t) == pytest.approx(late_s, abs=0.004)


def test_jitter_wander_and_error_of_white_noise():
    rng = np.random.default_rng(1)
    truth, noise = np.zeros((20000, 2, 2)), rng.normal(scale=2.0, size=(20000, 2, 2))
    assert jitter_px(truth + noise, truth) == pytest.approx(2 * 2**0.5, rel=0.02)
    assert wander_px(truth + noise + 7, truth) == pytest.approx(2, rel=0.02)
    assert error_px(truth + noise, truth) == pytest.approx(2 * (np.pi / 2) ** 0.5, rel=0.02)
    assert np.isnan(error_px(truth * np.nan, truth))


def test_the_fastest_points_come_first():
    t = np.arange(10) / 10
    path = np.stack([np.stack([v * t, 0 * t], axis=-1) for v in (1, 9, 4)], axis=1)
    assert fastest_points(path, t, 2).tolist() == [1, 2]


def test_shapes_must_agree():
    with pytest.raises(ValidationError, match="must both have shape"):
        error_px(np.zeros((3, 2, 2)), np.zeros((3, 3, 2)))


def table(**changes):
    values = {"rest_sizes": (0.002,) * 17, "motion_sizes_s": (0.003,) * 17, "posture_sizes": (0.0,) * 17} | changes
    return NoiseTable(detector="made", skeleton="coco_17", frames=1, **values)


def path(speed, frames=3000):
    t = np.arange(frames) / 30
    return t, np.stack([300 + 100 * speed * 3 * np.sin(t / 3)] * 2, axis=-1)[:, None].repeat(17, axis=1) / 2**0.5


def test_what_is_drawn_from_a_table_measures_as_that_table():
    true, clips = table(), []
    for i, speed in enumerate((0.0, 1.0)):
        t, truth = path(speed)
        clips.append((t, truth, true.draw(truth, t, 100.0, i), 100.0))
    found = measure_noise(clips, detector="made", skeleton=COCO_17)
    np.testing.assert_allclose(found.rest_sizes, 0.002, rtol=0.15)
    np.testing.assert_allclose(found.motion_sizes_s, 0.003, rtol=0.25)


def test_errors_of_the_posture_come_back_with_the_posture():
    made = table(rest_sizes=(0.0,) * 17, motion_sizes_s=(0.0,) * 17, posture_sizes=(0.01,) * 17)
    t = np.arange(60) / 30
    truth = (
        np.random.default_rng(0).uniform(0, 200, (1, 17, 2)) + 30 * np.sin(2 * np.pi * t)[:, None, None] * np.arange(17)[None, :, None] / 17
    )
    error = made.draw(truth, t, 200.0, 3) - truth
    np.testing.assert_allclose(error[:30], error[30:], atol=1e-9)
    assert 0.2 < error.std() / 2.0 < 1.5


def test_the_same_seed_draws_the_same():
    t, truth = path(1.0, 30)
    assert load_noise().frames > 500
    a, b = (table().draw(truth, t, 100.0, s).tobytes() for s in (4, 4))
    assert a == b != table().draw(truth, t, 100.0, 5).tobytes()


def test_a_table_survives_its_file_and_a_bad_one_is_named(tmp_path):
    file = tmp_path / "noise.json"
    table().save(file)
    assert load_noise(file) == table()
    with pytest.raises(ValidationError, match="no noise table"):
        load_noise(tmp_path / "absent.json")
    file.write_text(json.dumps({"detector": "x"}))
    with pytest.raises(ValidationError, match="not a noise table"):
        load_noise(file)
    with pytest.raises(ValidationError, match="rest_sizes"):
        table(rest_sizes=(1.0,))
    t, truth = path(1.0, 60)
    with pytest.raises(ValidationError, match="at rest"):
        measure_noise([(t[:20], truth[:20], truth[:20], 100.0)], detector="x", skeleton=COCO_17)

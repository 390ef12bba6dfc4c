"""Takes of the athlete: the same pictures from the same values, detections kept on disk, other people in training than in judging."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.errors import ExerciseError
from pose_analyzer.pipeline.references import EXERCISES, athlete_reference, good_takes
from pose_analyzer.pipeline.takes import Studio, Take
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17


class Blind:
    """A detector that sees nobody and counts how often it was asked."""

    name, skeleton, models = "blind", COCO_17, {}

    def __init__(self):
        self.asked = 0

    def detect(self, images, *, stream_ids=None):
        self.asked += len(images)
        return [Poses.empty(COCO_17) for _ in images]

    def forget(self, stream_id):
        pass

    def close(self):
        pass


def test_a_take_is_filmed_once_and_read_from_disk_after_that(tmp_path):
    take, detector = Take(exercise="squat", azimuth_deg=60.0, seed=3), Blind()
    assert Studio(tmp_path, detector=detector).repetitions(take) == []
    asked = detector.asked
    assert asked > 10
    assert len(Studio(tmp_path, detector=detector).detected(take)[0]) == 0
    assert detector.asked == asked


def test_what_was_kept_is_what_was_seen(tmp_path):
    take = Take(exercise="bicep_curl", azimuth_deg=80.0, seed=5)
    seen, times, frames = (first := Studio(tmp_path)).detected(take)
    first.close()
    again, times_again, frames_again = Studio(tmp_path).detected(take)
    np.testing.assert_array_equal(seen.keypoints_xy, again.keypoints_xy)
    np.testing.assert_array_equal(times, times_again)
    np.testing.assert_array_equal(frames, frames_again)


def test_takes_differ_in_their_names_when_they_differ_at_all():
    takes = [
        Take(exercise="squat", azimuth_deg=60.0, seed=3),
        Take(exercise="squat", azimuth_deg=61.0, seed=3),
        Take(exercise="squat", azimuth_deg=60.0, seed=4),
        Take(exercise="squat", azimuth_deg=60.0, seed=3, reps=2),
        Take(exercise="squat", azimuth_deg=60.0, seed=3, faults={"forward_lean_deg": 8}),
    ]
    assert len({t.key for t in takes}) == len(takes)


def test_every_training_take_shows_another_body():
    seeds = [t.seed for exercise in EXERCISES for t in good_takes(exercise, 4)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("exercise", ["bench_press", "plank"])
def test_what_the_athlete_cannot_show_is_refused_with_the_way_out(exercise):
    with pytest.raises(ExerciseError, match="--from a clip"):
        athlete_reference(exercise)

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.errors import ExerciseError, PipelineError
from pose_analyzer.exercise.reference import reference_folders
from pose_analyzer.pipeline import Pipeline, analyze
from pose_analyzer.synthetic import scene_for
from shared_utils import BLAZEPOSE_33, Frame, Poses
from shared_utils.data_models import EventType
from shared_utils.errors import ConfigError


class TruthDetector:
    """A detector that reports the scene's own truth, so that everything behind it can be judged alone."""

    name, skeleton, models = "truth", BLAZEPOSE_33, {}

    def __init__(self, poses: list[Poses], fail_at: set[int] | None = None) -> None:
        self._poses, self._fail_at, self._next = poses, fail_at or set(), 0
        self.closed = False

    def detect(self, images, *, stream_ids=None):
        out = []
        for _ in images:
            index, self._next = self._next, self._next + 1
            if index in self._fail_at:
                raise RuntimeError("the model fell over")
            out.append(self._poses[index % len(self._poses)])
        return out

    def forget(self, stream_id):
        self._next = 0

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def filmed(athlete_scene):
    pairs = list(athlete_scene.frames())
    poses = [truth.poses() for _, truth in pairs]
    # Hidden landmarks too: what is judged here is the pipeline, not what a camera can see.
    return [frame for frame, _ in pairs], [p.replace(keypoint_confidence=np.ones_like(p.keypoint_confidence)) for p in poses]


def test_true_poses_give_the_true_repetitions(filmed, athlete_scene):
    frames, poses = filmed
    session = analyze(frames, exercise="squat", detector=TruthDetector(poses))
    true = athlete_scene.repetitions(1)
    assert session.repetition_count == len(true) == 2
    for event, rep in zip(session.repetitions, true, strict=True):
        assert rep.start_s - 0.3 <= event.start_s <= event.end_s <= rep.end_s + 0.5


def test_a_failing_frame_costs_that_frame_only(filmed):
    frames, poses = filmed
    session = analyze(frames, exercise="squat", detector=TruthDetector(poses, fail_at={5, 20}))
    assert session.repetition_count == 2
    assert session.notes == ("the stage 'detect' failed on 2 frames",)
    assert len(session.series) == len(frames) - 2


def test_a_stage_that_always_fails_stops_with_its_reason(filmed):
    frames, poses = filmed
    detector = TruthDetector(poses, fail_at=set(range(1000)))
    with pytest.raises(PipelineError, match=r"'detect' failed on 30 frames in a row.*the model fell over"):
        analyze(frames * 3, detector=detector)


def test_a_second_run_starts_afresh(filmed):
    frames, poses = filmed
    with Pipeline(exercise="squat", detector=TruthDetector(poses)) as pipeline:
        first = [e.to_dict() for u in pipeline.run(frames) for e in u.events]
        second = [e.to_dict() for u in pipeline.run(frames) for e in u.events]
    assert first == second


def test_a_shared_detector_is_not_closed(filmed):
    frames, poses = filmed
    detector = TruthDetector(poses)
    analyze(frames[:5], detector=detector)
    assert not detector.closed


def test_nobody_in_view_is_a_result_not_an_error():
    frames = [Frame(np.zeros((64, 64, 3), np.uint8), index=i, timestamp_s=i / 10) for i in range(10)]
    session = analyze(frames, exercise="squat", detector=TruthDetector([Poses.empty(BLAZEPOSE_33)]))
    assert (session.frames, session.repetition_count, len(session.series)) == (10, 0, 0)


def test_what_was_measured_before_an_interruption_is_written(filmed, tmp_path):
    from pose_analyzer.pipeline import PoseSession

    frames, poses = filmed

    def interrupt(progress):
        if progress.frames == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze(frames, exercise="squat", detector=TruthDetector(poses), out=tmp_path, progress=interrupt)
    session = PoseSession.load(tmp_path)
    assert (session.complete, session.frames, session.notes) == (False, 20, ("stopped by the user",))
    assert (tmp_path / "overlay.mp4").stat().st_size > 0


def test_max_seconds_ends_a_stream_that_does_not(filmed):
    frames, poses = filmed
    session = analyze(frames, detector=TruthDetector(poses), max_seconds=1.0)
    assert session.duration_s == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"exercise": "squatt"}, ExerciseError, "squat"),  # a misspelt exercise names the nearest
        ({"overrides": {"detection.thread": 1}}, ConfigError, "threads"),  # a misspelt setting too
        ({"max_people": 0}, ConfigError, "max_people"),  # out of range names the key
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(arguments, error, says):
    with pytest.raises(error, match=says):
        Pipeline(detector=TruthDetector([]), **arguments)


@pytest.mark.parametrize(("tracker", "smoothing"), [("oks", "steady"), ("botsort", "kalman_velocity"), ("deepsort", "ema")])
def test_every_tracker_and_filter_can_be_chosen_by_name(athlete_scene, tracker, smoothing):
    choice = {"tracking.name": tracker, "smoothing.name": smoothing, "detection.threads": 1}
    with Pipeline(exercise="squat", overrides=choice) as pipeline:
        kinds = [event.type for update in pipeline.run(frame for frame, _ in athlete_scene.frames()) for event in update.events]
    assert kinds.count(EventType.REP_COMPLETED) == 2
    assert kinds.count(EventType.PERSON_ENTERED) == 1
    assert not pipeline.failures


def test_a_value_that_the_chosen_filter_lacks_is_refused():
    with pytest.raises(ConfigError, match="the filter ema has no option 'beta'"):
        Pipeline(overrides={"smoothing.name": "ema", "smoothing.beta": 1.0})


@pytest.fixture(scope="module")
def leaning() -> tuple[list[Frame], list[Poses]]:
    """Two squats that lean forward by far too much, seen from the side; the pictures do not matter."""
    scene = scene_for("squat", azimuth_deg=75, reps=2, faults={"forward_lean_deg": 25}, seed=11)
    truths = [scene.truth_at(i) for i in range(len(scene))]
    blank = np.zeros((4, 4, 3), np.uint8)
    frames = [Frame(blank, index=i, timestamp_s=now) for i, now in enumerate(scene.timestamps_s)]
    return frames, [truth.poses().replace(keypoint_confidence=np.ones((1, 33))) for truth in truths]


def test_a_fault_is_told_with_the_repetition_that_shows_it(leaning):
    frames, poses = leaning
    session = analyze(frames, exercise="squat", detector=TruthDetector(poses))
    told = [event for event in session.events if event.type == EventType.FORM_DEVIATION]
    assert "forward_lean" in {event.data["fault"] for event in told}
    assert {"left_hip", "left_shoulder"} <= set(next(e for e in told if e.data["fault"] == "forward_lean").data["keypoints"])
    assert len(session.repetitions) == 2
    assert all(0 <= event.data["form_score"] < 90 for event in session.repetitions)


def test_form_is_not_judged_where_it_is_not_wanted(leaning):
    frames, poses = leaning
    session = analyze(frames, exercise="squat", detector=TruthDetector(poses), overrides={"exercise.form": False})
    assert not [event for event in session.events if event.type == EventType.FORM_DEVIATION]
    assert all("form_score" not in event.data for event in session.repetitions)


def test_an_exercise_that_nobody_named_is_recognised_counted_and_judged():
    scene = scene_for("squat", azimuth_deg=75, reps=4, fps=15, seed=11)
    blank = np.zeros((4, 4, 3), np.uint8)
    frames = [Frame(blank, index=i, timestamp_s=now) for i, now in enumerate(scene.timestamps_s)]
    poses = [scene.truth_at(i).poses().replace(keypoint_confidence=np.ones((1, 33))) for i in range(len(scene))]
    session = analyze(frames, exercise="auto", detector=TruthDetector(poses))
    [told] = [event for event in session.events if event.type == EventType.EXERCISE_RECOGNIZED]
    assert told.data["exercise"] == "squat"
    assert session.repetition_count == 4
    assert {event.data["exercise"] for event in session.repetitions} == {"squat"}
    assert "form_score" in session.repetitions[-1].data  # from the moment of recognition on


def test_form_is_judged_by_the_reference_that_is_named(leaning, tmp_path):
    frames, poses = leaning
    own = tmp_path / "own.json"
    own.write_text((reference_folders()[0] / "squat.json").read_text())
    named = analyze(frames, exercise="squat", detector=TruthDetector(poses), overrides={"exercise.reference": str(own)})
    usual = analyze(frames, exercise="squat", detector=TruthDetector(poses))
    assert [e.data.get("form_score") for e in named.repetitions] == [e.data.get("form_score") for e in usual.repetitions]
    with pytest.raises(ExerciseError, match="is of push_up, not of squat"):
        Pipeline(exercise="squat", detector=TruthDetector(poses), overrides={"exercise.reference": "push_up"})
    with pytest.raises(ExerciseError):
        Pipeline(exercise="squat", detector=TruthDetector(poses), overrides={"exercise.reference": str(tmp_path / "none.json")})

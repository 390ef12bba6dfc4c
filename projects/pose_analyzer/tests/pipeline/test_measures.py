"""Measures of movement out of a session, against the athlete's own truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.cli.app import main
from pose_analyzer.pipeline import PoseSession
from pose_analyzer.pipeline.measures import measure_movement
from pose_analyzer.pipeline.recorder import SeriesRecorder
from pose_analyzer.reporting import ChoiceError
from pose_analyzer.synthetic import scene_for
from shared_utils import Event, EventType, Frame

_PICTURE = np.zeros((2, 2, 3), np.uint8)
_HEIGHT_M = 1.8


def session_of(exercise: str, azimuth_deg: float, *, keypoints: bool = True, **changes) -> PoseSession:
    """True landmarks of one athlete as a session."""
    scene = scene_for(exercise, azimuth_deg=azimuth_deg, reps=2, width=480, height=640, fps=15, **changes)
    recorder = SeriesRecorder(keypoints=keypoints)
    for i in range(len(scene)):
        now = scene.timestamps_s[i]
        poses = scene.truth_at(i).poses().replace(keypoint_confidence=np.ones((1, 33)), track_ids=np.array([1]))
        recorder.add(Frame(_PICTURE, index=i, timestamp_s=now), poses, joint_angles(poses, timestamp_s=now), [(0, "", 0.0)])
    events = [
        Event(EventType.REP_COMPLETED, "s", 1, r.start_s, r.end_s, value=n, data={"range_deg": 80.0, "form_score": 91.0})
        for n, r in enumerate(scene.repetitions(1), 1)
    ]
    return PoseSession(
        source="athlete", series=recorder.series(), events=tuple(events), frames=len(scene), settings={"exercise": {"name": exercise}}
    )


@pytest.fixture(scope="module")
def squat() -> PoseSession:
    return session_of("squat", 90)


def test_ranges_are_those_of_the_series(squat):
    found = measure_movement(squat)
    knee = squat.series["left_knee_flexion_deg"]
    least, greatest, span = found.ranges_deg["left_knee_flexion"]
    assert least == pytest.approx(knee.min(), abs=2)
    assert greatest == pytest.approx(knee.max(), abs=2)
    assert span == greatest - least
    assert span > 60


def test_both_legs_of_a_squat_move_alike_and_one_arm_s_curl_does_not(squat):
    assert abs(measure_movement(squat).symmetry["knee_flexion"]["imbalance"]) < 0.1
    curl = measure_movement(session_of("bicep_curl", 90, side="left"))
    assert curl.symmetry["elbow_flexion"]["imbalance"] > 1.0


def test_lengths_in_metres_follow_from_the_height(squat):
    in_heights, in_metres = measure_movement(squat), measure_movement(squat, height_m=_HEIGHT_M)
    assert (in_heights.unit, in_metres.unit) == ("body heights", "m")
    for a, b in zip(in_heights.repetitions, in_metres.repetitions, strict=True):
        assert b.depth == pytest.approx(_HEIGHT_M * a.depth)
    assert 0 <= in_heights.sway < 0.005  # feet stand


def test_repetitions_carry_what_was_told_and_the_hands_way_fits_the_body():
    first, second = measure_movement(session_of("overhead_press", 0)).repetitions
    assert (first.number, second.number, first.range_deg, first.form_score) == (1, 2, 80.0, 91.0)
    assert 0.15 < first.path_rise < 0.6  # an arm and a bit, in body heights
    assert first.path_drift < first.path_rise
    assert math.isnan(first.eccentric_s)


def test_without_keypoints_there_are_angles_and_no_lengths():
    found = measure_movement(session_of("squat", 90, keypoints=False))
    assert found.ranges_deg["left_knee_flexion"][2] > 60
    assert math.isnan(found.sway)
    assert all(math.isnan(r.depth) and math.isnan(r.path_rise) for r in found.repetitions)
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_cannot_be_measured_is_said(squat):
    with pytest.raises(ChoiceError, match=r"0\.5 to 2\.6 m"):
        measure_movement(squat, height_m=180.0)
    with pytest.raises(ChoiceError):
        measure_movement(squat, track_id=9)
    with pytest.raises(ChoiceError, match="nobody"):
        measure_movement(PoseSession(source="empty"))


def test_the_command_prints_tables_and_json(squat, tmp_path, capsys):
    squat.save(tmp_path)
    assert main(["measures", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "knee flexion" in shown
    assert "drift" in shown
    assert main(["measures", str(tmp_path), "--json", "--height", "1.8"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["unit"] == "m"
    assert [r["number"] for r in data["repetitions"]] == [1, 2]

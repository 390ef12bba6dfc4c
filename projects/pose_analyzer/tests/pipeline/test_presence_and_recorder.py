from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles, measure_angles
from pose_analyzer.pipeline.presence import PresenceAnalyzer
from pose_analyzer.pipeline.recorder import SeriesRecorder
from pose_analyzer.synthetic import scene_for
from shared_utils import COCO_17, Angles, Frame, Poses


def _frame(index: int, timestamp_s: float) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), index=index, timestamp_s=timestamp_s)


def test_a_person_enters_once_and_leaves_after_the_set_time():
    presence = PresenceAnalyzer("cam", leave_s=1.0)
    seen = {0.0: [1], 0.5: [], 0.9: [1], 1.5: [], 2.0: []}
    events = [e for i, (t, ids) in enumerate(seen.items()) for e in presence.update(ids, _frame(i, t))]
    assert [(e.type.value, e.start_s, e.end_s) for e in events] == [("person_entered", 0.0, 0.0), ("person_left", 0.0, 0.9)]


def test_a_person_who_returns_enters_again():
    presence = PresenceAnalyzer("cam", leave_s=0.5)
    events = [e.type.value for i, ids in enumerate([[1], [], [1]]) for e in presence.update(ids, _frame(i, float(i)))]
    assert events == ["person_entered", "person_left", "person_entered"]


def test_recorder_keeps_one_row_per_person_and_frame():
    recorder = SeriesRecorder()
    poses = Poses(
        boxes_xyxy=np.array([[0, 0, 1, 1], [2, 2, 3, 3.0]]),
        scores=np.array([0.5, 0.9]),
        keypoints_xy=np.arange(2 * 17 * 2).reshape(2, 17, 2),
        keypoint_confidence=np.ones((2, 17)),
        skeleton=COCO_17,
        track_ids=np.array([4, 9]),
    )
    angles = Angles(("left_knee_flexion_deg",), poses.track_ids, np.array([[10.0], [np.nan]]))
    recorder.add(_frame(3, 0.1), poses, angles, [(1, "down", 10.0), (0, "", float("nan"))])
    series = recorder.series()
    assert len(series) == 2
    assert series["track_id"].tolist() == [4, 9]
    assert series["nose_x_px"].tolist() == [0.0, 34.0]
    assert series["nose_y_px"].tolist() == [1.0, 35.0]
    assert series["phase"].tolist() == ["down", ""]
    np.testing.assert_array_equal(series["left_knee_flexion_deg"], [10.0, np.nan])


def test_nothing_recorded_is_an_empty_series():
    assert len(SeriesRecorder().series()) == 0


def test_every_angle_has_a_column_for_its_error_whether_it_is_known_or_not():
    names = ("left_knee_flexion_deg", "trunk_lean_3d_deg")
    poses = Poses(
        boxes_xyxy=np.zeros((1, 4)), scores=np.ones(1), keypoints_xy=np.ones((1, 17, 2)), keypoint_confidence=np.ones((1, 17)),
        skeleton=COCO_17, track_ids=np.array([1]),
    )  # fmt: skip
    value = np.array([[10.0, 20.0]])
    recorder = SeriesRecorder()
    recorder.add(_frame(0, 0.0), poses, Angles(names, poses.track_ids, value), [(0, "", 0.0)])
    recorder.add(_frame(1, 0.1), poses, Angles(names, poses.track_ids, value, np.array([[2.5, np.nan]])), [(0, "", 0.0)])
    series = recorder.series()
    np.testing.assert_array_equal(series["left_knee_flexion_sigma_deg"], np.array([np.nan, 2.5], np.float32))
    np.testing.assert_array_equal(series["trunk_lean_3d_sigma_deg"], [np.nan, np.nan])
    assert series["trunk_lean_3d_sigma_deg"].dtype == np.float32


def test_errors_in_space_and_lifted_angles_are_those_of_the_full_measurement():
    scene = scene_for("squat", azimuth_deg=45, reps=1, width=96, height=96, fps=30)
    recorder, expected = SeriesRecorder(), []
    for i in range(270):  # more than are measured at once
        poses = scene.truth_at(i % len(scene)).poses().replace(keypoint_confidence=np.ones((1, 33)))
        recorder.add(_frame(i, i / 30), poses, joint_angles(poses, timestamp_s=i / 30), [(0, "", 0.0)])
        if i % 90 == 0:
            expected.append(measure_angles(poses, timestamp_s=i / 30))
    series = recorder.series()
    assert len(series) == len(series["left_knee_flexion_lifted_deg"]) == 270
    for i, angles in zip(range(0, 270, 90), expected, strict=True):
        for name in ("left_knee_flexion_lifted_deg", "right_hip_flexion_lifted_deg"):
            column = angles.names.index(name)
            assert series[name][i] == pytest.approx(angles.value_deg[0, column], abs=1e-6)
            assert series[name.replace("_deg", "_sigma_deg")][i] == pytest.approx(angles.sigma_deg[0, column], rel=1e-5)
        column = angles.names.index("left_elbow_flexion_3d_deg")
        assert series["left_elbow_flexion_3d_sigma_deg"][i] == pytest.approx(angles.sigma_deg[0, column], rel=1e-5)


def test_without_errors_nothing_is_measured_beside_what_came():
    recorder = SeriesRecorder(errors=False)
    poses = scene_for("squat", reps=1, width=96, height=96).truth_at(0).poses()
    recorder.add(_frame(0, 0.0), poses, joint_angles(poses, timestamp_s=0.0), [(0, "", 0.0)])
    assert not [name for name in recorder.series().columns if "lifted" in name]

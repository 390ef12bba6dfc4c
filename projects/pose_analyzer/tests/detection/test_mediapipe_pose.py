from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pose_analyzer.detection import mediapipe_pose
from pose_analyzer.detection.mediapipe_pose import MediaPipePoseDetector
from pose_analyzer.errors import DetectorError
from pose_analyzer.synthetic import scene_for

BLACK = np.zeros((120, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def athlete() -> np.ndarray:
    return scene_for("squat", azimuth_deg=30, reps=1).frame_at(0)[0].image


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "cuda"}, "CPU only"),
        ({"max_people": 0}, "max_people"),
        ({"min_detection_confidence": 1.5}, "min_detection_confidence"),
        ({"min_tracking_confidence": -0.1}, "min_tracking_confidence"),
        ({"model_complexity": 3}, "0, 1 or 2"),
    ],
)
def test_an_argument_out_of_range_is_named(options, words):
    with pytest.raises(DetectorError, match=words):
        MediaPipePoseDetector(**options)


@pytest.mark.parametrize("complexity", [0, 2])
def test_weights_that_mediapipe_would_download_are_refused(complexity):
    import mediapipe

    size = {0: "lite", 2: "heavy"}[complexity]
    if (Path(mediapipe.__file__).parent / f"modules/pose_landmark/pose_landmark_{size}.tflite").exists():
        pytest.skip("this wheel holds the weights")
    with pytest.raises(DetectorError, match=f"blazepose_landmark_{size}.*model_complexity=1"):
        MediaPipePoseDetector(model_complexity=complexity)


def test_weights_that_somebody_added_to_the_wheel_are_used(tmp_path):
    for name in ("pose_detection/pose_detection", "pose_landmark/pose_landmark_heavy"):
        file = tmp_path / f"{name}.tflite"
        file.parent.mkdir()
        file.write_bytes(name.encode())
    found = mediapipe_pose._hash_weights(tmp_path, 2)
    assert found["blazepose_landmark_heavy"] == hashlib.sha256(b"pose_landmark/pose_landmark_heavy").hexdigest()


def test_several_people_may_be_asked_for():
    with MediaPipePoseDetector(max_people=6) as detector:
        assert len(detector.detect([BLACK])[0]) == 0


def test_there_are_world_landmarks_in_metres_and_presence(athlete):
    with MediaPipePoseDetector() as detector:
        [poses] = detector.detect([athlete])
    world = poses.world_xyz_m[0]
    hips = world[[poses.skeleton.index("left_hip"), poses.skeleton.index("right_hip")]]
    np.testing.assert_allclose(hips.mean(0), 0, atol=0.02)  # the origin
    shank = world[poses.skeleton.index("left_knee")] - world[poses.skeleton.index("left_ankle")]
    assert 0.25 < np.linalg.norm(shank) < 0.55
    assert poses.keypoint_presence.min() > 0.5


def test_landmarks_are_those_of_the_library(athlete):
    from mediapipe.python.solutions import pose

    with pose.Pose(static_image_mode=True) as library, MediaPipePoseDetector() as detector:
        expected = library.process(athlete).pose_landmarks.landmark
        [poses] = detector.detect([athlete])
    height, width = athlete.shape[:2]
    np.testing.assert_allclose(poses.keypoints_xy[0], [(m.x * width, m.y * height) for m in expected], atol=0.05)
    np.testing.assert_allclose(poses.keypoint_confidence[0], [m.visibility for m in expected], atol=1e-3)


def test_the_box_stays_inside_the_image(athlete):
    legs_cut = athlete[:300]
    with MediaPipePoseDetector() as detector:
        [poses] = detector.detect([legs_cut])
    x1, y1, x2, y2 = poses.boxes_xyxy[0]
    assert 0 <= x1 < x2 <= legs_cut.shape[1]
    assert 0 <= y1 < y2 <= 300
    assert poses.keypoints_xy[0, :, 1].max() > 300  # the feet are still guessed at, outside


def test_nothing_is_written_to_standard_error_but_what_is_not_noise():
    program = """
import os, sys
import numpy as np
from pose_analyzer.detection import mediapipe_pose
with mediapipe_pose.MediaPipePoseDetector() as detector:
    detector.detect([np.zeros((64, 64, 3), np.uint8)])
    detector.detect([np.zeros((64, 64, 3), np.uint8)], stream_ids=["a"])
with mediapipe_pose._without_startup_noise():
    os.write(2, b"E0000 graph.cc:1] something is really wrong\\n")
    os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
    print("and python too", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "E0000 graph.cc:1] something is really wrong\nand python too\n"


def test_a_failing_graph_costs_one_image():
    detector = MediaPipePoseDetector()
    detector.detect([BLACK], stream_ids=["s"])
    detector._streams["s"]._graph.close()  # what is left of a graph after an error inside it
    with pytest.raises(DetectorError, match="MediaPipe failed on an image of 160x120"):
        detector.detect([BLACK], stream_ids=["s"])
    assert len(detector.detect([BLACK], stream_ids=["s"])) == 1
    detector.close()


def test_importing_the_module_does_not_import_mediapipe():
    program = "import sys, pose_analyzer.detection.mediapipe_pose; sys.exit('mediapipe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

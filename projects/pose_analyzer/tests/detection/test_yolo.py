from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_analyzer.detection import yolo
from pose_analyzer.detection.yolo import YOLOPoseDetector
from pose_analyzer.errors import DetectorError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[4] / "../shared/data"))
FOLDER = DATA / "models/yolov8n_pose_int8_openvino"
COCO = DATA / "images/mmpose/coco"
SURE_OF_ALL = {"min_score": 0.0, "image_size": 64, "max_people": 3}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Networks with random weights: their numbers mean nothing, their plumbing is that of trained ones."""
    folder = tmp_path_factory.mktemp("weights")
    with yolo._contained():
        import torch
        from ultralytics import YOLO

        torch.manual_seed(0)
        for name in ("yolov8n-pose", "yolov8n"):
            YOLO(f"{name}.yaml").save(folder / f"{name}.pt")
        exported = YOLO(folder / "yolov8n-pose.pt").export(format="onnx", imgsz=64, dynamic=False, batch=2, simplify=False, verbose=False)
    Path(exported).rename(folder / "batch2.onnx")
    return folder


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, shape, np.uint8) for shape in ((64, 64, 3), (64, 48, 3), (64, 64, 3), (64, 64, 3), (64, 48, 3))]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("yolo11n-pose", "pose-analyzer models fetch yolo11n-pose .*AGPL-3.0"),  # a name
        ("yolo11n-pose.pt", "pose-analyzer models fetch yolo11n-pose .*AGPL-3.0"),  # a file name
        ("some/folder/yolo26s-pose.pt", "pose-analyzer models fetch yolo26s-pose.*AGPL-3.0"),  # a path
        ("some/folder/mine.onnx", "no YOLO weights at .*pose-analyzer models fetch yolo11n-pose"),  # somebody's own
        ("https://example.org/yolo11n-pose.pt", "no YOLO weights at"),  # never downloaded
        ("yolo11n-poes", "did you mean yolo11n-pose"),
    ],
)
def test_missing_weights_say_how_to_get_them(model, words, monkeypatch, tmp_path):
    monkeypatch.setenv("POSE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DetectorError, match=words):
        YOLOPoseDetector(model)


def test_missing_weights_are_noticed_before_ultralytics_is_loaded():
    program = """
import sys
from pose_analyzer.detection.yolo import YOLOPoseDetector
try:
    YOLOPoseDetector("nowhere/yolo11n-pose.pt")
except Exception:
    sys.exit("ultralytics" in sys.modules or "torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_score": 1.1}, "min_score"),
        ({"iou": -0.1}, "iou"),
        ({"min_keypoint_confidence": 2}, "min_keypoint_confidence"),
        ({"max_people": 0}, "max_people"),
        ({"image_size": 8}, "image_size"),
    ],
)
def test_an_argument_out_of_range_is_named(options, words):
    with pytest.raises(DetectorError, match=words):
        YOLOPoseDetector(**options)


def test_a_damaged_file_is_refused(tmp_path):
    damaged = tmp_path / "mine.pt"
    damaged.write_bytes(b"not a network")
    with pytest.raises(DetectorError, match=r"cannot load .*mine\.pt"):
        YOLOPoseDetector(damaged)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "mine.tflite").write_bytes(b"x")
    with pytest.raises(DetectorError, match=r"mine\.tflite is no YOLO model"):
        YOLOPoseDetector(tmp_path / "mine.tflite")
    with pytest.raises(DetectorError, match=r"is no OpenVINO model.*one \.xml and its \.bin"):
        YOLOPoseDetector(tmp_path)


def test_code_inside_a_checkpoint_is_not_run(tmp_path):
    import torch

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"model": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(DetectorError, match="cannot load"):
        YOLOPoseDetector(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_detection_model_is_refused(weights):
    with pytest.raises(DetectorError, match="detect model without keypoints"):
        YOLOPoseDetector(weights / "yolov8n.pt")


def test_an_absent_accelerator_is_an_error_that_lists_what_is_there(weights, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1", "tpu"):
        with pytest.raises(DetectorError, match=rf"device '{device}' is not usable .*cpu"):
            YOLOPoseDetector(weights / "yolov8n-pose.pt", device=device)


def test_auto_takes_the_first_that_fits_the_format(monkeypatch):
    import onnxruntime
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert yolo._choose_device("auto", Path("a.pt")) == "cuda:0"
    assert yolo._choose_device("cuda:1", Path("a.pt")) == "cuda:1"
    assert yolo._choose_device("auto", Path("a.onnx")) == "cpu"  # this onnxruntime has no CUDA
    with pytest.raises(DetectorError, match=r"ONNX model.*usable: cpu, auto"):
        yolo._choose_device("cuda", Path("a.onnx"))


def test_the_number_of_keypoints_must_be_that_of_the_skeleton(weights):
    assert YOLOPoseDetector(weights / "yolov8n-pose.pt", image_size=64).skeleton == COCO_17
    with pytest.raises(DetectorError, match="gives 17 keypoints, but skeleton blazepose_33 has 33"):
        YOLOPoseDetector(weights / "yolov8n-pose.pt", image_size=64, skeleton=BLAZEPOSE_33)


def test_at_most_max_people_come_back_the_surest_first(weights, images):
    with YOLOPoseDetector(weights / "yolov8n-pose.pt", **SURE_OF_ALL) as few:
        [poses] = few.detect(images[:1])
    with YOLOPoseDetector(weights / "yolov8n-pose.pt", **{**SURE_OF_ALL, "max_people": 50}) as many:
        [all_of_them] = many.detect(images[:1])
    assert len(poses) == 3 < len(all_of_them)
    np.testing.assert_allclose(poses.scores, np.sort(all_of_them.scores)[::-1][:3], rtol=1e-5)


def test_unsure_keypoints_become_missing(weights, images):
    with YOLOPoseDetector(weights / "yolov8n-pose.pt", **SURE_OF_ALL) as detector:
        [kept] = detector.detect(images[:1])
    limit = float(np.median(kept.keypoint_confidence))
    with YOLOPoseDetector(weights / "yolov8n-pose.pt", **SURE_OF_ALL, min_keypoint_confidence=limit) as detector:
        [poses] = detector.detect(images[:1])
    np.testing.assert_array_equal(np.isnan(poses.keypoints_xy[..., 0]), kept.keypoint_confidence < limit)
    assert (poses.keypoint_confidence[kept.keypoint_confidence < limit] == 0).all()


@pytest.mark.parametrize("file", ["yolov8n-pose.pt", "batch2.onnx"])
def test_a_batch_gives_what_single_images_give(weights, images, file):
    with YOLOPoseDetector(weights / file, **SURE_OF_ALL) as detector:
        together = detector.detect(images)
        alone = [detector.detect([image])[0] for image in images]
    for poses, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(poses.boxes_xyxy, expected.boxes_xyxy, atol=0.05)
        np.testing.assert_allclose(poses.keypoints_xy, expected.keypoints_xy, atol=0.05)


def test_an_onnx_export_gives_what_its_checkpoint_gives(weights, images):
    square = [image for image in images if image.shape == (64, 64, 3)]
    with YOLOPoseDetector(weights / "yolov8n-pose.pt", **SURE_OF_ALL) as checkpoint:
        expected = checkpoint.detect(square)
    with YOLOPoseDetector(weights / "batch2.onnx", **SURE_OF_ALL) as exported:
        found = exported.detect(square)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.keypoints_xy, b.keypoints_xy, atol=0.1)


def test_the_network_sees_rgb(weights):
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    with YOLOPoseDetector(weights / "yolov8n-pose.pt", **SURE_OF_ALL) as detector:
        seen = []
        hook = detector._network.predictor.model.backend.model.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
        detector.detect([red])
        hook.remove()
    np.testing.assert_allclose(seen[0][0].mean((1, 2)).numpy(), [1, 0, 0], atol=1e-6)


def test_models_hold_the_hash_of_the_file(weights):
    file = weights / "yolov8n-pose.pt"
    with YOLOPoseDetector(file, image_size=64) as detector:
        assert dict(detector.models) == {"yolov8n-pose.pt": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_building_one_leaves_the_process_as_it_was(weights):
    program = f"""
import os
import cv2, numpy as np
before = dict(os.environ), cv2.getNumThreads(), np.get_printoptions()
from pose_analyzer.detection.yolo import YOLOPoseDetector
YOLOPoseDetector({str(weights / "yolov8n-pose.pt")!r}, image_size=64)
assert (dict(os.environ), cv2.getNumThreads(), np.get_printoptions()) == before
from ultralytics.utils import AUTOINSTALL, ONLINE, events
assert not AUTOINSTALL and not ONLINE and not events.events.enabled
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.fixture(scope="module")
def trained() -> YOLOPoseDetector:
    if not FOLDER.exists():
        pytest.skip(f"needs the YOLO weights at {FOLDER}")
    return YOLOPoseDetector(FOLDER)


@pytest.mark.footage
def test_an_openvino_folder_runs_whatever_its_name(trained):
    assert trained.device == "cpu"
    digest = hashlib.sha256((FOLDER / "yolov8n-pose.bin").read_bytes()).hexdigest()
    assert dict(trained.models) == {FOLDER.name: digest}


@pytest.mark.footage
def test_everybody_in_a_crowd_is_found(trained):
    picture = cv2.imread(str(COCO / "000000197388.jpg"))[..., ::-1]
    truth = [a for a in json.loads((COCO / "test_coco.json").read_text())["annotations"] if a["image_id"] == 197388]
    [poses] = trained.detect([picture])
    assert len(poses) == len(truth) == 5
    for annotation in truth:
        marked = np.array(annotation["keypoints"], float).reshape(17, 3)
        labelled = marked[:, 2] > 0
        # Most of one person is hidden behind another: half of the marks within 15 % of the body, not all.
        distance = np.linalg.norm(poses.keypoints_xy[:, labelled] - marked[labelled, :2], axis=-1)
        assert np.median(distance, axis=1).min() < 0.15 * np.sqrt(annotation["bbox"][2] * annotation["bbox"][3])


@pytest.mark.footage
def test_an_openvino_folder_does_not_run_on_cuda():
    if not FOLDER.exists():
        pytest.skip(f"needs the YOLO weights at {FOLDER}")
    with pytest.raises(DetectorError, match=r"OpenVINO model.*usable: cpu"):
        YOLOPoseDetector(FOLDER, device="cuda")

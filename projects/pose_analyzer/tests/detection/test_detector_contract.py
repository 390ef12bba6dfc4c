"""What every pose detector promises, tried on all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_analyzer.detection import MultiScaleDetector, PoseDetector, create_detector
from pose_analyzer.errors import DetectorError
from pose_analyzer.synthetic import Truth, scene_for
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[4] / "../shared/data"))
YOLO_FOLDER = DATA / "models/yolov8n_pose_int8_openvino"
COCO = DATA / "images/mmpose/coco"
BLACK = np.zeros((240, 320, 3), np.uint8)


def _yolo() -> PoseDetector:
    if not YOLO_FOLDER.exists():
        pytest.skip(f"needs the YOLO weights at {YOLO_FOLDER}")
    return create_detector("yolo", model=YOLO_FOLDER)


BUILDERS = {
    "blazepose": lambda: create_detector("blazepose", threads=1),
    "multi-scale": lambda: MultiScaleDetector(create_detector("blazepose", threads=1)),
    "mediapipe": lambda: create_detector("mediapipe"),
    "yolo": _yolo,
}
EVERY_DETECTOR = [
    pytest.param("blazepose", id="blazepose"),
    pytest.param("multi-scale", id="multi-scale"),
    pytest.param("mediapipe", id="mediapipe"),
    pytest.param("yolo", id="yolo", marks=pytest.mark.footage),
]


@pytest.fixture(scope="module", params=EVERY_DETECTOR)
def detector(request: pytest.FixtureRequest) -> Iterator[PoseDetector]:
    built = BUILDERS[request.param]()
    yield built
    built.close()


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, Truth]:
    frame, truth = scene_for("squat", azimuth_deg=30, reps=1).frame_at(0)
    return frame.image, truth


@pytest.fixture(scope="module")
def athlete(scene) -> np.ndarray:
    return scene[0]


def _same(a: Poses, b: Poses, tolerance_px: float = 0.5) -> bool:
    return len(a) == len(b) and np.allclose(a.keypoints_xy, b.keypoints_xy, atol=tolerance_px, equal_nan=True)


def _oks(poses: Poses, annotation: dict) -> np.ndarray:
    """(n,) object keypoint similarity with one COCO annotation, by the evaluation's definition."""
    truth = np.array(annotation["keypoints"], float).reshape(17, 3)
    labelled = truth[:, 2] > 0
    found = poses.to_skeleton(COCO_17).keypoints_xy[:, labelled]
    squared = ((found - truth[labelled, :2]) ** 2).sum(-1)
    variance = (2 * COCO_17.oks_sigmas[labelled]) ** 2
    return np.nan_to_num(np.exp(-squared / (2 * annotation["area"] * variance))).mean(1)


def test_it_has_the_members_of_the_protocol(detector):
    assert isinstance(detector, PoseDetector)


def test_the_weights_are_named_with_their_sha256(detector):
    assert detector.models
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in detector.models.values())


def test_an_empty_batch_gives_an_empty_list(detector):
    assert detector.detect([]) == []
    assert detector.detect([], stream_ids=[]) == []


def test_one_result_per_image_whatever_the_sizes(detector):
    images = [BLACK, np.zeros((100, 50, 3), np.uint8), BLACK, np.full((64, 300, 3), 128, np.uint8)]
    assert len(detector.detect(images)) == 4


def test_nobody_in_a_black_image(detector):
    [poses] = detector.detect([BLACK])
    assert len(poses) == 0
    assert poses.skeleton == detector.skeleton


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64, 3), np.float32),  # floats
        np.zeros((64, 64), np.uint8),  # grey
        np.zeros((64, 64, 4), np.uint8),  # with alpha
        np.zeros((3, 64, 64), np.uint8),  # channels first
        "image.jpg",  # a path
    ],
)
def test_what_is_not_an_rgb_image_is_refused_and_does_no_harm(detector, image):
    with pytest.raises(DetectorError, match="image 1 must be"):
        detector.detect([BLACK, image])
    assert len(detector.detect([BLACK])) == 1


def test_a_wrong_number_of_stream_ids_is_refused(detector):
    with pytest.raises(DetectorError, match="stream_ids"):
        detector.detect([BLACK], stream_ids=["a", "b"])


def test_forgetting_an_unknown_stream_is_fine(detector):
    detector.forget("never seen")


def test_keypoints_lie_where_the_joints_of_the_test_athlete_are(detector, scene):
    image, truth = scene
    joints = Poses(
        boxes_xyxy=truth.boxes_xyxy,
        scores=np.ones(1),
        keypoints_xy=truth.joints_xy,
        keypoint_confidence=np.ones((1, 33)),
        skeleton=BLAZEPOSE_33,
    )
    [poses] = detector.detect([image])
    assert len(poses) == 1
    limbs = slice(5, 17)  # shoulders to ankles; what a face point is differs between annotators
    error_px = np.linalg.norm((poses.to_skeleton(COCO_17).keypoints_xy - joints.to_skeleton(COCO_17).keypoints_xy)[0, limbs], axis=-1)
    height_px = truth.boxes_xyxy[0, 3] - truth.boxes_xyxy[0, 1]
    assert np.median(error_px) < 0.03 * height_px
    assert error_px.max() < 0.08 * height_px


@pytest.mark.footage
def test_keypoints_lie_where_people_marked_them(detector):
    if not COCO.exists():
        pytest.skip(f"needs the pictures at {COCO}")
    picture = cv2.imread(str(COCO / "000000000785.jpg"))[..., ::-1]
    [annotation] = [a for a in json.loads((COCO / "test_coco.json").read_text())["annotations"] if a["image_id"] == 785]
    [poses] = detector.detect([picture])
    assert len(poses) == 1
    assert _oks(poses, annotation)[0] > 0.75
    x, y, w, h = annotation["bbox"]
    centre = poses.boxes_xyxy[0].reshape(2, 2).mean(0)
    assert x < centre[0] < x + w
    assert y < centre[1] < y + h


def test_a_mirrored_view_without_a_copy_gives_mirrored_people(detector, athlete):
    [straight] = detector.detect([athlete])
    mirrored = athlete[:, ::-1]
    assert not mirrored.flags.c_contiguous
    [poses] = detector.detect([mirrored])
    [copied] = detector.detect([mirrored.copy()])
    assert _same(poses, copied, 1e-3)
    back = athlete.shape[1] - 1 - poses.keypoint("left_hip")[0, 0]
    assert abs(back - straight.keypoint("right_hip")[0, 0]) < 12


def test_images_of_a_batch_do_not_change_one_another(detector, athlete):
    small = np.ascontiguousarray(athlete[::2, ::2])
    alone = [detector.detect([image])[0] for image in (athlete, small, BLACK)]
    together = detector.detect([BLACK, athlete, small, athlete])
    for poses, expected in zip(together, (alone[2], alone[0], alone[1], alone[0]), strict=True):
        assert _same(poses, expected)


def test_still_images_carry_nothing_over(detector, athlete):
    [first] = detector.detect([athlete])
    assert len(detector.detect([BLACK])[0]) == 0
    [again] = detector.detect([athlete])
    assert _same(first, again, 1e-3)


def test_streams_do_not_mix(detector, athlete):
    alone = [detector.detect([image], stream_ids=["alone"])[0] for image in (athlete, athlete, athlete)]
    mixed = [detector.detect([image, BLACK], stream_ids=["one", "two"]) for image in (athlete, athlete, athlete)]
    for expected, (one, two) in zip(alone, mixed, strict=True):
        assert _same(one, expected)
        assert len(two) == 0
    for stream_id in ("alone", "one", "two"):
        detector.forget(stream_id)


def test_a_forgotten_stream_starts_anew(detector, athlete):
    first = detector.detect([athlete], stream_ids=["s"])[0]
    detector.detect([athlete], stream_ids=["s"])
    detector.forget("s")
    assert _same(detector.detect([athlete], stream_ids=["s"])[0], first, 1e-3)
    detector.forget("s")


def test_a_missing_keypoint_has_no_confidence_and_the_rest_are_inside_the_range(detector, athlete):
    for poses in detector.detect([athlete, athlete[:230]]):
        missing = np.isnan(poses.keypoints_xy).any(-1)
        assert (poses.keypoint_confidence[missing] == 0).all()
        assert ((poses.scores > 0) & (poses.scores <= 1)).all()
        assert (poses.track_ids == -1).all()


@pytest.mark.parametrize("name", EVERY_DETECTOR)
def test_closing_twice_is_fine_and_a_closed_detector_says_so(name):
    built = BUILDERS[name]()
    built.close()
    built.close()
    with pytest.raises(DetectorError, match="closed"):
        built.detect([BLACK])

"""Looks of people and motion of the camera, on pictures whose truth is known."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_analyzer.synthetic import scene_for
from pose_analyzer.tracking.appearance import BodyColours
from pose_analyzer.tracking.camera_motion import CameraMotion
from pose_analyzer.tracking.reentry import Gallery
from shared_utils.data_models import Poses
from shared_utils.errors import ModelError
from shared_utils.skeletons import BLAZEPOSE_33

MODEL = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[4] / "../shared/data")) / "models/osnet_x0_25_msmt17.onnx"


# --- looks ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def athletes():
    """Six people, each twice: another posture, another side, and for the second a darker picture."""
    pairs = []
    for seed in range(6):
        one, other = _person(seed, 0, 25, 1.0), _person(seed, 20, 60, 0.6)
        pairs.append((one, other))
    return pairs


def _person(seed, index, azimuth_deg, light):
    from dataclasses import replace

    from pose_analyzer.synthetic import Scene, random_body

    spec = scene_for("squat", reps=1, width=320, height=240, azimuth_deg=azimuth_deg, fps=15).spec
    athlete = replace(spec.athletes[0], body=random_body(seed))
    scene = Scene(replace(spec, athletes=(athlete,)))
    frame, truth = scene.frame_at(index)
    poses = Poses(
        boxes_xyxy=truth.boxes_xyxy.astype(np.float32),
        scores=np.ones(1, np.float32),
        keypoints_xy=truth.joints_xy.astype(np.float32),
        keypoint_confidence=np.ones((1, 33), np.float32),
        skeleton=BLAZEPOSE_33,
    )
    return (frame.image * light).astype(np.uint8), poses


def test_colours_find_the_same_person_in_another_posture_from_another_side_in_less_light(athletes):
    colours = BodyColours()
    first = np.concatenate([colours.describe(*one) for one, _ in athletes])
    second = np.concatenate([colours.describe(*other) for _, other in athletes])
    similarity = first @ second.T
    assert similarity.argmax(1).tolist() == list(range(6))
    assert np.diag(similarity).min() > 0.75


def test_looks_have_unit_length_and_nobody_is_described_by_what_is_not_seen(athletes):
    image, poses = athletes[0][0]
    colours = BodyColours()
    assert np.linalg.norm(colours.describe(image, poses), axis=1) == pytest.approx(1)
    unseen = poses.replace(keypoints_xy=np.full_like(poses.keypoints_xy, np.nan), keypoint_confidence=np.zeros((1, 33), np.float32))
    outside = poses.replace(keypoints_xy=poses.keypoints_xy + np.float32(5000))
    for nobody in (unseen, outside):
        assert np.isnan(colours.describe(image, nobody)).all()
    assert colours.describe(image, poses[[]]).shape == (0, colours.size)


@pytest.mark.footage
def test_both_runtimes_give_the_same_vectors_and_tell_people_apart(athletes):
    from pose_analyzer.tracking.reid import ReidNetwork

    if not MODEL.exists():
        pytest.skip(f"needs the network {MODEL}")
    one, other = ReidNetwork(MODEL, runtime="openvino", threads=1), ReidNetwork(MODEL, runtime="onnxruntime", threads=1)
    looks = [np.concatenate([network.describe(*view) for view, _ in athletes]) for network in (one, other)]
    assert looks[0].shape == (6, 512)
    np.testing.assert_allclose(looks[0], looks[1], atol=1e-4)
    second = np.concatenate([one.describe(*view) for _, view in athletes])
    similarity = looks[0] @ second.T
    assert np.diag(similarity).mean() > similarity[~np.eye(6, dtype=bool)].mean() + 0.1


def test_a_file_that_is_no_network_is_named(tmp_path):
    from pose_analyzer.tracking.reid import ReidNetwork

    file = tmp_path / "broken.onnx"
    file.write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"cannot load .*broken\.onnx"):
        ReidNetwork(file)


def test_nobody_is_recognised_by_looks_that_two_people_share():
    gallery = Gallery(keep_s=30, min_similarity=0.8, min_margin=0.05)
    look = np.array([1.0, 0.0])
    near = np.array([np.cos(0.1), np.sin(0.1)])
    gallery.add(np.array([1]), look[None], np.array([0.0]))
    assert gallery.recognise(look, near[None], 5.0) is None
    found = gallery.recognise(look, np.array([[0.0, 1.0]]), 5.0)
    assert found is not None
    assert (found.track_id, found.away_s, found.margin) == (1, 5.0, 1.0)
    gallery.forget_old(31.0)
    assert len(gallery) == 0


# --- the camera -----------------------------------------------------------------------------------
def _room() -> np.ndarray:
    rng = np.random.default_rng(3)
    return cv2.GaussianBlur(
        cv2.resize(rng.integers(0, 255, (60, 100, 3), np.uint8), (1000, 600), interpolation=cv2.INTER_NEAREST), (0, 0), 2
    )


@pytest.mark.parametrize("method", ["sparseOptFlow", "orb", "sift", "ecc"])
@pytest.mark.parametrize(("turn_deg", "scale", "shift"), [(0.0, 1.0, (-9.0, 4.0)), (1.5, 1.0, (5.0, 0.0)), (0.0, 1.0, (0.0, 0.0))])
def test_a_known_motion_of_the_camera_is_found(method, turn_deg, scale, shift):
    room = _room()
    true = cv2.getRotationMatrix2D((320, 180), turn_deg, scale) + np.array([[0, 0, shift[0]], [0, 0, shift[1]]])
    wide = cv2.warpAffine(room, true @ np.array([[1, 0, -150], [0, 1, -100], [0, 0, 1]]), (640, 360))
    still = cv2.warpAffine(room, np.array([[1.0, 0, -150], [0, 1, -100]]), (640, 360))
    person = np.array([[250, 60, 390, 340]])
    for picture, at in ((still, 255), (wide, 0)):
        cv2.rectangle(picture, (250, 60), (390, 340), (at, at, at), -1)
    camera = CameraMotion(method)
    assert camera.update(still, person).tolist() == [[1, 0, 0], [0, 1, 0]]
    found = camera.update(wide, person)
    corners = np.array([[0, 0, 1], [640, 0, 1], [0, 360, 1], [640, 360, 1]])
    # ECC sees the whole picture of one side, the person's sudden change of colour included.
    assert np.abs(corners @ (found - true).T).max() < (4.0 if method == "ecc" else 2.0)


@pytest.mark.parametrize("method", ["sparseOptFlow", "orb", "sift", "ecc"])
def test_pictures_without_anything_to_see_or_of_another_size_move_nothing(method):
    camera, nobody = CameraMotion(method), np.zeros((0, 4))
    grey = np.full((120, 160, 3), 128, np.uint8)
    for picture in (grey, grey, _room()[:240, :320], _room()[:240, :320] * 0):
        assert np.isfinite(camera.update(picture, nobody)).all()
    assert camera.update(np.full((90, 120, 3), 9, np.uint8), nobody).tolist() == [[1, 0, 0], [0, 1, 0]]

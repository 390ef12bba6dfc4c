"""Several looks at one person: what mirrored looks give is put back, and the middle of looks is what it says."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from pose_analyzer.detection.blazepose import BlazePoseDetector
from pose_analyzer.detection.blazepose.decode import LANDMARK_PX, Landmarks
from pose_analyzer.detection.blazepose.looks import LOOKS, Look, middle, mirrored_back
from pose_analyzer.detection.blazepose.regions import Region
from pose_analyzer.detection.factory import create_detector
from pose_analyzer.errors import DetectorError
from pose_analyzer.pipeline.stream import make_detector
from pose_analyzer.settings import load_pose_settings
from pose_analyzer.synthetic import scene_for
from shared_utils.data_models import Poses
from shared_utils.errors import ConfigError
from shared_utils.skeletons import BLAZEPOSE_33

_WRISTS = BLAZEPOSE_33.indices(["left_wrist", "right_wrist"])


def _landmarks(seed: int = 0, **changes: object) -> Landmarks:
    random = np.random.default_rng(seed)
    values = {
        "score": 0.9,
        "xy_px": random.uniform(0.1, 0.9, (33, 2)),
        "visibility": random.uniform(0, 1, 33).astype(np.float32),
        "presence": random.uniform(0, 1, 33).astype(np.float32),
        "world_xyz_m": random.normal(size=(33, 3)),
        "span_px": (0.0, 0.0, 1.0, 1.0),
    }
    return Landmarks(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("turn", [0.0, 0.7, -2.5])
def test_a_point_of_the_mirror_image_comes_back_to_its_pixel_and_its_side(turn):
    region = Region(320.0, 240.0, 256.0, turn)
    column, row = 40, 90
    found = _landmarks()
    found.xy_px[_WRISTS[0]] = column / LANDMARK_PX, row / LANDMARK_PX
    back = mirrored_back(found, region)
    # Pixel `column` of the mirrored picture was pixel 255 - column of the region.
    there = region.to_image(np.array([(LANDMARK_PX - 1 - column) / LANDMARK_PX, row / LANDMARK_PX]))
    assert back.xy_px[_WRISTS[1]] == pytest.approx(there)
    assert back.visibility[_WRISTS[1]] == found.visibility[_WRISTS[0]]
    x, y, z = found.world_xyz_m[_WRISTS[0]]
    cos, sin = math.cos(turn), math.sin(turn)
    assert back.world_xyz_m[_WRISTS[1]] == pytest.approx([-x * cos - y * sin, -x * sin + y * cos, z])


def test_the_middle_is_of_each_coordinate_and_the_way_on_is_the_first_looks():
    looks = [_landmarks(seed, score=0.9 - 0.1 * seed) for seed in range(4)]
    found = middle(looks)
    ordered = np.sort([f.xy_px for f in looks], axis=0)
    assert found.xy_px == pytest.approx((ordered[1] + ordered[2]) / 2)
    assert (found.score, found.span_px) == (0.9, looks[0].span_px)
    assert middle(looks[:1]) is looks[0]


def test_a_landmark_that_one_look_misses_is_missing():
    looks = [_landmarks(seed) for seed in range(2)]
    looks[1].xy_px[7] = math.nan
    found = middle(looks)
    assert np.isnan(found.xy_px[7]).all()
    assert np.isnan(found.world_xyz_m[7]).all()
    assert (found.visibility[7], found.presence[7]) == (0.0, 0.0)
    assert np.isfinite(np.delete(found.xy_px, 7, axis=0)).all()


def test_the_first_look_is_the_region_as_it_is_and_a_larger_one_has_its_centre():
    region = Region(10.0, 20.0, 30.0, 0.1)
    assert all(looks[0] == Look(False, 1.0) for looks in LOOKS.values())
    assert Look(False, 1.0).at(region) is region
    larger = Look(True, 2.0).at(region)
    assert (larger.x_px, larger.y_px, larger.size_px, larger.rotation_rad) == (10.0, 20.0, 60.0, 0.1)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    frame, _ = next(scene_for("squat", azimuth_deg=60, reps=1, fps=4, width=240, height=320).frames())
    return frame.image


@pytest.fixture(scope="module")
def twice() -> Iterator[BlazePoseDetector]:
    with create_detector("blazepose", max_people=2, threads=1, looks=2) as built:  # type: ignore[attr-defined]
        yield built


def _mirrored(poses: Poses, width_px: int) -> np.ndarray:
    xy = poses.keypoints_xy[:, BLAZEPOSE_33.flip_indices].astype(np.float64)
    return (width_px - 1, 0) + xy * (-1, 1)


def test_with_two_looks_a_mirrored_picture_gives_the_mirrored_person(twice, picture):
    """One look does not: the network knows one side better. What is left with two is where the person detector put the region."""
    width = picture.shape[1]
    with BlazePoseDetector(max_people=2, threads=1) as once:
        apart = []
        for detector in (once, twice):
            [plain], [turned] = detector.detect([picture]), detector.detect([np.ascontiguousarray(picture[:, ::-1])])
            apart.append(float(np.median(np.linalg.norm(plain.keypoints_xy - _mirrored(turned, width), axis=-1))))
    assert apart[1] < 0.6 * apart[0], apart


def test_people_are_followed_alike_however_often_one_looks(twice, picture):
    with BlazePoseDetector(max_people=2, threads=1) as once:
        [[one]], [[two]] = ([d.detect([picture], stream_ids=["s"])] for d in (once, twice))
    assert len(one) == len(two) == 1
    assert one.scores.tolist() == two.scores.tolist()
    assert not np.array_equal(one.keypoints_xy, two.keypoints_xy)
    assert np.abs(one.keypoints_xy - two.keypoints_xy)[:, BLAZEPOSE_33.indices(["left_knee", "right_hip"])].max() < 12


@pytest.mark.parametrize("looks", [0, 3, 8])
def test_another_number_of_looks_is_refused(looks):
    with pytest.raises(DetectorError, match="one of 1, 2, 4"):
        create_detector("blazepose", looks=looks)


def test_looks_belong_to_blazepose():
    settings = load_pose_settings(overrides={"detection.name": "mediapipe", "detection.looks": 2})
    with pytest.raises(ConfigError, match=r"detection\.looks"):
        make_detector(settings)

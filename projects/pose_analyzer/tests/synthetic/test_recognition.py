"""A pose network trained on people takes the athlete for one, from all sides that it knows."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.synthetic import scene_for
from shared_utils.skeletons import BLAZEPOSE_33

_LIMBS = BLAZEPOSE_33.indices([f"{s}_{p}" for s in ("left", "right") for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")])


@pytest.fixture(scope="module")
def network():
    mediapipe = pytest.importorskip("mediapipe")
    with mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1) as network:
        yield network


@pytest.mark.parametrize("azimuth", [0, 45, 90, 180])
@pytest.mark.parametrize("moment", ["standing", "bottom"])
def test_blazepose_recognises_a_squat(network, azimuth, moment):
    scene = scene_for("squat", azimuth_deg=azimuth, reps=1, seed=6, fps=10)
    index = 0 if moment == "standing" else int(scene.repetitions(1)[0].turn_s * 10)
    frame, truth = scene.frame_at(index)
    answer = network.process(frame.image).pose_landmarks
    assert answer is not None
    points = np.array([(p.x * frame.width, p.y * frame.height, p.visibility) for p in answer.landmark])
    seen = _LIMBS[truth.visible[0, _LIMBS]]
    assert np.median(points[seen, 2]) > 0.9
    stature = scene.athletes[0].lengths.height * truth.focal_px / truth.joints_camera_m[0, :, 2].mean()
    distance = np.linalg.norm(points[seen, :2] - truth.joints_xy[0, seen], axis=1) / stature
    assert np.median(distance) < 0.03

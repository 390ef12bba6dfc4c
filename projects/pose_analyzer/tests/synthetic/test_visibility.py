"""The rule of visibility on two spheres: own flesh may cover a joint up to its thickness, anything else not at all."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.synthetic.anthropometry import Segment
from pose_analyzer.synthetic.camera import look_at
from pose_analyzer.synthetic.shape import Builder
from pose_analyzer.synthetic.visibility import visible_landmarks
from shared_utils.skeletons import BLAZEPOSE_33

HIP = BLAZEPOSE_33.index("left_hip")
CAMERA = look_at((0, 0, 1), azimuth_deg=0, elevation_deg=0, distance_m=3, fov_deg=40, width=200, height=200)


def hip_is_visible(*, before_m, segment=Segment.PELVIS, person=0, aside_m=0.0):
    """A joint in the middle of the picture and a ball of 2 cm whose front lies `before_m` before it."""
    builder = Builder(1.0)
    builder.ellipsoid(segment, (before_m - 0.02, aside_m, 1.0), (0.02, 0.02, 0.02), np.ones(3))
    joints = np.zeros((1, 33, 3))
    joints[:, :, 2] = 1.0
    return bool(visible_landmarks(joints, np.array([0]), np.array([2.0]), builder.primitives(person), CAMERA)[0, HIP])


@pytest.mark.parametrize(
    ("case", "visible"),
    [
        ({"before_m": 0.10}, True),  # 5 % of stature of the own pelvis
        ({"before_m": 0.30}, False),  # 15 %: the other side of the pelvis
        ({"before_m": 0.10, "segment": Segment.LEFT_THIGH}, True),
        ({"before_m": 0.10, "segment": Segment.RIGHT_THIGH}, False),
        ({"before_m": 0.10, "segment": Segment.LEFT_HAND}, False),  # a hand on the hip
        ({"before_m": 0.10, "person": 1}, False),  # somebody else's pelvis
        ({"before_m": 0.10, "segment": Segment.EQUIPMENT}, False),
        ({"before_m": 0.30, "aside_m": 0.05}, True),  # beside the ray
        ({"before_m": -0.10, "person": 1}, True),  # behind the joint
    ],
)
def test_what_may_lie_before_a_hip(case, visible):
    assert hip_is_visible(**case) is visible

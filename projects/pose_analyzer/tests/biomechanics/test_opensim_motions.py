"""OpenSim motion files: what is refused, and that recorded joint curves mean what our names say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pose_analyzer.biomechanics import joint_angles, joint_series, range_of_motion, read_motion, symmetry
from pose_analyzer.synthetic import BodySpec
from pose_analyzer.synthetic.anthropometry import LEFT, dimensions
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.landmarks import landmark_offsets
from pose_analyzer.synthetic.rotations import rot_y
from shared_utils import BLAZEPOSE_33, Poses
from shared_utils.errors import ValidationError

VECTORS = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[4] / "../shared/data")) / "vectors"
SQUATS, WALK = VECTORS / "opencap_squats1_videoAndMocap.mot", VECTORS / "opencap_walking1_videoAndMocap.mot"
footage = pytest.mark.footage
needs_squats = pytest.mark.skipif(not SQUATS.is_file(), reason=f"recorded curves are not beside the repository ({SQUATS.name})")
needs_walk = pytest.mark.skipif(not WALK.is_file(), reason=f"recorded curves are not beside the repository ({WALK.name})")

SMALL = "Coordinates\nnRows=2\nnColumns=3\ninDegrees={degrees}\nendheader\ntime\tknee_angle_l\tpelvis_tx\n0.0\t{a}\t0.5\n0.1\t{b}\t0.6\n"


def test_radians_become_degrees_and_lengths_stay(tmp_path):
    path = tmp_path / "a.mot"
    path.write_text(SMALL.format(degrees="no", a=0.0, b=np.pi / 2))
    motion = read_motion(path)
    np.testing.assert_allclose(motion["knee_angle_l"], [0, 90])
    np.testing.assert_allclose(motion["pelvis_tx"], [0.5, 0.6])
    np.testing.assert_allclose(joint_series(motion)["left_knee_flexion_deg"], [0, 90])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("endheader", "end"), "endheader"),
        (("nRows=2", "nRows=3"), "nrows=3"),
        (("nColumns=3", "nColumns=7"), "ncolumns=7"),
        (("\t0.6", ""), "row 1"),
        (("0.5", "half"), "no number"),
        (("time", "frame"), "time"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path, change, message):
    path = tmp_path / "a.mot"
    path.write_text(SMALL.format(degrees="yes", a=1, b=2).replace(*change))
    with pytest.raises(ValidationError, match=message):
        read_motion(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="cannot be read"):
        read_motion(tmp_path / "none.mot")


@footage
@needs_squats
def test_a_recorded_file_is_read_as_numpy_reads_it():
    motion = read_motion(SQUATS)
    lines = SQUATS.read_text().splitlines()
    start = lines.index("endheader")
    table = np.loadtxt(SQUATS, skiprows=start + 2)
    names = lines[start + 1].split()
    assert list(motion) == names
    for i, name in enumerate(names):
        np.testing.assert_array_equal(motion[name], table[:, i])


@footage
@needs_squats
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_body_posed_by_recorded_curves_is_measured_at_these_angles(side):
    """Knee, hip, ankle and elbow of OpenSim, given to a figure as commands, come back under our names."""
    series = joint_series(read_motion(SQUATS))
    figure = Figure(dimensions(BodySpec()))
    figure.stand()
    number = LEFT if side == "left" else 1 - LEFT
    upright = joint_angles(_poses(figure), timestamp_s=0.0).row(1)
    for i in range(0, len(series), 40):
        knee, hip, ankle, elbow = (
            float(series[f"{side}_{n}_deg"][i]) for n in ("knee_flexion", "hip_flexion", "ankle_dorsiflexion", "elbow_flexion")
        )
        figure.leg(number, rot_y(-hip), knee_deg=knee, ankle_deg=ankle)
        figure.arm(number, np.eye(3), elbow_deg=elbow)
        angles = joint_angles(_poses(figure), timestamp_s=0.0).row(1)
        assert angles[f"{side}_knee_flexion_3d_deg"] == pytest.approx(abs(knee), abs=0.01)
        assert angles[f"{side}_elbow_flexion_3d_deg"] == pytest.approx(abs(elbow), abs=0.01)
        if hip > 20:  # our hip is of the trunk's side line, which leans outward by some degrees, and has no sign
            assert angles[f"{side}_hip_flexion_3d_deg"] == pytest.approx(hip, abs=5)
        # The sole's line, heel to toe, is not quite square to the shank at rest.
        rest = upright[f"{side}_ankle_dorsiflexion_3d_deg"]
        assert angles[f"{side}_ankle_dorsiflexion_3d_deg"] - rest == pytest.approx(ankle, abs=0.5)


@footage
@needs_squats
def test_recorded_squats_bend_knees_and_hips_together_and_both_sides_alike():
    series = joint_series(read_motion(SQUATS))
    knee, hip = series["left_knee_flexion_deg"], series["left_hip_flexion_deg"]
    assert np.corrcoef(knee, hip)[0, 1] > 0.95
    assert range_of_motion(knee).span_deg > 60
    assert range_of_motion(knee).least_deg > -10  # flexion is positive: a knee does not bend forward
    sides = symmetry(knee, series["right_knee_flexion_deg"], series["timestamp_s"])
    assert abs(sides.imbalance) < 0.1
    assert abs(sides.lag_s) < 0.05


@footage
@needs_walk
def test_recorded_walking_has_the_ranges_of_walking():
    """Knee some 60 degrees, hip some 45, ankle some 30 (Winter, Biomechanics and Motor Control of Human Movement)."""
    series = joint_series(read_motion(WALK))
    for name, low, high in (("knee_flexion", 50, 80), ("hip_flexion", 30, 60), ("ankle_dorsiflexion", 18, 45)):
        for side in ("left", "right"):
            assert low < range_of_motion(series[f"{side}_{name}_deg"]).span_deg < high, name


def _poses(figure: Figure) -> Poses:
    points = figure.points(*landmark_offsets(figure.lengths))
    camera = np.stack([points[:, 1], -points[:, 2], -points[:, 0]], axis=1)  # from the front: x to their left, y down, z away
    return Poses(
        boxes_xyxy=[[0, 0, 100, 100]],
        scores=[1.0],
        keypoints_xy=camera[None, :, :2] * 100,
        keypoint_confidence=np.ones((1, 33)),
        world_xyz_m=camera[None],
        skeleton=BLAZEPOSE_33,
        track_ids=np.array([1]),
    )

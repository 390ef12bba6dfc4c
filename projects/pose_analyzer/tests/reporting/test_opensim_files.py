"""OpenSim's files, read back by parsers written from the format's rules, and by pandas."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.biomechanics.ground import GroundPlane
from pose_analyzer.biomechanics.opensim import joint_series, read_motion
from pose_analyzer.reporting import ChoiceError, export_session
from pose_analyzer.reporting.even_times import evenly
from shared_utils import BLAZEPOSE_33, Session, ValidationError

_KEYS = ["DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame", "OrigNumFrames"]


def _tokens(line: str) -> list[str]:
    """As OpenSim's reader: an empty cell after the last tab is none."""
    cells = line.split("\t")
    return cells[:-1] if cells[-1] == "" else cells


def _read_trc(path) -> tuple[dict[str, str], list[str], np.ndarray, np.ndarray]:
    """Facts, marker names, times and (frames, markers, 3); strict, after the rules that OpenSim's reader enforces."""
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    kind = lines[0].split("\t")
    assert kind[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    assert "/" not in kind[3]
    assert _tokens(lines[1]) == _KEYS
    facts = dict(zip(_KEYS, _tokens(lines[2]), strict=True))
    names = [c for c in lines[3].split("\t") if c]
    assert names[:2] == ["Frame#", "Time"]
    assert len(names) - 2 == int(facts["NumMarkers"])
    assert [c for c in lines[4].split("\t") if c] == [f"{a}{i + 1}" for i in range(len(names) - 2) for a in "XYZ"]
    rows = [_tokens(line) for line in lines[5:]]
    assert {len(r) for r in rows} == {2 + 3 * (len(names) - 2)}
    assert len(rows) == int(facts["NumFrames"])
    assert [int(r[0]) for r in rows] == list(range(1, len(rows) + 1))
    values = np.array([[float(c) if c else np.nan for c in r[1:]] for r in rows])
    return facts, names[2:], values[:, 0], values[:, 1:].reshape(len(rows), -1, 3)


@given(seed=st.integers(0, 2**16), missing=st.sampled_from([0.0, 0.3, 0.95]), units=st.sampled_from(["m", "mm"]))
@settings(max_examples=25, deadline=None)
def test_markers_come_back_with_y_up_and_missing_ones_empty(measured, tmp_path_factory, seed, missing, units):
    session = measured(seed=seed, missing=missing, times_s=np.arange(5) / 30)
    world = np.stack([np.stack([session.series[f"{n}_world_{a}_m"] for a in "xyz"], -1) for n in BLAZEPOSE_33.keypoints], 1)
    if not np.isfinite(world).any():
        return
    (path,) = export_session(session, tmp_path_factory.mktemp("trc") / "x.trc", format="trc", units=units)
    facts, names, times, points = _read_trc(path)
    assert (facts["Units"], facts["DataRate"]) == (units, "30.00")
    assert tuple(names) == BLAZEPOSE_33.keypoints
    np.testing.assert_allclose(times, np.arange(5) / 30, atol=1e-6)
    scale = 1000 if units == "mm" else 1
    # Picture y is down and z away from the camera; turned half about x, both change sign and handedness stays.
    np.testing.assert_allclose(points, world * (scale, -scale, -scale), atol=1e-3 if units == "mm" else 1e-6)


def test_a_trc_is_read_by_pandas_as_others_do(measured, tmp_path):
    (path,) = export_session(measured(missing=0.0), tmp_path / "x.trc", format="trc")
    table = pd.read_csv(path, sep="\t", skiprows=5, header=None)
    assert table.shape == (4, 2 + 99)
    assert table[1].tolist() == [0.0, 0.1, 0.2, 0.3]


def test_a_frame_without_the_person_is_an_empty_row_of_an_even_trc(measured, tmp_path):
    (path,) = export_session(measured(times_s=(0.0, 0.1, 0.2, 0.5), missing=0.0), tmp_path / "x.trc", format="trc")
    _, _, times, points = _read_trc(path)
    np.testing.assert_allclose(times, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert np.isnan(points[3:5]).all()
    assert np.isfinite(points[[0, 1, 2, 5]]).all()


def test_the_pelvis_is_the_origin_unless_the_feet_shall_stand_on_the_floor(measured, tmp_path):
    session = measured(missing=0.0)
    feet = [i for i, n in enumerate(BLAZEPOSE_33.keypoints) if n.endswith(("_heel", "_foot_index", "_ankle"))]
    (free,) = export_session(session, tmp_path / "a.trc", format="trc")
    (stands,) = export_session(session, tmp_path / "b.trc", format="trc", floor=True)
    before, after = _read_trc(free)[3], _read_trc(stands)[3]
    np.testing.assert_allclose(after[:, feet, 1].min(1), 0.0, atol=1e-6)
    np.testing.assert_allclose((after - before)[..., [0, 2]], 0.0, atol=1e-9)
    assert np.ptp((after - before)[..., 1], axis=1).max() < 2e-6


def test_a_level_camera_puts_the_feet_where_it_sees_them_on_the_ground(measured, tmp_path):
    session = measured(missing=0.0, times_s=(0.0,))
    ground = GroundPlane(normal=np.array([0.0, -1.0, 0.0]), camera_height_m=1.5, focal_px=500.0, width=640, height=0)
    (path,) = export_session(session, tmp_path / "x.trc", format="trc", ground=ground)
    points = _read_trc(path)[3][0]
    feet = [i for i, n in enumerate(BLAZEPOSE_33.keypoints) if n.endswith(("_heel", "_foot_index", "_ankle"))]
    px = np.mean([[session.series[f"{BLAZEPOSE_33.keypoints[i]}_{a}_px"][0] for a in "xy"] for i in feet], axis=0)
    depth = 1.5 * 500.0 / px[1]  # by hand: similar triangles below the horizon at y = 0
    np.testing.assert_allclose(points[feet].mean(0)[[0, 2]], [(px[0] - 320) / 500 * depth, -depth], rtol=1e-4, atol=1e-4)
    assert points[feet, 1].min() == pytest.approx(0.0, abs=1e-6)


def _angles(n: int, seed: int, missing: float) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    joints = ("knee_flexion", "hip_flexion", "elbow_flexion", "ankle_dorsiflexion", "shoulder_abduction")
    out = {f"{s}_{j}_deg": random.uniform(-30, 150, n) for s in ("left", "right") for j in joints}
    return {k: np.where(random.uniform(0, 1, n) < missing, np.nan, v) for k, v in out.items()}


@given(seed=st.integers(0, 2**16), missing=st.sampled_from([0.0, 0.3]), steps=st.lists(st.floats(0.004, 2.0), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_angles_come_back_from_a_motion_file_under_our_names(measured, tmp_path_factory, seed, missing, steps):
    times = np.cumsum([0.0, *steps])
    angles = _angles(len(times), seed, missing)
    session = measured(times_s=times, angles=angles)
    if not any(np.isfinite(v).any() for v in angles.values()):
        return
    (path,) = export_session(session, tmp_path_factory.mktemp("mot") / "x.mot", format="opensim-mot")
    motion = read_motion(path)  # it checks nRows and nColumns, which counts time
    assert (np.diff(motion["time"]) > 0).all()
    np.testing.assert_allclose(motion["time"], times, atol=1e-8)
    back = joint_series(motion)
    for name, values in angles.items():
        if np.isfinite(values).any():
            np.testing.assert_allclose(back[name], values, atol=1e-6)


def test_a_motion_file_is_read_by_pandas(measured, tmp_path):
    angles = {"left_knee_flexion_deg": (1.0, np.nan, 3.0, 4.0), "right_hip_abduction_deg": (5.0, 6.0, 7.0, 8.0)}
    (path,) = export_session(measured(angles=angles), tmp_path / "x.mot", format="opensim-mot")
    head, _, body = path.read_text().partition("endheader\n")
    table = pd.read_csv(io.StringIO(body), sep="\t")
    assert table.columns.tolist() == ["time", "knee_angle_l", "hip_adduction_r"]
    assert "nRows=4\nnColumns=3\ninDegrees=yes\n" in head
    assert np.isnan(table["knee_angle_l"][1])
    assert table["hip_adduction_r"].tolist() == [-5.0, -6.0, -7.0, -8.0]


@pytest.mark.footage
def test_our_motion_header_has_what_opencaps_has(measured, tmp_path, footage):
    real = (footage / "vectors" / "opencap_squats1_videoAndMocap.mot").read_text().split("endheader")[0].splitlines()
    (path,) = export_session(measured(angles={"left_knee_flexion_deg": (1.0, 2.0, 3.0, 4.0)}), tmp_path / "x.mot", format="opensim-mot")
    ours = path.read_text().split("endheader")[0].splitlines()
    assert ours[0] == real[0] == "Coordinates"
    assert [line.partition("=")[0] for line in ours[1:5]] == [line.partition("=")[0] for line in real[1:5]]
    known = set(read_motion(footage / "vectors" / "opencap_squats1_videoAndMocap.mot"))
    assert set(read_motion(path)) <= known


def test_own_names_and_space_are_choices(measured, tmp_path):
    angles = {"left_knee_flexion_3d_deg": (1.0, 2.0, 3.0, 4.0), "trunk_lean_3d_deg": (0.0, 1.0, 2.0, 3.0), "trunk_lean_deg": (9.0,) * 4}
    (path,) = export_session(measured(angles=angles), tmp_path / "x.mot", format="opensim-mot", space="3d", names="own")
    assert set(read_motion(path)) == {"time", "left_knee_flexion_3d", "trunk_lean_3d"}
    lifted = {"left_knee_flexion_lifted_deg": (1.0, 2.0, 3.0, 4.0), "left_knee_flexion_deg": (9.0,) * 4}
    (path,) = export_session(measured(angles=lifted), tmp_path / "z.mot", format="opensim-mot", space="lifted")
    assert read_motion(path)["knee_angle_l"].tolist() == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(ChoiceError, match="no joint angle"):
        export_session(measured(angles={"trunk_lean_deg": (1.0,) * 4}), tmp_path / "y.mot", format="opensim-mot")


def test_a_clock_that_runs_backwards_loses_the_rows_that_cannot_be_ordered(measured, tmp_path):
    session = measured(times_s=(0.0, 0.1, 0.05, 0.2), angles={"left_knee_flexion_deg": (1.0, 2.0, 99.0, 4.0)})
    (path,) = export_session(session, tmp_path / "x.mot", format="opensim-mot")
    assert read_motion(path)["knee_angle_l"].tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("rate", [1.0, 240.0])
def test_one_and_240_frames_a_second_are_written_at_their_rate(measured, tmp_path, rate):
    times = np.round(np.arange(6) / rate, 5)  # as containers round them
    (path,) = export_session(measured(times_s=times, missing=0.0), tmp_path / "x.trc", format="trc")
    facts, _, found, points = _read_trc(path)
    assert float(facts["DataRate"]) == pytest.approx(rate, rel=1e-3)
    assert len(found) == 6
    assert np.isfinite(points).all()


# --- even times -------------------------------------------------------------------------------------
@given(st.lists(st.floats(0.01, 0.06), min_size=3, max_size=60), st.sampled_from([None, 25.0, 60.0]))
@settings(max_examples=60, deadline=None)
def test_a_straight_line_stays_one_at_even_times(steps, rate):
    times = 5.0 + np.cumsum([0.0, *steps])
    even = evenly(times, np.stack([3 * times, -times], axis=1), rate_hz=rate, max_gap_s=1.0)
    np.testing.assert_allclose(np.diff(even.times_s), np.diff(even.times_s).mean() if len(even.times_s) > 1 else 0, rtol=1e-9)
    assert even.times_s[0] == times[0]
    assert even.times_s[-1] <= times[-1] + 0.05 * 0.06
    kept = np.isfinite(even.values[:, 0])
    np.testing.assert_allclose(even.values[kept, 0], 3 * even.times_s[kept], atol=0.02)
    assert even.resampled or kept.sum() == len(times)
    assert kept.all() or not even.resampled


def test_nothing_is_bridged_that_is_longer_than_the_gap():
    times = np.array([0.0, 0.1, 0.2, 1.0, 1.1])
    even = evenly(times, times[:, None], rate_hz=20.0)
    inside = (even.times_s > 0.21) & (even.times_s < 0.99)
    assert np.isnan(even.values[inside]).all()
    assert np.isfinite(even.values[~inside]).all()


def test_a_missing_reading_makes_no_neighbour():
    even = evenly(np.array([0.0, 0.1, 0.2]), np.array([[1.0], [np.nan], [3.0]]), rate_hz=20.0)
    np.testing.assert_array_equal(even.values[:, 0], [1.0, np.nan, np.nan, np.nan, 3.0])


@pytest.mark.parametrize(("times", "rate"), [([], None), ([0.0, 0.0], None), ([0.0, np.nan], None), ([0.0, 1.0], 0.0), ([0.0, 1e9], 100.0)])
def test_times_that_cannot_be_even_are_refused(times, rate):
    with pytest.raises(ValidationError):
        evenly(np.array(times), np.zeros((len(times), 1)), rate_hz=rate)


def test_an_empty_session_writes_no_file(tmp_path):
    with pytest.raises(ChoiceError):
        export_session(Session(source="x"), tmp_path / "x.trc", format="trc")

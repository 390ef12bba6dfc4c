"""The accuracy audit, on one small scene: what it films, keeps, and says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer

from pose_analyzer.biomechanics.keypoint_sigma import SigmaModel
from pose_analyzer.cli import audit
from pose_analyzer.cli.audit_calibrate import calibrate
from pose_analyzer.cli.audit_readings import JOINTS, KINDS, readings, tables
from pose_analyzer.cli.audit_scenes import AuditScene, film, scenes
from pose_analyzer.cli.audit_versus import compare

SCENE = AuditScene(exercise="squat", azimuth_deg=90, height_px=240, seed=77)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("takes")
    list(film([SCENE], ("blazepose",), cache=folder))
    return folder


@pytest.fixture(scope="module")
def take(cache):
    [take] = film([SCENE], ("blazepose",), cache=cache)
    return take


def test_calibration_and_held_out_scenes_share_no_body_and_no_camera():
    calibration, held_out = scenes("calibration"), scenes("held_out")
    assert not {s.seed for s in calibration} & {s.seed for s in held_out}
    assert not {s.azimuth_deg for s in calibration} & {s.azimuth_deg for s in held_out}
    assert len({s.key for s in (*calibration, *held_out)}) == len(calibration) + len(held_out)


def test_a_take_is_read_back_as_it_was_filmed(take):
    [again] = film([SCENE], ("blazepose",))
    assert again.scene == take.scene
    for name, values in again.truth.items():
        np.testing.assert_array_equal(take.truth[name], values)
    for name, values in again.seen["blazepose"].items():
        np.testing.assert_array_equal(take.seen["blazepose"][name], values)


def test_readings_of_the_truth_itself_have_no_error(take):
    """The athlete's own angles, computed by the athlete's own code, are what the audit takes for true."""
    found = readings([take], "blazepose")
    for kind, truth in (("picture", "angles_2d_deg"), ("space", "angles_deg")):
        theirs = found.where(joint="knee_flexion", side="left", kind=kind)["true_deg"]
        np.testing.assert_allclose(theirs, take.truth[truth][:, 0], atol=2e-3)  # landmarks are float32


def test_the_audit_s_tables_hold_every_joint_and_plain_numbers(take):
    rows = tables(readings([take], "blazepose"))
    json.dumps(rows, allow_nan=False)
    assert {(r["joint"], r["kind"]) for r in rows["sagittal"]} == {(j, k) for j in JOINTS for k in KINDS}
    [knee] = [r for r in rows["sagittal"] if r["joint"] == "knee_flexion" and r["kind"] == "picture"]
    assert 0 < knee["median_deg"] < 8
    assert knee["mediapipe_median_deg"] is None  # it did not look
    text = audit.as_markdown({"scenes": 1, "detector": "blazepose", **rows})
    assert "| knee flexion | picture | 240 px |" in text


def test_plots_are_written(take, tmp_path):
    paths = audit.plot_agreement(readings([take], "blazepose"), tmp_path)
    assert len(paths) == len(JOINTS)
    assert all(p.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for p in paths)


def test_a_calibration_of_one_scene_gives_a_model_that_can_be_stored(take):
    with pytest.raises(Exception, match="50"):
        calibrate([take], "blazepose", command="x")
    model = calibrate([take, take], "blazepose", command="x")
    assert SigmaModel.from_json(model.to_json()).about["scenes"] == 2
    assert all(0 <= share <= 1 for share in model.depth_share.values())
    assert "knee_flexion_deg" in model.angles


def test_looks_are_filmed_beside_what_was_filmed_before(cache, take):
    [both] = film([SCENE], ("blazepose x2",), cache=cache)
    assert set(both.seen) == {"blazepose", "blazepose x2"}
    once, twice = both.seen["blazepose"], both.seen["blazepose x2"]
    np.testing.assert_array_equal(once["keypoints_xy"], take.seen["blazepose"]["keypoints_xy"])
    np.testing.assert_array_equal(once["scores"], twice["scores"])
    apart = np.linalg.norm(once["keypoints_xy"] - twice["keypoints_xy"], axis=-1)
    assert 0.05 < np.nanmedian(apart) < 5


def test_the_command_joins_the_tree():
    app = typer.Typer()
    audit.register(app)
    assert [c.name for c in app.registered_commands] == ["audit"]


def test_worse_is_what_stays_worse_in_other_scenes():
    """Twelve scenes of which every one is worse, and twelve of which a single one is."""
    random = np.random.default_rng(2)
    scene, theirs = np.repeat(np.arange(12), 30), random.normal(size=360)
    assert compare(3 * theirs, theirs, scene) == ("worse", "worse")
    assert compare(np.where(scene == 0, 30.0, theirs), theirs, scene) == ("alike", "alike")
    assert compare(np.full(360, np.nan), theirs, scene) is None


def test_a_filtered_take_has_the_same_people_and_a_calmer_path(take):
    raw, calm = (list(take.poses("blazepose", filtered=f)) for f in (False, True))
    assert [len(p) for p in raw] == [len(p) for p in calm]
    steps = [np.diff([p.keypoints_xy[0, 24] for p in path if len(p)], axis=0) for path in (raw, calm)]
    assert np.median(np.abs(steps[1])) <= np.median(np.abs(steps[0]))

"""Exports, read back by readers that are not ours."""

from __future__ import annotations

import configparser
import contextlib
import io
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.errors import PoseAnalyzerError, SinkError
from pose_analyzer.reporting import EXPORT_FORMATS, ChoiceError, export_session, frames_of, to_supervision, to_ultralytics
from shared_utils import BLAZEPOSE_33, COCO_17, Poses, Series, Session


def _coco(path):
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


# --- COCO -------------------------------------------------------------------------------------------
def test_pycocotools_scores_a_coco_export_against_itself_as_perfect(measured, tmp_path):
    from pycocotools.cocoeval import COCOeval

    session = measured(people=(1, 2), missing=0.1)
    (path,) = export_session(session, tmp_path / "coco.json", format="coco")
    truth = _coco(path)
    rows = truth.loadAnns(truth.getAnnIds())
    with contextlib.redirect_stdout(io.StringIO()):
        found = truth.loadRes([{k: a[k] for k in ("image_id", "category_id", "keypoints", "score")} for a in rows])
        judge = COCOeval(truth, found, "keypoints")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert judge.stats[0] == pytest.approx(1.0)


@given(seed=st.integers(0, 2**16), people=st.integers(1, 3), native=st.booleans())
@settings(max_examples=25, deadline=None)
def test_coco_keeps_every_keypoint_inside_the_picture_and_hides_no_missing_one(measured, tmp_path_factory, seed, people, native):
    session = measured(people=range(1, people + 1), seed=seed)
    options = {"keypoints": "native"} if native else {}
    (path,) = export_session(session, tmp_path_factory.mktemp("coco") / "c.json", format="coco", **options)
    coco = _coco(path)
    (category,) = coco.loadCats(coco.getCatIds())
    names = (BLAZEPOSE_33 if native else COCO_17).keypoints
    assert tuple(category["keypoints"]) == names
    assert all(1 <= i <= len(names) for edge in category["skeleton"] for i in edge)
    by_frame = {f.frame_index: f.poses for f in frames_of(session.series)}
    for annotation in coco.loadAnns(coco.getAnnIds()):
        image = coco.imgs[annotation["image_id"]]
        poses = by_frame[image["frame_index"]]
        row = poses.track_ids.tolist().index(annotation["track_id"])
        x, y, w, h = annotation["bbox"]
        assert x >= 0
        assert x + w <= image["width"] + 0.01
        assert y + h <= image["height"] + 0.01
        assert annotation["area"] == pytest.approx(w * h, abs=0.01)
        triples = np.array(annotation["keypoints"]).reshape(-1, 3)
        assert annotation["num_keypoints"] == (triples[:, 2] > 0).sum()
        for name, (px, py, v) in zip(names, triples, strict=True):
            at = BLAZEPOSE_33.index(name)
            true, confidence = poses.keypoints_xy[row, at], poses.keypoint_confidence[row, at]
            inside = bool(np.isfinite(true).all() and (true >= 0).all() and true[0] <= 640 and true[1] <= 480)
            assert v == (0 if not inside or confidence < 0.1 else 1 if confidence < 0.5 else 2)
            np.testing.assert_allclose((px, py), true if v else (0, 0), atol=0.006)


def test_coco_ids_are_unique_begin_at_one_and_name_images_that_are_there(measured, tmp_path):
    session = measured(people=(1, 2))
    (path,) = export_session(session, tmp_path / "coco.json", format="coco")
    data = json.loads(path.read_text())
    assert len({a["id"] for a in data["annotations"]}) == len(data["annotations"]) == 8
    assert min(a["id"] for a in data["annotations"]) == 1  # pycocotools takes 0 for "unmatched"
    assert {a["image_id"] for a in data["annotations"]} <= {i["id"] for i in data["images"]}


@pytest.mark.footage
def test_an_export_is_a_result_for_cocos_own_picture_and_truth(footage, tmp_path):
    """The skier of COCO's picture 785: detected, exported, and judged by pycocotools against COCO's own annotation."""
    from pycocotools.cocoeval import COCOeval

    from pose_analyzer.detection import create_detector
    from pose_analyzer.pipeline.recorder import SeriesRecorder
    from pose_analyzer.video import open_source
    from shared_utils import Angles

    folder = footage / "images" / "mmpose" / "coco"
    with open_source(folder / "000000000785.jpg") as source:
        frame = next(iter(source))
    with contextlib.closing(create_detector("blazepose", max_people=1)) as detector:
        poses = detector.detect([frame.image])[0].replace(track_ids=np.array([1]))
    recorder = SeriesRecorder()
    recorder.add(frame, poses, Angles((), poses.track_ids, np.zeros((1, 0))), [(0, "", float("nan"))])
    session = Session(source="skier.jpg", source_info={"width": frame.width, "height": frame.height}, series=recorder.series())
    (path,) = export_session(session, tmp_path / "coco.json", format="coco")
    truth, ours = _coco(folder / "test_coco.json"), json.loads(path.read_text())
    assert ours["categories"][0]["keypoints"] == truth.loadCats([1])[0]["keypoints"]
    edges = {frozenset(e) for e in truth.loadCats([1])[0]["skeleton"]}
    assert {frozenset(e) for e in ours["categories"][0]["skeleton"]} <= edges | {frozenset((1, 2)), frozenset((1, 3))}
    assert set(truth.loadAnns(truth.getAnnIds([785]))[0]) - {"segmentation"} <= set(ours["annotations"][0])
    (found,) = ours["annotations"]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes([{**found, "image_id": 785}]), "keypoints")
        judge.params.imgIds = [785]
        judge.evaluate()
    assert judge.ious[785, 1].max() > 0.8


# --- MOT Challenge ----------------------------------------------------------------------------------
@given(seed=st.integers(0, 2**16), people=st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True))
@settings(max_examples=20, deadline=None)
def test_the_trackers_package_reads_back_every_box(measured, tmp_path_factory, seed, people):
    from trackers.io.mot import load_mot_file

    session = measured(people=people, seed=seed)
    (path,) = export_session(session, tmp_path_factory.mktemp("mot") / "m.txt", format="mot")
    frames = load_mot_file(path)
    assert min(frames) == 1  # both count from 1
    raised = 1 if 0 in people else 0
    series = session.series
    for frame, found in frames.items():
        for i, track_id in enumerate(found.ids):
            assert track_id >= 1
            (row,) = np.flatnonzero((series["frame_index"] == frame - 1) & (series["track_id"] == track_id - raised))
            x1, y1, x2, y2 = (float(series[f"box_{c}_px"][row]) for c in ("x1", "y1", "x2", "y2"))
            np.testing.assert_allclose(found.boxes[i], (x1, y1, x2 - x1, y2 - y1), atol=0.02)
            assert found.confidences[i] == pytest.approx(float(series["score"][row]), abs=1e-3)


def test_trackeval_scores_an_exported_sequence_against_itself_as_perfect(measured, tmp_path):
    trackeval = pytest.importorskip("trackeval")
    session = measured(people=(1, 2), times_s=np.arange(20) / 10)
    sequence = tmp_path / "gt" / "clip"
    sequence.mkdir(parents=True)
    export_session(session, sequence, format="mot")
    found = tmp_path / "res" / "ours" / "data"
    found.mkdir(parents=True)
    export_session(session, found / "clip.txt", format="mot")
    info = configparser.ConfigParser()
    info.read(sequence / "seqinfo.ini")
    assert info["Sequence"]["seqLength"] == "20"
    quiet = {"PRINT_CONFIG": False}
    data = trackeval.datasets.MotChallenge2DBox(
        {**quiet, "GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "res"), "SEQ_INFO": {"clip": None},
         "SKIP_SPLIT_FOL": True, "DO_PREPROC": False, "BENCHMARK": "", "SPLIT_TO_EVAL": "", "TRACKER_SUB_FOLDER": "data"}
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        raw = data.get_raw_seq_data("ours", "clip")
        scores = trackeval.metrics.CLEAR(quiet).eval_sequence(data.get_preprocessed_seq_data(raw, "pedestrian"))
    assert scores["MOTA"] == 1.0


def test_mot_ground_truth_has_class_and_visibility(measured, tmp_path):
    (path,) = export_session(measured(), tmp_path / "gt.txt", format="mot", ground_truth=True)
    table = pd.read_csv(path, header=None)
    assert table.shape == (4, 9)
    assert (table[[6, 7]] == 1).all(axis=None)
    assert table[8].between(0, 1).all()


# --- tables -----------------------------------------------------------------------------------------
def test_tables_keep_a_missing_reading_missing(measured, tmp_path):
    session = measured(angles={"left_knee_flexion_deg": (1.5, np.nan, 0.0, 4.0), "left_knee_flexion_sigma_deg": (np.nan,) * 4})
    paths = {f: export_session(session, tmp_path / f"t{EXPORT_FORMATS[f].suffix}.{f}", format=f)[0] for f in ("csv", "parquet", "json")}
    expected = [1.5, np.nan, 0.0, 4.0]
    frame = pd.read_csv(paths["csv"])
    np.testing.assert_array_equal(frame["left_knee_flexion_deg"], expected)
    assert "left_knee_flexion_sigma_deg" not in frame  # nothing is known of it; the Parquet file keeps the column
    table = pq.read_table(paths["parquet"]).to_pandas()
    np.testing.assert_array_equal(table["left_knee_flexion_deg"], expected)
    assert "left_knee_flexion_sigma_deg" in table
    document = json.loads(paths["json"].read_text())
    assert document["series"]["left_knee_flexion_deg"] == [1.5, None, 0.0, 4.0]
    assert document["people"][0]["frames"] == 4


def test_a_table_of_one_person_holds_nobody_else(measured, tmp_path):
    (path,) = export_session(measured(people=(3, 8)), tmp_path / "t.csv", format="csv", track_id=8)
    assert set(pd.read_csv(path)["track_id"]) == {8}


# --- objects ----------------------------------------------------------------------------------------
def test_supervision_objects_lead_back_to_the_same_people(measured):
    session = measured(people=(1, 4))
    for frame, key_points, detections in to_supervision(session.series):
        back = Poses.from_supervision(key_points, detections, skeleton=BLAZEPOSE_33)
        np.testing.assert_array_equal(back.keypoints_xy, frame.poses.keypoints_xy)
        np.testing.assert_array_equal(back.track_ids, [1, 4])
        assert (key_points.visible == frame.poses.visible).all()


def test_ultralytics_results_lead_back_to_the_same_people(measured):
    pytest.importorskip("ultralytics")
    session = measured(people=(1, 4), skeleton=COCO_17, world=False)
    results = list(to_ultralytics(session))
    assert len(results) == 4
    for frame, result in zip(frames_of(session.series), results, strict=True):
        assert result.boxes.is_track
        assert result.orig_shape == (480, 640)
        back = Poses.from_ultralytics(result)
        np.testing.assert_array_equal(back.keypoints_xy, frame.poses.keypoints_xy)
        np.testing.assert_array_equal(back.boxes_xyxy, frame.poses.boxes_xyxy)
        np.testing.assert_array_equal(back.track_ids, [1, 4])
    assert "person" in results[0].to_json()


# --- what cannot be written --------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(EXPORT_FORMATS))
def test_nobody_found_is_said_by_every_format(name, tmp_path):
    with pytest.raises(ChoiceError, match="nobody was found"):
        export_session(Session(source="empty.mp4"), tmp_path / "x", format=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("trc", {}, r"several people; choose one of \[1, 2\]"),
        ("opensim-mot", {}, "several people"),
        ("trc", {"track_id": 9}, "track id 9"),
        ("csv", {"track_id": 9}, "track id 9"),
        ("csv", {"units": "mm"}, "units does not apply to csv; it is for trc"),
        ("coco", {"keypoints": "coco17"}, "coco_17, native"),
        ("coco", {"colour": "red"}, "no option 'colour'"),
        ("xml", {}, "there are csv, parquet"),
    ],
)
def test_a_wrong_choice_names_the_right_ones(measured, tmp_path, name, options, says):
    with pytest.raises(PoseAnalyzerError, match=says):
        export_session(measured(people=(1, 2)), tmp_path / "x", format=name, **options)


def test_what_a_session_lacks_is_named(measured, tmp_path):
    with pytest.raises(ChoiceError, match="no landmarks in space"):
        export_session(measured(world=False), tmp_path / "x.trc", format="trc")
    with pytest.raises(ChoiceError, match="--size"):
        export_session(measured(size=None), tmp_path / "x.json", format="coco")
    bare = measured().series
    bare = Series({n: bare[n] for n in bare if not n.endswith(("_x_px", "_y_px", "_confidence"))})
    with pytest.raises(ChoiceError, match=r"output\.keypoints"):
        export_session(Session(source="c.mp4", series=bare), tmp_path / "x.json", format="coco", size=(64, 64))
    with pytest.raises(ChoiceError, match="no joint angle"):
        export_session(measured(), tmp_path / "x.mot", format="opensim-mot")


def test_a_place_that_cannot_be_written_is_named(measured, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SinkError, match="--out"):
        export_session(measured(), tmp_path / "file" / "x.csv", format="csv")


def test_the_same_session_gives_the_same_bytes(measured, tmp_path):
    session = measured(angles={"left_knee_flexion_deg": (1.0, 2.0, 3.0, 4.0)})
    for name in EXPORT_FORMATS:
        a, b = (export_session(session, tmp_path / d / "x", format=name)[0].read_bytes() for d in ("a", "b"))
        assert a == b, name

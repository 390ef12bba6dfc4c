from __future__ import annotations

import csv
import json

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.errors import PoseAnalyzerError
from pose_analyzer.reporting import load_session, result_schema, save_session, session_to_dict
from shared_utils.data_models import Event, EventType, Series, Session


def _session(**changes) -> Session:
    rows = 4
    series = Series(
        {
            "frame_index": np.arange(rows),
            "timestamp_s": np.array([0.0, 0.1, 0.2, 0.3]),
            "track_id": np.array([1, 1, 2, 1]),
            "repetitions": np.array([0, 0, 0, 1]),
            "phase": np.array(["rest", "down", "", "rest"], object),
            "left_knee_flexion_deg": np.array([1.0, np.nan, 3.0, 4.0]),
            "nose_x_px": np.arange(4, dtype=np.float32),
        }
    )
    event = Event(
        EventType.REP_COMPLETED,
        "cam",
        1,
        0.0,
        0.3,
        value=1,
        frames=(0, 3),
        message="Repetition 1",
        data={"range_deg": 80.5, "side": "left"},
    )
    values = {
        "source": "clip.mp4",
        "source_info": {"width": 64, "duration_s": float("nan")},
        "duration_s": 0.3,
        "frames": 4,
        "settings": {"exercise": {"name": "squat"}},
        "models": {"m": "00ff"},
        "software_version": "0.1.0",
        "events": (event,),
        "series": series,
        "notes": ("damaged",),
    }
    return Session(**{**values, **changes})


def test_a_saved_session_reads_back_equal(tmp_path):
    session = _session()
    save_session(session, tmp_path)
    back = load_session(tmp_path)
    assert back.events == session.events
    assert back.notes == session.notes
    assert back.models == session.models
    for name in session.series:
        np.testing.assert_array_equal(back.series[name], session.series[name])


def test_the_same_session_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        save_session(_session(), tmp_path / folder)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_result_json_follows_its_published_schema():
    jsonschema.Draft202012Validator(result_schema()).validate(json.loads(json.dumps(session_to_dict(_session()))))


def test_unknown_numbers_are_null_in_json():
    assert session_to_dict(_session())["source"]["duration_s"] is None


def test_csv_holds_angles_but_leaves_keypoints_to_parquet(tmp_path):
    save_session(_session(), tmp_path)
    rows = list(csv.DictReader((tmp_path / "series.csv").open()))
    assert [r["left_knee_flexion_deg"] for r in rows] == ["1", "", "3", "4"]
    assert "nose_x_px" not in rows[0]
    assert "nose_x_px" in pq.read_schema(tmp_path / "series.parquet").names


def test_events_csv_has_one_column_per_number_an_event_carries(tmp_path):
    save_session(_session(), tmp_path)
    (row,) = csv.DictReader((tmp_path / "events.csv").open())
    assert (row["type"], row["range_deg"], row["first_frame"], row["last_frame"]) == ("rep_completed", "80.5", "0", "3")


@given(text=st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_no_cell_of_a_csv_starts_a_spreadsheet_formula(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("csv")
    event = Event(EventType.FORM_DEVIATION, "cam", 1, 0.0, 0.1, message=text)
    save_session(_session(events=(event,)), folder)
    (row,) = csv.DictReader((folder / "events.csv").open(newline=""))
    assert not row["message"].startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no finished result"),  # folder without result
        ("{", "damaged"),  # cut JSON
        ('{"schema_version": "9.0"}', "schema 9.0"),  # a later version
        ('{"schema_version": "1.0"}', "damaged"),  # fields missing
    ],
)
def test_an_unreadable_result_says_why(tmp_path, content, says):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(PoseAnalyzerError, match=says):
        load_session(tmp_path)


def test_a_result_is_never_left_beside_older_series(tmp_path, monkeypatch):
    save_session(_session(), tmp_path)
    real = type(tmp_path).write_bytes

    def full_disk(self, data):
        if "events" in self.name:
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(type(tmp_path), "write_bytes", full_disk)
    with pytest.raises(PoseAnalyzerError, match="No space left"):
        save_session(_session(), tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert not list(tmp_path.glob(".*part"))


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PoseAnalyzerError, match="--out"):
        save_session(_session(), tmp_path / "file" / "sub")

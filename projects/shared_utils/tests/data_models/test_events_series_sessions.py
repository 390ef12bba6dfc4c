"""Events, series, angles, frames and sessions: what they accept, what they refuse, what survives JSON and pickle."""

from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_utils.data_models import Angles, Event, EventType, Frame, Series, Session
from shared_utils.errors import SharedUtilsError, ValidationError

finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def events(draw):
    start_s, end_s = sorted((draw(finite), draw(finite)))
    return Event(
        type=draw(st.sampled_from(EventType)),
        stream_id=draw(st.text(max_size=8)),
        track_id=draw(st.integers(-1, 99)),
        start_s=start_s,
        end_s=end_s,
        value=draw(st.none() | finite),
        unit=draw(st.sampled_from(["", "deg", "s"])),
        frames=tuple(draw(st.lists(st.integers(0, 9999), max_size=4))),
        message=draw(st.text(max_size=20)),
        data=draw(st.dictionaries(st.text(max_size=5), plain, max_size=3)),
    )


def event(**changes) -> Event:
    return Event(**{"type": EventType.REP_COMPLETED, "stream_id": "cam", "track_id": 1, "start_s": 0.5, "end_s": 2.5, **changes})


# --- Event -----------------------------------------------------------------------------------------
@given(events())
def test_an_event_survives_json(made):
    again = Event.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert hash(again) == hash(made)


@given(events())
def test_an_event_survives_pickle(made):
    assert pickle.loads(pickle.dumps(made)) == made


def test_an_event_of_numpy_numbers_is_json():
    made = event(track_id=np.int64(3), start_s=np.float32(0.5), value=np.float32(1.5), frames=list(np.arange(2)), type="rep_partial")
    assert json.loads(json.dumps(made.to_dict())) == made.to_dict()
    assert Event.from_dict(made.to_dict()) == made
    assert made.type is EventType.REP_PARTIAL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_s": 0.4}, r"end_s \(0\.4\) lies before start_s \(0\.5\)"),
        ({"start_s": math.nan}, "must be finite"),
        ({"end_s": math.inf}, "must be finite"),
    ],
)
def test_times_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        event(**changes)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "rep_completed"},
        {**event().to_dict(), "type": "moon_landing"},
        {**event().to_dict(), "colour": "red"},
        {**event().to_dict(), "start_s": "soon"},
        {**event().to_dict(), "frames": 3},
    ],
)
def test_what_is_no_event_is_refused(data):
    with pytest.raises(ValidationError, match="not an event"):
        Event.from_dict(data)


def test_an_event_is_a_fact_nobody_changes():
    source = {"depth_deg": 90}
    made = event(data=source)
    source["depth_deg"] = 0
    assert made.data["depth_deg"] == 90
    with pytest.raises(TypeError):
        made.data["depth_deg"] = 1
    with pytest.raises(AttributeError):
        made.end_s = 9
    assert made.duration_s == 2.0


# --- Angles ----------------------------------------------------------------------------------------
def angles(**changes) -> Angles:
    values = {"names": ("knee_deg", "hip_deg"), "track_ids": np.array([4, 7]), "value_deg": np.array([[90.0, 10.0], [np.nan, 20.0]])}
    return Angles(**{**values, **changes})


def test_an_angle_is_read_by_name_and_by_track():
    made = angles(timestamp_s=1.5)
    assert made["hip_deg"].tolist() == [10, 20]
    assert made.row(4) == {"knee_deg": 90, "hip_deg": 10}
    assert math.isnan(made.row(7)["knee_deg"])
    assert made.row(99) == {}
    assert len(made) == 2
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.value_deg, made.value_deg)
    assert again.timestamp_s == 1.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value_deg": np.zeros((2, 3))}, r"value_deg must have shape \(2, 2\), got \(2, 3\)"),
        ({"sigma_deg": np.zeros((1, 2))}, r"sigma_deg must have shape \(2, 2\)"),
        ({"names": ("a", "a")}, "names repeat"),
    ],
)
def test_angles_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        angles(**changes)


def test_an_unknown_angle_lists_the_known():
    with pytest.raises(ValidationError, match="no angle 'elbow_deg'; there are knee_deg, hip_deg"):
        angles()["elbow_deg"]


# --- Frame -----------------------------------------------------------------------------------------
IMAGE = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": IMAGE[..., 0]}, r"\(H, W, 3\) uint8 RGB array, got uint8 \(4, 6\)"),
        ({"image": IMAGE.astype(float)}, "got float64"),
        ({"image": np.zeros((4, 6, 4), np.uint8)}, "got uint8"),
        ({"image": np.zeros((0, 6, 3), np.uint8)}, "non-empty"),
        ({"image": "picture.png"}, "got str"),
        ({"index": -1}, "index must be 0 or more"),
        ({"timestamp_s": math.nan}, "timestamp_s must be finite"),
        ({"wall_time": datetime(2026, 1, 1)}, "naive"),  # the point
    ],
)
def test_what_is_no_frame_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Frame(**{"image": IMAGE, "index": 0, "timestamp_s": 0.0, **changes})


def test_a_frame_knows_its_size_and_time():
    frame = Frame(IMAGE, 3, 0.1, datetime(2026, 1, 1, tzinfo=UTC))
    assert (frame.width, frame.height, frame.stream_id) == (6, 4, "stream")
    Frame(IMAGE, 3, 0.1, datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(frame)).image, IMAGE)


# --- Series ----------------------------------------------------------------------------------------
@given(st.lists(st.tuples(finite, st.integers(-1, 3)), max_size=8))
def test_rows_are_chosen_as_numpy_does(rows):
    time_s, ids = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], int)
    series = Series({"timestamp_s": time_s, "track_id": ids})
    for track_id in range(-1, 4):
        np.testing.assert_array_equal(series.track(track_id)["timestamp_s"], time_s[ids == track_id])
    assert len(series) == len(rows)
    assert list(series) == ["timestamp_s", "track_id"]
    assert "timestamp_s" in series
    assert "depth_m" not in series


@given(st.lists(st.floats(), max_size=5))
def test_a_series_survives_pickle_and_pandas(values):
    series = Series({"x_px": np.array(values)})
    assert np.array_equal(pickle.loads(pickle.dumps(series))["x_px"], series["x_px"], equal_nan=True)
    assert np.array_equal(series.to_pandas()["x_px"], series["x_px"], equal_nan=True)


@pytest.mark.parametrize("columns", [{"a": [1, 2], "b": [1]}, {"a": [[1, 2]]}, {"a": 1}])
def test_columns_that_do_not_fit_are_refused(columns):
    with pytest.raises(ValidationError, match="one-dimensional and equally long"):
        Series(columns)


def test_a_series_is_read_by_name_and_not_changed():
    series = Series({"a": [1, 2]})
    with pytest.raises(ValidationError, match="no column 'b'; there are a"):
        series["b"]
    with pytest.raises(TypeError):
        series.columns["b"] = np.zeros(2)
    assert len(Series({})) == 0


# --- Session ---------------------------------------------------------------------------------------
def test_a_session_tells_its_repetitions():
    partial = event(type=EventType.REP_PARTIAL)
    session = Session(source="squat.mp4", events=(event(), partial, event(start_s=3, end_s=4)))
    assert session.repetition_count == 2
    assert [e.start_s for e in session.repetitions] == [0.5, 3]
    assert session.events_of(EventType.REP_PARTIAL, EventType.ZONE_LEFT) == (partial,)
    assert Session(source="x").repetition_count == 0


def test_a_session_survives_pickle_and_its_events_json():
    session = Session(
        source="a.mp4", events=(event(),), series=Series({"a": [1.0]}), models={"m": "0" * 64}, settings={"video": {"stride": 1}}
    )
    again = pickle.loads(pickle.dumps(session))
    for name in ("source", "events", "models", "settings"):
        assert getattr(again, name) == getattr(session, name)
    assert again.series["a"].tolist() == [1.0]
    text = json.dumps([e.to_dict() for e in session.events])
    assert tuple(Event.from_dict(e) for e in json.loads(text)) == session.events


def test_our_validation_errors_are_value_errors_of_ours():
    assert issubclass(ValidationError, SharedUtilsError)
    assert issubclass(ValidationError, ValueError)

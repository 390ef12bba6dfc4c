"""What is put into the store comes out of it: by property, against the obvious way of asking a list."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pose_analyzer.storage import (
    AnalysisRecord,
    AnalysisState,
    CursorError,
    NoSuchSessionError,
    SessionKind,
    SessionRecord,
    StorageError,
)
from shared_utils.data_models import Event, EventType, Series

PROPERTY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
int64 = st.integers(-(2**63), 2**63 - 1)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])
moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=zones)
names = st.text(min_size=1, max_size=200)


@st.composite
def events(draw) -> Event:
    start, end = sorted((draw(finite), draw(finite)))
    return Event(
        draw(st.sampled_from(EventType)),
        draw(st.text(max_size=40)),
        draw(int64),
        start,
        end,
        value=draw(st.none() | finite),
        unit=draw(st.sampled_from(["", "deg", "s"])),
        frames=tuple(draw(st.lists(st.integers(0, 2**60), max_size=5))),
        message=draw(st.text(max_size=80)),
        data=draw(st.dictionaries(st.text(max_size=12), plain, max_size=4)),
    )


@PROPERTY
@given(wanted=st.lists(events(), max_size=8), seen_at=moments)
def test_events_come_back_as_they_were_and_in_order(shared_store, new_session, wanted, seen_at):
    session_id = new_session(shared_store)
    assert shared_store.write(wanted, session_id=session_id, recorded_at=seen_at) == len(wanted)
    stored = shared_store.query(session_id=session_id).items
    assert [s.event for s in stored] == wanted
    assert [dict(s.event.data) for s in stored] == [dict(e.data) for e in wanted]
    assert all(s.recorded_at == seen_at for s in stored)


@PROPERTY
@given(
    record=st.builds(
        SessionRecord,
        id=st.just(""),
        kind=st.sampled_from(SessionKind),
        name=names,
        exercise=st.none() | st.sampled_from(["squat", "plank"]),
        started_at=moments,
        finished_at=st.none() | moments,
        duration_s=st.none() | finite,
        frames=st.none() | st.integers(0, 2**60),
        repetitions=st.none() | st.integers(0, 2**31 - 1),
        people=st.none() | st.integers(0, 2**31 - 1),
        complete=st.none() | st.booleans(),
        details=st.dictionaries(st.text(max_size=12), plain, max_size=4),
    )
)
def test_sessions_come_back_as_they_were(shared_store, record):
    record = replace(record, id=uuid.uuid4().hex)
    shared_store.add_session(record)
    assert shared_store.session(record.id) == record


@PROPERTY
@given(
    record=st.builds(
        AnalysisRecord,
        id=st.just(""),
        name=names,
        exercise=st.none() | st.sampled_from(["squat", "plank"]),
        state=st.sampled_from(AnalysisState),
        url=st.none() | st.text(max_size=100),
        size_bytes=st.none() | st.integers(0, 2**62),
        created_at=moments,
        started_at=st.none() | moments,
        finished_at=st.none() | moments,
        attempts=st.integers(0, 100),
        error=st.none() | st.text(max_size=100),
        notes=st.lists(st.text(max_size=30), max_size=3).map(tuple),
        session=st.none(),
    )
)
def test_analyses_come_back_as_they_were(shared_store, record):
    record = replace(record, id=uuid.uuid4().hex)
    shared_store.analyses.add(record)
    assert shared_store.analyses.get(record.id) == record
    shared_store.analyses.delete(record.id)
    assert shared_store.analyses.get(record.id) is None


times = st.floats(0, 20).map(lambda t: round(t, 1))


@PROPERTY
@given(
    facts=st.lists(st.tuples(st.sampled_from(list(EventType)[:4]), st.integers(0, 3), times, times), max_size=25),
    types=st.lists(st.sampled_from(list(EventType)[:5]), max_size=2),
    track_id=st.none() | st.integers(0, 3),
    from_s=st.none() | times,
    until_s=st.none() | times,
    limit=st.integers(1, 9),
)
def test_questions_are_answered_as_a_list_would(shared_store, new_session, facts, types, track_id, from_s, until_s, limit):
    session_id, other = new_session(shared_store), new_session(shared_store)
    written = [Event(kind, "cam", track, min(a, b), max(a, b)) for kind, track, a, b in facts]
    shared_store.write(written, session_id=session_id)
    shared_store.write(written, session_id=other)
    wanted = [
        e
        for e in written
        if (not types or e.type in types)
        and (track_id is None or e.track_id == track_id)
        and (from_s is None or e.end_s >= from_s)
        and (until_s is None or e.start_s < until_s)
    ]
    found, cursor = [], None
    while True:
        page = shared_store.query(
            session_id=session_id, types=types, track_id=track_id, from_s=from_s, until_s=until_s, limit=limit, cursor=cursor
        )
        found += [s.event for s in page.items]
        assert len(page.items) <= limit
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == wanted
    assert list(shared_store.events_of(session_id, types=types)) == [e for e in written if not types or e.type in types]


def test_events_are_found_by_when_they_were_written_across_sessions(store, new_session):
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for hours in range(4):
        event = Event(EventType.PERSON_ENTERED, "cam", hours, 0.0, 0.0)
        store.write([event], session_id=new_session(store), recorded_at=noon + timedelta(hours=hours))
    found = store.query(since=noon + timedelta(hours=1), before=noon + timedelta(hours=3)).items
    assert [s.event.track_id for s in found] == [1, 2]


def test_numbers_that_are_none_become_no_reading(store, new_session):
    session_id = new_session(store)
    data = {"depth_deg": math.nan, "sides": [1.0, math.inf], "count": np.int64(3), "mean": np.float32(0.5)}
    store.write([Event(EventType.REP_COMPLETED, "cam", 1, 0.0, 1.0, value=math.nan, data=data)], session_id=session_id)
    (stored,) = store.query(session_id=session_id).items
    assert stored.event.value is None
    assert dict(stored.event.data) == {"depth_deg": None, "sides": [1.0, None], "count": 3, "mean": 0.5}


def test_pages_of_analyses_neither_repeat_nor_leave_out_while_rows_come(store):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    # Many of the same moment: the order is by id then.
    for number in range(20):
        store.analyses.add(AnalysisRecord(id=f"{number:032x}", name="clip", created_at=start + timedelta(seconds=number // 7)))
    seen, cursor = [], None
    for _ in range(5):
        page = store.analyses.page(limit=6, cursor=cursor)
        seen += [r.id for r in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        store.analyses.add(AnalysisRecord(id=f"{1000 + len(seen):032x}", name="newer", created_at=start + timedelta(days=1)))
    assert seen == [f"{number:032x}" for number in reversed(range(20))]


def test_pages_of_sessions_are_newest_first(store, new_session):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [new_session(store, started_at=start + timedelta(minutes=n), kind=list(SessionKind)[n % 2]) for n in range(6)]
    first = store.sessions(limit=4)
    rest = store.sessions(limit=4, cursor=first.next_cursor)
    assert [s.id for s in (*first.items, *rest.items)] == ids[::-1]
    assert rest.next_cursor is None
    assert {s.kind for s in store.sessions(kind=SessionKind.STREAM).items} == {SessionKind.STREAM}


@PROPERTY
@given(cursor=st.text(max_size=60))
def test_what_is_no_cursor_is_refused_as_such(shared_store, cursor):
    try:
        assert shared_store.query(cursor=cursor, limit=1) is not None
        assert cursor.lstrip("-").isascii()
        assert cursor.lstrip("-").isdigit()
    except CursorError as error:
        assert "next_cursor" in str(error)  # noqa: PT017


@pytest.mark.parametrize("cursor", ["99999999999999999.x", "-99999999999999999.x"])
def test_a_cursor_beyond_every_calendar_ends_the_list_or_begins_it(store, cursor):
    store.analyses.add(AnalysisRecord(id="a", name="clip", created_at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert len(store.analyses.page(cursor=cursor).items) == (0 if cursor.startswith("-") else 1)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_limits_out_of_range_are_refused(store, limit):
    with pytest.raises(StorageError, match="between 1 and 1000"):
        store.query(limit=limit)


def test_events_of_no_session_are_refused_and_none_is_kept(store):
    with pytest.raises(NoSuchSessionError, match="nowhere"):
        store.write([Event(EventType.PERSON_LEFT, "cam", 1, 0.0, 0.0)], session_id="nowhere")
    assert store.query().items == ()


def test_a_batch_with_one_bad_event_leaves_nothing(store, new_session):
    session_id = new_session(store)
    good = Event(EventType.PERSON_LEFT, "cam", 1, 0.0, 0.0)
    too_large = Event(EventType.PERSON_LEFT, "cam", 2**70, 0.0, 0.0)
    with pytest.raises((StorageError, OverflowError)):
        store.write([good, too_large], session_id=session_id)
    assert store.query(session_id=session_id).items == ()


def test_a_second_session_of_the_same_id_is_refused(store, new_session):
    session_id = new_session(store)
    with pytest.raises(StorageError, match="already"):
        store.add_session(SessionRecord(id=session_id, kind=SessionKind.STREAM, name="door", started_at=datetime.now(UTC)))


def test_changes_of_a_session_are_kept_and_unknown_fields_refused(store, new_session):
    session_id = new_session(store)
    assert store.update_session(session_id, repetitions=4, details={"reason": "stopped"})
    assert (store.session(session_id).repetitions, store.session(session_id).details) == (4, {"reason": "stopped"})
    assert not store.update_session("nowhere", repetitions=4)
    with pytest.raises(StorageError, match="reps"):
        store.update_session(session_id, reps=4)


def test_deleting_a_session_deletes_its_events_alone(store, new_session):
    event = Event(EventType.PERSON_LEFT, "cam", 1, 0.0, 0.0)
    doomed, kept = new_session(store), new_session(store)
    store.write([event], session_id=doomed)
    store.write([event], session_id=kept)
    assert store.delete_session(doomed)
    assert [s.session_id for s in store.query().items] == [kept]
    assert not store.delete_session(doomed)


def test_times_without_a_zone_are_refused(store):
    with pytest.raises(Exception, match="zone"):
        store.analyses.add(AnalysisRecord(id="a", name="clip", created_at=datetime(2026, 1, 1)))


def test_series_come_back_by_column(store, new_session):
    session_id = new_session(store)
    knee = np.array([1.0, np.nan, 3.0, 4.0])
    columns = {"timestamp_s": np.arange(4) / 30, "left_knee_flexion_deg": knee, "phase": np.array(["top"] * 4, object)}
    store.write(series=Series(columns), session_id=session_id)
    back = store.series(session_id)
    assert list(back) == list(columns)
    np.testing.assert_array_equal(back["left_knee_flexion_deg"], columns["left_knee_flexion_deg"])
    assert list(store.series(session_id, ["phase", "timestamp_s"])) == ["phase", "timestamp_s"]
    with pytest.raises(StorageError, match="no column 'knee'"):
        store.series(session_id, ["knee"])
    with pytest.raises(StorageError, match="no series"):
        store.series(new_session(store))
    with pytest.raises(NoSuchSessionError):
        store.write(series=Series(columns), session_id="nowhere")


class TestJobs:
    """An analysis goes only where its state lets it go."""

    NOW = datetime(2026, 11, 20, tzinfo=UTC)

    @pytest.fixture
    def job(self, store):
        store.analyses.add(AnalysisRecord(id="job", name="clip", created_at=self.NOW, url="https://u:p@example.org/a.mp4"))
        return store.analyses

    def finish(self, store):
        session = SessionRecord(id="job", kind=SessionKind.ANALYSIS, name="clip", started_at=self.NOW, frames=9)
        return store.finish_analysis(session, [Event(EventType.REP_COMPLETED, "job", 1, 0.0, 1.0)], notes=["dark"], at=self.NOW)

    def test_it_begins_once(self, job):
        assert job.begin("job", self.NOW)
        assert not job.begin("job", self.NOW)
        assert job.get("job").attempts == 1

    def test_it_waits_again_with_or_without_a_lost_attempt(self, job):
        for count_attempt, attempts in ((True, 1), (False, 1)):
            job.begin("job", self.NOW)
            assert job.requeue("job", count_attempt=count_attempt)
            assert (job.get("job").state, job.get("job").attempts) == (AnalysisState.QUEUED, attempts)

    def test_done_brings_session_and_events_at_once_and_forgets_the_address(self, job, store):
        job.begin("job", self.NOW)
        assert self.finish(store)
        record = job.get("job")
        assert (record.state, record.session.frames, record.notes, record.url) == (AnalysisState.DONE, 9, ("dark",), None)
        assert len(store.query(session_id="job").items) == 1

    def test_a_cancelled_one_cannot_be_finished(self, job, store):
        job.begin("job", self.NOW)
        assert job.cancel("job", self.NOW)
        assert not self.finish(store)
        assert store.session("job") is None
        assert store.query().items == ()

    def test_a_final_state_is_final(self, job, store):
        job.begin("job", self.NOW)
        self.finish(store)
        assert not job.fail("job", "late", self.NOW)
        assert not job.cancel("job", self.NOW)
        assert not job.requeue("job")

    def test_failure_keeps_its_reason_and_forgets_the_address(self, job):
        assert job.fail("job", "no such host", self.NOW)
        assert (job.get("job").error, job.get("job").url) == ("no such host", None)

    def test_the_address_is_forgotten_once_the_recording_is_here(self, job):
        assert job.note_arrival("job", 1234)
        assert (job.get("job").url, job.get("job").size_bytes) == (None, 1234)

    def test_deleting_it_deletes_session_and_events(self, job, store):
        job.begin("job", self.NOW)
        self.finish(store)
        assert job.delete("job")
        assert store.session("job") is None
        assert store.query().items == ()
        assert not job.delete("job")

    def test_they_are_counted_and_listed_by_state(self, job):
        job.add(AnalysisRecord(id="later", name="clip", created_at=self.NOW + timedelta(seconds=1)))
        job.begin("later", self.NOW)
        assert job.counts() == {s: int(s in (AnalysisState.QUEUED, AnalysisState.RUNNING)) for s in AnalysisState}
        assert [r.id for r in job.unfinished()] == ["job", "later"]
        assert [r.id for r in job.page(state=AnalysisState.RUNNING).items] == ["later"]
        assert job.ids() == {"job", "later"}

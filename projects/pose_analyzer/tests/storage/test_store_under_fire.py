"""The database while processes die and several write at once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from pose_analyzer.storage import DATABASE_FILE, Store
from pose_analyzer.storage.engine import open_engine, writing
from shared_utils.data_models import Event, EventType

BATCH = 40
WRITER = f"""
import sys
from pose_analyzer.storage import Store
from shared_utils.data_models import Event, EventType
store = Store(sys.argv[1])
for batch in range(int(sys.argv[3])):
    store.write([Event(EventType.PERSON_ENTERED, sys.argv[2], batch, 0.0, float(n)) for n in range({BATCH})], session_id=sys.argv[2])
    print(batch, flush=True)
"""


def writer(path, session_id: str, batches: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), session_id, str(batches)], stdout=subprocess.PIPE, text=True)


def batches_in(store: Store, session_id: str) -> dict[int, int]:
    """Batch -> how many of its events are there."""
    found: dict[int, int] = {}
    for event in store.events_of(session_id):
        found[event.track_id] = found.get(event.track_id, 0) + 1
    return found


def test_a_writer_that_is_killed_leaves_whole_batches_and_a_sound_database(tmp_path, new_session):
    path = tmp_path / DATABASE_FILE
    with Store(path) as store:
        session_id = new_session(store)
    for _ in range(3):
        with writer(path, session_id, 1_000_000) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline() for _ in range(12)]
            process.send_signal(signal.SIGKILL)
            acknowledged += process.stdout.readlines()
        last = int(acknowledged[-1])
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with Store(path) as store:
            found = batches_in(store, session_id)
            # What was acknowledged is there; a batch that was on its way is there wholly or not at all.
            assert set(range(last + 1)) <= set(found) <= set(range(last + 2))
            assert set(found.values()) == {BATCH}
            assert store.delete_session(session_id)
            session_id = new_session(store)


def test_processes_and_threads_that_write_at_once_all_get_through(tmp_path, new_session):
    path = tmp_path / DATABASE_FILE
    with Store(path) as store:
        ids = [new_session(store) for _ in range(5)]
        processes = [writer(path, session_id, 15) for session_id in ids[:3]]
        errors: list[BaseException] = []

        def write(session_id: str) -> None:
            try:
                for batch in range(15):
                    store.write([Event(EventType.PERSON_LEFT, "cam", batch, 0.0, 0.0)] * BATCH, session_id=session_id)
            except BaseException as error:  # noqa: BLE001  # told by the test
                errors.append(error)

        threads = [threading.Thread(target=write, args=(session_id,)) for session_id in ids[3:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for process in processes:
            process.communicate(timeout=120)
        assert errors == []
        assert [process.returncode for process in processes] == [0, 0, 0]
        for session_id in ids:
            assert batches_in(store, session_id) == dict.fromkeys(range(15), BATCH)


def test_readers_do_not_wait_for_a_writer(tmp_path, new_session):
    path = tmp_path / DATABASE_FILE
    with Store(path) as store:
        session_id = new_session(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM sessions")
            # The other's change is not there before it is committed, and nobody waits for it.
            assert store.session(session_id) is not None
            other.execute("ROLLBACK")


def test_a_transaction_that_will_write_has_its_place_from_the_beginning(tmp_path):
    # One that only reads at first and writes then could find that another came between, and could not just wait.
    path = tmp_path / DATABASE_FILE
    engine = open_engine(path)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        with writing(engine), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
    engine.dispose()

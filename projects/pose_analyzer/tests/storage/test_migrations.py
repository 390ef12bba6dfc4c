"""Databases of every age come to the newest version; those of a newer release are left alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import inspect, text

from pose_analyzer.storage import DATABASE_FILE, NewerDatabaseError, SessionKind, StorageError, Store
from pose_analyzer.storage.engine import open_engine
from pose_analyzer.storage.migrations import MIGRATIONS, Migration, migrate
from pose_analyzer.storage.schema import metadata

NEWEST = MIGRATIONS[-1].version

# A database as version 1 made it, as a dump of the sqlite3 shell.
VERSION_1 = """
CREATE TABLE schema_versions (version INTEGER NOT NULL, name VARCHAR(100) NOT NULL, applied_at BIGINT NOT NULL,
    CONSTRAINT pk_schema_versions PRIMARY KEY (version));
INSERT INTO schema_versions VALUES (1, 'sessions and events', 1763629200000000);
CREATE TABLE sessions (id VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL, name VARCHAR(200) NOT NULL, exercise VARCHAR(100),
    started_at BIGINT NOT NULL, finished_at BIGINT, duration_s FLOAT, frames BIGINT, repetitions INTEGER, people INTEGER,
    complete BOOLEAN, details JSON NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_sessions_started_at_id ON sessions (started_at, id);
INSERT INTO sessions VALUES ('s1', 'stream', 'door', 'squat', 1763629200000000, NULL, NULL, NULL, 2, NULL, NULL, '{"a":[1]}');
CREATE TABLE events (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, session_id VARCHAR(64) NOT NULL, type VARCHAR(40) NOT NULL,
    stream_id VARCHAR(200) NOT NULL, track_id BIGINT NOT NULL, start_s FLOAT NOT NULL, end_s FLOAT NOT NULL, value FLOAT,
    unit VARCHAR(40) NOT NULL, frames JSON NOT NULL, message TEXT NOT NULL, data JSON NOT NULL, recorded_at BIGINT NOT NULL,
    FOREIGN KEY(session_id) REFERENCES sessions (id) ON DELETE CASCADE);
CREATE INDEX ix_events_recorded_at ON events (recorded_at);
CREATE INDEX ix_events_session_id_id ON events (session_id, id);
CREATE INDEX ix_events_session_id_start_s ON events (session_id, start_s);
CREATE INDEX ix_events_type_id ON events (type, id);
INSERT INTO events VALUES (7, 's1', 'rep_completed', 'door', 1, 0.5, 2.5, 1.0, '', '[15,75]', 'Repetition 1', '{"depth_deg":91.5}', 1763629205000000);
"""  # noqa: E501  # rows as they were dumped


def tables_of(engine) -> dict:
    """Columns, keys and indexes of every table, as the database itself tells them."""
    found = inspect(engine)
    return {
        name: {
            "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)],
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "foreign": [(f["constrained_columns"], f["referred_table"], f["options"]) for f in found.get_foreign_keys(name)],
            "indexes": sorted((i["name"], tuple(i["column_names"])) for i in found.get_indexes(name)),
        }
        for name in found.get_table_names()
    }


def test_a_database_of_version_1_is_brought_up_with_all_it_holds(tmp_path):
    path = tmp_path / DATABASE_FILE
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
    with Store(path) as store:
        session = store.session("s1")
        assert (session.kind, session.name, session.repetitions, session.details) == (SessionKind.STREAM, "door", 2, {"a": [1]})
        assert session.started_at.isoformat() == "2025-11-20T09:00:00+00:00"
        (stored,) = store.query(session_id="s1").items
        assert (stored.id, stored.event.end_s, stored.event.frames, stored.event.data["depth_deg"]) == (7, 2.5, (15, 75), 91.5)
        assert store.analyses.page().items == ()
    with closing(sqlite3.connect(path)) as now:
        assert [v for (v,) in now.execute("SELECT version FROM schema_versions ORDER BY version")] == list(range(1, NEWEST + 1))


def test_the_steps_lead_to_the_tables_that_the_program_uses(tmp_path):
    stepped, direct = open_engine(tmp_path / "stepped.sqlite3"), open_engine(tmp_path / "direct.sqlite3")
    migrate(stepped)
    metadata.create_all(direct)
    assert tables_of(stepped) == tables_of(direct)
    stepped.dispose()
    direct.dispose()


def test_a_database_of_an_old_version_and_a_new_one_end_alike(tmp_path):
    path = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
    old, new = open_engine(path), open_engine(tmp_path / "new.sqlite3")
    assert migrate(old) == list(range(2, NEWEST + 1))
    assert migrate(new) == list(range(1, NEWEST + 1))
    assert tables_of(old) == tables_of(new)
    old.dispose()
    new.dispose()


def test_a_database_of_a_newer_release_is_refused_and_left_alone(tmp_path):
    path = tmp_path / DATABASE_FILE
    Store(path).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"INSERT INTO schema_versions VALUES ({NEWEST + 5}, 'from the future', 0)")
        newer.commit()
        before = list(newer.iterdump())
    with pytest.raises(NewerDatabaseError, match=f"version {NEWEST + 5}.*version {NEWEST}.*newer release"):
        Store(path)
    with closing(sqlite3.connect(path)) as untouched:
        assert list(untouched.iterdump()) == before


def test_a_step_that_fails_takes_back_all_steps_of_the_start(tmp_path):
    engine = open_engine(tmp_path / DATABASE_FILE)

    def broken(connection) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        migrate(engine, [*MIGRATIONS, Migration(NEWEST + 1, "broken", broken)])
    assert inspect(engine).get_table_names() == []
    assert migrate(engine) == list(range(1, NEWEST + 1))
    engine.dispose()


def test_processes_that_start_at_once_all_get_the_newest_version(tmp_path):
    path = tmp_path / DATABASE_FILE
    program = "import sys; from pose_analyzer.storage import Store; sys.stdin.read(1); Store(sys.argv[1]).close()"
    starters = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("x")
        starter.stdin.close()
        starter.stdin = None
    for starter in starters:
        _, errors = starter.communicate(timeout=60)
        assert (starter.returncode, errors) == (0, "")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM schema_versions").fetchone() == (NEWEST,)


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path):
    path = tmp_path / DATABASE_FILE
    path.write_bytes(b"these are my holiday notes, not a database" * 50)
    with pytest.raises(StorageError, match=r"pose\.sqlite3 as database: file is not a database"):
        Store(path)
    assert path.read_bytes().startswith(b"these are my holiday notes")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="data_dir"):
        Store(tmp_path / "file" / DATABASE_FILE)


def test_the_database_is_for_its_owner_alone(tmp_path):
    Store(tmp_path / DATABASE_FILE).close()
    assert (tmp_path / DATABASE_FILE).stat().st_mode & 0o077 == 0

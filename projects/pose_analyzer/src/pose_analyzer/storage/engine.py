"""The database behind a store: opening SQLite so that several threads and processes can work with it.

Write-ahead log: readers never wait for a writer, and a process that is killed in the middle of a
transaction leaves the state before it. Every connection waits up to `BUSY_TIMEOUT_S` for another writer.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from pose_analyzer.storage.errors import StorageError

BUSY_TIMEOUT_S = 20.0
_IMMEDIATE = "pose_immediate"


def open_engine(path: Path) -> Engine:
    """Open a database file, made (readable for its owner alone) if absent.

    Args:
        path: The file; its folder is made too.

    Returns:
        An engine for `reading` and `writing`.

    Raises:
        StorageError: The file cannot be made or opened, or is no database.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StorageError(f"cannot open the database {path}: {error.strerror or error}; choose another data_dir") from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        json_serializer=_to_json,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    try:
        _use_write_ahead_log(engine)
    except (SQLAlchemyError, sqlite3.Error) as error:
        engine.dispose()
        raise StorageError(f"cannot use {path} as database: {reason(error)}; move it away or choose another data_dir") from error
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent look at the database.

    Raises:
        StorageError: The database cannot be read.
    """
    with _translated(), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction: all of it happens, or nothing.

    Raises:
        StorageError: The database cannot be written: disk full, or another writer held it for too long.
    """
    # The lock is taken at the beginning: a transaction that reads first could not be repeated by waiting.
    with _translated(), engine.execution_options(**{_IMMEDIATE: True}).begin() as connection:
        yield connection


def reason(error: Exception) -> str:
    """The database's own words, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, sqlite3.Error) as error:
        raise StorageError(f"the database failed: {reason(error)}") from error


def _prepare(connection: Any, _record: Any) -> None:
    # Python's driver would begin transactions by itself, and too late for reads; `_begin` does it.
    connection.isolation_level = None
    for pragma in (f"busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}", "foreign_keys = ON", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_IMMEDIATE) else "BEGIN")


def _use_write_ahead_log(engine: Engine) -> None:
    """Switch the file to WAL; it stays so. The switch does not wait for others, so it is tried again."""
    limit_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        connection = engine.raw_connection()
        try:
            connection.driver_connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[union-attr]
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() >= limit_s:
                raise OperationalError("PRAGMA journal_mode = WAL", None, error) from error
            time.sleep(0.02)
        finally:
            connection.close()


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

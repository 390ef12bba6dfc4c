"""A store of one's own, and the helper that makes sessions in it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest

from pose_analyzer.storage import DATABASE_FILE, SessionKind, SessionRecord, Store

_NUMBERS = count()


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / DATABASE_FILE) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    """One database for all examples of a property: a session each keeps them apart."""
    with Store(tmp_path_factory.mktemp("store") / DATABASE_FILE) as opened:
        yield opened


@pytest.fixture(scope="session")
def new_session():
    """Begins a session and gives its id."""

    def begin(store: Store, **fields) -> str:
        session_id = f"session{next(_NUMBERS)}"
        facts = {"kind": SessionKind.STREAM, "name": "door", "started_at": datetime(2026, 11, 20, 9, 30, tzinfo=UTC), **fields}
        store.add_session(SessionRecord(id=session_id, **facts))
        return session_id

    return begin

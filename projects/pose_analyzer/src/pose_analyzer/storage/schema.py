"""Tables of the store as they are in the newest version, in SQLAlchemy Core.

The types are chosen so that SQLite and PostgreSQL keep the same values: times are UTC with microseconds
(an integer in SQLite, which has no such type), lists and mappings are JSON, ids that the database makes are
64 bit. `migrations/` holds the steps that lead here; a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """A moment, as an aware `datetime` in UTC.

    Raises:
        ValueError: A time without a zone is to be stored.

    Example:
        >>> from sqlalchemy.dialects import sqlite
        >>> UtcTime().process_bind_param(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), sqlite.dialect())
        1000000
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Microseconds since 1970 where the database has no time with a zone."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """What the database gets."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times are stored with their zone, got {value.isoformat()} without one")
        return (value - _EPOCH) // _MICROSECOND if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """What the program gets."""
        if value is None:
            return None
        return _EPOCH + value * _MICROSECOND if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column of exactly the type INTEGER, which has 64 bit there.
BigKey = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

versions = Table(
    "schema_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String(100), nullable=False),
    Column("applied_at", UtcTime, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(200), nullable=False),
    Column("exercise", String(100)),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("duration_s", Float),
    Column("frames", BigInteger),
    Column("repetitions", Integer),
    Column("people", Integer),
    Column("complete", Boolean),
    Column("details", JSON, nullable=False),
    Index(None, "started_at", "id"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigKey, primary_key=True),
    Column("session_id", ForeignKey(sessions.c.id, ondelete="CASCADE"), nullable=False),
    Column("type", String(40), nullable=False),
    Column("stream_id", String(200), nullable=False),
    Column("track_id", BigInteger, nullable=False),
    Column("start_s", Float, nullable=False),
    Column("end_s", Float, nullable=False),
    Column("value", Float),
    Column("unit", String(40), nullable=False),
    Column("frames", JSON, nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    Index(None, "session_id", "id"),
    Index(None, "session_id", "start_s"),
    Index(None, "type", "id"),
    Index(None, "recorded_at"),
    sqlite_autoincrement=True,
)

analyses = Table(
    "analyses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("exercise", String(100)),
    Column("state", String(16), nullable=False),
    Column("url", Text),
    Column("size_bytes", BigInteger),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("notes", JSON, nullable=False),
    Index(None, "created_at", "id"),
    Index(None, "state", "created_at", "id"),
)

"""Version 1: what was measured when, and the events in it."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Connection, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

from pose_analyzer.storage.schema import BigKey, UtcTime


def upgrade(connection: Connection) -> None:
    """Make the tables `sessions` and `events`."""
    metadata = MetaData()
    Table(
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
        Index("ix_sessions_started_at_id", "started_at", "id"),
    )
    Table(
        "events",
        metadata,
        Column("id", BigKey, primary_key=True),
        Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
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
        Index("ix_events_session_id_id", "session_id", "id"),
        Index("ix_events_session_id_start_s", "session_id", "start_s"),
        Index("ix_events_type_id", "type", "id"),
        Index("ix_events_recorded_at", "recorded_at"),
        sqlite_autoincrement=True,
    )
    metadata.create_all(connection, checkfirst=False)

"""Version 2: analyses as jobs that outlive the server."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Connection, Index, Integer, MetaData, String, Table, Text

from pose_analyzer.storage.schema import UtcTime


def upgrade(connection: Connection) -> None:
    """Make the table `analyses`."""
    metadata = MetaData()
    Table(
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
        Index("ix_analyses_created_at_id", "created_at", "id"),
        Index("ix_analyses_state_created_at_id", "state", "created_at", "id"),
    )
    metadata.create_all(connection, checkfirst=False)

"""The way from any older database to the newest, one step per version, forwards only.

A step is a function that gets a connection inside of a transaction. Steps are never changed once they
were released; a change of the tables is a new step and the same change in `schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, insert, select

from pose_analyzer.storage.engine import writing
from pose_analyzer.storage.errors import NewerDatabaseError
from pose_analyzer.storage.migrations import m0001_sessions_and_events, m0002_analyses
from pose_analyzer.storage.schema import versions


@dataclass(frozen=True, slots=True)
class Migration:
    """One step.

    Args:
        version: Its number; steps are applied in this order.
        name: What it brings.
        upgrade: Changes tables and rows.
    """

    version: int
    name: str
    upgrade: Callable[[Connection], None]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "sessions and events", m0001_sessions_and_events.upgrade),
    Migration(2, "analyses", m0002_analyses.upgrade),
)


def migrate(engine: Engine, migrations: Sequence[Migration] = MIGRATIONS) -> list[int]:
    """Bring a database to the newest version, all steps in one transaction.

    Processes that start at once wait for each other; the second finds nothing to do.

    Args:
        engine: From `open_engine`.
        migrations: All steps, oldest first.

    Returns:
        The versions that were applied now.

    Raises:
        NewerDatabaseError: The database has a version that is not among the steps.
        StorageError: The database cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from pose_analyzer.storage.engine import open_engine
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     engine = open_engine(Path(folder) / "pose.sqlite3")
        ...     migrate(engine), migrate(engine)
        ...     engine.dispose()
        ([1, 2], [])
    """
    with writing(engine) as connection:
        versions.create(connection, checkfirst=True)
        applied = set(connection.scalars(select(versions.c.version)))
        known = {m.version for m in migrations}
        if applied - known:
            raise NewerDatabaseError(
                f"the database has version {max(applied)}, this software knows version {max(known, default=0)} and older: "
                "it was written by a newer release; use that release, or another data_dir"
            )
        missing = [m for m in migrations if m.version not in applied]
        for migration in missing:
            migration.upgrade(connection)
            connection.execute(insert(versions).values(version=migration.version, name=migration.name, applied_at=datetime.now(UTC)))
    return [m.version for m in missing]

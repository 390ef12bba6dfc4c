"""Sessions, events and jobs in SQLite, series in Parquet files beside it.

`Store` is all that others need. In: records and events; out: the same, by session, type and time.
"""

from pose_analyzer.storage.errors import CursorError, NewerDatabaseError, NoSuchSessionError, StorageError
from pose_analyzer.storage.paging import MAX_LIMIT
from pose_analyzer.storage.records import AnalysisRecord, AnalysisState, Page, SessionKind, SessionRecord, StoredEvent
from pose_analyzer.storage.store import DATABASE_FILE, Store

__all__ = [
    "DATABASE_FILE",
    "MAX_LIMIT",
    "AnalysisRecord",
    "AnalysisState",
    "CursorError",
    "NewerDatabaseError",
    "NoSuchSessionError",
    "Page",
    "SessionKind",
    "SessionRecord",
    "StorageError",
    "Store",
    "StoredEvent",
]

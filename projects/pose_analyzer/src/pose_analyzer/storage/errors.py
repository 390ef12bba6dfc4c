"""Exceptions of the store."""

from __future__ import annotations

from pose_analyzer.errors import PoseAnalyzerError


class StorageError(PoseAnalyzerError):
    """The database cannot be opened, read or written, or a request to it makes no sense."""


class NewerDatabaseError(StorageError):
    """The database was written by a newer version of this software."""


class NoSuchSessionError(StorageError, LookupError):
    """There is no session of that id."""


class CursorError(StorageError, ValueError):
    """A paging cursor is not one that this store gave out."""

"""Cursors: where a page of a list ended, as text that clients hand back as it is.

The next page begins after a key, not after a number of rows, so that rows which come or go meanwhile
make nothing appear twice or be left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, and_, or_

from pose_analyzer.storage.errors import CursorError, StorageError
from pose_analyzer.storage.records import Page

MAX_LIMIT = 1000
_MAX_CURSOR = 300
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

T = TypeVar("T")


def check_limit(limit: int) -> int:
    """The limit, if it is one.

    Raises:
        StorageError: It is below 1 or above 1000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise StorageError(f"limit must lie between 1 and {MAX_LIMIT}, got {limit}")
    return limit


def encode_cursor(*key: int | str) -> str:
    """A key as text.

    Example:
        >>> encode_cursor(12, "a"), decode_cursor("12.a", int, str)
        ('12.a', (12, 'a'))
    """
    return ".".join(map(str, key))


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The key of a cursor.

    Args:
        cursor: What a client sent.
        kinds: Type of each part of the key: int, and a last one may be str.

    Raises:
        CursorError: It is not a cursor of this list.

    Example:
        >>> decode_cursor("nonsense!", int)
        Traceback (most recent call last):
        pose_analyzer.storage.errors.CursorError: not a cursor of this list; take next_cursor of the page before, or none
    """
    parts = cursor.split(".", len(kinds) - 1)
    fits = len(cursor) <= _MAX_CURSOR and len(parts) == len(kinds)
    if not fits or not all(kind is str or _INTEGER.fullmatch(part) for kind, part in zip(kinds, parts, strict=True)):
        raise CursorError("not a cursor of this list; take next_cursor of the page before, or none")
    return tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))


def cut(rows: Sequence[T], limit: int, key: Callable[[T], tuple[int | str, ...]]) -> Page[T]:
    """A page out of up to `limit + 1` rows; the one too many tells that more follow."""
    items = tuple(rows[:limit])
    return Page(items, encode_cursor(*key(items[-1])) if len(rows) > limit else None)


def is_before(at: Column[datetime], identity: Column[str], microseconds: int, last_id: str) -> ColumnElement[bool]:
    """Condition for the rows that follow a key in a list that is newest first.

    Args:
        at: The time that the list is ordered by.
        identity: What it is ordered by within one moment.
        microseconds: Time of the last row that was given out.
        last_id: Its identity.
    """
    # Compared with the column itself, so that the value takes the column's type; a row value would not.
    last = moment(microseconds)
    return or_(at < last, and_(at == last, identity < last_id))


def microseconds_of(moment: datetime) -> int:
    """A time as a part of a cursor's key: microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """Inverse of `microseconds_of`; what no calendar reaches becomes its end.

    Example:
        >>> moment(1_000_000).isoformat()
        '1970-01-01T00:00:01+00:00'
    """
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError:
        return (datetime.max if microseconds > 0 else datetime.min).replace(tzinfo=UTC)

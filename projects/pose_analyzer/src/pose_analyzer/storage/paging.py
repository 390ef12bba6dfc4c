"""Cursors: where a page of a list ended, as text for clients that they need not understand.

The next page begins after a key, not after a number of rows, so that rows which come or go meanwhile
make nothing appear twice or be left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pose_analyzer.storage.errors import CursorError, StorageError
from pose_analyzer.storage.records import Page

MAX_LIMIT = 1000
_MAX_CURSOR = 300
_MAX_INTEGER = 2**63 - 1
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
        >>> decode_cursor(encode_cursor(12, "a"), int, str)
        (12, 'a')
    """
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The key of a cursor.

    Args:
        cursor: What a client sent.
        kinds: Type of each part of the key, int or str.

    Raises:
        CursorError: It is not a cursor of this list.

    Example:
        >>> decode_cursor("nonsense!", int)
        Traceback (most recent call last):
        pose_analyzer.storage.errors.CursorError: not a cursor of this list; take next_cursor of the page before, or none
    """
    try:
        if len(cursor) > _MAX_CURSOR:
            raise ValueError("too long")
        key = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode())
        if not isinstance(key, list) or [type(part) for part in key] != list(kinds):
            raise ValueError("another list's")
        if any(isinstance(part, int) and not -_MAX_INTEGER <= part <= _MAX_INTEGER for part in key):
            raise ValueError("out of range")
    except (ValueError, binascii.Error, RecursionError) as error:
        raise CursorError("not a cursor of this list; take next_cursor of the page before, or none") from error
    return tuple(key)


def cut(rows: Sequence[T], limit: int, key: Callable[[T], tuple[int | str, ...]]) -> Page[T]:
    """A page out of up to `limit + 1` rows; the one too many tells that more follow."""
    items = tuple(rows[:limit])
    return Page(items, encode_cursor(*key(items[-1])) if len(rows) > limit else None)


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

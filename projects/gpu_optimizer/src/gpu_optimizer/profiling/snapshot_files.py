"""Files of plain values from strangers: pickles read without running anything, and JSON.

Python's pickle can name any function and call it. The reader here has no operation for that: it knows
dictionaries, lists, tuples, texts, numbers, bytes, None and booleans, and stops at anything else.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from gpu_optimizer.errors import SnapshotError

_OPERATIONS = tuple(
    """
    PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8
    EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    """.split()  # noqa: SIM905 - a list of fifty quoted words is no better to read
)


class _PlainUnpickler(pickle._Unpickler):
    """The unpickler written in Python, with the operations of plain values only.

    Of the one written in C single operations cannot be removed, and its memo takes as much memory as the file says.
    """

    dispatch: ClassVar = {code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _OPERATIONS)}


class _FastUnpickler(pickle.Unpickler):
    """The unpickler written in C; it finds no name."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise SnapshotError(
            f"the file wants to use {module_name}.{global_name}; a memory snapshot has only plain values. "
            "Do not open it with pickle.load: it could run a program"
        )


def decode(source: str | Path | bytes, *, max_bytes: int, trusted: bool = False) -> Any:
    """Plain values of a pickle or JSON file.

    Args:
        source: The file or its content.
        max_bytes: Largest size that is read.
        trusted: Read pickles with the fast reader.

    Raises:
        SnapshotError: The file cannot be read, is too large, damaged, or holds more than plain values.
    """
    content = source if isinstance(source, bytes) else _content(Path(source), max_bytes)
    if len(content) > max_bytes:
        raise SnapshotError(f"the snapshot has {len(content)} bytes, more than the {max_bytes} that are read; raise max_bytes")
    if content.lstrip()[:1] in (b"{", b"["):
        return _from_json(content)
    return _from_pickle(content, trusted=trusted)


def encode(value: Mapping[str, Any], path: Path) -> Path:
    """Write plain values: JSON for a name that ends in `.json`, else a pickle.

    Raises:
        SnapshotError: The file cannot be written.
    """
    try:
        if path.suffix == ".json":
            path.write_text(json.dumps(value), "utf-8")
        else:
            path.write_bytes(pickle.dumps(value))
    except OSError as error:
        raise SnapshotError(f"cannot write the snapshot {path}: {error.strerror or error}") from error
    return path


def _content(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise SnapshotError(f"cannot read the snapshot {path}: {error.strerror or error}") from error


def _from_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"the snapshot is no valid JSON: {error}") from error


def _from_pickle(content: bytes, *, trusted: bool) -> Any:
    reader = (_FastUnpickler if trusted else _PlainUnpickler)(io.BytesIO(content))
    try:
        return reader.load()
    except SnapshotError:
        raise
    except KeyError as error:
        if trusted or not error.args or type(error.args[0]) is not int:
            raise SnapshotError(f"the snapshot is a damaged pickle: {error!r}") from error
        raise SnapshotError(
            f"the file does more than describe plain values (operation {bytes([error.args[0]])!r}); it is no memory snapshot. "
            "Do not open it with pickle.load: it could run a program"
        ) from error
    # A damaged pickle can fail in any operation, with the error of whatever it broke.
    except Exception as error:
        raise SnapshotError(f"the snapshot is no valid pickle: {type(error).__name__}: {error}") from error

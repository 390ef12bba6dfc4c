"""Forms with a file, written to disk while they arrive: nothing is held in memory, nothing is larger than allowed."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shared_utils.service import Problem

SILENCE_S = 60.0
"""How long a client may send nothing in the middle of an upload, seconds."""

_BUFFER_BYTES = 1 << 20
_MAX_FIELD_BYTES = 4096
_MAX_PARTS = 16
_OVERHEAD_BYTES = 1 << 16
_RESERVE_BYTES = 64 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(slots=True)
class Form:
    """A form that has arrived.

    Args:
        file_name: What the client calls the file; None without a name.
        size_bytes: Of the file; None when the form had none.
        fields: The other fields.
    """

    file_name: str | None = None
    size_bytes: int | None = None
    fields: dict[str, str] = field(default_factory=dict)


def check_length(stated: str | None, folder: Path, *, max_bytes: int) -> None:
    """Refuse by its announced length what would be refused later.

    Args:
        stated: Content-Length, if there is one.
        folder: Where it will be kept.
        max_bytes: Largest file.

    Raises:
        Problem: 413 too large, 507 not enough room.
    """
    length = int(stated) if stated is not None and stated.isdecimal() and len(stated) < 20 else 0
    if length > max_bytes + _OVERHEAD_BYTES:
        raise too_large(max_bytes)
    if length and shutil.disk_usage(folder).free < length + _RESERVE_BYTES:
        raise Problem(507, f"the disk has no room for {length} bytes; delete analyses or make room", headers={"Connection": "close"})


def too_large(max_bytes: int) -> Problem:
    """The refusal of a file that is larger than allowed."""
    return Problem(413, f"a recording has at most {max_bytes} bytes (max_upload_bytes)", headers={"Connection": "close"})


async def receive_form(
    content_type: str, body: AsyncIterator[bytes], target: Path, *, file_field: str, fields: set[str], max_bytes: int
) -> Form:
    """Read a form and write its file to disk.

    Args:
        content_type: Of the request, with the boundary.
        body: Its body, in pieces.
        target: Where the file goes; the caller removes it after an error.
        file_field: Name of the file's field.
        fields: Names of the others.
        max_bytes: Largest file.

    Raises:
        Problem: 408 nothing comes any more, 413 too large, 422 no such form, 507 disk full, 503 the disk refuses.
    """
    sink = _Sink(target)
    parts = _Parts(sink, file_field, fields, max_bytes)
    try:
        parser = MultipartParser(_boundary(content_type), parts.callbacks())  # pyright: ignore[reportArgumentType]
        async for chunk in _without_stalls(body):
            parser.write(chunk)
            if len(sink.waiting) >= _BUFFER_BYTES:
                await asyncio.to_thread(sink.flush)
        if not parts.ended:
            raise Problem(422, "the form ends before its closing boundary; send it again")
        await asyncio.to_thread(sink.finish)
    except FormParserError as error:
        raise Problem(422, f"the body is no form of the kind multipart/form-data ({error})") from error
    except OSError as error:
        raise disk_problem(error) from error
    finally:
        sink.close()
    return parts.form


async def _without_stalls(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a body; a client that stops sending does not keep its place in the queue."""
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                chunk = await anext(body, None)
        except TimeoutError:
            raise Problem(408, f"nothing came for {SILENCE_S:g} s; send it again", headers={"Connection": "close"}) from None
        if chunk is None:
            return
        yield chunk


def disk_problem(error: OSError) -> Problem:
    """What to tell when the disk refuses."""
    headers = {"Connection": "close"}
    if error.errno in _FULL:
        return Problem(507, "the disk is full; delete analyses or make room", headers=headers)
    return Problem(503, f"the recording cannot be kept ({error.strerror or type(error).__name__})", headers=headers)


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise Problem(422, "multipart/form-data needs a boundary in Content-Type")
    return boundary


class _Sink:
    """The file on disk; pieces wait in memory until they are worth a write."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._file: BinaryIO | None = None
        self.waiting = bytearray()

    def flush(self) -> None:
        if self._file is None:
            self._file = self._target.open("xb", buffering=0)
        data = memoryview(bytes(self.waiting))
        self.waiting.clear()
        while data:
            data = data[self._file.write(data) or 0 :]

    def finish(self) -> None:
        self.flush()
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _Parts:
    """What the parser finds, piece by piece."""

    def __init__(self, sink: _Sink, file_field: str, fields: set[str], max_bytes: int) -> None:
        self.form = Form()
        self.ended = False
        self._sink, self._file_field, self._fields, self._max_bytes = sink, file_field, fields, max_bytes
        self._name, self._is_file = "", False
        self._header, self._value, self._disposition, self._data = bytearray(), bytearray(), b"", bytearray()
        self._count = 0

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise Problem(422, f"a form has at most {_MAX_PARTS} parts")
        self._name, self._is_file, self._disposition = "", False, b""
        self._data.clear()

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise Problem(422, "every part of the form needs a name (Content-Disposition: form-data; name=...)")
        self._name = options[b"name"].decode("utf-8", "replace")
        self._is_file = self._name == self._file_field
        if self._is_file:
            if self.form.size_bytes is not None:
                raise Problem(422, f"the form has more than one {self._file_field!r}; send one recording at a time")
            self.form.size_bytes = 0
            name = options.get(b"filename")
            self.form.file_name = None if name is None else name.decode("utf-8", "replace")
        elif self._name not in self._fields or self._name in self.form.fields:
            known = ", ".join(sorted({self._file_field, *self._fields}))
            raise Problem(422, f"the form has no field {self._name[:40]!r}, or has it twice; there are {known}")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._data.extend(data[start:end])
            if len(self._data) > _MAX_FIELD_BYTES:
                raise Problem(422, f"{self._name}: has at most {_MAX_FIELD_BYTES} bytes")
            return
        self.form.size_bytes = (self.form.size_bytes or 0) + end - start
        if self.form.size_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self._sink.waiting.extend(memoryview(data)[start:end])

    def _part_end(self) -> None:
        if not self._is_file:
            self.form.fields[self._name] = self._data.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True

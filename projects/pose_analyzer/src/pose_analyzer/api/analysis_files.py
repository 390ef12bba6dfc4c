"""Files of an analysis over HTTP: whole, in parts (ranges, RFC 9110), or not again (ETag); series by chosen columns."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from pose_analyzer.reporting.columns import KEYPOINT_SUFFIXES, SIGMA_SUFFIX
from shared_utils.service import Problem

_MAX_RANGES = 16
_ROWS = 4096
# What a person does not ask for first: keypoints are ten times as many columns, errors as many again.
_SECOND = (*KEYPOINT_SUFFIXES, SIGMA_SUFFIX)


class StoredFile(FileResponse):
    """A file that never changes, with ranges and `If-None-Match`.

    A Range header that cannot be read is ignored, parts beyond the end are left out, and when nothing
    remains the answer is 416, as RFC 9110 (14.2, 15.5.17) has it.

    Args:
        path: An existing file.
        media_type: Of its content.
        filename: What a browser saves it as; None shows it.

    Raises:
        Problem: 404, it is gone.
    """

    def __init__(self, path: Path, *, media_type: str, filename: str | None = None) -> None:
        try:
            status = path.stat()
        except FileNotFoundError:
            raise Problem(404, "the analysis has no such file; its settings may have left it out, or it is being deleted") from None
        # The middleware's no-store would make a player fetch the video again for every jump.
        headers = {"Cache-Control": "private, no-cache"}
        super().__init__(path, media_type=media_type, filename=filename, stat_result=status, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        headers = Headers(scope=scope)
        if _matches(headers.get("if-none-match"), self.headers["etag"]):
            kept = {name: self.headers[name] for name in ("etag", "cache-control", "last-modified")}
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        wanted = headers.get("range")
        if wanted is not None:
            others = [(name, value) for name, value in scope["headers"] if name != b"range"]
            if self._is_current(headers.get("if-range")):
                ranges = readable_ranges(wanted, int(self.headers["content-length"]))
                others += [(b"range", ranges.encode())] if ranges else []
            scope = {**scope, "headers": others}
        await super().__call__(scope, receive, send)

    def _is_current(self, if_range: str | None) -> bool:
        return if_range is None or if_range in (self.headers["etag"], self.headers["last-modified"])


def readable_ranges(header: str, size: int) -> str | None:
    """The part of a Range header that can be met.

    Args:
        header: As the client sent it.
        size: Of the file, bytes.

    Returns:
        A Range header with first and last byte of each part; None when the header is to be ignored.

    Raises:
        Problem: 416, it asks only for what lies beyond the end.

    Example:
        >>> readable_ranges("bytes=0-9, 90-200, -5, 500-", 100), readable_ranges("lines=1-2", 100)
        ('bytes=0-9,90-99,95-99', None)
    """
    match = re.fullmatch(r"\s*bytes\s*=(.*)", header, re.IGNORECASE | re.DOTALL)
    parts = [part.strip() for part in match[1].split(",")] if match else []
    bounds = [re.fullmatch(r"(\d{0,19})-(\d{0,19})", part, re.ASCII) for part in parts]
    if not bounds or len(bounds) > _MAX_RANGES:
        return None
    met = []
    for bound in bounds:
        if bound is None or not (bound[1] or bound[2]):
            return None
        if bound[1] and bound[2] and int(bound[2]) < int(bound[1]):
            return None
        first = int(bound[1]) if bound[1] else max(size - int(bound[2]), 0)
        last = min(int(bound[2]), size - 1) if bound[1] and bound[2] else size - 1
        if first < size and first <= last:
            met.append(f"{first}-{last}")
    if not met:
        raise Problem(416, f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return "bytes=" + ",".join(met)


def choose_columns(path: Path, wanted: Sequence[str] | None) -> list[str]:
    """Columns of a series file.

    Args:
        path: A Parquet file.
        wanted: Names; None takes all but keypoints and errors.

    Raises:
        Problem: 422, there is no such column.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        known: list[str] = file.schema_arrow.names
    if wanted is None:
        return [name for name in known if not name.endswith(_SECOND)]
    for name in wanted:
        if name not in known:
            raise Problem(422, f"columns: there is no column {name[:80]!r}; there are {', '.join(known) or 'none, as nobody was seen'}")
    return list(dict.fromkeys(wanted))


def series_as_json(path: Path, columns: Sequence[str]) -> Iterator[bytes]:
    """A series as JSON by column, in parts; one column is in memory at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield f'{{"rows":{file.metadata.num_rows},"columns":{{'.encode()
        for place, name in enumerate(columns):
            values = [_plain(value) for value in file.read(columns=[name]).column(0).to_pylist()]
            yield f"{',' if place else ''}{json.dumps(name)}:{json.dumps(values, allow_nan=False, separators=(',', ':'))}".encode()
        yield b"}}"


def series_as_csv(path: Path, columns: Sequence[str]) -> Iterator[bytes]:
    """A series as CSV, in parts of some thousand rows; an empty cell is no reading."""
    import csv

    import pyarrow.parquet as pq

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns)):
            cells = [[_cell(value) for value in batch.column(batch.schema.get_field_index(name)).to_pylist()] for name in columns]
            writer.writerows(zip(*cells, strict=True))
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def series_as_parquet(path: Path, columns: Sequence[str]) -> bytes:
    """Chosen columns of a series as a Parquet file."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    with pq.ParquetFile(path) as file:
        table = file.read(columns=list(columns)).select(list(columns))
        pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def download_name(label: str, suffix: str) -> str:
    """What a browser saves a file as.

    Example:
        >>> download_name("squat side.mp4", "series.csv")
        'squat side-series.csv'
    """
    return f"{Path(label).stem[:100]}-{suffix}"


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    given = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in given or etag in given


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")
    return "" if value is None else value

"""Series beside the database: one Parquet file per session, in the session's folder.

A row per person and frame is too much for a table and is always read by column; events, which are few
and asked for across sessions, are in the database.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from pose_analyzer.storage.errors import StorageError
from shared_utils.data_models import SCHEMA_VERSION, Series

SERIES_FILE = "series.parquet"


def write_series(folder: Path, series: Series) -> Path:
    """Write a series into a session's folder, whole or not at all.

    Raises:
        StorageError: The folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = pa.table({name: pa.array(column) for name, column in series.columns.items()})
    pq.write_table(table.replace_schema_metadata({"schema_version": SCHEMA_VERSION}), buffer, compression="zstd")
    path = folder / SERIES_FILE
    temporary = path.with_name(f".{SERIES_FILE}.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_series(folder: Path, columns: Sequence[str] | None = None) -> Series:
    """Read the series of a session's folder.

    Args:
        folder: Of the session.
        columns: Those to read, in this order; None reads all.

    Raises:
        StorageError: There is no series, it is damaged, or it has no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / SERIES_FILE
    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            unknown = [name for name in columns or () if name not in known]
            if unknown:
                raise StorageError(f"no column {unknown[0]!r}; there are {', '.join(known)}")
            table = file.read(columns=None if columns is None else list(columns))
    except FileNotFoundError:
        raise StorageError("the session has no series") from None
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"the session's series is damaged ({error})") from error
    names = table.column_names if columns is None else columns
    return Series({name: table.column(name).to_numpy() for name in names})

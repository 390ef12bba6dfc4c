"""A folder for compiled networks that is believed only as far as its hashes go.

OpenVINO checks the header of a compiled network and nothing else: a blob with a damaged middle is run
and finds people where there are none. So each blob gets a note with its SHA-256, and one that does not
match is thrown away before OpenVINO sees it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from platformdirs import user_cache_path

_log = logging.getLogger(__name__)


def open_cache(folder: str | Path | None) -> Path | None:
    """Make a cache folder ready.

    Args:
        folder: Where; `"user"` is the user's cache folder; None = no cache.

    Returns:
        The folder, holding sound blobs only; None when there is none to be had, for example because it
        cannot be written, which costs time at the next start and nothing else.
    """
    if folder is None:
        return None
    path = user_cache_path("pose-analyzer", appauthor=False) / "openvino" if folder == "user" else Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        for blob in path.glob("*.blob"):
            note = _note(blob)
            if not note.is_file() or note.read_text("ascii", errors="replace") != _digest(blob):
                _log.info("compiled network %s is not sound; it is made anew", blob)
                blob.unlink(missing_ok=True)
    except OSError as error:
        _log.info("no cache of compiled networks at %s: %s", path, error)
        return None
    return path if os.access(path, os.W_OK) else None


def seal(folder: Path) -> None:
    """Note the SHA-256 of blobs that have just been written; a note that cannot be written is left out."""
    for blob in folder.glob("*.blob"):
        note = _note(blob)
        try:
            if not note.exists() or note.stat().st_mtime_ns < blob.stat().st_mtime_ns:
                draft = note.with_suffix(f".{os.getpid()}")
                draft.write_text(_digest(blob), "ascii")
                draft.replace(note)
        except OSError as error:
            _log.info("cannot note the hash of %s: %s", blob, error)


def _note(blob: Path) -> Path:
    return blob.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

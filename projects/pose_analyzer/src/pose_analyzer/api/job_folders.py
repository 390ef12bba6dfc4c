"""Where the files of analyses lie in the data folder; everything is named by ids that the service made.

- `sources/ID`: the recording as it came.
- `sessions/ID/`: results, whole from the moment that they are there.
- `work/`: uploads that arrive and results that are made; whatever lies there at a start is of a process that is gone.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pose_analyzer.storage import StorageError

RESULT_FILE, VIDEO_FILE, PLOT_FILE = "result.json", "overlay.mp4", "angles.png"
PARQUET_FILE, CSV_FILE = "series.parquet", "series.csv"
_LOCK_FILE = "pose.lock"
# What a client sends as an id must not lead anywhere else.
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class JobFolders:
    """The folders of one data folder.

    Args:
        root: The data folder.
    """

    root: Path

    @property
    def work(self) -> Path:
        """What is on its way."""
        return self.root / "work"

    @property
    def sessions(self) -> Path:
        """Results by id."""
        return self.root / "sessions"

    @property
    def sources(self) -> Path:
        """Recordings by id."""
        return self.root / "sources"

    def make(self) -> None:
        """Make them, for their owner's eyes only.

        Raises:
            StorageError: The data folder cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for folder in (self.work, self.sessions, self.sources):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot keep anything in {self.root}: {error.strerror or error}; choose another data_dir") from error

    def result(self, analysis_id: str) -> Path | None:
        """The folder of an analysis' results; None unless it is whole."""
        folder = self.sessions / analysis_id
        return folder if _ID.fullmatch(analysis_id) and (folder / RESULT_FILE).is_file() else None

    def recording(self, analysis_id: str) -> Path | None:
        """The recording of an analysis; None if it is not (or no longer) here."""
        path = self.sources / analysis_id
        return path if _ID.fullmatch(analysis_id) and path.is_file() else None

    def remove(self, analysis_id: str) -> None:
        """Remove everything of an analysis; what is being read is read to its end."""
        self.remove_result(analysis_id)
        (self.sources / analysis_id).unlink(missing_ok=True)

    def remove_result(self, analysis_id: str) -> None:
        """Remove the results of an analysis, first out of sight and then from the disk."""
        doomed = self.work / f"{analysis_id}.removed"
        shutil.rmtree(doomed, ignore_errors=True)
        with suppress(FileNotFoundError):
            (self.sessions / analysis_id).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self, *, recordings: Collection[str], results: Collection[str]) -> int:
        """Remove what no process works on any more and no row knows of.

        Args:
            recordings: Ids whose recordings are wanted.
            results: Ids whose results are wanted.

        Returns:
            How many files and folders were removed.
        """
        orphans = [*self.work.iterdir()]
        for folder, known in ((self.sources, recordings), (self.sessions, results)):
            orphans += [path for path in folder.iterdir() if path.name not in known]
        for path in orphans:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return len(orphans)

    def lock(self) -> int:
        """Claim the data folder for this process, until it ends or `os.close` of what is returned.

        Raises:
            StorageError: Another service works in it.
        """
        handle = os.open(self.root / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows has no such lock; there two services are the user's own care
        except OSError as error:
            os.close(handle)
            raise StorageError(f"another service works in {self.root}; stop it, or choose another data_dir") from error
        return handle

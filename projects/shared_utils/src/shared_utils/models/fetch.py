"""Download weights once: resumed, verified, and kept only when right."""

from __future__ import annotations

import errno
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared_utils.errors import ModelError
from shared_utils.models.entry import ModelEntry
from shared_utils.models.locate import file_sha256, models_dir, note_path, verify, wheel_path
from shared_utils.models.registry import get_model
from shared_utils.models.transfer import Transfer

Progress = Callable[[int, int | None], None]
_CHUNK_BYTES = 1 << 20


def fetch(
    name: str | ModelEntry,
    *,
    progress: Progress | None = None,
    folder: Path | None = None,
    force: bool = False,
    retries: int = 4,
    timeout_s: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Get a model's file, downloading it if it is not there yet.

    An interrupted download leaves `FILE.part` and goes on from there. The file appears under its name
    only when it is whole and its SHA-256 is the stated one; a wrong one is deleted. Two processes that
    fetch the same file wait for each other. Where nobody states a SHA-256, the first download's is
    noted in `FILE.sha256` and later ones must equal it.

    Args:
        name: A name of the registry, or an entry.
        progress: Called with (bytes so far, bytes in all or None) as the download goes on.
        folder: Where to keep it. Default: `models_dir()`.
        force: Download even if the file is there and right.
        retries: How often to try again after a broken connection that brought nothing new.
        timeout_s: Seconds without a byte after which a connection counts as broken.
        sleep: Waits between tries; a test passes its own.

    Returns:
        Path of the verified file.

    Raises:
        ModelError: Unknown name, no address, no network, not found on the server, no space, or other
            content than expected.
    """
    entry = name if isinstance(name, ModelEntry) else get_model(name)
    folder = folder or models_dir()
    target = folder / entry.file
    if entry.url is None:
        return _without_address(entry, target)
    with _writing_to(folder), _locked(target):
        if not force and _is_right(target, entry):
            return target
        part = target.with_name(target.name + ".part")
        transfer = Transfer(entry.url, part, retries=retries, timeout_s=timeout_s, progress=progress, sleep=sleep)
        expected = None if entry.archive_member else (entry.sha256, entry.size_bytes)
        _download(transfer, entry, expected)
        if entry.archive_member:
            part = _extract(part, entry)
        _put_in_place(part, target, entry)
        return target


def _without_address(entry: ModelEntry, target: Path) -> Path:
    for path in (target, wheel_path(entry)):
        if path is not None and path.is_file():
            verify(path, entry)
            return path
    raise ModelError(f"{entry.name} has no download address ({entry.source}); put {entry.file} into {target.parent}")


def _is_right(target: Path, entry: ModelEntry) -> bool:
    if not target.is_file():
        return False
    try:
        verify(target, entry)
    except ModelError:
        return False
    return entry.size_bytes is None or target.stat().st_size == entry.size_bytes


def _download(transfer: Transfer, entry: ModelEntry, expected: tuple[str | None, int | None] | None) -> None:
    """Fill `FILE.part`; a resumed one that turns out wrong is begun anew, once."""
    sha256, size_bytes = expected or (None, None)
    for attempt in range(2):
        resumed = transfer.run(size_bytes)
        size, digest = transfer.part.stat().st_size, file_sha256(transfer.part)
        if sha256 in (None, digest) and size_bytes in (None, size):
            return
        transfer.part.unlink()
        if not resumed or attempt:
            raise ModelError(
                f"{entry.name}: what {transfer.host} sent is not the file we know: {size} bytes with SHA-256 {digest}, expected "
                f"{size_bytes or 'any number of'} bytes with SHA-256 {sha256}; nothing was kept"
            )


def _extract(archive: Path, entry: ModelEntry) -> Path:
    """The one wanted member of a zip archive, beside it; the archive is deleted."""
    out = archive.with_name(entry.file + ".unpacked")
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [m for m in packed.infolist() if m.filename.rsplit("/", 1)[-1] == entry.archive_member]
            if len(members) != 1:
                raise ModelError(f"{entry.name}: the archive holds {len(members)} files called {entry.archive_member}, expected one")
            if entry.size_bytes is not None and members[0].file_size != entry.size_bytes:
                raise ModelError(f"{entry.name}: {members[0].filename} has {members[0].file_size} bytes, expected {entry.size_bytes}")
            _check_space(archive.parent, members[0].file_size, entry.name)
            with packed.open(members[0]) as source, out.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK_BYTES)
    except zipfile.BadZipFile as error:
        out.unlink(missing_ok=True)
        raise ModelError(f"{entry.name}: what {entry.url} sent is not a zip archive ({error}); nothing was kept") from error
    except (ModelError, OSError):
        out.unlink(missing_ok=True)
        raise
    finally:
        archive.unlink(missing_ok=True)
    return out


def _put_in_place(part: Path, target: Path, entry: ModelEntry) -> None:
    digest = file_sha256(part)
    note = note_path(target)
    noted = note.read_text("ascii").split() if note.is_file() else []
    expected = entry.sha256 or (noted[0] if noted else None)
    if expected is not None and digest != expected:
        part.unlink()
        origin = "" if entry.sha256 else f" (as noted in {note.name} at its first download; delete that file if the change is meant)"
        raise ModelError(f"{entry.name}: the download has SHA-256 {digest}, expected {expected}{origin}; nothing was kept")
    part.replace(target)
    if entry.sha256 is None and not noted:
        note.write_text(f"{digest}  {target.name}\n", "ascii")


def _check_space(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(f"not enough space in {folder} for {name}: {needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free")


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Turn what a file system refuses into a sentence that names the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(f"no space left in {folder}; free some or set POSE_MODELS_DIR to another folder") from error
        raise ModelError(f"cannot write to {folder}: {error.strerror or error}; set POSE_MODELS_DIR to another folder") from error


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the file's lock; the system gives it back when the holder dies."""
    import fcntl  # POSIX only; looking models up works without

    descriptor = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

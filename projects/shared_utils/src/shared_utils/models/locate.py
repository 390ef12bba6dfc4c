"""Where a model's file lies on this machine, and whether it is the right one."""

from __future__ import annotations

import hashlib
import os
import time
from importlib.util import find_spec
from pathlib import Path

from shared_utils.errors import ModelError
from shared_utils.models.entry import ModelEntry
from shared_utils.models.registry import get_model, list_models

MODELS_DIR_VARIABLE = "POSE_MODELS_DIR"
# One digest per state of a file; a changed file has another size or time and is read again.
_DIGESTS: dict[tuple[str, int, int], str] = {}
# File systems keep times coarsely: a file changed just now may change again without another time.
_SETTLED_NS = 2_000_000_000


def models_dir() -> Path:
    """Folder that downloads go to: `$POSE_MODELS_DIR`, else the user's cache folder.

    Example:
        >>> models_dir().is_absolute()
        True
    """
    chosen = os.environ.get(MODELS_DIR_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return _cache_dir()


def find_model(name: str | Path | ModelEntry, *, folder: Path | None = None) -> Path:
    """The file of a model, without any download.

    Looked for in this order: an explicit path; `folder`; `$POSE_MODELS_DIR`; the user's cache folder;
    the installed wheel that ships it (found without importing the package).

    Args:
        name: A name of the registry, an entry, or a path to a file or folder of weights.
        folder: Searched before the standard folders.

    Returns:
        An existing path.

    Raises:
        ModelError: The name is unknown, the file is nowhere (the text holds the command that fetches
            it), or it has another size than the registry says.

    Example:
        >>> find_model("blazepose_detector").name
        'pose_detection.tflite'
    """
    if isinstance(name, ModelEntry):
        entry = name
    else:
        explicit = _explicit_path(name)
        if explicit is not None:
            return explicit
        entry = get_model(str(name))
    for candidate in _candidates(entry, folder):
        if candidate.is_file():
            _check_size(candidate, entry)
            return candidate
    raise ModelError(_missing(entry, folder))


def verify(path: Path, entry: ModelEntry) -> str:
    """Check a file against its entry.

    Where the registry knows no SHA-256, the file is compared with the one noted beside it at its first
    download (`FILE.sha256`), if there is one.

    Args:
        path: The file.
        entry: What it should be.

    Returns:
        The file's SHA-256, 64 hex digits.

    Raises:
        ModelError: The file is missing or is not the one expected.
    """
    digest = file_sha256(path)
    expected = entry.sha256 or noted_sha256(path)
    if expected is not None and digest != expected:
        raise ModelError(
            f"{path} is not {entry.name}: its SHA-256 is {digest}, expected {expected}; delete it and run: {fetch_command(entry.name)}"
        )
    return digest


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file as 64 hex digits, remembered until its size or time changes.

    Raises:
        ModelError: The file cannot be read.

    Example:
        >>> file_sha256(find_model("blazepose_detector"))[:8]
        '9ba9dd3d'
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
            digest = _DIGESTS.get(key) or hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
        _DIGESTS[key] = digest
    return digest


def noted_sha256(path: Path) -> str | None:
    """The SHA-256 noted at the first download of a file whose hash nobody states; None if none is."""
    try:
        return note_path(path).read_text("ascii").split()[0]
    except (OSError, UnicodeDecodeError, IndexError):
        return None


def note_path(path: Path) -> Path:
    """Where the hash of a first download is noted."""
    return path.with_name(path.name + ".sha256")


def fetch_command(name: str) -> str:
    """The command a user types to get a model."""
    return f"pose-analyzer models fetch {name}"


def wheel_path(entry: ModelEntry) -> Path | None:
    """The file inside an installed package; None when the package or the file is not there."""
    if entry.in_wheel is None:
        return None
    package, inside = entry.in_wheel
    try:
        spec = find_spec(package)  # reads the package's location, does not import it
    except (ImportError, ValueError):
        return None
    roots = (spec.submodule_search_locations or ()) if spec is not None else ()
    return next((p for p in (Path(root) / inside for root in roots) if p.is_file()), None)


def _cache_dir() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("pose-analyzer", appauthor=False) / "models"


def _explicit_path(name: str | Path) -> Path | None:
    """`name` as a path if it is one: a `Path`, a text with a folder in it, or a file right here."""
    path = Path(name).expanduser()
    if not isinstance(name, Path) and path.name == name:
        is_known = any(entry.name == name for entry in list_models())
        return None if is_known or not path.exists() else path
    if not path.exists():
        raise ModelError(f"no weights at {path}; give an existing file or folder, or a name that `pose-analyzer models list` shows")
    return path


def _candidates(entry: ModelEntry, folder: Path | None) -> list[Path]:
    folders = ([folder] if folder is not None else []) + [models_dir(), _cache_dir()]
    paths = [f / entry.file for f in folders]
    inside = wheel_path(entry)
    return paths if inside is None else [*paths, inside]


def _check_size(path: Path, entry: ModelEntry) -> None:
    """A cut or foreign file fails here in words, not later inside a network runtime."""
    size = path.stat().st_size
    if entry.size_bytes is not None and size != entry.size_bytes:
        raise ModelError(
            f"{path} is not {entry.name}: it has {size} bytes, expected {entry.size_bytes}; delete it and run: {fetch_command(entry.name)}"
        )


def _missing(entry: ModelEntry, folder: Path | None) -> str:
    if entry.is_downloadable:
        size = "" if entry.size_bytes is None else f", {entry.size_bytes / 1e6:.1f} MB"
        return f"the weights of {entry.name} are not on this machine; run: {fetch_command(entry.name)} ({entry.licence}{size})"
    if entry.in_wheel is not None:
        return f"the weights of {entry.name} come inside the package {entry.in_wheel[0]}, which is not installed; run: make setup"
    place = folder or models_dir()
    return (
        f"the weights of {entry.name} are not on this machine and have no download address ({entry.source}); put {entry.file} into {place}"
    )

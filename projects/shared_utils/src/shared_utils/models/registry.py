"""The registry itself: rows of `registry.yaml`, by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from shared_utils.errors import ModelError
from shared_utils.models.entry import ModelEntry, ModelTask


def list_models(task: ModelTask | str | None = None) -> tuple[ModelEntry, ...]:
    """Every known model, in the registry's order.

    Args:
        task: Only those of one task; None for all.

    Raises:
        ModelError: There is no such task.

    Example:
        >>> [m.name for m in list_models("face_detection")]
        ['face_detection_short_range', 'yunet']
    """
    if task is None:
        return tuple(_registry().values())
    if task not in set(ModelTask):
        raise ModelError(f"no task {task!r}; there are {', '.join(ModelTask)}")
    return tuple(m for m in _registry().values() if m.task == task)


def get_model(name: str) -> ModelEntry:
    """The entry of that name.

    Raises:
        ModelError: There is none; the text names the nearest ones.

    Example:
        >>> get_model("blazepose_landmark_full").skeleton
        'blazepose_33'
    """
    entry = _registry().get(name)
    if entry is None:
        near = get_close_matches(name, _registry(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(_registry())}"
        raise ModelError(f"unknown model {name!r}; {hint}")
    return entry


def load_registry(path: Path) -> Mapping[str, ModelEntry]:
    """Read a registry file: `models:` maps a name to the fields of `ModelEntry`.

    Raises:
        ModelError: The file cannot be read, or a row is not valid; the text names the row.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the model registry {path}: {error}") from error
    return _parse(document, str(path))


@cache
def _registry() -> Mapping[str, ModelEntry]:
    resource = files("shared_utils.models").joinpath("registry.yaml")
    return _parse(yaml.safe_load(resource.read_text("utf-8")), "registry.yaml")


def _parse(document: Any, where: str) -> Mapping[str, ModelEntry]:
    rows = document.get("models") if isinstance(document, dict) else None
    if not isinstance(rows, dict):
        raise ModelError(f"{where}: expected a mapping `models:` from name to fields")
    entries: dict[str, ModelEntry] = {}
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise ModelError(f"{where}: model {name!r} must be a mapping of fields, got {type(row).__name__}")
        fields = {**row, "in_wheel": tuple(row["in_wheel"])} if isinstance(row.get("in_wheel"), list) else row
        try:
            entries[name] = ModelEntry(name=name, **fields)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{where}: model {name!r}: {error}") from error
    by_file: dict[str, str] = {}
    for entry in entries.values():
        other = by_file.setdefault(entry.file, entry.name)
        if other != entry.name:
            raise ModelError(f"{where}: models {other!r} and {entry.name!r} would be kept under one file name {entry.file!r}")
    return MappingProxyType(entries)

"""Files that costs are computed from: the price lists in `config/prices` and the figures of machines."""

from __future__ import annotations

import os
from pathlib import Path

from shared_utils.devices import MachineProfile, load_machine_profiles

_PACKAGE = Path(__file__).resolve().parents[1]


def find_config(relative: str) -> Path | None:
    """A file or folder of the configuration: in $GPU_CONFIG_DIR, in the repository, in the installed package.

    Example:
        >>> find_config("prices").name
        'prices'
    """
    named = os.environ.get("GPU_CONFIG_DIR")
    # src/gpu_optimizer -> projects/gpu_optimizer -> projects -> repository
    folders = [*([Path(named)] if named else []), _PACKAGE.parents[3] / "config", _PACKAGE / "_config"]
    return next((folder / relative for folder in folders if (folder / relative).exists()), None)


def known_machines() -> dict[str, MachineProfile]:
    """Figures of known machines by short name; empty where the file is missing.

    Raises:
        ConfigError: The file is damaged.
    """
    path = find_config("machines.yml")
    return {} if path is None else load_machine_profiles(path)

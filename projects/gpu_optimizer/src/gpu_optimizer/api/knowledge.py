"""Routes about what is known beforehand: models that may be asked about, machines, prices."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gpu_optimizer.errors import ModelSpecError
from shared_utils.devices.profiles import MachineProfile, load_machine_profiles

_MACHINES = "machines.yml"


class MachineView(BaseModel):
    """A machine whose figures are known."""

    model_config = ConfigDict(frozen=True)

    machine: str = Field(description="Short name, as plans take it.")
    name: str = Field(description="As the maker calls it.")
    memory_bytes: int
    bandwidth_bytes_per_s: float
    source: str = Field(description="Where its figures are from.")


def machine_profiles() -> dict[str, MachineProfile]:
    """Figures of known machines by short name: $GPU_CONFIG_DIR/machines.yml, else the repository's; none where there is no file.

    Raises:
        ConfigError: The file is damaged.

    Example:
        >>> machine_profiles()["l4"].memory_gib
        24.0
    """
    named = os.environ.get("GPU_CONFIG_DIR")
    # api -> gpu_optimizer -> src -> gpu_optimizer -> projects -> repository
    folders = [*([Path(named)] if named else []), Path(__file__).resolve().parents[5] / "config"]
    found = next((folder / _MACHINES for folder in folders if (folder / _MACHINES).is_file()), None)
    return {} if found is None else load_machine_profiles(found)


def machine_profile_of(name: str) -> MachineProfile:
    """The figures of one machine.

    Raises:
        ModelSpecError: It is not known; the text names those that are.
    """
    known = machine_profiles()
    if name not in known:
        raise ModelSpecError(f"there is no machine {name[:80]!r}; there are {', '.join(known) or 'none: config/machines.yml is missing'}")
    return known[name]


def knowledge_router(price_file: Path | None) -> APIRouter:
    """The routes.

    Args:
        price_file: Price book to use instead of the one that comes along.
    """
    router = APIRouter(prefix="/v1", tags=["knowledge"])

    @router.get("/models")
    def models() -> list[str]:
        """Names of models that estimates and plans take; `torchvision:NAME` and configurations go, too."""
        from gpu_optimizer.models import list_models  # pyright: ignore[reportMissingImports]

        return list(list_models())

    @router.get("/machines")
    def machines() -> list[MachineView]:
        """Machines that a plan may be made for without having them."""
        return [
            MachineView(
                machine=short,
                name=profile.name,
                memory_bytes=profile.memory_bytes,
                bandwidth_bytes_per_s=profile.bandwidth_bytes_per_s,
                source=profile.source,
            )
            for short, profile in machine_profiles().items()
        ]

    return router

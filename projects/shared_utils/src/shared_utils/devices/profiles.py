"""Figures of known machines: memory, bandwidth and throughput, each with its source.

A planner that has no such machine at hand computes with these. Throughput is the peak of dense
arithmetic (no sparsity); a multiply-add counts as two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared_utils.devices.device import DeviceKind
from shared_utils.errors import ConfigError


class MachineProfile(BaseModel):
    """Figures of one processor or accelerator.

    Example:
        >>> profile = MachineProfile(
        ...     name="Example", kind="cuda", memory_gib=16, bandwidth_gb_per_s=320, fp32_tflops=8.1, source="data sheet"
        ... )
        >>> profile.memory_bytes
        17179869184
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="As the maker calls it.")
    kind: DeviceKind = Field(description="cpu, cuda or mps.")
    memory_gib: float = Field(gt=0, description="Memory in GiB; for shared memory, the whole of the stated configuration.")
    bandwidth_gb_per_s: float = Field(gt=0, description="Peak memory bandwidth, 10^9 bytes per second.")
    fp32_tflops: float | None = Field(None, gt=0, description="Peak fp32, 10^12 operations per second; null where nobody states it.")
    tf32_tflops: float | None = Field(None, gt=0, description="Peak dense tf32; null where there is none, or nobody states it.")
    bf16_tflops: float | None = Field(None, gt=0, description="Peak dense bf16 with fp32 accumulation; null as above.")
    fp16_tflops: float | None = Field(
        None, gt=0, description="Peak dense fp16 with fp32 accumulation, matrix units where there are any; null as above."
    )
    int8_tops: float | None = Field(None, gt=0, description="Peak dense int8, 10^12 operations per second; null as above.")
    power_w: float | None = Field(None, gt=0, description="Rated power in W.")
    pcie_generation: int | None = Field(None, ge=1, description="Of the link to the host; null where there is none or another.")
    matches: tuple[str, ...] = Field((), description="Regular expressions for the names under which drivers report it.")
    source: str = Field(min_length=1, description="Where the figures are from.")
    looked_up: date | None = Field(None, description="Day on which the figures were looked up.")
    notes: str = Field("", description="What a reader should know.")

    @field_validator("matches")
    @classmethod
    def _valid_expressions(cls, matches: tuple[str, ...]) -> tuple[str, ...]:
        for expression in matches:
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is no regular expression: {error}") from error
        return matches

    @property
    def memory_bytes(self) -> int:
        """Memory in bytes."""
        return round(self.memory_gib * 2**30)

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Peak memory bandwidth in bytes per second."""
        return self.bandwidth_gb_per_s * 1e9


def load_machine_profiles(path: Path) -> dict[str, MachineProfile]:
    """Read a file such as `config/machines.yml`: `machines:` maps a short name to the figures.

    Raises:
        ConfigError: The file cannot be read or a row is not valid; the text names the row and the field.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the machine profiles {path}: {error}") from error
    rows = document.get("machines") if isinstance(document, dict) else None
    if not isinstance(rows, dict):
        raise ConfigError(f"{path}: expected a mapping `machines:` from short name to figures")
    return {str(name): _profile(row, f"{path}: {name}") for name, row in rows.items()}


def save_machine_profiles(profiles: Mapping[str, MachineProfile], path: Path) -> None:
    """Write profiles so that `load_machine_profiles` reads them back equal.

    Raises:
        ConfigError: The file cannot be written.
    """
    rows = {name: profile.model_dump(mode="json", exclude_defaults=True) for name, profile in profiles.items()}
    text = yaml.safe_dump({"machines": rows}, sort_keys=False, allow_unicode=True, width=120)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the machine profiles {path}: {error.strerror or error}") from error


def find_profile(device_name: str, profiles: Mapping[str, MachineProfile]) -> MachineProfile | None:
    """The figures of a device by the name its driver reports; None when they are not known.

    Of several expressions that fit, the one that covers most of the name counts.

    Example:
        >>> row = MachineProfile(
        ...     name="NVIDIA T4", kind="cuda", memory_gib=16, bandwidth_gb_per_s=320, matches=[r"Tesla T4"], source="data sheet"
        ... )
        >>> find_profile("Tesla T4", {"t4": row}).name
        'NVIDIA T4'
    """
    fits = [
        (match.end() - match.start(), profile)
        for profile in profiles.values()
        for expression in profile.matches
        if (match := re.search(expression, device_name, re.IGNORECASE))
    ]
    return max(fits, key=lambda fit: fit[0])[1] if fits else None


def _profile(row: Any, where: str) -> MachineProfile:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: expected a mapping of figures, got {type(row).__name__}")
    try:
        return MachineProfile.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "row"
        raise ConfigError(f"{where}: {field}: {first['msg']}, got {first['input']!r}") from error

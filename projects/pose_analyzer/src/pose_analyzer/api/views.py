"""What the API tells of devices, models and exercises. Paths of this machine are not among it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pose_analyzer.exercise import ExerciseProfile
from shared_utils.devices import Device
from shared_utils.errors import ModelError
from shared_utils.models import ModelEntry, find_model


class DeviceView(BaseModel):
    """Something that computes."""

    model_config = ConfigDict(frozen=True)

    device: str = Field(description="How to ask for it: cpu, cuda:0, mps.")
    name: str = Field(description="As the maker calls it.")
    memory_bytes: int | None = Field(description="Memory it can use; null if not known.")

    @classmethod
    def of(cls, device: Device) -> DeviceView:
        """The device as the API tells it."""
        return cls(device=str(device), name=device.name, memory_bytes=device.memory_bytes)


class ModelView(BaseModel):
    """One file of weights."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Its name in the registry.")
    task: str = Field(description="What it does.")
    licence: str = Field(description="SPDX identifier, or unknown.")
    source: str = Field(description="Who made it.")
    size_bytes: int | None = Field(description="Size of the file; null if not known.")
    skeleton: str | None = Field(description="Keypoint set that it gives; null when it gives no pose.")
    is_here: bool = Field(description="Whether the weights lie on this machine.")
    is_downloadable: bool = Field(description="Whether the registry knows an address.")

    @classmethod
    def of(cls, entry: ModelEntry) -> ModelView:
        """The entry as the API tells it; nothing is downloaded."""
        try:
            find_model(entry)
            is_here = True
        except ModelError:
            is_here = False
        return cls(
            name=entry.name,
            task=str(entry.task),
            licence=entry.licence,
            source=entry.source,
            size_bytes=entry.size_bytes,
            skeleton=entry.skeleton,
            is_here=is_here,
            is_downloadable=entry.is_downloadable,
        )


class ExerciseView(BaseModel):
    """One exercise in short."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="How to ask for it.")
    description: str = Field(description="What is counted.")
    aliases: list[str] = Field(description="Other names.")
    kind: Literal["repetitions", "hold"] = Field(description="Counted or timed.")

    @classmethod
    def of(cls, profile: ExerciseProfile) -> ExerciseView:
        """The profile in short."""
        return cls(
            name=profile.name,
            description=profile.description,
            aliases=list(profile.aliases),
            kind="hold" if profile.is_hold else "repetitions",
        )


class FileView(BaseModel):
    """A recording that may be played as a stream."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="How to ask for it.")


class FilePage(BaseModel):
    """Recordings that may be played as streams."""

    items: list[FileView]

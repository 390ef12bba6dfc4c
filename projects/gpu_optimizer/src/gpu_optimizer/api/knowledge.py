"""Routes about what is known beforehand: models that may be asked about, machines, prices."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gpu_optimizer.costing import PriceBook, known_machines
from gpu_optimizer.costing.prices import MAX_AGE_DAYS
from gpu_optimizer.errors import ModelSpecError


class MachineView(BaseModel):
    """A machine whose figures are known."""

    model_config = ConfigDict(frozen=True)

    machine: str = Field(description="Short name, as plans take it.")
    name: str = Field(description="As the maker calls it.")
    memory_bytes: int
    bandwidth_bytes_per_s: float
    source: str = Field(description="Where its figures are from.")


class ModelView(BaseModel):
    """A model that is known by name."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(description="Its name.")
    summary: str = Field(description="What it is.")


class PriceView(BaseModel):
    """What one machine costs by the hour."""

    model_config = ConfigDict(frozen=True)

    provider: str
    instance: str
    usd_per_hour: float = Field(description="Of the whole machine.")
    date: str = Field(description="When the price was read.")
    source: str = Field(description="Where.")
    region: str = Field(description="Empty if the price is the same everywhere.")
    gpu: str = Field(description="Empty for a machine without one.")
    gpus: int
    gpu_memory_gib: float | None = Field(description="Of each GPU.")
    vcpus: float | None
    memory_gib: float | None = Field(description="Of the host, if known.")
    spot: bool = Field(description="It can be taken away at any time.")


class PriceList(BaseModel):
    """Prices, cheapest first."""

    items: list[PriceView]
    refused: int = Field(description="Prices that are too old to be used.")
    notes: list[str] = Field(description="What to know about their age, and what to do about it.")


@cache
def _known_models() -> dict[str, str]:
    # The registry loads torch, which has no place in the service: a process of its own is asked, once.
    code = "import json; from gpu_optimizer.models import list_models; print(json.dumps(list_models()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise ModelSpecError(f"the models cannot be listed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def knowledge_router(price_file: Path | None) -> APIRouter:
    """The routes.

    Args:
        price_file: Price book to use instead of the one that comes along.
    """
    router = APIRouter(prefix="/v1", tags=["knowledge"])

    @router.get("/models")
    def models() -> list[ModelView]:
        """Models that estimates and plans take by name; `torchvision:NAME` and configurations go, too."""
        return [ModelView(model=name, summary=summary) for name, summary in _known_models().items()]

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
            for short, profile in known_machines().items()
        ]

    @router.get("/prices", responses={422: {"description": "The price book is damaged, or all of it too old."}})
    def prices(
        gpu: Annotated[str | None, Query(max_length=60, description="Part of the GPU's name.")] = None,
        provider: Annotated[str | None, Query(max_length=60, description="Who rents it out.")] = None,
        region: Annotated[str | None, Query(max_length=60, description="Part of the region's name.")] = None,
        min_memory_gib: Annotated[float, Query(ge=0, le=65536, description="Memory of one GPU, or of the host without one.")] = 0,
        spot: Annotated[bool, Query(description="Also machines that can be taken away.")] = False,
        allow_old: Annotated[bool, Query(description=f"Also prices that are older than {MAX_AGE_DAYS} days.")] = False,
    ) -> PriceList:
        """Machines by the hour, cheapest first, with the day and the source of each price."""
        book = PriceBook.load(price_file, allow_old=allow_old)
        found = book.select(
            gpu=gpu, provider=provider, region=region, spot=None if spot else False, min_memory_bytes=round(min_memory_gib * 2**30)
        )
        return PriceList(items=[PriceView(**price.to_dict()) for price in found], refused=len(book.refused), notes=list(book.notes()))

    return router

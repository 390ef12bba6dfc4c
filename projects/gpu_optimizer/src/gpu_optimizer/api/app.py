"""The application: routes of `gpu_optimizer` on the service that both APIs share."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field

from gpu_optimizer import __version__
from gpu_optimizer.monitoring import GpuSample, HostSample, MemoryCollector, SnapshotReader
from shared_utils.devices import Device, detect_devices
from shared_utils.metrics import create_registry
from shared_utils.service import ServiceSettings, create_service


class DeviceInfo(BaseModel):
    """Something that computes."""

    model_config = ConfigDict(frozen=True)

    device: str = Field(description="How to ask for it: cpu, cuda:0, mps.")
    name: str = Field(description="As the maker calls it.")
    memory_bytes: int | None = Field(description="Memory it can use; null if not known.")
    precisions: list[str] = Field(description="Number formats with instructions or units of their own.")
    compute_capability: str | None = Field(description="CUDA's, such as 8.9; null elsewhere.")

    @classmethod
    def of(cls, device: Device) -> DeviceInfo:
        """The device as the API tells it."""
        capability = None if device.compute_capability is None else "{}.{}".format(*device.compute_capability)
        return cls(
            device=str(device),
            name=device.name,
            memory_bytes=device.memory_bytes,
            precisions=sorted(map(str, device.precisions)),
            compute_capability=capability,
        )


class MemoryNow(BaseModel):
    """What memory is used for at this moment."""

    model_config = ConfigDict(frozen=True)

    gpus: list[GpuSample] = Field(description="Every NVIDIA GPU that answers.")
    host: HostSample = Field(description="The host and this process.")
    gpu_problem: str | None = Field(description="Why no GPU could be read; null when at least one was.")


def create_app(
    settings: ServiceSettings | None = None, *, registry: CollectorRegistry | None = None, reader: SnapshotReader | None = None
) -> FastAPI:
    """Make the application.

    Args:
        settings: How it listens. Default: this machine only.
        registry: Where metrics go. Default: a new one.
        reader: Takes the readings. Default: one of its own.

    Raises:
        ConfigError: The settings listen for others without a token.

    Example:
        >>> app = create_app()
        >>> "/v1/devices" in app.openapi()["paths"]
        True
    """
    reader = reader or SnapshotReader()
    registry = registry if registry is not None else create_registry()
    registry.register(MemoryCollector(reader))
    return create_service(
        "GPU optimizer",
        __version__,
        settings=settings,
        routers=[_router(reader)],
        registry=registry,
        metrics_prefix="gpu",
        description="What can compute here and what its memory is used for.",
    )


def _router(reader: SnapshotReader) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["machine"])

    @router.get("/devices")
    def devices() -> list[DeviceInfo]:
        """What can compute here, accelerators first."""
        return [DeviceInfo.of(device) for device in detect_devices()]

    @router.get("/memory")
    def memory() -> MemoryNow:
        """What memory is used for at this moment."""
        snapshot = reader.read()
        return MemoryNow(gpus=list(snapshot.gpus), host=snapshot.host, gpu_problem=snapshot.gpu_problem)

    return router

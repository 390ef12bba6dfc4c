"""Routes about this machine: what computes, what its memory is used for, and by whom."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field

from gpu_optimizer.api.live import LiveFeed
from gpu_optimizer.monitoring import GpuSample, HostSample, ProcessSample, SnapshotReader
from shared_utils.devices import Device, detect_devices
from shared_utils.service import Problem


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
    unreadable: list[str] = Field(description="One sentence for each GPU that the driver counts and that did not answer.")


class ProcessesNow(BaseModel):
    """Who holds memory of the GPUs at this moment."""

    model_config = ConfigDict(frozen=True)

    processes: list[ProcessSample] = Field(description="By GPU, then by memory.")
    told: dict[str, bool] = Field(description="uuid of each GPU -> whether the driver named its processes.")
    problem: str | None = Field(description="Why there is no GPU to ask; null when there is one.")


def machine_router(reader: SnapshotReader, feed: LiveFeed, *, processes: bool) -> APIRouter:
    """The routes.

    Args:
        reader: Takes the readings.
        feed: Tells them as they come.
        processes: Whether programs may be told.
    """
    router = APIRouter(prefix="/v1", tags=["machine"])

    @router.get("/devices")
    def devices() -> list[DeviceInfo]:
        """What can compute here, accelerators first."""
        return [DeviceInfo.of(device) for device in detect_devices()]

    @router.get("/memory")
    def memory() -> MemoryNow:
        """What memory is used for at this moment."""
        now = reader.read()
        return MemoryNow(gpus=list(now.gpus), host=now.host, gpu_problem=now.gpu_problem, unreadable=list(now.unreadable))

    @router.get("/processes", responses={403: {"description": "The service does not tell who uses it."}})
    def list_processes() -> ProcessesNow:
        """Who holds memory of the GPUs; only where the setting `processes` is on."""
        if not processes:
            raise Problem(403, "the service does not tell programs; start it with the setting processes: true (HTTP_API_PROCESSES=true)")
        reading = reader.read_processes()
        return ProcessesNow(processes=list(reading.processes), told=reading.told, problem=reading.problem)

    @router.websocket("/live")
    async def watch_memory(socket: WebSocket) -> None:
        """Readings as they come, after what went before."""
        await feed.serve(socket)

    return router

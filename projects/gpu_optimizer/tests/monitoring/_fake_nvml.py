"""pynvml's functions for two imitated GPUs, and every way in which real ones let their readers down."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

GIB = 2**30


class NvmlError(Exception):
    """What the driver raises."""


class FakeNvml:
    """GPU 0 reports everything in new words, GPU 1 little in old ones.

    Attributes:
        unsupported: Functions that GPU 0 refuses, too.
        lost: Numbers of GPUs that fell off the bus.
        gone: The driver is unloaded.
        calls_left: The driver goes away after so many calls; None never.
        mig: GPU 0 is shared out.
        running: Programs per GPU.
        events: (GPU, XID) that have happened and nobody has taken yet.
    """

    nvmlMemory_v2 = 2
    NVML_TEMPERATURE_GPU = 0
    nvmlEventTypeXidCriticalError = 8

    OPTIONAL = (
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetName",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetFanSpeed",
        "nvmlDeviceGetPcieThroughput",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
        "nvmlDeviceRegisterEvents",
        "nvmlEventSetCreate",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.calls = 0
        self.calls_left: int | None = None
        self.lost: set[int] = set()
        self.unsupported: set[str] = set()
        self.gone = False
        self.mig = False
        self.running: dict[int, list[SimpleNamespace]] = {}
        self.events: deque[tuple[int, int]] = deque()

    # --- the library --------------------------------------------------------------------------------
    def nvmlInit(self) -> None:
        self._alive()
        self.connections += 1

    def nvmlShutdown(self) -> None:
        self.connections -= 1

    def nvmlDeviceGetCount(self) -> int:
        self._alive()
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        self._alive()
        if index in self.lost:
            raise NvmlError("GPU is lost")
        return index

    def nvmlDeviceGetUUID(self, handle: int | str) -> str | bytes:
        self._alive()
        return f"MIG-{handle}" if isinstance(handle, str) else b"GPU-old" if handle else "GPU-new"

    # --- one GPU ------------------------------------------------------------------------------------
    def nvmlDeviceGetName(self, handle: int | str) -> str | bytes:
        if isinstance(handle, str):
            return "New Card MIG 1g.10gb"
        return b"Old Card" if handle else self._new(handle, "nvmlDeviceGetName", "New Card")

    def nvmlDeviceGetMemoryInfo(self, handle: int | str, version: int | None = None) -> SimpleNamespace:
        if isinstance(handle, str):
            return SimpleNamespace(total=10 * GIB, used=1 * GIB, reserved=0)
        if handle == 1:
            if version is not None:
                raise NvmlError("Argument Version Mismatch")
            return SimpleNamespace(total=16_000_000_000, used=1_500_000_000)
        return self._new(handle, "nvmlDeviceGetMemoryInfo", SimpleNamespace(total=8_000_000_000, used=1_500_000_000, reserved=300_000_000))

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return self._new(handle, "nvmlDeviceGetUtilizationRates", SimpleNamespace(gpu=37, memory=12))

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return self._new(handle, "nvmlDeviceGetTemperature", 61)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self._new(handle, "nvmlDeviceGetPowerUsage", 215_500)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return self._new(handle, "nvmlDeviceGetEnforcedPowerLimit", 300_000)

    def nvmlDeviceGetClockInfo(self, handle: int, which: int) -> int:
        return self._new(handle, "nvmlDeviceGetClockInfo", {0: 1980, 2: 2619}[which])

    def nvmlDeviceGetFanSpeed(self, handle: int) -> int:
        return self._new(handle, "nvmlDeviceGetFanSpeed", 45)

    def nvmlDeviceGetPcieThroughput(self, handle: int, direction: int) -> int:
        return self._new(handle, "nvmlDeviceGetPcieThroughput", 100 if direction else 2000)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:
        return self._new(handle, "nvmlDeviceGetCurrentClocksEventReasons", 0x4 | 0x40)

    def nvmlDeviceGetTotalEccErrors(self, handle: int, kind: int, since: int) -> int:
        return self._new(handle, "nvmlDeviceGetTotalEccErrors", {(0, 0): 3, (1, 0): 0, (0, 1): 40, (1, 1): 2}[kind, since])

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:
        return self._new(handle, "nvmlDeviceGetMigMode", [int(self.mig), int(self.mig)])

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: int) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, slot: int) -> str:
        if slot not in (0, 3):
            raise NvmlError("Not Found")
        return str(slot)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        return self._new(handle, "nvmlDeviceGetComputeRunningProcesses", self.running.get(handle, []))

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        return self._new(handle, "nvmlDeviceGetGraphicsRunningProcesses", [])

    # --- events -------------------------------------------------------------------------------------
    def nvmlEventSetCreate(self) -> str:
        return self._new(0, "nvmlEventSetCreate", "events")

    def nvmlEventSetFree(self, events: str) -> None:
        self._alive()

    def nvmlDeviceRegisterEvents(self, handle: int, kinds: int, events: str) -> None:
        self._new(handle, "nvmlDeviceRegisterEvents", None)

    def nvmlEventSetWait_v2(self, events: str, timeout_ms: int) -> SimpleNamespace:
        assert timeout_ms == 0, "a scrape does not wait"
        if not self.events:
            raise NvmlError("Timeout")
        device, xid = self.events.popleft()
        return SimpleNamespace(device=device, eventType=8, eventData=xid)

    # --- how it fails -------------------------------------------------------------------------------
    def _alive(self) -> None:
        self.calls += 1
        if self.calls_left is not None:
            self.calls_left -= 1
            self.gone = self.gone or self.calls_left < 0
        if self.gone:
            raise NvmlError("Driver Not Loaded")

    def _new(self, handle: int, name: str, value: Any) -> Any:
        self._alive()
        if handle == 1 or name in self.unsupported:
            raise NvmlError("Not Supported")
        return value


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


class FakeCuda:
    """`torch.cuda` with one device, as far as the collector asks; sizes are those of a small hand-made heap."""

    def __init__(self, *, initialized: bool = True, blocks: tuple[tuple[int, str], ...] = ()) -> None:
        self.initialized, self.blocks = initialized, blocks
        self.asked: list[str] = []

    def is_initialized(self) -> bool:
        return self.initialized

    def device_count(self) -> int:
        self.asked.append("device_count")
        return 1

    def memory_stats(self, device: int) -> dict[str, int]:
        reserved = sum(size for size, _ in self.blocks)
        held = sum(size for size, state in self.blocks if state == "active_allocated")
        return {
            "allocated_bytes.all.current": held,
            "allocated_bytes.all.peak": held * 2,
            "reserved_bytes.all.current": reserved,
            "reserved_bytes.all.peak": reserved,
            "active_bytes.all.current": held,
            "inactive_split_bytes.all.current": reserved - held,
            "num_ooms": 2,
            "num_alloc_retries": 5,
        }

    def memory_snapshot(self, mempool_id: Any = None, include_traces: bool = True) -> list[dict[str, Any]]:
        assert not include_traces, "traces make a scrape slow"
        return [{"device": 0, "blocks": [{"size": size, "state": state} for size, state in self.blocks]}]

    def get_device_properties(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(uuid="1234-abcd")

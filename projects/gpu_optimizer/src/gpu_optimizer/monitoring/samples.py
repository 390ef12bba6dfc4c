"""What a reading holds: GPUs, their MIG instances, processes, the host. Units stand in the names; None is "not reported"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MigSample:
    """One instance of a GPU that is shared out by hardware (MIG).

    Args:
        uuid: `MIG-...`, by which CUDA_VISIBLE_DEVICES takes it.
        name: With its profile, such as "NVIDIA H100 MIG 1g.10gb".
        memory_total_bytes: Memory of this instance.
        memory_used_bytes: What processes hold of it.
    """

    uuid: str
    name: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EccErrors:
    """Memory errors that the hardware noticed.

    Args:
        corrected: Repaired, since the driver was loaded.
        uncorrected: Not repaired, since the driver was loaded.
        corrected_ever: Repaired, over the life of the board.
        uncorrected_ever: Not repaired, over the life of the board.
    """

    corrected: int | None = None
    uncorrected: int | None = None
    corrected_ever: int | None = None
    uncorrected_ever: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """One GPU at one moment.

    Args:
        index: Number by which the driver knows it.
        uuid: The same on every start, unlike `index`.
        name: Product name.
        memory_total_bytes: All of its memory; None where it has none of its own (unified memory).
        memory_used_bytes: What processes hold; the driver's own reserve is not in it where the driver tells the two apart.
        memory_reserved_bytes: What the driver keeps for itself.
        utilization_ratio: Share of the last sampling period with a kernel running, 0 to 1.
        memory_utilization_ratio: Share of the last sampling period in which memory was read or written, 0 to 1.
        temperature_c: Of the chip, degrees Celsius.
        power_w: Drawn now, watts.
        power_limit_w: Drawn at most, watts.
        graphics_clock_hz: Of the processors now.
        memory_clock_hz: Of the memory now.
        fan_ratio: Speed of the first fan, 0 to 1 of its most; above 1 is possible.
        pcie_sent_bytes_per_s: Over the bus to the host; read only when asked for, as NVML measures it for 20 ms.
        pcie_received_bytes_per_s: Over the bus from the host; likewise.
        clock_limits: Why the clocks are lower than they could be, in words of `nvml.CLOCK_LIMITS`; None: not reported.
        ecc: Memory errors; None: this GPU does not count them.
        mig: Instances; empty without MIG.
    """

    index: int
    uuid: str
    name: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    utilization_ratio: float | None = None
    memory_utilization_ratio: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    graphics_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    fan_ratio: float | None = None
    pcie_sent_bytes_per_s: float | None = None
    pcie_received_bytes_per_s: float | None = None
    clock_limits: tuple[str, ...] | None = None
    ecc: EccErrors | None = None
    mig: tuple[MigSample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSample:
    """One program that holds memory of one GPU.

    Args:
        gpu: Number of the GPU.
        uuid: The same, for good.
        pid: Process id as the driver says it; inside a container it may be the host's.
        name: Program's name; None where this process may not see it.
        kind: "compute" or "graphics".
        memory_used_bytes: What it holds; None where the driver does not say.
    """

    gpu: int
    uuid: str
    pid: int
    name: str | None
    kind: str
    memory_used_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """Programs on all GPUs, and which GPUs did not tell.

    Args:
        processes: By GPU, then by memory, largest first.
        told: uuid of each GPU -> whether it named its processes.
        problem: Why there is no GPU to ask; None when there is one.
    """

    processes: tuple[ProcessSample, ...]
    told: dict[str, bool]
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """The host and this process at one moment.

    Args:
        memory_total_bytes: Physical memory.
        memory_available_bytes: What could be given out without swapping.
        process_resident_bytes: Physical memory that this process holds.
    """

    memory_total_bytes: int
    memory_available_bytes: int
    process_resident_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """GPUs and host of one moment.

    Args:
        gpus: By index; empty when none answers.
        host: The host.
        gpu_problem: Why no GPU could be read; None when at least one was.
        unreadable: One sentence for each GPU that the driver counts and that did not answer.
    """

    gpus: tuple[GpuSample, ...]
    host: HostSample
    gpu_problem: str | None
    unreadable: tuple[str, ...] = ()

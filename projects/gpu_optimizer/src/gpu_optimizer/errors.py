"""Exceptions of `gpu_optimizer`. Each message says what was wrong, what would be right and what to do."""

from __future__ import annotations


class GpuOptimizerError(Exception):
    """Base of every error this package raises on purpose."""


class ProfilingError(GpuOptimizerError, ValueError):
    """A model cannot be measured as it is."""


class MonitoringError(GpuOptimizerError, ValueError):
    """A monitor is asked for something it cannot do."""


class StepError(GpuOptimizerError, ValueError):
    """A training step is described in a way that cannot be run."""


class CheckpointError(GpuOptimizerError, ValueError):
    """A module cannot be checkpointed without changing what the model computes."""


class SwapError(GpuOptimizerError, RuntimeError):
    """A tensor cannot be moved out of the accelerator's memory, or not brought back as it was."""


class BatchSizeError(GpuOptimizerError, ValueError):
    """No batch size fits, or the search was asked for something that cannot be."""


class PrecisionError(GpuOptimizerError, ValueError):
    """A number format is not there on this device, or harms the model."""


class PlanError(GpuOptimizerError, ValueError):
    """No plan can be made, applied or verified as asked."""


class PriceError(GpuOptimizerError, ValueError):
    """A price is missing, damaged or too old to be used."""


class SnapshotError(GpuOptimizerError, ValueError):
    """A memory snapshot is not in the format it should be."""


class ModelSpecError(GpuOptimizerError, ValueError):
    """A model is named in a way that the registry does not know, or its configuration cannot be used."""


class AllocatorError(GpuOptimizerError, ValueError):
    """An allocator is described, or used, in a way that torch's allocator does not allow."""


class SimulatedOutOfMemoryError(GpuOptimizerError, MemoryError):
    """The simulated device has no memory left for a request, even after every unused segment was given back."""


class MemoryFloorError(GpuOptimizerError, MemoryError):
    """Not even the smallest piece of a batch fits."""

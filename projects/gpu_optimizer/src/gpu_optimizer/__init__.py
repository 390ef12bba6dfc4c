"""Make models fit the memory they get: see what uses it, plan, apply, verify.

Importing this package loads nothing but itself; every name comes from its room when it is first asked for, so
nothing here loads torch before something is done with a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_optimizer.lazy_names import lazy_names

if TYPE_CHECKING:
    from gpu_optimizer.costing import PriceBook
    from gpu_optimizer.errors import (
        BatchSizeError,
        CheckpointError,
        GpuOptimizerError,
        ModelSpecError,
        MonitoringError,
        PlanError,
        PrecisionError,
        PriceError,
        ProfilingError,
        SnapshotError,
        StepError,
        SwapError,
    )
    from gpu_optimizer.models import build, list_models
    from gpu_optimizer.monitoring import MemoryCollector, Snapshot, read_snapshot
    from gpu_optimizer.planning import AppliedPlan, BudgetError, ErrorLedger, Plan, Verification, cheapest_plans, plan
    from gpu_optimizer.profiling import MemoryProfiler, ModelMemory, ModuleMemory, parameter_memory
    from gpu_optimizer.profiling.estimate import estimate_inference, estimate_step
    from gpu_optimizer.profiling.measure import measure_step
    from gpu_optimizer.profiling.profile import MemoryProfile
    from gpu_optimizer.steps import Sample, TrainingStep
    from gpu_optimizer.training import CheckpointManager
    from gpu_optimizer.training.batch_optimizer import auto_batch_size
    from gpu_optimizer.training.tensor_swapper import TensorSwapper

__version__ = "0.1.0"

_HOME = {
    "BatchSizeError": "errors",
    "CheckpointError": "errors",
    "GpuOptimizerError": "errors",
    "ModelSpecError": "errors",
    "MonitoringError": "errors",
    "PlanError": "errors",
    "PrecisionError": "errors",
    "PriceError": "errors",
    "ProfilingError": "errors",
    "SnapshotError": "errors",
    "StepError": "errors",
    "SwapError": "errors",
    "MemoryCollector": "monitoring",
    "Snapshot": "monitoring",
    "read_snapshot": "monitoring",
    "ModelMemory": "profiling",
    "ModuleMemory": "profiling",
    "parameter_memory": "profiling",
    "estimate_inference": "profiling.estimate",
    "estimate_step": "profiling.estimate",
    "measure_step": "profiling.measure",
    "MemoryProfile": "profiling.profile",
    "MemoryProfiler": "profiling",
    "Sample": "steps",
    "TrainingStep": "steps",
    "CheckpointManager": "training",
    "TensorSwapper": "training.tensor_swapper",
    "auto_batch_size": "training.batch_optimizer",
    "AppliedPlan": "planning",
    "BudgetError": "planning",
    "ErrorLedger": "planning",
    "Plan": "planning",
    "Verification": "planning",
    "cheapest_plans": "planning",
    "plan": "planning",
    "PriceBook": "costing",
    "build": "models",
    "list_models": "models",
}

__all__ = [
    "AppliedPlan",
    "BatchSizeError",
    "BudgetError",
    "CheckpointError",
    "CheckpointManager",
    "ErrorLedger",
    "GpuOptimizerError",
    "MemoryCollector",
    "MemoryProfile",
    "MemoryProfiler",
    "ModelMemory",
    "ModelSpecError",
    "ModuleMemory",
    "MonitoringError",
    "Plan",
    "PlanError",
    "PrecisionError",
    "PriceBook",
    "PriceError",
    "ProfilingError",
    "Sample",
    "Snapshot",
    "SnapshotError",
    "StepError",
    "SwapError",
    "TensorSwapper",
    "TrainingStep",
    "Verification",
    "__version__",
    "auto_batch_size",
    "build",
    "cheapest_plans",
    "estimate_inference",
    "estimate_step",
    "list_models",
    "measure_step",
    "parameter_memory",
    "plan",
    "read_snapshot",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)

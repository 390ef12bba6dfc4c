"""Where a model's memory goes: what it holds, what a training step needs, and what the allocator makes of it.

Names load their modules when they are first asked for, so this room alone imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_optimizer.lazy_names import lazy_names

if TYPE_CHECKING:
    from gpu_optimizer.profiling.allocator import AllocatorSimulator, AllocatorStats
    from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
    from gpu_optimizer.profiling.capacity import DeviceNeed, device_need
    from gpu_optimizer.profiling.cuda_analyzer import FragmentationReport, analyze_snapshot, capture, record_history
    from gpu_optimizer.profiling.estimate import estimate_inference, estimate_step
    from gpu_optimizer.profiling.measure import measure_step
    from gpu_optimizer.profiling.memory_profiler import Comparison, MemoryProfiler, Watched
    from gpu_optimizer.profiling.profile import MemoryProfile, ModuleCost, Moment, Span, TensorLife
    from gpu_optimizer.profiling.replay import Replay, Request, predict_reserved, requests_from_lives, requests_from_snapshot
    from gpu_optimizer.profiling.snapshots import MemorySnapshot, load_snapshot, save_snapshot
    from gpu_optimizer.profiling.static import ModelMemory, ModuleMemory, parameter_memory

_HOME = {
    "AllocatorSettings": "allocator_settings",
    "AllocatorSimulator": "allocator",
    "AllocatorStats": "allocator",
    "FragmentationReport": "cuda_analyzer",
    "Comparison": "memory_profiler",
    "DeviceNeed": "capacity",
    "MemoryProfile": "profile",
    "MemoryProfiler": "memory_profiler",
    "Watched": "memory_profiler",
    "MemorySnapshot": "snapshots",
    "ModelMemory": "static",
    "ModuleCost": "profile",
    "ModuleMemory": "static",
    "Moment": "profile",
    "Replay": "replay",
    "Request": "replay",
    "Span": "profile",
    "TensorLife": "profile",
    "analyze_snapshot": "cuda_analyzer",
    "capture": "cuda_analyzer",
    "device_need": "capacity",
    "estimate_inference": "estimate",
    "estimate_step": "estimate",
    "load_snapshot": "snapshots",
    "measure_step": "measure",
    "parameter_memory": "static",
    "predict_reserved": "replay",
    "record_history": "cuda_analyzer",
    "requests_from_lives": "replay",
    "requests_from_snapshot": "replay",
    "save_snapshot": "snapshots",
}

__all__ = [
    "AllocatorSettings",
    "AllocatorSimulator",
    "AllocatorStats",
    "Comparison",
    "DeviceNeed",
    "FragmentationReport",
    "MemoryProfile",
    "MemoryProfiler",
    "MemorySnapshot",
    "ModelMemory",
    "ModuleCost",
    "ModuleMemory",
    "Moment",
    "Replay",
    "Request",
    "Span",
    "TensorLife",
    "Watched",
    "analyze_snapshot",
    "capture",
    "device_need",
    "estimate_inference",
    "estimate_step",
    "load_snapshot",
    "measure_step",
    "parameter_memory",
    "predict_reserved",
    "record_history",
    "requests_from_lives",
    "requests_from_snapshot",
    "save_snapshot",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)

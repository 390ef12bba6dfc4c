"""Where a model's memory goes."""

from gpu_optimizer.profiling.static import ModelMemory, ModuleMemory, parameter_memory

__all__ = ["ModelMemory", "ModuleMemory", "parameter_memory"]

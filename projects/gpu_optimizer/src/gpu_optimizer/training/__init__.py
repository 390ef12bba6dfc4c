"""Tools that change how a step is trained and nothing of what it computes.

Checkpoints, swapping to the host, the batch size, number formats, accumulation, and what to do when memory
runs out. Every tool is applied to the user's own model and can be taken off again.
"""

from gpu_optimizer.training.candidates import checkpoint_candidates
from gpu_optimizer.training.checkpoint_manager import CheckpointManager
from gpu_optimizer.training.oom import OomCounters, OomEvent, OomSafeRunner, is_oom, release_memory, run_oom_safe

__all__ = [
    "CheckpointManager",
    "OomCounters",
    "OomEvent",
    "OomSafeRunner",
    "checkpoint_candidates",
    "is_oom",
    "release_memory",
    "run_oom_safe",
]

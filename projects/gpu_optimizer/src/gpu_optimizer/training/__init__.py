"""Tools that change how a step is trained and nothing of what it computes.

Checkpoints, swapping to the host, the batch size, number formats, accumulation, and what to do when memory
runs out. Every tool is applied to the user's own model and can be taken off again.
"""

from gpu_optimizer.training.batch_decorator import batch_size_decorator
from gpu_optimizer.training.batch_optimizer import BatchSizeResult, Trial, auto_batch_size, find_batch_size
from gpu_optimizer.training.batch_search import AffinePiece, PeakCurve
from gpu_optimizer.training.candidates import checkpoint_candidates
from gpu_optimizer.training.checkpoint_manager import CheckpointManager
from gpu_optimizer.training.oom import OomCounters, OomEvent, OomSafeRunner, is_oom, release_memory, run_oom_safe

__all__ = [
    "AffinePiece",
    "BatchSizeResult",
    "CheckpointManager",
    "OomCounters",
    "OomEvent",
    "OomSafeRunner",
    "PeakCurve",
    "Trial",
    "auto_batch_size",
    "batch_size_decorator",
    "checkpoint_candidates",
    "find_batch_size",
    "is_oom",
    "release_memory",
    "run_oom_safe",
]

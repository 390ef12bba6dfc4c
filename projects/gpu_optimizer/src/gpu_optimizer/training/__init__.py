"""Tools that change how a step is trained and nothing of what it computes.

Checkpoints, swapping to the host, the batch size, number formats, accumulation, and what to do when memory
runs out. Every tool is applied to the user's own model and can be taken off again.
"""

from gpu_optimizer.training.accumulation import AccumulatedStep, Accumulator, accumulate, target_tokens
from gpu_optimizer.training.batch_decorator import batch_size_decorator
from gpu_optimizer.training.batch_optimizer import BatchSizeResult, Trial, auto_batch_size, find_batch_size
from gpu_optimizer.training.batch_search import AffinePiece, PeakCurve
from gpu_optimizer.training.candidates import checkpoint_candidates
from gpu_optimizer.training.checkpoint_manager import CheckpointManager
from gpu_optimizer.training.guard_rail import GuardReport, GuardRow, one_at_a_time
from gpu_optimizer.training.layout import Gain, channels_last, fuse_conv_bn
from gpu_optimizer.training.offloaded_optimizer import OffloadedOptimizer
from gpu_optimizer.training.oom import OomCounters, OomEvent, OomSafeRunner, is_oom, release_memory, run_oom_safe
from gpu_optimizer.training.parameter_swapper import ParameterSwapper, swap_parameters
from gpu_optimizer.training.precision import PrecisionCheck, PrecisionPolicy, compare_precision, guard_precision
from gpu_optimizer.training.swap_backend import Backend, CudaBackend, HostPool, Transfer
from gpu_optimizer.training.tensor_swapper import SwapCounters, TensorSwapper, swapped_activations

__all__ = [
    "AccumulatedStep",
    "Accumulator",
    "AffinePiece",
    "Backend",
    "BatchSizeResult",
    "CheckpointManager",
    "CudaBackend",
    "Gain",
    "GuardReport",
    "GuardRow",
    "HostPool",
    "OffloadedOptimizer",
    "OomCounters",
    "OomEvent",
    "OomSafeRunner",
    "ParameterSwapper",
    "PeakCurve",
    "PrecisionCheck",
    "PrecisionPolicy",
    "SwapCounters",
    "TensorSwapper",
    "Transfer",
    "Trial",
    "accumulate",
    "auto_batch_size",
    "batch_size_decorator",
    "channels_last",
    "checkpoint_candidates",
    "compare_precision",
    "find_batch_size",
    "fuse_conv_bn",
    "guard_precision",
    "is_oom",
    "one_at_a_time",
    "release_memory",
    "run_oom_safe",
    "swap_parameters",
    "swapped_activations",
    "target_tokens",
]

"""What to answer when nothing fits: the smallest budget that works, what its peak is made of, what is left to allow."""

from __future__ import annotations

from collections.abc import Sequence

from gpu_optimizer.planning.batches import examples
from gpu_optimizer.planning.request import BudgetError, Request
from gpu_optimizer.planning.sizes import format_bytes
from gpu_optimizer.profiling.profile import MemoryProfile

_MEANS = {
    "checkpoint": "recomputing blocks",
    "offload": "moving to the host",
    "accumulation": "smaller micro-batches",
    "precision": "another number format",
}


def budget_error(request: Request, lowest: MemoryProfile, notes: Sequence[str]) -> BudgetError:
    """The error that says what would work.

    Args:
        request: What was asked for.
        lowest: The profile with the lowest peak of all ways.
        notes: What a reader should know besides.
    """
    needed = int(lowest.peak_bytes * (1 + request.margin)) + 1
    parts = {name: size for name, size in sorted(lowest.by_category_at_peak.items(), key=lambda part: -part[1]) if size}
    largest = ", ".join(f"{name.replace('_', ' ')} {format_bytes(size)}" for name, size in list(parts.items())[:3])
    idle = [words for name, words in _MEANS.items() if name not in request.search and _could_help(request, name)]
    advice = f"; the search may not use {' or '.join(idle)}" if idle else "; a smaller model, optimizer or sample is needed"
    return BudgetError(
        f"no plan fits {format_bytes(request.budget_bytes)}: the smallest budget that works is {format_bytes(needed)} "
        f"(with a margin of {request.margin:.1%}); its peak, in the {lowest.peak_phase} phase, is made of {largest}{advice}"
        + "".join(f"; {note}" for note in notes),
        budget_bytes=request.budget_bytes,
        smallest_bytes=needed,
        by_category=parts,
        phase=lowest.peak_phase,
    )


def _could_help(request: Request, means: str) -> bool:
    """Whether allowing something could change the answer: a single example cannot be split, a CPU has no other memory."""
    if means == "accumulation":
        return examples(request.step.sample) > 1
    return means != "offload" or request.machine.has_host

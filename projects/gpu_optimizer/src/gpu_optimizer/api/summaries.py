"""Profiles and fragmentation reports as a service and a page can carry them: small, whatever they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from gpu_optimizer.profiling import MemoryProfile
    from gpu_optimizer.profiling.cuda_analyzer import FragmentationReport
    from gpu_optimizer.steps import TrainingStep

T = TypeVar("T")

MOST_MOMENTS = 1200
MOST_OWNERS = 40
MOST_MODULES = 400
MOST_SEGMENTS = 60
MOST_BLOCKS = 400
_DEPTH = 4


def profile_summary(profile: MemoryProfile, step: TrainingStep, *, name: str) -> dict[str, Any]:
    """What a profile says, as plain JSON types.

    Args:
        profile: Estimated or measured.
        step: What it is of.
        name: What the model is called.

    Returns:
        Peak, its phase and categories, the largest owners, modules down to a few levels, and a timeline of at most
        `MOST_MOMENTS` rows that has every peak in it.
    """
    parameters = {id(p): p.numel() for p in step.model.parameters()}
    modules = sorted((m for m in profile.modules if m.depth <= _DEPTH), key=lambda m: -(m.saved_bytes + m.parameter_bytes))[:MOST_MODULES]
    timeline = thinned(profile.timeline, [moment.total_bytes for moment in profile.timeline], MOST_MOMENTS)
    categories = sorted({category for moment in timeline for category in moment.by_category})
    return {
        "model": name,
        "parameters": sum(parameters.values()),
        "batch_size": profile.batch_size,
        "accumulation": step.accumulation,
        "precision": step.precision,
        "optimizer": step.optimizer if isinstance(step.optimizer, str) or step.optimizer is None else "custom",
        "method": profile.method,
        "device": profile.device,
        "peak_bytes": profile.peak_bytes,
        "peak_phase": profile.peak_phase,
        "peak_step": profile.peak_step,
        "reserved_bytes": profile.reserved_bytes,
        "by_category_bytes": profile.by_category_at_peak,
        "phase_peaks_bytes": profile.phase_peaks_bytes,
        "base_bytes": profile.base_bytes,
        "owners": [_picked(life, _OWNER) for life in profile.owners_at_peak[:MOST_OWNERS]],
        "modules": [_picked(module, _MODULE) for module in modules],
        "timeline": {
            "phase": [moment.phase for moment in timeline],
            "step": [moment.step for moment in timeline],
            "categories": {c: [moment.by_category.get(c, 0) for moment in timeline] for c in categories},
        },
        "notes": list(profile.notes),
    }


_OWNER = ("name", "category", "size_bytes", "shape", "dtype", "module", "saved_by")
_MODULE = ("name", "kind", "depth", "parameter_bytes", "saved_bytes", "output_bytes", "forward_flops")


def _picked(row: Any, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def report_summary(report: FragmentationReport) -> dict[str, Any]:
    """What a fragmentation report says, as plain JSON types, with its largest segments.

    Args:
        report: From a snapshot; a report that was read from values has no segments to show.

    Returns:
        `to_dict()` with thinned timelines, `segments` (size, stream, blocks of size and state) and the number left out.
    """
    plain = json.loads(json.dumps(report.to_dict()))
    for line in plain["timelines"]:
        kept = thinned(range(len(line["ticks"])), line["active_bytes"], MOST_MOMENTS)
        line["ticks"], line["active_bytes"] = ([line[key][i] for i in kept] for key in ("ticks", "active_bytes"))
    segments = [segment for segment in (report.snapshot.segments if report.snapshot else ()) if segment.device == report.device]
    largest = sorted(segments, key=lambda segment: (-segment.size_bytes, segment.address))[:MOST_SEGMENTS]
    plain["segments"] = [
        {
            "size_bytes": segment.size_bytes,
            "stream": segment.stream,
            "small": segment.small,
            "blocks": _joined([(block.size_bytes, block.state) for block in segment.blocks]),
        }
        for segment in largest
    ]
    plain["segments_left_out"] = len(segments) - len(largest)
    return plain


def _joined(blocks: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Neighbours of one state as one block; of too many the rest as one that says so."""
    found: list[tuple[int, str]] = []
    for size, state in blocks:
        if found and found[-1][1] == state:
            found[-1] = (found[-1][0] + size, state)
        else:
            found.append((size, state))
    rest = sum(size for size, _ in found[MOST_BLOCKS:])
    return [*found[:MOST_BLOCKS], *([(rest, "not_shown")] if rest else [])]


def thinned(rows: Sequence[T], values: Sequence[int], most: int) -> list[T]:
    """At most `most` rows in their order: of each stretch the one with the largest value, so no peak is lost.

    Example:
        >>> thinned("abcdef", [1, 5, 2, 2, 9, 3], 3)
        ['b', 'c', 'e']
    """
    if len(rows) <= most:
        return list(rows)
    edges = [round(i * len(rows) / most) for i in range(most + 1)]
    stretches = (range(start, end) for start, end in pairwise(edges))
    return [rows[max(stretch, key=lambda i: (values[i], -i))] for stretch in stretches]

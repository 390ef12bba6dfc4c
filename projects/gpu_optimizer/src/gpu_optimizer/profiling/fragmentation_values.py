"""A fragmentation report read back from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from gpu_optimizer.errors import SnapshotError
from gpu_optimizer.profiling.cuda_analyzer import FragmentationReport
from gpu_optimizer.profiling.fragmentation import Holder, PoolUse, SegmentUse
from gpu_optimizer.profiling.fragmentation_advice import Advice, ReplayCheck
from gpu_optimizer.profiling.fragmentation_history import OutOfMemoryReport, PoolTimeline

T = TypeVar("T")


def report_from_dict(values: Mapping[str, Any]) -> FragmentationReport:
    """The report whose `to_dict` gave these values, without its snapshot.

    Raises:
        SnapshotError: Something is missing or has another form.
    """
    try:
        check = values["replay_check"]
        return FragmentationReport(
            device=int(values["device"]),
            settings=str(values["settings"]),
            pools=tuple(_row(PoolUse, row) for row in values["pools"]),
            segments=tuple(_row(SegmentUse, row) for row in values["segments"]),
            holders=tuple(_row(Holder, row) for row in values["holders"]),
            advice=tuple(_row(Advice, row) for row in values["advice"]),
            replay_check=None if check is None else _row(ReplayCheck, check),
            timelines=tuple(_row(PoolTimeline, row) for row in values["timelines"]),
            out_of_memory=tuple(
                _row(OutOfMemoryReport, {**row, "holders": [_row(Holder, holder) for holder in row["holders"]]})
                for row in values["out_of_memory"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"these are not the values of a fragmentation report: {type(error).__name__}: {error}") from error


def _row(kind: type[T], values: Mapping[str, Any]) -> T:
    """One part; lists become tuples, what is computed from the rest is left out."""
    names = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    return kind(**{name: tuple(values[name]) if isinstance(values[name], list) else values[name] for name in names})

"""What a profile says: every tensor's life, what each module costs, and the peak with its owners.

Bytes are those of storages, so views and tied weights count once. Time is counted in ticks: one per
allocation and one per release, in the order in which they happen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from gpu_optimizer.errors import ProfilingError

if TYPE_CHECKING:
    from rich.console import RenderableType

Category = Literal["parameters", "buffers", "inputs", "gradients", "optimizer_state", "activations", "temporaries"]
Phase = Literal["forward", "backward", "optimizer"]
Method = Literal["estimated", "measured"]
CATEGORIES: tuple[Category, ...] = get_args(Category)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorLife:
    """One storage from its allocation to its release.

    Args:
        name: Name of the parameter, buffer or input; else the module and the operator that made it.
        category: What it is for. Activations are what backward needs, temporaries are the rest.
        size_bytes: Size of the storage.
        shape: Shape of the first tensor on it.
        dtype: Element type of that tensor.
        born: Tick of its allocation, 0 for what was there before the first step.
        died: Tick of its release, None for what is still there after the last step.
        phase: Phase of its allocation.
        step: Step of its allocation, 0 for the first.
        module: Path of the innermost module at work then.
        operator: What made it, for example `"aten::addmm"`; empty for what was there before.
        saved_by: Modules in which autograd saved it for the backward pass.
    """

    name: str
    category: Category
    size_bytes: int
    shape: tuple[int, ...]
    dtype: str
    born: int
    died: int | None
    phase: Phase
    step: int
    module: str
    operator: str
    saved_by: tuple[str, ...] = ()

    def alive_at(self, tick: int) -> bool:
        """Whether it is allocated right after the event of that tick."""
        return self.born <= tick and (self.died is None or tick < self.died)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCost:
    """What one module costs in the first micro-batch of the first step; calls are summed, peaks are not.

    Args:
        name: Path in the model, `""` for the model itself.
        kind: Class name.
        depth: Number of modules above it.
        calls: How often it was called; 0 for a module whose parameters are used by others only.
        parameter_bytes: Parameters at and below it, each once.
        saved_bytes: Kept for the backward pass only by what happens inside it: what checkpointing it frees.
        input_bytes: Tensors it is called with, without parameters: what a checkpoint must keep.
        extra_input_bytes: Those of them that nothing keeps for backward anyway: checkpointing it frees `saved_bytes` less these.
        output_bytes: Tensors it returns that are not its inputs.
        forward_flops: Floating point operations of matrix products, convolutions and attention.
        forward_peak_bytes: Most that was alive at once of what it allocated, while it ran forward.
        backward_temporary_bytes: Most that was alive at once of what its backward pass allocated, gradients of
            parameters aside.
        peak_temporary_bytes: Most that recomputing it and going backward through it needs at once.
    """

    name: str
    kind: str
    depth: int
    calls: int
    parameter_bytes: int
    saved_bytes: int
    input_bytes: int
    extra_input_bytes: int
    output_bytes: int
    forward_flops: int
    forward_peak_bytes: int
    backward_temporary_bytes: int
    peak_temporary_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A phase and when it begins.

    Args:
        phase: Forward, backward or optimizer.
        step: Step it belongs to.
        start: First tick of it; it ends where the next span begins.
    """

    phase: Phase
    step: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is allocated right after one event.

    Args:
        tick: When.
        phase: Phase then.
        step: Step then.
        total_bytes: Everything.
        by_category: The same by category, those without bytes left out.
    """

    tick: int
    phase: Phase
    step: int
    total_bytes: int
    by_category: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class MemoryProfile:
    """Where the memory of a training step goes, estimated or measured.

    Args:
        method: "estimated" (nothing ran) or "measured".
        device: Device it is for, as torch writes it.
        batch_size: Examples per micro-batch.
        steps: Steps looked at. The first has no optimizer state yet, the later ones have it all the time.
        granule_bytes: Every storage is counted in multiples of this: 512 in CUDA's allocator, 1 on a CPU.
        lives: Every storage's life, in the order of allocation.
        spans: Phases in order.
        modules: Every module of the model in the order of `named_modules()`.
        peak_bytes: Most that is allocated at once.
        peak_tick: When.
        scratch_bytes: Part of the peak that is in none of the lives: work space inside kernels, where it was measured.
        reserved_bytes: Most that the allocator took from the device, None where it was not measured.
        convolution_bytes: What the largest convolution reads and writes, in an estimate for CUDA; see `device_need`.
        notes: What a reader should know.
    """

    method: Method
    device: str
    batch_size: int
    steps: int
    granule_bytes: int
    lives: tuple[TensorLife, ...]
    spans: tuple[Span, ...]
    modules: tuple[ModuleCost, ...]
    peak_bytes: int
    peak_tick: int
    scratch_bytes: int = 0
    reserved_bytes: int | None = None
    convolution_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def peak_phase(self) -> Phase:
        """Phase in which the peak is reached."""
        return self.span_at(self.peak_tick).phase

    @property
    def peak_step(self) -> int:
        """Step in which the peak is reached, 0 for the first."""
        return self.span_at(self.peak_tick).step

    @cached_property
    def step_peaks_bytes(self) -> tuple[int, ...]:
        """Peak of the tensors in each step: the first one without optimizer state until its end, the others with."""
        return tuple(self._peak_of(lambda span, step=step: span.step == step) for step in range(self.steps))

    @cached_property
    def phase_peaks_bytes(self) -> dict[str, int]:
        """Peak of the tensors in each phase over all steps."""
        return {phase: self._peak_of(lambda span, phase=phase: span.phase == phase) for phase in get_args(Phase)}

    @cached_property
    def by_category_at_peak(self) -> dict[str, int]:
        """Bytes at the peak by category; work space of kernels counts as temporaries."""
        sums: dict[str, int] = dict.fromkeys(CATEGORIES, 0)
        for life in self.owners_at_peak:
            sums[life.category] += self.counted_bytes(life)
        sums["temporaries"] += self.scratch_bytes
        return sums

    @cached_property
    def owners_at_peak(self) -> tuple[TensorLife, ...]:
        """What is alive at the peak, largest first."""
        return tuple(sorted((life for life in self.lives if life.alive_at(self.peak_tick)), key=lambda life: -life.size_bytes))

    @property
    def base_bytes(self) -> int:
        """What is there before the first step: parameters, buffers and inputs."""
        return sum(self.counted_bytes(life) for life in self.lives if life.born == 0)

    @cached_property
    def timeline(self) -> tuple[Moment, ...]:
        """What is allocated after each event, by category."""
        changes = sorted(
            [(life.born, 1, life) for life in self.lives] + [(life.died, 0, life) for life in self.lives if life.died is not None],
            key=lambda change: change[:2],
        )
        moments: list[Moment] = []
        sums: dict[str, int] = {}
        for index, (tick, is_birth, life) in enumerate(changes):
            sums[life.category] = sums.get(life.category, 0) + (1 if is_birth else -1) * self.counted_bytes(life)
            if index + 1 < len(changes) and changes[index + 1][0] == tick:
                continue
            span = self.span_at(tick)
            there = {name: size for name, size in sums.items() if size}
            moments.append(Moment(tick=tick, phase=span.phase, step=span.step, total_bytes=sum(there.values()), by_category=there))
        return tuple(moments)

    def module(self, name: str) -> ModuleCost:
        """What one module costs.

        Raises:
            ProfilingError: There is no such module.
        """
        for cost in self.modules:
            if cost.name == name:
                return cost
        raise ProfilingError(f"no module {name!r} in this profile; names are those of model.named_modules()")

    def span_at(self, tick: int) -> Span:
        """The phase at a tick."""
        starts = self._starts
        return self.spans[max(int(np.searchsorted(starts, tick, side="right")) - 1, 0)]

    def counted_bytes(self, life: TensorLife) -> int:
        """Bytes of a storage in whole granules."""
        return rounded(life.size_bytes, self.granule_bytes)

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain JSON types; lives are rows under their column names, for size."""
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("lives", "spans", "modules"):
            plain[name] = _columns(plain[name])
        plain["notes"] = list(self.notes)
        plain["peak"] = {"phase": self.peak_phase, "step": self.peak_step, "by_category_bytes": self.by_category_at_peak}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> MemoryProfile:
        """A profile from what `to_dict` gave.

        Raises:
            ProfilingError: Something is missing or of another kind.
        """
        try:
            values = {field.name: plain[field.name] for field in fields(cls) if field.name in plain or field.name != "convolution_bytes"}
            values["lives"] = tuple(
                TensorLife(**{**row, "shape": tuple(row["shape"]), "saved_by": tuple(row["saved_by"])}) for row in _rows(plain["lives"])
            )
            values["spans"] = tuple(Span(**row) for row in _rows(plain["spans"]))
            values["modules"] = tuple(ModuleCost(**row) for row in _rows(plain["modules"]))
            return cls(**{**values, "notes": tuple(plain["notes"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ProfilingError(f"this is no memory profile as to_dict() writes it: {error!r}; estimate or measure again") from error

    def replace(self, **changes: Any) -> MemoryProfile:
        """The same profile with some fields changed."""
        return replace(self, **changes)

    def table(self, *, depth: int = 2, lines: int = 12) -> RenderableType:
        """The peak, its owners and the modules, for a `rich` console.

        Args:
            depth: Modules deeper than this are left out.
            lines: Owners of the peak to show.
        """
        from gpu_optimizer.profiling.profile_table import profile_table

        return profile_table(self, depth=depth, lines=lines)

    def plot(self, path: str | Path) -> Path:
        """Draw what is allocated over time by category into a file (png, svg, pdf)."""
        from gpu_optimizer.profiling.profile_plot import plot_profile

        return plot_profile(self, Path(path))

    def html(self, path: str | Path) -> Path:
        """Write a page with timeline, owners and modules that needs nothing else."""
        from gpu_optimizer.profiling.profile_plot import page

        target = Path(path)
        target.write_text(page(self), encoding="utf-8")
        return target

    def save(self, path: str | Path) -> Path:
        """Write the profile as JSON."""
        target = Path(path)
        target.write_text(json.dumps(self.to_dict(), separators=(",", ":")), encoding="utf-8")
        return target

    @classmethod
    def load(cls, path: str | Path) -> MemoryProfile:
        """Read what `save` wrote.

        Raises:
            ProfilingError: The file is not JSON, or no profile.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ProfilingError(f"{path} cannot be read as JSON ({error}); pass a file that MemoryProfile.save wrote") from error
        return cls.from_dict(plain)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([span.start for span in self.spans], dtype=np.int64)

    def _peak_of(self, wanted: Any) -> int:
        ticks, totals = live_bytes(self.lives, self.granule_bytes)
        spans = np.clip(np.searchsorted(self._starts, ticks, side="right") - 1, 0, None)
        chosen = np.array([bool(wanted(span)) for span in self.spans])[spans]
        return int(totals[chosen].max()) if chosen.any() else 0


def rounded(size_bytes: int, granule_bytes: int) -> int:
    """The smallest multiple of the granule that holds so many bytes."""
    return -(-size_bytes // granule_bytes) * granule_bytes


def live_bytes(lives: Iterable[Any], granule_bytes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Ticks at which something changes, and bytes alive right after each; anything with size_bytes, born and died counts."""
    events: list[tuple[int, int]] = []
    for life in lives:
        size = rounded(life.size_bytes, granule_bytes)
        events.append((life.born, size))
        if life.died is not None:
            events.append((life.died, -size))
    if not events:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    table = np.array(events, dtype=np.int64)
    ticks, index = np.unique(table[:, 0], return_inverse=True)
    changes = np.zeros(len(ticks), np.int64)
    np.add.at(changes, index.ravel(), table[:, 1])
    return ticks, np.cumsum(changes)


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    tables = [asdict(row) for row in rows]
    names = list(tables[0]) if tables else []
    return {name: [list(row[name]) if isinstance(row[name], tuple) else row[name] for row in tables] for name in names}


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    names = list(columns)
    return [dict(zip(names, cast("tuple[Any, ...]", row), strict=True)) for row in zip(*columns.values(), strict=True)]

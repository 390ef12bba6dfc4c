"""A memory profile for the terminal and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gpu_optimizer.profiling.profile import CATEGORIES

if TYPE_CHECKING:
    from gpu_optimizer.profiling.profile import MemoryProfile, ModuleCost, TensorLife


def profile_table(profile: MemoryProfile, *, depth: int = 2, lines: int = 12) -> RenderableType:
    """The peak by category, its largest owners, and the modules down to a depth.

    Args:
        profile: What to show.
        depth: Modules deeper than this are left out; their costs are in those above them.
        lines: Owners to show.
    """
    parts: list[RenderableType] = [
        Text(headline(profile), style="bold"),
        _categories(profile),
        _owners(profile, lines),
        _modules(profile, depth),
    ]
    parts += [Text(f"note: {note}", style="yellow") for note in profile.notes]
    return Group(*parts)


def headline(profile: MemoryProfile) -> str:
    """The peak in a sentence."""
    reserved = "" if profile.reserved_bytes is None else f", {words(profile.reserved_bytes)} reserved"
    steps = ", ".join(words(peak) for peak in profile.step_peaks_bytes)
    return (
        f"peak {words(profile.peak_bytes)} {profile.method} on {profile.device}, in the {profile.peak_phase} of step "
        f"{profile.peak_step + 1}{reserved}; batch {profile.batch_size}; peaks of the steps: {steps}"
    )


def words(size_bytes: float) -> str:
    """Bytes in the unit that reads best, for example `1.50 GiB`."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(size_bytes) >= size:
            return f"{size_bytes / size:.2f} {unit}"
    return f"{size_bytes:.0f} B"


def owner_cells(life: TensorLife) -> tuple[str, ...]:
    """An owner of the peak as cells: name, category, size, shape, operator, and the modules that save it."""
    shape = "x".join(map(str, life.shape)) or "scalar"
    saved = ", ".join(name or "(model)" for name in life.saved_by[:3]) + (" ..." if len(life.saved_by) > 3 else "")
    return life.name, life.category, words(life.size_bytes), f"{shape} {life.dtype}", life.operator.removeprefix("aten::"), saved


def module_cells(cost: ModuleCost) -> tuple[str, ...]:
    """A module's costs as cells."""
    sizes = (cost.parameter_bytes, cost.saved_bytes, cost.output_bytes, cost.peak_temporary_bytes)
    return cost.name or "(model)", cost.kind, str(cost.calls), *(words(size) for size in sizes), f"{cost.forward_flops / 1e9:.2f}"


OWNER_TITLES = ("tensor", "category", "size", "shape", "made by", "saved by")
MODULE_TITLES = ("module", "kind", "calls", "parameters", "saved for backward", "outputs", "to recompute", "GFLOP")


def _categories(profile: MemoryProfile) -> Table:
    table = Table(title="at the peak")
    for title in ("category", "bytes", "share"):
        table.add_column(title, justify="left" if title == "category" else "right")
    for name in CATEGORIES:
        size = profile.by_category_at_peak[name]
        if size:
            table.add_row(name.replace("_", " "), words(size), f"{size / profile.peak_bytes:.1%}")
    return table


def _owners(profile: MemoryProfile, lines: int) -> RenderableType:
    shown = profile.owners_at_peak[:lines]
    share = sum(life.size_bytes for life in shown) / profile.peak_bytes if profile.peak_bytes else 0.0
    title = f"the {len(shown)} largest of {len(profile.owners_at_peak)} tensors make {share:.0%} of the peak"
    return _Fitting(title, OWNER_TITLES, [owner_cells(life) for life in shown], numbers={"size"}, spare=("made by", "shape", "saved by"))


def _modules(profile: MemoryProfile, depth: int) -> RenderableType:
    rows = [module_cells(cost) for cost in profile.modules if cost.depth <= depth and (cost.calls or cost.parameter_bytes)]
    spare = ("kind", "calls", "GFLOP", "outputs", "parameters")
    return _Fitting("modules", MODULE_TITLES, rows, numbers=set(MODULE_TITLES[2:]), spare=spare)


class _Fitting:
    """A table that leaves columns out, in the order of `spare`, until what it keeps is wide enough to be read."""

    def __init__(
        self, title: str, titles: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: set[str], spare: Sequence[str]
    ) -> None:
        self._title, self._titles, self._rows, self._numbers, self._spare = title, titles, rows, numbers, spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        unlimited = options.update(width=100_000)
        table = self._without(())
        for count in range(len(self._spare) + 1):
            table = self._without(self._spare[:count])
            if Measurement.get(console, unlimited, table).maximum <= options.max_width:
                break
        yield table

    def _without(self, left_out: Sequence[str]) -> Table:
        kept = [index for index, title in enumerate(self._titles) if title not in left_out]
        table = Table(title=self._title, caption=f"no room for: {', '.join(left_out)}" if left_out else None)
        for index in kept:
            title = self._titles[index]
            table.add_column(title, justify="right" if title in self._numbers else "left", overflow="fold")
        for row in self._rows:
            table.add_row(*(row[index] for index in kept))
        return table

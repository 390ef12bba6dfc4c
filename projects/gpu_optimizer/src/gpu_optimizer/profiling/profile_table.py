"""A memory profile for the terminal and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
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


def _owners(profile: MemoryProfile, lines: int) -> Table:
    shown = profile.owners_at_peak[:lines]
    share = sum(life.size_bytes for life in shown) / profile.peak_bytes if profile.peak_bytes else 0.0
    table = Table(title=f"the {len(shown)} largest of {len(profile.owners_at_peak)} tensors make {share:.0%} of the peak")
    for title in OWNER_TITLES:
        table.add_column(title, justify="right" if title == "size" else "left")
    for life in shown:
        table.add_row(*owner_cells(life))
    return table


def _modules(profile: MemoryProfile, depth: int) -> Table:
    table = Table(title="modules")
    for index, title in enumerate(MODULE_TITLES):
        table.add_column(title, justify="left" if index < 2 else "right")
    for cost in profile.modules:
        if cost.depth <= depth and (cost.calls or cost.parameter_bytes):
            table.add_row(*module_cells(cost))
    return table

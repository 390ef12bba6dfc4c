"""Cost tables for the terminal and for documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.table import Table

from gpu_optimizer.costing.amounts import Amount

if TYPE_CHECKING:
    from gpu_optimizer.costing.costs import CostTable, MachineCost

_COLUMNS: tuple[tuple[str, Callable[[MachineCost], str]], ...] = (
    ("machine", lambda row: row.price.name),
    ("usable GiB", lambda row: f"{row.fits_bytes / 2**30:.1f}"),
    ("$/hour", lambda row: Amount(row.usd_per_hour).text()),
    ("step, s", lambda row: "-" if row.time_s is None else f"{row.time_s.text()}{'*' if row.estimated else ''}"),
    ("$/1000 steps", lambda row: "-" if row.step_usd is None else row.step_usd.times(1000).text()),
    ("$/epoch", lambda row: "-" if row.epoch_usd is None else row.epoch_usd.text()),
    ("$/million", lambda row: "-" if row.million_usd is None else row.million_usd.text()),
    ("priced", lambda row: row.price.date.isoformat()),
)
_OPTIONAL = {"step, s": "time_s", "$/1000 steps": "step_usd", "$/epoch": "epoch_usd", "$/million": "million_usd"}
FOOTNOTE = (
    "* estimated from another machine's time by the figures of both, not measured; in brackets: bounds. Prices in US dollars before tax."
)


def cost_table(costs: CostTable) -> Table:
    """One row per machine; columns that nothing is known for are left out."""
    table = Table(title=_title(costs), caption="\n".join((*costs.notes, FOOTNOTE)))
    for name, _ in _shown(costs):
        table.add_column(name, justify="left" if name == "machine" else "right")
    for row in costs.rows:
        table.add_row(*(value(row) for _, value in _shown(costs)))
    return table


def cost_markdown(costs: CostTable) -> str:
    """The same as a Markdown table, with the sources of the prices.

    Example:
        >>> from datetime import date
        >>> from gpu_optimizer.costing import Price, PriceBook, cheapest
        >>> offer = Price(
        ...     provider="me", instance="box", usd_per_hour=1.5, date=date(2026, 1, 2), source="bill", gpu="T4", gpus=1, gpu_memory_gib=16
        ... )
        >>> book = PriceBook.of([offer], today=date(2026, 1, 3))
        >>> print(cheapest(book, 10 * 2**30).markdown().splitlines()[4])
        | me box (T4) | 14.4 | 1.5 | 2026-01-02 |
    """
    columns = _shown(costs)
    lines = [
        _title(costs),
        "",
        "| " + " | ".join(name for name, _ in columns) + " |",
        "|" + "|".join("---" if name == "machine" else "---:" for name, _ in columns) + "|",
        *("| " + " | ".join(value(row).replace("|", "\\|") for _, value in columns) + " |" for row in costs.rows),
        "",
        *costs.notes,
        FOOTNOTE,
        "",
        *(f"- {source}" for source in dict.fromkeys(row.price.source for row in costs.rows)),
    ]
    return "\n".join(lines)


def _title(costs: CostTable) -> str:
    return f"{costs.fitting} offers give a program {_gib(costs.memory_bytes)} on one device; the cheapest {len(costs.rows)}"


def _shown(costs: CostTable) -> list[tuple[str, Callable[[MachineCost], str]]]:
    return [
        (name, value)
        for name, value in _COLUMNS
        if name not in _OPTIONAL or any(getattr(row, _OPTIONAL[name]) is not None for row in costs.rows)
    ]


def _gib(size_bytes: int) -> str:
    """GiB, or MiB of what would be 0.0 GiB.

    Example:
        >>> _gib(20 * 2**30), _gib(46 * 2**20)
        ('20.0 GiB', '46 MiB')
    """
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**29 else f"{size_bytes / 2**20:.0f} MiB"

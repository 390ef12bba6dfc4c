"""What a step, an epoch or a million inferences cost, and which machine does it for least.

Price by the hour times time: an error bar of the time becomes one of the cost. The whole machine is paid for, also
where a job uses one of its GPUs; `per_gpu=True` shares the price for those who can fill the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpu_optimizer.costing.amounts import Amount
from gpu_optimizer.costing.own import OwnMachine
from gpu_optimizer.costing.prices import Price, PriceBook
from gpu_optimizer.costing.resources import known_machines
from gpu_optimizer.costing.scaling import Precision, machine_for, scale_time
from gpu_optimizer.errors import PriceError
from shared_utils.devices import MachineProfile

if TYPE_CHECKING:
    from rich.table import Table

USABLE_SHARE = 0.9
"""Share of a GPU's memory that a program gets: the rest goes to the driver, the CUDA context and, on some, ECC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCost:
    """What a job costs on one machine.

    Args:
        price: Machine and price.
        usd_per_hour: What is counted by the hour, of the machine or of one GPU.
        fits_bytes: Memory that a program gets on it.
        time_s: Time of a step there; None where it is not known.
        step_usd: Cost of a step.
        epoch_usd: Cost of an epoch; None without a number of examples.
        million_usd: Cost of a million examples; None without a batch size.
        estimated: Whether the time was carried over from another machine.
        basis: Where the time is from, or why there is none.
    """

    price: Price
    usd_per_hour: float
    fits_bytes: int
    time_s: Amount | None = None
    step_usd: Amount | None = None
    epoch_usd: Amount | None = None
    million_usd: Amount | None = None
    estimated: bool = False
    basis: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.to_dict() if isinstance(value, Amount | Price) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MachineCost:
        """A row from the values of `to_dict`."""
        amounts = {name: None if values[name] is None else Amount.from_dict(values[name]) for name in _AMOUNTS}
        return cls(**{**values, **amounts, "price": Price.from_dict(values["price"])})


_AMOUNTS = ("time_s", "step_usd", "epoch_usd", "million_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """Machines on which a job fits, cheapest first.

    Args:
        rows: The machines.
        memory_bytes: What the job needs.
        fitting: How many offers fit in all.
        notes: What a reader should know besides, such as offers that could not be ranked.
    """

    rows: tuple[MachineCost, ...]
    memory_bytes: int
    fitting: int
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> MachineCost:
        """The cheapest."""
        return self.rows[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        rows = [row.to_dict() for row in self.rows]
        return {"rows": rows, "memory_bytes": self.memory_bytes, "fitting": self.fitting, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CostTable:
        """A table from the values of `to_dict`."""
        rows = tuple(MachineCost.from_dict(row) for row in values["rows"])
        return cls(rows=rows, memory_bytes=values["memory_bytes"], fitting=values["fitting"], notes=tuple(values["notes"]))

    def table(self) -> Table:
        """For the terminal."""
        from gpu_optimizer.costing.tables import cost_table

        return cost_table(self)

    def markdown(self) -> str:
        """For documents."""
        from gpu_optimizer.costing.tables import cost_markdown

        return cost_markdown(self)


def hourly_usd(price: Price | OwnMachine | float) -> float:
    """US dollars by the hour of what people pass as a price.

    Raises:
        PriceError: It is not a price, or not above 0.
    """
    value = price.usd_per_hour if isinstance(price, Price | OwnMachine) else price
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise PriceError(f"price: expected US dollars by the hour above 0, a Price or an OwnMachine, got {value!r}")
    return float(value)


def cost_per_step(price: Price | OwnMachine | float, time_s: Amount | float | Sequence[float]) -> Amount:
    """Cost of one step in US dollars.

    Args:
        price: Machine, or dollars by the hour.
        time_s: Time of a step in seconds, with bounds if there are any: a number, (value, low, high) or an `Amount`.

    Example:
        >>> cost_per_step(3.60, (2.0, 1.8, 2.5))
        Amount(value=0.002, low=0.0018000000000000002, high=0.0025)
    """
    return Amount.of(time_s).times(hourly_usd(price) / 3600)


def cost_per_epoch(
    price: Price | OwnMachine | float, time_s: Amount | float | Sequence[float], *, examples: int, batch_size: int
) -> Amount:
    """Cost of one pass over a data set; a last smaller batch takes a whole step.

    Raises:
        PriceError: `examples` or `batch_size` is below 1.

    Example:
        >>> cost_per_epoch(3.60, 1.0, examples=1000, batch_size=32).value  # 32 steps of 0.001 dollars
        0.032
    """
    _positive(examples=examples, batch_size=batch_size)
    return cost_per_step(price, time_s).times(-(-examples // batch_size))


def cost_per_million(price: Price | OwnMachine | float, time_s: Amount | float | Sequence[float], *, batch_size: int = 1) -> Amount:
    """Cost of a million inferences (or training examples) on a machine that is always busy.

    Raises:
        PriceError: `batch_size` is below 1.

    Example:
        >>> cost_per_million(0.90, 0.004, batch_size=8).value  # 125000 batches of 4 ms are 500 s
        0.125
    """
    _positive(batch_size=batch_size)
    return cost_per_step(price, time_s).times(1e6 / batch_size)


def cheapest(
    book: PriceBook,
    memory_bytes: int,
    *,
    time_s: Amount | float | Sequence[float] | None = None,
    source: MachineProfile | str | None = None,
    measured: Mapping[str, Amount | float] | None = None,
    precision: Precision = "fp32",
    flops: float | None = None,
    traffic_bytes: float | None = None,
    batch_size: int | None = None,
    examples: int | None = None,
    own: Iterable[OwnMachine] = (),
    spot: bool | None = None,
    provider: str | None = None,
    region: str | None = None,
    per_gpu: bool = False,
    machines: Mapping[str, MachineProfile] | None = None,
    top: int = 10,
) -> CostTable:
    """Machines on which a job fits, cheapest step first; without times, cheapest hour first.

    Args:
        book: Prices.
        memory_bytes: What the job needs on one device, for example a plan's predicted peak.
        time_s: Time of a step on `source`.
        source: Machine that time holds for: its figures, or its short name in config/machines.yml.
        measured: Times that are known for certain machines, by short name or GPU name; they come before estimates.
        precision: Number format of the job.
        flops: Operations of a step, for better estimates; together with `traffic_bytes`.
        traffic_bytes: Bytes a step moves to and from memory.
        batch_size: Examples per step, for the cost of a million and of an epoch.
        examples: Examples of an epoch.
        own: Machines of one's own to compare with.
        spot: Only machines that can be taken away, or only others; None = both.
        provider: Only this provider (and one's own machines).
        region: Only this region.
        per_gpu: Count one GPU's share of the price.
        machines: Figures of machines; default: config/machines.yml.
        top: Rows of the table.

    Raises:
        PriceError: Nothing fits (the largest machine is named), or an argument makes no sense.
    """
    _check_question(memory_bytes, top, batch_size, examples)
    clock = _Clock.of(time_s, source, measured, machines, precision, flops, traffic_bytes)
    offers = [*book.select(spot=spot, provider=provider, region=region), *(machine.price(book.today) for machine in own)]
    rows = [_cost(offer, clock, per_gpu, batch_size, examples) for offer in _fitting(offers, memory_bytes, book)]
    rows.sort(key=lambda row: (math.inf if row.step_usd is None else row.step_usd.value, row.usd_per_hour, row.price.name))
    return CostTable(rows=tuple(rows[:top]), memory_bytes=memory_bytes, fitting=len(rows), notes=_notes(rows, book))


def _check_question(memory_bytes: int, top: int, batch_size: int | None, examples: int | None) -> None:
    _positive(memory_bytes=memory_bytes, top=top)
    _positive(**{name: number for name, number in (("batch_size", batch_size), ("examples", examples)) if number is not None})
    if examples is not None and batch_size is None:
        raise PriceError("examples needs batch_size=")


def _fitting(offers: Sequence[Price], memory_bytes: int, book: PriceBook) -> list[Price]:
    found = [offer for offer in offers if _usable_bytes(offer) >= memory_bytes]
    if not found:
        raise PriceError(_nothing_fits(offers, memory_bytes, book))
    return found


@dataclass(frozen=True, slots=True)
class _Clock:
    """How long a step takes on a machine."""

    time_s: Amount | float | Sequence[float] | None
    source: MachineProfile | None
    measured: Mapping[str, Amount | float]
    machines: Mapping[str, MachineProfile]
    precision: Precision
    flops: float | None
    traffic_bytes: float | None

    @classmethod
    def of(
        cls,
        time_s: Amount | float | Sequence[float] | None,
        source: MachineProfile | str | None,
        measured: Mapping[str, Amount | float] | None,
        machines: Mapping[str, MachineProfile] | None,
        precision: Precision,
        flops: float | None,
        traffic_bytes: float | None,
    ) -> _Clock:
        """From what people pass: machines by short name, known ones by default.

        Raises:
            PriceError: `source` is not known, or a time has none.
        """
        known = known_machines() if machines is None else machines
        origin = known.get(source) if isinstance(source, str) else source
        if isinstance(source, str) and origin is None:
            raise PriceError(f"source: no machine {source!r} is known; there are {', '.join(known) or 'none'}")
        if time_s is not None and origin is None:
            raise PriceError("time_s needs source=, the machine it was measured on or predicted for")
        return cls(time_s, origin, measured or {}, known, precision, flops, traffic_bytes)

    def on(self, offer: Price) -> tuple[Amount | None, bool, str]:
        """Time, whether it is an estimate, and what it rests on."""
        target = machine_for(offer.gpu or offer.instance, self.machines, memory_gib=offer.gpu_memory_gib)
        short = next((name for name, machine in self.machines.items() if machine == target), None)
        for name in (offer.instance, offer.gpu, short):
            if name and name in self.measured:
                return Amount.of(self.measured[name]), False, f"time given for {name}"
        if self.time_s is None or self.source is None:
            return None, False, "no time was given"
        if target is None:
            return None, False, f"the figures of {offer.gpu or offer.instance} are not known (config/machines.yml)"
        try:
            scaled = scale_time(
                Amount.of(self.time_s),
                self.source,
                target,
                precision=self.precision,
                flops=self.flops,
                traffic_bytes=self.traffic_bytes,
            )
        except PriceError as error:
            return None, False, str(error)
        return scaled.time_s, target != self.source, scaled.basis


def _cost(offer: Price, clock: _Clock, per_gpu: bool, batch_size: int | None, examples: int | None) -> MachineCost:
    hourly = offer.usd_per_gpu_hour if per_gpu else offer.usd_per_hour
    time_s, estimated, basis = clock.on(offer)
    step = epoch = million = None
    if time_s is not None:
        step = cost_per_step(hourly, time_s)
        if batch_size is not None:
            million = cost_per_million(hourly, time_s, batch_size=batch_size)
            epoch = None if examples is None else cost_per_epoch(hourly, time_s, examples=examples, batch_size=batch_size)
    return MachineCost(
        price=offer,
        usd_per_hour=hourly,
        fits_bytes=_usable_bytes(offer),
        time_s=time_s,
        step_usd=step,
        epoch_usd=epoch,
        million_usd=million,
        estimated=estimated,
        basis=basis,
    )


def _notes(rows: Sequence[MachineCost], book: PriceBook) -> tuple[str, ...]:
    """Offers without a time, which rank last and may be cut off, and offers that were too old."""
    notes = []
    untimed = [row for row in rows if row.time_s is None]
    if untimed and len(untimed) < len(rows):
        least = min(untimed, key=lambda row: row.usd_per_hour)
        kinds = sorted({row.price.gpu or "CPU" for row in untimed})
        notes.append(
            f"{len(untimed)} offers rank last because the speed of {', '.join(kinds)} is not known; the cheapest of them is "
            f"{least.price.name} at {Amount(least.usd_per_hour).text('$')} an hour. Give measured= times for them."
        )
    return (*notes, *book.notes())


def _usable_bytes(offer: Price) -> int:
    return round((offer.device_memory_bytes or 0) * USABLE_SHARE)


def _nothing_fits(offers: Sequence[Price], memory_bytes: int, book: PriceBook) -> str:
    wanted = f"no machine gives a program {memory_bytes / 2**30:.1f} GiB on one device"
    left_out = "".join(f". {note}" for note in book.notes() if book.refused)
    if not offers:
        return f"{wanted}: no offer fits the filters; loosen provider, region or spot{left_out}"
    largest = max(offers, key=_usable_bytes)
    return (
        f"{wanted}; the largest is {largest.name} with {_usable_bytes(largest) / 2**30:.1f} GiB. "
        f"Plan for that budget (checkpointing, offloading, a smaller batch){left_out}"
    )


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise PriceError(f"{name}: expected a whole number of at least 1, got {number!r}")

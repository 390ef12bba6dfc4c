"""What a plan says: how a step is to be run so that it fits, and what that will need.

A `Plan` is frozen and made of plain values, so it can be written down, compared and applied elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.sizes import format_bytes

if TYPE_CHECKING:
    import torch

    from gpu_optimizer.planning.apply import AppliedPlan, Verification
    from gpu_optimizer.training import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """What is done with one block.

    Args:
        name: Path of the module; "(optimizer)" for the optimizer's state.
        action: "recompute"; "offload" for activations that wait on the host; "host" for the optimizer, which steps there.
        saved_bytes: What the block would hold between its forward and its backward, or the optimizer all the time.
        time_s: What that costs per micro-batch.
    """

    name: str
    action: str
    saved_bytes: int
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """A way to run the step that was looked at.

    Args:
        name: What it is.
        micro_batch: Examples per forward pass.
        accumulation: Forward passes per optimizer step.
        precision: Number format.
        recomputed: Blocks that are recomputed.
        offloaded: Blocks that are moved to the host, the optimizer's state counting as one.
        peak_bytes: Predicted peak, without margin.
        time_s: Predicted time of the whole step; None where none is known.
        fits: Whether it stays within the budget with the margin.
    """

    name: str
    micro_batch: int
    accumulation: int
    precision: str
    recomputed: int
    offloaded: int
    peak_bytes: int
    time_s: float | None
    fits: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a step is run within a budget.

    Args:
        model: Class of the model and a digest of its modules, parameters and sample: what the plan is for.
        device: Name of the device it is for.
        budget_bytes: What was given.
        margin: Share by which the prediction was raised before it had to fit, from past errors on this device.
        batch_size: Examples per optimizer step.
        micro_batch: Examples per forward pass.
        accumulation: Forward passes per optimizer step.
        precision: Number format of the forward pass.
        optimizer: The optimizer's name.
        blocks: What is recomputed or offloaded; all others are left alone.
        predicted_peak_bytes: Predicted peak, without margin.
        peak_phase: Phase of the peak.
        by_category_at_peak: What the peak is made of.
        predicted_s: Predicted time of a step.
        time_error: Share by which the time may be off either way, from past errors here or from how the timing scattered.
        time_method: "measured": from runs of the parts here; "roofline": from the machine's peak rates.
        usd_per_step: What a step costs at `usd_per_hour`; None without a price.
        usd_per_hour: Price of the device.
        price_source: Where the price comes from, with its date.
        alternatives: What else was looked at.
        notes: What a reader should know.
        versions: Versions of torch and of this package.
    """

    model: str
    device: str
    budget_bytes: int
    margin: float
    batch_size: int
    micro_batch: int
    accumulation: int
    precision: str
    optimizer: str
    blocks: tuple[BlockPlan, ...]
    predicted_peak_bytes: int
    peak_phase: str
    by_category_at_peak: Mapping[str, int]
    predicted_s: float
    time_error: float
    time_method: str
    usd_per_step: float | None
    usd_per_hour: float | None
    price_source: str | None
    alternatives: tuple[Alternative, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def recomputed(self) -> tuple[str, ...]:
        """Modules that are checkpointed."""
        return tuple(block.name for block in self.blocks if block.action == "recompute")

    @property
    def offloaded(self) -> tuple[str, ...]:
        """Modules whose activations go to the host."""
        return tuple(block.name for block in self.blocks if block.action == "offload")

    @property
    def optimizer_on_host(self) -> bool:
        """Whether the optimizer's state lies on the host and it steps there."""
        return any(block.action == "host" for block in self.blocks)

    @property
    def guarded_peak_bytes(self) -> int:
        """The prediction with its margin; this is at most the budget."""
        return int(self.predicted_peak_bytes * (1 + self.margin))

    @property
    def time_range_s(self) -> tuple[float, float]:
        """Between which times a step is expected."""
        return self.predicted_s * (1 - self.time_error), self.predicted_s * (1 + self.time_error)

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON types."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["blocks"] = [asdict(block) for block in self.blocks]
        plain["alternatives"] = [asdict(other) for other in self.alternatives]
        return plain | {
            "notes": list(self.notes),
            "versions": dict(self.versions),
            "by_category_at_peak": dict(self.by_category_at_peak),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Plan:
        """A plan from what `to_dict` gave.

        Raises:
            PlanError: Something is missing or of another kind.
        """
        try:
            values: dict[str, Any] = {field.name: plain[field.name] for field in fields(cls)}
            values["blocks"] = tuple(BlockPlan(**block) for block in plain["blocks"])
            values["alternatives"] = tuple(Alternative(**other) for other in plain["alternatives"])
            values["notes"] = tuple(plain["notes"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise PlanError(f"this is no plan as to_dict() writes it: {error!r}; make it again with plan()") from error

    def save(self, path: str | Path) -> Path:
        """Write the plan as JSON."""
        target = Path(path)
        target.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        return target

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read what `save` wrote.

        Raises:
            PlanError: The file cannot be read, or holds no plan.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PlanError(f"{path} cannot be read as a plan ({error}); pass a file that Plan.save wrote") from error
        return cls.from_dict(plain)

    def apply(self, model: torch.nn.Module, *, backend: Backend | None = None) -> AppliedPlan:
        """Put the plan in force on the model it was made for; `.undo()`, or the end of a `with`, takes it off.

        Args:
            model: The model.
            backend: How what is planned to lie on the host travels there; default: CUDA.

        Raises:
            PlanError: It was made for another model, or for another kind of device.
        """
        from gpu_optimizer.planning.apply import AppliedPlan

        return AppliedPlan(self, model, backend=backend)

    def verify(self, model: torch.nn.Module, sample: Any, **rest: Any) -> Verification:
        """Run the planned step for real and note how far the prediction was off; see `planning.apply.verify`."""
        from gpu_optimizer.planning.apply import verify

        return verify(self, model, sample, **rest)

    def table(self) -> Any:
        """The alternatives as a table of rich, the plan in the last row."""
        from rich.table import Table

        table = Table(title=str(self))
        for title, justify in (
            ("way to run the step", "left"),
            ("micro-batches", "right"),
            ("format", "left"),
            ("recomputed", "right"),
            ("offloaded", "right"),
            ("peak", "right"),
            ("time", "right"),
            ("fits", "left"),
        ):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]
        for other in self.alternatives:
            table.add_row(
                other.name,
                f"{other.accumulation} x {other.micro_batch}",
                other.precision,
                str(other.recomputed),
                str(other.offloaded),
                format_bytes(other.peak_bytes),
                "-" if other.time_s is None else format_seconds(other.time_s),
                "yes" if other.fits else "no",
            )
        return table

    def __str__(self) -> str:
        parts = [f"{len(self.recomputed)} recomputed", f"{len(self.offloaded)} offloaded"]
        parts += ["optimizer on the host"] if self.optimizer_on_host else []
        money = "" if self.usd_per_step is None else f", {self.usd_per_step:.3g} USD"
        return (
            f"{self.model.split('@')[0]} in {format_bytes(self.budget_bytes)} on {self.device}: {', '.join(parts)}, {self.precision}, "
            f"{self.accumulation} x {self.micro_batch} examples; peak {format_bytes(self.predicted_peak_bytes)} (+{self.margin:.1%}), "
            f"{format_seconds(self.predicted_s)} ± {self.time_error:.0%} a step{money}"
        )


def format_seconds(seconds: float) -> str:
    """A time with a unit that suits it.

    Example:
        >>> format_seconds(0.0123), format_seconds(2.5)
        ('12.3 ms', '2.50 s')
    """
    for limit, scale, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if seconds < limit:
            return f"{seconds * scale:.3g} {unit}" if unit != "s" else f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min"

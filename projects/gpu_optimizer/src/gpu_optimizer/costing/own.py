"""What a machine of one's own costs by the hour: its purchase spread over the hours it is used, and its electricity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from gpu_optimizer.costing.prices import Price
from gpu_optimizer.errors import PriceError

HOURS_PER_YEAR = 8766  # 365.25 days


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMachine:
    """A machine that was bought.

    Args:
        name: What it is called in tables.
        purchase_usd: What it cost, US dollars.
        power_w: What it draws at work, W, cooling included.
        usd_per_kwh: Price of electricity.
        lifetime_years: Years until it is replaced.
        busy_share: Share of all hours in which it works; the rest is paid for by these.
        idle_power_w: What it draws otherwise.
        resale_usd: What it still brings then.
        other_usd_per_year: Space, network, repairs.
        gpu: Model of its GPUs; empty without any.
        gpus: How many they are.
        gpu_memory_gib: Memory of each, GiB.
        memory_gib: Memory of the host, GiB.

    Raises:
        PriceError: A number makes no sense; the text names it.

    Example:
        >>> mine = OwnMachine(name="desk", purchase_usd=2000, power_w=400, usd_per_kwh=0.30, lifetime_years=4, busy_share=0.5)
        >>> round(mine.usd_per_hour, 4)  # 2000 / (4 * 8766 * 0.5) + 0.4 * 0.30
        0.2341
    """

    name: str
    purchase_usd: float
    power_w: float
    usd_per_kwh: float
    lifetime_years: float = 3.0
    busy_share: float = 0.5
    idle_power_w: float = 0.0
    resale_usd: float = 0.0
    other_usd_per_year: float = 0.0
    gpu: str = ""
    gpus: int = 0
    gpu_memory_gib: float | None = None
    memory_gib: float | None = None

    def __post_init__(self) -> None:
        for field in ("purchase_usd", "power_w", "usd_per_kwh", "idle_power_w", "resale_usd", "other_usd_per_year"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value >= 0):
                raise PriceError(f"{field}: expected a number from 0, got {value!r}")
        if not (math.isfinite(self.lifetime_years) and self.lifetime_years > 0):
            raise PriceError(f"lifetime_years: expected a number above 0, got {self.lifetime_years!r}")
        if not 0 < self.busy_share <= 1:
            raise PriceError(f"busy_share: expected a share above 0 and at most 1, got {self.busy_share!r}")
        if self.resale_usd > self.purchase_usd:
            raise PriceError(f"resale_usd: expected at most the purchase price {self.purchase_usd}, got {self.resale_usd}")

    @property
    def usd_per_hour(self) -> float:
        """Price of an hour of work."""
        yearly = (self.purchase_usd - self.resale_usd) / self.lifetime_years + self.other_usd_per_year
        idle_kwh = self.idle_power_w / 1000 * (1 - self.busy_share) / self.busy_share
        return yearly / (HOURS_PER_YEAR * self.busy_share) + (self.power_w / 1000 + idle_kwh) * self.usd_per_kwh

    def price(self, day: date) -> Price:
        """As a row of a price book.

        Raises:
            PriceError: It costs nothing, or GPU, number and memory do not go together.
        """
        return Price(
            provider="own",
            instance=self.name,
            usd_per_hour=self.usd_per_hour,
            date=day,
            source=(
                f"{self.purchase_usd:g} USD over {self.lifetime_years:g} years, busy {self.busy_share:.0%}, "
                f"{self.power_w:g} W at {self.usd_per_kwh:g} USD/kWh"
            ),
            gpu=self.gpu,
            gpus=self.gpus,
            gpu_memory_gib=self.gpu_memory_gib,
            memory_gib=self.memory_gib,
        )

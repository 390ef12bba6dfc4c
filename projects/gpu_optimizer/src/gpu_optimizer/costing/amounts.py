"""A number with its error bars, so that what goes into a price with them comes out with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpu_optimizer.errors import PriceError


@dataclass(frozen=True, slots=True)
class Amount:
    """A value between a lower and an upper bound.

    Args:
        value: Best guess.
        low: Lower bound; default: the value itself.
        high: Upper bound; default: the value itself.

    Raises:
        PriceError: A number is negative or not finite, or the three are not in order.

    Example:
        >>> Amount(2.0, 1.5, 3.0).times(10)
        Amount(value=20.0, low=15.0, high=30.0)
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            number = getattr(self, name)
            if isinstance(number, float) and math.isnan(number):
                object.__setattr__(self, name, self.value)
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number < 0:
                raise PriceError(f"{name}: expected a number from 0, got {number!r}")
        if not self.low <= self.value <= self.high:
            raise PriceError(f"bounds must enclose the value: got {self.low} <= {self.value} <= {self.high}")

    @classmethod
    def of(cls, value: Any) -> Amount:
        """An amount from what people pass: a number, an amount, or (value, low, high).

        Raises:
            PriceError: It is none of these.

        Example:
            >>> Amount.of((1.0, 0.5, 2.0)).high
            2.0
        """
        if isinstance(value, Amount):
            return value
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3:
            return cls(*value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(value)
        raise PriceError(f"expected a number, (value, low, high) or an Amount, got {value!r}")

    def times(self, factor: float) -> Amount:
        """The amount multiplied by an exact factor."""
        return Amount(self.value * factor, self.low * factor, self.high * factor)

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> Amount:
        """An amount from the values of `to_dict`."""
        return cls(values["value"], values["low"], values["high"])

    def text(self, unit: str = "") -> str:
        """For people, three digits, with bounds where there are any.

        Example:
            >>> Amount(0.01234, 0.01, 0.02).text("$")
            '$0.0123 (0.01–0.02)'
        """
        middle = f"{unit}{_three(self.value)}"
        return middle if self.low == self.high else f"{middle} ({_three(self.low)}–{_three(self.high)})"


def _three(number: float) -> str:
    """Three significant digits without an exponent where that stays readable."""
    if number == 0 or 1e-6 <= number < 1e7:
        digits = 2 if number == 0 else max(0, 2 - math.floor(math.log10(number)))
        text = f"{number:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{number:.3g}"

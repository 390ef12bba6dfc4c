"""How well two ways of measuring agree: bias, limits of agreement, and whether the difference grows with what is measured.

Method: J. M. Bland and D. G. Altman, *Statistical methods for assessing agreement between two methods of clinical measurement*,
The Lancet 327 (1986), 307-310, and *Measuring agreement in method comparison studies*, Statistical Methods in Medical Research
8 (1999), 135-160.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Two series of measurements of the same things.

    Args:
        count: Pairs.
        bias: Mean difference, measured minus true.
        lower, upper: Limits of agreement, bias -+ 1.96 standard deviations of the differences.
        slope: Growth of the difference per unit of the mean of both.
        median_absolute, p95_absolute: Of the differences.
        rmse: Root of the mean squared difference.
        icc: Intraclass correlation ICC(2, 1), two-way, absolute agreement (Shrout and Fleiss 1979); 1 = the same.
    """

    count: int
    bias: float
    lower: float
    upper: float
    slope: float
    median_absolute: float
    p95_absolute: float
    rmse: float
    icc: float

    def to_dict(self) -> dict[str, float | int | None]:
        """As plain JSON types: rounded to 3 digits, None for what cannot be told."""
        return {k: v if isinstance(v, int) else (round(v, 3) if np.isfinite(v) else None) for k, v in asdict(self).items()}


def agreement(measured: ArrayLike, true: ArrayLike) -> Agreement:
    """Agreement of two series; pairs of which one is missing are left out.

    Args:
        measured: (m,) values.
        true: (m,) values of the same unit.

    Returns:
        NaN for everything but `count` when there are fewer than 3 pairs.

    Example:
        >>> found = agreement([11.0, 21.0, 31.0, np.nan], [10.0, 20.0, 30.0, 40.0])
        >>> found.count, found.bias, round(found.upper, 6)
        (3, 1.0, 1.0)
    """
    a, b = np.asarray(measured, np.float64).ravel(), np.asarray(true, np.float64).ravel()
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    n = len(a)
    if n < 3:
        nothing = float("nan")
        return Agreement(
            count=n,
            bias=nothing,
            lower=nothing,
            upper=nothing,
            slope=nothing,
            median_absolute=nothing,
            p95_absolute=nothing,
            rmse=nothing,
            icc=nothing,
        )
    difference, middle = a - b, (a + b) / 2
    bias, spread = float(difference.mean()), float(difference.std(ddof=1))
    varies = float(((middle - middle.mean()) ** 2).sum())
    slope = float(((middle - middle.mean()) * (difference - bias)).sum() / varies) if varies > 0 else float("nan")
    return Agreement(
        count=n,
        bias=bias,
        lower=bias - 1.96 * spread,
        upper=bias + 1.96 * spread,
        slope=slope,
        median_absolute=float(np.median(np.abs(difference))),
        p95_absolute=float(np.percentile(np.abs(difference), 95)),
        rmse=float(np.sqrt((difference**2).mean())),
        icc=_icc(np.stack([a, b], axis=1)),
    )


def _icc(x: np.ndarray) -> float:
    """ICC(2, 1) of n subjects (rows) by k raters (columns), from the mean squares of a two-way analysis of variance."""
    n, k = x.shape
    grand = x.mean()
    rows = k * ((x.mean(1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((x.mean(0) - grand) ** 2).sum() / (k - 1)
    residual = x - x.mean(1, keepdims=True) - x.mean(0, keepdims=True) + grand
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    return float((rows - error) / below) if below > 0 else float("nan")

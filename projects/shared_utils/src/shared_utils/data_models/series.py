"""A table of measurements over time, by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared_utils.errors import ValidationError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Columns of equal length; one row per person and frame, NaN = no reading.

    Args:
        columns: Name -> (rows,) array. Names carry their unit.

    Raises:
        ValidationError: Columns differ in length or are not one-dimensional.

    Example:
        >>> series = Series({"timestamp_s": np.array([0.0, 0.1]), "left_knee_flexion_deg": np.array([1.0, 2.0])})
        >>> len(series)
        2
    """

    columns: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        arrays = {name: np.asarray(column) for name, column in self.columns.items()}
        lengths = {name: column.shape for name, column in arrays.items()}
        if len(set(lengths.values())) > 1 or any(len(s) != 1 for s in lengths.values()):
            raise ValidationError(f"Series columns must be one-dimensional and equally long, got {lengths}")
        object.__setattr__(self, "columns", MappingProxyType(arrays))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Series, (dict(self.columns),))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One column.

        Raises:
            ValidationError: There is no column of that name.
        """
        try:
            return self.columns[name]
        except KeyError:
            raise ValidationError(f"no column {name!r}; there are {', '.join(self.columns)}") from None

    def where(self, mask: NDArray[np.bool_]) -> Series:
        """The rows where `mask` (rows,) is true."""
        return Series({name: column[mask] for name, column in self.columns.items()})

    def track(self, track_id: int) -> Series:
        """The rows of one person."""
        return self.where(self["track_id"] == track_id)

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns))

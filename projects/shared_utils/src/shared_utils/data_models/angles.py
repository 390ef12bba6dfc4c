"""Joint angles of the people in one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared_utils.errors import ValidationError


@dataclass(frozen=True, slots=True, eq=False)
class Angles:
    """Angles of n tracks at one time.

    Args:
        names: a names; each carries its convention and unit, for example `left_knee_flexion_deg`
            (0 = straight). A `_3d_deg` suffix marks angles from metric landmarks, all others are
            measured in the image plane.
        track_ids: (n,) int64.
        value_deg: (n, a) float64 degrees; NaN = no reading.
        sigma_deg: (n, a) standard deviation in degrees, NaN where unknown; None when not estimated.
        timestamp_s: Media clock in seconds.

    Raises:
        ValidationError: Shapes disagree.

    Example:
        >>> angles = Angles(("left_knee_flexion_deg",), np.array([1]), np.array([[90.0]]))
        >>> float(angles["left_knee_flexion_deg"][0])
        90.0
    """

    names: tuple[str, ...]
    track_ids: NDArray[np.int64]
    value_deg: NDArray[np.float64]
    sigma_deg: NDArray[np.float64] | None = None
    timestamp_s: float = 0.0

    def __post_init__(self) -> None:
        n, a = len(self.track_ids), len(self.names)
        if self.value_deg.shape != (n, a):
            raise ValidationError(f"Angles.value_deg must have shape ({n}, {a}), got {self.value_deg.shape}")
        if self.sigma_deg is not None and self.sigma_deg.shape != (n, a):
            raise ValidationError(f"Angles.sigma_deg must have shape ({n}, {a}), got {self.sigma_deg.shape}")
        if len(set(self.names)) != a:
            raise ValidationError("Angles.names repeat")

    def __len__(self) -> int:
        return len(self.track_ids)

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """(n,) values of one angle in degrees.

        Raises:
            ValidationError: There is no angle of that name.
        """
        if name not in self.names:
            raise ValidationError(f"no angle {name!r}; there are {', '.join(self.names)}")
        return self.value_deg[:, self.names.index(name)]

    def row(self, track_id: int) -> dict[str, float]:
        """Name -> degrees of one track; empty when the track is not there."""
        found = np.flatnonzero(self.track_ids == track_id)
        return dict(zip(self.names, self.value_deg[found[0]].tolist(), strict=True)) if len(found) else {}

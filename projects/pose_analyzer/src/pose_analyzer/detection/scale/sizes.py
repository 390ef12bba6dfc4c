"""How far away people are, told by their height in the picture, and what that means for a detector's word.

A person of 40 px is found less surely and measured less exactly than one of 400 px, while networks give the same confidence to
both. `ScaleProfile` holds, by detector and `ScaleClass`, how much less a keypoint's confidence is worth, and the least score that makes
a person. The numbers were measured on the synthetic athlete; `benchmarks/bench_scale.py --settle` prints them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses

Array = NDArray[np.float64]


class ScaleClass(Enum):
    """Distance of a person by their height in the picture; the value is the least height, px.

    Example:
        >>> ScaleClass.of(250.0), ScaleClass.of(45.0)
        (<ScaleClass.NEAR: 160>, <ScaleClass.VERY_FAR: 0>)
    """

    NEAR = 160
    MEDIUM = 100
    FAR = 56
    VERY_FAR = 0

    @classmethod
    def of(cls, height_px: float) -> Self:
        """The class of one height, px."""
        return next(c for c in cls if height_px >= c.value)


# A height in the middle of each class, where its numbers hold; between them they are interpolated, so that nobody's confidence
# jumps who walks over a border.
_MIDDLES_PX = {ScaleClass.VERY_FAR: 40.0, ScaleClass.FAR: 75.0, ScaleClass.MEDIUM: 125.0, ScaleClass.NEAR: 200.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleProfile:
    """What a detector's scores and confidences mean, near to very far.

    Args:
        confidence: Four factors 0..1 on keypoint confidence, near first: how often a keypoint that the detector is sure of lies
            within a twentieth of the body height of its place, against near.
        min_score: Four least scores 0..1 of a person, near first.

    Raises:
        DetectorError: There are not four of each, or one is out of range.

    Example:
        >>> profile = ScaleProfile(confidence=(1.0, 1.0, 0.9, 0.8), min_score=(0.2, 0.3, 0.4, 0.5))
        >>> profile.confidence_factor([400.0, 40.0, 20.0]).tolist(), profile.least_score([75.0]).round(3).tolist()
        ([1.0, 0.8, 0.8], [0.4])
    """

    confidence: tuple[float, float, float, float]
    min_score: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        for name in ("confidence", "min_score"):
            values = getattr(self, name)
            if len(values) != len(ScaleClass) or not all(0 <= v <= 1 for v in values):
                raise DetectorError(f"ScaleProfile.{name} must be {len(ScaleClass)} numbers in 0..1, near first, got {values!r}")

    def confidence_factor(self, height_px: ArrayLike) -> Array:
        """(n,) factor on keypoint confidence of people of these heights, px."""
        return _between_classes(height_px, self.confidence)

    def least_score(self, height_px: ArrayLike) -> Array:
        """(n,) least score of a person of these heights, px."""
        return _between_classes(height_px, self.min_score)

    def weighed(self, poses: Poses, height_px: Array) -> Poses:
        """The people whose score reaches the least of their height, their keypoint confidence made worth the same at any distance.

        Args:
            poses: n people.
            height_px: (n,) px.
        """
        keep = poses.scores >= self.least_score(height_px)
        factor = self.confidence_factor(height_px)
        if keep.all() and (factor == 1.0).all():
            return poses
        return poses.replace(keypoint_confidence=poses.keypoint_confidence * factor[:, None].astype(np.float32))[keep]


def _between_classes(height_px: ArrayLike, values: Sequence[float]) -> Array:
    by_class = dict(zip(ScaleClass, values, strict=True))
    heights, numbers = zip(*((_MIDDLES_PX[c], by_class[c]) for c in reversed(ScaleClass)), strict=True)
    return np.interp(np.log(np.maximum(np.asarray(height_px, np.float64), 1.0)), np.log(heights), numbers)


NEUTRAL = ScaleProfile(confidence=(1.0, 1.0, 1.0, 1.0), min_score=(0.0, 0.0, 0.0, 0.0))
"""Of a detector that was not measured."""

PROFILES = {
    "blazepose": ScaleProfile(confidence=(1.0, 0.91, 0.88, 0.69), min_score=(0.5, 0.7, 0.7, 0.75)),
    "yolo": ScaleProfile(confidence=(1.0, 0.99, 0.99, 0.76), min_score=(0.25, 0.5, 0.45, 0.35)),
}
"""By detector. Least scores lie below those of 99 of 100 true people of the class, and leave near people to the detector itself."""

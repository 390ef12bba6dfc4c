"""A filter of people by name."""

from __future__ import annotations

import inspect
from typing import Any, Literal, get_args

from pose_analyzer.smoothing.ema import EmaPoseFilter
from pose_analyzer.smoothing.fusion_time import ExponentialFusionFilter, TemporalFusionFilter
from pose_analyzer.smoothing.kalman import KalmanPoseFilter
from pose_analyzer.smoothing.one_euro import OneEuroPoseFilter
from pose_analyzer.smoothing.pose_filter import PoseFilter
from pose_analyzer.smoothing.steady import SteadyPoseFilter
from shared_utils.errors import ValidationError

FilterName = Literal["steady", "one_euro", "kalman_velocity", "kalman_acceleration", "ema", "temporal_fusion", "exponential_fusion"]

_CLASSES: dict[str, tuple[type, dict[str, Any]]] = {
    "steady": (SteadyPoseFilter, {}),
    "one_euro": (OneEuroPoseFilter, {}),
    "kalman_velocity": (KalmanPoseFilter, {"model": "velocity"}),
    "kalman_acceleration": (KalmanPoseFilter, {"model": "acceleration"}),
    "ema": (EmaPoseFilter, {}),
    "temporal_fusion": (TemporalFusionFilter, {}),
    "exponential_fusion": (ExponentialFusionFilter, {}),
}


def create_filter(name: FilterName = "steady", **options: Any) -> PoseFilter:
    """Build a live filter; all of them keep the contract of `PoseFilter`.

    Args:
        name: "steady" (default: still at rest, no lag), "one_euro" (as published), "kalman_velocity" and "kalman_acceleration"
            (outliers gated), "ema", "temporal_fusion" (confidence-weighted line through the last moments),
            "exponential_fusion" (confidence-weighted average that fades).
        options: Passed to the filter's constructor.

    Raises:
        ValidationError: There is no such filter or option, or a value is out of range.

    Example:
        >>> type(create_filter("kalman_velocity", gate=False)).__name__
        'KalmanPoseFilter'
        >>> create_filter("median")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        shared_utils.errors.ValidationError: no filter 'median'; there are steady, one_euro, kalman_velocity, ...
    """
    if name not in _CLASSES:
        raise ValidationError(f"no filter {name!r}; there are {', '.join(get_args(FilterName))}")
    filter_class, fixed = _CLASSES[name]
    allowed = [p for p in inspect.signature(filter_class).parameters if p not in fixed]
    unknown = [option for option in options if option not in allowed]
    if unknown:
        raise ValidationError(f"the filter {name} has no option {', '.join(map(repr, unknown))}; it has {', '.join(allowed)}")
    return filter_class(**fixed, **options)

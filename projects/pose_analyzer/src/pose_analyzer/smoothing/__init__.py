"""`Poses` in, steady `Poses` out: filters that run on true timestamps and per track."""

from pose_analyzer.smoothing.one_euro import OneEuroFilter, OneEuroPoseFilter
from pose_analyzer.smoothing.pose_filter import PoseFilter

__all__ = ["OneEuroFilter", "OneEuroPoseFilter", "PoseFilter"]

"""`Poses` in, steady `Poses` out: filters that run on true timestamps and per track."""

from pose_analyzer.smoothing.ema import EmaPoseFilter
from pose_analyzer.smoothing.factory import FilterName, create_filter
from pose_analyzer.smoothing.fusion_time import ExponentialFusionFilter, TemporalFusionFilter
from pose_analyzer.smoothing.kalman import KalmanPoseFilter
from pose_analyzer.smoothing.one_euro import OneEuroFilter, OneEuroPoseFilter
from pose_analyzer.smoothing.pose_filter import PoseFilter
from pose_analyzer.smoothing.steady import SteadyPoseFilter

__all__ = [
    "EmaPoseFilter",
    "ExponentialFusionFilter",
    "FilterName",
    "KalmanPoseFilter",
    "OneEuroFilter",
    "OneEuroPoseFilter",
    "PoseFilter",
    "SteadyPoseFilter",
    "TemporalFusionFilter",
    "create_filter",
]

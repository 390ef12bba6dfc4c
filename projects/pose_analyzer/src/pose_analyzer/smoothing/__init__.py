"""`Poses` in, steady `Poses` out: on true timestamps, per track, with what is missing marked.

Live (never looks ahead): filters by name (`create_filter`), `GapFiller`, `SwapRepair`, `KeypointReliability`, `MotionAnalyzer`,
`DisplayPredictor`; several in a row: `FilterChain`. Offline (whole recordings): `smooth_offline`. Two sources of one image: `fuse_poses`.
"""

from pose_analyzer.smoothing.chain import FilterChain
from pose_analyzer.smoothing.display import DisplayPredictor
from pose_analyzer.smoothing.ema import EmaPoseFilter
from pose_analyzer.smoothing.factory import FilterName, create_filter
from pose_analyzer.smoothing.fusion import Fused, fuse_measurements, fuse_poses
from pose_analyzer.smoothing.fusion_time import ExponentialFusionFilter, TemporalFusionFilter
from pose_analyzer.smoothing.gaps import GapFiller, GapMethod
from pose_analyzer.smoothing.kalman import KalmanPoseFilter
from pose_analyzer.smoothing.motion import Motion, MotionAnalyzer
from pose_analyzer.smoothing.offline import OfflineMethod, butterworth, savitzky_golay, smooth_offline
from pose_analyzer.smoothing.offline_gaps import fill_gaps
from pose_analyzer.smoothing.one_euro import OneEuroFilter, OneEuroPoseFilter
from pose_analyzer.smoothing.pose_filter import PoseFilter
from pose_analyzer.smoothing.reliability import KeypointReliability
from pose_analyzer.smoothing.steady import SteadyPoseFilter
from pose_analyzer.smoothing.swaps import SwapRepair

__all__ = [
    "DisplayPredictor",
    "EmaPoseFilter",
    "ExponentialFusionFilter",
    "FilterChain",
    "FilterName",
    "Fused",
    "GapFiller",
    "GapMethod",
    "KalmanPoseFilter",
    "KeypointReliability",
    "Motion",
    "MotionAnalyzer",
    "OfflineMethod",
    "OneEuroFilter",
    "OneEuroPoseFilter",
    "PoseFilter",
    "SteadyPoseFilter",
    "SwapRepair",
    "TemporalFusionFilter",
    "butterworth",
    "create_filter",
    "fill_gaps",
    "fuse_measurements",
    "fuse_poses",
    "savitzky_golay",
    "smooth_offline",
]

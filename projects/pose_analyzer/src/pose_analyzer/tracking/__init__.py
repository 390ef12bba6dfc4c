"""`Poses` in, the same `Poses` with track ids out.

`create_tracker("oks")` builds the pose-native tracker, "bytetrack", "botsort" and "deepsort" the classics; all keep the contract
of `Tracker`, true time included. `evaluation` scores any of them in MOT Challenge's terms.
"""

from pose_analyzer.tracking.base import Tracker
from pose_analyzer.tracking.botsort import BotSortTracker
from pose_analyzer.tracking.bytetrack import ByteTracker
from pose_analyzer.tracking.deepsort import DeepSortTracker
from pose_analyzer.tracking.factory import TrackerName, create_tracker
from pose_analyzer.tracking.oks import OksTracker
from pose_analyzer.tracking.reentry import ReEntry
from pose_analyzer.tracking.settings import BotSortConfig, ByteTrackConfig, DeepSortConfig, OksConfig

__all__ = [
    "BotSortConfig",
    "BotSortTracker",
    "ByteTrackConfig",
    "ByteTracker",
    "DeepSortConfig",
    "DeepSortTracker",
    "OksConfig",
    "OksTracker",
    "ReEntry",
    "Tracker",
    "TrackerName",
    "create_tracker",
]

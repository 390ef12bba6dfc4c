"""`Poses` in, the same `Poses` with track ids out."""

from pose_analyzer.tracking.base import Tracker
from pose_analyzer.tracking.bytetrack import ByteTrackConfig, ByteTracker

__all__ = ["ByteTrackConfig", "ByteTracker", "Tracker"]

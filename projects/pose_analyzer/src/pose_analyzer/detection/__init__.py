"""Images in, `Poses` out."""

from pose_analyzer.detection.base import PoseDetector

__all__ = ["PoseDetector"]

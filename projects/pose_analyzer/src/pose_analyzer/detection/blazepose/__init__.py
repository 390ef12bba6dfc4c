"""BlazePose on OpenVINO: MediaPipe's networks without MediaPipe."""

from pose_analyzer.detection.blazepose.detector import BlazePoseDetector

__all__ = ["BlazePoseDetector"]

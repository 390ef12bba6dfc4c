"""Images in, `Poses` out: BlazePose on OpenVINO, MediaPipe's own solution, YOLO through ultralytics; small people by tiles.

Example:
    >>> import numpy as np
    >>> detector = create_detector("blazepose", threads=1)
    >>> [poses] = detector.detect([np.zeros((480, 640, 3), np.uint8)])
    >>> len(poses)
    0
    >>> detector.close()
"""

from pose_analyzer.detection.base import PoseDetector
from pose_analyzer.detection.blazepose import BlazePoseDetector
from pose_analyzer.detection.factory import create_detector
from pose_analyzer.detection.mediapipe_pose import MediaPipePoseDetector
from pose_analyzer.detection.scale import MultiScaleDetector, ScaleClass, ScaleProfile
from pose_analyzer.detection.yolo import YOLOPoseDetector

__all__ = [
    "BlazePoseDetector",
    "MediaPipePoseDetector",
    "MultiScaleDetector",
    "PoseDetector",
    "ScaleClass",
    "ScaleProfile",
    "YOLOPoseDetector",
    "create_detector",
]

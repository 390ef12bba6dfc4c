"""Video in, people measured, events out.

Example:
    >>> import pose_analyzer
    >>> session = pose_analyzer.analyze("squat.mp4", exercise="squat")  # doctest: +SKIP
    >>> session.repetition_count  # doctest: +SKIP
    5

Names are loaded when they are first used, so that `import pose_analyzer` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pose_analyzer.detection import BlazePoseDetector, MediaPipePoseDetector, PoseDetector, YOLOPoseDetector, create_detector
    from pose_analyzer.exercise import RepetitionCounter, list_profiles, load_profile
    from pose_analyzer.pipeline import Pipeline, PoseSession, Progress, Update, analyze
    from pose_analyzer.settings import PoseSettings, load_pose_settings
    from pose_analyzer.smoothing import OneEuroPoseFilter
    from pose_analyzer.synthetic import Scene, scene_for
    from pose_analyzer.tracking import ByteTracker
    from pose_analyzer.video import VideoWriter, open_source

_HOME = {
    "detection": ("BlazePoseDetector", "MediaPipePoseDetector", "PoseDetector", "YOLOPoseDetector", "create_detector"),
    "exercise": ("RepetitionCounter", "list_profiles", "load_profile"),
    "pipeline": ("Pipeline", "PoseSession", "Progress", "Update", "analyze"),
    "settings": ("PoseSettings", "load_pose_settings"),
    "smoothing": ("OneEuroPoseFilter",),
    "synthetic": ("Scene", "scene_for"),
    "tracking": ("ByteTracker",),
    "video": ("VideoWriter", "open_source"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order of the rooms
    "__version__",
    "BlazePoseDetector",
    "MediaPipePoseDetector",
    "PoseDetector",
    "YOLOPoseDetector",
    "create_detector",
    "RepetitionCounter",
    "list_profiles",
    "load_profile",
    "Pipeline",
    "PoseSession",
    "Progress",
    "Update",
    "analyze",
    "PoseSettings",
    "load_pose_settings",
    "OneEuroPoseFilter",
    "Scene",
    "scene_for",
    "ByteTracker",
    "VideoWriter",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pose_analyzer' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pose_analyzer.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

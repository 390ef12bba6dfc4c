"""A detector by name."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal, get_args

from pose_analyzer.detection.base import PoseDetector
from pose_analyzer.errors import DetectorError

DetectorName = Literal["blazepose", "mediapipe", "yolo"]


def create_detector(
    name: DetectorName, *, device: str = "cpu", max_people: int = 6, model: str | Path | None = None, **options: Any
) -> PoseDetector:
    """Build a detector; the libraries that only it needs are imported now.

    Args:
        name: `"blazepose"` (embedded, no download), `"mediapipe"` (the library's own, one person) or `"yolo"`
            (ultralytics, AGPL-3.0).
        device: Where to run, in the detector's own words; `"cpu"` works everywhere, and an accelerator that is
            absent is an error.
        max_people: Most people per image; MediaPipe gives one in any case.
        model: Weights to use instead of the detector's default: a name of the model registry or a path.
            MediaPipe takes none.
        options: Passed to the detector's constructor.

    Raises:
        DetectorError: There is no such detector or option, or the detector cannot be built; the text says
            why and what would help.

    Example:
        >>> detector = create_detector("blazepose", max_people=1, threads=1)
        >>> detector.name, len(detector.skeleton)
        ('blazepose', 33)
        >>> create_detector("openpose")
        Traceback (most recent call last):
        pose_analyzer.errors.DetectorError: no detector 'openpose'; there are blazepose, mediapipe, yolo
    """
    if name not in get_args(DetectorName):
        raise DetectorError(f"no detector {name!r}; there are {', '.join(get_args(DetectorName))}")
    if model is not None:
        options["model"] = model
    detector_class = _load(name)
    allowed = [p for p in inspect.signature(detector_class).parameters if p not in ("device", "max_people")]
    unknown = [option for option in options if option not in allowed]
    if unknown:
        raise DetectorError(f"the detector {name} has no option {', '.join(map(repr, unknown))}; it has {', '.join(allowed)}")
    return detector_class(device=device, max_people=max_people, **options)


def _load(name: DetectorName) -> type:
    if name == "blazepose":
        from pose_analyzer.detection.blazepose import BlazePoseDetector

        return BlazePoseDetector
    if name == "mediapipe":
        from pose_analyzer.detection.mediapipe_pose import MediaPipePoseDetector

        return MediaPipePoseDetector
    from pose_analyzer.detection.yolo import YOLOPoseDetector

    return YOLOPoseDetector

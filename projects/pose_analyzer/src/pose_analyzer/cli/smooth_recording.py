"""Synthetic scenes as a detector sees them, beside their truth: what smoothing is measured and tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pose_analyzer.detection import PoseDetector
    from pose_analyzer.smoothing import PoseFilter

JUDGED = tuple(f"{s}_{p}" for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right"))
"""Keypoints that are measured."""

_PICTURE = MappingProxyType({"width": 640, "height": 480, "noise_sigma": 5.0, "jpeg_quality": 85})

_STANDING = MappingProxyType({"exercise": "idle", "gestures": ("rest",), "duration_s": 5.0, "hold_s": 6.0})

SCENES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "rest, front": {**_STANDING, "azimuth_deg": 0, "seed": 1},
        "rest, oblique": {**_STANDING, "azimuth_deg": 60, "seed": 2},
        "squat": {"exercise": "squat", "azimuth_deg": 45, "reps": 2, "seed": 4},
        "bicep curl": {"exercise": "bicep_curl", "azimuth_deg": 30, "reps": 2, "seed": 6},
        "push up": {"exercise": "push_up", "azimuth_deg": 80, "reps": 2, "seed": 11},
        "waving": {"exercise": "idle", "gestures": ("wave",), "duration_s": 4.0, "hold_s": 5.0, "azimuth_deg": 0, "seed": 7},
        "walking": {"exercise": "walking", "azimuth_deg": 90, "seed": 9},
        "jumping jack": {"exercise": "jumping_jack", "azimuth_deg": 0, "reps": 4, "seed": 3},
        "fast jumping jack": {"exercise": "jumping_jack", "azimuth_deg": 20, "reps": 5, "seed": 5, "faults": {"rushed_tempo": 0.4}},
    }
)
"""From still to fast, with the sensor noise and JPEG compression of a plain webcam."""

HELD_OUT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "rest, half left": {**_STANDING, "azimuth_deg": 25, "seed": 101},
        "rest, side, from above": {**_STANDING, "azimuth_deg": 80, "elevation_deg": 14, "seed": 102},
        "deadlift": {"exercise": "deadlift", "azimuth_deg": 70, "reps": 2, "seed": 104},
        "lateral raise": {"exercise": "lateral_raise", "azimuth_deg": 10, "reps": 2, "height_m": 1.58, "seed": 106},
        "lunge": {"exercise": "lunge", "azimuth_deg": 50, "reps": 2, "height_m": 1.93, "seed": 111},
        "overhead press": {"exercise": "overhead_press", "azimuth_deg": 40, "reps": 2, "elevation_deg": 12, "seed": 107},
        "walking": {"exercise": "walking", "azimuth_deg": 60, "seed": 109},
        "fast jumping jack": {"exercise": "jumping_jack", "azimuth_deg": 35, "reps": 5, "faults": {"rushed_tempo": 0.5}, "seed": 105},
    }
)
"""Other exercises, bodies and cameras than any setting was chosen on."""

FASTEST = "fast jumping jack"


def resting(name: str) -> bool:
    """Whether nobody moves in the scene of this name."""
    return name.startswith("rest")


@dataclass(frozen=True, slots=True, eq=False)
class SceneRecord:
    """One scene as seen.

    Args:
        name: Of the scene.
        times_s: (t,).
        truth: (t, k, 2) px.
        visible: (t, k) by the truth.
        boxes: (t, 4) px as detected; NaN where nobody was.
        seen: Detector -> (t, k, 2) px; NaN where nobody was found.
        confidence: Detector -> (t, k).
    """

    name: str
    times_s: NDArray[np.float64]
    truth: NDArray[np.float64]
    visible: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    seen: Mapping[str, NDArray[np.float64]]
    confidence: Mapping[str, NDArray[np.float64]]

    @property
    def height_px(self) -> float:
        """Median of the box's longer side."""
        return float(np.nanmedian((self.boxes[:, 2:] - self.boxes[:, :2]).max(1)))


def record_scene(name: str, detectors: Mapping[str, PoseDetector], scenes: Mapping[str, Mapping[str, Any]] = SCENES) -> SceneRecord:
    """Render one of `scenes` and show every picture to every detector; the boxes are the first detector's."""
    from pose_analyzer.synthetic import scene_for

    options = dict(scenes[name])
    scene = scene_for(options.pop("exercise"), **_PICTURE, **options)
    t = len(scene)
    times, truth, visible = np.zeros(t), np.zeros((t, 33, 2)), np.zeros((t, 33), bool)
    boxes = np.full((t, 4), np.nan)
    seen = {d: np.full((t, 33, 2), np.nan) for d in detectors}
    confidence = {d: np.zeros((t, 33)) for d in detectors}
    for i, (frame, true) in enumerate(scene):
        times[i], truth[i], visible[i] = frame.timestamp_s, true.joints_xy[0], true.visible[0]
        for order, (label, detector) in enumerate(detectors.items()):
            poses = detector.detect([frame.image], stream_ids=[name])[0]
            if len(poses):
                best = int(poses.scores.argmax())
                seen[label][i], confidence[label][i] = poses.keypoints_xy[best], poses.keypoint_confidence[best]
                if order == 0:
                    boxes[i] = poses.boxes_xyxy[best]
    return SceneRecord(name, times, truth, visible, boxes, seen, confidence)


def filtered(
    filter_: PoseFilter,
    xy: NDArray[np.float64],
    confidence: NDArray[np.float64],
    boxes: NDArray[np.float64],
    times_s: Sequence[float] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """(t, k, 2) a path after a live filter; NaN where nobody was found."""
    from shared_utils.data_models import Poses
    from shared_utils.skeletons import BLAZEPOSE_33

    out = np.full(xy.shape, np.nan)
    for i, t in enumerate(times_s):
        if np.isnan(xy[i]).all() or np.isnan(boxes[i]).any():
            continue
        poses = Poses(
            boxes_xyxy=boxes[i][None],
            scores=np.ones(1, np.float32),
            keypoints_xy=xy[i][None].astype(np.float32),
            keypoint_confidence=confidence[i][None].astype(np.float32),
            track_ids=np.ones(1, np.int64),
            skeleton=BLAZEPOSE_33,
        )
        out[i] = filter_.update(poses, timestamp_s=float(t)).keypoints_xy[0]
    return out

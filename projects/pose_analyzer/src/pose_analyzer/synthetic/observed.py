"""The athlete as a pose detector would see it, without a picture: true landmarks with a detector's errors.

A frame costs half a millisecond, a rendered one twenty times as much and its detection again; thousands of repetitions become
possible. The errors are those measured for BlazePose (full, OpenVINO, smoothed by One Euro) on rendered athletes: a bias of each landmark
that lasts, an error that wanders over a fifth of a second, both in shares of the person's size, larger for what is hidden; metric
landmarks whose depth is squeezed and far less certain than the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.scene import Scene
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorNoise:
    """A detector's errors.

    Args:
        bias: Standard deviation of each landmark's lasting error, share of the person's extent in the picture.
        wander: The same of the error that changes.
        wander_s: How long that takes, seconds.
        hidden: Factor on both for landmarks that the trunk hides.
        hidden_confidence: Mean confidence of those.
        depth_squeeze: Range of the factor on metric depth.
        depth_sigma_m: Standard deviation of the lasting and of the changing error of depth, metres.
    """

    bias: float = 0.005
    wander: float = 0.006
    wander_s: float = 0.2
    hidden: float = 2.5
    hidden_confidence: float = 0.45
    depth_squeeze: tuple[float, float] = (0.65, 1.0)
    depth_sigma_m: float = 0.04


PERFECT = DetectorNoise(bias=0, wander=0, hidden=1, hidden_confidence=1, depth_squeeze=(1, 1), depth_sigma_m=0)
"""No errors at all, and nothing hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a detector saw of one athlete.

    Args:
        poses: One row per frame (33 landmarks, image and metric), all of track 1.
        times_s: (t,) media clock.
        frames: (t,) indices of the frames.
    """

    poses: Poses
    times_s: Array
    frames: NDArray[np.int64]

    def __iter__(self) -> Iterator[tuple[Poses, float, int]]:
        return zip(self.poses, self.times_s.tolist(), self.frames.tolist(), strict=True)


def landmarks_over_time(scene: Scene) -> Array:
    """(t, 33, 3) metres in the world, of the first athlete at the frames in which it is there: the costly part of `observed`."""
    athlete = scene.athletes[0]
    return np.stack([athlete.at(t).landmarks_m for t in scene.timestamps_s if athlete.present(t)])


def observed(scene: Scene, *, noise: DetectorNoise | None = None, seed: int = 0, landmarks_m: Array | None = None) -> Observation:
    """The first athlete of a scene as detected and tracked.

    Args:
        scene: Who does what.
        noise: The detector's errors; default those of BlazePose.
        seed: Of the errors.
        landmarks_m: (t, 33, 3) of `landmarks_over_time`, for one motion seen from several cameras.

    Example:
        >>> from pose_analyzer.synthetic import scene_for
        >>> poses, time_s, index = next(iter(observed(scene_for("squat", reps=1))))
        >>> poses.keypoints_xy.shape, time_s, index
        ((1, 33, 2), 0.0, 0)
    """
    noise = noise or DetectorNoise()
    random = np.random.default_rng((seed, 41))
    athlete, k = scene.athletes[0], len(BLAZEPOSE_33)
    there = [(i, t) for i, t in enumerate(scene.timestamps_s) if athlete.present(t)]
    frames, times = np.array([i for i, _ in there], np.int64), np.array([t for _, t in there])
    joints = landmarks_over_time(scene) if landmarks_m is None else landmarks_m
    cameras = [scene.camera_at(t) for t in times]
    seen = np.stack([c.to_camera(j) for c, j in zip(cameras, joints, strict=True)])
    xy = np.stack([c.project(j) for c, j in zip(cameras, joints, strict=True)])
    relative = seen - seen[:, _HIPS].mean(1, keepdims=True)
    hidden = _hidden(relative)
    lasting, wandering = random.normal(size=(k, 3)), _wander(random, times, k, noise.wander_s)
    factor = np.where(hidden, noise.hidden, 1.0)[..., None] * _VAGUENESS[:, None]
    error = factor * (noise.bias * lasting + noise.wander * wandering)
    xy += np.ptp(xy, axis=1).max(1)[:, None, None] * error[..., :2]
    world = relative + np.ptp(joints, axis=1).max(1)[:, None, None] * error
    depth_error = noise.depth_sigma_m * (lasting + wandering)[..., 2] * _DEPTH_VAGUENESS
    world[..., 2] = float(random.uniform(*noise.depth_squeeze)) * relative[..., 2] + depth_error
    doubt = random.normal(0.0, 0.15, k)
    confidence = np.clip(np.where(hidden, noise.hidden_confidence + doubt, 0.97), 0.0, 1.0)
    poses = Poses(
        boxes_xyxy=np.concatenate([xy.min(1), xy.max(1)], axis=1).astype(np.float32),
        scores=np.ones(len(times), np.float32),
        keypoints_xy=xy.astype(np.float32),
        keypoint_confidence=confidence.astype(np.float32),
        world_xyz_m=world.astype(np.float32),
        track_ids=np.ones(len(times), np.int64),
        skeleton=BLAZEPOSE_33,
    )
    return Observation(poses, times, frames)


def _wander(random: np.random.Generator, times_s: Array, k: int, wander_s: float) -> Array:
    """(t, k, 3) of unit variance, each value remembering the one before for about `wander_s`."""
    steps = random.normal(size=(len(times_s), k, 3))
    for i in range(1, len(times_s)):
        keep = float(np.exp(-(times_s[i] - times_s[i - 1]) / max(wander_s, 1e-6)))
        steps[i] = keep * steps[i - 1] + np.sqrt(1.0 - keep * keep) * steps[i]
    return steps


_FAR_M = 0.12
_LEFT = BLAZEPOSE_33.indices([n for n in BLAZEPOSE_33.keypoints if n.startswith("left_")])
_RIGHT = BLAZEPOSE_33.indices([n for n in BLAZEPOSE_33.keypoints if n.startswith("right_")])


_HIPS = BLAZEPOSE_33.indices(["left_hip", "right_hip"])
# Hips have no mark on the body; detectors disagree on them most.
_VAGUENESS = np.array([1.8 if name.endswith("_hip") else 1.0 for name in BLAZEPOSE_33.keypoints])

# A detector knows where a trunk is turned to better than where its hands are.
_DEPTH_VAGUENESS = np.array([0.4 if name.endswith(("_hip", "_shoulder")) else 1.0 for name in BLAZEPOSE_33.keypoints])


def _hidden(relative_m: Array) -> NDArray[np.bool_]:
    """(t, 33) landmarks on the far side of a body that is seen from the side: behind their twin, in line with it."""
    hidden = np.zeros(relative_m.shape[:2], bool)
    for near, far in ((_LEFT, _RIGHT), (_RIGHT, _LEFT)):
        apart = relative_m[:, far] - relative_m[:, near]
        hidden[:, far] |= (apart[..., 2] > _FAR_M) & (np.hypot(apart[..., 0], apart[..., 1]) < _FAR_M)
    return hidden

"""What a detector would tell of a moving body, without a picture: true joints projected by a camera, with a detector's errors.

In go the joints of a set over time and a `Sight` (where the camera stands, how it is held, how much goes wrong); out come `Poses` of 33
landmarks, image and metric, as BlazePose gives them: errors that last and errors that wander, guessed landmarks behind the body, left and
right exchanged for a moment, limbs and people lost, parts outside the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.descriptor import PARTS, SIDES
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

Array = NDArray[np.float64]
Random = np.random.Generator

COLUMNS = np.stack([BLAZEPOSE_33.indices([f"{side}_{part}" for side in SIDES]) for part in PARTS])
"""(7, 2) indices of the landmarks that a figure has."""
_WANDER_S = 0.2
# Of the people in a picture a detector knows depth least, hips less well than other joints.
_DEPTH_M, _VAGUE_HIPS = 0.04, 1.8
_FAR_M = 0.12
# Within this share of the person's extent from its twin before it, a joint is hidden.
_HIDES = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a set is filmed, and what goes wrong.

    Args:
        azimuth_deg: Camera: 0 front, 90 the athlete's left.
        elevation_deg: Above the horizon; below 0 it looks up.
        roll_deg: Turn about its axis.
        distance_m: From the athlete: perspective.
        error: Standard deviation of a landmark's lasting and of its wandering error, share of the person's extent.
        flicker: The same of an error that changes with every frame.
        shake: Sway of a hand-held camera, share of the extent.
        handled_s: Seconds at either end in which the camera is put up and taken away.
        cut: Share of the person's extent beyond the picture's border, with `cut_edge` "bottom", "top", "left" or "right".
        lost: Share of the time in which a limb is lost, in pieces of 0.1 to 0.8 s.
        gaps: Number of times nobody is found for 0.2 to 0.7 s.
        swaps: Number of times left and right are exchanged for one to eight frames.
    """

    azimuth_deg: float
    elevation_deg: float = 5.0
    roll_deg: float = 0.0
    distance_m: float = 4.0
    error: float = 0.005
    flicker: float = 0.002
    shake: float = 0.0
    handled_s: float = 0.0
    cut: float = 0.0
    cut_edge: str = "bottom"
    lost: float = 0.0
    gaps: int = 0
    swaps: int = 0


def seen(joints_m: Array, times_s: Array, sight: Sight, random: Random) -> list[Poses]:
    """What is told frame by frame: track 1, or nobody.

    Args:
        joints_m: (t, 7 parts, 2 sides, 3) metres, x to the athlete's front, y to the left, z up.
        times_s: (t,) media clock.
        sight: The camera and its troubles.
        random: Of the errors.
    """
    n = len(joints_m)
    axes = _axes(sight)
    relative = (joints_m - joints_m.reshape(-1, 3).mean(0)) @ axes.T
    depth = np.maximum(sight.distance_m + relative[..., 2], 0.6)
    xy = relative[..., :2] * (sight.distance_m / depth)[..., None]
    size = float(np.median(np.ptp(xy.reshape(n, -1, 2), axis=1).max(1)))
    behind = depth - depth[:, :, ::-1] > _FAR_M
    hidden = behind & (np.hypot(*np.moveaxis(xy - xy[:, :, ::-1], -1, 0)) < _HIDES * size)
    worse = np.where(hidden, random.uniform(1.0, 3.5), 1.0)[..., None] * np.where(np.arange(7) == 3, _VAGUE_HIPS, 1.0)[:, None, None]
    lasting, wander = random.normal(size=(7, 2, 3)), _wander(random, times_s)
    error = worse * (sight.error * (lasting + wander) + sight.flicker * random.normal(size=(n, 7, 2, 3)))
    xy = xy + size * error[..., :2]
    world = relative - relative[:, 3].mean(1)[:, None, None]
    tall_m = float(np.ptp(joints_m.reshape(n, -1, 3), axis=1).max())
    world[..., :2] += tall_m * error[..., :2]
    world[..., 2] = random.uniform(0.65, 1.0) * world[..., 2] + _DEPTH_M * (lasting + wander)[..., 2]
    confidence = np.clip(np.where(hidden, random.uniform(0.25, 0.8, (7, 2)) + 0.08 * wander[..., 2], 0.95), 0.0, 1.0)
    confidence[_outside(xy, sight)] *= 0.2
    confidence[_losses(random, times_s, sight.lost)] *= 0.3
    for start, stop in _moments(random, times_s, sight.swaps, 0.03, 0.27):
        xy[start:stop], world[start:stop] = xy[start:stop, :, ::-1].copy(), world[start:stop, :, ::-1].copy()
    xy = xy + size * _camera_path(random, times_s, sight)[:, None, None]
    there = np.ones(n, bool)
    for start, stop in _moments(random, times_s, sight.gaps, 0.2, 0.7):
        there[start:stop] = False
    return [_poses(xy[i] * 300.0 + 500.0, world[i], confidence[i]) if there[i] else Poses.empty(BLAZEPOSE_33) for i in range(n)]


def beside(poses: Poses, other: Poses, track_id: int) -> Poses:
    """Both in one picture, the other as another track."""
    if not len(other):
        return poses
    stranger = other.replace(track_ids=np.full(len(other), track_id, np.int64))
    return Poses.concatenate([poses, stranger]) if len(poses) else stranger


def _axes(sight: Sight) -> Array:
    """(3, 3) rows: the picture's right, down, and away from the camera."""
    azimuth, elevation, roll = np.radians([sight.azimuth_deg, sight.elevation_deg, sight.roll_deg])
    toward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    down = -np.cross(toward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * right - s * down, s * right + c * down, -toward])


def _wander(random: Random, times_s: Array) -> Array:
    """(t, 7, 2, 3) of unit variance, each value remembering the one before for a fifth of a second."""
    steps = random.normal(size=(len(times_s), 7, 2, 3))
    for i in range(1, len(times_s)):
        keep = float(np.exp(-(times_s[i] - times_s[i - 1]) / _WANDER_S))
        steps[i] = keep * steps[i - 1] + np.sqrt(1.0 - keep * keep) * steps[i]
    return steps


def _outside(xy: Array, sight: Sight) -> NDArray[np.bool_]:
    """(t, 7, 2) what lies beyond the border."""
    axis, upper = {"left": (0, False), "right": (0, True), "top": (1, False), "bottom": (1, True)}[sight.cut_edge]
    low, high = np.quantile(xy[..., axis], (0.01, 0.99))
    if not sight.cut:
        return np.zeros(xy.shape[:3], bool)
    return xy[..., axis] > high - sight.cut * (high - low) if upper else xy[..., axis] < low + sight.cut * (high - low)


def _losses(random: Random, times_s: Array, share: float) -> NDArray[np.bool_]:
    """(t, 7, 2) limbs that the detector does not know: elbow with wrist, knee with ankle, or one joint."""
    lost = np.zeros((len(times_s), 7, 2), bool)
    limbs = ((1, 2), (2,), (4, 5), (5,), (3,))
    number = round(share * len(limbs) * 2 * (times_s[-1] - times_s[0]) / 0.45)
    for start, stop in _moments(random, times_s, number, 0.1, 0.8):
        lost[start:stop, list(limbs[int(random.integers(len(limbs)))]), int(random.integers(2))] = True
    return lost


def _moments(random: Random, times_s: Array, number: int, least_s: float, most_s: float) -> list[tuple[int, int]]:
    out = []
    for _ in range(number):
        start = float(random.uniform(times_s[0], times_s[-1]))
        first, last = np.searchsorted(times_s, [start, start + random.uniform(least_s, most_s)])
        out.append((int(first), int(last)))
    return out


def _camera_path(random: Random, times_s: Array, sight: Sight) -> Array:
    """(t, 2) where the picture has moved to, in sizes of the person."""
    time, end = times_s - times_s[0], times_s[-1] - times_s[0]
    phase, hz = random.uniform(0, 2 * np.pi, (4, 2)), np.array([0.23, 0.51, 0.9, 1.7])[:, None]
    waves = np.sin(2 * np.pi * hz * time[:, None, None] + phase) * np.array([1.0, 0.5, 0.3, 0.1])[:, None]
    path = sight.shake * waves.sum(1)
    if sight.handled_s:
        near = np.maximum(1.0 - time / sight.handled_s, 1.0 - (end - time) / sight.handled_s).clip(0.0, 1.0)
        shove = np.sin(2 * np.pi * random.uniform(0.5, 1.5, 2) * time[:, None] + random.uniform(0, 6, 2))
        path = path + near[:, None] * (random.uniform(-0.6, 0.6, 2) + 0.25 * shove)
    return path


def _poses(xy: Array, world: Array, confidence: Array) -> Poses:
    image = np.full((1, 33, 2), np.nan, np.float32)
    metric, certain = np.full((1, 33, 3), np.nan, np.float32), np.zeros((1, 33), np.float32)
    image[0, COLUMNS], metric[0, COLUMNS], certain[0, COLUMNS] = xy, world, confidence
    flat = xy.reshape(-1, 2)
    return Poses(
        boxes_xyxy=np.concatenate([flat.min(0), flat.max(0)])[None].astype(np.float32),
        scores=np.ones(1, np.float32),
        keypoints_xy=image,
        keypoint_confidence=certain,
        world_xyz_m=metric,
        track_ids=np.ones(1, np.int64),
        skeleton=BLAZEPOSE_33,
    )

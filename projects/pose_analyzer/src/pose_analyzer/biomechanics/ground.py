"""Metres from a picture: the scale at a person, where people stand, and the floor, from a known body height or a line on the floor.

Camera frame: x to the picture's right, y down, z forward, metres, as everywhere. A person of known height who is s px tall where
nothing is foreshortened is focal * height / s metres away. Segment lengths in body heights follow Drillis and Contini (1966).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pose_analyzer.biomechanics.foreshortening import STATURE_SHARE
from pose_analyzer.biomechanics.geometry import Array
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

_SIDES = ("left", "right")
_LENGTHS = {"trunk": ("shoulder", "hip"), "thigh": ("hip", "knee"), "shank": ("knee", "ankle")}
_ANKLE_HEIGHT = 0.039  # of stature, above the floor


def focal_px_from_fov(height_px: int, vertical_fov_deg: float) -> float:
    """Focal length in px of a camera with a vertical angle of view.

    Example:
        >>> round(focal_px_from_fov(200, 90.0), 6)
        100.0
    """
    if not 1 <= vertical_fov_deg <= 170:
        raise ValidationError(f"vertical_fov_deg must lie in 1..170, got {vertical_fov_deg}")
    return height_px / 2 / math.tan(math.radians(vertical_fov_deg) / 2)


def stature_px(poses: Poses, *, min_confidence: float = 0.5) -> Array:
    """(n,) px that each person would be tall if stretched out in the picture's plane; NaN when nothing tells.

    From trunk, thighs and shanks: whichever are seen at 85 % or more of the length that the longest-seen of them claims lie
    near the picture's plane, and are taken together.
    """
    xy = np.where((poses.keypoint_confidence >= min_confidence)[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    lengths, shares = [], []
    for name, (start, end) in _LENGTHS.items():
        a, b = (xy[:, poses.skeleton.indices([f"{side}_{part}" for side in _SIDES])] for part in (start, end))
        if name == "trunk":  # the middle is free of the breadths of shoulders and hips, where both sides are seen
            middle = (b - a).mean(1, keepdims=True)
            lengths.append(np.linalg.norm(np.where(np.isnan(middle), b - a, middle), axis=-1))
        else:
            lengths.append(np.linalg.norm(b - a, axis=-1))
        shares += [STATURE_SHARE[name]] * 2
    length, share = np.concatenate(lengths, axis=1), np.array(shares)
    claimed = np.where(np.isnan(length), 0.0, length / share)
    flat = (claimed >= 0.85 * claimed.max(1, keepdims=True, initial=0.0)) & (claimed > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, length, 0.0).sum(1) / (flat * share).sum(1)


def metres_per_px(poses: Sequence[Poses], height_m: float, *, min_confidence: float = 0.5) -> float:
    """Scale of the picture at one person, from some frames of that person.

    Args:
        poses: Frames, each with the one person or nobody.
        height_m: The person's height.
        min_confidence: Least confidence of joints, 0..1.

    Returns:
        Metres per px in the plane through the person that is parallel to the picture; NaN when no frame tells.

    Raises:
        ValidationError: The height is not a body's, or a frame holds several people.
    """
    _check_height(height_m)
    if any(len(p) > 1 for p in poses):
        raise ValidationError("metres_per_px takes one person; choose a track first, for example poses[poses.track_ids == 1]")
    tall = [float(stature_px(p, min_confidence=min_confidence)[0]) for p in poses if len(p)]
    tall = [t for t in tall if math.isfinite(t)]
    return height_m / float(np.median(tall)) if tall else math.nan


def metres_per_px_of_line(a_px: Sequence[float], b_px: Sequence[float], length_m: float) -> float:
    """Scale from a line of known length that lies across the view at the person's feet.

    Example:
        >>> metres_per_px_of_line((0, 0), (300, 400), 2.0)
        0.004
    """
    distance = math.dist(a_px, b_px)
    if distance <= 0 or length_m <= 0:
        raise ValidationError(f"a line needs two different ends and a length, got {tuple(a_px)}, {tuple(b_px)} and {length_m} m")
    return length_m / distance


def positions_m(poses: Poses, *, height_m: float, focal_px: float, width: int, height: int, min_confidence: float = 0.5) -> Array:
    """(n, 3) metres in the camera's frame of the point between each person's hips, all people being `height_m` tall."""
    _check_height(height_m)
    depth = focal_px * height_m / stature_px(poses, min_confidence=min_confidence)
    hips = poses.keypoints_xy[:, poses.skeleton.indices(["left_hip", "right_hip"])].astype(np.float64).mean(1)
    return _ray(hips, focal_px, width, height) * depth[:, None]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroundPlane:
    """The floor as a camera sees it.

    Args:
        normal: (3,) unit vector up from the floor, in the camera's frame.
        camera_height_m: Of the camera above the floor.
        focal_px: Focal length.
        width: Of the picture, px.
        height: Of the picture, px.
    """

    normal: Array
    camera_height_m: float
    focal_px: float
    width: int
    height: int

    @property
    def tilt_deg(self) -> float:
        """How far the camera looks down, degrees."""
        return math.degrees(math.asin(float(np.clip(-self.normal[2], -1.0, 1.0))))

    @property
    def roll_deg(self) -> float:
        """How far the floor's horizon leans in the picture, degrees clockwise."""
        return math.degrees(math.atan2(float(self.normal[0]), float(-self.normal[1])))

    def to_floor_m(self, xy_px: Array) -> Array:
        """(..., 2) metres on the floor of (..., 2) px: to the right of, and ahead of, the point below the camera.

        NaN at and above the horizon.
        """
        rays = _ray(np.asarray(xy_px, np.float64), self.focal_px, self.width, self.height)
        fall = -(rays @ self.normal)
        points = rays * (self.camera_height_m / np.where(fall > 1e-6, fall, np.nan))[..., None]
        ahead = np.array([0.0, 0.0, 1.0]) - self.normal[2] * self.normal
        ahead = ahead / np.linalg.norm(ahead)
        right = np.cross(ahead, self.normal)
        return np.stack([points @ right, points @ ahead], axis=-1)

    @classmethod
    def from_people(
        cls, poses: Sequence[Poses], *, height_m: float, focal_px: float, width: int, height: int, min_confidence: float = 0.5
    ) -> GroundPlane:
        """The floor under people of known height who stand upright.

        Up is the median way from feet to shoulders: across the picture as it is seen, in depth as the metric landmarks have it
        (without them the camera is taken to look level). Their depth is coarse: expect the tilt to be off by some 5 degrees
        and the camera's height by some 15 cm.

        Args:
            poses: Frames of people who stand on the floor.
            height_m: Their height.
            focal_px: Focal length; `focal_px_from_fov` makes one from an angle of view.
            width: Of the picture, px.
            height: Of the picture, px.
            min_confidence: Least confidence of joints, 0..1.

        Raises:
            ValidationError: Nobody stands with a foot in the picture.
        """
        _check_height(height_m)
        feet, ups = [], []
        for people in poses:
            index = people.skeleton.indices(["left_ankle", "right_ankle", "left_shoulder", "right_shoulder"])
            # The far side may be hidden: its place is then guessed, and good enough once the near one is seen.
            sure = people.keypoint_confidence[:, index] >= min_confidence
            known = sure[:, :2].any(1) & sure[:, 2:].any(1) & people.visible[:, index].all(1)
            tall = stature_px(people, min_confidence=min_confidence)
            for row in np.flatnonzero(known & np.isfinite(tall)):
                depth = focal_px * height_m / tall[row]
                points = _ray(people.keypoints_xy[row, index].astype(np.float64), focal_px, width, height) * depth
                up = points[2:].mean(0) - points[:2].mean(0)
                if people.world_xyz_m is not None:
                    world = people.world_xyz_m[row, index].astype(np.float64)
                    up[2] = world[2:, 2].mean() - world[:2, 2].mean()
                if np.linalg.norm(up) < 0.6 * (0.818 - _ANKLE_HEIGHT) * height_m or not np.isfinite(up).all():
                    continue  # bent over, or legs that point at the camera: not upright
                ups.append(up / np.linalg.norm(up))
                feet.append(points[:2].mean(0))
        if not feet:
            raise ValidationError("nobody stands upright with a foot in the picture; show a person who stands for a moment")
        normal = np.median(np.stack(ups), axis=0)
        normal = normal / np.linalg.norm(normal)
        drop = float(np.median(-(np.stack(feet) @ normal))) + _ANKLE_HEIGHT * height_m
        return cls(normal=normal, camera_height_m=drop, focal_px=focal_px, width=width, height=height)


def _ray(xy_px: Array, focal_px: float, width: int, height: int) -> Array:
    """(..., 3) points at depth 1 of px; the principal point is the picture's middle."""
    flat = (xy_px - np.array([width / 2, height / 2])) / focal_px
    return np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], axis=-1)


def _check_height(height_m: float) -> None:
    if not 0.5 <= height_m <= 2.5:
        raise ValidationError(f"height_m must be a person's height, 0.5..2.5 m, got {height_m}")

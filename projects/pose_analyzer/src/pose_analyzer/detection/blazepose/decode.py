"""What the two networks' outputs mean: raw tensors in, people and landmarks out.

The numbers of the person detector are relative to its anchors; the landmarks' regressed positions are
refined on their heat maps. Both follow the options of the graph that MediaPipe 0.10.21 runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.blazepose.anchors import INPUT_PX, anchor_centres
from pose_analyzer.detection.blazepose.regions import Region
from pose_analyzer.detection.nms import weighted_nms

DETECTOR_PX = INPUT_PX
LANDMARK_PX = 256
LANDMARKS = 33
"""Landmarks of the body; the network adds two that span the next region, and four that are not used."""

_USED = LANDMARKS + 2
_OUTPUTS = 39
_HEATMAP = 64
# The graph's text says 7, yet the library takes the option's default of 9: with 9 its results are
# reproduced to 1e-4 of a heat map cell, with 7 they are off by up to 0.5.
_KERNEL = 9
_REACH = _KERNEL // 2
_STEPS = np.arange(_KERNEL)
# Per cell of the window: 1, its column and its row, for sums of mass and of moments.
_MOMENTS = np.stack([np.ones(_KERNEL**2), np.tile(_STEPS, _KERNEL), np.repeat(_STEPS, _KERNEL)], axis=1).astype(np.float32)
_CELL_STRIDES = np.array([_OUTPUTS, _HEATMAP * _OUTPUTS])
_WINDOW = (_STEPS[:, None] * _CELL_STRIDES[1] + _STEPS * _CELL_STRIDES[0]).ravel()
_NOWHERE = 1e6
_MIN_HEAT = 0.5
_NMS_IOU = 0.3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person the detector has seen.

    Args:
        score: 0..1.
        region: Where to look for the landmarks.
    """

    score: float
    region: Region


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What the landmark network says of one region.

    Args:
        score: 0..1, that there is a person.
        xy_px: (33, 2) float64 px in the image; NaN where the network's output is not finite.
        visibility: (33,) float32 0..1, that a landmark is seen; 0 where missing.
        presence: (33,) float32 0..1, that it lies inside the image; 0 where missing.
        world_xyz_m: (33, 3) metres from the middle of the hips; NaN where not finite.
        span_px: Centre and scale point x, y, x, y for the next region, px.
    """

    score: float
    xy_px: NDArray[np.float64]
    visibility: NDArray[np.float32]
    presence: NDArray[np.float32]
    world_xyz_m: NDArray[np.float64]
    span_px: tuple[float, float, float, float]


def decode_people(raw_boxes: NDArray[np.float32], raw_scores: NDArray[np.float32], seen: Region, *, min_score: float) -> list[Candidate]:
    """People in a part of an image, best first.

    Args:
        raw_boxes: (2254, 12) centre x, y, width, height and four points, px of the input relative to the anchors.
        raw_scores: (2254,) logits.
        seen: The part of the image that was the input.
        min_score: 0..1.
    """
    # The logit of the threshold spares 2254 exponentials; NaN fails the comparison.
    with np.errstate(divide="ignore"):
        chosen = np.flatnonzero(raw_scores >= np.log(min_score / (1 - min_score) if min_score < 1 else np.inf))
    if not len(chosen):
        return []
    raw = raw_boxes[chosen].astype(np.float64) / INPUT_PX
    points = raw.reshape(len(raw), 6, 2)
    points[:, [0, 2, 3, 4, 5]] += anchor_centres()[chosen][:, None]
    centre, half = points[:, 0], points[:, 1] / 2
    sane = np.isfinite(points).all((1, 2)) & (half >= 0).all(1)
    boxes = np.concatenate([centre - half, centre + half], axis=1)[sane]
    _, scores, keypoints = weighted_nms(boxes, _sigmoid(raw_scores[chosen])[sane], points[sane, 2:], iou_threshold=_NMS_IOU)
    people = []
    for score, (hips, scale, *_) in zip(scores, keypoints, strict=True):
        (x0, y0), (x1, y1) = seen.to_image(np.stack([hips, scale])).tolist()
        region = Region.from_points((x0, y0), (x1, y1))
        if region.is_usable:
            people.append(Candidate(float(score), region))
    return people


def decode_landmarks(
    raw: NDArray[np.float32], score: float, heat: NDArray[np.float32], world: NDArray[np.float32], region: Region
) -> Landmarks:
    """Landmarks of one region.

    Args:
        raw: (195,) x, y, z px of the input, and logits of visibility and presence, of 39 points.
        score: 0..1.
        heat: (64, 64, 39) logits.
        world: (117,) metres in the region's axes.
        region: Where the input was taken.
    """
    table = raw.reshape(_OUTPUTS, 5)[:_USED]
    points = refine(table[:, :2].astype(np.float64) / LANDMARK_PX, heat)
    xy = region.to_image(points)
    sure = _sigmoid(table[:LANDMARKS, 3:])
    with np.errstate(invalid="ignore"):  # infinity times zero; it becomes a missing landmark below
        metres = region.turn(world.reshape(_OUTPUTS, 3)[:LANDMARKS])
    x0, y0, x1, y1 = xy[LANDMARKS:].ravel().tolist()
    xy = xy[:LANDMARKS]
    if not np.isfinite(xy.sum() + sure.sum() + metres.sum()):
        whole = np.isfinite(xy).all(1) & np.isfinite(sure).all(1) & np.isfinite(metres).all(1)
        xy[~whole], sure[~whole], metres[~whole] = np.nan, 0.0, np.nan
        score = score if whole.any() else 0.0
    return Landmarks(float(score), xy, sure[:, 0], sure[:, 1], metres, (x0, y0, x1, y1))


def refine(points: NDArray[np.float64], heat: NDArray[np.float32]) -> NDArray[np.float64]:
    """Move each point to the centre of mass of its heat map around it.

    The window is 9x9 cells around the cell that the point lies in, cut at the border. A point whose window
    is nowhere hotter than 0.5, or that lies outside the map, stays. Two habits of the library are kept:
    truncation takes a point up to one cell left of or above the map as inside, and below the map the
    window is what reaches into it.

    Args:
        points: (k, 2) x, y in 0..1 of the map, at most 39.
        heat: (64, 64, 39) logits, one map per point.

    Returns:
        (k, 2) refined points.

    Example:
        >>> heat = np.full((64, 64, 39), -20.0, np.float32)
        >>> heat[30, 33, 0] = 20.0
        >>> (refine(np.array([[0.5, 0.5]]), heat) * 64).round(3).tolist()
        [[33.0, 30.0]]
    """
    scaled = points * _HEATMAP
    if not np.isfinite(scaled.sum()):
        scaled = np.where(np.isfinite(scaled).all(1, keepdims=True), scaled, -_NOWHERE)
    # Truncated towards zero, and within what an integer holds.
    cells = scaled.clip(-_NOWHERE, _NOWHERE).astype(np.intp)
    # Windows that would leave the map are moved inside; what is then too much of them is masked.
    corner = (cells - _REACH).clip(0, _HEATMAP - _KERNEL)
    at = (corner @ _CELL_STRIDES + np.arange(len(points)))[:, None] + _WINDOW
    mass = _sigmoid(heat.reshape(-1)[at])
    moved = corner + _REACH - cells
    if moved.any():
        near = np.abs(moved[:, :, None] + (_STEPS - _REACH)) <= _REACH
        inside = (cells >= 0).all(1) & (cells[:, 0] < _HEATMAP)
        mass *= (near[:, 1, :, None] & near[:, 0, None, :]).reshape(mass.shape) & inside[:, None]
    sums = mass @ _MOMENTS
    hot = mass.max(1, initial=0.0) >= _MIN_HEAT
    total = np.where(hot, sums[:, 0], 1.0)
    return np.where(hot[:, None], (sums[:, 1:] / total[:, None] + corner) / _HEATMAP, points)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # Below -80 the result is 0 for all that it is used for, and the exponential would overflow.
    return 1 / (1 + np.exp(-np.maximum(logits, -80)))

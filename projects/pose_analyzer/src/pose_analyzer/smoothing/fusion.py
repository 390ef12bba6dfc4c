"""Two measurements of the same people made one: two detectors, or one detector at two scales.

Inverse-variance weighting, the least-variance mean of independent measurements, with its own variance kept. Where the two
contradict each other beyond their noise a mean would be a third wrong place: the more certain one is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose_analyzer.smoothing.tracks import Array, body_height_px, keypoint_sigma, require_finite_at_least, require_positive
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

_CHI2_MEAN_SIDES = 1.3  # a mirrored reading must fit this many times better than the plain one


@dataclass(frozen=True, slots=True)
class Fused:
    """Result of a fusion.

    Args:
        value: (..., d); NaN where nobody measured.
        sigma: (...,) standard deviation of each coordinate; NaN where nobody measured.
        disagreement: (...,) largest distance between two measurements in units of its own standard deviation; NaN where
            there are not two.
    """

    value: Array
    sigma: Array
    disagreement: Array


def fuse_measurements(values: ArrayLike, sigmas: ArrayLike, *, max_disagreement: float = 4.0) -> Fused:
    """Inverse-variance mean of m measurements of the same points.

    Args:
        values: (m, ..., d) NaN = missing.
        sigmas: (m, ...) standard deviation of each coordinate, > 0.
        max_disagreement: Distance, in standard deviations of the difference, beyond which the most certain measurement is
            taken alone; its sigma is then widened to reach half-way to the other.

    Raises:
        ValidationError: Shapes disagree, or a sigma of a known value is not above 0.

    Example:
        >>> fused = fuse_measurements([[[10.0, 0.0]], [[13.0, 0.0]]], [[1.0], [2.0]])
        >>> fused.value.round(3).tolist(), fused.sigma.round(3).tolist()
        ([[10.6, 0.0]], [0.894])
    """
    x, s = np.asarray(values, np.float64), np.asarray(sigmas, np.float64)
    if x.ndim < 2 or s.shape != x.shape[:-1]:
        raise ValidationError(f"sigmas must have shape {x.shape[:-1]} for values of shape {x.shape}, got {s.shape}")
    require_positive(max_disagreement=max_disagreement)
    known = ~np.isnan(x).any(-1)
    if not (s[known] > 0).all():
        raise ValidationError("sigmas must be greater than 0 where there is a value")
    weight = np.where(known, 1 / np.where(known, s, 1.0) ** 2, 0.0)
    total = weight.sum(0)
    some = total > 0
    mean = (weight[..., None] * np.where(known[..., None], x, 0.0)).sum(0) / np.where(some, total, 1.0)[..., None]
    sigma = 1 / np.sqrt(np.where(some, total, 1.0))
    distance, disagreement = _disagreement(x, np.where(known, s, np.nan))
    best = weight.argmax(0)
    alone = np.take_along_axis(x, best[None, ..., None], 0)[0]
    alone_sigma = np.hypot(np.take_along_axis(np.where(known, s, np.inf), best[None], 0)[0], distance / 2)
    split = np.nan_to_num(disagreement) > max_disagreement
    value = np.where(split[..., None], alone, mean)
    return Fused(np.where(some[..., None], value, np.nan), np.where(some, np.where(split, alone_sigma, sigma), np.nan), disagreement)


def fuse_poses(
    first: Poses,
    second: Poses,
    *,
    max_disagreement: float = 4.0,
    noise_sizes: float = 0.005,
    min_similarity: float = 0.3,
    keep_unmatched: bool = True,
) -> Poses:
    """The people of one image as two detectors, or two scales, saw them, made one.

    People are matched by object keypoint similarity (box overlap where no keypoint is common), best pairs overall. In each pair,
    a second reading whose left and right are exchanged is turned round first; then every keypoint is the inverse-variance
    mean of what is finite, with `keypoint_sigma_px` of the result. Sigmas are the detectors' own; without them, `noise_sizes` of the
    body grown for low confidence.

    Args:
        first: n people; their rows, ids and order are kept.
        second: m people of the same skeleton (`Poses.to_skeleton` converts).
        max_disagreement: See `fuse_measurements`.
        noise_sizes: Standard deviation of a well seen keypoint in body heights, where the detector does not say.
        min_similarity: Least similarity 0..1 of a pair.
        keep_unmatched: Whether people only `second` saw are appended.

    Returns:
        n rows, then the people that only `second` has.

    Raises:
        ValidationError: Skeletons differ, or an option is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> a = Poses(boxes_xyxy=[[0, 0, 50, 100]], scores=[0.9], keypoints_xy=np.full((1, 17, 2), 30.0),
        ...           keypoint_confidence=np.ones((1, 17)), keypoint_sigma_px=np.ones((1, 17)), skeleton=COCO_17)
        >>> b = a.replace(keypoints_xy=a.keypoints_xy + 1)
        >>> fused = fuse_poses(a, b)
        >>> len(fused), float(fused.keypoints_xy[0, 0, 0]), round(float(fused.keypoint_sigma_px[0, 0]), 3)
        (1, 30.5, 0.707)
    """
    if first.skeleton != second.skeleton:
        raise ValidationError(f"cannot fuse {first.skeleton.name} with {second.skeleton.name}; convert one with to_skeleton")
    require_positive(noise_sizes=noise_sizes)
    require_finite_at_least(0, min_similarity=min_similarity)
    a, b = match_people(first, second, min_similarity)
    sigma_a, sigma_b = (_sigmas(p, noise_sizes) for p in (first, second))
    base = first.replace(keypoint_sigma_px=np.where(first.visible, sigma_a, np.nan))
    if len(a):
        partner, partner_sigma = _same_sides(first[a], second[b], sigma_a[a], sigma_b[b])
        base = _fuse_rows(base, a, partner, sigma_a[a], partner_sigma, max_disagreement)
    rest = np.setdiff1d(np.arange(len(second)), b)
    if not keep_unmatched or not len(rest):
        return base
    return Poses.concatenate([base, second.replace(keypoint_sigma_px=np.where(second.visible, sigma_b, np.nan))[rest]])


def match_people(first: Poses, second: Poses, min_similarity: float = 0.3) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of `first` and of `second` that are the same person, in rising order of the first.

    Similarity is object keypoint similarity with the tolerance doubled, either way round (left and right may be
    exchanged), or the overlap of the boxes where no keypoint is common.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(first) or not len(second):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    flipped = second.keypoints_xy[:, second.skeleton.flip_indices]
    similarity = np.maximum(_oks(first, second.keypoints_xy, second), _oks(first, flipped, second))
    overlap = _iou(first.boxes_xyxy.astype(np.float64), second.boxes_xyxy.astype(np.float64))
    similarity = np.where(np.isnan(similarity), overlap, similarity)
    a, b = linear_sum_assignment(-similarity)
    good = similarity[a, b] >= min_similarity
    return a[good], b[good]


# --- inside ---------------------------------------------------------------------------------------
def _disagreement(x: Array, s: Array) -> tuple[Array, Array]:
    """Largest distance of the most certain measurement to another, and the largest in standard deviations."""
    order = np.argsort(np.where(np.isnan(s), np.inf, s), axis=0, kind="stable")
    x, s = np.take_along_axis(x, order[..., None], 0), np.take_along_axis(s, order, 0)
    if len(x) < 2:
        return np.full(x.shape[1:-1], np.nan), np.full(x.shape[1:-1], np.nan)
    distance = np.sqrt(((x[1:] - x[0]) ** 2).sum(-1))
    score = distance / np.sqrt(s[1:] ** 2 + s[0] ** 2)
    return _nanmax(distance), _nanmax(score)


def _nanmax(values: Array) -> Array:
    known = ~np.isnan(values)
    return np.where(known.any(0), np.where(known, values, -np.inf).max(0), np.nan)


def _sigmas(poses: Poses, noise_sizes: float) -> Array:
    rows = np.arange(len(poses))
    return keypoint_sigma(poses, rows, body_height_px(poses)[:, None], noise_sizes)


def _same_sides(first: Poses, second: Poses, sigma_a: Array, sigma_b: Array) -> tuple[Poses, Array]:
    """`second` with left and right exchanged in the rows where that fits `first` clearly better."""
    flip = second.skeleton.flip_indices
    plain = _misfit(first.keypoints_xy, second.keypoints_xy, sigma_a, sigma_b)
    turned = _misfit(first.keypoints_xy, second.keypoints_xy[:, flip], sigma_a, sigma_b[:, flip])
    swap = np.nan_to_num(turned * _CHI2_MEAN_SIDES + 1.0, nan=np.inf) < np.nan_to_num(plain, nan=0.0)
    changes = {}
    for name in ("keypoints_xy", "keypoint_confidence", "keypoint_sigma_px", "keypoint_presence", "world_xyz_m"):
        values = getattr(second, name)
        if values is not None:
            changes[name] = np.where(swap.reshape(-1, *[1] * (values.ndim - 1)), values[:, flip], values)
    return second.replace(**changes), np.where(swap[:, None], sigma_b[:, flip], sigma_b)


def _misfit(a: NDArray[np.float32], b: NDArray[np.float32], sigma_a: Array, sigma_b: Array) -> Array:
    """(n,) mean squared distance in units of its variance over common keypoints; NaN where there are none."""
    d2 = ((a - b) ** 2).sum(-1) / (sigma_a**2 + sigma_b**2)
    known = ~np.isnan(d2)
    return np.where(known.any(1), np.where(known, d2, 0.0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _fuse_rows(base: Poses, rows: NDArray[np.intp], partner: Poses, sigma_a: Array, sigma_b: Array, limit: float) -> Poses:
    mine = base[rows]
    fused = fuse_measurements(np.stack([mine.keypoints_xy, partner.keypoints_xy]), np.stack([sigma_a, sigma_b]), max_disagreement=limit)
    new = {
        "keypoints_xy": fused.value,
        "keypoint_sigma_px": fused.sigma,
        "keypoint_confidence": np.maximum(mine.keypoint_confidence, partner.keypoint_confidence),
        "scores": np.maximum(mine.scores, partner.scores),
        "boxes_xyxy": _fused_boxes(mine, partner),
    }
    if base.world_xyz_m is not None and partner.world_xyz_m is not None and mine.world_xyz_m is not None:
        new["world_xyz_m"] = fuse_measurements(
            np.stack([mine.world_xyz_m, partner.world_xyz_m]), np.stack([sigma_a, sigma_b]), max_disagreement=np.inf
        ).value
    changes = {}
    for name, values in new.items():
        whole = getattr(base, name).copy()
        whole[rows] = values
        changes[name] = whole
    return base.replace(**changes)


def _fused_boxes(a: Poses, b: Poses) -> Array:
    """(n, 4) boxes averaged by score."""
    wa, wb = np.maximum(a.scores, 1e-3)[:, None], np.maximum(b.scores, 1e-3)[:, None]
    return (wa * a.boxes_xyxy + wb * b.boxes_xyxy) / (wa + wb)


def _oks(first: Poses, xy: NDArray[np.float32], second: Poses) -> Array:
    d2 = ((first.keypoints_xy[:, None] - xy[None]) ** 2).sum(-1)
    area = np.maximum((first.areas_px[:, None] + second.areas_px[None]) / 2, 1.0)
    # Twice COCO's tolerance: two detectors place the same joint by different conventions.
    e = d2 / (2 * area[..., None] * (4 * first.skeleton.oks_sigmas) ** 2)
    known = ~np.isnan(e)
    total = np.where(known, np.exp(-np.where(known, e, 0.0)), 0.0).sum(-1)
    return np.where(known.any(-1), total / np.maximum(known.sum(-1), 1), np.nan)


def _iou(a: Array, b: Array) -> Array:
    size = np.clip(np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]), 0, None)
    common = size.prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None] - common
    return np.where(union > 0, common / np.where(union > 0, union, 1.0), 0.0)

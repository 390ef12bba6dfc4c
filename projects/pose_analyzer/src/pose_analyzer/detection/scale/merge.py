"""Many readings of the same people made one each: weighted box fusion with object keypoint similarity.

Tiles overlap and sizes overlap, so one person is found several times, now and then only in part. Readings are taken in the order of
their scores, never of their areas; each gathers those that are the same person, and what they say is averaged by how certain it is
(R. Solovyev et al., Weighted boxes fusion, 2021, for boxes; inverse variance for keypoints).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.nms import iou_matrix
from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

Array = NDArray[np.float64]

MIN_COMPARED_CONFIDENCE = 0.3
"""A keypoint below it does not say whether two readings are one person."""

_SAME_PERSON = 0.5
_SAME_BOX, _ALIKE = 0.6, 0.3
# Somebody whose box lies that far inside another's is a part of them, unless they are much smaller: then they stand far behind.
_INSIDE, _MUCH_SMALLER = 0.75, 0.3
_LEAST_AREA = 0.15
# Shoulder, hip, knee, ankle in parts of the stature (R. Drillis and R. Contini, 1966).
_CHAIN = 0.78
_OUTLIER_SIGMAS = 3.0
# An exchange of left and right is believed when it fits that many times better.
_FLIP_GAIN = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Result of a merge.

    Args:
        poses: m people, by falling score.
        members: For each of them the rows of the input that were averaged, best first.
    """

    poses: Poses
    members: tuple[NDArray[np.intp], ...]


def merge_poses(poses: Poses, sigmas: NDArray[np.floating], *, fuse: bool = True) -> Merged:
    """One reading per person.

    The best reading gathers all that show the same person: poses alike (object keypoint similarity, left and right as they are or
    exchanged), or boxes that nearly coincide over poses that do not contradict each other. Readings that lie within it but are no such
    pose, a leg taken for a person, are dropped. Boxes are averaged by score, keypoints by inverse variance; a keypoint
    more than three standard deviations from the best reading's does not count. The score is the mean, weighted by itself: it stays in
    0..1 and a chorus of doubtful readings remains doubtful.

    Args:
        poses: n readings in px of one picture, in any order.
        sigmas: (n,) standard deviation of each reading's keypoints, any unit in common, above 0.
        fuse: Average; else the best reading of each person is kept as it is.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.random.default_rng(0).uniform(0, 100, (1, 17, 2))
        >>> one = Poses(
        ...     boxes_xyxy=[[0, 0, 100, 100]], scores=[0.9], keypoints_xy=xy, keypoint_confidence=np.ones((1, 17)), skeleton=COCO_17
        ... )
        >>> two = one.replace(keypoints_xy=xy + 1, scores=[0.5])
        >>> merged = merge_poses(Poses.concatenate([one, two]), np.array([1.0, 1.0]))
        >>> len(merged.poses), (merged.poses.keypoints_xy[0] - xy[0]).mean().round(2).item(), merged.members[0].tolist()
        (1, 0.5, [0, 1])
    """
    left = np.argsort(-poses.scores, kind="stable")
    sizes = body_px(poses)
    rows: list[Poses] = []
    members: list[NDArray[np.intp]] = []
    while len(left):
        leader = int(left[0])
        same, turned = _same_person(poses, leader, left)
        same[0] = True
        cluster = left[same]
        rows.append(_fused(poses, cluster, np.asarray(sigmas, np.float64)[cluster], turned[same]) if fuse else poses[[leader]])
        members.append(cluster)
        left = left[~(same | _parts_of(poses, leader, left, sizes))]
    if not rows:
        return Merged(poses, ())
    order = np.argsort([-float(r.scores[0]) for r in rows], kind="stable")
    return Merged(Poses.concatenate([rows[i] for i in order]), tuple(members[i] for i in order))


def without_known(poses: Poses, known: Poses) -> Poses:
    """Those who are not among the known people, and no part of one.

    Args:
        poses: n readings, each of another person.
        known: m people of the same picture.
    """
    if not len(poses) or not len(known):
        return poses
    both = Poses.concatenate([known, poses])
    own = np.arange(len(known), len(both))
    sizes = body_px(both)
    taken = np.zeros(len(poses), bool)
    for i in range(len(known)):
        same, _ = _same_person(both, i, own)
        taken |= same | _parts_of(both, i, own, sizes)
    return poses[~taken]


def without_twins(poses: Poses) -> Poses:
    """Everybody once who is followed twice, with left and right exchanged: a network may turn a small person round, and then follow both.

    Args:
        poses: n people; of two the first stays.
    """
    keep = np.ones(len(poses), bool)
    for i in range(len(poses) - 1):
        later = np.arange(i + 1, len(poses))
        if keep[i]:
            keep[later] &= similarities(poses, i, later)[1] < _SAME_PERSON
    return poses if keep.all() else poses[keep]


def seen_again(poses: Poses, earlier: Poses) -> Poses:
    """Those whose pose agrees with somebody's in an earlier reading of the same picture: people are found twice, things are not.

    Args:
        poses: n people.
        earlier: m people.
    """
    if not len(poses) or not len(earlier):
        return poses[:0]
    both = Poses.concatenate([poses, earlier])
    rest = np.arange(len(poses), len(both))
    return poses[[bool((similarities(both, i, rest)[0] >= _SAME_PERSON).any()) for i in range(len(poses))]]


def similarities(poses: Poses, leader: int, others: NDArray[np.intp]) -> tuple[Array, Array]:
    """(m,) object keypoint similarity 0..1 of one reading to others, as they are and with left and right exchanged.

    COCO's measure over keypoints that both are sure of; the area is the mean of both hulls, and at least what a thin
    person seen from the side fills. Nothing in common is similarity 0.
    """
    xy, area = poses.keypoints_xy[others].astype(np.float64), _areas(poses)
    sure = (poses.keypoint_confidence >= MIN_COMPARED_CONFIDENCE) & poses.visible
    scale = (area[leader] + area[others]) / 2
    flip = poses.skeleton.flip_indices
    own = poses.keypoints_xy[leader].astype(np.float64)
    plain = _oks(own, sure[leader], xy, sure[others], scale, poses.skeleton)
    return plain, _oks(own, sure[leader], xy[:, flip], sure[others][:, flip], scale, poses.skeleton)


def body_px(poses: Poses) -> Array:
    """(n,) how tall each person would stand in the picture, px, whatever they do.

    The longer of two measures over keypoints that the detector is sure of: what they span and a tenth, because eyes and ankles, which
    every skeleton has, leave out crown and soles; and trunk, thigh and shank end to end, which are 78 % of the stature and stay as they are
    when somebody squats or bends down. The box where fewer than two keypoints are seen.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> body_px(Poses.empty(COCO_17)).tolist()
        []
    """
    sure = (poses.keypoint_confidence >= MIN_COMPARED_CONFIDENCE) & poses.visible
    xy = poses.keypoints_xy.astype(np.float64)
    tall = np.maximum(1.1 * _extent(xy, sure).max(1, initial=0.0), _chain(np.where(sure[..., None], xy, np.nan), poses.skeleton) / _CHAIN)
    boxes = poses.boxes_xyxy.astype(np.float64)
    return np.where(sure.sum(1) >= 2, tall, (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0))


def _chain(xy: Array, skeleton: Skeleton) -> Array:
    """(n,) px from shoulder over hip and knee to ankle, the longer side; 0 where no side is whole."""
    sides = []
    for side in ("left", "right"):
        points = xy[:, skeleton.indices([f"{side}_{joint}" for joint in ("shoulder", "hip", "knee", "ankle")])]
        sides.append(np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1))
    return np.nan_to_num(np.fmax(*sides))


def _same_person(poses: Poses, leader: int, others: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(m,) whether readings show the same person as one of them, and whether they do so better with left and right exchanged."""
    plain, turned = similarities(poses, leader, others)
    alike = np.maximum(plain, turned)
    overlap = iou_matrix(poses.boxes_xyxy[[leader]], poses.boxes_xyxy[others])[0]
    sure = (poses.keypoint_confidence >= MIN_COMPARED_CONFIDENCE) & poses.visible
    comparable = (sure[others] & sure[leader]).any(1)
    return (alike >= _SAME_PERSON) | ((overlap >= _SAME_BOX) & ((alike >= _ALIKE) | ~comparable)), turned > plain


def _parts_of(poses: Poses, leader: int, others: NDArray[np.intp], sizes: Array) -> NDArray[np.bool_]:
    """(m,) whether readings are a part of a person taken for a whole one."""
    ratio = sizes[others] / max(float(sizes[leader]), 1e-9)
    return (_inside(poses.boxes_xyxy, leader, others) >= _INSIDE) & (ratio > _MUCH_SMALLER) & (ratio < 1.0)


def _extent(xy: Array, sure: NDArray[np.bool_]) -> Array:
    """(n, 2) width and height of the hull of sure keypoints; 0 where there are none."""
    low = np.where(sure[..., None], xy, np.inf).min(1, initial=np.inf)
    high = np.where(sure[..., None], xy, -np.inf).max(1, initial=-np.inf)
    return np.where(sure.any(1, keepdims=True), np.where(np.isfinite(high), high, 0.0) - np.where(np.isfinite(low), low, 0.0), 0.0)


def _areas(poses: Poses) -> Array:
    sure = (poses.keypoint_confidence >= MIN_COMPARED_CONFIDENCE) & poses.visible
    extent = _extent(poses.keypoints_xy.astype(np.float64), sure)
    return np.maximum(extent.prod(1), _LEAST_AREA * extent.max(1, initial=0.0) ** 2)


def _oks(own: Array, own_sure: NDArray[np.bool_], xy: Array, sure: NDArray[np.bool_], scale: Array, skeleton: Skeleton) -> Array:
    both = own_sure & sure
    squared = np.where(both, ((np.nan_to_num(xy) - np.nan_to_num(own)) ** 2).sum(-1), 0.0)
    variance = 2 * scale[:, None] * (2 * skeleton.oks_sigmas) ** 2
    exponent = np.divide(squared, variance, out=np.where(squared > 0, np.inf, 0.0), where=variance > 0)
    count = both.sum(1)
    return np.divide(np.where(both, np.exp(-exponent), 0.0).sum(1), count, out=np.zeros(len(xy)), where=count > 0)


def _inside(boxes_xyxy: NDArray[np.floating], leader: int, others: NDArray[np.intp]) -> Array:
    """(m,) share of each box that lies within the leader's."""
    a, b = boxes_xyxy[leader].astype(np.float64), boxes_xyxy[others].astype(np.float64)
    shared = (np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2])).clip(0).prod(1)
    area = (b[:, 2:] - b[:, :2]).prod(1)
    return np.divide(shared, area, out=np.ones(len(b)), where=area > 0)


def _fused(poses: Poses, rows: NDArray[np.intp], sigmas: Array, turned: NDArray[np.bool_]) -> Poses:
    """One person of several readings, the best first."""
    if len(rows) == 1:
        return poses[rows]
    readings = _same_sides(poses[rows], turned)
    scores = readings.scores.astype(np.float64)
    share = scores / scores.sum() if scores.sum() > 0 else np.full(len(scores), 1 / len(scores))
    weights = _keypoint_weights(readings, sigmas)
    total = weights.sum(0)
    known = total > 0

    def mean(values: NDArray[np.float32]) -> Array:
        w = weights.reshape(*weights.shape, *[1] * (values.ndim - 2))
        averaged = np.where(w > 0, w * np.nan_to_num(values.astype(np.float64)), 0.0).sum(0)
        return averaged / np.where(known, total, 1.0).reshape(-1, *[1] * (values.ndim - 2))

    changes: dict[str, NDArray[np.floating]] = {
        "boxes_xyxy": (share @ readings.boxes_xyxy)[None],
        "scores": np.clip([share @ scores], 0.0, 1.0),
        "keypoints_xy": np.where(known[:, None], mean(readings.keypoints_xy), np.nan)[None],
        "keypoint_confidence": np.where(known, mean(readings.keypoint_confidence).clip(0, 1), 0.0)[None],
    }
    if readings.keypoint_presence is not None:
        changes["keypoint_presence"] = np.where(known, mean(readings.keypoint_presence).clip(0, 1), 0.0)[None]
    if readings.world_xyz_m is not None:
        # Metres have no picture to lie in; of the readings, the best is taken whole, so that its bones keep their lengths.
        changes["world_xyz_m"] = np.where(known[:, None], readings.world_xyz_m[0], np.nan)[None]
    if readings.keypoint_sigma_px is not None:
        changes["keypoint_sigma_px"] = np.where(known, mean(readings.keypoint_sigma_px), np.nan)[None]
    return readings[[0]].replace(**changes)


def _keypoint_weights(readings: Poses, sigmas: Array) -> Array:
    """(m, k) inverse variances, lower where a reading is unsure; 0 for missing keypoints and for those that contradict the best."""
    confidence = readings.keypoint_confidence.astype(np.float64)
    xy = np.nan_to_num(readings.keypoints_xy.astype(np.float64))
    weight = np.where(readings.visible, np.maximum(confidence, 1e-3) / sigmas[:, None] ** 2, 0.0)
    # The most certain reading of each keypoint is the measure for the others.
    best = weight.argmax(0)
    reference = xy[best, np.arange(xy.shape[1])]
    spread = np.sqrt(sigmas[:, None] ** 2 + sigmas[best] ** 2)
    far = np.sqrt(((xy - reference) ** 2).sum(-1)) > _OUTLIER_SIGMAS * spread
    return np.where(far, 0.0, weight)


def _same_sides(readings: Poses, turned: NDArray[np.bool_]) -> Poses:
    """The readings with left and right exchanged where that fits the first one clearly better."""
    flip = readings.skeleton.flip_indices
    xy = readings.keypoints_xy.astype(np.float64)
    swap = turned & (_misfit(xy[:, flip], xy[0]) * _FLIP_GAIN < _misfit(xy, xy[0]))
    if not swap.any():
        return readings
    changes = {}
    for name in ("keypoints_xy", "keypoint_confidence", "keypoint_sigma_px", "keypoint_presence", "world_xyz_m"):
        values = getattr(readings, name)
        if values is not None:
            changes[name] = np.where(swap.reshape(-1, *[1] * (values.ndim - 1)), values[:, flip], values)
    return readings.replace(**changes)


def _misfit(xy: Array, own: Array) -> Array:
    squared = ((xy - own) ** 2).sum(-1)
    known = np.isfinite(squared)
    return np.where(known, squared, 0.0).sum(1) / np.maximum(known.sum(1), 1)

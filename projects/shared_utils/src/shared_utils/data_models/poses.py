"""The people in one frame: boxes, keypoints, identities.

`Poses` is an array-of-struct container that every stage passes on. A missing keypoint is NaN with
confidence 0, never (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17, HALPE_26, Skeleton, keypoint_map

if TYPE_CHECKING:
    import supervision as sv


class Origin(IntEnum):
    """Where a pose comes from."""

    DETECTED = 0
    PREDICTED = 1
    INTERPOLATED = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class Poses:
    """n people with k keypoints in one frame. Built by keyword; indexed like a numpy array.

    Args:
        boxes_xyxy: (n, 4) float32 px, finite, x1 <= x2, y1 <= y2.
        scores: (n,) float32 0..1, confidence that this is a person.
        keypoints_xy: (n, k, 2) float32 px; NaN = missing. Points may lie outside the image.
        keypoint_confidence: (n, k) float32 0..1, that the point is visible; 0 where missing.
        skeleton: Names of the k keypoints.
        keypoint_sigma_px: (n, k) float32 px, standard deviation of each coordinate; None = not estimated.
        keypoint_presence: (n, k) float32 0..1, that the point lies inside the image, seen or not;
            None when the detector does not say.
        world_xyz_m: (n, k, 3) float32 metres, origin between the hips, x to the image's right,
            y down, z away from the camera; None when the detector gives none.
        track_ids: (n,) int64, -1 = none yet. Default: all -1.
        origin: (n,) int8 of `Origin`. Default: all detected.

    Raises:
        ValidationError: A shape, type or range is wrong; the text names the field.

    Example:
        >>> poses = Poses.empty(COCO_17)
        >>> len(poses), poses.keypoints_xy.shape
        (0, (0, 17, 2))
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    keypoints_xy: NDArray[np.float32]
    keypoint_confidence: NDArray[np.float32]
    skeleton: Skeleton
    keypoint_sigma_px: NDArray[np.float32] | None = None
    keypoint_presence: NDArray[np.float32] | None = None
    world_xyz_m: NDArray[np.float32] | None = None
    track_ids: NDArray[np.int64] = None  # type: ignore[assignment]  # filled in below
    origin: NDArray[np.int8] = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        n, k = len(self.scores), len(self.skeleton)
        if self.track_ids is None:
            object.__setattr__(self, "track_ids", np.full(n, -1, np.int64))
        if self.origin is None:
            object.__setattr__(self, "origin", np.full(n, Origin.DETECTED, np.int8))
        shapes = {
            "boxes_xyxy": (n, 4),
            "scores": (n,),
            "keypoints_xy": (n, k, 2),
            "keypoint_confidence": (n, k),
            "keypoint_sigma_px": (n, k),
            "keypoint_presence": (n, k),
            "world_xyz_m": (n, k, 3),
            "track_ids": (n,),
            "origin": (n,),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None:
                dtype = {"track_ids": np.int64, "origin": np.int8}.get(name, np.float32)
                object.__setattr__(self, name, _checked(name, value, shape, dtype))
        self._check_ranges()

    def _check_ranges(self) -> None:
        boxes = self.boxes_xyxy
        if not np.isfinite(boxes).all():
            raise ValidationError("Poses.boxes_xyxy must be finite; a person without a box is not a detection")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ValidationError("Poses.boxes_xyxy must be x1 <= x2 and y1 <= y2; got a box turned inside out (xywh?)")
        for name in ("scores", "keypoint_confidence", "keypoint_presence"):
            value = getattr(self, name)
            if value is not None and not ((value >= 0) & (value <= 1)).all():
                raise ValidationError(f"Poses.{name} must lie in 0..1 and be finite")
        missing = np.isnan(self.keypoints_xy).any(-1)
        if np.isinf(self.keypoints_xy).any():
            raise ValidationError("Poses.keypoints_xy must be finite, or NaN where missing")
        if missing.any() and (self.keypoint_confidence[missing] > 0).any():
            raise ValidationError("Poses.keypoint_confidence must be 0 where keypoints_xy is NaN (missing)")
        if not ((self.origin >= min(Origin)) & (self.origin <= max(Origin))).all():
            raise ValidationError(f"Poses.origin must be one of {[o.value for o in Origin]}")

    # --- building ---------------------------------------------------------------------------------
    @classmethod
    def empty(cls, skeleton: Skeleton) -> Poses:
        """Nobody."""
        k = len(skeleton)
        return cls(
            boxes_xyxy=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            keypoints_xy=np.zeros((0, k, 2), np.float32),
            keypoint_confidence=np.zeros((0, k), np.float32),
            skeleton=skeleton,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Poses]) -> Poses:
        """All people of several `Poses` of one skeleton, in order.

        A field that only some parts have is filled with NaN (presence with 0) for the others.

        Raises:
            ValidationError: No parts, or skeletons differ.
        """
        if not parts:
            raise ValidationError("Poses.concatenate needs at least one part; use Poses.empty(skeleton) for nobody")
        if len({p.skeleton for p in parts}) > 1:
            raise ValidationError(f"cannot concatenate skeletons {sorted({p.skeleton.name for p in parts})}; convert them first")
        values: dict[str, Any] = {"skeleton": parts[0].skeleton}
        for f in fields(cls):
            if f.name == "skeleton":
                continue
            arrays = [getattr(p, f.name) for p in parts]
            known = next((a for a in arrays if a is not None), None)
            if known is None:
                continue
            fill = 0.0 if f.name == "keypoint_presence" else np.nan
            filled = [np.full((len(p), *known.shape[1:]), fill, np.float32) if a is None else a for a, p in zip(arrays, parts, strict=True)]
            values[f.name] = np.concatenate(filled)
        return cls(**values)

    # --- reading ----------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Poses]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[Any]) -> Poses:
        """Some of the people: an index, a slice, a list of indices or an (n,) mask."""
        if isinstance(rows, int | np.integer):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"person {rows} of {len(self)}")
            rows = [int(rows)]
        chosen: Any = rows if isinstance(rows, slice) else np.asarray(rows, dtype=None if len(rows) else np.intp)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Poses(**{k: v[chosen] if isinstance(v, np.ndarray) else v for k, v in values.items()})

    def replace(self, **changes: Any) -> Poses:
        """A copy with some fields changed, validated again."""
        return replace(self, **changes)

    def keypoint(self, name: str) -> NDArray[np.float32]:
        """(n, 2) px of one named keypoint; NaN = missing."""
        return self.keypoints_xy[:, self.skeleton.index(name)]

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(n, k) true where a keypoint has a position."""
        return ~np.isnan(self.keypoints_xy).any(-1)

    @property
    def areas_px(self) -> NDArray[np.float32]:
        """(n,) box areas in px²."""
        size = self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]
        return size[:, 0] * size[:, 1]

    def masked(self, min_confidence: float) -> Poses:
        """A copy in which keypoints below `min_confidence` (0..1) are missing."""
        low = self.keypoint_confidence < min_confidence
        return replace(
            self,
            keypoints_xy=np.where(low[..., None], np.float32(np.nan), self.keypoints_xy),
            keypoint_confidence=np.where(low, np.float32(0), self.keypoint_confidence),
            world_xyz_m=None if self.world_xyz_m is None else np.where(low[..., None], np.float32(np.nan), self.world_xyz_m),
        )

    def to_skeleton(self, target: Skeleton) -> Poses:
        """The same people in another skeleton; what the source cannot give is missing.

        Example:
            >>> from shared_utils.skeletons import HALPE_26
            >>> Poses.empty(COCO_17).to_skeleton(HALPE_26).keypoints_xy.shape
            (0, 26, 2)
        """
        if target == self.skeleton:
            return self
        weights = keypoint_map(self.skeleton, target).astype(np.float32)
        # A product with weight 0 would spread NaN; gather the sources of each target instead.
        sources = [np.flatnonzero(w) for w in weights]

        def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
            nothing = np.full((len(self), *values.shape[2:]), np.nan, np.float32)
            return np.stack([values[:, s].mean(1) if len(s) else nothing for s in sources], axis=1)

        def least(values: NDArray[np.float32]) -> NDArray[np.float32]:
            nothing = np.zeros(len(self), np.float32)
            return np.stack([values[:, s].min(1) if len(s) else nothing for s in sources], axis=1)

        # Midpoint of two independent points: variances add, divided by the square of their number.
        sigma = self.keypoint_sigma_px
        return replace(
            self,
            skeleton=target,
            keypoints_xy=mean(self.keypoints_xy),
            keypoint_confidence=least(self.keypoint_confidence),
            keypoint_presence=None if self.keypoint_presence is None else least(self.keypoint_presence),
            keypoint_sigma_px=None if sigma is None else np.sqrt(mean(sigma**2) / np.array([max(len(s), 1) for s in sources], np.float32)),
            world_xyz_m=None if self.world_xyz_m is None else mean(self.world_xyz_m),
        )

    # --- other libraries --------------------------------------------------------------------------
    def to_supervision(self) -> tuple[sv.KeyPoints, sv.Detections]:
        """As supervision's key points and detections, rows in the same order.

        Missing keypoints stay NaN and are not `visible`.
        """
        import supervision as sv

        key_points = sv.KeyPoints(
            xy=self.keypoints_xy.copy(),
            keypoint_confidence=self.keypoint_confidence.copy(),
            detection_confidence=self.scores.copy(),
            visible=self.visible,
            class_id=np.zeros(len(self), int),
        )
        detections = sv.Detections(
            xyxy=self.boxes_xyxy.copy(),
            confidence=self.scores.copy(),
            class_id=np.zeros(len(self), int),
            tracker_id=self.track_ids.astype(int),
            data={"origin": self.origin.copy()},
        )
        return key_points, detections

    @classmethod
    def from_supervision(cls, key_points: sv.KeyPoints, detections: sv.Detections | None = None, *, skeleton: Skeleton) -> Poses:
        """From supervision's key points, with boxes and ids from `detections` (same rows) if given.

        Without detections a person's box is the hull of the keypoints, and a person without any
        keypoint is left out. (0, 0) is read as missing.

        Raises:
            ValidationError: Rows disagree or the number of keypoints is not the skeleton's.
        """
        if len(key_points.xy) == 0:
            return cls.empty(skeleton)
        xy = np.asarray(key_points.xy, np.float32)[..., :2]
        _check_count(xy.shape[1], skeleton)
        confidence = key_points.keypoint_confidence
        confidence = np.ones(xy.shape[:2], np.float32) if confidence is None else np.asarray(confidence, np.float32)
        visible = getattr(key_points, "visible", None)
        xy, confidence = _without_missing(xy, confidence, visible)
        scores = getattr(key_points, "detection_confidence", None)
        scores = confidence.max(1) if scores is None else np.asarray(scores, np.float32)
        if detections is None:
            return _with_hull_boxes(cls, xy, confidence, scores, skeleton)
        if len(detections) != len(xy):
            raise ValidationError(f"{len(xy)} people in key_points but {len(detections)} in detections; they must be the same rows")
        ids = detections.tracker_id
        return cls(
            boxes_xyxy=np.asarray(detections.xyxy, np.float32),
            scores=scores if detections.confidence is None else np.asarray(detections.confidence, np.float32),
            keypoints_xy=xy,
            keypoint_confidence=confidence,
            skeleton=skeleton,
            track_ids=np.full(len(xy), -1, np.int64) if ids is None else np.asarray(ids, np.int64),
            origin=np.asarray(detections.data.get("origin", np.zeros(len(xy))), np.int8),
        )

    @classmethod
    def from_ultralytics(cls, result: Any, *, skeleton: Skeleton | None = None) -> Poses:
        """From one `Results` of an ultralytics pose model.

        ultralytics writes (0, 0) for keypoints it is not sure of; these become missing.

        Args:
            result: `ultralytics.engine.results.Results` with `boxes` and `keypoints`.
            skeleton: Default: COCO-17, Halpe-26 or BlazePose-33, by the number of keypoints.

        Raises:
            ValidationError: The result has no keypoints (not a pose model), or a number of them that no
                known skeleton has.
        """
        if result.boxes is None or result.keypoints is None:
            raise ValidationError("the ultralytics result has no keypoints; use a pose model, for example yolo11n-pose")
        raw = _to_numpy(result.keypoints.data).astype(np.float32)
        boxes = _to_numpy(result.boxes.xyxy).astype(np.float32).reshape(-1, 4)
        by_count = {len(s): s for s in (COCO_17, HALPE_26, BLAZEPOSE_33)}
        if len(boxes) == 0:  # some versions then give no keypoints either, not even their number
            return cls.empty(skeleton or by_count.get(raw.shape[1], COCO_17))
        if skeleton is None:
            if raw.shape[1] not in by_count:
                raise ValidationError(f"the model gives {raw.shape[1]} keypoints; pass the skeleton that names them")
            skeleton = by_count[raw.shape[1]]
        _check_count(raw.shape[1], skeleton)
        confidence = raw[..., 2] if raw.shape[2] > 2 else np.ones(raw.shape[:2], np.float32)
        xy, confidence = _without_missing(raw[..., :2], confidence.clip(0, 1), None)
        ids = result.boxes.id
        return cls(
            boxes_xyxy=boxes,
            scores=_to_numpy(result.boxes.conf).astype(np.float32).clip(0, 1),
            keypoints_xy=xy,
            keypoint_confidence=confidence,
            skeleton=skeleton,
            track_ids=np.full(len(boxes), -1, np.int64) if ids is None else _to_numpy(ids).astype(np.int64),
        )


def _checked(name: str, value: Any, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    try:
        array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValidationError(f"Poses.{name} must be an array of {np.dtype(dtype)}: {error}") from error
    if array.shape != shape:
        raise ValidationError(f"Poses.{name} must have shape {shape}, got {array.shape}")
    return array


def _check_count(count: int, skeleton: Skeleton) -> None:
    if count != len(skeleton):
        raise ValidationError(f"the poses have {count} keypoints, {skeleton.name} has {len(skeleton)}; pass the skeleton that names them")


def _to_numpy(value: Any) -> NDArray[Any]:
    return np.asarray(value.cpu().numpy() if hasattr(value, "cpu") else value)


def _without_missing(
    xy: NDArray[np.float32], confidence: NDArray[np.float32], visible: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    missing = np.isnan(xy).any(-1) | (xy == 0).all(-1)
    if visible is not None:
        missing |= ~np.asarray(visible, bool)
    return np.where(missing[..., None], np.float32(np.nan), xy), np.where(missing, np.float32(0), confidence)


def _with_hull_boxes(
    cls: type[Poses], xy: NDArray[np.float32], confidence: NDArray[np.float32], scores: NDArray[np.float32], skeleton: Skeleton
) -> Poses:
    keep = (~np.isnan(xy).any(-1)).any(1)
    xy, confidence, scores = xy[keep], confidence[keep], scores[keep]
    boxes = np.concatenate([np.nanmin(xy, axis=1), np.nanmax(xy, axis=1)], axis=1) if len(xy) else np.zeros((0, 4), np.float32)
    return cls(boxes_xyxy=boxes, scores=scores, keypoints_xy=xy, keypoint_confidence=confidence, skeleton=skeleton)

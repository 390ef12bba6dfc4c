"""What people look like: a vector of unit length per person, from the frame; alike people have a large cosine.

`create_appearance("auto")` describes the colours of head, trunk, upper and lower legs where the detector's own keypoints say
that they are; no network is needed and 20 people cost well under a millisecond. Any other name is a ReID network in ONNX.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Poses
from shared_utils.errors import ModelError
from shared_utils.skeletons import Skeleton


class Appearance(Protocol):
    """Describes looks."""

    size: int
    """Length of the vectors."""

    def describe(self, image: NDArray[np.uint8], poses: Poses) -> NDArray[np.float64]:
        """(n, size) of unit length, one per person of `poses` in the (H, W, 3) RGB image; NaN where there is nothing to see."""
        ...


def create_appearance(model: str) -> Appearance:
    """A describer of looks by name.

    Args:
        model: "auto" for `BodyColours`; else an ONNX network, by its name in the model registry or by path.

    Raises:
        ModelError: The network is not there or cannot be used.

    Example:
        >>> create_appearance("auto").size
        112
    """
    if model == "auto":
        return BodyColours()
    from pose_analyzer.tracking.reid import ReidNetwork

    return ReidNetwork(model)


_Bone = tuple[str, str, str, float, float, float]
# Patches as (part, from, to, where they begin and end along the bone, half breadth in bone lengths).
_BONES: tuple[_Bone, ...] = (
    ("trunk", "left_shoulder", "left_hip", 0.15, 0.85, 0.12),
    ("trunk", "right_shoulder", "right_hip", 0.15, 0.85, 0.12),
    ("trunk", "left_shoulder", "right_hip", 0.2, 0.8, 0.10),
    ("trunk", "right_shoulder", "left_hip", 0.2, 0.8, 0.10),
    ("thigh", "left_hip", "left_knee", 0.15, 0.6, 0.10),
    ("thigh", "right_hip", "right_knee", 0.15, 0.6, 0.10),
    ("shank", "left_knee", "left_ankle", 0.2, 0.8, 0.06),
    ("shank", "right_knee", "right_ankle", 0.2, 0.8, 0.06),
    ("head", "left_ear", "right_ear", 0.0, 1.0, 0.5),
    ("head", "nose", "left_ear", 0.0, 1.0, 0.3),
    ("head", "nose", "right_ear", 0.0, 1.0, 0.3),
)
_PARTS = ("trunk", "thigh", "shank", "head")
_PART_WEIGHTS = np.array([0.4, 0.3, 0.15, 0.15])
_ALONG, _ACROSS = 6, 3
_LEAST_CONFIDENCE = 0.3
_HUE_BINS, _GREY_BINS = 20, 8
# A colour counts as coloured, rather than grey, by its chroma (largest minus smallest channel over the largest): half at this.
_HALF_CHROMA = 0.18


class BodyColours:
    """Colours of the clothes by body part, robust to the light.

    Of each patch, hues are counted by how coloured the pixel is, and the brightness of the rest relative to the picture's
    median. Hue and chroma do not change with the strength of the light, the ratio to the median only where the light differs
    across the picture. The square roots of the shares, weighted by part, are the vector, so that the cosine of two people is the
    Bhattacharyya coefficient of their colours. Parts that one of two does not show lower the cosine a little.

    Example:
        >>> BodyColours().size == 4 * (20 + 8)
        True
    """

    size = len(_PARTS) * (_HUE_BINS + _GREY_BINS)

    def describe(self, image: NDArray[np.uint8], poses: Poses) -> NDArray[np.float64]:
        """(n, size) of unit length; NaN for people whose trunk and thighs are not seen. See `Appearance`."""
        n = len(poses)
        if not n:
            return np.zeros((0, self.size))
        start, end, part, along, across = _bones_of(poses.skeleton)
        xy, seen = poses.keypoints_xy.astype(np.float64), poses.keypoint_confidence >= _LEAST_CONFIDENCE
        usable = seen[:, start] & seen[:, end]
        points = _patches(xy[:, start], xy[:, end], along, across)
        height, width = image.shape[:2]
        finite = np.nan_to_num(points, nan=-1.0)
        inside = (finite >= 0).all(-1) & (finite[..., 0] < width) & (finite[..., 1] < height) & usable[:, :, None]
        column = np.clip(finite[..., 0], 0, width - 1).astype(np.intp)
        row = np.clip(finite[..., 1], 0, height - 1).astype(np.intp)
        pixels = image[row, column]
        median = float(np.median(image[:: max(1, height // 48), :: max(1, width // 64)].max(-1)))
        counts = _count_colours(pixels, inside, part, median)
        shares = counts / np.maximum(counts.sum(-1, keepdims=True), 1e-9)
        looks = np.sqrt(shares * _PART_WEIGHTS[:, None]).reshape(n, -1)
        shown = counts.sum(-1) > 0
        length = np.linalg.norm(looks, axis=1, keepdims=True)
        enough = shown[:, 0] & shown[:, 1:3].any(1)
        return np.where(enough[:, None], looks / np.maximum(length, 1e-9), np.nan)


@lru_cache(maxsize=16)
def _bones_of(
    skeleton: Skeleton,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Of the b bones that a skeleton has: (b,) where they start, (b,) end, (b,) their part; (b, 6) along and (b, 3) across them."""
    bones = [b for b in _BONES if b[1] in skeleton and b[2] in skeleton]
    return (
        skeleton.indices([b[1] for b in bones]),
        skeleton.indices([b[2] for b in bones]),
        np.array([_PARTS.index(b[0]) for b in bones], np.intp),
        np.array([np.linspace(b[3], b[4], _ALONG) for b in bones]).reshape(-1, _ALONG),
        np.array([np.linspace(-b[5], b[5], _ACROSS) for b in bones]).reshape(-1, _ACROSS),
    )


def _patches(
    start: NDArray[np.float64], end: NDArray[np.float64], along: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, b, points, 2) px of a small grid along each bone from (n, b, 2) to (n, b, 2)."""
    bone = end - start
    normal = np.stack([-bone[..., 1], bone[..., 0]], axis=-1)
    grid = bone[:, :, None, None] * along[None, :, :, None, None] + normal[:, :, None, None] * across[None, :, None, :, None]
    return (start[:, :, None, None] + grid).reshape(*start.shape[:2], -1, 2)


def _count_colours(pixels: NDArray[np.uint8], valid: NDArray[np.bool_], part: NDArray[np.intp], median: float) -> NDArray[np.float64]:
    """(n, parts, hue and grey bins) weights of (n, b, points, 3) RGB pixels; b bones belong to the (b,) parts."""
    n = len(pixels)
    flat = np.ascontiguousarray(pixels.reshape(-1, 1, 3))
    hsv = cv2.cvtColor(flat.astype(np.float32) / 255, cv2.COLOR_RGB2HSV).reshape(-1, 3)
    # Sensor noise makes dark pixels colourful: what is darker than a twentieth of full scale loses its chroma.
    chroma = hsv[:, 1] * np.clip(hsv[:, 2] / 0.1, 0, 1)
    coloured = chroma**2 / (chroma**2 + _HALF_CHROMA**2)
    weight = valid.reshape(-1).astype(np.float64)
    bins = _HUE_BINS + _GREY_BINS
    offset = (np.arange(n)[:, None] * len(_PARTS) + part[None]).repeat(pixels.shape[2], axis=1).reshape(-1) * bins
    counts = np.zeros(n * len(_PARTS) * bins)
    hue = hsv[:, 0] / 360 * _HUE_BINS
    # Brightness from a quarter of the median to four times it, in equal ratios.
    grey = (np.log2(np.maximum(hsv[:, 2] * 255, 1) / max(median, 1)) + 2) / 4 * (_GREY_BINS - 1)
    for place, wraps, base, size, share in (
        (hue, True, 0, _HUE_BINS, coloured),
        (np.clip(grey, 0, _GREY_BINS - 1), False, _HUE_BINS, _GREY_BINS, 1 - coloured),
    ):
        # Each pixel is shared by the two nearest bins, so that a small change of light moves little.
        low = np.floor(place).astype(np.intp)
        part_high = place - low
        for index, part_of in ((low, 1 - part_high), (low + 1, part_high)):
            index = index % size if wraps else np.minimum(index, size - 1)
            counts += np.bincount(offset + base + index, weights=weight * share * part_of, minlength=len(counts))
    return counts.reshape(n, len(_PARTS), bins)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, d) rows brought to length 1; rows of zeros or NaN become NaN.

    Raises:
        ModelError: `vectors` is not a table of numbers.
    """
    table = np.asarray(vectors, np.float64)
    if table.ndim != 2:
        raise ModelError(f"looks must be one vector per person, got an array of shape {table.shape}")
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return np.divide(table, length, out=np.full_like(table, np.nan), where=length > 0)

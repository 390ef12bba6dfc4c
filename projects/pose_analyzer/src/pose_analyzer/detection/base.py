"""What every pose detector offers: images in, `Poses` out, a batch at a time.

A detector is anything with the members of `PoseDetector`; there is nothing to inherit from. The
function `check_images` refuses bad input with the same words in every detector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

MIN_IMAGE_PX = 16
"""Shortest image side that a detector takes, px."""


@runtime_checkable
class PoseDetector(Protocol):
    """Finds people and their keypoints in images."""

    @property
    def name(self) -> str:
        """Short name, as `create_detector` takes it."""
        ...

    @property
    def skeleton(self) -> Skeleton:
        """Names of the keypoints in every result."""
        ...

    @property
    def models(self) -> Mapping[str, str]:
        """Weight name -> sha256 of the file in use, for the record of a session."""
        ...

    def detect(self, images: Sequence[NDArray[np.uint8]], *, stream_ids: Sequence[str] | None = None) -> list[Poses]:
        """People in each image, one `Poses` per image in the same order.

        Args:
            images: (H, W, 3) uint8 RGB each; sizes may differ; an empty sequence gives an empty list.
            stream_ids: Which stream each image continues; a detector may carry state (regions from the
                frame before) per stream. An id may occur more than once, in the order of time. None =
                unrelated still images, no state is read or written.

        Raises:
            DetectorError: An image has the wrong shape or type, the counts differ, the detector is closed
                or the model fails.
        """
        ...

    def forget(self, stream_id: str) -> None:
        """Drop the state of one stream; unknown ids are fine."""
        ...

    def close(self) -> None:
        """Release the model. May be called twice; `detect` raises afterwards."""
        ...


@runtime_checkable
class FollowingDetector(PoseDetector, Protocol):
    """A detector that follows people in the whole picture once it knows of them, however it came to know."""

    def adopt(self, stream_id: str, poses: Poses, *, width_px: int, height_px: int) -> int:
        """Follow people from the stream's next image on.

        Args:
            stream_id: Of the stream; one that is not known yet begins with them.
            poses: Where they are, px of the stream's pictures.
            width_px: Of those pictures.
            height_px: Of those pictures.

        Returns:
            How many there was room for.
        """
        ...


def check_images(images: Sequence[Any], stream_ids: Sequence[str] | None) -> None:
    """Refuse what a detector cannot take.

    Args:
        images: As given to `PoseDetector.detect`.
        stream_ids: As given to `PoseDetector.detect`.

    Raises:
        DetectorError: Not a sequence of (H, W, 3) uint8 arrays of at least 16 px a side, or not one
            stream id per image.

    Example:
        >>> check_images([np.zeros((64, 48, 3), np.uint8)], ["cam"])
        >>> check_images([np.zeros((64, 48), np.uint8)], None)
        Traceback (most recent call last):
        pose_analyzer.errors.DetectorError: image 0 must be an (H, W, 3) uint8 RGB array, got uint8 (64, 48)
    """
    if isinstance(images, np.ndarray) and images.ndim == 3:
        raise DetectorError("detect takes a sequence of images; pass [image] for a single one")
    for i, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise DetectorError(f"image {i} must be an (H, W, 3) uint8 RGB array, got {got}")
        if min(image.shape[:2]) < MIN_IMAGE_PX:
            raise DetectorError(f"image {i} must be at least {MIN_IMAGE_PX} px a side, got {image.shape[1]}x{image.shape[0]}")
    if isinstance(stream_ids, str):
        raise DetectorError(f"stream_ids must be a sequence with one id per image, got the string {stream_ids!r}")
    if stream_ids is not None and len(stream_ids) != len(images):
        raise DetectorError(f"{len(images)} images but {len(stream_ids)} stream_ids; give one id per image, or None for still images")


def in_waves(count: int, stream_ids: Sequence[str] | None) -> list[list[int]]:
    """Positions of the images of one call, such that no wave has two of one stream and each stream's stay in order.

    Args:
        count: How many images there are.
        stream_ids: As given to `PoseDetector.detect`.

    Example:
        >>> in_waves(4, ["a", "b", "a", "a"])
        [[0, 1], [2], [3]]
    """
    if stream_ids is None:
        return [list(range(count))] if count else []
    waves: list[list[int]] = []
    seen: Counter[str] = Counter()
    for i, stream_id in enumerate(stream_ids):
        if seen[stream_id] == len(waves):
            waves.append([])
        waves[seen[stream_id]].append(i)
        seen[stream_id] += 1
    return waves

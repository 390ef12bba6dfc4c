"""How the camera itself moved between two frames, from what does not move: the picture without the people.

A shift, a rotation and a scale of the picture (BoT-SORT, arXiv:2206.14651, section 3.2), found on a small grey copy by
sparse optical flow, by ORB or SIFT features, or by correlation (ECC).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.settings import GmcMethod

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

_WORKING_WIDTH_PX = 320
_MIN_MATCHES = 12
_MIN_INLIER_SHARE = 0.4
# A change of size or direction beyond this between two frames is a cut, or a wrong estimate, not a camera that moves.
_MAX_SCALE = 1.3
_MAX_TURN_RAD = 0.35


class CameraMotion:
    """The camera's motion in one stream, frame by frame.

    Args:
        method: "sparseOptFlow", "orb", "sift" or "ecc".

    Example:
        >>> rng = np.random.default_rng(0)
        >>> room = cv2.resize(rng.integers(0, 255, (30, 50), np.uint8), (500, 300), interpolation=cv2.INTER_CUBIC)
        >>> camera = CameraMotion("sparseOptFlow")
        >>> for left in (40, 52):  # the camera turns right by 12 px: everything moves left
        ...     picture = np.repeat(room[20:260, left : left + 400, None], 3, axis=2)
        ...     motion = camera.update(picture, np.zeros((0, 4)))
        >>> (motion.round(1) + 0.0).tolist()
        [[1.0, 0.0, -12.0], [0.0, 1.0, 0.0]]
    """

    def __init__(self, method: GmcMethod) -> None:
        self._method: GmcMethod = method
        self._grey: NDArray[np.uint8] | None = None
        self._mask: NDArray[np.uint8] | None = None

    def update(self, image: NDArray[np.uint8], boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where the picture of the frame before lies in this one.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes_xyxy: (n, 4) px, the people, who move by themselves and are left out.

        Returns:
            (2, 3) px; the identity in the first frame and where nothing certain can be said.
        """
        height, width = image.shape[:2]
        scale = min(1.0, _WORKING_WIDTH_PX / width)
        small = cv2.resize(image, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        mask = np.full(grey.shape, 255, np.uint8)
        for x1, y1, x2, y2 in np.clip(np.asarray(boxes_xyxy) * scale, 0, 1e5).astype(int).tolist():
            mask[y1 : y2 + 1, x1 : x2 + 1] = 0
        before, before_mask, self._grey, self._mask = self._grey, self._mask, grey, mask
        if before is None or before_mask is None or before.shape != grey.shape:
            return IDENTITY.copy()
        affine = self._estimate(before, before_mask, grey, mask)
        if affine is None or not _plausible(affine):
            return IDENTITY.copy()
        affine[:, 2] /= scale
        return affine

    def _estimate(
        self, before: NDArray[np.uint8], before_mask: NDArray[np.uint8], now: NDArray[np.uint8], mask: NDArray[np.uint8]
    ) -> NDArray[np.float64] | None:
        if self._method == "ecc":
            return _by_correlation(before, now, mask)
        pairs = _by_flow(before, before_mask, now) if self._method == "sparseOptFlow" else self._by_features(before, before_mask, now, mask)
        if pairs is None or len(pairs[0]) < _MIN_MATCHES:
            return None
        # OpenCV draws RANSAC's samples from a generator of its own: the same frames give the same motion.
        cv2.setRNGSeed(0)
        affine, inliers = cv2.estimateAffinePartial2D(pairs[0], pairs[1], method=cv2.RANSAC, ransacReprojThreshold=1.5)
        if affine is None or inliers.mean() < _MIN_INLIER_SHARE:
            return None
        return np.asarray(affine, np.float64)

    def _by_features(
        self, before: NDArray[np.uint8], before_mask: NDArray[np.uint8], now: NDArray[np.uint8], mask: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        finder = cv2.ORB.create(500, fastThreshold=10) if self._method == "orb" else cv2.SIFT.create(500)
        norm = cv2.NORM_HAMMING if self._method == "orb" else cv2.NORM_L2
        points_a, marks_a = finder.detectAndCompute(before, before_mask)
        points_b, marks_b = finder.detectAndCompute(now, mask)
        if marks_a is None or marks_b is None or len(points_b) < 2:
            return None
        matches = [m for m in cv2.BFMatcher(norm).knnMatch(marks_a, marks_b, k=2) if len(m) == 2 and m[0].distance < 0.8 * m[1].distance]
        start = np.array([points_a[m.queryIdx].pt for m, _ in matches], np.float32).reshape(-1, 2)
        end = np.array([points_b[m.trainIdx].pt for m, _ in matches], np.float32).reshape(-1, 2)
        return start, end


def _by_flow(
    before: NDArray[np.uint8], before_mask: NDArray[np.uint8], now: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    corners = cv2.goodFeaturesToTrack(before, maxCorners=200, qualityLevel=0.01, minDistance=5, blockSize=3, mask=before_mask)
    if corners is None:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, None, winSize=(15, 15), maxLevel=3)  # type: ignore[call-overload]
    good = found.ravel() == 1
    return np.asarray(corners[good].reshape(-1, 2), np.float32), np.asarray(moved[good].reshape(-1, 2), np.float32)


def _by_correlation(before: NDArray[np.uint8], now: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    try:
        _, affine = cv2.findTransformECC(before, now, IDENTITY.astype(np.float32), cv2.MOTION_EUCLIDEAN, criteria, mask, 5)
    except cv2.error:  # it does not converge where there is nothing to see
        return None
    return np.asarray(affine, np.float64)


def _plausible(affine: NDArray[np.float64]) -> bool:
    scale, turn = float(np.hypot(affine[0, 0], affine[1, 0])), float(np.arctan2(affine[1, 0], affine[0, 0]))
    return bool(np.isfinite(affine).all()) and 1 / _MAX_SCALE < scale < _MAX_SCALE and abs(turn) < _MAX_TURN_RAD

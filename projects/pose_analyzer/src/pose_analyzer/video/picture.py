"""From a decoded frame to the picture that people see: RGB, upright, square pixels, one field, one size.

Angles are measured in pixels, so a picture whose pixels are not square would bend every one of them, and a picture
lying on its side is not found by any pose network.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pose_analyzer.errors import DamagedSourceError
from pose_analyzer.video.container import MAX_PIXELS

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# (a, b, c, d) as in `_display_matrix`, by Exif orientation.
_EXIF_MATRICES = {
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
_LOOK_EVERY = 25
_SANE_ASPECT = (Fraction(1, 5), Fraction(5))


class PictureConverter:
    """Turns decoded frames of one stream into RGB pictures.

    In this order: convert to RGB by the stream's own colour tags (10 bit is reduced to 8; alpha is dropped; high dynamic
    range is not tone-mapped); keep one field of an interlaced frame; widen or heighten to square pixels; rotate and
    mirror by the display matrix; fit into the stream's size with black bars should the size change on the way.

    Args:
        sample_aspect: Width of a pixel over its height; None or an absurd value counts as square.
        size: (width, height) in px of every picture; None takes that of the first one.
        max_pixels: Largest picture, px.
        exif_orientation: How a photograph lies, 1 to 8 (Exif 2.3, section 4.6.4 A); 1 is upright.

    Example:
        >>> import av
        >>> PictureConverter(Fraction(2)).rgb(av.VideoFrame(64, 48, "yuv420p")).shape
        (48, 128, 3)
    """

    def __init__(
        self,
        sample_aspect: Fraction | None = None,
        *,
        size: tuple[int, int] | None = None,
        max_pixels: int = MAX_PIXELS,
        exif_orientation: int = 1,
    ) -> None:
        sane = sample_aspect is not None and _SANE_ASPECT[0] <= sample_aspect <= _SANE_ASPECT[1]
        self._aspect = sample_aspect if sane and sample_aspect is not None else Fraction(1)
        self._reformatter = VideoReformatter()
        self._max_pixels = max_pixels
        self._exif_matrix = _EXIF_MATRICES.get(exif_orientation)
        self._matrix: tuple[int, int, int, int] | None = None
        self._has_looked, self._until_look = False, 0
        self.size = size

    def rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The picture of one frame.

        Args:
            frame: A frame in any pixel format.

        Returns:
            (H, W, 3) uint8 RGB, C-contiguous, of the stream's size.

        Raises:
            DamagedSourceError: The frame has no pixels, or more than `max_pixels`.
        """
        self.check(frame)
        # One thread: a 720p picture takes 0.3 ms, less than waking others up.
        image = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)
        if frame.interlaced_frame:
            image = _one_field(image)
        image = _square_pixels(image, self._aspect)
        image = _upright(image, self._exif_matrix or self._turn(frame))
        if self.size is None:
            self.size = (image.shape[1], image.shape[0])
        return np.ascontiguousarray(fit(image, *self.size))

    def _turn(self, frame: VideoFrame) -> tuple[int, int, int, int] | None:
        """The display matrix, which holds for a whole stream: looked for in the first frame and now and then in a key frame.

        PyAV's side data and its frame hold on to each other until Python's collector comes by; looked at in every frame, hundreds of
        MB of pictures would wait for that.
        """
        if self._until_look <= 0 and (frame.key_frame or not self._has_looked):
            self._matrix = _display_matrix(frame)
            self._has_looked, self._until_look = True, _LOOK_EVERY
        self._until_look -= 1
        return self._matrix

    def check(self, frame: VideoFrame) -> None:
        """Refuse a frame of hostile size before memory is asked for.

        Raises:
            DamagedSourceError: The frame has no pixels, or more than `max_pixels`.
        """
        stretch = max(self._aspect, 1 / self._aspect)
        if not 0 < frame.width * frame.height * stretch <= self._max_pixels:
            raise DamagedSourceError(
                f"a picture of {frame.width}x{frame.height} px is outside the limit of {self._max_pixels} px (max_pixels)"
            )


def fit(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale into width x height, keep the aspect, centre, fill with black.

    Args:
        image: (H, W, 3) uint8.
        width: Wanted width, px.
        height: Wanted height, px.

    Returns:
        (height, width, 3) uint8; the same array when nothing has to be done.

    Example:
        >>> fit(np.full((10, 10, 3), 9, np.uint8), 30, 10)[5, ::10, 0].tolist()
        [0, 9, 0]
    """
    if image.shape[1] == width and image.shape[0] == height:
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (min(width, max(1, round(image.shape[1] * scale))), min(height, max(1, round(image.shape[0] * scale))))
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = small
    return canvas


def _one_field(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The even lines, the odd ones interpolated: two moments in one picture would double a moving limb."""
    if image.shape[0] < 3:
        return image
    single = image.copy()
    even = image[0::2].astype(np.uint16)
    inner = (image.shape[0] - 1) // 2
    single[1 : 2 * inner : 2] = ((even[:inner] + even[1 : inner + 1] + 1) // 2).astype(np.uint8)
    if image.shape[0] % 2 == 0:
        single[-1] = single[-2]
    return single


def _square_pixels(image: NDArray[np.uint8], aspect: Fraction) -> NDArray[np.uint8]:
    """Stretch the shorter side, so that no detail is lost."""
    height, width = image.shape[:2]
    wanted = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return image if wanted == (width, height) else np.asarray(cv2.resize(image, wanted, interpolation=cv2.INTER_LINEAR), np.uint8)


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of the frame's display matrix: x' = a x + c y, y' = b x + d y (FFmpeg, libavutil/display.h)."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18 cannot list side data of kinds that it does not know (Exif); photographs are turned by their own tag.
        return None
    if data is None:
        return None
    values = np.frombuffer(bytes(data), np.int32)
    return None if values.size < 5 else (int(values[0]), int(values[1]), int(values[3]), int(values[4]))


def _upright(image: NDArray[np.uint8], matrix: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """Rotate and mirror to the nearest right angle."""
    if matrix is None:
        return image
    a, b, c, d = matrix
    if abs(a) + abs(d) >= abs(b) + abs(c):
        flip_x, flip_y = a < 0, d < 0
    else:
        image = image.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    return image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]

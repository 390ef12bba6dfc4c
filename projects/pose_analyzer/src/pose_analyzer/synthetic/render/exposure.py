"""From light to bytes: tone curve, low light, noise, compression, as a camera would."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.render.picture import Patch
from pose_analyzer.synthetic.spec import ImageSpec

F32 = NDArray[np.float32]

_LEVELS = 4096
_BANK = 1 << 21
_DIMMEST = 12.0


class Exposure:
    """Develops pictures of one scene.

    Args:
        image: Noise, light, compression.
        seed: Of the noise. Each frame's noise is a piece of one long sequence of normal numbers, at a place that depends on the
            frame's index only; drawing a million new ones for every frame would cost more than everything else.
    """

    def __init__(self, image: ImageSpec, seed: int) -> None:
        self.image = image
        self.seed = seed
        light = np.linspace(0.0, 1.0, _LEVELS) / (1.0 + (_DIMMEST - 1.0) * image.low_light)
        tone = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
        self.curve = (255.0 * tone**image.gamma).astype(np.float32)
        self.bytes = np.round(self.curve).astype(np.uint8)
        self.bank: F32 | None = None
        self._room: tuple[F32, NDArray[Any]] | None = None

    def develop(self, background: F32, patch: Patch | None, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB of a room with something in it; a pure function of its arguments and the seed.

        Args:
            background: (H, W, 3) linear light of the empty room. What comes of it is kept while the same array comes again.
            patch: What differs from it.
            index: Of the frame.
        """
        noisy = self.image.noise_sigma > 0 or self.image.low_light > 0
        curve = self.curve if noisy else self.bytes
        room = self._room
        if room is None or room[0] is not background:
            # One assignment, so that threads that share a scene never see half of it.
            self._room = room = background, np.take(curve, _code(background))
        value = room[1].copy()
        if patch is not None:
            value[patch.rows, patch.columns] = np.take(curve, _code(patch.light))
        picture = self._noisy(value, index) if noisy else value
        if self.image.jpeg_quality is not None:
            ok, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(self.image.jpeg_quality)])
            if ok:
                return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
        return np.asarray(picture, np.uint8)

    def _noisy(self, value: NDArray[Any], index: int) -> NDArray[np.uint8]:
        sigma, dark = self.image.noise_sigma, self.image.low_light
        noise = self._noise(index, value.size).reshape(value.shape)
        if dark:
            # Shot noise grows with the root of the light; the amplifier that a dark room needs amplifies it.
            value += noise * np.sqrt(np.float32(sigma**2 + 5.0 * dark**2) + np.float32(0.625 * dark**2) * value)
        else:
            value += noise * np.float32(sigma)
        value += np.float32(0.5)
        return np.clip(value, 0, 255, out=value).astype(np.uint8)

    def _noise(self, index: int, size: int) -> F32:
        if self.bank is None or len(self.bank) < size + _BANK:
            self.bank = np.random.default_rng((self.seed, 11)).standard_normal(size + _BANK, dtype=np.float32)
        start = int(np.random.default_rng((self.seed, 12, index)).integers(_BANK))
        return self.bank[start : start + size]


def _code(light: F32) -> NDArray[np.uint16]:
    code = light * np.float32(_LEVELS - 1)
    code += np.float32(0.5)
    return np.clip(code, 0, _LEVELS - 1, out=code).astype(np.uint16)

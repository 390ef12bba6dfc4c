"""From light to bytes: tone curve, low light, noise, compression, as a camera would."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

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

    def develop(self, light: F32, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB of linear light; a pure function of its arguments and the seed."""
        code = np.minimum(np.maximum(light * np.float32(_LEVELS - 1) + np.float32(0.5), 0), np.float32(_LEVELS - 1)).astype(np.uint16)
        sigma, dark = self.image.noise_sigma, self.image.low_light
        if sigma == 0 and dark == 0:
            picture = np.take(self.bytes, code)
        else:
            value = np.take(self.curve, code)
            # Shot noise grows with the root of the light; the amplifier that a dark room needs amplifies it.
            spread = (
                np.float32(sigma) if dark == 0 else np.sqrt(np.float32(sigma**2) + np.float32((5.0 * dark) ** 2 / 40.0) * (value + 8.0))
            )
            value += self._noise(index, value.size).reshape(value.shape) * spread
            picture = np.clip(value + np.float32(0.5), 0, 255).astype(np.uint8)
        if self.image.jpeg_quality is not None:
            ok, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(self.image.jpeg_quality)])
            if ok:
                picture = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
        return picture

    def _noise(self, index: int, size: int) -> F32:
        if self.bank is None or len(self.bank) < size + _BANK:
            self.bank = np.random.default_rng((self.seed, 11)).standard_normal(size + _BANK, dtype=np.float32)
        start = int(np.random.default_rng((self.seed, 12, index)).integers(_BANK))
        return self.bank[start : start + size]

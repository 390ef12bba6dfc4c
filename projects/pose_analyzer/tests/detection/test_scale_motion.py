"""What moves is told from noise, from known people and from a camera that turns."""

from __future__ import annotations

import numpy as np

from pose_analyzer.detection.scale.motion import MotionMap
from pose_analyzer.detection.scale.tiles import tile_grid

NOBODY = np.zeros((0, 4))
TILES = tile_grid(640, 360, 180, overlap_x=0.0, overlap_y=0.0)


def _room(seed: int, *, x: int | None = None, shift: int = 0) -> np.ndarray:
    """A textured room with sensor noise; somebody 40 px tall at x, y 200."""
    wall = np.random.default_rng(0).integers(60, 190, (360, 900, 1)).repeat(3, 2)
    image = wall[:, shift : shift + 640] + np.random.default_rng(seed).normal(0, 3, (360, 640, 3))
    if x is not None:
        image[200:240, x : x + 12] = 20
    return image.clip(0, 255).astype(np.uint8)


def _amounts(pictures: list[np.ndarray], known: np.ndarray = NOBODY) -> np.ndarray:
    motion = MotionMap()
    for picture in pictures:
        motion.update(picture, known)
    return motion.amounts(TILES)


def test_somebody_small_who_walks_is_seen_in_their_tile_only():
    amounts = _amounts([_room(i, x=400 + 3 * i) for i in range(8)])
    holds = [tile.x <= 400 < tile.x + tile.width and tile.y <= 220 < tile.y + tile.height for tile in TILES]
    assert amounts[holds].min() > 20
    assert amounts[np.logical_not(holds)].max() == 0


def test_noise_alone_is_no_motion():
    assert _amounts([_room(i) for i in range(8)]).max() == 0


def test_a_camera_that_turns_tells_nothing():
    assert _amounts([_room(i, shift=7 * i) for i in range(8)]).max() < 5


def test_known_people_do_not_count():
    known = np.array([[395.0, 195.0, 440.0, 245.0]])
    assert _amounts([_room(i, x=400 + 3 * i) for i in range(8)], known).max() == 0


def test_a_first_picture_and_a_new_size_tell_nothing():
    motion = MotionMap()
    motion.update(_room(0, x=400), NOBODY)
    assert motion.amounts(TILES).max() == 0
    motion.update(np.zeros((64, 64, 3), np.uint8), NOBODY)
    assert motion.amounts(TILES).max() == 0

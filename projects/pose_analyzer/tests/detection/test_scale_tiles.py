"""Tiles cover the picture, and what is found in one comes back to its place."""

from __future__ import annotations

import _scale_fakes as fakes
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.detection.scale.tiles import Tile, pyramid, scattered, square_around, tile_grid
from pose_analyzer.errors import DetectorError

sizes = st.integers(16, 700)


@settings(max_examples=50, deadline=None)
@given(sizes, sizes, st.integers(16, 400), st.floats(0, 0.8), st.floats(0, 0.8))
def test_every_pixel_lies_in_a_tile_and_no_tile_leaves_the_picture(width, height, side, overlap_x, overlap_y):
    seen = np.zeros((height, width), bool)
    for tile in tile_grid(width, height, side, overlap_x=overlap_x, overlap_y=overlap_y):
        assert tile.x >= 0
        assert tile.x + tile.width <= width
        assert tile.y >= 0
        assert tile.y + tile.height <= height
        assert max(tile.width, tile.height) <= side
        seen[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
    assert seen.all()


@settings(max_examples=50, deadline=None)
@given(st.integers(100, 1000), st.integers(100, 1000), st.integers(60, 300), st.data())
def test_whoever_fits_into_the_overlap_lies_wholly_in_some_tile(width, height, side, data):
    tiles = tile_grid(width, height, side, overlap_x=0.3, overlap_y=0.5)
    # A pixel less than the overlap: the tiles' corners are rounded.
    w, h = min(int(0.3 * side) - 1, width), min(int(0.5 * side) - 1, height)
    x, y = data.draw(st.integers(0, width - w)), data.draw(st.integers(0, height - h))
    assert any(t.x <= x and t.y <= y and x + w <= t.x + t.width and y + h <= t.y + t.height for t in tiles)


@pytest.mark.parametrize("zoom", [1, 2, 3, 4])
def test_a_point_found_in_an_enlarged_tile_comes_back_to_its_pixel(zoom):
    image = np.zeros((90, 120, 3), np.uint8)
    cv2.circle(image, (70, 50), 4, (255, 255, 255), -1)
    tile = Tile(50, 30, 40, 40, zoom)
    grey = tile.cut(image)[..., 0].astype(float)
    rows, columns = np.indices(grey.shape)
    x, y = (grey * columns).sum() / grey.sum(), (grey * rows).sum() / grey.sum()
    found = fakes.body(0, 0, 10).replace(keypoints_xy=np.full((1, 17, 2), (x, y)))
    assert np.allclose(tile.to_image(found).keypoints_xy, (70, 50), atol=0.05)


def test_a_box_comes_back_to_its_place():
    poses = Tile(100, 200, 50, 50, 2).to_image(fakes.body(50, 10, 40))
    assert poses.boxes_xyxy.tolist() == [[100 + 21, 205, 100 + 29, 225]]


def test_only_inner_borders_cut_people():
    tile = Tile(0, 100, 50, 50)
    boxes = np.array([[0, 110, 20, 140], [30, 110, 50, 140], [10, 100, 20, 140], [10, 110, 20, 140]], float)
    assert tile.cuts(boxes, 640, 480).tolist() == [False, True, True, False]
    assert not Tile(590, 430, 50, 50).cuts(np.array([[600, 440, 640, 480.0]]), 640, 480).any()


def test_a_picture_in_which_everybody_sought_is_large_has_no_tiles():
    assert pyramid(320, 240, reach=0.3, min_person_px=80, whole_px=320, zoom_to_px=512) == []


def test_the_finest_tiles_suit_the_least_person_and_the_coarsest_meet_the_whole_picture():
    sides = {t.side for t in pyramid(1920, 1080, reach=0.25, min_person_px=40, whole_px=1920, zoom_to_px=640)}
    assert min(sides) == 160
    assert 1920 / max(sides) < 2.8
    assert all(b == 2 * a for a, b in zip(sorted(sides), sorted(sides)[1:], strict=False))


def test_scattering_keeps_every_tile_once():
    tiles = tile_grid(1000, 500, 100)
    assert sorted(scattered(tiles), key=tiles.index) == tiles


def test_a_tile_around_somebody_at_the_border_stays_inside():
    tile = square_around(np.array([1250.0, 690.0, 1280.0, 720.0]), 100, 1280, 720, zoom_to_px=640)
    assert (tile.x + tile.width, tile.y + tile.height) == (1280, 720)


@pytest.mark.parametrize("change", [{"side_px": 8}, {"width_px": 8}, {"overlap_x": 1.0}, {"overlap_y": -0.1}])
def test_impossible_tiles_are_refused(change):
    with pytest.raises(DetectorError):
        tile_grid(**({"width_px": 100, "height_px": 100, "side_px": 50} | change))

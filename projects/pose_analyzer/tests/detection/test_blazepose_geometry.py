"""Anchors, regions and outputs of BlazePose against slow twins and arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.detection.blazepose.anchors import anchor_centres
from pose_analyzer.detection.blazepose.decode import decode_landmarks, decode_people, refine
from pose_analyzer.detection.blazepose.regions import Region, RegionSmoother

px = st.floats(-500, 1500)
regions = st.builds(Region, px, px, st.floats(20, 900), st.floats(-math.pi, math.pi))


def _slow_anchors() -> list[tuple[float, float]]:
    """SSD's anchor generation as published: layer by layer, cell by cell, one per aspect ratio and the extra one."""
    strides = [8, 16, 32, 32, 32]
    out = []
    layer = 0
    while layer < len(strides):
        shapes = []
        last = layer
        while last < len(strides) and strides[last] == strides[layer]:
            shapes += ["aspect ratio 1", "interpolated scale"]
            last += 1
        cells = math.ceil(224 / strides[layer])
        for row in range(cells):
            for column in range(cells):
                out += [((column + 0.5) / cells, (row + 0.5) / cells)] * len(shapes)
        layer = last
    return out


def test_anchors_are_those_of_the_loop():
    expected = _slow_anchors()
    assert len(expected) == 28 * 28 * 2 + 14 * 14 * 2 + 7 * 7 * 6 == 2254
    np.testing.assert_allclose(anchor_centres(), expected, rtol=1e-6)


def test_anchors_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        anchor_centres()[0] = 0


@pytest.mark.parametrize(
    ("scale_point", "size_px", "rotation_deg"),
    [
        ((100, 60), 100.0, 0.0),  # head above the hips: upright
        ((140, 100), 100.0, 90.0),  # head to the right: a quarter turn clockwise
        ((60, 100), 100.0, -90.0),  # head to the left
        ((100, 140), 100.0, -180.0),  # upside down
        ((130, 60), 125.0, 36.8699),  # a 3-4-5 triangle
    ],
)
def test_region_from_two_points_by_hand(scale_point, size_px, rotation_deg):
    region = Region.from_points((100.0, 100.0), scale_point)
    assert (region.x_px, region.y_px) == (100.0, 100.0)
    assert region.size_px == pytest.approx(size_px)
    assert math.degrees(region.rotation_rad) == pytest.approx(rotation_deg, abs=1e-3)


@given(px, px, px, px)
def test_rotation_stays_within_one_turn(x0, y0, x1, y1):
    assert -math.pi <= Region.from_points((x0, y0), (x1, y1)).rotation_rad <= math.pi


def test_a_region_of_the_output_size_is_copied_exactly():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    out = np.zeros_like(image)
    Region(32.0, 32.0, 64.0, 0.0).crop(image, out, replicate=True)
    np.testing.assert_array_equal(out, image)


def test_a_quarter_turn_turns_the_picture():
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    out = np.zeros_like(image)
    Region(32.0, 32.0, 64.0, math.pi / 2).crop(image, out, replicate=True)
    # The region's up points to the image's right, so that row v shows column 64 - v.
    np.testing.assert_array_equal(out[1:], image[:, ::-1].transpose(1, 0, 2)[:-1])


@pytest.mark.parametrize(("replicate", "outside"), [(True, 200), (False, 0)])
def test_outside_the_image_lies_its_border_or_black(replicate, outside):
    image = np.full((40, 80, 3), 200, np.uint8)
    out = np.full((80, 80, 3), 77, np.uint8)
    Region.around(80, 40).crop(image, out, replicate=replicate)
    assert (out[40] == 200).all()
    assert (out[2] == outside).all()
    assert (out[77] == outside).all()


@given(regions)
@settings(max_examples=25, deadline=None)
def test_a_dot_is_found_where_the_region_says(region):
    """The picture and the points go by one mapping: a dot seen in the crop lies where it was drawn."""
    image = np.zeros((400, 600, 3), np.uint8)
    where = np.array([0.35, 0.6])
    x, y = region.to_image(where)
    cell = max(region.size_px / 256, 1.0)
    rows, columns = np.mgrid[0:400, 0:600]
    near = np.hypot(columns - x, rows - y) <= 2 * cell
    image[near] = 255
    out = np.zeros((256, 256, 3), np.uint8)
    region.crop(image, out, replicate=False)
    if not (20 * cell < x < 600 - 20 * cell and 20 * cell < y < 400 - 20 * cell):
        return
    v, u = np.argwhere(out[..., 0] > 127).mean(0)
    np.testing.assert_allclose([u / 256, v / 256], where, atol=1.5 * cell / region.size_px + 0.5 / 256)


@given(regions, st.floats(-1, 2), st.floats(-1, 2))
def test_projection_equals_the_written_out_rotation(region, u, v):
    a, b = (u - 0.5) * region.size_px, (v - 0.5) * region.size_px
    cos, sin = math.cos(region.rotation_rad), math.sin(region.rotation_rad)
    expected = [region.x_px + a * cos - b * sin, region.y_px + a * sin + b * cos]
    np.testing.assert_allclose(region.to_image(np.array([u, v])), expected, atol=1e-9)
    np.testing.assert_allclose(region.turn(np.array([a, b, 7.0])), [a * cos - b * sin, a * sin + b * cos, 7.0], atol=1e-9)


@given(st.integers(16, 4000), st.integers(16, 4000))
def test_tiles_cover_the_image_and_overlap(width, height):
    tiles = Region.tiles(width, height)
    side, length = sorted((width, height))
    if side == length:
        assert tiles == []
        return
    centres = [t.x_px if width > height else t.y_px for t in tiles]
    assert all(t.size_px == side for t in tiles)
    assert centres[0] - side / 2 == pytest.approx(0)
    assert centres[-1] + side / 2 == pytest.approx(length)
    assert (np.diff(centres) <= side * 2 / 3 + 1e-6).all()


# --- steadying of the region -----------------------------------------------------------------------


def _slow_one_euro(samples: list[float], diameters: list[float]) -> list[float]:
    """G. Casiez et al. 2012, algorithm 1, at 30000.3 Hz / 1000, speeds in diameters per second."""

    def alpha(cutoff, period):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / period)

    period, out, speed = 33333e-6, [samples[0]], 0.0
    for previous, sample, diameter in zip(samples, samples[1:], diameters[1:], strict=False):
        raw = (sample - previous) / diameter / period
        speed += alpha(1.0, period) * (raw - speed)
        cutoff = 0.01 + 10 * abs(speed)
        out.append(out[-1] + alpha(cutoff, period) * (sample - out[-1]))
    return out


@given(st.integers(0, 10_000))
def test_the_smoother_is_a_one_euro_filter(seed):
    rng = np.random.default_rng(seed)
    track = np.array([300.0, 200.0, 310.0, 90.0]) + rng.normal(0, 4, (20, 4)).cumsum(0)
    diameters = [2 * math.hypot(r[2] - r[0], r[3] - r[1]) for r in track]
    smoother = RegionSmoother()
    got = np.array([smoother.update(tuple(r)) for r in track.tolist()])
    expected = np.array([_slow_one_euro(track[:, k].tolist(), diameters) for k in range(4)]).T
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_a_region_without_size_is_not_steadied():
    assert RegionSmoother().update((5.0, 5.0, 5.0, 5.0)) == (5.0, 5.0, 5.0, 5.0)


# --- heat maps -------------------------------------------------------------------------------------


def _slow_refine(points: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """RefineLandmarksFromHeatmapCalculator as MediaPipe computes it, its habits at the border included."""
    out = points.copy()
    for k, (x, y) in enumerate(points):
        column, row = int(x * 64), int(y * 64)
        if column < 0 or column >= 64 or row < 0:
            continue
        total = weighted_column = weighted_row = hottest = 0.0
        for r in range(max(0, row - 4), min(64, row + 5)):
            for c in range(max(0, column - 4), min(64, column + 5)):
                confidence = 1 / (1 + math.exp(-float(heat[r, c, k])))
                total += confidence
                hottest = max(hottest, confidence)
                weighted_column += c * confidence
                weighted_row += r * confidence
        if hottest >= 0.5 and total > 0:
            out[k] = weighted_column / total / 64, weighted_row / total / 64
    return out


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_refinement_equals_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    heat = rng.normal(-4, 2.5, (64, 64, 39)).astype(np.float32)
    points = rng.uniform(-0.1, 1.15, (39, 2))
    points[:6] = [(0.0, 0.0), (0.999, 0.999), (-0.01, 0.5), (0.5, -0.01), (0.5, 1.03), (1.03, 0.5)]
    np.testing.assert_allclose(refine(points, heat), _slow_refine(points, heat), atol=2e-6)


def test_a_cold_map_changes_nothing():
    points = np.random.default_rng(0).uniform(0, 1, (35, 2))
    np.testing.assert_array_equal(refine(points, np.full((64, 64, 39), -3.0, np.float32)), points)


def test_a_point_that_is_no_number_stays_one_and_harms_no_other():
    heat = np.full((64, 64, 39), -20.0, np.float32)
    heat[10, 12] = 20.0
    points = np.array([[0.2, 0.15], [np.nan, 0.5], [np.inf, 0.5], [0.2, 0.15]])
    refined = refine(points, heat)
    np.testing.assert_allclose(refined[[0, 3]] * 64, [[12, 10]] * 2, atol=1e-4)
    assert np.isnan(refined[1, 0])
    assert np.isinf(refined[2, 0])


# --- outputs ---------------------------------------------------------------------------------------


def _raw_people(*people: tuple[int, float, tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    boxes, logits = np.zeros((2254, 12), np.float32), np.full(2254, -10.0, np.float32)
    for row, logit, values in people:
        boxes[row], logits[row] = values, logit
    return boxes, logits


def test_a_detection_by_hand():
    """Anchor 1000 is cell 500 of the first layer: column 24, row 17 of 28 with 8 px each."""
    shift = (8.0, -4.0, 40.0, 60.0, 0.0, 28.0, 0.0, -28.0, 0.0, 0.0, 0.0, 0.0)
    boxes, logits = _raw_people((1000, 2.0, shift))
    [person] = decode_people(boxes, logits, Region.around(448, 224), min_score=0.5)
    assert person.score == pytest.approx(1 / (1 + math.exp(-2.0)))
    # The input is 224 px for 448 px of the image, which is centred at y = 112.
    x, y = 2 * (24.5 * 8), 2 * (17.5 * 8 + 28) - 112
    assert (person.region.x_px, person.region.y_px) == (pytest.approx(x, abs=1e-3), pytest.approx(y, abs=1e-3))
    # The second point lies 56 px above in the input: 112 px in the image, twice that for the diameter, 1.25 for the margin.
    assert person.region.size_px == pytest.approx(2 * 112 * 1.25, abs=1e-3)
    assert person.region.rotation_rad == pytest.approx(0.0, abs=1e-6)


def test_detections_below_the_threshold_or_out_of_their_mind_are_nobody():
    body = (0.0, 0.0, 40.0, 60.0, 0.0, 20.0, 0.0, -20.0, 0.0, 0.0, 0.0, 0.0)
    weak = _raw_people((10, -0.01, body))
    insane = _raw_people((10, 3.0, (0.0, 0.0, -40.0, 60.0, *body[4:])), (20, 3.0, (np.nan, *body[1:])), (30, np.nan, body))
    pointless = _raw_people((10, 3.0, (*body[:4], *[0.0] * 8)))
    for boxes, logits in (weak, insane, pointless):
        assert decode_people(boxes, logits, Region.around(224, 224), min_score=0.5) == []


def test_detections_come_best_first_and_overlapping_ones_are_one():
    body = (0.0, 0.0, 40.0, 60.0, 0.0, 20.0, 0.0, -20.0, 0.0, 0.0, 0.0, 0.0)
    boxes, logits = _raw_people((100, 1.0, body), (101, 0.5, body), (1400, 3.0, body))
    people = decode_people(boxes, logits, Region.around(224, 224), min_score=0.5)
    assert [round(p.score, 4) for p in people] == [0.9526, 0.7311]


def _raw_landmarks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    raw = np.zeros((39, 5), np.float32)
    raw[:, :2] = 128.0
    raw[33, :2], raw[34, :2] = (128.0, 128.0), (128.0, 64.0)
    return raw, np.full((64, 64, 39), -9.0, np.float32), np.tile(np.array([0.1, 0.2, 0.3], np.float32), 39)


def test_landmarks_by_hand():
    raw, heat, world = _raw_landmarks()
    raw[5] = (192.0, 64.0, 0.0, 2.0, -2.0)
    found = decode_landmarks(raw.ravel(), 0.9, heat, world, Region(100.0, 50.0, 200.0, 0.0))
    np.testing.assert_allclose(found.xy_px[5], (150.0, 0.0), atol=1e-4)
    assert found.visibility[5] == pytest.approx(1 / (1 + math.exp(-2)))
    assert found.presence[5] == pytest.approx(1 / (1 + math.exp(2)))
    assert found.span_px == pytest.approx((100.0, 50.0, 100.0, 0.0), abs=1e-4)
    np.testing.assert_allclose(found.world_xyz_m[0], (0.1, 0.2, 0.3), atol=1e-6)


def test_world_landmarks_turn_with_the_region():
    raw, heat, world = _raw_landmarks()
    found = decode_landmarks(raw.ravel(), 0.9, heat, world, Region(0.0, 0.0, 10.0, math.pi / 2))
    np.testing.assert_allclose(found.world_xyz_m[0], (-0.2, 0.1, 0.3), atol=1e-6)


@pytest.mark.parametrize("field", range(5))
def test_an_output_that_is_no_number_is_a_missing_landmark(field):
    raw, heat, world = _raw_landmarks()
    raw[7, field] = np.nan if field != 2 else 0.0
    if field == 2:
        world[7 * 3] = np.inf
    found = decode_landmarks(raw.ravel(), 0.9, heat, world, Region(0.0, 0.0, 10.0, 0.0))
    missing = np.isnan(found.xy_px).any(1)
    assert missing.tolist() == [k == 7 for k in range(33)]
    assert found.visibility[7] == found.presence[7] == 0
    assert np.isnan(found.world_xyz_m[7]).all()
    assert found.score == 0.9


def test_a_person_without_any_landmark_is_nobody():
    raw, heat, world = _raw_landmarks()
    raw[:] = np.nan
    assert decode_landmarks(raw.ravel(), 0.9, heat, world, Region(0.0, 0.0, 10.0, 0.0)).score == 0.0

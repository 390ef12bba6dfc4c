"""Ray and round cone: the fast formulas against a slow, obvious twin.

The twin knows one thing only: a round cone is the union of the balls between its two ends. It meets each of several thousand
balls with the ray, one after the other, in the primitive's own frame.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.synthetic.camera import Camera, look_at
from pose_analyzer.synthetic.render.layer import render_layer
from pose_analyzer.synthetic.render.primitives import Primitives, first_hits, image_bounds
from pose_analyzer.synthetic.shape import Builder

GREY = np.full(3, 0.5)


def one(start, end, r0, r1, flat=(1.0, 1.0), open_end=False):
    b = Builder(1.0)
    if tuple(start) == tuple(end):
        b.ellipsoid(0, start, (r0 * flat[0], r0 * flat[1], r0), GREY)
    else:
        b.cone(0, start, end, r0, r1, GREY, flat=flat, open_end=open_end)
    return b.primitives(0)


def slow_hit(p: Primitives, direction: np.ndarray, balls: int = 4001) -> float:
    """Nearest of many balls met by the ray from the origin, in scalars."""
    o = -p.inverse[0] @ p.centre[0]
    d = p.inverse[0] @ direction
    best = math.inf
    for i in range(balls):
        share = i / (balls - 1)
        centre = np.array([0.0, 0.0, share * p.length[0]])
        radius = p.r0[0] + share * (p.r1[0] - p.r0[0])
        m = o - centre
        a, b, c = d @ d, m @ d, m @ m - radius * radius
        inside = b * b - a * c
        if inside >= 0:
            t = (-b - math.sqrt(inside)) / a
            if 0 < t < best:
                best = t
    return best


coordinate = st.floats(-0.4, 0.4)


@given(
    start=st.tuples(coordinate, coordinate, st.floats(2.5, 3.5)),
    reach=st.tuples(coordinate, coordinate, coordinate),
    r0=st.floats(0.02, 0.15),
    ratio=st.floats(0.4, 1.0),
    flat=st.tuples(st.floats(0.4, 1.3), st.floats(0.4, 1.3)),
    aim=st.tuples(st.floats(-0.12, 0.12), st.floats(-0.12, 0.12), st.floats(0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_hits_agree_with_the_union_of_balls(start, reach, r0, ratio, flat, aim):
    length = math.sqrt(sum(x * x for x in reach))
    if length < 0.05 or abs(r0 * (1 - ratio)) > 0.9 * length:
        return  # the one sphere holds the other: not a cone
    end = np.array(start) + reach
    p = one(start, end, r0, r0 * ratio, flat)
    target = np.array(start) + aim[2] * np.array(reach) + [aim[0], aim[1], 0.0]
    direction = target / target[2]
    fast, slow = float(first_hits(p, direction[None])[0, 0]), slow_hit(p, direction)
    if math.isinf(slow) or math.isinf(fast):
        # At the very rim the finite number of balls leaves notches.
        nudged = [slow_hit(p, direction + np.array([dx, dy, 0.0]), 801) for dx in (-1e-3, 1e-3) for dy in (-1e-3, 1e-3)]
        assert math.isinf(slow) == math.isinf(fast) or any(math.isinf(n) for n in nudged)
    else:
        assert fast == pytest.approx(slow, abs=2e-5)


def test_an_ellipsoid_is_met_where_the_equation_says():
    b = Builder(1.0)
    b.ellipsoid(0, (0.0, 0.0, 3.0), (0.2, 0.3, 0.1), GREY)
    p = b.primitives(0)
    hits = first_hits(p, np.array([[0.0, 0.0, 1.0], [0.3, 0.0, 1.0]]))
    assert hits[0, 0] == pytest.approx(2.9)
    assert math.isinf(hits[1, 0])


def test_an_open_end_lets_the_ray_through_where_the_cap_was():
    start, end = (0.0, 0.0, 3.0), (0.0, 0.4, 3.0)
    ray = np.array([[0.0, 0.45 / 3.0, 1.0]])
    assert np.isfinite(first_hits(one(start, end, 0.1, 0.1), ray)).all()
    assert np.isinf(first_hits(one(start, end, 0.1, 0.1, open_end=True), ray)).all()


def test_nothing_behind_the_camera_is_hit():
    assert np.isinf(first_hits(one((0, 0, -3.0), (0, 0.3, -3.0), 0.1, 0.1), np.array([[0.0, 0.0, 1.0]]))).all()


@given(
    start=st.tuples(coordinate, coordinate, st.floats(1.5, 4)),
    reach=st.tuples(coordinate, coordinate, coordinate),
    r=st.tuples(st.floats(0.02, 0.2), st.floats(0.02, 0.2)),
    flat=st.tuples(st.floats(0.3, 1.5), st.floats(0.3, 1.5)),
)
@settings(max_examples=60, deadline=None)
def test_bounds_hold_every_surface_point_and_no_room_to_spare(start, reach, r, flat):
    if math.sqrt(sum(x * x for x in reach)) < 0.05:
        return
    p = one(start, np.array(start) + reach, *r, flat)
    x1, y1, x2, y2 = image_bounds(p)[0]
    angles = np.linspace(0, 2 * np.pi, 60)
    heights = np.linspace(-1, 1, 61)
    ring = np.sqrt(1 - heights**2)
    sphere = np.stack([np.outer(ring, np.cos(angles)), np.outer(ring, np.sin(angles)), np.outer(heights, np.ones(60))], -1).reshape(-1, 3)
    local = np.concatenate([sphere * p.r0[0], sphere * p.r1[0] + [0, 0, p.length[0]]])
    surface = p.centre[0] + local @ p.basis[0].T
    xy = surface[:, :2] / surface[:, 2:]
    assert (xy >= np.array([x1, y1]) - 1e-9).all()
    assert (xy <= np.array([x2, y2]) + 1e-9).all()
    slack = np.array([x1, y1, x2, y2]) - [*xy.min(0), *xy.max(0)]
    assert np.abs(slack).max() < 0.004


def test_the_z_buffer_shows_what_the_rays_meet():
    b = Builder(1.0)
    random = np.random.default_rng(5)
    for _ in range(12):
        start = random.uniform([-0.8, -0.5, 3], [0.8, 0.5, 4.5])
        b.cone(0, start, start + random.uniform(-0.5, 0.5, 3), random.uniform(0.05, 0.2), random.uniform(0.05, 0.2), GREY, flat=(0.8, 1.1))
        b.ellipsoid(0, random.uniform([-0.8, -0.5, 3], [0.8, 0.5, 4.5]), (0.1, 0.2, 0.15), GREY)
    p = b.primitives(0)
    # A camera in its own frame, high above any floor.
    camera = Camera(np.array([0.0, 0.0, 100.0]), np.eye(3), 150.0, 160, 120)
    layer = render_layer(p, camera)
    h, w = layer.index.shape
    rows, columns = np.mgrid[layer.y : layer.y + h, layer.x : layer.x + w]
    rays = np.stack([(columns + 0.5 - 80) / 150, (rows + 0.5 - 60) / 150, np.ones_like(rows)], -1).reshape(-1, 3)
    exact = first_hits(p, rays)
    nearest, which = exact.min(1).reshape(h, w), exact.argmin(1).reshape(h, w)
    both = np.isfinite(nearest) & np.isfinite(layer.depth)
    assert (np.isfinite(nearest) == np.isfinite(layer.depth)).mean() > 0.9995
    assert np.abs(layer.depth[both] - nearest[both]).max() < 1e-3
    assert (layer.index[both] == which[both]).mean() > 0.998


def test_what_lies_below_the_floor_is_not_seen():
    b = Builder(1.0)
    b.ellipsoid(0, (0.0, 0.0, 0.0), (0.2, 0.2, 0.2), GREY)
    camera = look_at((0, 0, 0), azimuth_deg=0, elevation_deg=5, distance_m=3, fov_deg=30, width=120, height=120)
    seen = b.primitives(0).moved(camera.rotation, -camera.rotation @ camera.position)
    layer = render_layer(seen, camera)
    centre = camera.project(np.zeros(3))
    x1, y1, x2, y2 = layer.boxes[0]
    # The upper half is there, the lower is not.
    assert centre[1] - y1 > 10
    assert y2 - centre[1] < 5
    assert x2 - x1 > 20

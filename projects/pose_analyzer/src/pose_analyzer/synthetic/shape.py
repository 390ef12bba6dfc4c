"""The look of a body: round cones on segments, dressed. About sixty primitives for one person.

Measures are shares of stature, from the outlines of an average adult in Drillis and Contini's breadths (chest 0.174, hips
0.191, shoulders 0.259, foot 0.152); girths scale with the body's build.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import SIDES, SIGN, Dimensions, Segment
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.render.primitives import Primitives
from pose_analyzer.synthetic.rotations import hanging
from pose_analyzer.synthetic.spec import BodySpec

Array = NDArray[np.float64]
Point = Sequence[float]


def linear_colour(colour: str) -> Array:
    """(3,) linear light 0..1 of `#rrggbb` (sRGB transfer curve).

    Example:
        >>> linear_colour("#ffffff").tolist()
        [1.0, 1.0, 1.0]
    """
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


class Builder:
    """Collects round cones given by their ends in segments' frames; lengths in units of `scale` metres."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.rows: list[tuple[object, ...]] = []

    def cone(
        self,
        segment: int,
        start: Point,
        end: Point,
        r0: float,
        r1: float,
        colour: Array,
        *,
        flat: tuple[float, float] = (1.0, 1.0),
        far: Array | None = None,
        split: float = np.inf,
        gloss: float = 0.02,
        open_end: bool = False,
    ) -> None:
        """Adds a round cone.

        Args:
            segment: Whose frame it lives in.
            start: Centre of its first sphere.
            end: Centre of its second.
            r0: Radius of the first.
            r1: Radius of the second.
            colour: Linear light.
            flat: Factors on its radii along the local x (near forward) and y axes.
            far: Colour beyond `split` of the way from start to end.
            split: Share of the way, may lie outside 0..1.
            gloss: Strength of highlights.
            open_end: Without the second sphere, as a sleeve.
        """
        a, b = np.asarray(start, float), np.asarray(end, float)
        length = float(np.linalg.norm(b - a))
        axes = (
            np.eye(3)
            if length == 0
            else hanging(a - b, np.array([1.0, 0.0, 0.0]) if abs((b - a)[0]) < 0.8 * length else np.array([0.0, 0.0, 1.0]))
        )
        basis = axes * np.array([flat[0], flat[1], 1.0]) * self.scale
        self._add(segment, a, basis, length, (r0, r1, open_end), (colour, far), split * length, gloss)

    def ellipsoid(
        self,
        segment: int,
        centre: Point,
        half: tuple[float, float, float],
        colour: Array,
        *,
        axes: Array | None = None,
        far: Array | None = None,
        split: float = np.inf,
        gloss: float = 0.02,
    ) -> None:
        """Adds an ellipsoid with half axes along the segment's axes (or along the columns of `axes`); `far` beyond `split` half axes up."""
        basis = (np.eye(3) if axes is None else axes) * np.asarray(half) * self.scale
        self._add(segment, np.asarray(centre, float), basis, 0.0, (1.0, 1.0, False), (colour, far), split, gloss)

    def _add(
        self,
        segment: int,
        centre: Array,
        basis: Array,
        length: float,
        ends: tuple[float, float, bool],
        colours: tuple[Array, Array | None],
        split: float,
        gloss: float,
    ) -> None:
        # A split at infinity never shows; keep it finite for float32.
        split = float(np.clip(split, -1e3, 1e3))
        near, far = colours[0], colours[0] if colours[1] is None else colours[1]
        self.rows.append((centre * self.scale, basis, np.linalg.inv(basis), length, *ends, near, far, split, gloss, segment))

    def primitives(self, person: int) -> Primitives:
        """All of them, in their segments' frames."""
        columns = list(zip(*self.rows, strict=True))
        arrays: list[Any] = [np.array(c, np.bool_ if isinstance(c[0], bool) else np.float64) for c in columns[:-1]]
        return Primitives(*arrays, segment=np.array(columns[-1], np.intp), person=np.full(len(self.rows), person, np.intp))


def posed(local: Primitives, figure: Figure) -> Primitives:
    """A body's primitives in the world, for one posture."""
    return local.moved(figure.rotation[local.segment], figure.origin[local.segment])


def body_shape(body: BodySpec, lengths: Dimensions, *, fists: bool, person: int = 0) -> Primitives:
    """A dressed body in its segments' frames.

    Args:
        body: Looks.
        lengths: Measures.
        fists: Closed hands, for holding something.
        person: Index of the athlete.
    """
    b = Builder(lengths.height)
    wear = _Wardrobe(body)
    h = lengths.height
    _trunk(b, lengths, wear, body.build**0.9, lengths.hip_half / (0.049 * h), lengths.shoulder_half / (0.102 * h))
    _head(b, wear, body.hair_style)
    for side in SIDES:
        _arm(b, side, lengths, wear, body.build**0.8)
        _hand(b, side, lengths, wear, fists)
        _leg(b, side, lengths, wear, body.build**0.8)
        _foot(b, side, lengths, wear)
    return b.primitives(person)


class _Wardrobe:
    def __init__(self, body: BodySpec) -> None:
        self.skin, self.hair, self.shirt = linear_colour(body.skin), linear_colour(body.hair), linear_colour(body.shirt)
        self.bottoms, self.shoes, self.socks = linear_colour(body.bottoms), linear_colour(body.shoes), linear_colour(body.socks)
        self.lips = self.skin * np.array([0.80, 0.48, 0.46])
        self.white, self.iris = linear_colour("#f3f1ee"), linear_colour("#33261d")
        self.sole = linear_colour("#f4f4f0") if self.shoes.mean() < 0.4 else linear_colour("#55585e")
        self.sleeves, self.legwear = body.sleeves, body.legwear


def _trunk(b: Builder, d: Dimensions, w: _Wardrobe, g: float, hips: float, shoulders: float) -> None:
    s, h = Segment, d.height
    abdomen, thorax = d.abdomen / h, d.thorax / h
    b.ellipsoid(s.PELVIS, (-0.004, 0, 0.006), (0.062 * g, 0.091 * g * hips, 0.066), w.bottoms)
    for side in SIDES:
        b.ellipsoid(s.PELVIS, (-0.024, SIGN[side] * 0.041 * hips, -0.014), (0.044 * g, 0.046 * g, 0.052), w.bottoms)
    # The shirt hangs over the hips.
    b.cone(s.PELVIS, (-0.002, 0, 0.080), (-0.004, 0, 0.004), 0.0840 * g, 0.0945 * g * hips, w.shirt, flat=(0.73, 1.0), open_end=True)
    b.cone(s.ABDOMEN, (0, 0, -0.010), (0, 0, abdomen), 0.0845 * g, 0.0820 * g, w.shirt, flat=(0.71, 1.0))
    b.cone(s.THORAX, (-0.002, 0, 0.0), (-0.007, 0, thorax * 0.62), 0.0815 * g, 0.0900 * g * shoulders, w.shirt, flat=(0.71, 1.0))
    b.ellipsoid(s.THORAX, (0.000, 0, thorax * 0.66), (0.0610 * g, 0.0975 * g * shoulders, 0.0620), w.shirt)
    # The shirt closes high at the back of the neck.
    b.ellipsoid(s.THORAX, (-0.020, 0, thorax + 0.006), (0.0300, 0.0520, 0.0300), w.shirt)
    for side in SIDES:
        y = SIGN[side] * shoulders
        b.ellipsoid(s.THORAX, (0.025, y * 0.039, thorax * 0.64), (0.0375 * g, 0.0540, 0.0440), w.shirt)
        # From the neck over the slope of the shoulder to the shoulder joint.
        b.cone(s.THORAX, (-0.010, y * 0.014, thorax + 0.022), (-0.004, y * 0.084, thorax - 0.004), 0.0250 * g, 0.0330 * g, w.shirt)
    b.cone(s.NECK, (-0.010, 0, -0.012), (-0.001, 0, d.neck / h + 0.004), 0.0350 * g**0.5, 0.0310, w.skin)
    b.ellipsoid(s.NECK, (-0.004, 0, 0.012), (0.0415 * g**0.5, 0.0435 * g**0.5, 0.0140), w.shirt * 0.85)


def _head(b: Builder, w: _Wardrobe, style: str) -> None:
    s = Segment.HEAD
    warm = w.skin * np.array([1.0, 0.93, 0.91])
    b.ellipsoid(s, (-0.006, 0, 0.052), (0.0555, 0.0430, 0.050), w.skin, gloss=0.05)
    b.ellipsoid(s, (0.010, 0, 0.020), (0.0395, 0.0370, 0.0430), w.skin, gloss=0.05)
    b.cone(s, (0.010, 0, 0.010), (0.0290, 0, -0.0110), 0.0330, 0.0185, w.skin, flat=(0.98, 0.98), gloss=0.05)
    b.cone(s, (0.0475, 0, 0.0395), (0.0545, 0, 0.0210), 0.0048, 0.0070, warm, gloss=0.08)
    b.ellipsoid(s, (0.0445, 0, -0.0008), (0.0046, 0.0140, 0.0042), w.lips)
    for side in SIDES:
        y = SIGN[side]
        b.ellipsoid(s, (0.0418, y * 0.0180, 0.0375), (0.0060, 0.0086, 0.0044), w.white, gloss=0.2)
        b.ellipsoid(s, (0.0452, y * 0.0180, 0.0375), (0.0036, 0.0042, 0.0044), w.iris, gloss=0.3)
        b.cone(s, (0.0475, y * 0.0090, 0.0465), (0.0425, y * 0.0275, 0.0470), 0.0026, 0.0021, w.hair * 0.9)
        b.ellipsoid(s, (-0.002, y * 0.0435, 0.0270), (0.0105, 0.0050, 0.0165), warm)
        b.ellipsoid(s, (0.0225, y * 0.0190, 0.0190), (0.0205, 0.0170, 0.0190), w.skin, gloss=0.05)
    if style != "none":
        b.ellipsoid(s, (-0.0125, 0, 0.0615), (0.0572, 0.0475, 0.0460), w.hair, gloss=0.08)
        b.ellipsoid(s, (-0.0230, 0, 0.0390), (0.0450, 0.0455, 0.0500), w.hair, gloss=0.08)
    if style == "bun":
        b.ellipsoid(s, (-0.0680, 0, 0.0800), (0.0230, 0.0230, 0.0220), w.hair, gloss=0.10)
    if style == "long":
        # A tail; hair that covers the nape looks like a bearded face to pose networks, which then take the back for the front.
        b.cone(s, (-0.0640, 0, 0.0700), (-0.0800, 0, -0.0400), 0.0170, 0.0120, w.hair, gloss=0.08)


def _arm(b: Builder, side: int, d: Dimensions, w: _Wardrobe, g: float) -> None:
    upper, fore = Segment.LEFT_UPPER_ARM + side, Segment.LEFT_FOREARM + side
    lu, lf = d.upper_arm / d.height, d.forearm / d.height
    sleeve = {"none": w.skin, "short": w.shirt, "long": w.shirt}[w.sleeves]
    lower = w.shirt if w.sleeves == "long" else w.skin
    b.ellipsoid(upper, (0, SIGN[side] * 0.001, -0.018), (0.0355 * g, 0.0340 * g, 0.0500), sleeve)
    b.cone(upper, (0, 0, 0), (0, 0, -lu), 0.0310 * g, 0.0240 * g, lower, gloss=0.04)
    b.ellipsoid(upper, (0.007, 0, -0.50 * lu), (0.0245 * g, 0.0255 * g, 0.0580), lower, gloss=0.04)
    if w.sleeves == "short":
        b.cone(upper, (0, 0, -0.004), (0, 0, -0.56 * lu), 0.0348 * g, 0.0335 * g, w.shirt, open_end=True)
    b.cone(fore, (0, 0, 0), (0.001, 0, -0.30 * lf), 0.0240 * g, 0.0265 * g, lower, gloss=0.04)
    b.cone(fore, (0.001, 0, -0.30 * lf), (0, 0, -lf), 0.0265 * g, 0.0170 * g**0.5, lower, flat=(1.06, 0.94), gloss=0.04)


def _hand(b: Builder, side: int, d: Dimensions, w: _Wardrobe, fist: bool) -> None:
    s, palm, inwards = Segment.LEFT_HAND + side, 0.5 * d.hand / d.height, -SIGN[side]
    b.cone(s, (0, 0, -0.006), (-0.001, 0, -0.90 * palm), 0.0165, 0.0215, w.skin, flat=(1.08, 0.56), gloss=0.04)
    if fist:
        b.ellipsoid(s, (-0.001, inwards * 0.0125, -1.02 * palm), (0.0235, 0.0185, 0.0205), w.skin, gloss=0.04)
        b.cone(s, (0.017, inwards * 0.004, -0.40 * palm), (0.016, inwards * 0.024, -0.85 * palm), 0.0085, 0.0070, w.skin, gloss=0.04)
        return
    for x, length, radius in ((0.0155, 0.90, 0.0056), (0.0050, 1.0, 0.0058), (-0.0060, 0.93, 0.0056), (-0.0165, 0.74, 0.0050)):
        tip = (0.92 * x, inwards * 0.006, -palm * (1.0 + length * 0.96))
        b.cone(s, (x, 0, -0.95 * palm), tip, radius + 0.0008, radius - 0.0012, w.skin, gloss=0.04)
    b.cone(s, (0.014, inwards * 0.003, -0.28 * palm), (0.0290, inwards * 0.010, -0.85 * palm), 0.0092, 0.0062, w.skin, gloss=0.04)


def _leg(b: Builder, side: int, d: Dimensions, w: _Wardrobe, g: float) -> None:
    thigh, shank = Segment.LEFT_THIGH + side, Segment.LEFT_SHANK + side
    lt, ls = d.thigh / d.height, d.shank / d.height
    covered = w.legwear != "shorts"
    skin = w.bottoms if covered else w.skin
    out = SIGN[side]
    b.cone(thigh, (0.002, 0, -0.010), (0, 0, -lt), 0.0505 * g, 0.0320 * g, skin, flat=(1.05, 1.0), gloss=0.04)
    b.ellipsoid(thigh, (0.010, out * 0.003, -0.40 * lt), (0.0440 * g, 0.0470 * g, 0.1050), skin, gloss=0.04)
    if not covered:
        b.cone(thigh, (0.001, out * 0.002, 0.000), (0.002, out * 0.003, -0.62 * lt), 0.0555 * g, 0.0550 * g, w.bottoms, open_end=True)
    b.ellipsoid(shank, (0.0075, 0, 0.002), (0.0275 * g, 0.0270 * g, 0.0360), skin, gloss=0.04)
    wide = 1.12 if w.legwear == "trousers" else 1.0
    b.cone(shank, (0.000, 0, 0.000), (-0.004, 0, -ls), 0.0310 * g * wide, 0.0178 * wide * wide, skin, gloss=0.04)
    b.ellipsoid(shank, (-0.0090, 0, -0.27 * ls), (0.0325 * g * wide, 0.0320 * g * wide, 0.0960), skin, gloss=0.04)
    if w.legwear != "trousers":
        b.cone(shank, (-0.0035, 0, -0.86 * ls), (-0.0045, 0, -1.03 * ls), 0.0200, 0.0205, w.socks)


def _foot(b: Builder, side: int, d: Dimensions, w: _Wardrobe) -> None:
    s, inwards = Segment.LEFT_FOOT + side, -SIGN[side]
    ground = -d.foot_height / d.height
    # Heel and collar (below the ankle joint), instep, toe box, sole.
    b.ellipsoid(s, (-0.0165, 0, ground + 0.0240), (0.0265, 0.0220, 0.0240), w.shoes, gloss=0.10)
    b.cone(
        s, (-0.0020, 0, ground + 0.0225), (0.0560, inwards * 0.002, ground + 0.0190), 0.0215, 0.0180, w.shoes, flat=(1.0, 1.1), gloss=0.10
    )
    b.ellipsoid(s, (0.0780, inwards * 0.004, ground + 0.0200), (0.0400, 0.0270, 0.0160), w.shoes, gloss=0.10)
    b.cone(s, (-0.0165, 0, ground + 0.0070), (0.0920, inwards * 0.004, ground + 0.0070), 0.0265, 0.0270, w.sole, flat=(0.27, 1.0))


def equipment_shape(kind: str, lengths: Dimensions, *, person: int = 0) -> Primitives:
    """Things that are held: "dumbbells" (both hands), "barbell" or "pull_up_bar" (on the equipment's frame, hanging from the ceiling)."""
    b = Builder(1.0)
    steel, rubber, red = linear_colour("#b9bdc4"), linear_colour("#1d1e21"), linear_colour("#a23328")
    h = lengths.height
    if kind == "dumbbells":
        for side in SIDES:
            s, y, z = Segment.LEFT_HAND + side, -SIGN[side] * 0.012 * h, -0.050 * h
            b.cone(s, (-0.07, y, z), (0.07, y, z), 0.014, 0.014, steel, gloss=0.3)
            for x in (-1, 1):
                b.cone(s, (x * 0.070, y, z), (x * 0.105, y, z), 0.043, 0.038, rubber, gloss=0.12)
    elif kind == "barbell":
        s = Segment.EQUIPMENT
        b.cone(s, (0, -0.95, 0), (0, 0.95, 0), 0.015, 0.015, steel, gloss=0.3)
        disc = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
        for y in (-1, 1):
            b.ellipsoid(s, (0, y * 0.66, 0), (0.205, 0.205, 0.030), red, axes=disc, gloss=0.12)
            b.ellipsoid(s, (0, y * 0.71, 0), (0.175, 0.175, 0.030), rubber, axes=disc, gloss=0.12)
    elif kind == "pull_up_bar":
        s = Segment.EQUIPMENT
        b.cone(s, (0, -0.80, 0), (0, 0.80, 0), 0.017, 0.017, steel, gloss=0.3)
        for y in (-0.80, 0.80):
            b.cone(s, (0, y, 0), (0, y, 1.0), 0.025, 0.025, rubber, gloss=0.12)
    else:
        raise ValueError(f"unknown equipment {kind!r}")
    return b.primitives(person)

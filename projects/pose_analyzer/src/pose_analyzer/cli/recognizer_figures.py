"""Stick figures for the recogniser: many ways to do each exercise, and much that is none, from all around.

A figure is a trunk, a head, thighs, shanks, upper arms and forearms, each with a direction; a movement goes between two postures, limbs
together or in turn, while hands, feet or hips stay where they are. Nothing here is drawn or measured: only what a camera would show of
shoulders, elbows, wrists, hips, knees, ankles and ears matters, but in more styles than the athlete of `synthetic` has: other grips, arms
that go anywhere in a squat, benches, one arm or both, walls, crunches, and people who dance, kick, box or talk.

Directions are degrees in the world: `pitch` from hanging down, forwards positive (90 = horizontally to the front, 180 = up), `out` away
from the body's middle. The trunk's pitch is from upright, forwards positive (90 = face down, -90 = on the back).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Random = np.random.Generator

RATE_HZ = 10.0
LIMBS = ("thigh", "shank", "arm", "fore")
# Columns of a posture: trunk, roll, head, then pitch and out of each limb, left and right.
SLOTS: tuple[str, ...] = ("trunk", "roll", "head", *(f"{limb}_{way}_{side}" for limb in LIMBS for way in ("pitch", "out") for side in "lr"))
_AT = {name: i for i, name in enumerate(SLOTS)}
# Which clock moves a column: 0 the trunk and whatever is common, 1 the left arm, 2 the right arm, 3 the left leg, 4 the right leg.
_CLOCK = np.array([0 if "_" not in n else (1 if n.split("_")[0] in ("arm", "fore") else 3) + (n[-1] == "r") for n in SLOTS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A movement between two postures.

    Args:
        rest, work: (s,) `SLOTS`, degrees.
        anchor: What stays in its place: "feet", "hands" or "hips".
        turns: How left and right take turns: "both", "left", "right" or "alternating", of arms and of legs.
        seconds: Range of the seconds of a repetition; None = it is held.
        arms_with_trunk: Directions of the arms are the trunk's, not the world's.
        hop: Height of a jump in the middle of the movement, share of stature.
    """

    rest: Array
    work: Array
    anchor: str = "feet"
    arms: str = "both"
    legs: str = "both"
    seconds: tuple[float, float] | None = (1.2, 6.0)
    arms_with_trunk: bool = False
    hop: float = 0.0


def posture(base: Array | None = None, **degrees: float | tuple[float, float]) -> Array:
    """(s,) a posture: standing, or `base`, with limbs changed on both sides (`arm_pitch=30`) or on each (`arm_pitch=(30, 0)`).

    Example:
        >>> float(posture(arm_pitch=(30, 0))[SLOTS.index("arm_pitch_l")])
        30.0
    """
    out = np.zeros(len(SLOTS)) if base is None else base.copy()
    for name, value in degrees.items():
        if name in _AT:
            out[_AT[name]] = value if isinstance(value, (int, float)) else value[0]
        else:
            left, right = (value, value) if isinstance(value, (int, float)) else value
            out[_AT[f"{name}_l"]], out[_AT[f"{name}_r"]] = left, right
    return out


def performed(movement: Movement, random: Random, *, seconds: float) -> tuple[Array, Array]:
    """(t, 7 parts, 2 sides, 3) metres over some seconds, and (t,) how much was moving: 1 within a repetition, 0 before and after.

    Somebody stands (or hangs, or lies) ready for a while in a third of the performances.
    """
    path, clock, active = path_of(movement, random, round(seconds * RATE_HZ))
    joints = figure(path, random, anchor=movement.anchor, arms_with_trunk=movement.arms_with_trunk, lift=movement.hop * _bump(clock))
    return joints, active


def path_of(movement: Movement, random: Random, n: int) -> tuple[Array, Array, Array]:
    """(n, s) postures, (n,) progress of the trunk and (n,) how much was moving."""
    clocks, active = (np.ones((5, n)), np.ones(n)) if movement.seconds is None else _clocks(movement, random, n)
    path = movement.rest + (movement.work - movement.rest) * clocks[_CLOCK].T
    return path + sway(random, n) * random.uniform(0.5, 3.0), clocks[0], active


def figure(path: Array, random: Random, *, anchor: str = "feet", arms_with_trunk: bool = False, lift: Array | None = None) -> Array:
    """(t, 7, 2, 3) metres of a body of random proportions along a path of postures (t, s)."""
    scale = np.exp(random.normal(0.0, 0.05, 8))
    trunk_m, arm, fore, thigh, shank, breadth, hips, head = 1.72 * scale * (0.288, 0.180, 0.150, 0.245, 0.246, 0.108, 0.055, 0.115)
    trunk, roll = np.radians(path[:, _AT["trunk"]]), np.radians(path[:, _AT["roll"]])
    up = np.stack([np.sin(trunk) * np.cos(roll), np.sin(roll), np.cos(trunk) * np.cos(roll)], axis=1)
    across = np.stack([-np.sin(trunk) * np.sin(roll), np.cos(roll), -np.cos(trunk) * np.sin(roll)], axis=1)
    nod = trunk + np.radians(path[:, _AT["head"]])
    skull = np.stack([np.sin(nod), np.zeros_like(nod), np.cos(nod)], axis=1)
    joints = np.empty((len(path), 7, 2, 3))
    none = np.zeros(len(path))
    turned = np.degrees(trunk) if arms_with_trunk else none
    for side, sign in enumerate((1.0, -1.0)):

        def along(limb: str, back: Array = none, side: int = side, sign: float = sign) -> Array:
            pitch = np.radians(path[:, _AT[f"{limb}_pitch_{'lr'[side]}"]] - back)
            out = np.radians(path[:, _AT[f"{limb}_out_{'lr'[side]}"]])
            toward = np.empty((len(path), 3))
            toward[:, 0], toward[:, 1], toward[:, 2] = np.sin(pitch) * np.cos(out), sign * np.sin(out), -np.cos(pitch) * np.cos(out)
            return toward

        hip = sign * hips * across
        shoulder = trunk_m * up + sign * breadth * across
        elbow = shoulder + arm * along("arm", turned)
        knee = hip + thigh * along("thigh")
        ear = (trunk_m + 0.02) * up + head * skull + sign * 0.07 * across
        parts = (shoulder, elbow, elbow + fore * along("fore", turned), hip, knee, knee + shank * along("shank"), ear)
        joints[:, :, side] = np.stack(parts, axis=1)
    fixed = {"feet": joints[:, 5], "hands": joints[:, 2], "hips": joints[:, 3]}[anchor]
    if anchor == "feet":  # the lower foot carries
        low = fixed[:, :, 2].argmin(1)
        still = np.concatenate([fixed.mean(1)[:, :2], np.take_along_axis(fixed[:, :, 2], low[:, None], 1)], axis=1)
    else:
        still = fixed.mean(1)
    joints = joints - still[:, None, None]
    joints[..., 2] += 0.0 if lift is None else 1.72 * lift[:, None, None]
    return joints


def _clocks(movement: Movement, random: Random, n: int) -> tuple[Array, Array]:
    """(5, n) progress 0..1 of trunk, arms and legs, and (n,) whether something is under way."""
    low, high = movement.seconds or (1.0, 1.0)
    length = float(np.exp(random.uniform(np.log(low), np.log(high))))
    out, pause, back = random.uniform(0.3, 0.7), random.uniform(0.0, 0.25), random.uniform(0.3, 0.7)
    rest = float(random.choice([0.02, 0.1, 0.3, 0.8])) * random.uniform(0.5, 1.5)
    out, pause, back, rest = np.array([out, pause, back, rest]) / (out + pause + back + rest)
    started = random.uniform(0, length) - (random.uniform(1.0, 5.0) if random.random() < 0.33 else 0.0)
    time = np.arange(n) / RATE_HZ + started
    number, within = np.floor(time / length).astype(int), (time / length) % 1.0
    depth = random.uniform(0.85, 1.05, int(number.max()) - min(int(number.min()), 0) + 2)[number]
    share = _ease(within / out) - _ease((within - out - pause) / back)
    sharp = random.random() < 0.3  # straight ramps instead of soft ones
    if sharp:
        share = np.clip(within / out, 0, 1) - np.clip((within - out - pause) / back, 0, 1)
    progress = np.where(time >= 0, depth * share, 0.0)
    even = number % 2 == 0
    turn = {"both": (True, True), "left": (True, False), "right": (False, True), "alternating": (even, ~even)}
    rows = [progress, *(progress * m for m in turn[movement.arms]), *(progress * m for m in turn[movement.legs])]
    return np.stack([np.broadcast_to(r, (n,)) for r in rows]).astype(np.float64), (time >= 0).astype(np.float64)


def wandering(random: Random, n: int, *, hz: float) -> Array:
    """(n,) smooth random movement of unit variance with most of its power below `hz`."""
    k = max(int(n / RATE_HZ * hz), 1) + 1
    phase, strength = random.uniform(0, 2 * np.pi, k), random.normal(size=k)
    time = np.arange(n) / n
    wave = (strength[:, None] * np.sin(2 * np.pi * np.arange(0.5, k)[:, None] * time + phase[:, None])).sum(0)
    return wave / max(float(np.sqrt((strength**2).sum() / 2)), 1e-6)


def sway(random: Random, n: int, *, hz: float = 0.4) -> Array:
    """(n, s) what is never quite still."""
    return np.stack([wandering(random, n, hz=hz) for _ in SLOTS], axis=1)


def _ease(x: Array) -> Array:
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def _bump(x: Array) -> Array:
    return np.clip(4.0 * x * (1.0 - x), 0.0, 1.0)


# --- the camera -------------------------------------------------------------------------------------
def filmed(joints_m: Array, random: Random) -> Array:
    """(t, 7, 2, 2) px of a figure as a detector would see it from somewhere, NaN where it would not.

    Any azimuth, from the floor to above the head, near and far, camera level or not quite, still or unsteady; landmarks with a
    lasting and a wandering error, more of it on the far side; limbs hidden, points lost for a frame or cut off by the picture's border.
    """
    n = len(joints_m)
    azimuth = random.uniform(0, 2 * np.pi)
    elevation = np.radians(float(random.choice([random.uniform(-8, 15), random.uniform(10, 45)], p=[0.75, 0.25])))
    roll = np.radians(random.normal(0, 3 if random.random() < 0.85 else 12))
    toward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    above = np.cross(toward, right)
    centre = joints_m.reshape(-1, 3)
    distance = float(np.exp(random.uniform(np.log(2.0), np.log(9.0))))
    relative = joints_m - (centre.min(0) + centre.max(0)) / 2
    depth = np.maximum(distance - relative @ toward, 0.5)
    x, y = relative @ right * distance / depth, -(relative @ above) * distance / depth
    xy = np.stack([x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)], axis=-1) * 100.0
    if random.random() < 0.5:
        xy[..., 0] *= -1.0
        xy = xy[:, :, ::-1]
    size = float(np.ptp(xy.reshape(-1, 2), axis=0).max())
    far = depth - depth[:, :, ::-1] > 0.12
    hidden = far & (np.hypot(*np.moveaxis(xy - xy[:, :, ::-1], -1, 0)) < 0.2 * size)
    worse = np.where(hidden, random.uniform(1.0, 4.0), 1.0)[..., None]
    strength = float(np.exp(random.uniform(np.log(0.003), np.log(0.012)))) * size
    error = random.normal(size=(7, 2, 2)) + _jitter(random, n)
    xy = xy + strength * worse * error
    if random.random() < 0.3:  # a camera in somebody's hand
        xy = xy + 0.03 * size * random.uniform(0.2, 2.0) * np.stack([wandering(random, n, hz=0.5) for _ in "xy"], axis=1)[:, None, None]
    return _seen(xy, hidden, random)


def _jitter(random: Random, n: int) -> Array:
    """(n, 7, 2, 2) errors of unit variance, each of which remembers the one before for a fifth of a second."""
    steps, keep = random.normal(size=(n, 7, 2, 2)), float(np.exp(-1.0 / RATE_HZ / 0.2))
    for i in range(1, n):
        steps[i] = keep * steps[i - 1] + np.sqrt(1.0 - keep * keep) * steps[i]
    return steps


def _seen(xy: Array, hidden: NDArray[np.bool_], random: Random) -> Array:
    lost = random.random(xy.shape[:3]) < random.choice([0.0, 0.02, 0.1])
    lost |= hidden & (random.random((1, 7, 2)) < random.choice([0.1, 0.9]))
    if random.random() < 0.3:  # the border cuts something off
        low, high = xy.reshape(-1, 2).min(0), xy.reshape(-1, 2).max(0)
        edge = int(random.choice(4, p=[0.15, 0.15, 0.15, 0.55]))
        share = random.uniform(0.05, 0.45)
        axis, upper = edge % 2, edge >= 2
        at = high[axis] - share * (high[axis] - low[axis]) if upper else low[axis] + share * (high[axis] - low[axis])
        lost |= (xy[..., axis] > at) if upper else (xy[..., axis] < at)
    if random.random() < 0.15:  # something stands before the legs, or before an arm
        parts = [4, 5] if random.random() < 0.5 else [1, 2]
        lost[:, parts] |= True if parts == [4, 5] else np.arange(2) == random.integers(2)
    if random.random() < 0.1:  # left and right are confused for a moment
        start = int(random.integers(len(xy)))
        moment = slice(start, start + int(random.integers(1, 8)))
        xy[moment] = xy[moment, :, ::-1].copy()
    return np.where(lost[..., None], np.nan, xy)

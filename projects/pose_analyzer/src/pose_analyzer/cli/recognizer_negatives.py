"""What the recogniser has to call unknown: people of a stick figure's kind who do no exercise, or one that is not listed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pose_analyzer.cli.recognizer_figures import (
    RATE_HZ,
    SLOTS,
    Array,
    Movement,
    Random,
    figure,
    path_of,
    performed,
    posture,
    sway,
    wandering,
)
from pose_analyzer.cli.recognizer_movements import (
    TURNS,
    arms_at,
    bicep_curl,
    lateral_raise,
    on_feet,
    overhead_press,
    propped,
    pull_up,
    sit_up,
    sitting,
    standing,
)


def nothing(random: Random, *, seconds: float) -> Array:
    """(t, 7, 2, 3) somebody who walks, runs, stands, sits, lies, talks, dances, boxes, kicks, or does an exercise that is not listed."""
    return _NOTHING[random.integers(len(_NOTHING))](random, seconds)


def nothing_to_learn(random: Random, *, seconds: float) -> Array:
    """The same, but oftener what is easily taken for an exercise: arms as in a set while the legs step, gestures, other exercises."""
    return _NOTHING[int(random.choice(len(_NOTHING), p=_LEARNT))](random, seconds)


def _gait(random: Random, seconds: float) -> Array:
    """Walking, running, marching on the spot; the camera may follow."""
    u, n = random.uniform, round(seconds * RATE_HZ)
    run = random.random() < 0.35
    phase = 2 * np.pi * (np.arange(n) / RATE_HZ * (u(1.2, 1.6) if run else u(0.6, 1.1)) + u())
    path = np.tile(posture(standing(random), trunk=u(0, 14) if run else u(-3, 8)), (n, 1))
    swing, lift, arms, elbow = (u(25, 55), u(50, 110), u(20, 45), u(60, 110)) if run else (u(15, 35), u(30, 65), u(5, 35), u(5, 35))
    if random.random() < 0.15:  # hands in pockets, a bag, a phone
        arms = 2.0
    for i, sign in enumerate((1.0, -1.0)):
        step, side = sign * np.sin(phase), "lr"[i]
        path[:, SLOTS.index(f"thigh_pitch_{side}")] = swing * (step + 0.3)
        bend = 6 + lift * np.clip(sign * np.cos(phase), 0, 1) ** 1.5
        path[:, SLOTS.index(f"shank_pitch_{side}")] = swing * (step + 0.3) - bend
        path[:, SLOTS.index(f"arm_pitch_{side}")] = -arms * step
        path[:, SLOTS.index(f"fore_pitch_{side}")] = -arms * step + elbow
    joints = figure(path, random)
    if random.random() < 0.6:  # along a path in any direction
        heading, speed = u(0, 2 * np.pi), u(0.5, 3.0) if run else u(0.3, 1.5)
        joints += (np.arange(n) / RATE_HZ * speed)[:, None, None, None] * np.array([np.cos(heading), np.sin(heading), 0.0])
    return joints


def _talking(random: Random, seconds: float) -> Array:
    """Standing or sitting with gestures; a step, a turn."""
    n = round(seconds * RATE_HZ)
    base, _ = arms_at(random, on_feet(random, 0.3))
    path = np.tile(base, (n, 1))
    for i, name in enumerate(SLOTS):
        share = 30.0 if name.startswith("fore") else 15.0 if name.startswith("arm") else 4.0
        path[:, i] += random.uniform(0.0, 1.5) * share * wandering(random, n, hz=random.uniform(0.2, 1.5))
    return figure(path, random)


def _gesturing(random: Random, seconds: float) -> Array:
    """From one way to hold the arms to another, each for a while: stretching, scratching, pointing, folding, resting."""
    n = round(seconds * RATE_HZ)
    base = on_feet(random, 0.2)
    path = np.tile(base, (n, 1))
    for side in ("l", "r"):
        columns = [SLOTS.index(f"{limb}_{way}_{side}") for limb in ("arm", "fore") for way in ("pitch", "out")]
        at, now = 0, base[columns]
        while at < n:
            aim = base[columns] if random.random() < 0.4 else random.uniform([-30, 0, 0, -45], [185, 60, 250, 40])
            blend, hold = (max(1, round(random.uniform(low, high) * RATE_HZ)) for low, high in ((0.3, 1.0), (0.3, 3.0)))
            steps = np.clip(np.arange(1, blend + hold + 1) / blend, 0.0, 1.0)[:, None]
            path[at : at + blend + hold, columns] = (now + steps * (aim - now))[: n - at]
            at, now = at + blend + hold, aim
    return figure(path + random.uniform(0.5, 3.0) * sway(random, n, hz=0.5), random)


def _dancing(random: Random, seconds: float, *, steady: bool = False) -> Array:
    """Everything moves: dance to a beat (`steady`) or not, boxing, kicks, falls."""
    u, n = random.uniform, round(seconds * RATE_HZ)
    base, _ = arms_at(random, standing(random))
    path = np.tile(base, (n, 1))
    legs, arms, trunk, hz = u(3, 45), u(10, 70), u(2, 30), u(0.4, 2.5)
    for i, name in enumerate(SLOTS):
        share = arms if name.startswith(("arm", "fore")) else legs if name.startswith(("thigh", "shank")) else trunk
        beat = np.sin(2 * np.pi * (hz * float(random.choice((0.5, 1.0))) * np.arange(n) / RATE_HZ + u())) * abs(random.normal())
        path[:, i] += share * (beat if steady else wandering(random, n, hz=hz)) * (0.3 if name in ("roll", "head") else 1.0)
    for side in "lr":  # knees do not bend forwards
        thigh, shank = (SLOTS.index(f"{limb}_pitch_{side}") for limb in ("thigh", "shank"))
        path[:, shank] = np.minimum(path[:, shank], path[:, thigh])
    return figure(path, random)


def _stepping(random: Random, seconds: float) -> Array:
    """Arms as in an exercise while the legs step, sway or dance: nobody does a set like that."""
    n = round(seconds * RATE_HZ)
    movement = (bicep_curl, overhead_press, lateral_raise)[random.integers(3)](random)
    path, _, _ = path_of(movement, random, n)
    hz, size = random.uniform(0.4, 1.8), random.uniform(10, 45)
    step = np.sin(2 * np.pi * (hz * np.arange(n) / RATE_HZ + random.uniform()))
    for side, sign in (("l", 1.0), ("r", -1.0)):
        bend = size * np.clip(sign * step, 0.0, 1.0)
        path[:, SLOTS.index(f"thigh_pitch_{side}")] += 0.6 * bend
        path[:, SLOTS.index(f"shank_pitch_{side}")] -= 0.6 * bend
        path[:, SLOTS.index(f"thigh_out_{side}")] += random.uniform(0, 15) * step
    path[:, SLOTS.index("trunk")] += random.uniform(0, 12) * wandering(random, n, hz=hz)
    joints = figure(path, random, arms_with_trunk=movement.arms_with_trunk)
    joints[..., 1] += (random.uniform(0.0, 0.2) * np.roll(step, int(random.integers(n))))[:, None, None]
    return joints


def _still(random: Random, seconds: float) -> Array:
    """Standing, sitting or lying about, or ready to begin."""
    kinds = [standing(random), sitting(random), arms_at(random, standing(random))[0], pull_up(random).rest, sit_up(random).rest]
    pose = kinds[int(random.integers(len(kinds)))]
    anchor = "hips" if pose is kinds[4] else "feet"
    return performed(Movement(rest=pose, work=pose, anchor=anchor, seconds=None), random, seconds=seconds)[0]


def _other(random: Random) -> Movement:
    """Repetitions of something that is not listed: rows, leg raises, knees up, kicks, twists, arm swings, clapping, jumping on the spot."""
    u = random.uniform
    base = standing(random)
    kind = random.integers(8)
    if kind == 0:  # bent-over row
        bent = posture(base, trunk=u(40, 85), thigh_pitch=u(10, 35), shank_pitch=-u(0, 15), arm_pitch=u(-5, 10), fore_pitch=u(-5, 10))
        return Movement(rest=bent, work=posture(bent, arm_pitch=-u(70, 120), fore_pitch=u(-20, 10)), arms=str(random.choice(TURNS)))
    if kind == 1:  # leg raise on the back
        lying = posture(trunk=u(-93, -82), thigh_pitch=u(85, 100), shank_pitch=u(80, 95), arm_pitch=u(60, 100), fore_pitch=u(60, 100))
        return Movement(rest=lying, work=posture(lying, thigh_pitch=u(150, 185), shank_pitch=u(130, 180)), anchor="hips")
    if kind == 2:  # knees up, or kicks, in turn
        thigh = u(60, 110)
        kick = posture(base, thigh_pitch=thigh, shank_pitch=thigh - float(random.choice((u(70, 110), u(0, 25)))))
        return Movement(rest=base, work=kick, legs=str(random.choice(("alternating", "left", "right"))), seconds=(0.6, 2.5))
    if kind == 3:  # arms swing to the front or overhead and nothing else
        return Movement(
            rest=base, work=posture(base, arm_pitch=u(60, 185), fore_pitch=u(60, 185)), arms=str(random.choice(TURNS)), seconds=(0.6, 3.0)
        )
    if kind == 4:  # clapping, waving, boxing
        guard = posture(base, arm_pitch=u(10, 70), fore_pitch=u(110, 165), arm_out=u(5, 40), fore_out=u(-30, 20))
        blow = posture(guard, arm_pitch=u(60, 100), fore_pitch=u(70, 110), fore_out=u(-40, 20))
        return Movement(rest=guard, work=blow, arms=str(random.choice(("alternating", "left", "right", "both"))), seconds=(0.4, 1.5))
    if kind == 5:  # hops
        return Movement(rest=base, work=posture(base, thigh_pitch=u(0, 15), shank_pitch=-u(5, 30)), seconds=(0.4, 0.9), hop=u(0.02, 0.12))
    if kind == 6:  # side bends
        return Movement(rest=posture(base, roll=-u(5, 35)), work=posture(base, roll=u(5, 35)), seconds=(0.8, 4.0))
    prone = propped(random, slope=u(-5, 15), knees=False)  # mountain climbers
    prone = posture(prone, arm_pitch=u(-10, 10), fore_pitch=u(-5, 10))
    return Movement(
        rest=prone,
        work=posture(prone, thigh_pitch=u(0, 40), shank_pitch=-u(60, 100)),
        anchor="hands",
        legs="alternating",
        seconds=(0.5, 2.0),
    )


_NOTHING: tuple[Callable[[Random, float], Array], ...] = (
    *(_gait, _gait, _talking, _gesturing, _dancing),
    *(lambda random, seconds: _dancing(random, seconds, steady=True), _still, _stepping),
    *(2 * (lambda random, seconds: performed(_other(random), random, seconds=seconds)[0],)),
)
_LEARNT = np.array([1, 1, 3, 2, 1.5, 2, 1, 5, 2, 2]) / 20.5

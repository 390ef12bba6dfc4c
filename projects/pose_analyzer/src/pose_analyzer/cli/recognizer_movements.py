"""The styles of every exercise that the recogniser learns from, as movements of a stick figure.

Ranges come from how people do these exercises: from half to full depth, with bar, dumbbells or nothing, one arm, both or in turn, on the
floor, a bench or a chair. Each function draws one style.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from pose_analyzer.cli.recognizer_figures import SLOTS, Array, Movement, Random, posture

TURNS = ("both", "both", "both", "left", "right", "alternating")


def standing(random: Random) -> Array:
    """Somebody on two feet, arms hanging, with a habit of their own."""
    stance, knees = random.uniform(0, 12), random.uniform(0, 15)
    base = posture(trunk=random.uniform(-4, 10), head=random.normal(5, 12), roll=random.normal(0, 2))
    base = posture(base, thigh_pitch=0.5 * knees, shank_pitch=-0.5 * knees, thigh_out=stance, shank_out=stance)
    return posture(base, arm_pitch=random.uniform(-10, 15), arm_out=random.uniform(3, 18), fore_pitch=random.uniform(5, 35), fore_out=5.0)


def sitting(random: Random) -> Array:
    """Somebody on a chair or a bench."""
    base = posture(standing(random), trunk=random.uniform(-15, 12))
    out = random.uniform(0, 25)
    return posture(base, thigh_pitch=random.uniform(75, 95), thigh_out=out, shank_pitch=random.uniform(-20, 15), shank_out=out * 0.5)


def on_feet(random: Random, share_sitting: float = 0.2) -> Array:
    """Somebody standing, or (in a share of cases) sitting."""
    return sitting(random) if random.random() < share_sitting else standing(random)


def arms_at(random: Random, base: Array) -> tuple[Array, bool]:
    """Arms as they may be while the legs work; whether they turn with the trunk."""
    u = random.uniform
    style = random.integers(10)
    if style == 0:  # a bar on the back
        out = u(15, 60)
        return posture(base, arm_pitch=u(-55, -5), arm_out=out, fore_pitch=u(140, 200), fore_out=u(-5, out)), True
    if style == 1:  # a bar before the neck, arms crossed or not
        return posture(base, arm_pitch=u(60, 95), arm_out=u(0, 25), fore_pitch=u(170, 250), fore_out=u(-35, 15)), True
    if style == 2:  # a weight, or the hands, before the chest
        return posture(base, arm_pitch=u(10, 60), arm_out=u(0, 25), fore_pitch=u(90, 165), fore_out=u(-45, 0)), True
    if style == 3:  # hands on the hips
        return posture(base, arm_pitch=u(-30, -5), arm_out=u(25, 50), fore_pitch=u(10, 50), fore_out=u(-45, -15)), True
    if style == 4:  # behind the head
        return posture(base, arm_pitch=u(100, 160), arm_out=u(30, 60), fore_pitch=u(215, 260), fore_out=u(-30, 0)), True
    if style == 5:  # overhead
        return posture(base, arm_pitch=u(160, 185), arm_out=u(0, 20), fore_pitch=u(165, 185), fore_out=u(0, 15)), True
    if style == 6:  # stretched out to the front
        return posture(base, arm_pitch=u(70, 100), arm_out=u(-5, 15), fore_pitch=u(70, 105), fore_out=u(-15, 10)), False
    if style == 7:  # weights hanging, or just hanging
        return posture(base, arm_pitch=u(-8, 10), arm_out=u(2, 15), fore_pitch=u(-5, 15), fore_out=u(0, 8)), False
    return posture(
        base, arm_pitch=u(20, 50), arm_out=u(10, 40), fore_pitch=u(150, 175), fore_out=u(0, 15)
    ), True  # dumbbells at the shoulders


def _like_arms(target: Array, source: Array) -> Array:
    out = target.copy()
    arms = [i for i, name in enumerate(SLOTS) if name.startswith(("arm", "fore"))]
    out[arms] = source[arms]
    return out


def squat(random: Random) -> Movement:
    """Both knees bend, from a quarter squat to the floor; the arms are anywhere."""
    u = random.uniform
    rest, with_trunk = arms_at(random, standing(random))
    knee = u(60, 145)
    shin = knee * u(0.12, 0.38)
    out = u(3, 35)
    work = posture(
        rest, thigh_pitch=knee - shin, shank_pitch=-shin, thigh_out=out, shank_out=u(0, out), trunk=u(5, 20) + u(0, 40) * knee / 110
    )
    if random.random() < 0.3:  # the arms rise to the front on the way down
        rest, with_trunk = posture(rest, arm_pitch=u(-5, 20), arm_out=5, fore_pitch=u(0, 30), fore_out=0), False
        work = posture(work, arm_pitch=u(40, 105), arm_out=5, fore_pitch=u(60, 150), fore_out=u(-40, 5))
    return Movement(rest=rest, work=work, seconds=(1.2, 6.0), arms_with_trunk=with_trunk)


def lunge(random: Random) -> Movement:
    """One leg forward, the rear knee sinks: on the spot, stepping forward or back, the same leg or both in turn."""
    u = random.uniform
    upright, with_trunk = arms_at(random, standing(random))
    front, rear = ((0, 1), (1, 0))[random.integers(2)]
    if random.random() < 0.4:
        upright, with_trunk = posture(upright, arm_pitch=u(-8, 10), arm_out=u(2, 12), fore_pitch=u(-5, 15), fore_out=u(0, 8)), False

    def legs(base: Array, front_knee: float, front_shin: float, rear_thigh: float, rear_knee: float) -> Array:
        thigh, shank = np.empty(2), np.empty(2)
        thigh[[front, rear]] = front_knee - front_shin, -rear_thigh
        shank[[front, rear]] = -front_shin, -rear_thigh - rear_knee
        return posture(base, thigh_pitch=(thigh[0], thigh[1]), shank_pitch=(shank[0], shank[1]), thigh_out=u(0, 5), shank_out=0.0)

    work = legs(posture(upright, trunk=u(0, 25)), u(65, 115), u(-5, 25), u(-5, 25), u(60, 105))
    split = legs(upright, u(10, 35), u(-10, 10), u(15, 35), u(5, 30))
    rest = split if random.random() < 0.5 else upright
    return Movement(rest=rest, work=work, seconds=(1.2, 5.0), arms_with_trunk=with_trunk)


def deadlift(random: Random) -> Movement:
    """The hips hinge, straight arms hang: conventional, sumo, Romanian, with bar or dumbbells, from the floor or the shin."""
    u = random.uniform
    out = u(0, 40) if random.random() < 0.3 else u(0, 12)
    arms = {"arm_out": u(0, 12), "fore_out": u(-5, 8)}
    rest = posture(standing(random), trunk=u(-6, 8), thigh_out=out, shank_out=out, arm_pitch=u(-5, 12), fore_pitch=u(0, 20), **arms)
    knee = u(5, 85)
    shin = knee * u(-0.05, 0.3)
    hang = u(-12, 15)
    work = posture(
        rest, trunk=u(45, 98), head=u(-40, 10), thigh_pitch=knee - shin, shank_pitch=-shin, arm_pitch=hang, fore_pitch=hang + u(0, 10)
    )
    return Movement(rest=rest, work=work, seconds=(1.8, 8.0))


def propped(random: Random, *, slope: float, knees: bool) -> Array:
    """A straight body, face down, `slope` degrees of rise from feet to shoulders."""
    u = random.uniform
    pitch = 90.0 - slope
    sag = u(-18, 12)
    base = posture(trunk=pitch - sag * 0.3, head=u(-40, 25), thigh_out=u(0, 8))
    # The legs point backwards and down: from hip to foot is opposite to the trunk.
    legs = -pitch - sag
    shank = legs - (u(40, 110) if knees else u(0, 12))
    return posture(base, thigh_pitch=legs, shank_pitch=shank, shank_out=u(0, 8))


def push_up(random: Random, *, incline: bool | None = None) -> Movement:
    """Straight body, planted hands; on the floor, on the knees, on a bench, feet raised."""
    u = random.uniform
    knees = incline is not True and random.random() < 0.25
    # On the floor an arm's length lifts the shoulders by some 18 degrees over the toes, and by 30 over the knees.
    rise = u(28, 55) if incline else u(20, 36) if knees else u(12, 24) if random.random() < 0.75 else u(-15, 12)
    top = propped(random, slope=rise, knees=knees)
    straight, flare, width = u(-15, 12), u(5, 80), u(0, 20)
    top = posture(top, arm_pitch=straight, arm_out=width, fore_pitch=straight + u(0, 15), fore_out=width)
    elbow = u(55, 120)
    # From the shoulder the upper arm goes back towards the feet, and out by how wide the elbows flare; the forearm stays about upright.
    back, out = elbow * np.cos(np.radians(flare)), elbow * np.sin(np.radians(flare))
    bottom = posture(top, arm_pitch=straight - back * 0.95, arm_out=min(out, 85), fore_pitch=u(-15, 20), fore_out=u(-5, 10))
    sink = elbow * u(0.1, 0.2)
    trunk, legs = SLOTS.index("trunk"), [i for i, n in enumerate(SLOTS) if n.startswith(("thigh_pitch", "shank_pitch"))]
    bottom[trunk] += sink
    bottom[legs] -= sink
    return Movement(rest=top, work=bottom, anchor="hands", seconds=(0.8, 4.5))


def push_up_incline(random: Random) -> Movement:
    """The same with the hands on a bench, a bar or a wall."""
    return push_up(random, incline=True)


def bench_press(random: Random) -> Movement:
    """On the back on a bench or the floor, level or inclined; bar or dumbbells."""
    u = random.uniform
    trunk = -90.0 + (u(15, 55) if random.random() < 0.3 else u(-10, 8))
    base = posture(trunk=trunk, head=u(-15, 25))
    if random.random() < 0.75:  # feet on the floor beside a bench
        out = u(5, 40)
        base = posture(base, thigh_pitch=u(55, 105), thigh_out=out, shank_pitch=u(-35, 15), shank_out=u(0, out))
    else:
        base = posture(base, thigh_pitch=u(105, 150), thigh_out=u(0, 15), shank_pitch=u(0, 45), shank_out=0.0)
    width, up = u(0, 25), u(165, 190)
    rest = posture(base, arm_pitch=up, arm_out=width, fore_pitch=u(168, 188), fore_out=u(-10, width))
    elbow, flare = u(65, 125), u(20, 85)
    down = up - elbow * np.cos(np.radians(flare))
    work = posture(rest, arm_pitch=down, arm_out=min(elbow * np.sin(np.radians(flare)), 110), fore_pitch=u(165, 195), fore_out=u(-5, 10))
    return Movement(
        rest=rest, work=work, anchor="hips", arms=str(random.choice(("both", "both", "both", "alternating", "left"))), seconds=(1.0, 5.0)
    )


def bicep_curl(random: Random) -> Movement:
    """The elbows bend, the upper arms stay about where they hang; standing, sitting, on a slope; one arm, both, in turn."""
    u = random.uniform
    base = on_feet(random)
    upper = u(30, 65) if random.random() < 0.15 else u(-18, 20)
    out, low, high = u(0, 20), u(0, 50), u(95, 155)
    rest = posture(base, arm_pitch=upper, arm_out=out, fore_pitch=upper + low, fore_out=u(-10, 15))
    upper += u(0, 35) if random.random() < 0.5 else 0.0
    work = posture(rest, arm_pitch=upper, arm_out=out, fore_pitch=upper + high, fore_out=u(-30, 20))
    if random.random() < 0.15:
        work = posture(work, trunk=work[0] - u(0, 15))
    return Movement(rest=rest, work=work, arms=str(random.choice(TURNS)), seconds=(1.2, 6.0))


def overhead_press(random: Random) -> Movement:
    """From the shoulders to overhead, standing or sitting, bar or dumbbells, one arm or both."""
    u = random.uniform
    base = on_feet(random, 0.35)
    wide = random.random() < 0.6
    pitch, out = (u(-10, 30), u(35, 95)) if wide else (u(10, 70), u(5, 35))
    rest = posture(base, arm_pitch=pitch, arm_out=out, fore_pitch=u(150, 190), fore_out=u(-15, 20))
    top = u(158, 185)
    # Overhead either way: forwards past the face, or sideways, where "out" runs on to 180.
    work = posture(rest, arm_pitch=top, arm_out=u(0, 22), fore_pitch=u(165, 185), fore_out=u(-15, 12))
    if wide:
        work = posture(rest, arm_pitch=u(-10, 10), arm_out=u(150, 175), fore_pitch=u(170, 190), fore_out=u(-20, 10))
    if random.random() < 0.2:
        work = posture(work, thigh_pitch=u(0, 5), shank_pitch=-u(0, 5))
    return Movement(rest=rest, work=work, arms=str(random.choice(TURNS)), seconds=(1.0, 5.0))


def lateral_raise(random: Random) -> Movement:
    """Nearly straight arms to the sides up to about the shoulders' height, one or both."""
    u = random.uniform
    base = on_feet(random)
    bend, ahead = u(0, 45), u(-5, 25)
    rest = posture(base, arm_pitch=u(-5, 20), arm_out=u(3, 20), fore_pitch=u(0, 20) + 0.5 * bend, fore_out=u(-10, 12))
    out = u(60, 115)
    work = posture(rest, arm_pitch=ahead, arm_out=out, fore_pitch=ahead + bend, fore_out=out - u(0, 25))
    return Movement(rest=rest, work=work, arms=str(random.choice(TURNS)), seconds=(1.2, 5.0))


def jumping_jack(random: Random) -> Movement:
    """Arms overhead and feet apart and back, jumped or stepped."""
    u = random.uniform
    rest = posture(
        standing(random),
        arm_pitch=u(-5, 12),
        arm_out=u(5, 20),
        fore_pitch=u(0, 15),
        fore_out=u(0, 15),
        thigh_out=u(0, 5),
        shank_out=u(0, 5),
    )
    legs, out = u(12, 32), u(115, 178)
    work = posture(rest, arm_pitch=u(-8, 15), arm_out=out, fore_pitch=u(-5, 30), fore_out=out + u(-15, 30), thigh_out=legs, shank_out=legs)
    alternating = random.random() < 0.12
    return Movement(rest=rest, work=work, legs="alternating" if alternating else "both", seconds=(0.6, 2.2), hop=u(0, 0.06))


def pull_up(random: Random) -> Movement:
    """Hanging from a bar; wide, narrow, palms either way; legs straight, bent, swinging."""
    u = random.uniform
    wide, knees = u(0, 35), float(random.choice((u(0, 15), u(20, 100))))
    thigh = u(-12, 25)
    base = posture(trunk=u(-15, 8), head=u(-25, 15), thigh_pitch=thigh, thigh_out=u(0, 6), shank_pitch=thigh - knees)
    hang = u(168, 188)
    rest = posture(base, arm_pitch=hang, arm_out=wide, fore_pitch=hang + u(-5, 12), fore_out=wide * u(0.3, 1.0))
    elbow, flare = u(80, 150), u(15, 85)
    down, out = elbow * np.cos(np.radians(flare)), elbow * np.sin(np.radians(flare))
    arms = {"arm_pitch": hang - down, "arm_out": min(out + 0.3 * wide, 125), "fore_pitch": u(165, 195), "fore_out": u(-10, 12)}
    work = posture(rest, trunk=base[0] - u(0, 18), thigh_pitch=thigh + u(-5, 30), shank_pitch=thigh - knees - u(-5, 20), **arms)
    return Movement(rest=rest, work=work, anchor="hands", seconds=(1.2, 6.0))


def sit_up(random: Random) -> Movement:
    """From lying to sitting, or a crunch; hands at the head, crossed, reaching or along the sides; legs bent, straight or in the air."""
    u = random.uniform
    base = posture(trunk=u(-93, -78), head=u(-10, 40))
    style = random.random()
    if style < 0.7:
        thigh = u(112, 150)
        base = posture(base, thigh_pitch=thigh, shank_pitch=thigh - u(75, 125), thigh_out=u(0, 25))
    elif style < 0.85:
        base = posture(base, thigh_pitch=u(85, 97), shank_pitch=u(82, 95), thigh_out=u(0, 15))
    else:
        base = posture(base, thigh_pitch=u(155, 185), shank_pitch=u(75, 100))
    reach = random.integers(4)
    if reach == 0:
        arms = {"arm_pitch": u(110, 165), "arm_out": u(20, 60), "fore_pitch": u(215, 260), "fore_out": u(-35, 0)}
    elif reach == 1:
        arms = {"arm_pitch": u(10, 40), "arm_out": u(0, 20), "fore_pitch": u(110, 160), "fore_out": u(-55, -20)}
    elif reach == 2:
        arms = {"arm_pitch": u(60, 180), "arm_out": u(0, 15), "fore_pitch": u(70, 185), "fore_out": u(-10, 10)}
    else:
        arms = {"arm_pitch": u(-5, 30), "arm_out": u(0, 20), "fore_pitch": u(0, 45), "fore_out": u(-10, 10)}
    rest = posture(base, **arms)
    work = posture(rest, trunk=u(-65, -45) if random.random() < 0.2 else u(-35, 30), head=u(0, 50))
    return Movement(rest=rest, work=work, anchor="hips", seconds=(1.2, 6.0), arms_with_trunk=True)


def plank(random: Random) -> Movement:
    """Held on forearms or hands."""
    u = random.uniform
    if random.random() < 0.4:
        held = posture(push_up(random).rest)
    else:
        held = propped(random, slope=u(-3, 14), knees=random.random() < 0.1)
        held = posture(held, arm_pitch=u(-18, 15), arm_out=u(0, 12), fore_pitch=u(70, 100), fore_out=u(-35, 10))
    return Movement(rest=held, work=held, anchor="hands", seconds=None)


def wall_sit(random: Random) -> Movement:
    """Held with the back at a wall."""
    u = random.uniform
    base, with_trunk = arms_at(random, posture(standing(random), trunk=u(-6, 8)))
    held = posture(base, thigh_pitch=u(55, 95), shank_pitch=u(-12, 15), thigh_out=u(0, 20), shank_out=u(0, 12))
    return Movement(rest=held, work=held, seconds=None, arms_with_trunk=with_trunk)


EXERCISES: Mapping[str, Callable[[Random], Movement]] = MappingProxyType(
    {
        maker.__name__: maker
        for maker in (
            *(squat, lunge, deadlift, push_up, push_up_incline, bench_press, bicep_curl, overhead_press),
            *(lateral_raise, jumping_jack, pull_up, sit_up, plank, wall_sit),
        )
    }
)
"""Label -> a way to do it."""

"""Sets of repetitions by moving bodies in many conditions, counted without a picture: every exercise, tempo, camera and trouble.

Two kinds of bodies: stick figures in the styles that the recogniser knows (other performances than those it was trained on), and the
athlete, whose movements it has never seen. `CONDITIONS` names what differs from somebody who does an ordinary set before a good camera;
each set is said by exercise, condition and seed, and is the same every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from counting_camera import Array, Random, Sight, beside, seen
from numpy.typing import NDArray

from pose_analyzer.cli.recognizer_figures import RATE_HZ, SLOTS, Movement, figure, posture, sway
from pose_analyzer.cli.recognizer_movements import EXERCISES, standing
from pose_analyzer.exercise import list_profiles
from pose_analyzer.synthetic import Exercise, scene_for
from pose_analyzer.synthetic.observed import landmarks_over_time
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

HOLDS = ("plank", "wall_sit")
COUNTED = tuple(name for name in list_profiles() if name not in HOLDS)
_STYLE = {"barbell_squat": "squat", "hammer_curl": "bicep_curl"}
# Somebody who lies or hangs: how high the lowest joint is at rest, metres.
_LOWEST_M = {"pull_up": 0.3, "bench_press": 0.05}
_LANDMARKS = BLAZEPOSE_33.indices(
    [f"{s}_{p}" for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "ear") for s in ("left", "right")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What differs from an ordinary set.

    Args:
        seconds: Range of the seconds that a repetition takes, with its pauses.
        fps: Frame rates to choose from.
        jitter: Frames come early or late by up to half this share of a frame, and a fifth of them not at all.
        elevation_deg, error, flicker, shake, handled_s, cut, lost: Ranges of the `Sight`.
        gaps, swaps: Number of them.
        roll_deg: Standard deviation.
        ends: Share of the full depth of the first and of the last repetition.
        pause_s: Range of a pause at the turning point or at rest, in one of two repetitions.
        rest_s: Range of the rests of which there are two in the set.
        comes: Whether the athlete walks in, gets ready, and walks out again.
        passer: Whether somebody walks by behind, and the athlete is lost for a moment.
    """

    seconds: tuple[float, float] = (1.8, 3.5)
    fps: tuple[float, ...] = (25.0, 30.0)
    jitter: float = 0.0
    elevation_deg: tuple[float, float] = (0.0, 15.0)
    roll_deg: float = 1.5
    error: tuple[float, float] = (0.004, 0.007)
    flicker: tuple[float, float] = (0.001, 0.003)
    shake: tuple[float, float] = (0.0, 0.0)
    handled_s: tuple[float, float] = (0.0, 0.0)
    cut: tuple[float, float] = (0.0, 0.0)
    lost: tuple[float, float] = (0.0, 0.0)
    gaps: int = 0
    swaps: int = 0
    ends: tuple[float, float] = (1.0, 1.0)
    pause_s: tuple[float, float] = (0.0, 0.0)
    rest_s: tuple[float, float] = (0.0, 0.0)
    comes: bool = False
    passer: bool = False


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        "ordinary": Condition(),
        "fast": Condition(seconds=(0.7, 1.2)),
        "slow": Condition(seconds=(4.5, 6.5)),
        "camera above": Condition(elevation_deg=(28.0, 50.0)),
        "camera low": Condition(elevation_deg=(-14.0, -3.0)),
        "small": Condition(error=(0.010, 0.016), flicker=(0.005, 0.010), lost=(0.0, 0.05)),
        "partly outside": Condition(cut=(0.10, 0.30)),
        "in the hand, handled": Condition(shake=(0.01, 0.05), handled_s=(1.0, 1.6), roll_deg=8.0),
        "shallow ends": Condition(ends=(0.7, 0.7)),
        "pauses": Condition(pause_s=(1.0, 3.0)),
        "rests": Condition(rest_s=(5.0, 11.0)),
        "comes and goes": Condition(comes=True),
        "somebody passes": Condition(passer=True, gaps=1),
        "10 to 15 fps": Condition(fps=(10.0, 12.0, 15.0)),
        "60 fps, variable": Condition(fps=(60.0, 50.0), jitter=0.8),
        "limbs lost, swaps": Condition(lost=(0.05, 0.15), gaps=2, swaps=4),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Set:
    """A set as detected: frame by frame people and time, and how many repetitions the main person (track 1) did."""

    exercise: str
    condition: str
    seed: int
    frames: tuple[tuple[Poses, float], ...]
    repetitions: int
    athlete: bool
    sight: Sight


def make_set(exercise: str, condition: str, seed: int) -> Set:
    """One set; every other seed is done by the athlete where it knows the exercise.

    Args:
        exercise: Name of a profile.
        condition: Of `CONDITIONS`.
        seed: Of everything random.
    """
    how = CONDITIONS[condition]
    random = np.random.default_rng((seed, list_profiles().index(exercise), list(CONDITIONS).index(condition), 5))
    held = exercise in HOLDS
    athlete = seed % 2 == 1 and exercise in {e.value for e in Exercise} and not how.comes
    number = 0 if held else int(random.integers(3, 8))
    pieces, end_s = _pieces(how, random, number, jacks=exercise == "jumping_jack")
    end_s += 8.0 if held else 0.0
    before_s = after_s = 0.0
    if how.comes:
        before_s, after_s = float(random.uniform(4.5, 7.0)), float(random.uniform(4.0, 6.0))
    times = _times(how, random, before_s + end_s + after_s)
    clock, which = _progress(pieces, times - before_s)
    if held:
        clock = np.ones_like(times)
    if athlete:
        joints = _athlete_joints(exercise, seed, clock)
    else:
        movement = EXERCISES[_STYLE.get(exercise, exercise)](random)
        joints = _figure_joints(movement, exercise, clock, which, times, random, (before_s, after_s) if how.comes else None)
    sight = _sight(how, random)
    if condition == "pauses":
        sight = replace(sight, azimuth_deg=float(random.uniform(-90, 90)))
    frames = seen(_not_past_the_camera(joints, sight) if how.comes else joints, times, sight, random)
    if how.passer:
        frames = _with_passer(frames, times, random)
    return Set(exercise, condition, seed, tuple(zip(frames, times.tolist(), strict=True)), number, athlete, sight)


# --- time -----------------------------------------------------------------------------------------------
def _pieces(how: Condition, random: Random, number: int, *, jacks: bool) -> tuple[list[tuple[float, float, float, float, float]], float]:
    """(start, out, turn, back, depth) of every repetition, and when the set is over, s."""
    low, high = (0.55 * x for x in how.seconds) if jacks and how.seconds[0] > 1 else how.seconds
    length = float(np.exp(random.uniform(np.log(low), np.log(high))))
    shares = np.array([random.uniform(0.3, 0.55), random.uniform(0.0, 0.15), random.uniform(0.3, 0.55), random.uniform(0.03, 0.25)])
    shares /= shares.sum()
    rests = set(random.choice(np.arange(1, max(number, 3)), 2, replace=False).tolist()) if how.rest_s[1] else set()
    now, pieces = float(random.uniform(0.8, 2.0)), []
    for k in range(number):
        out, turn, back, rest = shares * length * random.uniform(0.88, 1.12)
        depth = random.uniform(0.9, 1.05)
        depth *= how.ends[0] if k == 0 else how.ends[1] if k == number - 1 else 1.0
        if how.pause_s[1] and random.random() < 0.5:
            longer = float(random.uniform(*how.pause_s))
            turn, rest = (turn + longer, rest) if random.random() < 0.5 else (turn, rest + longer)
        if k in rests:
            now += float(random.uniform(*how.rest_s))
        pieces.append((now, float(out), float(turn), float(back), float(depth)))
        now += float(out + turn + back + rest)
    return pieces, now + float(random.uniform(0.8, 2.0))


def _progress(pieces: list[tuple[float, float, float, float, float]], times_s: Array) -> tuple[Array, Array]:
    """(t,) progress 0..1, and which repetition it belongs to."""
    clock, which = np.zeros_like(times_s), np.zeros(len(times_s), int)
    for k, (start, out, turn, back, depth) in enumerate(pieces):
        clock += depth * (_ease((times_s - start) / out) - _ease((times_s - start - out - turn) / back))
        which[times_s >= start] = k
    return clock, which


def _times(how: Condition, random: Random, end_s: float) -> Array:
    fps = float(random.choice(how.fps))
    times = np.arange(int(end_s * fps)) / fps
    if how.jitter:
        times = times + random.uniform(-0.5, 0.5, len(times)) * how.jitter / fps
        times = times[random.random(len(times)) > 0.2]
    return times - times[0]


def _ease(x: Array) -> Array:
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


# --- bodies ---------------------------------------------------------------------------------------------
def _athlete_joints(exercise: str, seed: int, clock: Array) -> Array:
    table = _athlete_table(exercise, seed)
    at = np.clip(clock, 0.0, 1.0) * (len(table) - 1)
    low = np.minimum(at.astype(int), len(table) - 2)
    return table[low] + (at - low)[:, None, None, None] * (table[low + 1] - table[low])


@lru_cache(maxsize=64)
def _athlete_table(exercise: str, seed: int) -> Array:
    """(64, 7, 2, 3) joints of the athlete from rest to the turning point, at even steps of progress."""
    held = exercise in HOLDS
    extra = {"hold_s": 0.5} if held else {"tempo": [2.0, 0.1, 2.0, 0.1]}
    scene = scene_for(exercise, reps=0 if held else 1, seed=seed, fps=40, start_delay_s=0.0, **extra)
    joints = landmarks_over_time(scene)[:, _LANDMARKS].reshape(-1, 7, 2, 3)
    if held:
        return np.repeat(joints[len(joints) // 2][None], 64, 0)
    (rep,) = scene.repetitions(1)
    times = np.array(scene.timestamps_s[: len(joints)])
    out = (times >= rep.start_s) & (times <= rep.turn_start_s)
    done = _ease((times[out] - rep.start_s) / (rep.turn_start_s - rep.start_s))
    flat = joints[out].reshape(int(out.sum()), -1)
    even = np.stack([np.interp(np.linspace(0, 1, 64), done, column) for column in flat.T], axis=1)
    return even.reshape(64, 7, 2, 3)


def _figure_joints(
    movement: Movement, exercise: str, clock: Array, which: Array, times: Array, random: Random, comes: tuple[float, float] | None
) -> Array:
    even = which % 2 == 0
    turn = {"both": (1.0, 1.0), "left": (1.0, 0.0), "right": (0.0, 1.0), "alternating": (even, ~even)}
    limbs = np.stack(np.broadcast_arrays(clock, *(clock * m for m in turn[movement.arms]), *(clock * m for m in turn[movement.legs])))
    path = movement.rest + (movement.work - movement.rest) * limbs[_clock_of_slots()].T + _swaying(random, times)
    rest = movement.rest[None].copy()
    if movement.arms_with_trunk:  # from here on all directions are the world's
        for rows in (path, rest):
            rows[:, _ARM_PITCHES] -= rows[:, :1]
    body = int(random.integers(1 << 30))
    lift = movement.hop * np.clip(4.0 * clock * (1.0 - clock), 0.0, 1.0)
    raised = _LOWEST_M.get(exercise, 0.0) - figure(rest, np.random.default_rng(body), anchor=movement.anchor)[..., 2].min()
    if comes is None:
        joints = figure(path, np.random.default_rng(body), anchor=movement.anchor, lift=lift)
        joints[..., 2] += raised
        return joints
    path, at_place, away = _coming_and_going(path, exercise, times, random, comes)
    placed, walking = (figure(path, np.random.default_rng(body), anchor=a, lift=lift) for a in (movement.anchor, "feet"))
    placed[..., 2] += raised
    return walking + at_place * (placed - walking) + away


_ARM_PITCHES = [SLOTS.index(f"{limb}_pitch_{side}") for limb in ("arm", "fore") for side in "lr"]
_TAKES_WEIGHTS = ("bicep_curl", "hammer_curl", "lateral_raise", "overhead_press", "lunge", "bench_press")
_ON_FLOOR = ("push_up", "plank", "sit_up", "bench_press", "push_up_incline")


def _coming_and_going(path: Array, exercise: str, times: Array, random: Random, comes: tuple[float, float]) -> tuple[Array, Array, Array]:
    """The athlete walks up, gets ready (bends for weights, lies down, takes the bar), and afterwards leaves.

    Returns:
        (t, s) postures; (t, 1, 1, 1) how far the place of the exercise has been taken; (t, 1, 1, 3) where the athlete is else, metres.
    """
    bends = exercise in _TAKES_WEIGHTS and random.random() < 0.7
    taken_s, left_s, change_s = comes[0] - 0.5, times[-1] - comes[1] + 0.5, float(random.uniform(0.9, 1.8))
    share = _ease(np.minimum((times - taken_s) / change_s + 1.0, (left_s - times) / change_s + 1.0))
    margin = change_s + (1.8 if bends else 0.3)
    arrives_s, goes_s = taken_s - margin, left_s + margin
    walk = _walking(random, times, (times < arrives_s) | (times > goes_s))
    upright = standing(random)
    if bends:
        bent = posture(upright, trunk=random.uniform(45, 85), thigh_pitch=random.uniform(20, 70), shank_pitch=-random.uniform(10, 30))
        for middle in (arrives_s + 0.9, goes_s - 0.9):
            walk += _ease(1.0 - np.abs(times - middle) / 0.9)[:, None] * (bent - upright)
    mixed = upright + walk + share[:, None] * (path - upright - walk)
    midway = (4.0 * share * (1.0 - share))[:, None]
    if exercise in _ON_FLOOR:
        crouch = posture(trunk=random.uniform(10, 35), thigh_pitch=random.uniform(30, 80), shank_pitch=-random.uniform(20, 60))
        mixed += midway * crouch
    mixed += midway * posture(fore_pitch=(random.uniform(0, 60), random.uniform(0, 60)))
    heading = random.uniform(0, 2 * np.pi)
    away = 1.1 * (np.maximum(arrives_s - times, 0.0) + np.maximum(times - goes_s, 0.0))
    along = np.array([np.cos(heading), np.sin(heading), 0.0])
    return mixed, share[:, None, None, None], away[:, None, None, None] * along


def _not_past_the_camera(joints: Array, sight: Sight) -> Array:
    """Who would walk towards the camera walks away from it."""
    azimuth = np.radians(sight.azimuth_deg)
    toward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    middle = joints[:, 3].mean(1)
    excess = (middle - middle[len(middle) // 2]) @ toward
    return joints - 2.0 * np.maximum(excess - 0.6, 0.0)[:, None, None, None] * toward


def _walking(random: Random, times: Array, walks: NDArray[np.bool_]) -> Array:
    """(t, s) degrees that a walk adds to standing."""
    path = _swaying(random, times)
    phase = 2 * np.pi * random.uniform(0.7, 1.0) * times
    for side, sign in (("l", 1.0), ("r", -1.0)):
        step = np.where(walks, np.sin(phase) * sign, 0.0)
        lift = np.where(walks, np.clip(sign * np.cos(phase), 0, 1), 0.0)
        path[:, SLOTS.index(f"thigh_pitch_{side}")] += 22 * step
        path[:, SLOTS.index(f"shank_pitch_{side}")] += 22 * step - 45 * lift
        path[:, SLOTS.index(f"arm_pitch_{side}")] -= 18 * step
        path[:, SLOTS.index(f"fore_pitch_{side}")] -= 18 * step
    return path


def _swaying(random: Random, times: Array) -> Array:
    """(t, s) degrees by which nobody is quite still."""
    slow = sway(random, int(times[-1] * RATE_HZ) + 2) * random.uniform(0.5, 2.0)
    at = np.arange(len(slow)) / RATE_HZ
    return np.stack([np.interp(times, at, column) for column in slow.T], axis=1)


@lru_cache(maxsize=1)
def _clock_of_slots() -> Array:
    return np.array([0 if "_" not in n else (1 if n.split("_")[0] in ("arm", "fore") else 3) + (n[-1] == "r") for n in SLOTS])


# --- cameras and strangers ------------------------------------------------------------------------------
def _sight(how: Condition, random: Random) -> Sight:
    azimuth = float(random.uniform(-100, 100) if random.random() < 0.85 else random.uniform(100, 260))
    return Sight(
        azimuth_deg=azimuth,
        elevation_deg=float(random.uniform(*how.elevation_deg)),
        roll_deg=float(random.normal(0.0, how.roll_deg)),
        distance_m=float(np.exp(random.uniform(np.log(2.3), np.log(7.0)))),
        error=float(random.uniform(*how.error)),
        flicker=float(random.uniform(*how.flicker)),
        shake=float(random.uniform(*how.shake)),
        handled_s=float(random.uniform(*how.handled_s)),
        cut=float(random.uniform(*how.cut)),
        cut_edge=str(random.choice(("bottom", "bottom", "top", "left", "right"))),
        lost=float(random.uniform(*how.lost)),
        gaps=how.gaps,
        swaps=how.swaps,
    )


def _with_passer(frames: list[Poses], times: Array, random: Random) -> list[Poses]:
    """Somebody walks through the picture for some seconds, as track 2."""
    start = float(random.uniform(0.0, max(times[-1] - 5.0, 0.1)))
    there = (times >= start) & (times < start + 5.0)
    path = standing(random) + _walking(random, times[there] - start, np.ones(int(there.sum()), bool))
    joints = figure(path, random)
    joints[..., 1] += (1.2 * (times[there] - start - 2.5))[:, None, None]
    others = iter(seen(joints, times[there], Sight(azimuth_deg=float(random.uniform(-30, 30)), distance_m=7.0), random))
    return [beside(f, next(others), 2) if t else f for f, t in zip(frames, there, strict=True)]

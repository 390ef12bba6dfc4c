"""Scenes of people who are small in the picture: standing heights of 40 to 400 px, each with exact truth.

People do exercises side by side in a gym, all about as far from the camera as their height in the picture asks for, so that a
scene belongs to one class of height. Scenes of somebody near with others far behind, and rooms without anybody, stand beside
them. Every scene follows from its seed; `SETTLE_SEEDS` served to choose constants, `JUDGE_SEEDS` for the figures only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pose_analyzer.synthetic import Scene, Truth, random_body, spec_to_dict

HEIGHTS_PX = (40, 60, 80, 120, 200, 400)
SETTLE_SEEDS = (1, 2, 3)
JUDGE_SEEDS = (101, 102, 103)
WIDTH, HEIGHT = 1280, 720
_EXERCISES = ("squat", "jumping_jack", "lateral_raise", "bicep_curl", "overhead_press", "lunge", "deadlift")
_MEAN_HEIGHT_M = 1.72
_PEOPLE = {40: 5, 60: 5, 80: 4, 120: 4, 200: 3, 400: 2}


def scene_of(height_px: int, seed: int, *, fps: float = 30.0, duration_s: float = 3.0) -> Scene:
    """People of about one height in the picture."""
    random = np.random.default_rng((seed, height_px, 7))
    fov_deg = float(random.uniform(45, 65))
    distance_m = _focal_px(fov_deg) * _MEAN_HEIGHT_M / height_px
    people = _row(random, _PEOPLE[height_px], 0.0, distance_m, fov_deg, seed)
    return _scene(people, random, fov_deg, distance_m, seed, fps, duration_s)


def mixed_scene(seed: int, *, fps: float = 30.0, duration_s: float = 3.0) -> Scene:
    """Somebody of 400 px with three people of about 60 px far behind."""
    random = np.random.default_rng((seed, 11))
    fov_deg = float(random.uniform(45, 65))
    distance_m = _focal_px(fov_deg) * _MEAN_HEIGHT_M / 400
    behind_m = _focal_px(fov_deg) * _MEAN_HEIGHT_M / 60 - distance_m
    near = _athlete(random, 0.0, float(random.uniform(-0.5, 0.5)), seed * 100)
    far = _row(random, 3, -behind_m, distance_m + behind_m, fov_deg, seed + 50)
    return _scene([near, *far], random, fov_deg, distance_m, seed, fps, duration_s, flat=True)


def empty_scene(seed: int, *, fps: float = 30.0, duration_s: float = 3.0) -> Scene:
    """A room with posters and nobody in it."""
    random = np.random.default_rng((seed, 13))
    distance_m = float(random.uniform(4, 25))
    return _scene([], random, float(random.uniform(45, 65)), distance_m, seed, fps, duration_s)


def standing_px(scene: Scene, truth: Truth) -> np.ndarray:
    """(n,) height in px that each person has, or would have, upright at their distance from the camera."""
    stature = {a.track_id: a.spec.body.height_m for a in scene.athletes}
    depth = truth.joints_camera_m[..., 2].mean(1)
    return np.array([stature[i] for i in truth.track_ids.tolist()]) * truth.focal_px / depth


def _focal_px(fov_deg: float) -> float:
    return HEIGHT / 2 / math.tan(math.radians(fov_deg / 2))


def _row(random: np.random.Generator, count: int, x_m: float, distance_m: float, fov_deg: float, seed: int) -> list[dict[str, Any]]:
    """People side by side, evenly with some disorder, within the picture."""
    half_m = 0.8 * WIDTH / 2 / _focal_px(fov_deg) * distance_m
    places = np.linspace(-half_m, half_m, count + 2)[1:-1]
    step_m = 2 * half_m / (count + 1)
    return [
        _athlete(
            random, x_m + float(random.uniform(-0.06, 0.06)) * distance_m, float(y + random.uniform(-0.2, 0.2) * step_m), seed * 100 + i
        )
        for i, y in enumerate(places)
    ]


def _athlete(random: np.random.Generator, x_m: float, y_m: float, look: int) -> dict[str, Any]:
    motion = {"exercise": str(random.choice(_EXERCISES)), "reps": 5}
    heading_deg = float(random.uniform(-90, 90))
    return {"body": spec_to_dict(random_body(look)), "motion": motion, "position_m": [x_m, y_m], "heading_deg": heading_deg}


def _scene(
    people: list[dict[str, Any]],
    random: np.random.Generator,
    fov_deg: float,
    distance_m: float,
    seed: int,
    fps: float,
    duration_s: float,
    *,
    flat: bool = False,
) -> Scene:
    elevation_deg = 2.0 if flat else float(random.uniform(2, 14))
    colours = ("#d5d2c8", "#8f9aa3", "#5f6b73", "#c9b79c", "#7d8f7a")
    return Scene.from_dict(
        {
            "seed": seed,
            "athletes": people,
            "camera": {"elevation_deg": elevation_deg, "fov_deg": fov_deg, "distance_m": distance_m, "target_m": [0.0, 0.0, 0.9]},
            "image": {"width": WIDTH, "height": HEIGHT, "fps": fps, "noise_sigma": 2.5, "jpeg_quality": 90},
            "room": {"floor": str(random.choice(["wood", "tiles", "rubber"])), "wall_colour": str(random.choice(colours))},
            "duration_s": duration_s,
        }
    )

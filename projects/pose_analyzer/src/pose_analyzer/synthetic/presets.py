"""Ready-made scenes: one athlete, one exercise, everything else by keyword."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

import numpy as np

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic.exercises import Exercise
from pose_analyzer.synthetic.scene import Scene
from pose_analyzer.synthetic.spec import AthleteSpec, BodySpec, CameraSpec, ImageSpec, MotionSpec, RoomSpec
from pose_analyzer.synthetic.spec_io import spec_from_dict, spec_to_dict

# Skin, and hair that occurs with it.
_LOOKS = (
    ("#f0c8a8", ("#2e2118", "#5a3a22", "#6f5430", "#6e6a66")),
    ("#dba882", ("#1c1512", "#2e2118", "#5a3a22", "#6e6a66")),
    ("#c58c6a", ("#1c1512", "#2e2118", "#45301f")),
    ("#a06a48", ("#1c1512", "#241a14")),
    ("#7a4c32", ("#14100e", "#1c1512")),
    ("#5a3825", ("#100d0c", "#181311")),
)
_SHIRTS = ("#2f5d8c", "#a8322e", "#2c7a4b", "#6a4a8c", "#d08a2e", "#3c4048", "#1f8a8a", "#b8466e")
_BOTTOMS = ("#26282e", "#1d2a44", "#3a3d42", "#40342c", "#24382c")
_SHOES = ("#e8e8e8", "#24262a", "#c23a3a", "#3a62b0", "#d8d23c")


def random_body(seed: int) -> BodySpec:
    """A plausible adult: measures, build, skin, hair and clothes drawn by seed.

    Stature is normal with mean 1.72 m and standard deviation 0.09 m, cut to 1.52..1.96 m; proportions vary by a few percent.

    Example:
        >>> random_body(4) == random_body(4)
        True
    """
    random = np.random.default_rng((seed, 31))

    def pick(choices: tuple[str, ...]) -> str:
        return str(choices[int(random.integers(len(choices)))])

    def near_one(spread: float) -> float:
        return round(float(np.clip(random.normal(1.0, spread), 1 - 2 * spread, 1 + 2 * spread)), 3)

    skin, hair = _LOOKS[int(random.integers(len(_LOOKS)))]
    values: dict[str, Any] = {
        "height_m": round(float(np.clip(random.normal(1.72, 0.09), 1.52, 1.96)), 3),
        "build": round(float(np.clip(random.normal(1.02, 0.10), 0.85, 1.30)), 3),
        "leg_scale": near_one(0.02),
        "trunk_scale": near_one(0.02),
        "arm_scale": near_one(0.02),
        "shoulder_scale": near_one(0.035),
        "hip_scale": near_one(0.03),
        "skin": skin,
        "hair": pick(hair),
        "shirt": pick(_SHIRTS),
        "bottoms": pick(_BOTTOMS),
        "shoes": pick(_SHOES),
        "hair_style": pick(("short", "short", "long", "bun")),
        "sleeves": pick(("short", "short", "none", "long")),
        "legwear": pick(("shorts", "shorts", "leggings", "trousers")),
    }
    return BodySpec(**values)


# Keyword -> where it goes in the nested spec.
_PLACES: dict[str, tuple[str, ...]] = {
    **{f.name: ("room",) for f in fields(RoomSpec)},
    **{f.name: ("camera",) for f in fields(CameraSpec)},
    **{f.name: ("image",) for f in fields(ImageSpec)},
    **{f.name: ("athlete",) for f in fields(AthleteSpec)},
    **{f.name: ("athlete", "body") for f in fields(BodySpec)},
    **{f.name: ("athlete", "motion") for f in fields(MotionSpec)},
    "duration_s": (),
    "name": (),
}


def scene_for(exercise: str | Exercise, *, azimuth_deg: float = 0.0, reps: int = 3, seed: int = 0, **overrides: Any) -> Scene:
    """One athlete who does one exercise, filmed so that the whole movement is in the picture.

    Args:
        exercise: Name, for example "squat"; see `Exercise`.
        azimuth_deg: Camera: 0 front, 45 oblique, 90 the athlete's left side, 180 back.
        reps: Repetitions, where the exercise has any.
        seed: Of the athlete's looks and everything else random.
        **overrides: Any field of `BodySpec`, `MotionSpec`, `AthleteSpec`, `CameraSpec`, `ImageSpec`, `RoomSpec`, or
            `duration_s` and `name` of `SceneSpec`, for example `height_m=1.8, depth_deg=95, elevation_deg=15, width=320,
            noise_sigma=4, faults={"knee_valgus_deg": 12}, tempo=[2, 0.5, 1, 0.5]`.

    Raises:
        SceneError: A keyword is unknown (the text names the nearest) or a value out of range.

    Example:
        >>> scene = scene_for("bicep_curl", azimuth_deg=30, reps=4, side="left", fps=20)
        >>> len(scene.repetitions(1)), scene.spec.athletes[0].motion.side
        (4, 'left')
    """
    kind = Exercise.named(exercise)
    motion: dict[str, Any] = {"exercise": kind.value, "reps": reps}
    athlete: dict[str, Any] = {"body": spec_to_dict(random_body(seed)), "motion": motion}
    data: dict[str, Any] = {"seed": seed, "camera": {"azimuth_deg": float(azimuth_deg)}, "image": {}, "room": {}}
    for key, value in overrides.items():
        if key not in _PLACES:
            near = difflib.get_close_matches(key, _PLACES, n=1)
            raise SceneError(f"scene_for has no keyword {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        place = _PLACES[key]
        owner = athlete if place[:1] == ("athlete",) else data
        for part in place[1:] if place[:1] == ("athlete",) else place:
            owner = owner[part]
        if key in ("body", "motion") and isinstance(value, BodySpec | MotionSpec):
            value = spec_to_dict(value)
        owner[key] = value
    spec = spec_from_dict(data | {"athletes": [athlete]})
    return Scene(spec)

"""Exercise profiles: what moves in an exercise, how far, how long, and when it counts.

A profile is a YAML file of `config/exercises/`; `load_profile("squat")` finds it by name or alias, in
`$POSE_CONFIG_DIR/exercises`, in the repository or in the installed package, in that order.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, model_validator

from pose_analyzer.errors import ExerciseError
from pose_analyzer.resources import config_folders
from shared_utils.config import SettingsModel, load_settings
from shared_utils.errors import ConfigError

Space = Literal["image", "space", "both", "best"]


class Cue(SettingsModel):
    """An angle that shows the movement, with the two thresholds that scale it."""

    angle: str = Field(description="Name of the angle without side, space and unit, for example knee_flexion.")
    rest_deg: float = Field(ge=-180, le=180, description="Where an ordinary repetition starts, degrees.")
    work_deg: float = Field(ge=-180, le=180, description="Where an ordinary repetition turns, degrees; may lie below rest_deg.")
    weight: float = Field(1.0, gt=0, le=100, description="Share in the signal, relative to the other cues.")
    space: Space = Field(
        "both", description="Angles of the image plane, of metric landmarks in space, both (their mean), or best (space, else image)."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if abs(self.work_deg - self.rest_deg) < 5:
            raise ValueError(f"rest_deg ({self.rest_deg:g}) and work_deg ({self.work_deg:g}) must lie at least 5 degrees apart")
        return self


class Limit(SettingsModel):
    """A range that an angle must stay in while a position is held."""

    angle: str = Field(description="Name of the angle without side, space and unit, for example knee_flexion.")
    min_deg: float = Field(0.0, ge=-180, le=180, description="Least angle, degrees.")
    max_deg: float = Field(180.0, ge=-180, le=180, description="Greatest angle, degrees.")
    space: Space = Field("best", description="As for a cue.")
    required: bool = Field(True, description="Whether a hold needs to see this angle; otherwise it is judged only while it is seen.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_deg <= self.min_deg:
            raise ValueError(f"max_deg ({self.max_deg:g}) must be greater than min_deg ({self.min_deg:g})")
        return self


class ExerciseProfile(SettingsModel):
    """How repetitions (or holds) of one exercise are recognised. Frozen and validated.

    An exercise with `cues` is counted, one with `limits` is timed.

    Raises:
        pydantic.ValidationError: A value is out of range or contradicts another; `load_profile` turns it
            into an `ExerciseError`.

    Example:
        >>> load_profile("push-up").name
        'push_up'
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Identifier, also the file's name.")
    description: str = Field(min_length=1, description="What is counted, one sentence.")
    aliases: tuple[str, ...] = Field((), description="Other names; case, spaces, - and _ do not matter.")
    cues: tuple[Cue, ...] = Field((), description="What shows the movement; events quote the first one's degrees.")
    limits: tuple[Limit, ...] = Field((), description="What holds the position, for exercises that are timed; all must be met.")
    sides: Literal["mean", "max"] = Field(
        "mean", description="Mean of the sides, or the side that is farther on its way (one-armed and alternating exercises)."
    )
    rest: Literal["top", "bottom"] = Field("top", description="Where the body or the weight is between repetitions.")
    counts_at: Literal["turn", "return"] = Field(
        "return", description="Where the lift ends, and with it the repetition: at the turning point or back at rest."
    )
    where: tuple[Limit, ...] = Field(
        (),
        description="The position in which the exercise is done: one of these is met, or none of them is seen. Out of it nothing counts.",
    )
    still: tuple[str, ...] = Field(
        (),
        description="Angles, without side and unit, of joints that this exercise leaves alone: who moves them all the time does something "
        "else. Looked at when the exercise is recognised by itself.",
    )
    sinks_pct: float | None = Field(
        None,
        ge=-300,
        le=300,
        description="How far the shoulders sink in an ordinary repetition, percent of the trunk's length (below 0 = rise); "
        "stands in for cues that are not seen, such as legs out of the picture, and where they hardly sink there is no repetition. "
        "0 = they stay where they are in a repetition.",
    )
    min_range_deg: float = Field(30.0, gt=0, le=180, description="Least range of a repetition, degrees of the first cue.")
    min_phase_s: float = Field(0.08, ge=0, le=10, description="A lift that takes less from a tenth to nine tenths is no movement, s.")
    min_duration_s: float = Field(0.3, ge=0, le=60, description="Shorter repetitions are glitches, shorter holds are not told, s.")
    max_duration_s: float = Field(15.0, gt=0, le=3600, description="A longer repetition is abandoned, s; holds have no limit.")
    max_gap_s: float = Field(1.0, gt=0, le=60, description="Missing readings pause the count up to this long, then end it, s.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.cues) == bool(self.limits):
            raise ValueError("give either cues (repetitions are counted) or limits (a hold is timed)")
        if self.sinks_pct and abs(self.sinks_pct) < 20:
            raise ValueError(f"sinks_pct must be 20 or more, 0, or -20 or less, got {self.sinks_pct:g}")
        if self.limits and not self.limits[0].required:
            raise ValueError("the first limit must be required: a hold of which nothing is seen is none")
        if self.max_duration_s <= self.min_duration_s:
            raise ValueError(f"max_duration_s ({self.max_duration_s:g}) must be greater than min_duration_s ({self.min_duration_s:g})")
        if self.cues and self.min_range_deg > self.nominal_range_deg:
            raise ValueError(f"min_range_deg ({self.min_range_deg:g}) exceeds the first cue's own range ({self.nominal_range_deg:g})")
        return self

    @property
    def is_hold(self) -> bool:
        """Whether the exercise is timed rather than counted."""
        return bool(self.limits)

    @property
    def nominal_range_deg(self) -> float:
        """Range of an ordinary repetition, degrees of the first cue; 0 for a hold."""
        return abs(self.cues[0].work_deg - self.cues[0].rest_deg) if self.cues else 0.0

    @property
    def phases(self) -> dict[str, str]:
        """Name of each phase: `top` and `bottom` are positions, `down` lowers (eccentric), `up` lifts (concentric)."""
        if self.rest == "top":
            return {"rest": "top", "out": "down", "turn": "bottom", "back": "up"}
        return {"rest": "bottom", "out": "up", "turn": "top", "back": "down"}


def load_profile(name_or_path: str | Path) -> ExerciseProfile:
    """The profile of that name or alias, or of that YAML file.

    Args:
        name_or_path: `squat`, `Push-Up`, `pushup_incline`, or a path that ends in .yaml or .yml.

    Raises:
        ExerciseError: There is none of that name (the nearest is named), the file cannot be read, a key is
            unknown (the nearest is named), or a value is out of range.

    Example:
        >>> load_profile("squat").counts_at
        'return'
        >>> load_profile("sqat")
        Traceback (most recent call last):
        pose_analyzer.errors.ExerciseError: unknown exercise 'sqat'; did you mean 'squat'? ...
    """
    if str(name_or_path).lower().endswith((".yaml", ".yml")):
        return _read(Path(name_or_path))
    key = _key(str(name_or_path))
    by_key = {_key(path.stem): path for path in _files()}
    if key not in by_key:  # only now, as aliases must be read from every file
        for path in list(by_key.values()):
            for alias in _aliases(path):
                by_key.setdefault(_key(alias), path)
    if key in by_key:
        return _read(by_key[key])
    near = difflib.get_close_matches(key, by_key, n=1)
    hint = f"; did you mean {by_key[near[0]].stem!r}?" if near else "."
    raise ExerciseError(f"unknown exercise {str(name_or_path)!r}{hint} There are {', '.join(list_profiles())}, or give a YAML file")


def list_profiles() -> list[str]:
    """Names of all profiles, sorted.

    Example:
        >>> "squat" in list_profiles()
        True
    """
    return sorted(path.stem for path in _files())


def _files() -> Iterator[Path]:
    """Profile files; a name found in an earlier folder hides the same name in a later one."""
    seen: set[str] = set()
    for folder in config_folders():
        for path in sorted((folder / "exercises").glob("*.yaml")):
            if path.stem not in seen:
                seen.add(path.stem)
                yield path


def _key(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def _aliases(path: Path) -> tuple[str, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()  # told when this profile itself is asked for
    return _aliases_of(path, stat.st_mtime_ns, stat.st_size)


# Parsing a profile takes 15 ms, looking at a file's time and size takes 10 us: an edited file is another key.
@lru_cache(maxsize=512)
def _aliases_of(path: Path, mtime_ns: int, size: int) -> tuple[str, ...]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ()
    aliases = content.get("aliases") if isinstance(content, dict) else None
    return tuple(str(a) for a in aliases) if isinstance(aliases, list) else ()


def _read(path: Path) -> ExerciseProfile:
    try:
        stat = path.stat()
    except OSError:
        return _parsed(path, 0, 0)  # raises, and what raises is not kept
    return _parsed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def _parsed(path: Path, mtime_ns: int, size: int) -> ExerciseProfile:
    try:
        return load_settings(ExerciseProfile, config_file=path, environ={})
    except ConfigError as error:
        raise ExerciseError(f"exercise profile {path.name}: {error}") from None

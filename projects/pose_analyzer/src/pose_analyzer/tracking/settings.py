"""Settings of the trackers, under the names that ultralytics' tracker files use, and how they are read from YAML.

Every buffer counts frames of 30 Hz, as in those files, and is a time here: 30 is 1.0 s in a stream of any rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml

from shared_utils.errors import ConfigError

BUFFER_RATE_HZ = 30.0
"""`track_buffer` counts frames of this rate, as in ByteTrack's authors' code, whatever the stream's own."""

GmcMethod = Literal["sparseOptFlow", "orb", "sift", "ecc", "none"]

_UNBOUNDED = ("track_buffer", "reentry_s", "nn_budget", "confirm_frames")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """What all trackers have.

    Args:
        track_high_thresh: Least score 0..1 for the first association and for new tracks. Default 0.25.
        track_low_thresh: Least score 0..1 for the second association; what is below is not looked at.
            Default 0.1.
        new_track_thresh: Least score 0..1 to start a track. Default 0.25.
        track_buffer: How long a track waits for its person, in frames of 30 Hz: 30 is 1.0 s in a stream of
            any rate. Default 30.
        match_thresh: Greatest cost 0..1 of the first association. Default 0.8.

    Raises:
        ConfigError: A value is out of range.
    """

    track_high_thresh: float = 0.25
    track_low_thresh: float = 0.1
    new_track_thresh: float = 0.25
    track_buffer: float = 30
    match_thresh: float = 0.8

    def __post_init__(self) -> None:
        _check(self)

    @property
    def lost_budget_s(self) -> float:
        """How long a track waits for its person, seconds."""
        return self.track_buffer / BUFFER_RATE_HZ

    @property
    def start_score(self) -> float:
        """Least score 0..1 of a detection that starts a track."""
        return max(self.new_track_thresh, self.track_high_thresh)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookingSettings(TrackerSettings):
    """What trackers have that look at pictures, besides `TrackerSettings`.

    Args:
        gmc_method: How the camera's own motion is found between frames, "none" to leave it out.
        appearance_thresh: Least similarity 0..1 of looks (cosine) that counts as the same person. Default 0.8.
        with_reid: Use looks at all; they need images. Default true.
        model: "auto" for the colours of the detector's own body parts, else an ONNX network by registry name
            (`osnet_x0_25_msmt17`) or path. Default "auto".
        reentry_s: A person who left may come back under the same id for this long, s; 0 = never. Default 30.
        reentry_margin: Least lead 0..1 in similarity over the second best for that. Default 0.05.

    Raises:
        ConfigError: A value is out of range.
    """

    gmc_method: GmcMethod = "none"
    appearance_thresh: float = 0.8
    with_reid: bool = True
    model: str = "auto"
    reentry_s: float = 30.0
    reentry_margin: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTrackConfig(TrackerSettings):
    """Settings of `ByteTracker`: those of `TrackerSettings`, and:

    Args:
        fuse_score: Multiply the overlap by the detection's score. Default true.
    """

    fuse_score: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSortConfig(LookingSettings):
    """Settings of `BotSortTracker`: those of `LookingSettings`, and:

    Args:
        gmc_method: Default "sparseOptFlow", as published.
        fuse_score: Multiply the overlap by the detection's score. Default true.
        proximity_thresh: Greatest 1 - overlap 0..1 at which looks are consulted. Default 0.5.
    """

    gmc_method: GmcMethod = "sparseOptFlow"
    fuse_score: bool = True
    proximity_thresh: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSortConfig(LookingSettings):
    """Settings of `DeepSortTracker`: those of `LookingSettings`, and:

    `track_low_thresh` is not used by this method, which has one stage of scores; files of the others load.

    Args:
        match_thresh: Greatest 1 - overlap 0..1 in the association of boxes that ends each frame. Default 0.7.
        nn_budget: Views kept of each person, the latest ones. Default 100.
        confirm_frames: Frames in a row in which a new person must be seen. Default 3.
    """

    match_thresh: float = 0.7
    nn_budget: int = 100
    confirm_frames: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OksConfig(LookingSettings):
    """Settings of `OksTracker`: those of `LookingSettings`, and:

    `match_thresh` is the greatest cost of an association, 1 - likeness of pose, box and looks. `gmc_method` is "none": joints tell
    people apart under pans of 30 degrees/s without it, and it costs many times the rest.

    Args:
        track_buffer: Default 60 (2.0 s).
        sigma_scale: Factor on COCO's keypoint constants: they say how well people agree on where a joint is, and
            between two frames a joint also moves. Default 3.
    """

    track_buffer: float = 60
    sigma_scale: float = 3.0


_C = TypeVar("_C", bound=TrackerSettings)


def build_config(kind: type[_C], settings: Mapping[str, Any], where: str) -> _C:
    """Settings from names and values.

    Raises:
        ConfigError: A name is unknown (the text names the nearest) or a value is out of range.
    """
    names = [f.name for f in fields(kind)]
    _check_names(settings, names, where)
    return kind(**settings)


def load_config(kind: type[_C], path: str | Path, tracker_type: str, changes: Mapping[str, Any] | None = None) -> _C:
    """Settings from a YAML file in ultralytics' form.

    Args:
        kind: Which settings.
        path: Keys are the fields of `kind`, all optional; `tracker_type`, if given, must be the next argument.
        tracker_type: Name of the tracker.
        changes: Settings that stand above those of the file.

    Raises:
        ConfigError: The file cannot be read, is for another tracker, or a key or value is wrong.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read tracker settings from {path}: {error}") from error
    settings = {} if content is None else content
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{path} must hold `key: value` lines, got a {type(settings).__name__}")
    found = settings.get("tracker_type", tracker_type)
    if found != tracker_type:
        raise ConfigError(f"{path} is for tracker_type {found!r}; this tracker takes {tracker_type!r}")
    config = build_config(kind, {k: v for k, v in settings.items() if k != "tracker_type"}, str(path))
    _check_names(changes or {}, [f.name for f in fields(kind)], tracker_type)
    return replace(config, **(changes or {}))


def _check_names(settings: Mapping[str, Any], names: list[str], where: str) -> None:
    for key in settings:
        if key not in names:
            near = get_close_matches(str(key), names, n=1, cutoff=0.0)
            raise ConfigError(f"{where}: unknown setting {key!r}; did you mean {near[0]!r}? There are {', '.join(names)}")


def _check(config: TrackerSettings) -> None:
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if field.type == "bool":
            if not isinstance(value, bool):
                raise ConfigError(f"{name} must be true or false, got {value!r}")
        elif field.type == "int":
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number of 1 or more, got {value!r}")
        elif field.type == "float":
            _check_number(name, value)
        elif field.type == "GmcMethod":
            if value not in get_args(GmcMethod):
                raise ConfigError(f"{name} must be one of {', '.join(get_args(GmcMethod))}, got {value!r}")
        elif not isinstance(value, str) or not value:
            raise ConfigError(f"{name} must be 'auto' or a model's name or path, got {value!r}")
    if config.track_low_thresh > config.track_high_thresh:
        raise ConfigError(f"track_low_thresh ({config.track_low_thresh}) must not exceed track_high_thresh ({config.track_high_thresh})")


def _check_number(name: str, value: Any) -> None:
    least, highest = (1.0, 10.0) if name == "sigma_scale" else (0.0, math.inf if name in _UNBOUNDED else 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= highest or math.isinf(value):
        allowed = "of 0 or more" if math.isinf(highest) else f"in {least:g}..{highest:g}"
        raise ConfigError(f"{name} must be a number {allowed}, got {value!r}")

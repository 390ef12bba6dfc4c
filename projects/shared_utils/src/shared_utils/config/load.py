"""Fill a settings tree from file, environment and flags."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar, cast

import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError
from pydantic_settings.sources.utils import parse_env_vars

from shared_utils.config.model import Path, SettingsModel, Source
from shared_utils.config.problems import describe_problems, unknown_key
from shared_utils.config.yaml_file import read_yaml
from shared_utils.errors import ConfigError

Settings = TypeVar("Settings", bound=SettingsModel)

# Variables with our prefix that belong to the scripts, the tests and the model folder, not to the settings.
RESERVED_VARIABLES = frozenset(
    {
        "POSE_PYTHON",
        "POSE_SET",
        "POSE_DEVICE",
        "POSE_REQUIREMENTS",
        "POSE_SKIP_BOOTSTRAP",
        "POSE_TEST_DATA",
        "POSE_MODELS_DIR",
        "POSE_CONFIG_DIR",
        "POSE_DEBUG",
    }
)
_DELIMITER = "__"


def load_settings(
    model_cls: type[Settings],
    *,
    config_file: FilePath | str | None = None,
    env_prefix: str = "POSE_",
    overrides: Mapping[str, Any] | None = None,
    default_files: Iterable[FilePath | str] = (),
    environ: Mapping[str, str] | None = None,
    reserved: frozenset[str] = RESERVED_VARIABLES,
) -> Settings:
    """Build the settings: defaults < default files < `config_file` < environment < flags.

    Sections are merged key by key; a list is replaced as a whole.

    Args:
        model_cls: Root of the tree.
        config_file: YAML file that must exist; None for none.
        env_prefix: Environment variables are `PREFIX` + key in capitals, `__` between levels:
            `POSE_VIDEO__STRIDE=2`. Lists and mappings are JSON; `null` is None; an empty variable
            counts as not set.
        overrides: From flags; dotted keys (`{"video.stride": 2}`), nested mappings or both. None is a
            flag that was not given.
        default_files: YAML files used where they exist, later ones over earlier ones.
        environ: The environment. Default: this process's.
        reserved: Names of variables with the prefix that are no settings.

    Returns:
        The frozen tree; it knows where each value came from (`explain`).

    Raises:
        ConfigError: A file cannot be read, a key is unknown (the nearest known one is named), or a
            value has the wrong type or range. All problems of a kind are reported together, each with
            its place.

    Example:
        >>> from pydantic import Field
        >>> class Video(SettingsModel):
        ...     stride: int = Field(default=1, ge=1, description="Analyse every n-th frame.")
        >>> load_settings(Video, environ={"POSE_STRIDE": "3"}).stride
        3
        >>> load_settings(Video, environ={}, overrides={"strid": 3})
        Traceback (most recent call last):
        shared_utils.errors.ConfigError: flag strid: unknown setting strid; did you mean stride?
    """
    layers = _Layers()
    for file in default_files:
        if FilePath(file).is_file():
            layers.add_file(FilePath(file))
    if config_file is not None:
        layers.add_file(FilePath(config_file))
    _add_environment(layers, model_cls, os.environ if environ is None else environ, env_prefix, reserved)
    _add_flags(layers, overrides or {})
    try:
        settings = model_cls.model_validate(layers.values)
    except ValidationError as error:
        raise ConfigError(describe_problems(error, model_cls, layers.values, layers.sources)) from None
    settings._sources.update(layers.sources)
    return settings


def parse_override(text: str) -> tuple[str, Any]:
    """Split `key=value` of a flag such as `--set video.stride=2`; the value is read as YAML.

    Raises:
        ConfigError: There is no `=`, no key, or the value is not YAML.

    Example:
        >>> parse_override("video.stride=2")
        ('video.stride', 2)
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"expected KEY=VALUE, for example video.stride=2; got {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"flag {key.strip()}: the value is not valid YAML: {value!r}") from error


class _Layers:
    """Values merged so far, and where each came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[Path, Source] = {}

    def add_file(self, path: FilePath) -> None:
        values, lines = read_yaml(path)
        self.add(values, {key: Source("file", f"{path}:{line}") for key, line in lines.items()})

    def add(self, values: Mapping[str, Any], sources: Mapping[Path, Source]) -> None:
        self._merge(self.values, values, sources, ())
        self.sources.update(sources)

    def _merge(self, base: dict[str, Any], update: Mapping[str, Any], sources: Mapping[Path, Source], path: Path) -> None:
        for key, value in update.items():
            here = (*path, key)
            if isinstance(base.get(key), dict) and isinstance(value, dict):
                self._merge(base[key], value, sources, here)
            else:
                # What lay below belonged to the value that is replaced.
                self.sources = {p: s for p, s in self.sources.items() if p[: len(here)] != here}
                base[key] = _copied(value)


def _copied(value: Any) -> Any:
    """A copy in which nothing is shared; a YAML alias is one object in several places."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _add_environment(
    layers: _Layers, model_cls: type[SettingsModel], environ: Mapping[str, str], prefix: str, reserved: frozenset[str]
) -> None:
    """One variable at a time, so that an error knows which one it was."""
    # The source reads only the fields and the configuration of the class, which any model has.
    reader = EnvSettingsSource(
        cast("type[BaseSettings]", model_cls),
        case_sensitive=False,
        env_prefix=prefix,
        env_nested_delimiter=_DELIMITER,
        env_parse_none_str="null",
    )
    for variable in sorted(environ):
        if not variable.upper().startswith(prefix.upper()) or variable in reserved or not environ[variable]:
            continue
        path: Path = tuple(variable[len(prefix) :].lower().split(_DELIMITER))
        source = Source("env", variable)
        reader.env_vars = parse_env_vars({variable: environ[variable]}, parse_none_str="null")
        try:
            values = reader()
        except SettingsError as error:
            raise ConfigError(f"{source}: a list or section is written as JSON, for example [1, 2]; got {environ[variable]!r}") from error
        if not values:
            raise ConfigError(f"{source}: {unknown_key(model_cls, path)}")
        layers.add(values, dict.fromkeys(_leaves(values, ()), source))


def _add_flags(layers: _Layers, overrides: Mapping[str, Any]) -> None:
    for path, value in _flat(overrides, ()):
        nested: Any = value
        for key in reversed(path):
            nested = {key: nested}
        source = Source("flag", ".".join(map(str, path)))
        layers.add(nested, dict.fromkeys(_leaves(nested, ()), source))


def _leaves(values: Mapping[str, Any], path: Path) -> Iterable[Path]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def _flat(values: Mapping[str, Any], path: Path) -> Iterable[tuple[Path, Any]]:
    for key, value in values.items():
        here = (*path, *str(key).split("."))
        if isinstance(value, Mapping) and value:
            yield from _flat(value, here)
        elif value is not None:
            yield here, value

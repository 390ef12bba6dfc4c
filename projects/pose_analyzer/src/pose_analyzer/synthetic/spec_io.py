"""Scene specs as plain data: mappings (from YAML) to dataclasses and back, with errors that name the nearest key."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic.spec import SceneSpec


def spec_from_dict(data: Mapping[str, Any]) -> SceneSpec:
    """A scene spec from nested mappings; what is left out has its default.

    Raises:
        SceneError: A key is unknown (the text names the nearest), or a value is not what its field asks for.

    Example:
        >>> spec = spec_from_dict({"athletes": [{"motion": {"exercise": "squat", "reps": 2}}], "camera": {"azimuth_deg": 45}})
        >>> spec.athletes[0].motion.reps
        2
        >>> spec_from_dict({"camera": {"azimut_deg": 45}})
        Traceback (most recent call last):
            ...
        pose_analyzer.errors.SceneError: camera.azimut_deg is unknown; did you mean 'azimuth_deg'?
    """
    return _build(SceneSpec, data, "")


def spec_from_yaml(path: str | Path) -> SceneSpec:
    """A scene spec from a YAML file.

    Raises:
        SceneError: The file is missing, is not YAML, or does not describe a scene; the text names file and key.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SceneError(f"there is no scene at {path}") from None
    except OSError as error:
        raise SceneError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SceneError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, Mapping):
        raise SceneError(f"{path} does not describe a scene: expected keys such as athletes, camera, image")
    try:
        return spec_from_dict(data)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error


def spec_to_dict(spec: Any) -> dict[str, Any]:
    """A spec as plain JSON and YAML types, without what has its default; `spec_from_dict` is its inverse.

    Example:
        >>> spec_to_dict(SceneSpec(seed=3))
        {'seed': 3}
    """
    out: dict[str, Any] = {}
    for f in fields(spec):
        value = getattr(spec, f.name)
        default = f.default if f.default is not MISSING else f.default_factory() if f.default_factory is not MISSING else MISSING
        if value != default:
            out[f.name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return spec_to_dict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _build(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise SceneError(f"{where or 'a scene'} must be a mapping of {', '.join(f.name for f in fields(kind))}, got {data!r}")
    known = [f.name for f in fields(kind)]
    values = {}
    for key, value in data.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise SceneError(f"{path} is unknown; {hint}")
        values[key] = _convert(_hints(kind)[key], value, path)
    try:
        return kind(**values)
    except SceneError as error:
        raise SceneError(f"{where}: {error}" if where else str(error)) from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _nested(hint, value, where)
    if origin is tuple:
        return _sequence(args, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise SceneError(f"{where} must be a mapping, got {value!r}")
        return {_number(k, where): v for k, v in value.items()}
    return _scalar(hint, value, where)


def _nested(kind: type, value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    if isinstance(value, list | tuple):
        # A short form for flat specs: tempo: [2, 0.5, 1, 0.5].
        names = [f.name for f in fields(kind)]
        if len(value) > len(names):
            raise SceneError(f"{where} takes at most {len(names)} values ({', '.join(names)}), got {len(value)}")
        value = dict(zip(names, value, strict=False))
    return _build(kind, value, where)


def _sequence(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise SceneError(f"{where} must be a list, got {value!r}")
    inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    if len(inner) != len(value):
        raise SceneError(f"{where} must have {len(inner)} values, got {len(value)}")
    return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(inner, value, strict=True)))


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wrong_kind = hint in _NAMES and not isinstance(value, hint)
    if wrong_kind or (hint in (int, float) and isinstance(value, bool)):
        raise SceneError(f"{where} must be {_NAMES[hint]}, got {value!r}")
    return value


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _number(key: Any, where: str) -> int:
    # JSON turns the keys of a mapping into text.
    try:
        return int(key)
    except (TypeError, ValueError):
        raise SceneError(f"{where} has keys that are not attempt numbers: {key!r}") from None

"""Checks that all scene specs share; each raises SceneError with field, allowed values and the value it got."""

from __future__ import annotations

import difflib
import math
import re

from pose_analyzer.errors import SceneError


def require(condition: bool, text: str) -> None:
    """Raises SceneError with `text` unless the condition holds."""
    if not condition:
        raise SceneError(text)


def require_range(owner: object, name: str, low: float, high: float) -> None:
    """Raises SceneError unless a numeric field is finite and lies in low..high."""
    value = getattr(owner, name)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high:
        raise SceneError(f"{type(owner).__name__}.{name} must be a number in {low:g}..{high:g}, got {value!r}")


def require_choice(owner: object, name: str, choices: tuple[str, ...]) -> None:
    """Raises SceneError unless a field is one of some words; names the nearest."""
    value = getattr(owner, name)
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise SceneError(f"{type(owner).__name__}.{name} must be one of {', '.join(choices)}, got {value!r}{hint}")


def require_colours(owner: object, *names: str) -> None:
    """Raises SceneError unless fields are colours like `#3a6ea5`."""
    for name in names:
        value = getattr(owner, name)
        if not (isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value)):
            raise SceneError(f"{type(owner).__name__}.{name} must be a colour like '#3a6ea5', got {value!r}")

"""Sentences about what is wrong with settings: the place, the key, what is allowed, what was given."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.fields import FieldInfo

from shared_utils.config.model import Path, Source, dotted, field_at, known_keys, model_at
from shared_utils.redaction import is_secret_key, redact

_MAX_SHOWN = 120


def describe_problems(error: ValidationError, model_cls: type[BaseModel], values: Any, sources: Mapping[Path, Source]) -> str:
    """One line per problem; a single problem is a single sentence.

    Args:
        error: What validation said.
        model_cls: Root of the tree.
        values: What was validated.
        sources: Where each value came from.
    """
    lines = list(dict.fromkeys(_describe(problem, model_cls, values, sources) for problem in error.errors(include_url=False)))
    return lines[0] if len(lines) == 1 else f"{len(lines)} settings are wrong:\n" + "\n".join(f"  {line}" for line in lines)


def unknown_key(model_cls: type[BaseModel], path: Path) -> str:
    """`unknown setting a.b; did you mean a.c?`, or the keys that there are."""
    key, parent = str(path[-1]), model_at(model_cls, path[:-1])
    everything = list(known_keys(model_cls))
    if parent is None:
        near = get_close_matches(dotted(path), everything, n=1, cutoff=0.5)
        siblings = list(model_cls.model_fields)
    else:
        siblings = list(parent.model_fields)
        near = [dotted((*path[:-1], match)) for match in get_close_matches(key, siblings, n=1, cutoff=0.6)]
        if not near:  # the right word in the wrong section
            near = [name for name in everything if name.rsplit(".", 1)[-1] == key][:1] or get_close_matches(
                dotted(path), everything, n=1, cutoff=0.75
            )
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(siblings)}"
    return f"unknown setting {dotted(path)}; {hint}"


def allowed(field: FieldInfo) -> str:
    """What a field takes, in words: `an integer from 1 to 16`.

    Example:
        >>> from pydantic import Field
        >>> class M(BaseModel):
        ...     people: int = Field(6, ge=1, le=16)
        >>> allowed(M.model_fields["people"])
        'an integer from 1 to 16'
    """
    try:
        annotated: Any = Annotated[field.annotation, field]  # pyright: ignore[reportInvalidTypeForm]
        schema = TypeAdapter(annotated).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError):  # a type without a JSON form
        return f"a {getattr(field.annotation, '__name__', field.annotation)}"
    return _words(schema, schema.get("$defs", {}))


def _describe(problem: Any, model_cls: type[BaseModel], values: Any, sources: Mapping[Path, Source]) -> str:
    path = _real_path(problem["loc"], values)
    where = _where(path, sources)
    if problem["type"] == "extra_forbidden":
        return f"{where}{unknown_key(model_cls, path)}"
    if problem["type"] == "missing":
        path = (*path, problem["loc"][-1])
    found = field_at(model_cls, path)
    reason = redact(problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, "))
    if found is None:
        return f"{where}{reason}"
    at, field = found
    name = dotted(at)
    item = f" at {dotted(path[len(at) :])}" if len(path) > len(at) else ""
    if problem["type"] == "missing":
        return f"{where}{name} is missing; it must be {allowed(field)}"
    if problem["type"] in ("value_error", "assertion_error"):
        got = "" if isinstance(problem["input"], dict | BaseModel) else f" (got {_shown(problem['input'], name, field)}{item})"
        return f"{where}{name}: {reason}{got}"
    return f"{where}{name} must be {allowed(field)}, got {_shown(problem['input'], name, field)}{item}"


def _real_path(location: tuple[Any, ...], values: Any) -> Path:
    """A problem's location without pydantic's own words, such as the members of a union."""
    path: list[str | int] = []
    for part in location:
        if (isinstance(values, Mapping) and part in values) or (
            isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)
        ):
            values = values[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def _where(path: Path, sources: Mapping[Path, Source]) -> str:
    """`FILE:LINE: ` of the value, of a part of it, or of the nearest thing around it that has a place."""
    if path in sources:
        return f"{sources[path]}: "
    part = next((source for at, source in sources.items() if path and at[: len(path)] == path), None)
    around = next((sources[path[:length]] for length in range(len(path), 0, -1) if path[:length] in sources), None)
    return f"{part or around}: " if part or around else ""


def _shown(value: Any, name: str, field: FieldInfo) -> str:
    if field.annotation in (SecretStr, SecretBytes) or is_secret_key(name.rsplit(".", 1)[-1]):
        return "a secret of the wrong form"
    text = redact(repr(value))
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _words(definitions.get(schema["$ref"].rsplit("/", 1)[-1], {}), definitions)
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_words(option, definitions) for option in options))
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return {"integer": "an integer", "number": "a number"}[kind] + _range(schema)
    if kind == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"a list{_count(schema)} of: {_words(items, definitions)}" if items else "a list"
    if kind == "string":
        formats = {"path": "a path", "date-time": "a date and time", "uri": "an address", "password": "a secret"}
        text = formats.get(schema.get("format", ""), "text")
        return text + (f" of the form {schema['pattern']}" if "pattern" in schema else "") + _count(schema, "minLength", "maxLength")
    return {"boolean": "true or false", "null": "null", "object": "a section of `key: value`"}.get(str(kind), "a value")


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        text = f" from {low} to {high}"
    else:
        parts = [(low, "of at least"), (above, "above"), (high, "of at most"), (below, "below")]
        text = " and".join(f" {word} {limit}" for limit, word in parts if limit is not None)
    return text + (f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else "")


def _count(schema: Mapping[str, Any], least: str = "minItems", most: str = "maxItems") -> str:
    unit = "items" if least == "minItems" else "characters"
    low, high = schema.get(least), schema.get(most)
    if low is not None and low == high:
        return f" of {low} {unit}"
    parts = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    return f" ({' and '.join(parts)} {unit})" if parts else ""

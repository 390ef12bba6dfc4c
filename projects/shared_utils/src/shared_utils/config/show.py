"""Settings for people and tools: explained, as YAML, as JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import yaml
from pydantic import BaseModel, SecretBytes, SecretStr

from shared_utils.config.model import Path, SettingsModel, Source, dotted
from shared_utils.config.problems import allowed
from shared_utils.redaction import redact, redact_value

_COMMENT_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting, for `config show`.

    Args:
        key: Dotted name.
        value: As a plain JSON value, secrets and credentials masked.
        source: Where it came from.
        description: What it does.
        allowed: What it takes, in words.
    """

    key: str
    value: Any
    source: Source
    description: str
    allowed: str


def explain(settings: SettingsModel) -> tuple[Explained, ...]:
    """Every setting with its value and where it came from, in the tree's order.

    Example:
        >>> from pydantic import Field
        >>> from shared_utils.config import load_settings
        >>> class Tree(SettingsModel):
        ...     stride: int = Field(default=1, ge=1, description="Analyse every n-th frame.")
        >>> row = explain(load_settings(Tree, environ={"POSE_STRIDE": "2"}))[0]
        >>> row.key, row.value, str(row.source), row.allowed
        ('stride', 2, 'environment variable POSE_STRIDE', 'an integer of at least 1')
    """
    return tuple(_explain(settings, settings, ()))


def dump_yaml(settings: SettingsModel, *, redacted: bool = True, comments: bool = False) -> str:
    """The settings as a YAML file that `load_settings` reads back.

    Args:
        settings: The tree.
        redacted: Mask credentials in values such as stream addresses; without, they are written as
            they are. Settings declared as secrets are left out either way.
        comments: Write what each setting does and takes above it.

    Example:
        >>> from pydantic import Field
        >>> class Tree(SettingsModel):
        ...     stride: int = Field(default=1, ge=1, description="Analyse every n-th frame.")
        >>> print(dump_yaml(Tree(stride=2), comments=True), end="")
        # Analyse every n-th frame. An integer of at least 1; default 1.
        stride: 2
    """
    return "".join(_lines(settings, 0, redacted=redacted, comments=comments)) or "{}\n"


def settings_schema(model_cls: type[SettingsModel]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the settings file, for editors and other tools."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model_cls.model_json_schema(mode="validation")}


def _explain(root: SettingsModel, section: BaseModel, path: Path) -> Iterator[Explained]:
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        here, value = (*path, name), getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _explain(root, value, here)
        else:
            shown = redact_value({name: plain[name]})[name]
            yield Explained(dotted(here), shown, _source(root, here), field.description or "", allowed(field))


def _source(root: SettingsModel, path: Path) -> Source:
    """The place of a value, or of a part of it (one entry of a mapping)."""
    if path in root.sources:
        return root.sources[path]
    return next((source for at, source in root.sources.items() if at[: len(path)] == path), Source("default"))


def _lines(section: BaseModel, depth: int, *, redacted: bool, comments: bool) -> Iterator[str]:
    indent = "  " * depth
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, SecretStr | SecretBytes):
            continue
        is_section = isinstance(value, BaseModel)
        if comments:
            note = field.description or ""
            if not is_section:
                default = field.get_default(call_default_factory=True, validated_data={})
                words = allowed(field)
                note += f" {words[:1].upper()}{words[1:]}" + ("." if field.is_required() else f"; default {default}.")
            yield from (f"{indent}# {line}\n" for line in wrap(redact(note), _COMMENT_WIDTH))
        if is_section:
            yield f"{indent}{name}:\n"
            yield from list(_lines(value, depth + 1, redacted=redacted, comments=comments)) or [f"{indent}  {{}}\n"]
        else:
            shown = redact_value(plain[name]) if redacted else plain[name]
            text = yaml.dump({name: shown}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_COMMENT_WIDTH)
            yield from (f"{indent}{line}\n" for line in text.removesuffix("\n").split("\n"))


class _Dumper(yaml.SafeDumper):
    """Quotes the line breaks that YAML knows beside newline; written plainly they would be folded to blanks."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(char in text for char in "\r\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)

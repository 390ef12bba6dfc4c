"""What every section of a settings tree has in common."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PrivateAttr
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]
SourceKind = Literal["default", "file", "env", "flag"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from.

    Args:
        kind: Which of the four layers.
        where: `FILE:LINE`, the environment variable's name, or the flag's key; empty for a default.

    Example:
        >>> str(Source("file", "pose.yaml:3"))
        'pose.yaml:3'
    """

    kind: SourceKind
    where: str = ""

    def __str__(self) -> str:
        return {"default": "default", "file": self.where, "env": f"environment variable {self.where}", "flag": f"flag {self.where}"}[
            self.kind
        ]


class SettingsModel(BaseModel):
    """A section of the settings, or the whole tree: frozen, without unknown keys, every field described.

    The text under a field (or `Field(description=...)`) says what it does and in which unit; a field
    without one is refused when the class is made. Write `Field(default=...)` by keyword: type checkers
    do not see a positional default. Two trees are equal when their values are, wherever these came from.

    Raises:
        TypeError: A field has no description.

    Example:
        >>> from pydantic import Field
        >>> class Video(SettingsModel):
        ...     stride: int = Field(default=1, ge=1, description="Analyse every n-th frame.")
        >>> Video(stride=2).stride
        2
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        ser_json_inf_nan="constants",
    )

    _sources: dict[Path, Source] = PrivateAttr(default_factory=dict)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a field that nobody explains."""
        super().__pydantic_init_subclass__(**kwargs)
        silent = [name for name, field in cls.model_fields.items() if not field.description]
        if silent:
            raise TypeError(f"{cls.__name__}: write under each field what it does and in which unit; missing: {', '.join(silent)}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in type(self).model_fields)))

    @property
    def sources(self) -> Mapping[Path, Source]:
        """Where each value that is not a default came from, by its path from the root."""
        return types.MappingProxyType(self._sources)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model class inside an annotation such as `Section`, `Section | None` or `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType) or hasattr(annotation, "__metadata__"):
        return next((found for found in map(section_of, get_args(annotation)) if found), None)
    return None


def field_at(model_cls: type[BaseModel], path: Path) -> tuple[Path, FieldInfo] | None:
    """The deepest declared field on the way to `path`, with its own path; None when the first key is unknown."""
    found: tuple[Path, FieldInfo] | None = None
    annotation: Any = model_cls
    for depth, key in enumerate(path):
        section = section_of(annotation)
        if section is None:
            annotation = _inside(annotation)
        elif key in section.model_fields:
            field = section.model_fields[str(key)]
            found, annotation = (path[: depth + 1], field), field.annotation
        else:
            break
    return found


def model_at(model_cls: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model class that lies at `path`, through sections, mappings and lists; None if it is no model."""
    annotation: Any = model_cls
    for key in path:
        section = section_of(annotation)
        if section is None:
            annotation = _inside(annotation)
        elif key in section.model_fields:
            annotation = section.model_fields[str(key)].annotation
        else:
            return None
    return section_of(annotation)


def _inside(annotation: Any) -> Any:
    """Type of what lies in a mapping or list: of the values, of the items."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next((inner for inner in map(_inside, get_args(annotation)) if inner is not None), None)
    arguments = [a for a in get_args(annotation) if a is not Ellipsis]
    return arguments[-1] if arguments else None


def known_keys(model_cls: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted name of every section and every setting of a tree, in order."""
    for name, field in model_cls.model_fields.items():
        yield prefix + name
        section = section_of(field.annotation)
        if section is not None:
            yield from known_keys(section, f"{prefix}{name}.")


def dotted(path: Path) -> str:
    """A path as people write it: `zones.0.name`."""
    return ".".join(map(str, path))

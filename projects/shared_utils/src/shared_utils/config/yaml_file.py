"""A YAML file as plain values, with the line of every key."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

import yaml

from shared_utils.config.model import Path, dotted
from shared_utils.errors import ConfigError

# A settings file is small; what is larger, deeper or expands to more is a mistake or an attack.
_MAX_BYTES = 1 << 20
_MAX_NODES = 50_000
_MAX_DEPTH = 40
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: FilePath) -> tuple[dict[str, Any], dict[Path, int]]:
    """Read a file whose top level is a mapping.

    Args:
        path: A UTF-8 file of at most 1 MB; an empty one is an empty mapping.

    Returns:
        Its values, and for the path of every key and list item the line on which it stands (from 1).

    Raises:
        ConfigError: The file cannot be read, is not YAML, holds a key twice, or is no mapping; the text
            names file and line.
    """
    text = _read_text(path)
    lines = _Lines(path)
    try:
        values = _construct(text, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path}: nested deeper than {_MAX_DEPTH} levels") from None
    except ValueError as error:
        raise ConfigError(f"{path}: a value cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: expected settings as `key: value`, got a {type(values).__name__}")
    return values, lines.lines


def _construct(text: str, lines: _Lines) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        lines.walk(node, (), 0)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _read_text(path: FilePath) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: a settings file has at most {_MAX_BYTES} bytes, this one has {path.stat().st_size}")
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no settings file {path}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror or error}") from error


class _Lines:
    """Collects the line of every key; finds keys that stand twice."""

    def __init__(self, file: FilePath) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self._nodes = 0

    def walk(self, node: yaml.Node, path: Path, depth: int) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise ConfigError(f"{self.file}:{node.start_mark.line + 1}: too many values, or nested deeper than {_MAX_DEPTH} levels")
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
                self.walk(item, (*path, index), depth + 1)
        elif isinstance(node, yaml.MappingNode):
            self._walk_mapping(node, path, depth)

    def _walk_mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> None:
        for key, value in node.value:  # first, so that keys written here overrule merged ones
            if key.tag == _MERGE:
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    self.walk(source, path, depth + 1)
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self.file}:{line}: a key must be a word")
            name = key.value
            if name in seen:
                raise ConfigError(f"{self.file}:{line}: {dotted((*path, name))} stands here and on line {seen[name]}; keep one")
            seen[name] = line
            # YAML 1.1 reads `on` and `12` as values of other types; a key is the word that is written.
            key.tag = "tag:yaml.org,2002:str"
            self.walk(value, (*path, name), depth + 1)
            self.lines[(*path, name)] = line

"""The documentation page: rendered from the OpenAPI document, with nothing loaded from elsewhere.

Swagger UI and Redoc come from a CDN, which does not work offline and tells the CDN who reads. This
page is plain HTML with one inline style, and no script at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0a6cbd; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 small { font-weight: normal; opacity: .7; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
summary code { font-weight: 600; }
.method { display: inline-block; min-width: 4.5em; font-weight: 700; color: var(--accent); }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); }
pre { background: var(--soft); padding: .6rem; border-radius: .3rem; overflow-x: auto; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_MAX_DEPTH = 6


def render_docs(document: Mapping[str, Any]) -> str:
    """The page for an OpenAPI 3 document.

    Args:
        document: As `FastAPI.openapi()` gives it.

    Returns:
        HTML without any outside reference.

    Example:
        >>> page = render_docs({"info": {"title": "Demo", "version": "1"}, "paths": {"/x": {"get": {"summary": "X"}}}})
        >>> "<code>/x</code>" in page, "src=" in page
        (True, False)
    """
    info = document.get("info", {})
    title, version = escape(str(info.get("title", "Service"))), escape(str(info.get("version", "")))
    description = "".join(f"<p>{escape(part)}</p>" for part in str(info.get("description", "")).split("\n\n") if part.strip())
    token = "<p>Every request needs the header <code>Authorization: Bearer TOKEN</code>.</p>" if document.get("security") else ""
    sections = "".join(_sections(document))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{title} <small>{version}</small></h1>{description}{token}"
        f'<p>For programs: <a href="openapi.json">openapi.json</a></p>{sections}</body></html>'
    )


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    """One heading per tag, in order of first appearance."""
    by_tag: dict[str, list[str]] = {}
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                operation = item[method]
                tag = (operation.get("tags") or ["operations"])[0]
                by_tag.setdefault(tag, []).append(_operation(document, path, method, operation))
    for tag, operations in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>{''.join(operations)}"


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    summary = escape(operation.get("summary", ""))
    parts = [f"<p>{escape(operation['description'])}</p>"] if operation.get("description") else []
    rows = [
        (p.get("name", ""), p.get("in", ""), _type(document, p.get("schema", {})), p.get("description", ""), p.get("required", False))
        for p in operation.get("parameters", ())
    ]
    if rows:
        cells = "".join(
            f"<tr><td><code>{escape(name)}</code>{' *' if required else ''}</td><td>{escape(place)}</td><td>{escape(kind)}</td>"
            f"<td>{escape(text)}</td></tr>"
            for name, place, kind, text, required in rows
        )
        parts.append(f"<table><tr><th>parameter (* required)</th><th>in</th><th>type</th><th>meaning</th></tr>{cells}</table>")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body: <code>{escape(media)}</code></h4>{_example(document, content.get('schema', {}))}")
    for status, response in operation.get("responses", {}).items():
        parts.append(f"<h4>Answer {escape(status)}: {escape(response.get('description', ''))}</h4>")
        if status != "default":
            parts.extend(_example(document, c.get("schema", {})) for c in response.get("content", {}).values())
    head = f'<span class="method">{method.upper()}</span> <code>{escape(path)}</code> {summary}'
    return f"<details><summary>{head}</summary>{''.join(parts)}</details>"


def _example(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    shape = _shape(document, schema, 0)
    return "" if shape is None else f"<pre>{escape(json.dumps(shape, indent=2, ensure_ascii=False))}</pre>"


def _shape(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> Any:
    """A schema as the JSON it describes, with types for values."""
    schema = _resolved(document, schema)
    if not schema or depth > _MAX_DEPTH:
        return None if depth == 0 else "…"
    if "properties" in schema:
        return {name: _shape(document, part, depth + 1) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_shape(document, schema.get("items", {}), depth + 1)]
    additional = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(additional, Mapping):
        return {"…": _shape(document, additional, depth + 1)}
    options = [_resolved(document, option) for option in schema.get("anyOf") or schema.get("oneOf") or ()]
    composite = next((option for option in options if option.get("type") in ("object", "array")), None)
    if composite is not None:
        return _shape(document, composite, depth)
    return _type(document, schema)


def _type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A schema in a few words: `integer 1..16`, `"a" or "b"`, `text or null`."""
    schema = _resolved(document, schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_type(document, option) for option in options))
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    kind = {"string": "text", "object": "object"}.get(str(schema.get("type")), str(schema.get("type", "any value")))
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
    limits = "" if low is None and high is None else f" {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
    default = f", default {json.dumps(schema['default'])}" if "default" in schema else ""
    return f"{kind}{limits}{default}"


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema a `$ref` within the document points to."""
    for _ in range(_MAX_DEPTH):
        reference = schema.get("$ref", "")
        if not reference.startswith("#/"):
            break
        found: Any = document
        for key in reference[2:].split("/"):
            found = found.get(key, {}) if isinstance(found, Mapping) else {}
        schema = found
    return schema

"""Write the WebSocket messages of both services into docs/API.md: a table for people, JSON Schema for programs.

python scripts/api_docs.py            rewrites the parts between the markers
python scripts/api_docs.py --check    exit 1 if it is not what the code says
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOC = Path(__file__).resolve().parent.parent / "docs" / "API.md"


@dataclass(frozen=True)
class Part:
    """A part of the document.

    Args:
        name: In its markers.
        schema: Gives the messages of both directions.
        clients: Who sends the second direction.
        hidden: Fields that every message has.
    """

    name: str
    schema: Callable[[], Mapping[str, Any]]
    clients: str
    hidden: frozenset[str] = frozenset({"type", "schema_version"})

    @property
    def begin(self) -> str:
        """The line before it."""
        return f"<!-- {self.name}: begin (written by scripts/api_docs.py) -->"

    @property
    def end(self) -> str:
        """The line behind it."""
        return f"<!-- {self.name}: end -->"


def _pose_messages() -> Mapping[str, Any]:
    from pose_analyzer.api.messages import json_schema

    return json_schema()


def _gpu_messages() -> Mapping[str, Any]:
    from gpu_optimizer.api.live import json_schema

    return json_schema()


PARTS = (
    Part("messages", _pose_messages, "a client of `/v1/live`", frozenset({"type", "schema_version", "stream_id", "timestamp_s"})),
    Part("gpu messages", _gpu_messages, "a client"),
)


def render(part: Part) -> str:
    """A part with its markers."""
    schema = part.schema()
    definitions = schema["$defs"]
    lines = [part.begin, ""]
    for direction, title in (("server_to_client", "From the service"), ("client_to_server", f"From {part.clients}")):
        lines += [f"{title}:", "", "| `type` | when | fields |", "|---|---|---|"]
        for reference in schema["properties"][direction]["oneOf"]:
            message = definitions[reference["$ref"].rsplit("/", 1)[1]]
            own = [name for name in message["properties"] if name not in part.hidden]
            kind = message["properties"]["type"]["const"]
            when = message.get("description", "").split("\n")[0]
            lines.append(f"| `{kind}` | {when} | {', '.join(f'`{name}`' for name in own)} |")
        lines.append("")
    text = json.dumps(schema, indent=1, ensure_ascii=False)
    return "\n".join([*lines, "<details><summary>JSON Schema</summary>", "", "```json", text, "```", "", "</details>", part.end])


def rewritten(content: str, part: Part) -> str:
    """The document with a part replaced.

    Raises:
        SystemExit: The markers are gone.
    """
    before, begin, rest = content.partition(part.begin)
    _, end, after = rest.partition(part.end)
    if not (begin and end):
        sys.exit(f"{DOC.name} lacks the lines {part.begin!r} and {part.end!r}; put them where the messages belong")
    return before + render(part) + after


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the document is out of date")
    options = parser.parse_args(words)
    old = new = DOC.read_text("utf-8")
    for part in PARTS:
        new = rewritten(new, part)
    if options.check and new != old:
        print("docs/API.md does not tell the messages as they are; run: python scripts/api_docs.py", file=sys.stderr)
        return 1
    if not options.check:
        DOC.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

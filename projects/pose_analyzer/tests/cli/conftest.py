from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def athlete_result(tmp_path_factory, athlete_clip) -> Path:
    """Folder with the analysis of the athlete's two squats, annotated video included."""
    from pose_analyzer.pipeline import analyze

    folder = tmp_path_factory.mktemp("result")
    analyze(athlete_clip, exercise="squat", out=folder, overrides={"output.plot": False})
    return folder

"""Files that come with the package: exercise profiles, tracker settings, scenes.

They lie in `config/` of the repository and, in an installed wheel, in the package itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from pose_analyzer.errors import PoseAnalyzerError

_PACKAGE = Path(__file__).resolve().parent

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".dav", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp"})
"""What files are listed as videos; whether one is, its content tells."""


def config_folders() -> list[Path]:
    """Where configuration is looked for, first match wins: $POSE_CONFIG_DIR, the repository, the package."""
    folders = [Path(os.environ["POSE_CONFIG_DIR"])] if os.environ.get("POSE_CONFIG_DIR") else []
    # src/pose_analyzer -> projects/pose_analyzer -> projects -> repository
    folders.append(_PACKAGE.parents[3] / "config")
    folders.append(_PACKAGE / "_config")
    return [f for f in folders if f.is_dir()]


def find_config(relative: str) -> Path:
    """The file `relative` (for example `scenes/demo.yaml`) of the configuration.

    Raises:
        PoseAnalyzerError: It is in none of the folders.

    Example:
        >>> find_config("scenes/demo.yaml").name
        'demo.yaml'
    """
    for folder in config_folders():
        if (folder / relative).is_file():
            return folder / relative
    looked = ", ".join(map(str, config_folders())) or "no configuration folder"
    raise PoseAnalyzerError(f"config/{relative} is missing (looked in {looked}); reinstall the package or set POSE_CONFIG_DIR")

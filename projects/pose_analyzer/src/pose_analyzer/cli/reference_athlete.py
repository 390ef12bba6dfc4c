"""Where the athlete's sets were said before they moved to `pose_analyzer.pipeline.takes`; kept for its importers."""

from __future__ import annotations

from pose_analyzer.pipeline.takes import varied_scene

__all__ = ["varied_scene"]

"""Wires the rooms into one stream: frames in, measurements and events out.

`Pipeline` measures frame by frame, `analyze` a whole source at once, `PoseSession` is what it returns.
"""

from pose_analyzer.pipeline.analyze import Progress, analyze, annotate
from pose_analyzer.pipeline.session import PoseSession
from pose_analyzer.pipeline.stream import Pipeline, Update

__all__ = ["Pipeline", "PoseSession", "Progress", "Update", "analyze", "annotate"]

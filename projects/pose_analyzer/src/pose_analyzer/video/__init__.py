"""Files, folders, webcams and network streams as `Frame`s with true times; annotated video as H.264.

`open_source` is the way in, `VideoWriter` the way out, `convert` leads from recorder formats to MP4.
"""

from pose_analyzer.video.address import Address, redact_url
from pose_analyzer.video.cameras import find_webcams
from pose_analyzer.video.convert import Conversion, convert
from pose_analyzer.video.folders import read_picture
from pose_analyzer.video.info import Source, SourceInfo, TimingReport
from pose_analyzer.video.live import Backoff, LiveSource
from pose_analyzer.video.opening import open_source
from pose_analyzer.video.pace import Clock, SystemClock
from pose_analyzer.video.prefetch import Prefetch, prefetch
from pose_analyzer.video.recorded import RecordedSource
from pose_analyzer.video.writer import VideoWriter

__all__ = [
    "Address",
    "Backoff",
    "Clock",
    "Conversion",
    "LiveSource",
    "Prefetch",
    "RecordedSource",
    "Source",
    "SourceInfo",
    "SystemClock",
    "TimingReport",
    "VideoWriter",
    "convert",
    "find_webcams",
    "open_source",
    "prefetch",
    "read_picture",
    "redact_url",
]

"""Exceptions of `pose_analyzer`. Each message says what was wrong, what would be right and what to do."""

from __future__ import annotations


class PoseAnalyzerError(Exception):
    """Base of every error this package raises on purpose."""


class SourceError(PoseAnalyzerError):
    """A video source cannot be opened or read."""


class MissingSourceError(SourceError, FileNotFoundError):
    """There is nothing at that path or address."""


class UnreadableSourceError(SourceError, PermissionError):
    """The file exists but may not be read."""


class EmptySourceError(SourceError):
    """The file has no bytes, or a video stream without a single frame."""


class NotAVideoError(SourceError):
    """The content is not a video: another kind of file, audio only, or a folder without pictures."""


class DamagedSourceError(SourceError):
    """The content is a video, but it cannot be decoded (any further)."""


class DetectorError(PoseAnalyzerError):
    """A pose detector cannot be built or run."""


class ExerciseError(PoseAnalyzerError, ValueError):
    """An exercise profile is unknown or not valid."""


class SceneError(PoseAnalyzerError, ValueError):
    """The description of a synthetic scene is not valid."""


class PipelineError(PoseAnalyzerError):
    """A stage fails on every frame, so that going on would only waste time."""


class SinkError(PoseAnalyzerError, OSError):
    """A video cannot be written."""


class WorkerError(PoseAnalyzerError):
    """A measuring process and the service do not understand each other."""

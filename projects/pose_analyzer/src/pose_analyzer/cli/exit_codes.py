"""What the command's exit status means; `pose-analyzer --help` prints this table."""

from __future__ import annotations

from enum import IntEnum

from pose_analyzer.errors import DetectorError, ExerciseError, PoseAnalyzerError, SceneError, SinkError, SourceError
from shared_utils.errors import ConfigError, DeviceError, ModelError, SharedUtilsError


class ExitCode(IntEnum):
    """Exit status of every command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    SOURCE = 3
    PARTIAL = 4
    MODEL = 5
    SINK = 6
    INTERRUPTED = 130


MEANING = {
    ExitCode.OK: "done",
    ExitCode.INTERNAL: "an error that should not happen; POSE_DEBUG=1 shows where",
    ExitCode.USAGE: "wrong arguments or settings",
    ExitCode.SOURCE: "a source could not be opened or decoded at all",
    ExitCode.PARTIAL: "a source was analysed only in part; results say how far",
    ExitCode.MODEL: "weights or a device are missing",
    ExitCode.SINK: "results could not be written",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C; what was done is kept",
}


def code_of(error: BaseException) -> ExitCode:
    """Exit status of an error.

    Example:
        >>> code_of(ConfigError("unknown key")).name
        'USAGE'
    """
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, SourceError):
        return ExitCode.SOURCE
    if isinstance(error, SinkError):
        return ExitCode.SINK
    if isinstance(error, DetectorError | DeviceError | ModelError):
        return ExitCode.MODEL
    if isinstance(error, ConfigError | ExerciseError | SceneError):
        return ExitCode.USAGE
    if isinstance(error, PoseAnalyzerError | SharedUtilsError):
        return ExitCode.PARTIAL
    return ExitCode.INTERNAL

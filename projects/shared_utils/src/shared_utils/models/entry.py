"""One row of the model registry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from shared_utils.errors import ModelError
from shared_utils.models.address import check_url


class ModelTask(StrEnum):
    """What a model does."""

    POSE = "pose"
    PERSON_DETECTION = "person_detection"
    FACE_DETECTION = "face_detection"
    FACE_EMBEDDING = "face_embedding"
    HAND_DETECTION = "hand_detection"
    HAND = "hand"
    REID = "reid"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """What is known about one file of weights.

    Args:
        name: Identifier, for example `"blazepose_detector"`.
        task: What the model does.
        file: File name under which it is kept, without folders.
        licence: SPDX identifier, or `"unknown"`.
        source: Who made it, for a person.
        input: Shape, type, layout and range of the input.
        skeleton: Name of the keypoint set it gives; None when it gives no pose.
        url: Where to download it: https, or http on this machine; None when there is no address.
        sha256: 64 hex digits of `file`; None when nobody we trust states it. Such a file is pinned
            to what the first download gave.
        size_bytes: Size of `file` in bytes; None when not known.
        in_wheel: (package, path inside it) of an installed distribution that ships the file.
        archive_member: When `url` is a zip archive: the name of the one member that is the file.
        notes: What a user should know before using it.

    Raises:
        ModelError: A value is not of the form given above.

    Example:
        >>> entry = ModelEntry(name="tiny", task=ModelTask.POSE, file="tiny.onnx", licence="MIT", source="us", input="1x3x64x64")
        >>> entry.is_downloadable
        False
    """

    name: str
    task: ModelTask
    file: str
    licence: str
    source: str
    input: str
    skeleton: str | None = None
    url: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    in_wheel: tuple[str, str] | None = None
    archive_member: str | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        where = f"model {self.name!r}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ModelError(f"{where}: a name has letters, digits, '.', '_' and '-' only")
        if self.task not in set(ModelTask):
            raise ModelError(f"{where}: task {self.task!r} is none of {', '.join(ModelTask)}")
        object.__setattr__(self, "task", ModelTask(self.task))
        if self.file in {"", ".", ".."} or PurePosixPath(self.file).name != self.file or "\\" in self.file:
            raise ModelError(f"{where}: file must be a bare file name, got {self.file!r}")
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ModelError(f"{where}: sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        if self.size_bytes is not None and self.size_bytes <= 0:
            raise ModelError(f"{where}: size_bytes must be positive, got {self.size_bytes}")
        if self.in_wheel is not None:
            package, inside = self.in_wheel
            if not package.isidentifier() or PurePosixPath(inside).is_absolute() or ".." in PurePosixPath(inside).parts:
                raise ModelError(f"{where}: in_wheel must be (package, path inside it), got {self.in_wheel!r}")
        if self.url is not None:
            check_url(self.url)

    @property
    def is_downloadable(self) -> bool:
        """True when there is an address to fetch it from."""
        return self.url is not None

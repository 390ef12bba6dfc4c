"""A folder of pictures as a recording with a given frame rate."""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import DamagedSourceError, NotAVideoError, SourceError, UnreadableSourceError
from pose_analyzer.video.container import MAX_PIXELS, open_file, read_head
from pose_analyzer.video.content import identify
from pose_analyzer.video.files import ContainerReader
from pose_analyzer.video.info import SourceInfo, TimingReport
from pose_analyzer.video.picture import fit
from pose_analyzer.video.reading import TIME_TOLERANCE_S, Picture


class FolderReader:
    """The pictures of one folder, in the natural order of their names (`9.jpg` before `10.jpg`).

    Pictures are told by content. Every picture has the size of the first one: others are fitted into it with black bars,
    so their shapes stay true. A damaged picture costs itself; its number and time stay empty.

    Args:
        folder: An existing folder; its sub-folders are not looked into.
        fps: Pictures per second of media time.
        max_pixels: Largest picture, px.

    Raises:
        UnreadableSourceError: The folder may not be read.
        NotAVideoError: It holds no picture.
        DamagedSourceError: It holds pictures, but none can be decoded.
    """

    def __init__(self, folder: Path, *, fps: float = 30.0, max_pixels: int = MAX_PIXELS) -> None:
        self.timing = TimingReport()
        self._max_pixels = max_pixels
        self._paths = _pictures_in(folder)
        self._fps = fps
        self._damaged: dict[str, str] = {}
        width, height = self._first_size(folder)
        count = len(self._paths)
        self.info = SourceInfo(
            width=width,
            height=height,
            nominal_fps=fps,
            frame_count=count,
            duration_s=count / fps,
            is_live=False,
            codec="images",
            name=folder.name or folder.resolve().name,
        )

    @property
    def damage(self) -> str | None:
        """Which pictures could not be read in the walks so far."""
        if not self._damaged:
            return None
        name, why = next(iter(self._damaged.items()))
        others = f" and {len(self._damaged) - 1} others" if len(self._damaged) > 1 else ""
        return f"{name}{others} could not be decoded ({why})"

    def pictures(self, from_s: float = 0.0) -> Generator[Picture]:
        """Walk through the pictures whose time is not before `from_s`."""
        for index, path in enumerate(self._paths):
            if index / self._fps < from_s - TIME_TOLERANCE_S:
                continue
            image = self._read(path)
            if image is not None:
                fitted = partial(fit, image, self.info.width, self.info.height)
                yield Picture(index, index / self._fps, 1 / self._fps, fitted)

    def close(self) -> None:
        """Nothing stays open between pictures."""

    def _first_size(self, folder: Path) -> tuple[int, int]:
        for path in self._paths:
            image = self._read(path)
            if image is not None:
                return image.shape[1], image.shape[0]
        raise DamagedSourceError(f"{folder}: none of its {len(self._paths)} pictures can be decoded ({self.damage})")

    def _read(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            return read_picture(path, max_pixels=self._max_pixels)
        except (SourceError, OSError) as error:
            self._damaged[path.name] = str(error).removeprefix(f"{path}: ")
            return None


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """One still picture, upright.

    Args:
        path: A picture file of any name.
        max_pixels: Largest picture, px.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SourceError: It is missing, unreadable, no picture or damaged.

    Example:
        >>> import tempfile
        >>> import cv2
        >>> path = Path(tempfile.mkdtemp()) / "red.png"
        >>> cv2.imwrite(str(path), np.full((4, 6, 3), (0, 0, 255), np.uint8))
        True
        >>> read_picture(path)[0, 0].tolist()
        [255, 0, 0]
    """
    reader = ContainerReader(partial(open_file, path, max_pixels=max_pixels), name=str(path), threads=1, max_pixels=max_pixels)
    try:
        image = next(reader.pictures()).rgb()
    finally:
        reader.close()
    if image is None:
        raise DamagedSourceError(f"{path}: its pixels cannot be converted")
    return image


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that counts numbers within names as numbers.

    Example:
        >>> sorted(["10.jpg", "9.jpg", "a2", "a10"], key=natural_key)
        ['9.jpg', '10.jpg', 'a2', 'a10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts if part]


def _pictures_in(folder: Path) -> list[Path]:
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file()]
    except PermissionError:
        raise UnreadableSourceError(f"{folder}: no permission to list the folder; give yourself read permission") from None
    except OSError as error:
        raise UnreadableSourceError(f"{folder}: the folder cannot be listed ({error.strerror or error})") from None
    entries.sort(key=lambda entry: (natural_key(entry.name), entry.name))
    kinds = {entry: _kind(entry) for entry in entries}
    pictures = [entry for entry, kind in kinds.items() if kind == "picture"]
    if pictures:
        return pictures
    videos = [entry.name for entry, kind in kinds.items() if kind == "video"]
    if videos:
        raise NotAVideoError(f"{folder}: the folder holds videos, no pictures; give them one by one, such as {folder / videos[0]}")
    raise NotAVideoError(f"{folder}: the folder holds neither pictures nor videos; give a file, or a folder of JPEG or PNG pictures")


def _kind(path: Path) -> str:
    """What a file holds; one that cannot be read is none of ours."""
    try:
        return identify(read_head(path)).kind
    except SourceError:
        return "other"

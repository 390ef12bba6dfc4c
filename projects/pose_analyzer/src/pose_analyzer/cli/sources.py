"""From what a user types to the list of sources to analyse, each with its place in the results."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from pose_analyzer.errors import MissingSourceError, NotAVideoError
from pose_analyzer.resources import VIDEO_SUFFIXES

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Job:
    """One source and the folder (relative to the output folder) its results go to."""

    source: str
    folder: Path


def expand(inputs: list[str]) -> list[Job]:
    """Files, folders, globs and addresses as jobs with distinct result folders.

    A folder stands for the videos in it, at any depth; a folder without videos but with pictures is
    one source. Order: as given, and by name within a folder or glob.

    Raises:
        MissingSourceError: Nothing is there, or a glob matches nothing.
        NotAVideoError: A folder holds neither videos nor pictures.
    """
    found: list[tuple[str, Path]] = []
    for text in inputs:
        if "://" in text:
            found.append((text, Path(_address_stem(text))))
        elif Path(text).is_dir():
            found.extend(_in_folder(Path(text)))
        elif Path(text).exists() or not glob.has_magic(text):
            found.append((text, Path(Path(text).stem)))
        else:
            matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - absolute and relative patterns alike
            if not matches:
                raise MissingSourceError(f"no file matches {text!r}; check the pattern and the folder")
            for match in matches:
                found.extend(_in_folder(Path(match)) if Path(match).is_dir() else [(match, Path(Path(match).stem))])
    return _distinct(found)


def _in_folder(folder: Path) -> list[tuple[str, Path]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    videos = [p for p in files if p.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        return [(str(p), p.relative_to(folder).with_suffix("")) for p in videos]
    if any(p.suffix.lower() in IMAGE_SUFFIXES for p in files):
        return [(str(folder), Path(folder.resolve().name))]
    raise NotAVideoError(f"{folder} is a folder without videos or pictures; name a video file, or a folder that holds some")


def _address_stem(address: str) -> str:
    tail = address.split("://", 1)[1].split("?", 1)[0].rsplit("@", 1)[-1]
    return "".join(c if c.isalnum() or c in "-." else "_" for c in tail).strip("_.") or "stream"


def _distinct(found: list[tuple[str, Path]]) -> list[Job]:
    jobs: list[Job] = []
    seen_sources: set[str] = set()
    taken: set[Path] = set()
    for source, folder in found:
        key = source if "://" in source else str(Path(source).resolve())
        if key in seen_sources:
            continue
        seen_sources.add(key)
        place, number = folder, 2
        while place in taken:
            # a/squat.mp4 and a/squat.mov: the suffix tells them apart; else a number does.
            suffix = Path(source).suffix.lstrip(".")
            place = folder.with_name(f"{folder.name}_{suffix}" if number == 2 and suffix else f"{folder.name}_{number}")
            number += 1
        taken.add(place)
        jobs.append(Job(source, place))
    return jobs

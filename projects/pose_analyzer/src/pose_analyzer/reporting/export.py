"""A session in the formats of other tools: `export_session(session, path, format="coco")`.

Tables (csv, parquet, json), COCO keypoints, MOT Challenge, OpenSim's .trc and .mot. Every file is written beside its name and
renamed, and the same session gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import SinkError
from pose_analyzer.reporting.coco import KeypointSet, coco_dict
from pose_analyzer.reporting.columns import Space
from pose_analyzer.reporting.files import parquet_bytes, plain, series_csv, session_to_dict, write_atomic
from pose_analyzer.reporting.mot_challenge import mot_challenge_text, seqinfo_text
from pose_analyzer.reporting.opensim import AngleNames, Ground, Units, mot_text, trc_text
from pose_analyzer.reporting.people import ChoiceError, people_in, person_rows
from shared_utils.data_models import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """What can be chosen; each format takes those that mean something to it.

    Args:
        track_id: One person; None for everybody, or for the only one where a format holds one (trc, opensim-mot).
        keypoints: coco: COCO's 17 or the detector's own ("native").
        size: coco, mot: (width, height) px of the pictures, where the session does not know it.
        ground_truth: mot: columns of a gt.txt instead of a result's.
        units: trc: "m" or "mm".
        rate_hz: trc, opensim-mot: rows per second; default as filmed.
        floor: trc: the lowest foot at Y = 0 in every frame; default the middle of the hips is the origin of every frame.
        ground: trc: a floor to stand on, see `biomechanics.GroundPlane`.
        space: opensim-mot: "image" for angles of the image plane, "3d" for those of metric landmarks, "lifted" for lifted ones.
        names: opensim-mot: "opensim" for its coordinates, "own" for all angles under our names.
        even: opensim-mot: bring rows to even times; they keep their own else.
    """

    track_id: int | None = None
    keypoints: KeypointSet = "coco_17"
    size: tuple[int, int] | None = None
    ground_truth: bool = False
    units: Units = "m"
    rate_hz: float | None = None
    floor: bool = False
    ground: Ground | None = None
    space: Space = "image"
    names: AngleNames = "opensim"
    even: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportFormat:
    """One way to write a session.

    Args:
        name: As it is asked for.
        suffix: Usual end of a file's name.
        what: One line for people.
        takes: Names of the options that apply.
        write: Makes the content.
        one_person: Whether it holds a single person.
    """

    name: str
    suffix: str
    what: str
    takes: tuple[str, ...]
    write: Callable[[Session, str, ExportOptions], bytes]
    one_person: bool = False


def export_session(session: Session, path: str | Path, *, format: str, **options: Any) -> list[Path]:  # noqa: A002 - the word everybody uses
    """Write a session in another tool's format.

    Args:
        session: What to write.
        path: File to write; its folder is made if absent. With mot and a folder, `gt/gt.txt` and `seqinfo.ini` are written into
            it, as evaluation tools want them.
        format: One of `EXPORT_FORMATS`.
        **options: Fields of `ExportOptions`.

    Returns:
        The files written.

    Raises:
        ChoiceError: The format or an option is unknown or does not apply, nobody was found, the person is not there, or the
            session lacks what the format needs.
        SinkError: The file cannot be written.

    Example:
        >>> export_session(Session(source="clip.mp4"), "clip.txt", format="mot")
        Traceback (most recent call last):
        pose_analyzer.reporting.people.ChoiceError: clip.mp4: nobody was found, so there is nothing to write
    """
    chosen, values = _checked(format, options)
    if not people_in(session):
        raise ChoiceError(f"{session.source}: nobody was found, so there is nothing to write")
    if values.track_id is not None and not chosen.one_person:
        session = _only(session, values.track_id)
    path = Path(path)
    contents: dict[Path, bytes] = {}
    if format == "mot" and path.is_dir():
        gt = ExportOptions(ground_truth=True)
        contents = {path / "gt" / "gt.txt": chosen.write(session, "gt.txt", gt)}
        contents[path / "seqinfo.ini"] = seqinfo_text(session, size=values.size).encode()
    else:
        contents[path] = chosen.write(session, path.name, values)
    try:
        for file, content in contents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, content)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}; choose another file with --out") from error
    return list(contents)


def _checked(name: str, options: Mapping[str, Any]) -> tuple[ExportFormat, ExportOptions]:
    if name not in EXPORT_FORMATS:
        raise ChoiceError(f"there is no format {name!r}; there are {', '.join(EXPORT_FORMATS)}")
    chosen = EXPORT_FORMATS[name]
    defaults = ExportOptions()
    known = [f.name for f in fields(ExportOptions)]
    for option, value in options.items():
        if option not in known:
            raise ChoiceError(f"there is no option {option!r}; there are {', '.join(known)}")
        if option in _CHOICES and value not in _CHOICES[option]:
            raise ChoiceError(f"{option} must be one of {', '.join(_CHOICES[option])}, got {value!r}")
        if option not in chosen.takes and value != getattr(defaults, option):
            takers = [f.name for f in EXPORT_FORMATS.values() if option in f.takes]
            raise ChoiceError(f"{option} does not apply to {name}; it is for {', '.join(takers)}")
    return chosen, ExportOptions(**options)


def _only(session: Session, track_id: int) -> Session:
    """The session as if only that person had been there."""
    if track_id not in people_in(session):
        raise ChoiceError(f"nobody has track id {track_id} in this session; there are {people_in(session)}")
    events = tuple(e for e in session.events if e.track_id in (track_id, -1))
    return replace(session, series=session.series.track(track_id), events=events)


def _json(session: Session, _: str, __: ExportOptions) -> bytes:
    columns = {name: _values(column) for name, column in session.series.columns.items()}
    return (json.dumps(session_to_dict(session) | {"series": columns}, allow_nan=False) + "\n").encode()


def _values(column: NDArray[Any]) -> list[Any]:
    """A column as JSON values; NaN and infinity are null, single precision is given to four decimals (0.1 mm, far below a pixel)."""
    if column.dtype.kind != "f":
        return plain(column.tolist())
    known = np.isfinite(column)
    values = (np.round(column.astype(np.float64), 4) if column.dtype == np.float32 else column).tolist()
    return values if known.all() else [v if k else None for v, k in zip(values, known.tolist(), strict=True)]


def _coco(session: Session, _: str, options: ExportOptions) -> bytes:
    return (json.dumps(coco_dict(session, keypoints=options.keypoints, size=options.size), allow_nan=False) + "\n").encode()


def _mot(session: Session, _: str, options: ExportOptions) -> bytes:
    return mot_challenge_text(session.series, ground_truth=options.ground_truth).encode()


def _trc(session: Session, name: str, o: ExportOptions) -> bytes:
    own = person_rows(session, o.track_id)[1]
    return trc_text(own, name, units=o.units, rate_hz=o.rate_hz, floor=o.floor, ground=o.ground).encode()


def _opensim_mot(session: Session, _: str, o: ExportOptions) -> bytes:
    own = person_rows(session, o.track_id)[1]
    return mot_text(own, space=o.space, names=o.names, rate_hz=o.rate_hz, even=o.even).encode()


_PERSON = ("track_id",)
_CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(kind) for name, kind in (("keypoints", KeypointSet), ("units", Units), ("space", Space), ("names", AngleNames))
}
EXPORT_FORMATS: dict[str, ExportFormat] = {
    f.name: f
    for f in (
        ExportFormat(
            name="csv", suffix=".csv", what="angles and counts by frame, for spreadsheets", takes=_PERSON,
            write=lambda session, _, __: series_csv(session.series).encode(),
        ),
        ExportFormat(
            name="parquet", suffix=".parquet", what="every column, keypoints included", takes=_PERSON,
            write=lambda session, _, __: parquet_bytes(session.series),
        ),
        ExportFormat(name="json", suffix=".json", what="result, events and every column in one document", takes=_PERSON, write=_json),
        ExportFormat(name="coco", suffix=".json", what="COCO keypoints", takes=(*_PERSON, "keypoints", "size"), write=_coco),
        ExportFormat(
            name="mot", suffix=".txt", what="MOT Challenge boxes; a folder gets gt/gt.txt and seqinfo.ini",
            takes=(*_PERSON, "ground_truth", "size"), write=_mot,
        ),
        ExportFormat(
            name="trc", suffix=".trc", what="OpenSim markers of one person, in space",
            takes=(*_PERSON, "units", "rate_hz", "floor", "ground"), write=_trc, one_person=True,
        ),
        ExportFormat(
            name="opensim-mot", suffix=".mot", what="OpenSim motion: joint angles of one person",
            takes=(*_PERSON, "rate_hz", "space", "names", "even"), write=_opensim_mot, one_person=True,
        ),
    )
}  # fmt: skip
"""Format -> how it is written."""

"""How good identities are, in MOT Challenge's terms: its files in, HOTA, MOTA, IDF1 and identity switches out.

TrackEval (github.com/JonathonLuiten/TrackEval), the evaluation that MOT Challenge itself uses, does the scoring; it is loaded when
it is asked for and is no part of the run-time installation.
"""

from __future__ import annotations

import configparser
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.base import Tracker
from shared_utils.data_models import Poses
from shared_utils.errors import ConfigError, ValidationError
from shared_utils.skeletons import COCO_17

Benchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20"]
Rows = Mapping[int, NDArray[np.float64]]
"""Frame number, from 1 -> (m, 6) id, x1, y1, x2, y2 px, score; id -1 = none."""

_SEQUENCE = "sequence"
_TRACKER = "tracker"


@dataclass(frozen=True, slots=True, kw_only=True)
class MotScore:
    """One result against the truth; ratios 0..1.

    Args:
        hota: Higher order tracking accuracy, mean over overlaps of 0.05 to 0.95.
        det_a, ass_a: Its parts, detection and association.
        mota: 1 - (misses + false detections + switches) / true boxes; below 0 when there are more errors than people.
        idf1: F1 of boxes under the best one-to-one naming of whole tracks.
        id_switches: How often a true person's id changed.
        ids: Ids used.
        true_people: People in the truth.
    """

    hota: float
    det_a: float
    ass_a: float
    mota: float
    idf1: float
    id_switches: int
    ids: int
    true_people: int


def read_mot(path: str | Path) -> dict[int, NDArray[np.float64]]:
    """A MOT Challenge file of detections, results or truth.

    Args:
        path: Lines `frame, id, left, top, width, height, score, ...`; frames and pixels count from 1 in the challenge, and are
            taken as they are.

    Returns:
        Frame -> (m, 6) id, x1, y1, x2, y2, score.

    Raises:
        ValidationError: The file cannot be read or is not in that form; the text names the line's form.
    """
    path = Path(path)
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2, usecols=range(7))
    except (OSError, ValueError, UnicodeDecodeError, IndexError) as error:
        raise ValidationError(f"{path} is not a MOT Challenge file (frame, id, left, top, width, height, score, ...): {error}") from error
    if not table.size:
        return {}
    if not np.isfinite(table).all() or (table[:, 4:6] < 0).any() or (table[:, 0] < 1).any():
        raise ValidationError(f"{path} holds numbers that are not finite, boxes of negative size or frames before 1")
    boxes = np.concatenate([table[:, 1:4], table[:, 2:4] + table[:, 4:6], table[:, 6:7]], axis=1)
    return {int(frame): boxes[table[:, 0] == frame] for frame in np.unique(table[:, 0])}


def write_mot(rows: Rows, path: str | Path) -> None:
    """Write results in MOT Challenge's form; rows without an id are left out."""
    lines = [
        f"{frame},{int(i)},{x1:.3f},{y1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},{score:.6f},-1,-1,-1\n"
        for frame in sorted(rows)
        for i, x1, y1, x2, y2, score in rows[frame].tolist()
        if i >= 1
    ]
    Path(path).write_text("".join(lines), encoding="utf-8")


def track_rows(detections: Rows, tracker: Tracker, *, fps: float, frames: Iterable[int]) -> dict[int, NDArray[np.float64]]:
    """The detections of a sequence with the ids that a tracker gives them.

    Args:
        detections: By frame; ids are not read.
        tracker: Fresh, or reset.
        fps: Frames per second, for the timestamps.
        frames: All frames of the sequence in order, those without detections included.

    Returns:
        As `detections`, ids set; -1 = none.
    """
    named = {}
    for frame in frames:
        rows = detections.get(frame, np.zeros((0, 6)))
        n = len(rows)
        poses = Poses(
            boxes_xyxy=rows[:, 1:5].astype(np.float32),
            scores=rows[:, 5].clip(0, 1).astype(np.float32),
            keypoints_xy=np.full((n, len(COCO_17), 2), np.nan, np.float32),
            keypoint_confidence=np.zeros((n, len(COCO_17)), np.float32),
            skeleton=COCO_17,
        )
        ids = tracker.update(poses, timestamp_s=frame / fps).track_ids
        named[frame] = np.concatenate([ids[:, None].astype(np.float64), rows[:, 1:]], axis=1)
    return named


def peer_rows(detections: Rows, *, fps: float, frames: Iterable[int]) -> dict[int, NDArray[np.float64]]:
    """The same by the ByteTrack of the `trackers` package (Apache-2.0), at its own settings.

    Raises:
        ConfigError: The package is not installed.
    """
    try:
        import supervision as sv
        from trackers import ByteTrackTracker
    except ImportError as error:
        raise ConfigError(f"the comparison needs the packages `trackers` and `supervision`: {error}") from error
    tracker, named = ByteTrackTracker(frame_rate=fps), {}
    for frame in frames:
        rows = np.array(detections.get(frame, np.zeros((0, 6))))
        found = tracker.update(
            sv.Detections(rows[:, 1:5].astype(np.float32), confidence=rows[:, 5], data={"row": np.arange(len(rows))}), timestamp=frame / fps
        )
        rows[:, 0] = -1
        if len(found) and found.tracker_id is not None:
            # It counts from 0; MOT Challenge from 1.
            rows[np.asarray(found.data["row"], np.intp), 0] = np.where(found.tracker_id >= 0, found.tracker_id + 1, -1)
        named[frame] = rows
    return named


def score_mot(truth: str | Path, result: Rows, *, length: int, benchmark: Benchmark = "MOT15") -> MotScore:
    """Score a result by TrackEval.

    Args:
        truth: The truth's file.
        result: By frame.
        length: Frames of the sequence.
        benchmark: Whose rules: those before MOT16 know no classes to leave out.

    Raises:
        ConfigError: TrackEval is not installed.
        ValidationError: It refuses the files; the text says why.
    """
    try:
        from trackeval.datasets import MotChallenge2DBox
        from trackeval.metrics import CLEAR, HOTA, Identity
        from trackeval.utils import TrackEvalException
    except ImportError as error:
        raise ConfigError(f"evaluation needs the package `trackeval`: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        gt, results = Path(folder, "gt", _SEQUENCE, "gt"), Path(folder, "results", _TRACKER, "data")
        gt.mkdir(parents=True)
        results.mkdir(parents=True)
        (gt / "gt.txt").write_bytes(Path(truth).read_bytes())
        write_mot(result, results / f"{_SEQUENCE}.txt")
        settings = {
            "GT_FOLDER": str(Path(folder, "gt")),
            "TRACKERS_FOLDER": str(Path(folder, "results")),
            "SEQ_INFO": {_SEQUENCE: length},
            "TRACKERS_TO_EVAL": [_TRACKER],
            "SKIP_SPLIT_FOL": True,
            "BENCHMARK": benchmark,
            "PRINT_CONFIG": False,
        }
        try:
            # It reports its progress with print; a result is all that is wanted here.
            with contextlib.redirect_stdout(io.StringIO()):
                dataset = MotChallenge2DBox(settings)
                data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data(_TRACKER, _SEQUENCE), "pedestrian")
                quiet = {"PRINT_CONFIG": False, "THRESHOLD": 0.5}
                hota, clear, identity = (m.eval_sequence(data) for m in (HOTA(), CLEAR(quiet), Identity(quiet)))
        except TrackEvalException as error:
            raise ValidationError(f"TrackEval refuses {truth}: {error}") from error
    return MotScore(
        hota=float(np.mean(hota["HOTA"])),
        det_a=float(np.mean(hota["DetA"])),
        ass_a=float(np.mean(hota["AssA"])),
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        id_switches=int(clear["IDSW"]),
        ids=int(data["num_tracker_ids"]),
        true_people=int(data["num_gt_ids"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MotSequence:
    """Where the files of one sequence lie.

    Args:
        truth: gt.txt.
        detections: det.txt, if there is one.
        fps: Frames per second, if the sequence says.
        length: Frames, if the sequence says.
    """

    truth: Path
    detections: Path | None = None
    fps: float | None = None
    length: int | None = None


def open_sequence(path: str | Path) -> MotSequence:
    """A sequence from its folder (gt/gt.txt, det/det.txt, seqinfo.ini) or from the truth's file alone.

    Raises:
        ValidationError: There is no truth.
    """
    path = Path(path)
    truth = path / "gt/gt.txt" if path.is_dir() else path
    if not truth.is_file():
        raise ValidationError(
            f"there is no truth at {truth}; give a MOT Challenge folder (gt/gt.txt, det/det.txt, seqinfo.ini) or its gt.txt"
        )
    if not path.is_dir():
        return MotSequence(truth=truth)
    information = configparser.ConfigParser()
    try:
        information.read(path / "seqinfo.ini")
        fps = information.getfloat("Sequence", "frameRate", fallback=None)
        length = information.getint("Sequence", "seqLength", fallback=None)
    except (configparser.Error, ValueError) as error:
        raise ValidationError(f"{path / 'seqinfo.ini'} cannot be read: {error}") from error
    detections = path / "det/det.txt"
    return MotSequence(truth=truth, detections=detections if detections.is_file() else None, fps=fps, length=length)


Make = Callable[[], Tracker]


def evaluate_sequence(
    sequence: MotSequence,
    trackers: Mapping[str, Make],
    results: Mapping[str, Path],
    *,
    fps: float,
    benchmark: Benchmark = "MOT15",
    peer: bool = False,
    keep: Path | None = None,
) -> dict[str, MotScore]:
    """Scores by name: of trackers run on the sequence's detections, and of results that are there already.

    Args:
        sequence: Files.
        trackers: Makers of trackers by name.
        results: Result files by name.
        fps: Frames per second.
        benchmark: Whose rules.
        peer: Score the `trackers` package's ByteTrack on the same detections too.
        keep: Folder in which the trackers' results are kept as NAME.txt.

    Raises:
        ValidationError: A file is missing or not in MOT Challenge's form.
        ConfigError: A package that the evaluation needs is not installed.
    """
    truth = read_mot(sequence.truth)
    if not truth:
        raise ValidationError(f"{sequence.truth} holds no boxes")
    found: dict[str, Rows] = {name: read_mot(path) for name, path in results.items()}
    if trackers or peer:
        if sequence.detections is None:
            raise ValidationError("trackers need detections; give a det.txt with --detections")
        detections = read_mot(sequence.detections)
        frames = range(1, max([sequence.length or 1, *truth, *detections]) + 1)
        found |= {name: track_rows(detections, make(), fps=fps, frames=frames) for name, make in trackers.items()}
        if peer:
            found["trackers: bytetrack"] = peer_rows(detections, fps=fps, frames=frames)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for name in [*trackers, *(["trackers: bytetrack"] if peer else [])]:
            write_mot(found[name], keep / f"{name.replace(': ', '_')}.txt")
    length = max([sequence.length or 1, *truth, *(frame for rows in found.values() for frame in rows)])
    return {name: score_mot(sequence.truth, rows, length=length, benchmark=benchmark) for name, rows in found.items()}

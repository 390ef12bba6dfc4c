"""A session's rows as people again: `Poses` by frame, one person's rows, and the objects of other libraries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import PoseAnalyzerError
from shared_utils.data_models import EventType, Poses, Series, Session
from shared_utils.errors import ConfigError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17, HALPE_26, Skeleton

if TYPE_CHECKING:
    import supervision as sv
    from ultralytics.engine.results import Results


_DONE = (EventType.REP_COMPLETED, EventType.REP_PARTIAL, EventType.HOLD_COMPLETED)


class ChoiceError(PoseAnalyzerError, ConfigError):
    """What was asked for is not in the session: an unknown person, angle or format."""


class FramePeople(NamedTuple):
    """The people of one frame.

    Args:
        frame_index: Of the frame, from 0.
        timestamp_s: Media clock.
        poses: Who was there.
    """

    frame_index: int
    timestamp_s: float
    poses: Poses


def skeleton_of(series: Series) -> Skeleton | None:
    """The keypoint set whose columns a series has, the richest first; None without keypoints."""
    known = (s for s in (BLAZEPOSE_33, HALPE_26, COCO_17) if all(f"{n}_x_px" in series for n in s.keypoints))
    return next(known, None)


def poses_of(series: Series) -> Poses:
    """Every row as a person, in the order of the rows.

    Raises:
        ChoiceError: The series has no keypoints.

    Example:
        >>> poses_of(Series({"timestamp_s": np.zeros(0)}))
        Traceback (most recent call last):
        pose_analyzer.reporting.people.ChoiceError: the session holds no keypoints; ...
    """
    skeleton = skeleton_of(series)
    if skeleton is None:
        raise ChoiceError("the session holds no keypoints; analyse the source again with output.keypoints=true")
    names = skeleton.keypoints
    xy = np.stack([_columns(series, names, f"_{axis}_px") for axis in "xy"], axis=-1)
    missing = ~np.isfinite(xy).all(-1)
    world = None
    if all(f"{n}_world_x_m" in series for n in names):
        world = np.stack([_columns(series, names, f"_world_{axis}_m") for axis in "xyz"], axis=-1)
    origin = series["origin"] if "origin" in series else np.zeros(len(series), np.int8)
    return Poses(
        boxes_xyxy=_columns(series, ("x1", "y1", "x2", "y2"), "_px", prefix="box_"),
        scores=series["score"],
        keypoints_xy=np.where(missing[..., None], np.float32(np.nan), xy),
        keypoint_confidence=np.where(missing, np.float32(0), _columns(series, names, "_confidence")),
        skeleton=skeleton,
        world_xyz_m=world,
        track_ids=series["track_id"],
        origin=origin,
    )


def frames_of(series: Series) -> Iterator[FramePeople]:
    """The people of each frame that shows somebody, in the order of the rows.

    Raises:
        ChoiceError: The series has no keypoints.
    """
    if len(series) == 0:
        return
    poses = poses_of(series)
    index = series["frame_index"]
    starts = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
    for first, end in zip(starts, [*starts[1:], len(series)], strict=True):
        yield FramePeople(int(index[first]), float(series["timestamp_s"][first]), poses[int(first) : int(end)])


def people_in(session: Session) -> list[int]:
    """Track ids, rising."""
    return np.unique(session.series["track_id"]).tolist() if "track_id" in session.series else []


def main_track(session: Session) -> int | None:
    """The person a reader most likely means: most repetitions, then most frames; None if nobody was seen."""
    if not people_in(session):
        return None
    ids, frames = np.unique(session.series["track_id"], return_counts=True)
    repetitions = [sum(e.track_id == i for e in session.repetitions) for i in ids]
    return int(ids[max(range(len(ids)), key=lambda k: (repetitions[k], frames[k]))])


def exercise_of(session: Session, track_id: int | None = None) -> str:
    """What was done: the exercise of most repetitions and holds, else the one that was to be counted; empty when neither is known.

    Args:
        session: Where to look.
        track_id: By whom; None for anybody.

    Example:
        >>> exercise_of(Session(source="clip.mp4", settings={"exercise": {"name": "my/push_up.yaml"}}))
        'push_up'
    """
    told = (e for e in session.events if e.type in _DONE and (track_id is None or e.track_id == track_id))
    counts = Counter(str(e.data["exercise"]) for e in told if "exercise" in e.data)
    if counts:
        return counts.most_common(1)[0][0]
    name = Path(str((session.settings.get("exercise") or {}).get("name") or "")).stem
    return "" if name == "auto" else name


def person_rows(session: Session, track_id: int | None, *, guess: bool = False) -> tuple[int, Series]:
    """One person's rows whose time rises, and who it is.

    A clock that ran backwards gives rows that cannot be ordered; those that are not later than all before them are left out.

    Args:
        session: Where to look.
        track_id: Who; None for the only one.
        guess: Take the main one where there are several.

    Raises:
        ChoiceError: Nobody was found, there is no such person, or there are several and none was named.
    """
    known = people_in(session)
    if not known:
        raise ChoiceError(f"{session.source}: nobody was found, so there is nothing to write")
    if track_id is None:
        if len(known) > 1 and not guess:
            raise ChoiceError(f"there are several people; choose one of {known} by --person (track_id)")
        track_id = main_track(session)
    if track_id not in known:
        raise ChoiceError(f"nobody has track id {track_id} in this session; there are {known}")
    own = session.series.track(track_id)
    own = own.where(_rises(own["timestamp_s"]))
    if not len(own):
        raise ChoiceError(f"person {track_id} has not one row with a time")
    return track_id, own


def picture_size(session: Session, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """(width, height) px of the source.

    Raises:
        ChoiceError: It is neither known nor given.
    """
    if size is None:
        size = (int(session.source_info.get("width") or 0), int(session.source_info.get("height") or 0))
    if min(size) <= 0:
        raise ChoiceError("the session does not know the size of its pictures; give it by --size WIDTHxHEIGHT (size)")
    return size


def to_supervision(series: Series) -> Iterator[tuple[FramePeople, sv.KeyPoints, sv.Detections]]:
    """Each frame's people as supervision's key points and detections.

    Missing keypoints are NaN and not `visible`; ids are in `tracker_id`.
    """
    for frame in frames_of(series):
        yield frame, *frame.poses.to_supervision()


def to_ultralytics(session: Session, *, size: tuple[int, int] | None = None) -> Iterator[Results]:
    """Each frame's people as ultralytics' `Results` (AGPL-3.0; imported here only).

    A missing keypoint is (0, 0) with confidence 0, as that library has it. `orig_img` is black, as no pictures are kept.

    Args:
        session: With keypoints.
        size: (width, height) px, where the session does not know it.

    Raises:
        ChoiceError: There are no keypoints, or the size is unknown.
    """
    import torch
    from ultralytics.engine.results import Results

    width, height = picture_size(session, size)
    black = np.zeros((height, width, 3), np.uint8)
    stem = Path(session.source).stem
    for index, _, poses in frames_of(session.series):
        ids = poses.track_ids[:, None].astype(np.float32)
        rest = np.stack([poses.scores, np.zeros(len(poses), np.float32)], axis=1)
        boxes = np.concatenate([poses.boxes_xyxy, *([ids] if (ids >= 0).all() else []), rest], axis=1)
        keypoints = np.concatenate([np.nan_to_num(poses.keypoints_xy), poses.keypoint_confidence[..., None]], axis=2)
        yield Results(black, f"{stem}_{index:06d}.jpg", {0: "person"}, boxes=torch.from_numpy(boxes), keypoints=torch.from_numpy(keypoints))


def _columns(series: Series, names: tuple[str, ...], suffix: str, *, prefix: str = "") -> NDArray[np.float32]:
    """(rows, len(names)) of columns that share their ends."""
    return np.stack([series[f"{prefix}{n}{suffix}"] for n in names], axis=1).astype(np.float32)


def _rises(times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(t,) whether each time is finite and later than all before it."""
    known = np.where(np.isfinite(times_s), times_s, -np.inf)
    before = np.r_[-np.inf, np.maximum.accumulate(known)[:-1]]
    return np.isfinite(times_s) & (known > before)

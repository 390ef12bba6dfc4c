"""What is true in one frame, and over a whole clip: joints, visibility, angles, phases, repetitions, faults.

Coordinates: px as in `camera` (the centre of the first pixel lies at 0.5, 0.5), metres in the world (z up). Landmarks are
BlazePose's 33 (`landmarks`), so that COCO-17 and Halpe-26 follow by `Poses.to_skeleton`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic.landmarks import ANGLE_NAMES
from shared_utils.data_models import Angles, Poses
from shared_utils.skeletons import BLAZEPOSE_33

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """One true attempt at a repetition, or one held position, on the media clock.

    Args:
        track_id: Whose.
        exercise: Of what.
        number: Position among the athlete's attempts, from 1.
        ordinal: Position among the full repetitions, from 1; 0 for a partial attempt and for a hold.
        side: "both", "left" or "right".
        start_s: Leaves rest.
        turn_start_s, turn_end_s: At the turning point, or in the held position.
        end_s: Back at rest.
        partial: Asked for as a partial one; not to be counted.
        range_share: Range reached, as a share of the exercise's full range.
        complete: Ends before the clip does and before the athlete leaves.
        faults: Name -> degree.
    """

    track_id: int
    exercise: str
    number: int
    ordinal: int
    side: str
    start_s: float
    turn_start_s: float
    turn_end_s: float
    end_s: float
    partial: bool
    range_share: float
    complete: bool
    faults: Mapping[str, float] = field(default_factory=dict)

    @property
    def turn_s(self) -> float:
        """Middle of the pause at the turning point, seconds."""
        return (self.turn_start_s + self.turn_end_s) / 2

    @property
    def counts(self) -> bool:
        """Whether a counter should have counted it by the end of the clip."""
        return self.ordinal > 0 and self.complete

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {name: dict(v) if isinstance(v := getattr(self, name), Mapping) else v for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """What is true in one frame about the n athletes who are there (seen or not).

    Args:
        index: Of the frame.
        timestamp_s: Media clock.
        width, height: Image size in px.
        track_ids: (n,) int64.
        exercises: n names.
        phases: n names, as in `tempo.Phase`.
        progress: (n,) 0 at rest, 1 at full depth.
        attempts: (n,) number of the attempt under way, from 1; 0 at rest.
        repetitions: (n,) full repetitions completed so far.
        faults: n mappings of what goes wrong in the attempt under way, name -> degree at the turning point.
        joints_xy: (n, 33, 2) px; may lie outside the picture; NaN behind the camera.
        joints_xyz_m: (n, 33, 3) world.
        visible: (n, 33) inside the picture and not hidden.
        boxes_xyxy: (n, 4) px, extent of the silhouette inside the picture as if nobody else were there; zeros if it is outside.
        visible_share: (n,) part of that silhouette that nobody else covers, 0..1.
        angles_deg: (n, 11) true angles in space, in the order of `ANGLE_NAMES`.
        angles_2d_deg: (n, 11) the same measured in the picture.
        camera_rotation: (3, 3) rows are the camera's axes in the world.
        camera_position: (3,) world, metres.
        focal_px: Focal length in px.
    """

    index: int
    timestamp_s: float
    width: int
    height: int
    track_ids: NDArray[np.int64]
    exercises: tuple[str, ...]
    phases: tuple[str, ...]
    progress: NDArray[np.float64]
    attempts: NDArray[np.int64]
    repetitions: NDArray[np.int64]
    faults: tuple[Mapping[str, float], ...]
    joints_xy: NDArray[np.float64]
    joints_xyz_m: NDArray[np.float64]
    visible: NDArray[np.bool_]
    boxes_xyxy: NDArray[np.float64]
    visible_share: NDArray[np.float64]
    angles_deg: NDArray[np.float64]
    angles_2d_deg: NDArray[np.float64]
    camera_rotation: NDArray[np.float64]
    camera_position: NDArray[np.float64]
    focal_px: float

    def __len__(self) -> int:
        return len(self.track_ids)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(n, 33) landmarks inside the picture, hidden or not."""
        with np.errstate(invalid="ignore"):
            return ((self.joints_xy >= 0) & (self.joints_xy < [self.width, self.height])).all(-1)

    @property
    def joints_camera_m(self) -> NDArray[np.float64]:
        """(n, 33, 3) metres in the camera's frame: x right, y down, z forward."""
        return (self.joints_xyz_m - self.camera_position) @ self.camera_rotation.T

    def angle_deg(self, name: str, track_id: int | None = None) -> float:
        """One true angle in degrees.

        Args:
            name: One of `ANGLE_NAMES`.
            track_id: Whose; may be left out when only one athlete is there.

        Raises:
            SceneError: There is no such angle or athlete.
        """
        if name not in ANGLE_NAMES:
            raise SceneError(f"unknown angle {name!r}; there are {', '.join(ANGLE_NAMES)}")
        rows = np.arange(len(self)) if track_id is None else np.flatnonzero(self.track_ids == track_id)
        if len(rows) != 1:
            raise SceneError(f"{len(rows)} athletes match track_id {track_id}; there are {self.track_ids.tolist()}")
        return float(self.angles_deg[rows[0], ANGLE_NAMES.index(name)])

    def angles(self) -> Angles:
        """All angles: `*_deg` as they look in the picture, `*_3d_deg` as they are in space."""
        return Angles(
            names=(*ANGLE_NAMES, *(n.removesuffix("_deg") + "_3d_deg" for n in ANGLE_NAMES)),
            track_ids=self.track_ids,
            value_deg=np.concatenate([self.angles_2d_deg, self.angles_deg], axis=1),
            timestamp_s=self.timestamp_s,
        )

    def poses(self, *, min_visible_share: float = 0.0) -> Poses:
        """The people in the picture as a perfect detector would give them.

        Every landmark has its position; confidence is 1 where it is seen and 0 where it is hidden or outside, presence is 1
        inside the picture. `world_xyz_m` are metres from the middle of the hips along the camera's axes.

        Args:
            min_visible_share: Leave out who is covered more than that; nobody outside of the picture is ever in.
        """
        rows = np.flatnonzero((self.visible_share > 0) & (self.visible_share >= min_visible_share))
        joints = self.joints_camera_m[rows]
        hips = BLAZEPOSE_33.indices(["left_hip", "right_hip"])
        xy = self.joints_xy[rows].astype(np.float32)
        seen = self.visible[rows] & np.isfinite(xy).all(-1)
        return Poses(
            boxes_xyxy=self.boxes_xyxy[rows].astype(np.float32),
            scores=np.ones(len(rows), np.float32),
            keypoints_xy=xy,
            keypoint_confidence=seen.astype(np.float32),
            keypoint_presence=self.inside[rows].astype(np.float32),
            world_xyz_m=(joints - joints[:, hips].mean(1, keepdims=True)).astype(np.float32),
            track_ids=self.track_ids[rows],
            skeleton=BLAZEPOSE_33,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTruth:
    """What is true over a whole clip.

    Args:
        frames: One truth per frame.
        repetitions: Attempts and holds of everybody, by athlete and time.
        spec: The scene as plain JSON types.
    """

    frames: tuple[Truth, ...]
    repetitions: tuple[Repetition, ...]
    spec: Mapping[str, Any]

    def of(self, track_id: int) -> tuple[Repetition, ...]:
        """One athlete's attempts and holds, in order."""
        return tuple(r for r in self.repetitions if r.track_id == track_id)

    def count(self, track_id: int) -> int:
        """Full repetitions that one athlete completed."""
        return sum(r.counts for r in self.of(track_id))


_PER_FRAME = ("index", "timestamp_s", "width", "height", "camera_rotation", "camera_position", "focal_px")
_ARRAYS = (
    *("track_ids", "progress", "attempts", "repetitions", "joints_xy", "joints_xyz_m", "visible"),
    *("boxes_xyxy", "visible_share", "angles_deg", "angles_2d_deg"),
)
_WORDS = ("exercises", "phases", "faults")


def save_truth(path: str | Path, truth: ClipTruth) -> Path:
    """Writes the truth of a clip, exactly, as `.npz` (small, binary) or `.json` (for people and other languages).

    Raises:
        SceneError: The name ends in neither.
    """
    path = Path(path)
    rows = [len(t) for t in truth.frames]
    arrays: dict[str, NDArray[Any]] = {"rows": np.array(rows, np.int64)}
    for name in _PER_FRAME:
        arrays[name] = np.array([getattr(t, name) for t in truth.frames])
    for name in _ARRAYS:
        parts = [getattr(t, name) for t in truth.frames]
        arrays[name] = np.concatenate(parts) if parts else np.zeros(0)
    words = {name: [[dict(w) if isinstance(w, Mapping) else w for w in getattr(t, name)] for t in truth.frames] for name in _WORDS}
    about = {
        "format": _FORMAT,
        "skeleton": BLAZEPOSE_33.name,
        "landmarks": list(BLAZEPOSE_33.keypoints),
        "angles": list(ANGLE_NAMES),
        "repetitions_of_everybody": [r.to_dict() for r in truth.repetitions],
        "scene": dict(truth.spec),
        **words,
    }
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
        path.write_bytes(buffer.getvalue())
    elif path.suffix == ".json":
        # JSON knows no NaN; null stands for it.
        data = about | {"arrays": {k: _jsonable(v) for k, v in arrays.items()}}
        path.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
    else:
        raise SceneError(f"{path.name}: a truth is saved as .npz or .json")
    return path


def load_truth(path: str | Path) -> ClipTruth:
    """Reads what `save_truth` wrote.

    Raises:
        SceneError: The file is missing or is not a truth.
    """
    path = Path(path)
    try:
        if path.suffix == ".json":
            about = json.loads(path.read_text(encoding="utf-8"))
            arrays = {k: _array(k, v) for k, v in about["arrays"].items()}
        else:
            with np.load(path, allow_pickle=False) as file:
                arrays = {k: file[k] for k in file.files if k != "about"}
                about = json.loads(str(file["about"]))
        if about["format"] != _FORMAT:
            raise SceneError(f"{path.name}: truth of format {about['format']}, this version reads {_FORMAT}; write the clip again")
        return _assemble(about, arrays)
    except FileNotFoundError:
        raise SceneError(f"there is no truth at {path}; `pose-analyzer synth` writes it beside the clip") from None
    except (KeyError, ValueError, TypeError, OSError) as error:
        if isinstance(error, SceneError):
            raise
        raise SceneError(f"{path.name} is not a truth file: {error}") from error


def _assemble(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> ClipTruth:
    rows = arrays["rows"].tolist()
    ends = np.cumsum([0, *rows])
    frames = []
    for i in range(len(rows)):
        mine = slice(int(ends[i]), int(ends[i + 1]))
        values: dict[str, Any] = {name: arrays[name][i] for name in _PER_FRAME}
        values |= {name: arrays[name][mine] for name in _ARRAYS}
        values |= {name: tuple(about[name][i]) for name in _WORDS}
        for name, kind in (("index", int), ("width", int), ("height", int), ("timestamp_s", float), ("focal_px", float)):
            values[name] = kind(values[name])
        frames.append(Truth(**values))
    repetitions = tuple(Repetition(**r) for r in about["repetitions_of_everybody"])
    return ClipTruth(frames=tuple(frames), repetitions=repetitions, spec=about["scene"])


def _jsonable(array: NDArray[Any]) -> Any:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return {"shape": array.shape, "values": [None if np.isnan(v) else v for v in array.ravel().tolist()]}
    return {"shape": array.shape, "values": array.ravel().tolist()}


_DTYPES = {"rows": np.int64, "index": np.int64, "width": np.int64, "height": np.int64}
_DTYPES |= {"track_ids": np.int64, "attempts": np.int64, "repetitions": np.int64, "visible": np.bool_}


def _array(name: str, data: Mapping[str, Any]) -> NDArray[Any]:
    dtype = _DTYPES.get(name, np.float64)
    values = [np.nan if v is None else v for v in data["values"]]
    return np.array(values, dtype).reshape(data["shape"])

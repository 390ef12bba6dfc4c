"""OpenSim's text files: markers (.trc) and motions (.mot) of one person.

.trc: five header lines, then a row per frame; rate and time are even, a missing marker is an empty cell. Axes are OpenSim's
handedness with Y up: X to the picture's right, Z towards the camera. Markers carry the detector's names.

.mot: `nRows`, `nColumns` (time counts), `inDegrees=yes`, `endheader`, the names, a row per time. A missing reading is NaN.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.columns import Space, angle_columns
from pose_analyzer.reporting.even_times import EvenSeries, evenly
from pose_analyzer.reporting.people import ChoiceError, poses_of
from shared_utils.data_models import Poses, Series

Array = NDArray[np.float64]
Units = Literal["m", "mm"]
AngleNames = Literal["opensim", "own"]

COORDINATES: dict[str, tuple[str, float]] = {
    "knee_flexion": ("knee_angle", 1.0),
    "hip_flexion": ("hip_flexion", 1.0),
    "hip_abduction": ("hip_adduction", -1.0),
    "ankle_dorsiflexion": ("ankle_angle", 1.0),
    "elbow_flexion": ("elbow_flex", 1.0),
    "shoulder_flexion": ("arm_flex", 1.0),
    "shoulder_abduction": ("arm_add", -1.0),
}
"""Our joint -> OpenSim's coordinate (`_l`, `_r` behind it) and its sign, as in the Rajagopal and LaiUhlrich models."""

_NOTE = """\
Angles from one camera by pose-analyzer; NaN stands for no reading. hip_flexion is of the thigh against the trunk, not the pelvis.
If the header above contains a line with 'inDegrees', this indicates whether rotational values are in degrees (yes) or radians (no).
"""
_FEET = ("left_heel", "right_heel", "left_foot_index", "right_foot_index", "left_ankle", "right_ankle")


class Ground(Protocol):
    """A floor as a camera sees it, for example `biomechanics.GroundPlane`."""

    @property
    def normal(self) -> Array:
        """(3,) unit vector up from the floor in the camera's frame (x right, y down, z forward)."""
        ...

    def to_floor_m(self, xy_px: Array) -> Array:
        """(..., 2) metres to the right and ahead of (..., 2) px."""
        ...


def trc_text(
    own: Series,
    name: str,
    *,
    units: Units = "m",
    rate_hz: float | None = None,
    floor: bool = False,
    ground: Ground | None = None,
) -> str:
    """One person's markers.

    Args:
        own: Rows of one person with metric landmarks, times rising.
        name: File name for the first line; a folder in it is left out.
        units: "m" or "mm".
        rate_hz: Frames per second; default as filmed.
        floor: Let the lowest foot stand at Y = 0 in every frame; X and Z stay the pelvis's. Default: the middle of the hips
            is the origin of every frame, so that the person moves around it and does not travel.
        ground: Place the person on this floor: the feet where they are seen, Y = 0 below the lowest.

    Raises:
        ChoiceError: There are no metric landmarks.
    """
    poses = poses_of(own)
    if poses.world_xyz_m is None or not np.isfinite(poses.world_xyz_m).any():
        raise ChoiceError("the session has no landmarks in space (blazepose and mediapipe give them, yolo does not), so no .trc")
    markers = poses.world_xyz_m.astype(np.float64) * (1.0, -1.0, -1.0)
    if ground is not None:
        markers = _on_ground(poses, ground)
    elif floor:
        markers[..., 1] -= _lowest_foot(markers, poses)[:, None]
    even = evenly(own["timestamp_s"], markers.reshape(len(markers), -1), rate_hz=rate_hz)
    return _trc(even, poses.skeleton.keypoints, Path(name).name, units)


def _trc(even: EvenSeries, names: tuple[str, ...], file: str, units: Units) -> str:
    frames, markers = len(even.times_s), len(names)
    rate = f"{even.rate_hz:.2f}"
    values = even.values * (1000.0 if units == "mm" else 1.0)
    # A marker with a component missing is missing.
    points = values.reshape(frames, markers, 3)
    values = np.where(np.isfinite(points).all(-1, keepdims=True), points, np.nan).reshape(frames, -1)
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{file}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{frames}\t{markers}\t{units}\t{rate}\t1\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{i}" for i in range(1, markers + 1) for axis in "XYZ"),
    ]
    digits = 3 if units == "mm" else 6
    for i, (time_s, row) in enumerate(zip(even.times_s.tolist(), values.tolist(), strict=True), start=1):
        cells = ["" if v != v else f"{v:.{digits}f}" for v in row]
        # OpenSim's reader drops an empty cell at the end of a line, so such a line ends with a tab more.
        lines.append(f"{i}\t{time_s:.6f}\t" + "\t".join(cells) + ("" if cells[-1] else "\t"))
    return "\n".join(lines) + "\n"


def mot_text(
    own: Series,
    *,
    space: Space = "image",
    names: AngleNames = "opensim",
    rate_hz: float | None = None,
    even: bool = False,
) -> str:
    """One person's joint angles as a motion file.

    Args:
        own: Rows of one person, times rising.
        space: "image" takes the angles of the image plane, "3d" those of metric landmarks, "lifted" those of lifted ones, the best
            guess from an oblique camera.
        names: "opensim" writes the coordinates of `COORDINATES` under OpenSim's names; "own" all angles under ours, without `_deg`.
        rate_hz: Rows per second. Given, or with `even`, rows are brought to even times; else they keep their own.
        even: As `rate_hz`, with the rate of the film.

    Raises:
        ChoiceError: There is not one angle with a reading.
    """
    columns = [c for c in angle_columns(own, space=space) if np.isfinite(own[c]).any()]
    chosen = {c.removesuffix("_deg"): own[c] for c in columns} if names == "own" else _coordinates(own, columns)
    if not chosen:
        raise ChoiceError("no joint angle of this person has a reading, so there is nothing to write into a .mot")
    times_s, values = own["timestamp_s"], np.stack(list(chosen.values()), axis=1)
    if even or rate_hz is not None:
        times_s, values, _, _ = evenly(times_s, values, rate_hz=rate_hz)
    head = ["Coordinates", "version=1", f"nRows={len(times_s)}", f"nColumns={len(chosen) + 1}", "inDegrees=yes", "", _NOTE, "endheader"]
    rows = [
        "\t".join([f"{t:.8f}", *("NaN" if v != v else f"{v:.6f}" for v in row)])
        for t, row in zip(times_s.tolist(), values.tolist(), strict=True)
    ]
    return "\n".join([*head, "\t".join(["time", *chosen]), *rows]) + "\n"


def _coordinates(own: Series, columns: list[str]) -> dict[str, Array]:
    """OpenSim's names -> values."""
    out = {}
    for column in columns:
        side, _, joint = column.removesuffix("_deg").removesuffix("_3d").removesuffix("_lifted").partition("_")
        if side in ("left", "right") and joint in COORDINATES:
            coordinate, sign = COORDINATES[joint]
            out[f"{coordinate}_{side[0]}"] = sign * own[column]
    return out


def _on_ground(poses: Poses, ground: Ground) -> Array:
    """(t, k, 3) metres to the right, up and towards the camera, on the floor."""
    up = np.asarray(ground.normal, np.float64)
    ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
    ahead = ahead / np.linalg.norm(ahead)
    right = np.cross(ahead, up)
    world = np.zeros((0, 1, 3)) if poses.world_xyz_m is None else poses.world_xyz_m.astype(np.float64)
    markers = world @ np.stack([right, up, -ahead], axis=1)
    feet = poses.skeleton.indices([f for f in _FEET if f in poses.skeleton])
    seen = np.isfinite(poses.keypoints_xy[:, feet]).all(-1) & np.isfinite(markers[:, feet]).all(-1)
    share = (seen / np.maximum(seen.sum(1, keepdims=True), 1))[..., None]
    middle_px = (np.nan_to_num(poses.keypoints_xy[:, feet]).astype(np.float64) * share).sum(1)
    middle_m = (np.nan_to_num(markers[:, feet]) * share).sum(1)
    place = ground.to_floor_m(np.where(seen.any(1)[:, None], middle_px, np.nan))
    shift = np.stack([place[:, 0] - middle_m[:, 0], -_lowest_foot(markers, poses), -place[:, 1] - middle_m[:, 2]], axis=1)
    return markers + shift[:, None]


def _lowest_foot(markers: Array, poses: Poses) -> Array:
    """(t,) height of the lowest point of the feet; NaN where there is none."""
    heights = markers[:, poses.skeleton.indices([f for f in _FEET if f in poses.skeleton]), 1]
    known = np.isfinite(heights)
    return np.where(known.any(1), np.where(known, heights, np.inf).min(1), np.nan)

"""The names of a series' columns: what belongs to an angle, what to a keypoint.

`<angle>_deg` has its standard deviation in `<angle>_sigma_deg`; `<keypoint>_x_px`, `_y_px`, `_confidence` and
`_world_x_m`, `_y_m`, `_z_m` are a keypoint's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Space = Literal["image", "3d", "lifted"]

_IN_SPACE = ("_3d_deg", "_lifted_deg")
SIGMA_SUFFIX = "_sigma_deg"
KEYPOINT_SUFFIXES = ("_x_px", "_y_px", "_confidence", "_world_x_m", "_world_y_m", "_world_z_m")


def sigma_name(angle: str) -> str:
    """Column of an angle's standard deviation.

    Example:
        >>> sigma_name("left_knee_flexion_deg")
        'left_knee_flexion_sigma_deg'
    """
    return angle.removesuffix("_deg") + SIGMA_SUFFIX


def angle_columns(names: Iterable[str], *, space: Space | None = None) -> list[str]:
    """The columns that are joint angles.

    Args:
        names: Of all columns.
        space: "image" for those of the image plane, "3d" for those from metric landmarks, "lifted" for those of lifted landmarks,
            None for all.

    Example:
        >>> angle_columns(["signal_deg", "trunk_lean_deg", "trunk_lean_sigma_deg", "trunk_lean_3d_deg"], space="image")
        ['trunk_lean_deg']
    """
    found = [n for n in names if n.endswith("_deg") and not n.endswith(SIGMA_SUFFIX) and n != "signal_deg"]
    if space is None:
        return found
    if space == "image":
        return [n for n in found if not n.endswith(_IN_SPACE)]
    return [n for n in found if n.endswith(f"_{space}_deg")]


def joint_of(angle: str) -> str:
    """An angle's name without side and unit.

    Example:
        >>> joint_of("left_knee_flexion_deg")
        'knee_flexion'
    """
    return angle.removesuffix("_deg").removeprefix("left_").removeprefix("right_")

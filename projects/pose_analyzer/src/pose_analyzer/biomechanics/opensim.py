"""OpenSim's motion files (.mot, .sto) read, and their joint angles under our names.

The format: a header of any length that ends with `endheader`, in it `nRows=`, `nColumns=` and `inDegrees=yes|no`; then the column
names and one row per time, apart by tabs or spaces. Time comes first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared_utils.data_models import Series
from shared_utils.errors import ValidationError

_ROTATIONS_END = ("_tx", "_ty", "_tz", "_beta")  # coordinates that are lengths, or are coupled copies

# OpenSim coordinate -> our angle without its side, and the sign. OpenSim's knee and elbow are 0 straight and grow with flexion,
# hip flexion is of the thigh against the pelvis, ankle angle is dorsiflexion; hip adduction is abduction the other way round.
_NAMES = {
    "knee_angle": ("knee_flexion_deg", 1.0),
    "hip_flexion": ("hip_flexion_deg", 1.0),
    "elbow_flex": ("elbow_flexion_deg", 1.0),
    "ankle_angle": ("ankle_dorsiflexion_deg", 1.0),
    "arm_flex": ("shoulder_flexion_deg", 1.0),
    "arm_add": ("shoulder_abduction_deg", -1.0),
    "hip_adduction": ("hip_abduction_deg", -1.0),
}


def read_motion(path: str | Path) -> Series:
    """All columns of a motion file, rotations in degrees.

    Returns:
        `time` in seconds and the coordinates under OpenSim's names.

    Raises:
        ValidationError: The file is missing, has no header, or its rows are not what the header says.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path.name} cannot be read as a motion file: {error}") from error
    ends = [i for i, line in enumerate(lines) if line.strip().lower() == "endheader"]
    if not ends or len(lines) < ends[0] + 2:
        raise ValidationError(f"{path.name} is not a motion file: a line 'endheader' and column names are needed")
    facts = {k.strip().lower(): v.strip() for k, _, v in (line.partition("=") for line in lines[: ends[0]]) if v}
    names = lines[ends[0] + 1].split()
    rows = [line.split() for line in lines[ends[0] + 2 :] if line.strip()]
    _check_shape(path.name, facts, names, rows)
    try:
        table = np.array(rows, np.float64).reshape(len(rows), len(names))
    except ValueError as error:
        raise ValidationError(f"{path.name}: a value is no number ({error})") from error
    columns = dict(zip(names, table.T.copy(), strict=True))
    if facts.get("indegrees", "yes").lower() == "no":
        columns = {k: v if k == "time" or k.endswith(_ROTATIONS_END) else np.degrees(v) for k, v in columns.items()}
    return Series(columns)


def _check_shape(file: str, facts: dict[str, str], names: list[str], rows: list[list[str]]) -> None:
    if not names or names[0] != "time" or len(set(names)) != len(names):
        raise ValidationError(f"{file}: the first column must be 'time' and names must not repeat")
    for fact, count in (("nrows", len(rows)), ("ncolumns", len(names))):
        if facts.get(fact, str(count)) != str(count):
            raise ValidationError(f"{file}: the header says {fact}={facts[fact]}, the file has {count}")
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if ragged is not None:
        raise ValidationError(f"{file}: row {ragged} has {len(rows[ragged])} values for {len(names)} columns")


def joint_series(motion: Series) -> Series:
    """The joints of a motion under our names and signs: `timestamp_s`, `left_knee_flexion_deg`, ...

    OpenSim measures the hip against the pelvis, we against the trunk; the two differ by the bend of the lower back.
    """
    columns = {"timestamp_s": motion["time"]}
    for theirs, (ours, sign) in _NAMES.items():
        for letter, side in (("l", "left"), ("r", "right")):
            if f"{theirs}_{letter}" in motion:
                columns[f"{side}_{ours}"] = sign * motion[f"{theirs}_{letter}"]
    return Series(columns)

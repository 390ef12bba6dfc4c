"""Our angles against the raw ones of MediaPipe's landmarks: better, alike or worse, by cells of camera and picture height.

A cell is a joint seen from one azimuth at one picture height. Its frames are not independent, but its scenes are (other bodies,
other exercises): whole scenes are drawn again with replacement, and a difference that keeps its sign in 95 % of the draws is
taken for one; everything else is a tie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_DRAWS = 400
_MEASURES = ("median", "p95")
VERDICTS = ("better", "alike", "worse")


def versus(near: Mapping[str, Array], joints: tuple[str, ...], kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row per joint and kind: how many cells are better, alike and worse, by median and by 95th percentile.

    Args:
        near: Columns of readings of the near side; see `audit_readings.Readings`.
        joints: Which.
        kinds: Which.
    """
    rows = []
    for joint in joints:
        for kind in kinds:
            mine = (near["joint"] == joint) & (near["kind"] == kind)
            row: dict[str, Any] = {"joint": joint, "kind": kind, "cells": 0}
            row |= {f"{measure}_{verdict}": 0 for measure in _MEASURES for verdict in VERDICTS} | {"worse_cells": []}
            for azimuth, height in sorted(set(zip(near["azimuth_deg"][mine].tolist(), near["height_px"][mine].tolist(), strict=True))):
                cell = mine & (near["azimuth_deg"] == azimuth) & (near["height_px"] == height)
                verdicts = compare(near["error_deg"][cell], near["mediapipe_error_deg"][cell], near["scene"][cell])
                if verdicts is None:
                    continue
                row["cells"] += 1
                for measure, verdict in zip(_MEASURES, verdicts, strict=True):
                    row[f"{measure}_{verdict}"] += 1
                    if verdict == "worse":
                        row["worse_cells"].append(f"{measure}: {azimuth:g} degrees, {height} px")
            rows.append(row)
    return rows


def compare(ours: Array, theirs: Array, scene: Array) -> tuple[str, str] | None:
    """Verdicts by median and by 95th percentile; None without readings of both in two scenes.

    Args:
        ours: (m,) errors in degrees, NaN = no reading.
        theirs: (m,) errors in degrees of the same frames.
        scene: (m,) which scene each belongs to.

    Example:
        >>> scene = np.repeat(np.arange(8), 20)
        >>> error = np.random.default_rng(0).normal(size=160)
        >>> compare(0.5 * error, error, scene), compare(error, error, scene)
        (('better', 'better'), ('alike', 'alike'))
    """
    both = np.isfinite(ours) & np.isfinite(theirs)
    errors, scene = np.abs(np.stack([ours, theirs])[:, both]), scene[both]
    rows = [np.flatnonzero(scene == s) for s in np.unique(scene)]
    if len(rows) < 2:
        return None
    random = np.random.default_rng(0)
    differences = np.empty((_DRAWS, len(_MEASURES)))
    for draw in differences:
        chosen = errors[:, np.concatenate([rows[i] for i in random.integers(0, len(rows), len(rows))])]
        draw[:] = -np.diff(np.percentile(chosen, (50, 95), axis=1), axis=1)[:, 0]
    low, high = np.percentile(differences, (2.5, 97.5), axis=0)
    median, p95 = (VERDICTS[0] if most < 0 else VERDICTS[2] if least > 0 else VERDICTS[1] for least, most in zip(low, high, strict=True))
    return median, p95

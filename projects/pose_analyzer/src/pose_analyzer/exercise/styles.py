"""How far people who do an exercise well differ, beyond what the repetitions of one reference show.

The athlete of `synthetic` has many bodies but one technique, and whoever is filmed for a reference has one, too. A stranger stands
wider, leans more, or holds the elbows elsewhere, and is not wrong. What a reference calls a deviation is therefore measured by its own
spread and by that of people's styles together: some forward lean is style, much of it is a fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pose_analyzer.exercise.features import Array

_FAULT_DEG: Mapping[str, float] = {
    "depth_loss": 5.0,
    "forward_lean": 4.0,
    "rounded_back": 6.0,
    "elbow_drift": 5.0,
    "knee_valgus": 3.0,
    # People favour a side, and stand a little turned to the camera.
    "asymmetry": 4.0,
}
# From beside, how far a knee travels over the foot, and where the foot points, look like a knee that leaves its line.
_KNEE_TRAVEL_DEG = 8.0

FEATURE_STYLE_DEG: Mapping[str, float] = {
    "knee_flexion": 5.0,
    "hip_flexion": 5.0,
    "elbow_flexion": 5.0,
    "shoulder_elevation": 5.0,
    "trunk_lean": 4.0,
    "neck_flexion": 6.0,
    "shank_lean": 4.0,
    "knee_valgus": 3.0,
    "knees_in": 2.0,
}
"""Feature without side -> the same of a feature that shows no fault by name; two sides of one body differ less than bodies do."""
_OTHER_STYLE_DEG = 2.0
# Share of a fault's size by which its signature may miss how the fault looks at that size.
_BENT = 0.9


def fault_style_deg(fault: str, azimuth_deg: float) -> float:
    """Standard deviation, degrees, of a fault's trait among people who do it well: a sixth to a quarter of what everybody would see.

    Args:
        fault: Its name.
        azimuth_deg: From where they are seen, 0 = from the front.

    Example:
        >>> fault_style_deg("forward_lean", 90.0), fault_style_deg("knee_valgus", 0.0), round(fault_style_deg("knee_valgus", 45.0), 1)
        (4.0, 3.0, 6.4)
    """
    own = _FAULT_DEG[fault]
    return math.hypot(own, _KNEE_TRAVEL_DEG * math.sin(math.radians(azimuth_deg))) if fault == "knee_valgus" else own


def tolerated(evidence: float, degrees: float, style_deg: float) -> float:
    """Evidence in spreads of style and noise together, from evidence in spreads of the noise alone.

    Args:
        evidence: `degrees` in spreads of the noise.
        degrees: The deviation.
        style_deg: Standard deviation of the trait among people who do it well.

    Example:
        >>> tolerated(10.0, 10.0, 0.0), round(tolerated(10.0, 10.0, 5.0), 2), round(tolerated(-2.0, -6.0, 4.0), 2)
        (10.0, 1.96, -1.2)
    """
    return evidence / math.hypot(1.0, evidence * style_deg / degrees) if degrees else 0.0


def matched(deviation: Array, signature: Array) -> tuple[float, float, float]:
    """How much of a fault is in a whitened deviation, and how far this person is unlike the reference's people beside it.

    Args:
        deviation: (d,) in spreads.
        signature: (d,) what the fault changes per degree, in spreads.

    Returns:
        Evidence in spreads of the reference; degrees; and the doubt: standard deviation of what the fault leaves unexplained, at least 1
        (the residual variance of a regression), less what a signature, which is a straight line, gets wrong of a large fault.

    Example:
        >>> matched(np.array([8.0, 0.5]), np.array([0.5, 0.0]))
        (8.0, 16.0, 1.0)
    """
    length = float(np.linalg.norm(signature))
    if length < 1e-3:
        return 0.0, 0.0, 1.0
    along = float(signature @ deviation) / length
    unexplained = (float(deviation @ deviation) - (1.0 + _BENT**2) * along * along) / max(len(deviation) - 1, 1)
    return along, along / length, math.sqrt(max(unexplained, 1.0))


def feature_style_deg(name: str) -> float:
    """Standard deviation of a feature of `FORM_FEATURES` among people who do it well, degrees.

    Example:
        >>> feature_style_deg("left_knee_flexion_3d"), feature_style_deg("hip_tilt")
        (5.0, 2.0)
    """
    return FEATURE_STYLE_DEG.get(name.removeprefix("left_").removeprefix("right_").removesuffix("_3d"), _OTHER_STYLE_DEG)

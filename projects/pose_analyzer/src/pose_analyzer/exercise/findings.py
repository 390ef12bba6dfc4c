"""What is said of one repetition: `Finding`, one thing that is not as in the reference, and `FormScore`, all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pose_analyzer.exercise.features import SIDES

_PARTS: Mapping[str, tuple[str, ...]] = {
    "knee": ("hip", "knee", "ankle"),
    "ankle": ("knee", "ankle"),
    "hip": ("shoulder", "hip", "knee"),
    "elbow": ("shoulder", "elbow", "wrist"),
    "shoulder": ("hip", "shoulder", "elbow"),
    "wrist": ("elbow", "wrist"),
    "trunk": ("shoulder", "hip"),
    "back": ("ear", "shoulder", "hip"),
}


def keypoints_of(joint: str, side: str) -> tuple[str, ...]:
    """Names of the keypoints that show a joint, of one side or of both.

    Args:
        joint: "knee", "ankle", "hip", "elbow", "shoulder", "wrist", "trunk" or "back"; none for anything else.
        side: "left", "right"; both sides for anything else.

    Example:
        >>> keypoints_of("knee", "left")
        ('left_hip', 'left_knee', 'left_ankle')
    """
    sides = (side,) if side in SIDES else SIDES
    return tuple(f"{s}_{part}" for s in sides for part in _PARTS.get(joint, ()))


def severity_of(evidence: float, limit: float) -> str:
    """How far beyond its limit evidence lies, in a word.

    Example:
        >>> severity_of(3.0, 2.5), severity_of(4.5, 2.5), severity_of(9.0, 2.5)
        ('slight', 'clear', 'strong')
    """
    return "slight" if evidence < 1.5 * limit else "clear" if evidence < 3.0 * limit else "strong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as in the reference.

    Args:
        fault: Name: a fault of `faults`, `depth_loss`, `half_range`, `rushed_tempo`, or `deviation`.
        joint: Where points are lost.
        side: "left", "right", "both" or "".
        phase: As the profile calls it: "top", "down", "bottom", "up"; "all" for tempo.
        degrees: Deviation from the reference; for tempo seconds too few.
        value: What was measured.
        reference_mean, reference_spread: What the reference has there.
        unit: "deg" or "s".
        evidence: Deviation in spreads.
        frame: Index of the frame that shows it best.
        sample: Of the reference's samples, the one that shows it best; -1 for tempo.
        keypoints: Names of the keypoints that show it, for drawing; none for tempo.
        severity: "slight", "clear" or "strong": how far beyond the evidence that good repetitions reach.
        message: One sentence.
    """

    fault: str
    joint: str
    side: str
    phase: str
    degrees: float
    value: float
    reference_mean: float
    reference_spread: float
    unit: str
    evidence: float
    frame: int
    sample: int
    keypoints: tuple[str, ...]
    severity: str
    message: str

    def data(self) -> dict[str, Any]:
        """Numbers and words for an event."""
        return {
            "fault": self.fault,
            "joint": self.joint,
            "side": self.side,
            "phase": self.phase,
            "degrees": round(self.degrees, 2),
            "value": round(self.value, 2),
            "reference_mean": round(self.reference_mean, 2),
            "reference_spread": round(self.reference_spread, 2),
            "unit": self.unit,
            "evidence": round(self.evidence, 2),
            "reference_sample": self.sample,
            "keypoints": list(self.keypoints),
            "severity": self.severity,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FormScore:
    """How well one repetition was done.

    Args:
        track_id: Whose.
        number: The counter's number, 0 for a partial repetition.
        start_s, end_s: Media clock.
        score: 0..100; NaN when the view has no reference.
        parts: Joint -> points lost; 100 less their sum is the score.
        findings: By strength.
        azimuth_deg: From where it was seen, from the leading side.
        view_deg: Which view of the reference served; NaN = none.
        distance: Warping distance per step, in scales.
        distance_limit: What held-out good repetitions stay under.
        not_judged: Faults that this view does not show.
        evidence: Fault -> strongest evidence, told or not.
        led: The side that stands first in the reference, "left" or "right".
    """

    track_id: int
    number: int
    start_s: float
    end_s: float
    score: float
    parts: Mapping[str, float]
    findings: tuple[Finding, ...]
    azimuth_deg: float
    view_deg: float
    distance: float
    distance_limit: float
    not_judged: tuple[str, ...]
    evidence: Mapping[str, float] = field(default_factory=dict)
    led: str = "left"

    @property
    def unusual(self) -> bool:
        """Whether the movement as a whole is unlike any held-out good repetition."""
        return self.distance > self.distance_limit

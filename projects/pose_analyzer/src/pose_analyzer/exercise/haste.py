"""Whether a repetition was rushed: its seconds against those of the reference."""

from __future__ import annotations

import math

from pose_analyzer.exercise.findings import Finding, severity_of
from pose_analyzer.exercise.recording import Repetition
from pose_analyzer.exercise.reference import Reference

# Least evidence for haste; how fast people move is their style, which the spread of durations has already.
_LEAST = 2.65


def haste(repetition: Repetition, reference: Reference) -> tuple[float, Finding | None]:
    """How much faster than the reference, in spreads (NaN = unknown), and the finding if that is beyond people's habits.

    Args:
        repetition: As the recorder gave it.
        reference: With the seconds of good repetitions, by phase.
    """
    taken_s = repetition.end_s - repetition.start_s
    mean, spread = reference.durations_s.get("all", (math.nan, math.nan))
    if not math.isfinite(mean):
        return math.nan, None
    evidence = (mean - math.log(max(taken_s, 1e-3))) / spread
    if "moving" in reference.durations_s:
        # Where a pause begins is less sure than how long all of it took; either may show that somebody hurries.
        middle, _ = reference.durations_s["moving"]
        evidence = max(evidence, (evidence + (middle - math.log(max(repetition.moving_s, 1e-3))) / spread) / 2)
    if evidence < _LEAST:
        return evidence, None
    usual_s = math.exp(mean)
    return evidence, Finding(
        fault="rushed_tempo",
        joint="tempo",
        side="",
        phase="all",
        degrees=usual_s - taken_s,
        value=taken_s,
        reference_mean=usual_s,
        reference_spread=usual_s * spread,
        unit="s",
        evidence=evidence,
        frame=repetition.frame_at((repetition.reached_s + repetition.left_s) / 2),
        sample=-1,
        keypoints=(),
        severity=severity_of(evidence, _LEAST),
        message=f"rushed: {taken_s:.1f} s for the repetition; reference {usual_s:.1f} ± {usual_s * spread:.1f} s",
    )

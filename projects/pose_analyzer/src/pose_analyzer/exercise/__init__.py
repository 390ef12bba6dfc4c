"""`Angles` in, repetitions and holds out; `Poses` in, form out.

Exercise profiles, the repetition state machine, references of good repetitions, form scores, anomalies.
"""

from pose_analyzer.exercise.auto import AutoCounter
from pose_analyzer.exercise.counter import RepetitionCounter, RepState
from pose_analyzer.exercise.findings import Finding, FormScore
from pose_analyzer.exercise.form import FormScorer
from pose_analyzer.exercise.profile import Cue, ExerciseProfile, Limit, list_profiles, load_profile
from pose_analyzer.exercise.recognizer import ExerciseRecognizer
from pose_analyzer.exercise.reference import Reference, list_references, load_reference
from pose_analyzer.exercise.temporal import Match, TemporalAnalyzer

__all__ = [
    "AutoCounter",
    "Cue",
    "ExerciseProfile",
    "ExerciseRecognizer",
    "Finding",
    "FormScore",
    "FormScorer",
    "Limit",
    "Match",
    "Reference",
    "RepState",
    "RepetitionCounter",
    "TemporalAnalyzer",
    "list_profiles",
    "list_references",
    "load_profile",
    "load_reference",
]

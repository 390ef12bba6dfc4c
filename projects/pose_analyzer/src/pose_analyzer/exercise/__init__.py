"""`Angles` in, repetitions and holds out: exercise profiles, the repetition state machine, its events."""

from pose_analyzer.exercise.counter import RepetitionCounter, RepState
from pose_analyzer.exercise.profile import Cue, ExerciseProfile, Limit, list_profiles, load_profile

__all__ = ["Cue", "ExerciseProfile", "Limit", "RepState", "RepetitionCounter", "list_profiles", "load_profile"]

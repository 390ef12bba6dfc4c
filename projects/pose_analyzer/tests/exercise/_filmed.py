"""Sets of the athlete through the real detector, each filmed once per test run: references know what a detector sees, not the truth."""

from __future__ import annotations

from functools import cache

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.exercise import RepetitionCounter, load_profile, load_reference
from pose_analyzer.exercise.judgement import judge
from pose_analyzer.exercise.recording import recorded_repetitions
from pose_analyzer.pipeline.takes import Studio, Take

SEED = 700_000  # nobody of the references


@cache
def _studio():
    return Studio(None)


@cache
def steady(exercise, azimuth_deg, *, fault=None, degree=0.0, reps=1, seed=SEED):
    """(poses, times_s, frames) of one set, smoothed."""
    faults = {} if fault is None else {fault: degree}
    return _studio().steady(Take(exercise=exercise, azimuth_deg=azimuth_deg, seed=seed, reps=reps, faults=faults))


def repetitions(exercise, azimuth_deg, **how):
    """What is counted in one set."""
    poses, times, frames = steady(exercise, azimuth_deg, **how)
    return recorded_repetitions(poses, joint_angles(poses, timestamp_s=0.0), times, frames, load_profile(exercise))


def scores(exercise, azimuth_deg, **how):
    """Every repetition of one set, judged."""
    reference, profile = load_reference(exercise), load_profile(exercise)
    return [judge(r, reference, profile) for r in repetitions(exercise, azimuth_deg, **how)]


def frames_of(exercise, azimuth_deg, **how):
    """(poses, time_s, index) frame by frame."""
    poses, times, frames = steady(exercise, azimuth_deg, **how)
    return [(poses[i : i + 1], t, f) for i, (t, f) in enumerate(zip(times.tolist(), frames.tolist(), strict=True))]


def live(scorer, frames):
    """Events of a scorer that watches frames, and at the end of the stream."""
    counter, events = RepetitionCounter(scorer.profile), []
    for poses, time_s, index in frames:
        counted = counter.update(joint_angles(poses, timestamp_s=time_s), timestamp_s=time_s, frame_index=index)
        events += scorer.update(poses, counted, timestamp_s=time_s, frame_index=index)
    return events + scorer.flush(counter.flush())

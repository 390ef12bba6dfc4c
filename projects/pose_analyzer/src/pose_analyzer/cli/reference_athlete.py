"""Repetitions of the athlete as the product sees them: landmarks with a detector's errors, angles, counter. No picture is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.build import FaultySet, build_reference, with_limits, with_signatures
from pose_analyzer.exercise.counter import RepetitionCounter
from pose_analyzer.exercise.features import Array, facing, form_features
from pose_analyzer.exercise.findings import FormScore
from pose_analyzer.exercise.judgement import judge
from pose_analyzer.exercise.profile import ExerciseProfile, load_profile
from pose_analyzer.exercise.recording import Repetition, RepetitionRecorder, repetition_of
from pose_analyzer.exercise.reference import Reference
from pose_analyzer.synthetic import DEPTHS_DEG, Exercise, MotionSpec, Scene, scene_for
from pose_analyzer.synthetic.observed import landmarks_over_time, observed
from shared_utils.data_models import Angles, EventType, Poses

SINGLE_SIDED = frozenset({"lunge"})
"""Exercises whose leading side may be the farther one."""


def azimuths(exercise: str) -> list[float]:
    """Views of a reference: from the front to the leading side, and to the other one where that differs."""
    near = [0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0]
    return [-a for a in reversed(near[1:])] + near if exercise in SINGLE_SIDED else near


def varied_scene(
    exercise: str, *, azimuth_deg: float, reps: int, seed: int, faults: Mapping[str, float] | None = None, roll_deg: float = 0.0
) -> Scene:
    """A set done by somebody: body, depth, tempo and camera vary by seed as among people who do it well.

    Args:
        exercise: Of the athlete.
        azimuth_deg: View, 90 = from the athlete's leading (for a lunge the right, else the left) side; varied by 8 degrees.
        reps: Repetitions.
        seed: Of everything.
        faults: What goes wrong, as in `FaultSpec`.
        roll_deg: Turn of the camera around its axis.
    """
    random = np.random.default_rng((seed, 77))
    kind = Exercise.named(exercise)
    rest, depth = DEPTHS_DEG[kind]
    tempo: dict[str, Any] = {}
    if kind is not Exercise.JUMPING_JACK:
        pace = float(np.exp(random.normal(0.0, 0.15)))
        tempo = {"tempo": [1.2 * pace, 0.2, 1.0 * pace, 0.4]}
    sign = -1.0 if kind is Exercise.LUNGE else 1.0
    return scene_for(
        kind,
        azimuth_deg=float(sign * (azimuth_deg + np.random.default_rng((seed, 78, int(azimuth_deg) + 360)).uniform(-8, 8))),
        elevation_deg=float(random.uniform(3, 14)),
        reps=reps,
        seed=seed,
        fps=20,
        depth_deg=float(depth + random.normal(0.0, 0.03) * (depth - rest)),
        tempo_jitter=0.1,
        roll_deg=roll_deg,
        faults=dict(faults or {}),
        **tempo,
    )


def repetitions_by_view(
    exercise: str, views: Iterable[float], *, reps: int, seed: int, faults: Mapping[str, float] | None = None
) -> dict[float, list[Repetition]]:
    """One set seen from several directions at once: azimuth -> its repetitions."""
    out: dict[float, list[Repetition]] = {}
    landmarks: Array | None = None
    for azimuth_deg in views:
        scene = varied_scene(exercise, azimuth_deg=azimuth_deg, reps=reps, seed=seed, faults=faults)
        landmarks = landmarks_over_time(scene) if landmarks is None else landmarks
        out[azimuth_deg] = athlete_repetitions(scene, seed=seed * 1009 + round(azimuth_deg) + 360, landmarks_m=landmarks)
    return out


def athlete_repetitions(scene: Scene, *, seed: int, landmarks_m: Array | None = None) -> list[Repetition]:
    """The repetitions of a scene's athlete as the product sees them."""
    seen = observed(scene, seed=seed, landmarks_m=landmarks_m)
    chosen = load_profile(scene.athletes[0].motion.exercise.value)
    return recorded_repetitions(seen.poses, seen.times_s, seen.frames, chosen)


def recorded_repetitions(poses: Poses, times_s: Array, frames: NDArray[np.int64], profile: ExerciseProfile) -> list[Repetition]:
    """Repetitions of one person over a whole recording.

    Args:
        poses: One row per frame, steady already.
        times_s: (t,) media clock.
        frames: (t,) indices.
        profile: What to count.
    """
    angles = joint_angles(poses, timestamp_s=0.0)
    counter = RepetitionCounter(profile)
    one = np.ones(1, np.int64)
    events = [
        event
        for row, (time_s, index) in enumerate(zip(times_s.tolist(), frames.tolist(), strict=True))
        for event in counter.update(Angles(angles.names, one, angles.value_deg[row : row + 1]), timestamp_s=time_s, frame_index=index)
    ]
    features, directions = form_features(poses), facing(poses)
    told = (e for e in events + counter.flush() if e.type in (EventType.REP_COMPLETED, EventType.REP_PARTIAL))
    cut = (repetition_of(e, profile, times_s=times_s, frames=frames, features=features, directions=directions) for e in told)
    return [r for r in cut if r is not None]


def athlete_reference(exercise: str, *, people: int = 16, reps: int = 2) -> Reference:
    """The reference of an exercise of the athlete, with the signatures of its faults and limits from other people's good sets.

    Raises:
        ExerciseError: The athlete does not know the exercise, or it is held.
    """
    if exercise not in set(Exercise) or exercise in ("plank", "wall_sit", "walking", "idle"):
        raise ExerciseError(f"the athlete cannot show {exercise!r} by repetitions; build its reference --from a clip of good ones")
    profile, views = load_profile(exercise), azimuths(exercise)
    sets_of = {seed: repetitions_by_view(exercise, views, reps=reps, seed=seed) for seed in range(people)}
    good = [r for by_view in sets_of.values() for rows in by_view.values() for r in rows]
    reference = build_reference(good, profile, source=f"athlete, {people} people, {reps} repetitions from {len(views)} directions each")
    sets: dict[str, list[FaultySet]] = {}
    for fault, degrees in fault_degrees(exercise).items():
        for seed in range(min(people, _FAULTY_PEOPLE)):
            found = repetitions_by_view(exercise, views, reps=reps, seed=seed, faults={fault: degrees})
            sets.setdefault(fault.removesuffix("_deg"), []).extend(FaultySet(found[a], sets_of[seed][a], degrees) for a in views)
    reference = with_signatures(reference, sets, profile)
    return with_limits(reference, _limits(reference, profile, views))


def fault_degrees(exercise: str) -> dict[str, float]:
    """Faults of posture and range that an exercise can show, each with the degrees at which its signature is taken."""
    usual = {"knee_valgus_deg": 15.0, "forward_lean_deg": 15.0, "rounded_back_deg": 30.0, "asymmetry_deg": 12.0, "elbow_drift_deg": 25.0}
    usual["depth_loss_deg"] = 18.0
    possible = MotionSpec(exercise=Exercise.named(exercise)).possible_faults
    return {name: degrees for name, degrees in usual.items() if name in possible}


def _limits(reference: Reference, profile: ExerciseProfile, views: Sequence[float]) -> dict[str, float]:
    """Fault -> evidence that one good repetition in a hundred of people unknown to the reference reaches, and a tenth more."""
    seen: dict[str, list[float]] = {}
    for seed in range(2000, 2008):
        for rows in repetitions_by_view(reference.exercise, views, reps=2, seed=seed).values():
            for repetition in rows:
                for fault, evidence in judge(repetition, reference, profile).evidence.items():
                    seen.setdefault(fault, []).append(evidence)
    return {fault: max(_LEAST_LIMIT, 1.05 * float(np.quantile(values, 0.99))) for fault, values in seen.items()}


_LEAST_LIMIT = 2.4
_FAULTY_PEOPLE = 6


def clip_reference(exercise: str, clips: Sequence[Path]) -> Reference:
    """A reference from a user's own clips of good repetitions.

    Raises:
        SourceError: A clip cannot be read.
        ExerciseError: There are not three repetitions from one direction.
    """
    profile = load_profile(exercise)
    found = [r for clip in clips for r, _ in _walk(clip, profile)]
    return build_reference(found, profile, source=f"{len(found)} repetitions of {', '.join(c.name for c in clips)}")


def score_clip(clip: Path, reference: Reference) -> list[FormScore]:
    """Every repetition of a clip, scored.

    Raises:
        SourceError: The clip cannot be read.
    """
    profile = load_profile(reference.exercise)
    return [judge(r, reference, profile) for r, _ in _walk(clip, profile)]


def _walk(clip: Path, profile: ExerciseProfile) -> Iterator[tuple[Repetition, int]]:
    """Full repetitions in a clip, with the index of the frame at which each was told."""
    from pose_analyzer.pipeline import Pipeline

    recorder = RepetitionRecorder(profile)
    with Pipeline(exercise=profile.name) as pipeline:
        for update in pipeline.run(clip):
            now, index = update.frame.timestamp_s, update.frame.index
            for r in recorder.update(update.tracked, update.events, timestamp_s=now, frame_index=index):
                yield r, index

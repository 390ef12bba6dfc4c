"""References of form: from the athlete, through the detector, or from a user's own clips; clips compared with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.build import FaultySet, build_reference, with_signatures
from pose_analyzer.exercise.calibrate import calibrated
from pose_analyzer.exercise.evidence import evidence_picture, stacked
from pose_analyzer.exercise.features import FORM_FEATURES
from pose_analyzer.exercise.findings import Finding, FormScore
from pose_analyzer.exercise.judgement import judge
from pose_analyzer.exercise.profile import ExerciseProfile, load_profile
from pose_analyzer.exercise.recording import Repetition, RepetitionRecorder
from pose_analyzer.exercise.reference import Reference
from pose_analyzer.pipeline.stream import Pipeline, Update
from pose_analyzer.pipeline.takes import SINGLE_SIDED, Studio, Take, azimuths, repetitions_by_view
from pose_analyzer.synthetic import Exercise, MotionSpec
from pose_analyzer.video import open_source
from shared_utils.data_models import Poses

Told = Callable[[int, int], None]
# The order says which seeds an exercise has; new ones go to the end.
EXERCISES = (
    "squat", "bicep_curl", "lunge", "deadlift", "overhead_press", "push_up", "hammer_curl", "lateral_raise", "sit_up", "jumping_jack",
    "pull_up",
)  # fmt: skip
# Parts that take no part are nobody's fault: hands in a squat, legs in a curl that may be done on a bench, knees in a pull-up.
_ARMS, _LEGS = ("elbow", "shoulder", "wrist"), ("knee", "hip", "shank")
STANDS_FOR = {
    "barbell_squat": ("squat", (*_ARMS, "neck")),
    "squat": ("squat", _ARMS),
    "lunge": ("lunge", _ARMS),
    "bicep_curl": ("bicep_curl", _LEGS),
    "hammer_curl": ("hammer_curl", _LEGS),
    "lateral_raise": ("lateral_raise", _LEGS),
    "overhead_press": ("overhead_press", _LEGS),
    "pull_up": ("pull_up", _LEGS),
    "push_up": ("push_up", ("knee", "shank")),
    "push_up_incline": ("push_up", ("knee", "shank", "trunk_lean", "tilt")),
    "sit_up": ("sit_up", (*_ARMS, "knee", "shank", "neck")),
}
"""Exercise -> the one whose sets of the athlete stand for it, and words in the names of features in which people may differ."""
_SIGNATURE_DEG = {
    "knee_valgus_deg": 15.0,
    "forward_lean_deg": 15.0,
    "rounded_back_deg": 30.0,
    "asymmetry_deg": 12.0,
    "elbow_drift_deg": 25.0,
    "depth_loss_deg": 18.0,
}
_SIGNATURE_PEOPLE = 4
# Seen through the detector, these look otherwise than their geometry says: it makes both sides of a body more alike, and guesses at
# an elbow behind the trunk. Fault -> degrees, and the views that show it.
_FILMED = {"asymmetry_deg": (15.0, (0.0, 15.0, 30.0)), "elbow_drift_deg": (25.0, (45.0, 60.0, 75.0, 90.0))}
_FILMED_PEOPLE = 2


def athlete_reference(exercise: str, *, people: int = 4, folder: Path | None = None, told: Told | None = None) -> Reference:
    """The reference of an exercise of the athlete: filmed and detected, with signatures of its faults and limits from held-out people.

    Args:
        exercise: Its name.
        people: For each view, each with another body and camera.
        folder: Where detections are kept; None keeps nothing.
        told: Called with takes done and takes in all.

    Raises:
        ExerciseError: The athlete does not know the exercise, or it is held.
    """
    wanted, (exercise, other) = exercise, STANDS_FOR.get(exercise, (exercise, ()))
    if exercise not in EXERCISES:
        raise ExerciseError(f"the athlete cannot show {exercise!r} by repetitions; build its reference --from a clip of good ones")
    leave_out = [name for name in FORM_FEATURES if any(word in name for word in other)]
    profile, studio = load_profile(wanted), Studio(folder)
    takes = good_takes(exercise, people)
    twins = _faulty_takes(exercise, takes)
    filmed: dict[str, list[Repetition]] = {}
    for done, take in enumerate([*takes, *twins], 1):
        filmed[take.key] = studio.repetitions(take)
        if told is not None:
            told(done, len(takes) + len(twins))
    studio.close()
    persons = [filmed[t.key] for t in takes if filmed[t.key]]
    source = f"athlete, filmed and detected: {len(persons)} people from {len(azimuths(exercise))} directions"
    source += f"; {exercise.replace('_', ' ')}s stand for it" if wanted != exercise else ""
    source += f"; free: {', '.join(other)}" if other else ""
    reference = build_reference([r for rows in persons for r in rows], profile, source=source, leave_out=leave_out)
    for fault, sets in _seen_without_pictures(exercise).items():
        reference = with_signatures(reference, {fault: sets}, profile)
    for fault, (degrees, _) in _FILMED.items():
        pairs = [FaultySet(filmed[t.key], filmed[_good(t).key], degrees) for t in twins if fault in t.faults]
        if pairs:
            reference = with_signatures(reference, {fault.removesuffix("_deg"): pairs}, profile)
    return calibrated(reference, persons, profile)


def good_takes(exercise: str, people: int) -> list[Take]:
    """One repetition of another person by every camera, `people` times; views within 9 degrees of the reference's, from both sides."""
    views, out = azimuths(exercise), []
    for seed in range(1000 * EXERCISES.index(exercise), 1000 * EXERCISES.index(exercise) + people * len(views)):
        view = views[seed % 1000 % len(views)]
        random = np.random.default_rng((seed, 78, int(view) + 360))
        side = 1.0 if exercise in SINGLE_SIDED or random.random() < 0.5 else -1.0
        out.append(Take(exercise=exercise, azimuth_deg=round(float(side * (view + random.uniform(-9.0, 9.0))), 2), seed=seed))
    return out


def _faulty_takes(exercise: str, takes: Sequence[Take]) -> list[Take]:
    """The first people's takes again, with the faults whose signatures are filmed."""
    views = azimuths(exercise)
    first = takes[: _FILMED_PEOPLE * len(views)]
    return [
        Take(exercise=exercise, azimuth_deg=t.azimuth_deg, seed=t.seed, faults={fault: degrees})
        for fault, (degrees, seen_from) in _FILMED.items()
        if fault in MotionSpec(exercise=Exercise.named(exercise)).possible_faults
        for i, t in enumerate(first)
        if abs(views[i % len(views)]) in seen_from
    ]


def _good(take: Take) -> Take:
    return Take(exercise=take.exercise, azimuth_deg=take.azimuth_deg, seed=take.seed)


def _seen_without_pictures(exercise: str) -> dict[str, list[FaultySet]]:
    """Fault -> pairs of sets with and without it, by geometry."""
    views, people = azimuths(exercise), range(_SIGNATURE_PEOPLE)
    good = {seed: repetitions_by_view(exercise, views, reps=1, seed=seed) for seed in people}
    out: dict[str, list[FaultySet]] = {}
    for fault in sorted(MotionSpec(exercise=Exercise.named(exercise)).possible_faults & _SIGNATURE_DEG.keys()):
        degrees = _SIGNATURE_DEG[fault]
        for seed in people:
            found = repetitions_by_view(exercise, views, reps=1, seed=seed, faults={fault: degrees})
            out.setdefault(fault.removesuffix("_deg"), []).extend(FaultySet(found[a], good[seed][a], degrees) for a in views)
    return out


def clip_reference(exercise: str, clips: Sequence[Path]) -> Reference:
    """A reference from a user's own clips of good repetitions.

    Raises:
        SourceError: A clip cannot be read.
        ExerciseError: There are not three repetitions from one direction.
    """
    profile = load_profile(exercise)
    found = [r for clip in clips for r, _ in _walk(clip, profile)]
    return build_reference(found, profile, source=f"{len(found)} repetitions of {', '.join(c.name for c in clips)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A clip beside a reference.

    Args:
        clip: The file.
        reference: What it was compared with.
        scores: Every repetition.
        people: Frame index -> the people in it, kept for the frames that findings quote.
    """

    clip: Path
    reference: Reference
    scores: tuple[FormScore, ...]
    people: Mapping[int, Poses]


def compare_clip(clip: Path, reference: Reference) -> Comparison:
    """Score every repetition of a clip.

    Raises:
        SourceError: The clip cannot be read.
    """
    profile = load_profile(reference.exercise)
    people: dict[int, Poses] = {}
    scores = [judge(repetition, reference, profile) for repetition, _ in _walk(clip, profile, people)]
    quoted = {f.frame for s in scores for f in s.findings}
    return Comparison(clip=clip, reference=reference, scores=tuple(scores), people={i: p for i, p in people.items() if i in quoted})


def evidence_sheet(comparison: Comparison, *, most: int = 4) -> NDArray[np.uint8] | None:
    """The clearest example of every fault of a clip, one below the other, strongest first; None when nothing was found.

    Args:
        comparison: Of `compare_clip`.
        most: Faults at most.

    Raises:
        SourceError: The clip cannot be read again.
    """
    best: dict[tuple[str, str], tuple[Finding, FormScore]] = {}
    for score in comparison.scores:
        for f in score.findings:
            if f.frame in comparison.people and ((f.fault, f.side) not in best or f.evidence > best[f.fault, f.side][0].evidence):
                best[f.fault, f.side] = f, score
    chosen = sorted(best.values(), key=lambda pair: -pair[0].evidence)[:most]
    wanted = {f.frame for f, _ in chosen}
    if not wanted:
        return None
    images: dict[int, NDArray[np.uint8]] = {}
    with open_source(comparison.clip) as source:
        for frame in source:
            if frame.index in wanted:
                images[frame.index] = frame.image
            if len(images) == len(wanted):
                break
    pictures = []
    for f, score in chosen:
        people = comparison.people[f.frame]
        person = people[np.flatnonzero(people.track_ids == score.track_id)]
        if f.frame in images and len(person) == 1:
            pictures.append(evidence_picture(images[f.frame], person, f, score, comparison.reference))
    return stacked(pictures) if pictures else None


def _walk(clip: Path, profile: ExerciseProfile, people: dict[int, Poses] | None = None) -> Iterator[tuple[Repetition, Update]]:
    """Repetitions in a clip, with the update at which each was told; `people` is filled by frame."""
    recorder = RepetitionRecorder(profile)
    with Pipeline(exercise=profile.name) as pipeline:
        for update in pipeline.run(clip):
            now, index = update.frame.timestamp_s, update.frame.index
            if people is not None:
                people[index] = update.tracked
            for r in recorder.update(update.tracked, update.events, timestamp_s=now, frame_index=index):
                yield r, update

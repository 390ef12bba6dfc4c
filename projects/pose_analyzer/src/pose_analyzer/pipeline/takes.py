"""Repetitions of the athlete as the product sees them: filmed, detected, smoothed, counted; detections are kept on disk.

A `Take` is one set of one person seen by one camera, said by a seed. `Studio` films it once and remembers what the detector saw, so
that everything behind the detector can be tried again in milliseconds. `repetitions_by_view` does without a picture: landmarks with a
detector's errors, a hundred times faster, for what depends on geometry alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.detection import PoseDetector, create_detector
from pose_analyzer.exercise.profile import load_profile
from pose_analyzer.exercise.recording import Repetition, recorded_repetitions
from pose_analyzer.pipeline.stream import make_filter
from pose_analyzer.settings import SmoothingSettings
from pose_analyzer.synthetic import DEPTHS_DEG, Exercise, Scene, scene_for
from pose_analyzer.synthetic.exercises import DEPTH_LIMITS_DEG
from pose_analyzer.synthetic.observed import DetectorNoise, landmarks_over_time, observed
from shared_utils.data_models import Poses

Array = NDArray[np.float64]
SINGLE_SIDED = frozenset({"lunge"})
"""Exercises whose leading side may be the farther one."""
# Fast movements need more pictures.
_FPS, _FAST_FPS = 12.0, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One set of one person seen by one camera; the same values give the same pictures.

    Args:
        exercise: Of the athlete.
        azimuth_deg: 0 = from the front, 90 = from the left (for a lunge: the leading side), negative from the other one.
        seed: Of body, looks, room, depth (3 % of the range), tempo (15 %) and camera (height, lens, roll).
        reps: Repetitions.
        faults: What goes wrong, as in `FaultSpec`.
    """

    exercise: str
    azimuth_deg: float
    seed: int
    reps: int = 1
    faults: Mapping[str, float] = field(default_factory=dict)

    def scene(self) -> Scene:
        """The scene to film."""
        random = np.random.default_rng((self.seed, 77))
        kind = Exercise.named(self.exercise)
        rest, depth = DEPTHS_DEG[kind]
        pace = float(np.exp(random.normal(0.0, 0.15)))
        fast = kind is Exercise.JUMPING_JACK
        tempo: dict[str, Any] = {} if fast else {"tempo": [1.2 * pace, 0.2, 1.0 * pace, 0.4]}
        return scene_for(
            kind,
            azimuth_deg=(-1.0 if self.exercise in SINGLE_SIDED else 1.0) * self.azimuth_deg,
            elevation_deg=float(random.uniform(2.0, 15.0)),
            reps=self.reps,
            seed=self.seed,
            fps=_FAST_FPS if fast or "rushed_tempo" in self.faults else _FPS,
            depth_deg=float(np.clip(depth + random.normal(0.0, 0.03) * (depth - rest), *DEPTH_LIMITS_DEG[kind])),
            tempo_jitter=0.1,
            roll_deg=float(random.normal(0.0, 1.0)),
            fov_deg=float(random.uniform(38.0, 60.0)),
            faults=dict(self.faults),
            width=360,
            height=384,
            **tempo,
        )

    @property
    def key(self) -> str:
        """Name of its file."""
        text = json.dumps(
            [self.exercise, round(self.azimuth_deg, 2), self.seed, self.reps, sorted((k, float(v)) for k, v in self.faults.items())]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:20]


class Studio:
    """Films takes and detects their athlete.

    Args:
        folder: Where detections are kept, a folder per detector; None keeps nothing.
        detector: A detector to use; default BlazePose for one person, made when it is needed first.

    Example:
        >>> studio = Studio(None)
        >>> [round(r.azimuth_deg / 30) for r in studio.repetitions(Take(exercise="squat", azimuth_deg=60.0, seed=1))]
        [2]
    """

    def __init__(self, folder: Path | None, *, detector: PoseDetector | None = None) -> None:
        self._folder, self._given, self._own = folder, detector, None

    def repetitions(self, take: Take) -> list[Repetition]:
        """The repetitions that are counted in a take."""
        poses, times, frames = self.steady(take)
        if len(poses) < 2:
            return []
        return recorded_repetitions(poses, joint_angles(poses, timestamp_s=0.0), times, frames, load_profile(take.exercise))

    def steady(self, take: Take) -> tuple[Poses, Array, NDArray[np.int64]]:
        """Smoothed poses of the athlete, one row per frame in which it was found, with times (s) and frame indices."""
        poses, times, frames = self.detected(take)
        smooth = make_filter(SmoothingSettings())
        rows = [smooth.update(poses[i : i + 1], timestamp_s=float(t))[:1] for i, t in enumerate(times)]
        return (Poses.concatenate(rows) if rows else poses), times, frames

    def detected(self, take: Take) -> tuple[Poses, Array, NDArray[np.int64]]:
        """What the detector saw, before smoothing."""
        path = None if self._folder is None else self._folder / f"{take.key}.npz"
        if path is not None and path.is_file():
            return _read(path, self._detector.skeleton)
        found = self._film(take)
        if path is not None:
            _write(path, *found)
        return found

    def close(self) -> None:
        """Release the detector if it was made here."""
        if self._own is not None:
            self._own.close()
            self._own = None

    @property
    def _detector(self) -> PoseDetector:
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = create_detector("blazepose", max_people=1, threads=1)
        return self._own

    def _film(self, take: Take) -> tuple[Poses, Array, NDArray[np.int64]]:
        self._detector.forget("take")
        rows: list[Poses] = []
        times, frames = [], []
        for frame, _ in take.scene().frames():
            found = self._detector.detect([frame.image], stream_ids=["take"])[0]
            if len(found):
                rows.append(found[:1].replace(track_ids=np.ones(1, np.int64)))
                times.append(frame.timestamp_s)
                frames.append(frame.index)
        poses = Poses.concatenate(rows) if rows else Poses.empty(self._detector.skeleton)
        return poses, np.array(times, np.float64), np.array(frames, np.int64)


_ARRAYS = ("boxes_xyxy", "scores", "keypoints_xy", "keypoint_confidence", "keypoint_sigma_px", "keypoint_presence", "world_xyz_m")


def _write(path: Path, poses: Poses, times: Array, frames: NDArray[np.int64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    there = {name: getattr(poses, name) for name in _ARRAYS if getattr(poses, name) is not None}
    part = path.with_name(path.stem + ".part.npz")
    np.savez_compressed(part, times_s=times, frames=frames, **there)
    part.replace(path)


def _read(path: Path, skeleton: Any) -> tuple[Poses, Array, NDArray[np.int64]]:
    with np.load(path) as kept:
        there = {name: kept[name] for name in _ARRAYS if name in kept}
        times, frames = kept["times_s"], kept["frames"]
    return Poses(**there, track_ids=np.ones(len(times), np.int64), skeleton=skeleton), times, frames


# --- without a picture ------------------------------------------------------------------------------------
# BlazePose's directions of the trunk, measured on takes, are true to some 7 degrees without a tendency.
_NOISE = DetectorNoise(depth_squeeze=(0.9, 1.1))


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
        seen = observed(scene, noise=_NOISE, seed=seed * 1009 + round(azimuth_deg) + 360, landmarks_m=landmarks)
        angles = joint_angles(seen.poses, timestamp_s=0.0)
        out[azimuth_deg] = recorded_repetitions(seen.poses, angles, seen.times_s, seen.frames, load_profile(exercise))
    return out

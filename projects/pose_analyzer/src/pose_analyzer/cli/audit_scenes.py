"""Scenes of the accuracy audit: which ones, filmed once, what detectors saw in them beside what is true.

A `Take` holds arrays only, so that angles, error bands and filters can be tried again without filming again. Calibration and
held-out scenes share nothing but the exercises: other bodies, other azimuths. Two thirds of the calibration are harder than the
audit (noise, blur, cameras up to 18 degrees above), one third is filmed like it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

if TYPE_CHECKING:
    from pose_analyzer.detection import PoseDetector

Array = NDArray[Any]
Part = Literal["calibration", "held_out"]

EXERCISES = (
    *("squat", "push_up", "bicep_curl", "hammer_curl", "lunge", "overhead_press", "deadlift", "sit_up", "jumping_jack"),
    *("lateral_raise", "pull_up", "plank", "wall_sit"),
)
_FPS = 10.0  # neighbouring frames tell little that is new; filters go by time
_FORMAT = 2
_OF_DETECTION = ("boxes_xyxy", "scores", "keypoints_xy", "keypoint_confidence", "keypoint_presence", "world_xyz_m")
_OF_TRUTH = ("joints_xy", "joints_camera_m", "visible", "boxes_xyxy", "angles_deg", "angles_2d_deg")


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditScene:
    """One scene to film.

    Args:
        exercise: Name.
        azimuth_deg: Camera, 0 front, 90 the athlete's left side.
        height_px: Height of the picture; a standing person fills about 85 % of it.
        seed: Body, looks, room.
        noise_sigma: Grey levels of sensor noise.
        motion_blur: Share of the frame time that the shutter is open.
        elevation_deg: Camera above the athlete.
    """

    exercise: str
    azimuth_deg: float
    height_px: int = 640
    seed: int = 0
    noise_sigma: float = 3.0
    motion_blur: float = 0.0
    elevation_deg: float = 8.0

    @property
    def is_rough(self) -> bool:
        """Whether the picture is noisy or blurred, or the camera looks down: errors are larger than a detector's confidence tells."""
        return self.noise_sigma > 5.0 or self.motion_blur > 0.0 or self.elevation_deg > 12.0

    @property
    def key(self) -> str:
        """Stable short name of everything that decides what is seen."""
        text = json.dumps(asdict(self) | {"fps": _FPS, "format": _FORMAT}, sort_keys=True)
        return f"{self.exercise}_{self.azimuth_deg:g}_{self.height_px}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Take:
    """What is true and what detectors saw in one scene of f frames.

    Args:
        scene: Which.
        timestamps_s: (f,) media clock.
        size_px: (width, height) of the pictures.
        truth: Name of a `Truth` field -> (f, ...) array of the only athlete.
        focal_px: Of the camera.
        camera_height_m: Above the floor.
        seen: Detector -> name of a `Poses` field -> (f, ...) array; NaN and score 0 where nobody was found.
        body_height_m: Stature of the athlete.
    """

    scene: AuditScene
    timestamps_s: Array
    size_px: tuple[int, int]
    truth: dict[str, Array]
    focal_px: float
    camera_height_m: float
    body_height_m: float
    seen: dict[str, dict[str, Array]] = field(default_factory=dict)

    def poses(self, detector: str, *, filtered: bool = False) -> Iterator[Poses]:
        """What a detector saw, frame by frame: one person with track id 1, or nobody.

        Args:
            detector: Name.
            filtered: Behind the default filter, as the pipeline measures.
        """
        from pose_analyzer.smoothing import create_filter

        seen, smooth = self.seen[detector], create_filter() if filtered else None
        for i, timestamp_s in enumerate(self.timestamps_s.tolist()):
            poses = Poses.empty(BLAZEPOSE_33)
            if seen["scores"][i] > 0:
                values = {name: seen[name][i][None] for name in _OF_DETECTION if name in seen}
                poses = Poses(skeleton=BLAZEPOSE_33, track_ids=np.array([1]), **values)
            yield poses if smooth is None else smooth.update(poses, timestamp_s=timestamp_s)

    def true_poses(self) -> Iterator[Poses]:
        """The athlete as it is: every landmark in its place, hidden or not, with confidence 1."""
        hips = BLAZEPOSE_33.indices(["left_hip", "right_hip"])
        for i in range(len(self.timestamps_s)):
            joints = self.truth["joints_camera_m"][i]
            yield Poses(
                boxes_xyxy=self.truth["boxes_xyxy"][i][None],
                scores=np.ones(1, np.float32),
                keypoints_xy=self.truth["joints_xy"][i][None],
                keypoint_confidence=np.ones((1, len(BLAZEPOSE_33)), np.float32),
                world_xyz_m=(joints - joints[hips].mean(0))[None],
                skeleton=BLAZEPOSE_33,
                track_ids=np.array([1]),
            )


def scenes(part: Part, *, quick: bool = False) -> list[AuditScene]:
    """The scenes of one part of the audit; `quick` is three exercises from the side and from the front."""
    if quick:
        seed = 100 if part == "calibration" else 900
        return [AuditScene(exercise=e, azimuth_deg=a, height_px=320, seed=seed) for e in ("squat", "bicep_curl", "lunge") for a in (90, 0)]
    if part == "calibration":
        rough = [
            *_calibration((-75, -20, 15, 50, 80, 95, 150), 100, shift=0),
            *_calibration((-110, -45, 5, 35, 65, 110, 175), 300, shift=1),
        ]
        plain = [
            AuditScene(exercise=exercise, azimuth_deg=azimuth, height_px=(640, 240, 120)[(i + j) % 3], seed=600 + 10 * i + j)
            for i, exercise in enumerate(EXERCISES)
            for j, azimuth in enumerate((-100, -60, -5, 20, 40, 75, 100))
        ]
        return rough + plain
    large = [
        AuditScene(exercise=exercise, azimuth_deg=azimuth, height_px=640, seed=900 + 10 * i + j)
        for i, exercise in enumerate(EXERCISES)
        for j, azimuth in enumerate((0, 30, 60, 90, 270))
    ]
    small = [
        AuditScene(exercise=exercise, azimuth_deg=azimuth, height_px=height, seed=1500 + 10 * i + j)
        for i, exercise in enumerate(EXERCISES)
        for j, (azimuth, height) in enumerate(((90, 240), (45, 240), (90, 120), (45, 120), (90, 64)))
    ]
    return large + small


def _calibration(azimuths: tuple[int, ...], first_seed: int, *, shift: int) -> list[AuditScene]:
    """Every exercise from every side, in sizes, noise and blur that go round."""
    heights, noises, elevations = (640, 320, 160, 96), (0.0, 3.0, 8.0), (2.0, 8.0, 18.0)
    return [
        AuditScene(
            exercise=exercise,
            azimuth_deg=azimuth,
            height_px=heights[(i + j + shift) % len(heights)],
            seed=first_seed + 10 * i + j,
            noise_sigma=noises[(i + j + shift) % len(noises)],
            motion_blur=0.5 if (i + 2 * j + shift) % 5 == 0 else 0.0,
            elevation_deg=elevations[(i + 2 * j + shift) % len(elevations)],
        )
        for i, exercise in enumerate(EXERCISES)
        for j, azimuth in enumerate(azimuths)
    ]


def film(
    wanted: Iterable[AuditScene],
    detectors: tuple[str, ...],
    *,
    cache: Path | None = None,
    progress: Callable[[AuditScene], None] | None = None,
) -> Iterator[Take]:
    """Film scenes and let detectors look; what lies in `cache` already is read.

    Args:
        wanted: Which.
        detectors: Names as `create_detector` takes them.
        cache: Folder of finished takes; None keeps nothing.
        progress: Called before each scene.

    Raises:
        DetectorError: A detector cannot be built.
    """
    built: dict[str, PoseDetector] = {}
    try:
        for scene in wanted:
            if progress is not None:
                progress(scene)
            path = None if cache is None else cache / f"{scene.key}.npz"
            take = None if path is None or not path.is_file() else load_take(path)
            missing = [name for name in detectors if take is None or name not in take.seen]
            if missing:
                take = _film(scene, missing, built, take)
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    save_take(path, take)
            assert take is not None  # noqa: S101 - for the type checker: filmed above when it was not there
            yield take
    finally:
        for detector in built.values():
            detector.close()


def _film(scene: AuditScene, names: list[str], built: dict[str, PoseDetector], known: Take | None) -> Take:
    import cv2

    from pose_analyzer.synthetic import scene_for

    cv2.setNumThreads(1)
    options: dict[str, Any] = {
        "width": round(scene.height_px * 3 / 4),
        "height": scene.height_px,
        "fps": _FPS,
        "noise_sigma": scene.noise_sigma,
        "motion_blur": scene.motion_blur,
        "blur_samples": 2,
        "elevation_deg": scene.elevation_deg,
    }
    if scene.exercise in ("plank", "wall_sit"):
        options["hold_s"] = 2.0
    stage = scene_for(scene.exercise, azimuth_deg=scene.azimuth_deg, reps=1, seed=scene.seed, **options)
    for name in names:
        if name not in built:
            built[name] = _build(name)
    truths, rows = [], {name: [] for name in names}
    for frame, truth in stage.frames():
        truths.append(truth)
        for name in names:
            [poses] = built[name].detect([frame.image], stream_ids=[scene.key])
            rows[name].append(_first(poses))
    for name in names:
        built[name].forget(scene.key)
    seen = {name: {f: np.stack([r[f] for r in rows[name]]) for f in _OF_DETECTION} for name in names}
    return Take(
        scene=scene,
        timestamps_s=np.array(stage.timestamps_s),
        size_px=(options["width"], options["height"]),
        truth={name: np.stack([getattr(t, name)[0] for t in truths]) for name in _OF_TRUTH},
        focal_px=truths[0].focal_px,
        camera_height_m=float(truths[0].camera_position[2]),
        body_height_m=float(stage.spec.athletes[0].body.height_m),
        seen=(known.seen if known is not None else {}) | seen,
    )


def _build(name: str) -> PoseDetector:
    """A detector by its name, or "blazepose x2" with two looks at each person."""
    from pose_analyzer.detection import create_detector

    kind, _, looks = name.partition(" x")
    options: dict[str, Any] = {"threads": 1} if kind == "blazepose" else {}
    options |= {"looks": int(looks)} if looks else {}
    return create_detector(kind, max_people=1, **options)  # type: ignore[arg-type]


def _first(poses: Poses) -> dict[str, Array]:
    k = len(BLAZEPOSE_33)
    nobody = {
        "boxes_xyxy": np.zeros(4, np.float32),
        "scores": np.zeros((), np.float32),
        "keypoints_xy": np.full((k, 2), np.nan, np.float32),
        "keypoint_confidence": np.zeros(k, np.float32),
        "keypoint_presence": np.zeros(k, np.float32),
        "world_xyz_m": np.full((k, 3), np.nan, np.float32),
    }
    if not len(poses):
        return nobody
    return {name: nobody[name] if (value := getattr(poses, name)) is None else value[0] for name in _OF_DETECTION}


def save_take(path: Path, take: Take) -> None:
    """Writes a take as `.npz`, complete or not at all."""
    arrays = {f"truth.{k}": v for k, v in take.truth.items()} | {f"{d}.{k}": v for d, seen in take.seen.items() for k, v in seen.items()}
    about = {
        "scene": asdict(take.scene),
        "size_px": take.size_px,
        "focal_px": take.focal_px,
        "camera_height_m": take.camera_height_m,
        "body_height_m": take.body_height_m,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), timestamps_s=take.timestamps_s, **arrays)  # type: ignore[arg-type]
    part = path.with_suffix(".part")
    part.write_bytes(buffer.getvalue())
    part.replace(path)


def load_take(path: Path) -> Take:
    """Reads what `save_take` wrote."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        groups: dict[str, dict[str, Array]] = {}
        for name in file.files:
            if "." in name:
                group, key = name.split(".", 1)
                groups.setdefault(group, {})[key] = file[name]
        return Take(
            scene=AuditScene(**about["scene"]),
            timestamps_s=file["timestamps_s"],
            size_px=tuple(about["size_px"]),
            truth=groups.pop("truth"),
            focal_px=about["focal_px"],
            camera_height_m=about["camera_height_m"],
            body_height_m=about["body_height_m"],
            seen=groups,
        )

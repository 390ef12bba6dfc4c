"""Scenes: iterate one and get frames with their truth.

    scene = scene_for("squat", azimuth_deg=45, reps=5)
    for frame, truth in scene:
        ...

A frame is a pure function of the spec and its index: any order, any process, the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic.athlete import Athlete, Instant
from pose_analyzer.synthetic.camera import Camera, look_at
from pose_analyzer.synthetic.landmarks import angles_deg
from pose_analyzer.synthetic.render.exposure import Exposure
from pose_analyzer.synthetic.render.layer import Layer, render_layer
from pose_analyzer.synthetic.render.picture import Patch, render
from pose_analyzer.synthetic.render.primitives import Primitives
from pose_analyzer.synthetic.render.stage import Stage
from pose_analyzer.synthetic.spec import SceneSpec
from pose_analyzer.synthetic.spec_io import spec_from_dict, spec_from_yaml, spec_to_dict
from pose_analyzer.synthetic.truth import ClipTruth, Repetition, Truth
from pose_analyzer.synthetic.visibility import visible_landmarks
from shared_utils.data_models import Frame

Array = NDArray[np.float64]

_TICK_HZ = 90_000
_MAX_PAN_DEG = 120.0
_LOWEST_CAMERA_M = 0.05


class Scene:
    """A synthetic clip.

    Args:
        spec: What is in it.

    Raises:
        SceneError: Something in the spec does not fit together.

    Example:
        >>> from pose_analyzer.synthetic import scene_for
        >>> scene = scene_for("squat", reps=1, width=96, height=96, fps=5)
        >>> frame, truth = scene.frame_at(len(scene) // 2)
        >>> frame.image.shape, truth.exercises, len(scene.repetitions(1))
        ((96, 96, 3), ('squat',), 1)
    """

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.athletes = tuple(
            Athlete(a, track_id=track_id, person=i, seed=int(np.random.SeedSequence((spec.seed, i)).generate_state(1)[0]))
            for i, (a, track_id) in enumerate(zip(spec.athletes, spec.track_ids, strict=True))
        )
        self.duration_s = spec.duration_s or max((a.last_s for a in self.athletes), default=1.0)
        turn = abs(spec.camera.pan_deg_per_s) * self.duration_s
        if turn > _MAX_PAN_DEG:
            raise SceneError(f"the camera pans {turn:.0f} degrees over the clip; at most {_MAX_PAN_DEG:.0f} are possible")
        if spec.camera.elevation_deg < 0 and self._camera.position[2] < _LOWEST_CAMERA_M:
            height = self._camera.position[2]
            raise SceneError(f"the camera would stand {height:.2f} m above the floor; raise elevation_deg or lower distance_m")
        self._times = self._timestamps()
        self._exposure = Exposure(spec.image, spec.seed)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scene:
        """From nested mappings; see `SceneSpec` for the keys.

        Raises:
            SceneError: A key is unknown or a value is out of range.
        """
        return cls(spec_from_dict(data))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Scene:
        """From a YAML file; see `SceneSpec` for the keys.

        Raises:
            SceneError: The file cannot be read or does not describe a scene.
        """
        return cls(spec_from_yaml(path))

    # --- reading ----------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[tuple[Frame, Truth]]:
        return self.frames()

    def frames(self) -> Iterator[tuple[Frame, Truth]]:
        """All frames with their truth, in order."""
        return (self.frame_at(i) for i in range(len(self)))

    @property
    def timestamps_s(self) -> tuple[float, ...]:
        """Media clock of every frame."""
        return self._times

    def repetitions(self, track_id: int) -> tuple[Repetition, ...]:
        """True attempts of one athlete, partial ones included, that begin within the clip; none for holds, walks, idling."""
        athlete = self._athlete(track_id)
        return athlete.repetitions(self.duration_s) if athlete.motion.counted else ()

    def holds(self, track_id: int) -> tuple[Repetition, ...]:
        """Held positions of one athlete (plank, wall sit): held from `turn_start_s` to `turn_end_s`."""
        athlete = self._athlete(track_id)
        return athlete.repetitions(self.duration_s) if athlete.motion.held else ()

    def frame_at(self, index: int) -> tuple[Frame, Truth]:
        """One frame with its truth, whatever was asked for before.

        Raises:
            IndexError: There is no such frame.
        """
        time_s = self._time(index)
        if self.spec.image.motion_blur:
            truth = self.truth_at(index)
            image = self._exposure.develop(self._blurred(time_s), None, index)
        else:
            present, world, camera = self._world(time_s)
            background = self._stage.background(camera, time_s)
            patch, layer = self._render(background, world, camera)
            truth = self._truth(index, time_s, present, world, camera, layer)
            image = self._exposure.develop(background, patch, index)
        return Frame(image, index=index, timestamp_s=time_s, stream_id=self.spec.name), truth

    def truth_at(self, index: int) -> Truth:
        """The truth of one frame without its picture: several times faster.

        Raises:
            IndexError: There is no such frame.
        """
        time_s = self._time(index)
        present, world, camera = self._world(time_s)
        seen = world.moved(camera.rotation, -camera.rotation @ camera.position)
        return self._truth(index, time_s, present, world, camera, render_layer(seen, camera))

    def clip_truth(self, frames: Iterator[Truth] | None = None) -> ClipTruth:
        """The truth of the whole clip.

        Args:
            frames: Truths already at hand; default all of them, computed now.
        """
        truths = tuple(self.truth_at(i) for i in range(len(self))) if frames is None else tuple(frames)
        repetitions = tuple(r for a in self.athletes for r in a.repetitions(self.duration_s))
        return ClipTruth(frames=truths, repetitions=repetitions, spec=spec_to_dict(self.spec))

    def camera_at(self, time_s: float) -> Camera:
        """The camera at a time of the media clock."""
        pan = self.spec.camera.pan_deg_per_s * time_s
        return self._camera.turned(pan) if pan else self._camera

    def segments_at(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which athlete and which part of the body each pixel shows, (H, W) each, -1 for the room.

        Raises:
            IndexError: There is no such frame.
        """
        _, world, camera = self._world(self._time(index))
        layer = render_layer(world.moved(camera.rotation, -camera.rotation @ camera.position), camera)
        person = np.full((camera.height, camera.width), -1, np.int64)
        segment = person.copy()
        if not layer.empty:
            window = (slice(layer.y, layer.y + layer.index.shape[0]), slice(layer.x, layer.x + layer.index.shape[1]))
            hit = layer.index >= 0
            person[window] = np.where(hit, world.person[layer.index], -1)
            segment[window] = np.where(hit, world.segment[layer.index], -1)
        return person, segment

    # --- inside -----------------------------------------------------------------------------------
    def _athlete(self, track_id: int) -> Athlete:
        for athlete in self.athletes:
            if athlete.track_id == track_id:
                return athlete
        raise SceneError(f"there is no athlete {track_id}; there are {', '.join(str(a.track_id) for a in self.athletes)}")

    def _time(self, index: int) -> float:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        return self._times[index]

    def _timestamps(self) -> tuple[float, ...]:
        image = self.spec.image
        count = max(1, math.ceil(self.duration_s * image.fps - 1e-6))
        places = np.arange(count, dtype=np.float64)
        if image.rate_jitter:
            shift = np.random.default_rng((self.spec.seed, 21)).uniform(-0.5, 0.5, count) * image.rate_jitter
            shift[0] = 0.0
            places += shift
        # Whole ticks of the clock that video containers use, so that a clip gives back the same times.
        return tuple((np.round(places / image.fps * _TICK_HZ) / _TICK_HZ).tolist())

    def _render(self, background: NDArray[np.float32], world: Primitives, camera: Camera) -> tuple[Patch | None, Layer]:
        return render(background, world, camera, self._stage.towards_light, antialias=self.spec.image.antialias)

    def _blurred(self, time_s: float) -> NDArray[np.float32]:
        """(H, W, 3) mean linear light of moments in the middles of equal parts of the time that the shutter is open."""
        image = self.spec.image
        total = np.zeros((image.height, image.width, 3), np.float32)
        for i in range(image.blur_samples):
            t = time_s + ((i + 0.5) / image.blur_samples - 0.5) * image.motion_blur / image.fps
            # Who is there at the frame's time is there for all of it: nobody fades in.
            _, world, camera = self._world(t, present_s=time_s)
            background = self._stage.background(camera, t)
            patch, _ = self._render(background, world, camera)
            total += background
            if patch is not None:
                window = patch.rows, patch.columns
                total[window] += patch.light - background[window]
        return total / np.float32(image.blur_samples)

    def _world(self, time_s: float, present_s: float | None = None) -> tuple[list[tuple[Athlete, Instant]], Primitives, Camera]:
        there = time_s if present_s is None else present_s
        present = [(a, a.at(time_s)) for a in self.athletes if a.present(there)]
        world = Primitives.concatenate([a.primitives(i) for a, i in present]) if present else Primitives.none()
        return present, world, self.camera_at(time_s)

    @cached_property
    def _camera(self) -> Camera:
        camera, image = self.spec.camera, self.spec.image
        return look_at(
            self._framing[0],
            azimuth_deg=camera.azimuth_deg,
            elevation_deg=camera.elevation_deg,
            distance_m=self._framing[1],
            fov_deg=camera.fov_deg,
            roll_deg=camera.roll_deg,
            width=image.width,
            height=image.height,
        )

    @cached_property
    def _extent(self) -> Array:
        """(n, 3) landmarks of everybody at some moments: what has to fit into picture and room."""
        points = [np.array([[0.0, -0.5, 0.0], [0.0, 0.5, 1.8]])] if not self.athletes else []
        for athlete in self.athletes:
            start = athlete.spec.enters_s
            for share in np.linspace(0.0, 1.0, 14):
                points.append(athlete.at(start + share * athlete.motion_s * 0.999).landmarks_m)
            for attempt in athlete.line.attempts[:2]:
                points.append(athlete.at(start + attempt.turn_start_s).landmarks_m)
        return np.concatenate(points)

    @cached_property
    def _framing(self) -> tuple[tuple[float, float, float], float]:
        """Target and distance of the camera, from the spec or so that everybody fits."""
        camera, image = self.spec.camera, self.spec.image
        points = self._extent
        low, high = points.min(0), points.max(0)
        high[2] += 0.05
        x, y, z = ((low + high) / 2).tolist()
        target = camera.target_m or (x, y, z)
        if camera.distance_m is not None:
            return target, camera.distance_m
        near, far = 1.0, 60.0
        for _ in range(40):
            middle = (near + far) / 2
            view = look_at(
                target,
                azimuth_deg=camera.azimuth_deg,
                elevation_deg=camera.elevation_deg,
                distance_m=middle,
                fov_deg=camera.fov_deg,
                roll_deg=camera.roll_deg,
                width=image.width,
                height=image.height,
            )
            offset = np.abs(view.project(points) / [image.width / 2, image.height / 2] - 1.0)
            near, far = (near, middle) if np.nanmax(offset) < 0.80 and not np.isnan(offset).any() else (middle, far)
        return target, max(far, 2.2)

    @cached_property
    def _stage(self) -> Stage:
        return Stage(self.spec, self._camera, self._extent, tuple(b for a in self.athletes for b in a.boxes(self._camera.position)))

    def _truth(
        self, index: int, time_s: float, present: list[tuple[Athlete, Instant]], world: Primitives, camera: Camera, layer: Layer
    ) -> Truth:
        n = len(present)
        joints = np.stack([i.landmarks_m for _, i in present]) if n else np.zeros((0, 33, 3))
        people = np.array([a.person for a, _ in present], np.intp)
        xy = camera.project(joints)
        shown = np.bincount(world.person[layer.index[layer.index >= 0]], minlength=len(self.athletes)) if n else np.zeros(0)
        boxes = np.array([layer.boxes.get(a.person, (0, 0, 0, 0)) for a, _ in present], np.float64).reshape(n, 4)
        share = np.array([shown[a.person] / layer.areas[a.person] if a.person in layer.areas else 0.0 for a, _ in present])
        heights = np.array([a.lengths.height for a, _ in present])
        return Truth(
            index=index,
            timestamp_s=time_s,
            width=camera.width,
            height=camera.height,
            track_ids=np.array([a.track_id for a, _ in present], np.int64),
            exercises=tuple(a.motion.exercise.value for a, _ in present),
            phases=tuple(i.progress.phase.value for _, i in present),
            progress=np.array([i.progress.u for _, i in present], np.float64),
            attempts=np.array([i.progress.attempt.number if i.progress.attempt else 0 for _, i in present], np.int64),
            repetitions=np.array(
                [sum(t.ordinal > 0 and t.end_s <= i.motion_time_s for t in a.line.attempts) for a, i in present], np.int64
            ),
            faults=tuple(i.progress.attempt.faults.active() if i.progress.attempt else {} for _, i in present),
            joints_xy=xy,
            joints_xyz_m=joints,
            visible=visible_landmarks(joints, people, heights, world, camera) if n else np.zeros((0, 33), bool),
            boxes_xyxy=boxes,
            visible_share=share,
            angles_deg=angles_deg(joints),
            angles_2d_deg=angles_deg(xy),
            camera_rotation=camera.rotation,
            camera_position=camera.position,
            focal_px=camera.focal_px,
        )

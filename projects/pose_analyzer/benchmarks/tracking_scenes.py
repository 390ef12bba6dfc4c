"""Scenes of athletes who cross, hide each other, leave and come back: identity with exact truth, without rendering.

Joints are the synthetic athlete's, projected by its camera; what a detector would make of them is modelled: people covered by
somebody nearer, or standing behind a pillar, score lower, lose their hidden joints and are missed when little is left; two boxes
that nearly coincide are merged into the nearer one; joints and boxes carry noise; some detections are missing and some are of
nobody. Pictures, where a tracker wants them, are flat: a textured room turned by the camera, and limbs in the clothes' colours
in the order of distance, with uneven light and sensor noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import repeat
from typing import Any

import cv2
import numpy as np

from pose_analyzer.synthetic import Scene
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

WIDTH, HEIGHT = 640, 360
_TO_COCO = np.array([BLAZEPOSE_33.index(name) for name in COCO_17.keypoints])
_LIMBS = [
    ("skin", "nose", "nose", 0.16),
    ("bottoms", "left_hip", "left_knee", 0.17),
    ("bottoms", "right_hip", "right_knee", 0.17),
    ("socks", "left_knee", "left_ankle", 0.12),
    ("socks", "right_knee", "right_ankle", 0.12),
    ("shirt", "left_shoulder", "left_elbow", 0.11),
    ("shirt", "right_shoulder", "right_elbow", 0.11),
    ("skin", "left_elbow", "left_wrist", 0.09),
    ("skin", "right_elbow", "right_wrist", 0.09),
]

SHIRTS = ("#a8322e", "#2f5d8c", "#d0b02e", "#3c7a4b", "#8a3c8c", "#e8e4da", "#2a2c33", "#d9782e")
BOTTOMS = ("#26282e", "#6b5a45", "#1d2a44", "#7d8288", "#26282e", "#3a4a3a", "#b8a888", "#40222a")


@dataclass(frozen=True)
class Detected:
    """One frame: what a detector finds, whom each detection shows (0 = nobody), and everybody who is there."""

    timestamp_s: float
    poses: Poses
    people: np.ndarray
    truth_ids: np.ndarray
    truth_boxes: np.ndarray


@dataclass(frozen=True)
class TrackScene:
    """One scene.

    Args:
        name: For the table.
        athletes: `AthleteSpec` as mappings.
        fps, jitter, duration_s, pan_deg_per_s, camera: Of the recording.
        person: Which person each athlete is; the same number twice is somebody who comes back.
        pillar: x range in m of a pillar across the room at distance `pillar_y`; hides what is farther.
        noise: Standard deviation of detected joints, in body lengths.
        misses: Share of detections left out at random.
        ghosts: False detections per frame.
    """

    name: str
    athletes: list[dict[str, Any]]
    fps: float = 25.0
    jitter: float = 0.0
    duration_s: float = 8.0
    pan_deg_per_s: float = 0.0
    camera: dict[str, Any] = field(default_factory=dict)
    person: tuple[int, ...] = ()
    pillars_px: tuple[tuple[float, float], ...] = ()
    noise: float = 0.01
    misses: float = 0.02
    ghosts: float = 0.01
    seed: int = 1


def _walk(path: list[list[float]], speed: float, enters: float = 0.0, height: float = 1.75, look: int = 0) -> dict[str, Any]:
    motion = {"exercise": "walking", "path_m": path, "speed_m_s": speed}
    return {"motion": motion, "enters_s": enters, "body": _body(height, look)}


def _exercise(
    name: str, at: tuple[float, float], look: int, *, heading: float = 0.0, height: float = 1.75, reps: int = 8
) -> dict[str, Any]:
    return {"motion": {"exercise": name, "reps": reps}, "position_m": list(at), "heading_deg": heading, "body": _body(height, look)}


def _body(height: float, look: int) -> dict[str, Any]:
    return {"height_m": height, "shirt": SHIRTS[look % 8], "bottoms": BOTTOMS[look % 8], "socks": BOTTOMS[look % 8]}


_VIEW = {"azimuth_deg": 0, "elevation_deg": 6, "fov_deg": 42, "distance_m": 7, "target_m": [0, 0, 0.95]}


_FAR = {**_VIEW, "distance_m": 11}
_CROSSING = [_walk([[0.8, -4], [0.8, 4]], 1.3, look=0), _walk([[-0.8, 4], [-0.8, -4]], 1.2, height=1.68, look=1)]


def scenes() -> list[TrackScene]:
    """All scenes of the table."""
    return [*_two_or_three(), *_gym(), *_hidden(), *_returning()]


def _two_or_three() -> list[TrackScene]:
    """People who pass in front of each other in an empty room."""
    three = [_exercise("squat", (0, 0), 2), *_CROSSING]
    follow = [_walk([[0.5, -4], [0.5, 4]], 1.2, 0.0, 1.8, 0), _walk([[-0.5, -4], [-0.5, 4]], 1.35, 1.0, 1.7, 1)]
    behind = [
        _exercise("bicep_curl", (1.2, 0), 4, height=1.85),
        _walk([[-0.4, -4], [-0.4, 4]], 1.0, look=0),
        _walk([[-1.2, 4], [-1.2, -4]], 0.9, height=1.7, look=1),
    ]
    turned = [_walk([[-0.7, -3], [-0.7, 0.1], [-0.9, -3]], 1.1, look=0), _walk([[0.7, 3], [0.7, -0.1], [0.9, 3]], 1.1, look=1, height=1.7)]
    return [
        TrackScene("two cross, 30 fps", _CROSSING, fps=30, camera=_VIEW, duration_s=6),
        TrackScene("two cross, 10 fps", _CROSSING, fps=10, camera=_VIEW, duration_s=6),
        TrackScene("two cross, 60 fps, noisy", _CROSSING, fps=60, camera=_VIEW, duration_s=6, noise=0.02, misses=0.1),
        TrackScene("squatter and two who cross, variable rate", three, fps=25, jitter=0.9, camera=_VIEW, duration_s=6),
        TrackScene("one overtakes the other, 25 fps", follow, camera=_VIEW, duration_s=6.5),
        TrackScene("one stands before two who cross behind, 30 fps", behind, fps=30, camera=_VIEW, duration_s=6),
        TrackScene("two meet and turn back, 20 fps", turned, fps=20, camera=_VIEW, duration_s=5),
        TrackScene(
            "two cross, camera pans to and past them, 15 fps",
            _CROSSING,
            fps=15,
            camera={**_VIEW, "target_m": [0, -1.9, 0.95]},
            duration_s=6,
            pan_deg_per_s=6,
        ),
    ]


def _gym() -> list[TrackScene]:
    """Four and eight people who train and walk between each other."""
    four = [
        _exercise("squat", (0.0, -2.0), 0),
        _exercise("jumping_jack", (-1.0, 0.0), 1),
        _exercise("lateral_raise", (0.2, 2.0), 2, height=1.62),
        _walk([[1.5, -4.5], [1.5, 4.5]], 1.3, 0.5, 1.82, 3),
    ]
    eight = [
        _exercise("squat", (-1.5, -2.2), 0),
        _exercise("lunge", (-1.5, 0.0), 1, heading=90),
        _exercise("overhead_press", (-1.5, 2.2), 2, height=1.6),
        _exercise("push_up", (0.3, -1.2), 3, heading=90),
        _exercise("bicep_curl", (0.3, 1.6), 4, height=1.85),
        _walk([[1.6, -5], [1.6, 5]], 1.4, 0.0, 1.78, 5),
        _walk([[-0.6, 5], [-0.6, -5]], 1.1, 0.5, 1.66, 6),
        _walk([[1.0, 5], [1.0, -5]], 1.5, 2.0, 1.72, 7),
    ]
    return [
        TrackScene("four in the gym, 30 fps", four, fps=30, camera=_FAR, duration_s=7),
        TrackScene("four in the gym, camera pans, 25 fps", four, camera=_FAR, duration_s=7, pan_deg_per_s=6),
        TrackScene("eight, 30 fps", eight, fps=30, camera=_FAR, duration_s=7),
        TrackScene("eight, 12 fps, variable rate", eight, fps=12, jitter=0.8, camera=_FAR, duration_s=7),
    ]


def _hidden() -> list[TrackScene]:
    """People who disappear behind something for half a second to two."""
    narrow = [*_CROSSING[:1], _exercise("squat", (-0.5, 1.6), 3)]
    return [
        TrackScene("walker behind a narrow pillar, 25 fps", narrow, camera=_VIEW, pillars_px=((230, 290),), duration_s=6),
        TrackScene("walkers behind a broad pillar, 25 fps", _CROSSING, camera=_VIEW, pillars_px=((270, 370),), duration_s=6),
        TrackScene("two behind a wall, 25 fps", _CROSSING, camera=_VIEW, pillars_px=((245, 405),), duration_s=6),
    ]


def _returning() -> list[TrackScene]:
    """People who leave the picture and come back."""
    one = [
        _exercise("squat", (0, 0), 2),
        _walk([[0.8, 0.5], [0.8, 4.5]], 1.2, 0, 1.75, 0),
        _walk([[0.8, 4.5], [0.8, 0.2]], 1.2, 9.0, 1.75, 0),
    ]
    two = [
        _exercise("lateral_raise", (-0.5, 0), 2),
        _walk([[0.8, 0.5], [0.8, 4.5]], 1.2, 0, 1.75, 0),
        _walk([[0.9, -0.5], [0.9, -4.5]], 1.2, 0, 1.7, 1),
        _walk([[0.8, -4.5], [0.8, 0.2]], 1.2, 8.0, 1.75, 0),
        _walk([[0.9, 4.5], [0.9, 0.9]], 1.2, 9.0, 1.7, 1),
        _walk([[-1.5, -5.5], [-1.5, 5.5]], 1.3, 7.0, 1.78, 3),
    ]
    return [
        TrackScene("one leaves and comes back, 15 fps", one, fps=15, camera=_VIEW, duration_s=12, person=(1, 2, 2)),
        TrackScene("two leave, both come back, another too, 12 fps", two, fps=12, camera=_VIEW, duration_s=14, person=(1, 2, 3, 2, 3, 4)),
    ]


def build(scene: TrackScene) -> Scene:
    return Scene.from_dict(
        {
            "name": "tracking",
            "seed": scene.seed,
            "duration_s": scene.duration_s,
            "camera": {**scene.camera, "pan_deg_per_s": scene.pan_deg_per_s},
            "image": {"width": WIDTH, "height": HEIGHT, "fps": scene.fps, "rate_jitter": scene.jitter},
            "athletes": scene.athletes,
        }
    )


class _Instant:
    """Everybody at one time, the nearest first."""

    def __init__(self, scene: TrackScene, world: Scene, time_s: float) -> None:
        self.camera = world.camera_at(time_s)
        people, joints = [], []
        for i, athlete in enumerate(world.athletes):
            if athlete.present(time_s):
                landmarks = athlete.at(time_s).landmarks_m[_TO_COCO]
                if np.isfinite(self.camera.project(landmarks)).all():
                    people.append(i)
                    joints.append(landmarks)
        joints_m = np.array(joints).reshape(-1, 17, 3)
        depth = self.camera.to_camera(joints_m)[..., 2].mean(1)
        order = np.argsort(depth)
        self.athletes = np.array(people, int)[order]
        self.xy = self.camera.project(joints_m)[order]
        names = scene.person or tuple(range(1, len(world.athletes) + 1))
        self.people = np.array([names[i] for i in self.athletes], int)
        heights = np.array([world.athletes[i].lengths.height for i in self.athletes])
        self.size_px = self.camera.focal_px * heights / depth[order]
        low, high = self.xy.min(1) if len(order) else np.zeros((0, 2)), self.xy.max(1) if len(order) else np.zeros((0, 2))
        pad = self.size_px[:, None] * np.array([0.06, 0.05])
        self.boxes = np.concatenate([low - pad - self.size_px[:, None] * [0, 0.06], high + pad], axis=1)

    def hidden(self, pillars_px) -> np.ndarray:
        """(n, 17) joints outside the picture, behind a pillar or behind somebody nearer."""
        x, y = self.xy[..., 0], self.xy[..., 1]
        result = (x < 0) | (x >= WIDTH) | (y < 0) | (y >= HEIGHT)
        for left, right in pillars_px:
            result |= (x > left) & (x < right)
        for i in range(1, len(self.xy)):
            for j in range(i):  # whoever is nearer
                if (self.boxes[i, :2] > self.boxes[j, 2:]).any() or (self.boxes[j, :2] > self.boxes[i, 2:]).any():
                    continue
                trunk = self.xy[j][[5, 6, 11, 12]]
                hull = [trunk, self.xy[j][[11, 13, 15]], self.xy[j][[12, 14, 16]], self.xy[j][[5, 7, 9]], self.xy[j][[6, 8, 10]]]
                for points, breadth in zip(hull, (0.09, 0.06, 0.06, 0.035, 0.035), strict=True):
                    result[i] |= _near(self.xy[i], points, breadth * self.size_px[j])
        return result


def _near(points: np.ndarray, chain: np.ndarray, radius: float) -> np.ndarray:
    """(k,) points within `radius` of any of the segments between all pairs of neighbours of the chain (a ring for four)."""
    ends = [(a, b) for i, a in enumerate(chain) for b in chain[i + 1 :]] if len(chain) == 4 else list(itertools.pairwise(chain))
    result = np.zeros(len(points), bool)
    for a, b in ends:
        along = np.clip(((points - a) @ (b - a)) / max(float((b - a) @ (b - a)), 1e-9), 0, 1)
        result |= np.linalg.norm(points - (a + along[:, None] * (b - a)), axis=1) < radius
    return result


@cache
def _instants(name: str) -> tuple[TrackScene, Scene, list[_Instant]]:
    scene = next(s for s in scenes() if s.name == name)
    world = build(scene)
    return scene, world, [_Instant(scene, world, t) for t in world.timestamps_s]


@cache
def detections(name: str) -> tuple[Detected, ...]:
    """What a detector finds in a scene, frame by frame."""
    scene, world, instants = _instants(name)
    rng = np.random.default_rng(scene.seed)
    return tuple(_detect(scene, instant, t, rng) for t, instant in zip(world.timestamps_s, instants, strict=True))


def _detect(scene: TrackScene, now: _Instant, time_s: float, rng: np.random.Generator) -> Detected:
    hidden = now.hidden(scene.pillars_px)
    rows, boxes, xy, confidence, scores = [], [], [], [], []
    for i in range(len(now.people)):
        seen = 1 - hidden[i].mean()
        visible = now.xy[i][~hidden[i]]
        missed = rng.random() < scene.misses
        noise = rng.normal(0, 1, (17, 2))
        if seen < 0.3 or missed:
            continue
        # The box ends where the person is last seen when much is hidden; a detector completes what is hidden a little.
        pad = now.size_px[i] * 0.06
        tight = np.concatenate([visible.min(0) - pad, visible.max(0) + pad])
        box = seen * now.boxes[i] + (1 - seen) * tight + rng.normal(0, scene.noise * now.size_px[i], 4)
        box = np.clip(box, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
        if box[2] - box[0] < 4 or box[3] - box[1] < 4 or any(_iou(box, b) > 0.7 for b in boxes):
            continue
        rows.append(i)
        boxes.append(box)
        # Hidden joints are guessed, badly and with little confidence.
        xy.append(now.xy[i] + noise * now.size_px[i] * np.where(hidden[i], 6, 1)[:, None] * scene.noise)
        confidence.append(np.where(hidden[i], rng.uniform(0.05, 0.4, 17), rng.uniform(0.7, 1.0, 17)))
        scores.append(np.clip(0.25 + 0.7 * seen + rng.normal(0, 0.05), 0.1, 0.99))
    if rng.random() < scene.ghosts:
        corner = rng.uniform([0, 0], [WIDTH - 60, HEIGHT - 120])
        rows.append(-1)
        boxes.append(np.concatenate([corner, corner + np.array([50, 110])]))
        xy.append(corner + rng.uniform([0, 0], [50, 110], (17, 2)))
        confidence.append(np.full(17, 0.35))
        scores.append(0.35)
    n = len(rows)
    order = rng.permutation(n)
    poses = Poses(
        boxes_xyxy=np.array(boxes, np.float32).reshape(n, 4)[order],
        scores=np.array(scores, np.float32)[order],
        keypoints_xy=np.array(xy, np.float32).reshape(n, 17, 2)[order],
        keypoint_confidence=np.array(confidence, np.float32).reshape(n, 17)[order],
        skeleton=COCO_17,
    )
    people = np.array([now.people[i] if i >= 0 else 0 for i in rows], int)[order]
    there = (1 - hidden.mean(1)) >= 0.3 if len(hidden) else np.zeros(0, bool)
    return Detected(time_s, poses, people, now.people[there], now.boxes[there])


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def images(name: str) -> Iterator[np.ndarray]:
    """Flat pictures of a scene, frame by frame."""
    scene, world, instants = _instants(name)
    rng = np.random.default_rng(scene.seed + 1)
    coarse = rng.uniform(90, 190, (40, 160, 3)).astype(np.float32)
    room = cv2.resize(coarse, (4 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    light = np.linspace(1.15, 0.75, WIDTH)[None, :, None]
    first = instants[0].camera
    k = np.array([[first.focal_px, 0, WIDTH / 2], [0, first.focal_px, HEIGHT / 2], [0, 0, 1]])
    shift = np.array([[1.0, 0, -1.5 * WIDTH], [0, 1, 0], [0, 0, 1]])
    for now in instants:
        turned = k @ now.camera.rotation @ first.rotation.T @ np.linalg.inv(k) @ shift
        picture = cv2.warpPerspective(room, turned, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        for i in range(len(now.people) - 1, -1, -1):
            _draw(picture, now.xy[i], now.size_px[i], world.athletes[now.athletes[i]].spec.body)
        for left, right in scene.pillars_px:
            picture[:, int(left) : int(right)] = (120, 115, 105)
        yield np.clip(picture * light + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def _draw(picture: np.ndarray, xy: np.ndarray, size_px: float, body: Any) -> None:
    def colour(name: str) -> tuple[int, ...]:
        return tuple(int(getattr(body, name)[i : i + 2], 16) for i in (1, 3, 5))

    def at(name: str) -> tuple[int, int]:
        x, y = xy[COCO_17.index(name)]
        return round(float(x)), round(float(y))

    trunk = np.array([at(n) for n in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")], np.int32)
    cv2.fillConvexPoly(picture, cv2.convexHull(trunk), colour("shirt"))
    for part, a, b, breadth in _LIMBS:
        cv2.line(picture, at(a), at(b), colour(part), max(2, round(0.6 * breadth * size_px)), cv2.LINE_AA)
    cv2.polylines(picture, [trunk], True, colour("shirt"), max(2, round(0.06 * size_px)))


def longest_gap_s(name: str) -> float:
    """The longest time for which anybody went undetected between two detections, absences outside the picture apart."""
    scene, world, instants = _instants(name)
    longest = 0.0
    for person in set(scene.person or range(1, len(world.athletes) + 1)):
        last: float | None = None
        for frame, instant in zip(detections(name), instants, strict=True):
            here = np.flatnonzero(instant.people == person)
            inside = len(here) and (instant.boxes[here[0], 2] > 0) and (instant.boxes[here[0], 0] < WIDTH)
            if not inside:
                last = None
            elif person in frame.people:
                if last is not None:
                    longest = max(longest, frame.timestamp_s - last)
                last = frame.timestamp_s
    return longest


def switches(name: str, tracker: Any, *, pictures: Iterable[Any] | None = None) -> int:
    """How often somebody's id changes under a tracker, frames without an id apart."""
    pictures = repeat(None) if pictures is None else pictures
    last: dict[int, int] = {}
    count = 0
    for frame, picture in zip(detections(name), pictures, strict=False):
        ids = tracker.update(frame.poses, timestamp_s=frame.timestamp_s, image=picture).track_ids
        for person, track_id in zip(frame.people.tolist(), ids.tolist(), strict=True):
            if person and track_id >= 0:
                count += last.get(person, track_id) != track_id
                last[person] = track_id
    return count

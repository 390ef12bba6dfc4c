"""What smoothing costs and what it gains.

    python projects/pose_analyzer/benchmarks/bench_smoothing.py              # speed of the filters
    python projects/pose_analyzer/benchmarks/bench_smoothing.py --accuracy   # jitter, lag, error; gaps (minutes)

Speed: One Euro, vectorised against the plain loop over scalars, side by side in one process.

Both filter the same 10 people of 33 keypoints (660 coordinates a frame); the loop is the published algorithm
as most code writes it: one object per scalar. The pose filter is timed too, with its bookkeeping of tracks, its
validation of the result, and metric landmarks besides (1650 coordinates a frame); so are the other filters.

Accuracy: `accuracy_rows` shows rendered scenes to BlazePose (raw, and after our filters) and to MediaPipe with its own
smoothing; `gap_rows` hides the athlete, or single keypoints, for 1 to 30 frames. The truth is exact in both.
"""

from __future__ import annotations

import copy
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from pose_analyzer.cli.smooth_recording import FASTEST, HELD_OUT, JUDGED, SceneRecord, filtered, record_scene, resting
from pose_analyzer.detection import create_detector
from pose_analyzer.smoothing import FilterName, GapFiller, OneEuroFilter, OneEuroPoseFilter, create_filter, fill_gaps
from pose_analyzer.smoothing.judge import error_px, fastest_points, jitter_px, lag_s, wander_px
from pose_analyzer.smoothing.noise import load_noise
from pose_analyzer.synthetic import scene_for
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

PEOPLE, KEYPOINTS, FRAMES, FPS = 10, 33, 300, 30.0


class LowPass:
    """Exponential smoothing of one number."""

    def __init__(self) -> None:
        self.last: float | None = None

    def __call__(self, x: float, alpha: float) -> float:
        self.last = x if self.last is None else alpha * x + (1.0 - alpha) * self.last
        return self.last


class ScalarOneEuro:
    """The filter of one number as published: a low-pass for the value and one for its derivative."""

    def __init__(self, min_cutoff: float, beta: float, d_cutoff: float) -> None:
        self.min_cutoff, self.beta, self.d_cutoff = min_cutoff, beta, d_cutoff
        self.x, self.dx = LowPass(), LowPass()
        self.t: float | None = None
        self.freq = FPS

    def alpha(self, cutoff: float) -> float:
        te = 1.0 / self.freq
        tau = 1.0 / (2 * math.pi * cutoff)
        return 1.0 / (1.0 + tau / te)

    def __call__(self, x: float, t: float) -> float:
        if self.t is not None:
            self.freq = 1.0 / (t - self.t)
        self.t = t
        dx = 0.0 if self.x.last is None else (x - self.x.last) * self.freq
        edx = self.dx(dx, self.alpha(self.d_cutoff))
        return self.x(x, self.alpha(self.min_cutoff + self.beta * abs(edx)))


def run() -> dict[str, Any]:
    """Median time per frame of each, in microseconds, and the largest difference of their results."""
    rng = np.random.default_rng(0)
    xy = np.cumsum(rng.normal(size=(FRAMES, PEOPLE, KEYPOINTS, 2)), axis=0) + 500
    world = np.cumsum(rng.normal(scale=0.01, size=(FRAMES, PEOPLE, KEYPOINTS, 3)), axis=0)
    vector = OneEuroFilter(min_cutoff_hz=1.0, beta=0.1)
    scalars = [ScalarOneEuro(1.0, 0.1, 1.0) for _ in range(PEOPLE * KEYPOINTS * 2)]
    poses = OneEuroPoseFilter()
    frames = [_poses(xy[i], world[i]) for i in range(FRAMES)]
    worst = 0.0
    times: dict[str, list[float]] = {"vectorised": [], "scalar_loop": [], "pose_filter": []}
    for i in range(FRAMES):
        t = i / FPS
        a = _timed(times["vectorised"], lambda i=i, t=t: vector.update(xy[i], timestamp_s=t))
        values = xy[i].ravel().tolist()
        b = _timed(times["scalar_loop"], lambda v=values, t=t: [f(x, t) for f, x in zip(scalars, v, strict=True)])
        _timed(times["pose_filter"], lambda i=i, t=t: poses.update(frames[i], timestamp_s=t))
        worst = max(worst, float(np.abs(a.ravel() - b).max()))
    medians = {name: statistics.median(seconds[10:]) * 1e6 for name, seconds in times.items()}
    return {
        "people": PEOPLE,
        "keypoints": KEYPOINTS,
        **{f"{name}_us": round(us, 1) for name, us in medians.items()},
        "speed_up": round(medians["scalar_loop"] / medians["vectorised"], 1),
        "people_per_second": round(PEOPLE / medians["pose_filter"] * 1e6),
        "max_difference": worst,
    }


def filter_costs() -> dict[str, float]:
    """Median time per frame of every filter for the same 10 people with metric landmarks, microseconds."""
    rng = np.random.default_rng(0)
    xy = np.cumsum(rng.normal(size=(120, PEOPLE, KEYPOINTS, 2)), axis=0) + 500
    world = np.cumsum(rng.normal(scale=0.01, size=(120, PEOPLE, KEYPOINTS, 3)), axis=0)
    frames = [_poses(xy[i], world[i]) for i in range(len(xy))]
    filters = {name: create_filter(name) for name in get_args(FilterName)}
    times: dict[str, list[float]] = {name: [] for name in filters}
    for i, poses in enumerate(frames):
        for name, one in filters.items():
            _timed(times[name], lambda one=one, poses=poses, i=i: one.update(poses, timestamp_s=i / FPS))
    return {name: round(statistics.median(seconds[10:]) * 1e6, 1) for name, seconds in times.items()}


# --- accuracy -----------------------------------------------------------------------------------------
OURS = "steady (ours, default)"
COMPARED: dict[str, FilterName] = {
    OURS: "steady",
    "One Euro (ours)": "one_euro",
    "Kalman, constant velocity": "kalman_velocity",
    "Kalman, constant acceleration": "kalman_acceleration",
    "exponential": "ema",
}


def record_all() -> list[SceneRecord]:
    """Every scene of `HELD_OUT` as BlazePose and MediaPipe, with its own smoothing, see it. Takes a minute or two."""
    detectors = {"raw": create_detector("blazepose", max_people=1), "mediapipe": create_detector("mediapipe", smooth=True)}
    try:
        return [record_scene(name, detectors, HELD_OUT) for name in HELD_OUT]
    finally:
        for detector in detectors.values():
            detector.close()


def accuracy_rows(records: Sequence[SceneRecord] | None = None) -> list[dict[str, Any]]:
    """One row per way of smoothing: what is left of the jitter, what lag is added, how far the truth is.

    Keys: `smoothing`; `jitter_rest_px` (rms change of the error from frame to frame, two standing scenes), `jitter_left` (share of
    raw), `wander_rest_px` (rms deviation of the error from its mean), `lag_ms` and `lag_frames` (delay of the fastest
    two joints of the fastest scene), `error_px` (mean distance to the truth of visible joints, mean of the scenes), `error_rest_px`,
    `error_fast_px`. Pictures are 640 x 480 px, people about 450 px tall.

    Args:
        records: What `record_all` gave; default: recorded now.
    """
    records = record_all() if records is None else records
    paths = {"raw": [r.seen["raw"] for r in records], "MediaPipe's own smoothing": [r.seen["mediapipe"] for r in records]}
    for label, name in COMPARED.items():
        paths[label] = [filtered(create_filter(name), r.seen["raw"], r.confidence["raw"], r.boxes, r.times_s) for r in records]
    rows = [_accuracy_row(label, records, path) for label, path in paths.items()]
    for row in rows:
        row["jitter_left"] = round(row["jitter_rest_px"] / rows[0]["jitter_rest_px"], 3)
    return rows


def _accuracy_row(label: str, records: Sequence[SceneRecord], paths: Sequence[np.ndarray]) -> dict[str, Any]:
    points = BLAZEPOSE_33.indices(JUDGED)
    jitter, wander, errors, lag, step = [], [], {}, float("nan"), float("nan")
    for record, path in zip(records, paths, strict=True):
        late = slice(15, None)  # the detector and MediaPipe's filter settle
        truth, times = record.truth[late, points], record.times_s[late]
        shown = np.where(record.visible[late, points][..., None], path[late, points], np.nan)
        errors[record.name] = error_px(shown, truth)
        if resting(record.name):
            jitter.append(jitter_px(shown, truth))
            wander.append(wander_px(shown, truth))
        if record.name == FASTEST:
            quick = fastest_points(truth, times, 2)
            lag, step = lag_s(path[late, points][:, quick], truth[:, quick], times), float(np.median(np.diff(times)))
    return {
        "smoothing": label,
        "jitter_rest_px": round(float(np.mean(jitter)), 3),
        "jitter_left": 1.0,
        "wander_rest_px": round(float(np.mean(wander)), 3),
        "lag_ms": round(1000 * lag, 1),
        "lag_frames": round(lag / step, 2),
        "error_px": round(float(np.mean(list(errors.values()))), 3),
        "error_rest_px": round(float(np.mean([error for name, error in errors.items() if resting(name)])), 3),
        "error_fast_px": round(errors[FASTEST], 3),
    }


# --- gaps ---------------------------------------------------------------------------------------------
GAP_EXERCISES = ("squat", "bicep_curl", "push_up", "jumping_jack", "lunge", "overhead_press", "walking")
GAP_POINTS = (("left_wrist",), ("left_elbow", "left_wrist"), ("right_knee", "right_ankle"), ("left_hip",))
LONGEST_GAP, GAPS_PER_CLIP = 30, 8


def gap_rows() -> list[dict[str, Any]]:
    """Error of predicted keypoints as a share of holding the last place, by method and length of the gap.

    Keys: `what` ("whole person" or "keypoints"), `method`, `live`, `frames_1_5`, `frames_6_15`, `frames_16_30`, `all`. Gaps of
    30 frames begin at eight times of each clip, the first repetition included; the error of every frame counts.
    """
    clips = [_gap_clip(exercise, i) for i, exercise in enumerate(GAP_EXERCISES)]
    rows = []
    for what in ("whole person", "keypoints"):
        errors = {m: _gap_errors(clips, m, what == "whole person") for m in ("hold", "velocity", "kalman", "recall", "spline")}
        for method in ("velocity", "kalman", "recall", "spline"):
            parts = {"frames_1_5": (0, 5), "frames_6_15": (5, 15), "frames_16_30": (15, 30), "all": (0, 30)}
            shares = {k: round(float(errors[method][:, a:b].sum() / errors["hold"][:, a:b].sum()), 3) for k, (a, b) in parts.items()}
            rows.append({"what": what, "method": method, "live": method != "spline", **shares})
    return rows


def _gap_clip(exercise: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Times, true paths, noisy paths and boxes of one clip."""
    scene = scene_for(exercise, azimuth_deg=(0, 45, 90, 30)[seed % 4], reps=4, seed=seed, width=128, height=96, tempo_jitter=0.15)
    truths = [t for t in (scene.truth_at(i) for i in range(len(scene))) if len(t)]
    times = np.array([t.timestamp_s for t in truths])
    truth, boxes = np.stack([t.joints_xy[0] for t in truths]), np.stack([t.boxes_xyxy[0] for t in truths])
    height = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1)))
    # The fast part of the detector's errors, as far as the filter before the filler leaves it.
    noise = np.array(load_noise().rest_sizes)[:, None] * height * np.random.default_rng(seed).normal(size=truth.shape)
    return times, truth, truth + 0.5 * noise, boxes


def _gap_errors(clips: Sequence[tuple[np.ndarray, ...]], method: str, whole: bool) -> np.ndarray:
    """(gaps, 30) mean distance to the truth in body heights."""
    errors = []
    for n, (times, truth, seen, boxes) in enumerate(clips):
        starts = np.linspace(15, len(times) - LONGEST_GAP - 1, GAPS_PER_CLIP).astype(int)
        height = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1)))
        filler = GapFiller(method="hold" if method == "spline" else method, max_gap_s=1.1)  # type: ignore[arg-type]
        done = 0
        for g, start in enumerate(starts):
            names = JUDGED if whole else GAP_POINTS[(n + g) % len(GAP_POINTS)]
            hidden = BLAZEPOSE_33.indices(names)
            for i in range(done, start):
                filler.update(_one(seen[i], boxes[i]), timestamp_s=float(times[i]))
            done = int(start)
            span = range(done, done + LONGEST_GAP)
            guess = (
                _bridged(seen, times, hidden, span) if method == "spline" else _predicted(filler, seen, boxes, times, hidden, span, whole)
            )
            distance = np.sqrt(((guess - truth[span.start : span.stop, hidden]) ** 2).sum(-1)).mean(1) / height
            errors.append(distance)
    return np.array(errors)


def _predicted(filler: GapFiller, seen: Any, boxes: Any, times: Any, hidden: Any, span: range, whole: bool) -> np.ndarray:
    filler, out = copy.deepcopy(filler), []
    for i in span:
        shown = seen[i].copy()
        shown[hidden] = np.nan
        poses = Poses.empty(BLAZEPOSE_33) if whole else _one(shown, boxes[i])
        out.append(filler.update(poses, timestamp_s=float(times[i])).keypoints_xy[0, hidden])
    return np.array(out)


def _bridged(seen: Any, times: Any, hidden: Any, span: range) -> np.ndarray:
    path = seen[:, hidden].copy()
    path[span.start : span.stop] = np.nan
    return fill_gaps(path, times, max_gap_s=2.0)[0][span.start : span.stop]


def _one(xy: np.ndarray, box: np.ndarray) -> Poses:
    return Poses(
        boxes_xyxy=box[None],
        scores=np.ones(1, np.float32),
        keypoints_xy=xy[None],
        keypoint_confidence=(~np.isnan(xy[None, :, 0])).astype(np.float32),
        track_ids=np.ones(1, np.int64),
        skeleton=BLAZEPOSE_33,
    )


def main() -> None:
    if "--accuracy" in sys.argv[1:]:
        print(json.dumps({"smoothing": accuracy_rows(), "gaps": gap_rows()}, indent=1))
    else:
        print(json.dumps(run() | {"filters_us": filter_costs()}, indent=1))


def _poses(xy: np.ndarray, world: np.ndarray) -> Poses:
    boxes = np.concatenate([xy.min(1), xy.max(1)], axis=1)
    ones = np.ones(xy.shape[:2])
    return Poses(
        boxes_xyxy=boxes,
        scores=ones[:, 0],
        keypoints_xy=xy,
        keypoint_confidence=ones,
        world_xyz_m=world,
        track_ids=np.arange(len(xy)),
        skeleton=BLAZEPOSE_33,
    )


def _timed(seconds: list[float], call: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - start)
    return result


if __name__ == "__main__":
    main()

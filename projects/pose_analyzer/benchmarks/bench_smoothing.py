"""What smoothing costs.

    python projects/pose_analyzer/benchmarks/bench_smoothing.py

One Euro, vectorised against the plain loop over scalars, side by side in one process. What smoothing gains: `smoothing_tables.py`.

Both filter the same 10 people of 33 keypoints (660 coordinates a frame); the loop is the published algorithm
as most code writes it: one object per scalar. The pose filter is timed too, with its bookkeeping of tracks, its
validation of the result, and metric landmarks besides (1650 coordinates a frame); so are the other filters.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pose_analyzer.smoothing import FilterName, OneEuroFilter, OneEuroPoseFilter, create_filter
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


def accuracy_markdown() -> str:
    """The part of docs/ACCURACY.md about this: all tables of `smoothing_tables`."""
    sys.path.insert(0, str(Path(__file__).parent))
    import smoothing_tables

    return smoothing_tables.section()


def main() -> None:
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

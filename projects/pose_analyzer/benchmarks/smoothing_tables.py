"""Tables of what smoothing gains: jitter, lag and error of the filters; predicted gaps against holding the last place.

    python projects/pose_analyzer/benchmarks/smoothing_tables.py              # both, two or three minutes
    python projects/pose_analyzer/benchmarks/smoothing_tables.py gaps         # or: filters

`accuracy_rows` shows rendered scenes to BlazePose (raw, and after our filters) and to MediaPipe with its own smoothing; the bodies,
exercises and cameras are others than any setting was chosen on (`HELD_OUT`). `gap_rows` hides the athlete, or single keypoints, for 1
to 30 frames. The truth is exact in both.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pose_analyzer.cli.smooth_recording import FASTEST, HELD_OUT, JUDGED, SceneRecord, filtered, record_scene, resting
from pose_analyzer.detection import create_detector
from pose_analyzer.smoothing import FilterName, GapFiller, create_filter, fill_gaps
from pose_analyzer.smoothing.judge import error_px, fastest_points, jitter_px, lag_s, wander_px
from pose_analyzer.smoothing.noise import load_noise
from pose_analyzer.synthetic import scene_for
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

sys.path.insert(0, str(Path(__file__).parent))
from tracking_tables import markdown, verdict

OURS = "steady (ours)"
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


@cache
def _accuracy() -> tuple[dict[str, Any], ...]:
    return tuple(accuracy_rows())


def accuracy_markdown() -> str:
    """The table of jitter, lag and error, with its goals."""
    rows = _accuracy()
    raw, peer, ours = rows[0], rows[1], next(row for row in rows if row["smoothing"] == OURS)
    return markdown(
        rows,
        [
            f"{len(HELD_OUT)} scenes, 640 x 480 px, with bodies, exercises and cameras that no setting was chosen on. Goals for ours:",
            f"at least 90 % less jitter than raw at rest ({100 * (1 - ours['jitter_left']):.1f} %, {verdict(ours['jitter_left'] <= 0.1)};",
            f"MediaPipe's own {100 * (1 - peer['jitter_left']):.1f} %), at most one frame of lag in the fastest motion",
            f"({ours['lag_frames']:.2f}, {verdict(ours['lag_frames'] <= 1)}), a lower error than both ({ours['error_px']:.2f} px against",
            f"{raw['error_px']:.2f} and {peer['error_px']:.2f}, {verdict(ours['error_px'] < min(raw['error_px'], peer['error_px']))}).",
        ],
    )


# --- gaps ---------------------------------------------------------------------------------------------
GAP_EXERCISES = ("squat", "hammer_curl", "push_up", "jumping_jack", "deadlift", "lateral_raise", "walking")
_FIRST_GAP_SEED = 200
GAP_POINTS = (("left_wrist",), ("left_elbow", "left_wrist"), ("right_knee", "right_ankle"), ("left_hip",))
LONGEST_GAP, GAPS_PER_CLIP = 30, 8


def gap_rows() -> list[dict[str, Any]]:
    """Error of predicted keypoints as a share of holding the last place, by method and length of the gap.

    Keys: `what` ("whole person" or "keypoints"), `method`, `live`, `frames_1_5`, `frames_6_15`, `frames_16_30`, `all`. Gaps of
    30 frames begin at eight times of each clip, the first repetition included; the error of every frame counts.
    """
    clips = [_gap_clip(exercise, _FIRST_GAP_SEED + i) for i, exercise in enumerate(GAP_EXERCISES)]
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


@cache
def _gaps() -> tuple[dict[str, Any], ...]:
    return tuple(gap_rows())


def gap_markdown() -> str:
    """The table of gaps, with its goal."""
    rows = _gaps()
    worst = max(value for row in rows if row["method"] == "recall" for key, value in row.items() if key.startswith("frames"))
    return markdown(
        rows,
        [
            f"Error of predicted keypoints as a share of holding the last place, gaps of 30 frames in {len(GAP_EXERCISES)} clips of",
            "bodies that no setting was chosen on. Goal: at most half, live, at every length: `recall`, the default, at worst",
            f"{worst:.2f}, {verdict(worst <= 0.5)}.",
        ],
    )


def section() -> str:
    """All tables, as a part of docs/ACCURACY.md."""
    return f"## Smoothing\n\n{accuracy_markdown()}\n### Gaps\n\n{gap_markdown()}"


TABLES: dict[str, Callable[[], str]] = {"filters": accuracy_markdown, "gaps": gap_markdown}

if __name__ == "__main__":
    for table in sys.argv[1:] or TABLES:
        print(f"### {table}\n\n{TABLES[table]()}")

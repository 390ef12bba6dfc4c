"""People who are small in the picture: how many are found, how exactly, at what cost, plain against multi-scale.

    python projects/pose_analyzer/benchmarks/bench_scale.py              tables
    python projects/pose_analyzer/benchmarks/bench_scale.py --json       everything as JSON
    python projects/pose_analyzer/benchmarks/bench_scale.py --every-tile the tables with `detection.multi_scale: on` beside `auto`
    python projects/pose_analyzer/benchmarks/bench_scale.py --settle     the numbers of `detection.scale.sizes`, from the other seeds
    python projects/pose_analyzer/benchmarks/bench_scale.py --draw DIR   a far scene, plain beside multi-scale, as PNG

Each method sees the same rendered clips as streams, frame by frame in turn, so that a busy machine is busy for all; the cost is
processor time, all threads together. A person
counts as found in a frame when a pose matches them with object keypoint similarity of at least 0.5 (COCO's measure on the twelve joints
of the limbs, at most one pose per person); only the second half of each clip counts, except in the column for the time until found.
Errors are distances to the true joints in px and in parts of the standing height, joints hidden from the camera included.
Who is covered by more than half is neither wanted nor a phantom. Constants were chosen on `SETTLE_SEEDS` of `scale_scenes`; the tables are
of `JUDGE_SEEDS`. YOLO takes part where its weights lie beside the project (`POSE_TEST_DATA` names another place).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from pose_analyzer.detection import PoseDetector, create_detector
from pose_analyzer.detection.scale import MultiScaleDetector, ScaleClass, ScaleProfile
from pose_analyzer.synthetic import Scene, Truth
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17

sys.path.insert(0, str(Path(__file__).parent))
import scale_scenes

DATA = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
YOLO = DATA / "models/yolov8n_pose_int8_openvino"
FRAMES = 36
FPS = 15.0
MAX_PEOPLE = 12
LIMBS = slice(5, 17)
FOUND_OKS = 0.5
# COCO's areas are of the body, not of its box.
BODY_OF_BOX = 0.53
NEAR_SHARE = 0.05


def _blazepose(**options: Any) -> PoseDetector:
    return create_detector("blazepose", threads=1, max_people=MAX_PEOPLE, **options)


def _yolo() -> PoseDetector:
    return create_detector("yolo", model=YOLO, max_people=MAX_PEOPLE)


def methods(*, profile: ScaleProfile | None = None, everywhere: bool = False) -> dict[str, Callable[[], PoseDetector]]:
    """Name -> builder, for what can run here; with `everywhere` also the search of every tile in every frame."""
    made: dict[str, Callable[[], PoseDetector]] = {
        "blazepose": _blazepose,
        "blazepose multi-scale": lambda: MultiScaleDetector(_blazepose(upsampling="cubic"), max_people=MAX_PEOPLE, profile=profile),
    }
    if YOLO.exists():
        made["yolo"] = _yolo
        made["yolo multi-scale"] = lambda: MultiScaleDetector(_yolo(), max_people=MAX_PEOPLE, profile=profile)
    if everywhere:
        made["blazepose, every tile"] = lambda: MultiScaleDetector(_blazepose(upsampling="cubic"), mode="on", max_people=MAX_PEOPLE)
        if YOLO.exists():
            made["yolo, every tile"] = lambda: MultiScaleDetector(_yolo(), mode="on", max_people=MAX_PEOPLE)
    return made


@dataclass(slots=True)
class Tally:
    """What one method did in the scenes of one kind."""

    wanted: int = 0
    found: int = 0
    phantoms: int = 0
    frames: int = 0
    errors_px: list[np.ndarray] = field(default_factory=list)
    errors_share: list[np.ndarray] = field(default_factory=list)
    sure: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    phantom_scores: list[float] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)

    def row(self) -> dict[str, float | None]:
        """Figures of a table; None where there is nothing to tell."""
        px, share = (np.concatenate(e) if e else np.array([np.nan]) for e in (self.errors_px, self.errors_share))
        figures = {
            "people": self.wanted,
            "recall": self.found / self.wanted if self.wanted else float("nan"),
            "phantoms_per_frame": self.phantoms / max(self.frames, 1),
            "median_px": float(np.median(px)),
            "p95_px": float(np.percentile(px, 95)),
            "median_percent": 100 * float(np.median(share)),
            "p95_percent": 100 * float(np.percentile(share, 95)),
            "wait_s": statistics.median(self.waits_s) if self.waits_s else float("nan"),
            "ms_per_frame": statistics.fmean(self.times_ms) if self.times_ms else float("nan"),
        }
        return {k: v if np.isfinite(v) else None for k, v in figures.items()}


def match(poses: Poses, truth: Truth) -> tuple[dict[int, int], np.ndarray, list[int]]:
    """Row of the truth -> row of the poses, (n, 12) distances in px of those pairs, and rows of poses that are nobody."""
    there = np.flatnonzero(truth.visible_share > 0)
    if not len(there) or not len(poses):
        return {}, np.zeros((0, 12)), list(range(len(poses)))
    true_xy = truth.poses().to_skeleton(COCO_17).keypoints_xy[:, LIMBS]
    area = BODY_OF_BOX * (truth.boxes_xyxy[there, 2:] - truth.boxes_xyxy[there, :2]).prod(1)
    distance = np.linalg.norm(poses.to_skeleton(COCO_17).keypoints_xy[:, None, LIMBS] - true_xy[None], axis=-1)
    variance = 2 * area[None, :, None] * (2 * COCO_17.oks_sigmas[LIMBS]) ** 2
    oks = np.nan_to_num(np.exp(-(distance**2) / variance)).mean(-1)
    rows, columns = linear_sum_assignment(-oks)
    pairs = [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if oks[r, c] >= FOUND_OKS]
    matched = {r for r, _ in pairs}
    # A pose of somebody that is merely bad is a miss, not another person.
    nobody = [
        i for i in range(len(poses)) if i not in matched and not _is_about_somebody(poses, i, truth, {int(there[c]) for _, c in pairs})
    ]
    return {int(there[c]): r for r, c in pairs}, np.array([distance[r, c] for r, c in pairs]).reshape(-1, 12), nobody


def _is_about_somebody(poses: Poses, row: int, truth: Truth, taken: set[int]) -> bool:
    """Whether an unmatched pose covers a person whom no other pose matches."""
    box = poses.boxes_xyxy[row].astype(float)
    for j in range(len(truth)):
        if j in taken:
            continue
        other = truth.boxes_xyxy[j]
        shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None).prod()
        if shared > 0.3 * min((box[2:] - box[:2]).prod(), (other[2:] - other[:2]).prod()):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Seen:
    """What one method said of one frame."""

    truth: Truth
    standing_px: np.ndarray
    poses: Poses
    took_ms: float


def watch(scene: Scene, detectors: dict[str, PoseDetector], tallies: dict[tuple[str, str], Tally], kind: str) -> None:
    """Run every detector over a scene and note what it did under (name, kind)."""
    first: dict[str, dict[int, float]] = {name: {} for name in detectors}
    standing = np.zeros(0)
    for index in range(min(FRAMES, len(scene))):
        frame, truth = scene.frame_at(index)
        standing = scale_scenes.standing_px(scene, truth)
        for name, detector in detectors.items():
            start = time.process_time()
            [poses] = detector.detect([frame.image], stream_ids=["bench"])
            seen = Seen(truth, standing, poses, 1e3 * (time.process_time() - start))
            found = _note({k: tallies[name, k] for k in _kinds(kind)}, seen, settled=index >= FRAMES // 2)
            for person in found:
                first[name].setdefault(person, frame.timestamp_s)
    for name, detector in detectors.items():
        detector.forget("bench")
        for person, height in enumerate(standing):
            tallies[name, _kind_of(kind, height)].waits_s.append(first[name].get(person, float("inf")))


def _kinds(kind: str) -> tuple[str, ...]:
    """Rows of the table that a scene serves."""
    return ("near, others far", "far behind somebody near") if kind == "mixed" else (kind,)


def _kind_of(kind: str, standing_px: float) -> str:
    return kind if kind != "mixed" else _kinds(kind)[int(standing_px < 200)]


def _note(tallies: dict[str, Tally], seen: Seen, *, settled: bool) -> list[int]:
    """Add one frame to the tallies by kind of person, if it counts; rows of the truth that were found."""
    pairs, errors, nobody = match(seen.poses, seen.truth)
    if not settled:
        return list(pairs)
    confidence = seen.poses.to_skeleton(COCO_17).keypoint_confidence[:, LIMBS]
    error_of = dict(zip(pairs, errors, strict=True))
    for j in np.flatnonzero(seen.truth.visible_share >= 0.5).tolist():
        tally = next(t for k, t in tallies.items() if len(tallies) == 1 or k == _kind_of("mixed", seen.standing_px[j]))
        tally.wanted += 1
        if j in pairs:
            tally.found += 1
            tally.errors_px.append(error_of[j])
            tally.errors_share.append(error_of[j] / seen.standing_px[j])
            tally.sure.append(confidence[pairs[j]])
            tally.scores.append(float(seen.poses.scores[pairs[j]]))
    for tally in tallies.values():
        tally.frames += 1
        tally.phantoms += len(nobody)
        tally.phantom_scores += seen.poses.scores[nobody].tolist()
        tally.times_ms.append(seen.took_ms)
    return list(pairs)


def measure(seeds: Iterable[int], builders: dict[str, Callable[[], PoseDetector]]) -> dict[tuple[str, str], Tally]:
    """Every method on every scene of the seeds."""
    detectors = {name: build() for name, build in builders.items()}
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    duration_s = FRAMES / FPS
    for seed in seeds:
        for height in scale_scenes.HEIGHTS_PX:
            watch(scale_scenes.scene_of(height, seed, fps=FPS, duration_s=duration_s), detectors, tallies, f"{height} px")
        watch(scale_scenes.mixed_scene(seed, fps=FPS, duration_s=duration_s), detectors, tallies, "mixed")
        watch(scale_scenes.empty_scene(seed, fps=FPS, duration_s=duration_s), detectors, tallies, "nobody")
    for detector in detectors.values():
        detector.close()
    return tallies


def scale_rows(seeds: Iterable[int] = scale_scenes.JUDGE_SEEDS[:1], *, everywhere: bool = False) -> list[dict[str, Any]]:
    """One row per kind of scene and method, people counted frame by frame."""
    tallies = measure(seeds, methods(everywhere=everywhere))
    return [{"people_are": kind, "method": name, **tally.row()} for (name, kind), tally in tallies.items()]


def scale_markdown(rows: Sequence[dict[str, Any]] | None = None) -> str:
    """The rows as a table."""
    rows = scale_rows() if rows is None else rows
    heads = ("people are", "method", "recall", "phantoms per frame", "error, px: median / 95 %", "in % of body height")
    heads += ("found after, s", "processor ms per frame")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for kind in dict.fromkeys(row["people_are"] for row in rows):
        for row in (r for r in rows if r["people_are"] == kind):
            missing = not row["recall"]
            late = "not in half of the cases" if row["wait_s"] is None else f"{row['wait_s']:.1f}"
            cells = [
                kind,
                row["method"],
                "" if row["recall"] is None else f"{100 * row['recall']:.0f} %",
                f"{row['phantoms_per_frame']:.2f}",
                "" if missing else f"{row['median_px']:.1f} / {row['p95_px']:.1f}",
                "" if missing else f"{row['median_percent']:.1f} / {row['p95_percent']:.1f}",
                "" if missing else late,
                f"{row['ms_per_frame']:.0f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *scale_verdicts(rows)])


def scale_verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line per goal and detector, met or missed and by how much."""
    lines = []
    for name in (n for n in dict.fromkeys(row["method"] for row in rows) if "multi" in n):
        mine = {row["people_are"]: row for row in rows if row["method"] == name}
        plain = {row["people_are"]: row for row in rows if row["method"] == name.split()[0]}
        least = min(mine[f"{h} px"]["recall"] for h in scale_scenes.HEIGHTS_PX if h >= 60)
        phantoms = max(row["phantoms_per_frame"] for row in mine.values())
        slower = mine["400 px"]["ms_per_frame"] / plain["400 px"]["ms_per_frame"] - 1
        lines += [
            _verdict(f"{name}: from 60 px on at least 95 % found", least >= 0.95, f"{100 * least:.0f} %"),
            _verdict(f"{name}: at most one phantom in 100 frames in any kind of scene", phantoms <= 0.01, f"{100 * phantoms:.0f} in 100"),
            _verdict(f"{name}: at most 2 % more time while everybody is near", slower <= 0.02, f"{100 * slower:+.0f} %"),
        ]
    return lines


def _verdict(goal: str, met: bool, figure: str) -> str:
    return f"- {goal}: {figure}, {'met' if met else 'missed'}."


# --- constants and pictures -------------------------------------------------------------------------
_HEIGHTS_OF = {ScaleClass.NEAR: (200, 400), ScaleClass.MEDIUM: (120,), ScaleClass.FAR: (60, 80), ScaleClass.VERY_FAR: (40,)}


def settle() -> dict[str, Any]:
    """What `detection.scale.sizes` holds, measured on `SETTLE_SEEDS` with neutral numbers in force."""
    neutral = ScaleProfile(confidence=(1.0,) * 4, min_score=(0.0,) * 4)
    tallies = measure(scale_scenes.SETTLE_SEEDS, {n: b for n, b in methods(profile=neutral).items() if "multi" in n})
    result: dict[str, Any] = {}
    for name in dict.fromkeys(n for n, _ in tallies):
        near = float("nan")
        for scale, heights in _HEIGHTS_OF.items():
            rows = [tallies[name, f"{h} px"] for h in heights]
            sure = np.concatenate([c for t in rows for c in t.sure] or [np.zeros(0)])
            error = np.concatenate([e for t in rows for e in t.errors_share] or [np.zeros(0)])
            right = float(np.average(error < NEAR_SHARE, weights=sure)) if sure.sum() else float("nan")
            near = right if scale is ScaleClass.NEAR else near
            scores, phantoms = [s for t in rows for s in t.scores], [s for t in rows for s in t.phantom_scores]
            result[f"{name}, {scale.name.lower()}"] = {
                "right": round(right, 3),
                "confidence": round(min(right / near, 1.0), 2),
                "scores_1_5_50_percent": np.percentile(scores, [1, 5, 50]).round(2).tolist() if scores else [],
                "phantoms": len(phantoms),
                "highest_phantom": max(phantoms, default=0.0),
            }
    return result


def draw(folder: Path, height_px: int = 60, seed: int = scale_scenes.JUDGE_SEEDS[0]) -> list[Path]:
    """A far scene after two seconds, plain above multi-scale, one PNG per detector, and what each found enlarged."""
    from pose_analyzer.reporting import draw_overlay

    scene = scale_scenes.scene_of(height_px, seed, fps=FPS, duration_s=FRAMES / FPS)
    frames = [scene.frame_at(i)[0].image for i in range(len(scene))]
    pictures: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, build in methods().items():
        detector = build()
        poses = [detector.detect([image], stream_ids=["draw"])[0] for image in frames][-1]
        detector.close()
        large = cv2.resize(frames[-1], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        shown = poses.replace(boxes_xyxy=2 * poses.boxes_xyxy, keypoints_xy=2 * poses.keypoints_xy)
        caption = f"{name}: {len(poses)} of {len(scene.athletes)} people"
        pictures[name.split()[0]].append(draw_overlay(np.asarray(large, np.uint8), shown, caption=caption, scale=1.0))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, pair in pictures.items():
        written.append(folder / f"scale_{name}_{height_px}px.png")
        cv2.imwrite(str(written[-1]), np.concatenate(pair)[..., ::-1])
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--seeds", type=int, default=1, help="how many of the judged seeds, 1 to 3; one takes some two minutes")
    parser.add_argument("--every-tile", action="store_true", help="also with `detection.multi_scale: on`, which costs much")
    parser.add_argument("--settle", action="store_true", help="measure the constants instead")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="write pictures instead")
    options = parser.parse_args()
    if options.settle:
        print(json.dumps(settle(), indent=1))
    elif options.draw:
        print(*draw(options.draw), sep="\n")
    else:
        rows = scale_rows(scale_scenes.JUDGE_SEEDS[: options.seeds], everywhere=options.every_tile)
        print(json.dumps(rows, indent=1) if options.json else scale_markdown(rows))


if __name__ == "__main__":
    main()

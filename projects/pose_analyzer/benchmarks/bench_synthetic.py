"""Filming the athlete: frames per second of one core, and how well a pose network recognises what is filmed.

    python projects/pose_analyzer/benchmarks/bench_synthetic.py             speed
    python projects/pose_analyzer/benchmarks/bench_synthetic.py --detect    recognition, about six minutes

Speed is counted in seconds of processor time of one thread, so that other programs do not blur it. Recognition runs MediaPipe's
BlazePose on still pictures (rest, going, turning point, coming back) of every exercise from six sides, and compares with
the truth the landmarks that are truly visible. Distances are shares of the athlete's stature in the picture.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any

import cv2
import numpy as np

from pose_analyzer.synthetic import Exercise, Scene, scene_for

AZIMUTHS = (0, 30, 45, 60, 90, 180)
LIMIT_FPS = 15.0


def _trio() -> Scene:
    people = [
        {"motion": {"exercise": "squat", "reps": 2}, "position_m": [0.0, y], "body": {"shirt": colour}}
        for y, colour in ((-1.0, "#2f5d8c"), (0.0, "#a8322e"), (1.0, "#2c7a4b"))
    ]
    return Scene.from_dict({"athletes": people, "camera": {"azimuth_deg": 20}})


def _frames_per_second(scene: Scene, frames: int = 40) -> float:
    scene.frame_at(0)
    seconds = []
    for i in np.linspace(1, len(scene) - 1, frames).astype(int).tolist():
        start = time.process_time()
        scene.frame_at(i)
        seconds.append(time.process_time() - start)
    return 1.0 / statistics.median(seconds)


def rows() -> list[dict[str, Any]]:
    """Frames per second at 640x480 against the limit of 15."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    scenes = {
        "one athlete, front": scene_for("squat", seed=1, reps=2),
        "one athlete, oblique": scene_for("squat", seed=1, reps=2, azimuth_deg=45),
        "push-up, side": scene_for("push_up", seed=1, reps=2, azimuth_deg=90),
        "with noise in low light": scene_for("squat", seed=1, reps=2, noise_sigma=4.0, low_light=0.5),
        "camera panning": scene_for("squat", seed=1, reps=2, pan_deg_per_s=4.0),
    }
    others = {"three athletes": _trio(), "motion blur of 4 samples": scene_for("squat", seed=1, reps=2, motion_blur=0.5)}
    out = []
    for what, scene in (scenes | others).items():
        fps = _frames_per_second(scene)
        goal = 1.0 if what in scenes else None
        out.append(
            {
                "what": f"synthetic frames/s of one core, {what}",
                "ours": fps,
                "other": LIMIT_FPS,
                "against": "limit",
                "ratio": fps / LIMIT_FPS,
                "goal": goal,
            }
        )
    cv2.setNumThreads(threads)
    return out


def recognition(seeds: tuple[int, ...] = (3, 4)) -> list[dict[str, Any]]:
    """One row per exercise and azimuth: share found, median and 95th percentile of the distance, median visibility."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    import mediapipe as mp

    out = []
    with mp.solutions.pose.Pose(static_image_mode=True, model_complexity=1) as network:
        for exercise in Exercise:
            for azimuth in AZIMUTHS:
                found, total, distances, visibility = 0, 0, [], []
                for seed in seeds:
                    scene = scene_for(exercise, azimuth_deg=azimuth, reps=1, seed=seed)
                    for index in _moments(scene):
                        frame, truth = scene.frame_at(index)
                        total += 1
                        answer = network.process(frame.image).pose_landmarks
                        if answer is None:
                            continue
                        found += 1
                        points = np.array([(p.x * frame.width, p.y * frame.height, p.visibility) for p in answer.landmark])
                        scale = scene.athletes[0].lengths.height * truth.focal_px / truth.joints_camera_m[0, :, 2].mean()
                        seen = truth.visible[0]
                        distances.append(np.linalg.norm(points[:, :2] - truth.joints_xy[0], axis=1)[seen] / scale)
                        visibility.append(points[seen, 2])
                errors, seen = np.concatenate(distances or [[np.nan]]), np.concatenate(visibility or [[np.nan]])
                out.append(
                    {
                        "exercise": exercise.value,
                        "azimuth_deg": azimuth,
                        "found": found,
                        "pictures": total,
                        "median": float(np.median(errors)),
                        "p95": float(np.percentile(errors, 95)),
                        "visibility": float(np.median(seen)),
                    }
                )
                print(
                    "{exercise:15s} {azimuth_deg:4d}  {found:2d}/{pictures:2d}  {median:.4f}  {p95:.4f}  {visibility:.3f}".format(**out[-1])
                )
    return out


def _moments(scene: Scene) -> list[int]:
    attempts = scene.repetitions(1) or scene.holds(1)
    if attempts:
        a = attempts[0]
        times = [0.1, (a.start_s + a.turn_start_s) / 2, a.turn_s, (a.turn_end_s + a.end_s) / 2]
    else:
        times = [share * scene.duration_s for share in (0.3, 0.45, 0.6, 0.75)]
    return [int(np.abs(np.array(scene.timestamps_s) - t).argmin()) for t in times]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detect", action="store_true", help="recognition by BlazePose instead of speed")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.detect:
        table = recognition()
        found, total = sum(r["found"] for r in table), sum(r["pictures"] for r in table)
        print(f"found {found} of {total}, median of medians {statistics.median(r['median'] for r in table):.4f} of stature")
    else:
        table = rows()
        for row in table:
            print(f"{row['what']:55s} {row['ours']:6.1f}   limit {row['other']:.0f}")
    if options.json:
        print(json.dumps(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())

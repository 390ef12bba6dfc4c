"""Tables of identity: switches by scene, MOT Challenge's scores, who comes back, looks on recordings, cost.

    python projects/pose_analyzer/benchmarks/tracking_tables.py             # all of them, about two minutes
    python projects/pose_analyzer/benchmarks/tracking_tables.py identity    # or: mot, returns, looks, cost

`xxx_rows()` gives a table as data, `xxx_markdown()` as text with its goals. What needs recordings beside the project
(`POSE_TEST_DATA`) is empty where they are not.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pose_analyzer.detection import create_detector
from pose_analyzer.tracking import create_tracker
from pose_analyzer.tracking.appearance import Appearance, create_appearance
from pose_analyzer.tracking.evaluation import MotSequence, evaluate_sequence
from pose_analyzer.video import open_source
from shared_utils.data_models import Poses

sys.path.insert(0, str(Path(__file__).parent))
import bench_tracking as bench
import tracking_scenes

Row = dict[str, Any]
RETURNING = ("one leaves and comes back, 15 fps", "two leave, both come back, another too, 12 fps")


def markdown(rows: Sequence[Mapping[str, Any]], lines: Sequence[str] = ()) -> str:
    """A table of rows that have the same keys, and what is to be said about it."""
    if not rows:
        return "No figures: the recordings are not there.\n"
    names = list(rows[0])
    cells = [names, ["---"] * len(names), *([_cell(row[name]) for name in names] for row in rows)]
    return "\n".join(["| " + " | ".join(c) + " |" for c in cells] + ["", *lines, ""])


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def verdict(met: bool) -> str:
    """What a line about a goal ends with."""
    return "met" if met else "**missed**"


# --- identity by scene --------------------------------------------------------------------------------
@cache
def _identity() -> tuple[Row, ...]:
    return tuple(bench.identity())


def identity_rows() -> list[Row]:
    """One row per athlete scene: the longest time for which somebody in view goes undetected, and switches by tracker."""
    return [dict(row) for row in _identity()]


def identity_markdown() -> str:
    """The table of switches, with its sum and goal."""
    rows = identity_rows()
    names = [name for name in rows[0] if name not in ("scene", "gap_s")]
    short = [row for row in rows if row["gap_s"] <= 1.0 and row["scene"] not in RETURNING]
    worst = sum(row["oks"] + row["oks + image"] for row in short)
    total = {"scene": "all", "gap_s": max(row["gap_s"] for row in rows), **{name: sum(row[name] for row in rows) for name in names}}
    return markdown(
        [*rows, total],
        [
            f"Identity switches. Goal: none by `oks` where nobody is hidden for more than 1 s ({len(short)} scenes; in two more people",
            f"leave the picture and return, which only looks can tell): {worst} without and with pictures, {verdict(worst == 0)}.",
        ],
    )


# --- MOT Challenge ------------------------------------------------------------------------------------
@cache
def _mot() -> tuple[Row, ...]:
    folder = bench.SEQUENCE
    if not folder.exists():
        return ()
    sequence = MotSequence(truth=folder / "mot15_gt.txt", detections=folder / "sort_det.txt", fps=bench.SEQUENCE_RATE_HZ, length=179)
    makers = {name: partial(create_tracker, name) for name in bench.OURS}  # type: ignore[arg-type]
    scores = evaluate_sequence(sequence, makers, {}, fps=bench.SEQUENCE_RATE_HZ, peer=True)
    return tuple(
        {
            "tracker": name,
            "HOTA": round(100 * s.hota, 1),
            "AssA": round(100 * s.ass_a, 1),
            "MOTA": round(100 * s.mota, 1),
            "IDF1": round(100 * s.idf1, 1),
            "switches": s.id_switches,
            "ids": s.ids,
        }
        for name, s in scores.items()
    )


def mot_rows() -> list[Row]:
    """TUD-Stadtmitte by TrackEval: every tracker, and the `trackers` package's ByteTrack, on the same detections in the same run."""
    return [dict(row) for row in _mot()]


def mot_markdown() -> str:
    """The table of scores, with its goal."""
    rows = mot_rows()
    if not rows:
        return markdown(rows)
    peer = next(row for row in rows if row["tracker"].startswith("trackers"))
    below = [
        f"{row['tracker']} {name} {row[name] - peer[name]:+.1f}"
        for row in rows
        if row is not peer
        for name in ("HOTA", "MOTA", "IDF1")
        if row[name] < peer[name]
    ]
    best = [row["tracker"] for row in rows if row is not peer and all(row[k] >= peer[k] for k in ("HOTA", "MOTA", "IDF1"))]
    return markdown(
        rows,
        [
            "TUD-Stadtmitte, 179 frames, 10 people, boxes only (its detections have no joints). Goal: at or above `trackers`' ByteTrack in",
            f"HOTA, MOTA and IDF1: {', '.join(best) or 'none'} {verdict(bool(best))}"
            + (f"; below it: {', '.join(below)}." if below else "."),
        ],
    )


# --- people who return --------------------------------------------------------------------------------
@cache
def _returns() -> tuple[Row, ...]:
    rows = []
    for scene in RETURNING:
        pictures = list(tracking_scenes.images(scene))
        for name in ("botsort", "deepsort", "oks"):
            tracker: Any = create_tracker(name)  # type: ignore[arg-type]
            switches = tracking_scenes.switches(scene, tracker, pictures=pictures)
            for found in tracker.reentries:
                rows.append(
                    {
                        "scene": scene,
                        "tracker": name,
                        "switches": switches,
                        "id": found.track_id,
                        "away s": round(found.away_s, 1),
                        "similarity": round(found.similarity, 3),
                        "lead over the second best": round(found.margin, 3),
                    }
                )
    return tuple(rows)


def return_rows() -> list[Row]:
    """One row per person who came back and got the old id."""
    return [dict(row) for row in _returns()]


def return_markdown() -> str:
    """The table of returns."""
    return markdown(return_rows(), ["3 people return in the two scenes; a stranger who walks through is nobody known."])


# --- looks on recordings ------------------------------------------------------------------------------
_STRIDE, _WINDOW_FRAMES, _STEP = 3, 10, 2


def _people_of(path: Path, detector: Any) -> dict[str, dict[str, list[tuple[np.ndarray, Poses]]]]:
    """Person -> "then", "now" -> pictures with the person, from the first and the last second of seeing them."""
    tracker, seen = create_tracker("oks", with_reid=False), defaultdict(list)
    with open_source(path, stride=_STRIDE) as source:
        detector.forget(path.stem)
        for frame in source:
            poses = tracker.update(detector.detect([frame.image], stream_ids=[path.stem])[0], timestamp_s=frame.timestamp_s)
            for row, track_id in enumerate(poses.track_ids.tolist()):
                if track_id > 0 and len(seen[track_id]) < 2 * _WINDOW_FRAMES:
                    seen[track_id].append((frame.image, poses[row]))
                elif track_id > 0:
                    seen[track_id][_WINDOW_FRAMES:] = [*seen[track_id][_WINDOW_FRAMES + 1 :], (frame.image, poses[row])]
    long = {k: v for k, v in seen.items() if len(v) == 2 * _WINDOW_FRAMES}
    return {f"{path.stem} {k}": {"then": v[:_WINDOW_FRAMES:_STEP], "now": v[_WINDOW_FRAMES::_STEP]} for k, v in long.items()}


def _mean_look(model: Appearance, views: Sequence[tuple[np.ndarray, Poses]]) -> np.ndarray:
    looks = np.concatenate([model.describe(image, person) for image, person in views])
    looks = looks[~np.isnan(looks).any(1)]
    mean = looks.sum(0) if len(looks) else np.full(model.size, np.nan)
    return mean / np.linalg.norm(mean)


@cache
def _looks() -> tuple[Row, ...]:
    # Clips in which the tracker's ids are people, by eye; the same people from another camera would be strangers to the truth.
    names = ("multi/sports2d_demo_2people.mp4", "multi/pose2sim_multi_cam01.mp4", "fight/nonfight_walking_man.mp4")
    clips = sorted(path for path in [*(bench.DATA / name for name in names), *bench.DATA.glob("exercise/*.mp4")] if path.exists())
    weights = bench.DATA / "models/osnet_x0_25_msmt17.onnx"
    if not clips or not weights.exists():
        return ()
    people: dict[str, dict[str, list[tuple[np.ndarray, Poses]]]] = {}
    detector = create_detector("blazepose", max_people=2)
    try:
        for clip in clips:
            people |= _people_of(clip, detector)
    finally:
        detector.close()
    return tuple(
        _looks_row(label, create_appearance(model), people) for label, model in (("colours", "auto"), ("OSNet x0.25", str(weights)))
    )


def _looks_row(label: str, model: Appearance, people: Mapping[str, Mapping[str, Any]]) -> Row:
    then, now = (np.array([_mean_look(model, views[when]) for views in people.values()]) for when in ("then", "now"))
    known = ~(np.isnan(then).any(1) | np.isnan(now).any(1))
    similarity = now[known] @ then[known].T
    clips = np.array([name.rsplit(" ", 1)[0] for name in people])[known]
    same = np.diag(similarity)
    others = np.where(np.eye(len(same), dtype=bool), -np.inf, similarity)
    beside = np.where(clips[:, None] == clips, others, -np.inf)
    company = np.isfinite(beside).any(1)
    accepted = (same >= 0.8) & (same - others.max(1) >= 0.05)
    return {
        "looks": label,
        "people": len(same),
        "same person": round(float(np.median(same)), 3),
        "nearest other": round(float(np.median(others.max(1))), 3),
        "right among all": f"{int((same > others.max(1)).sum())} of {len(same)}",
        "right among those in the clip": f"{int((same > beside.max(1))[company].sum())} of {int(company.sum())}",
        "would get the old id": f"{int(accepted.sum())} of {len(same)}",
        "would get another's": f"{int(((others.max(1) >= 0.8) & (others.max(1) - same >= 0.05)).sum())} of {len(same)}",
    }


def looks_rows() -> list[Row]:
    """Looks of the people of all recordings, the first second against the last: the colours and OSNet."""
    return [dict(row) for row in _looks()]


def looks_markdown() -> str:
    """The table of looks."""
    return markdown(
        looks_rows(),
        [
            "Everybody tracked for 2 s or more in the recordings; mean looks of the first second against the last one in view (cosine,",
            "medians), a nearest other in another clip may be the same athlete. The old id is given from 0.8 with a lead of 0.05.",
        ],
    )


# --- cost ---------------------------------------------------------------------------------------------
@cache
def _cost() -> tuple[Row, ...]:
    rows = []
    for people in (1, 5, 20):
        ms = bench.cost_of_ours_ms(people)
        rows += [
            {"people": people, "tracker": k, "ms a frame": v, "ultralytics' ByteTrack takes": ms["ultralytics"] / v} for k, v in ms.items()
        ]
    return tuple(rows)


def cost_rows() -> list[Row]:
    """Median cost per frame without pictures at 1, 5 and 20 people, beside ultralytics' ByteTrack in the same run."""
    return [dict(row) for row in _cost()]


def cost_markdown() -> str:
    """The table of cost, with its goal."""
    rows = cost_rows()
    ratio = {row["tracker"]: row["ultralytics' ByteTrack takes"] for row in rows if row["people"] == 20}
    worst = min(v for k, v in ratio.items() if k in bench.OURS)
    return markdown(rows, [f"Goal: at 20 people at most a third of its cost; the dearest takes 1/{worst:.2f}: {verdict(worst >= 3)}."])


def section() -> str:
    """All tables but that of cost, as a part of docs/ACCURACY.md."""
    return "\n".join(
        [
            f"## Identity\n\n{identity_markdown()}",
            f"### MOT Challenge's scores\n\n{mot_markdown()}",
            f"### People who return\n\n{return_markdown()}",
            f"### Looks on recordings\n\n{looks_markdown()}",
        ]
    )


TABLES: dict[str, Callable[[], str]] = {
    "identity": identity_markdown,
    "mot": mot_markdown,
    "returns": return_markdown,
    "looks": looks_markdown,
    "cost": cost_markdown,
}

if __name__ == "__main__":
    for table in sys.argv[1:] or TABLES:
        print(f"### {table}\n\n{TABLES[table]()}")

"""Sessions made by hand for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from shared_utils import BLAZEPOSE_33, Event, Series, Session, Skeleton


@pytest.fixture(scope="session")
def measured() -> Callable[..., Session]:
    """Builds a session with keypoints from a seed; `missing` of the keypoints have no reading."""

    def build(
        *,
        times_s: Sequence[float] = (0.0, 0.1, 0.2, 0.3),
        people: Sequence[int] = (1,),
        seed: int = 0,
        missing: float = 0.2,
        world: bool = True,
        skeleton: Skeleton = BLAZEPOSE_33,
        angles: dict[str, Sequence[float]] | None = None,
        events: Sequence[Event] = (),
        size: tuple[int, int] | None = (640, 480),
    ) -> Session:
        random = np.random.default_rng(seed)
        rows = [(i, t, p) for i, t in enumerate(times_s) for p in people]
        n, k = len(rows), len(skeleton)
        xy = random.uniform(-20, 500, (n, k, 2)).astype(np.float32)
        confidence = random.uniform(0, 1, (n, k)).astype(np.float32)
        gone = random.uniform(0, 1, (n, k)) < missing
        xy[gone], confidence[gone] = np.nan, 0
        corners = random.uniform(0, 300, (n, 2))
        columns = {
            "frame_index": np.array([r[0] for r in rows], np.int64),
            "timestamp_s": np.array([r[1] for r in rows], np.float64),
            "track_id": np.array([r[2] for r in rows], np.int64),
            "score": random.uniform(0.3, 1, n).astype(np.float32),
            "origin": np.zeros(n, np.int8),
        }
        boxes = np.concatenate([corners, corners + random.uniform(20, 160, (n, 2))], axis=1).astype(np.float32)
        columns |= {f"box_{c}_px": boxes[:, i] for i, c in enumerate(("x1", "y1", "x2", "y2"))}
        for i, name in enumerate(skeleton.keypoints):
            columns |= {f"{name}_x_px": xy[:, i, 0], f"{name}_y_px": xy[:, i, 1], f"{name}_confidence": confidence[:, i]}
            if world:
                place = np.where(gone[:, i, None], np.nan, random.uniform(-1, 1, (n, 3))).astype(np.float32)
                columns |= {f"{name}_world_{axis}_m": place[:, j] for j, axis in enumerate("xyz")}
        for name, values in (angles or {}).items():
            columns[name] = np.repeat(np.asarray(values, np.float64), len(people))
        return Session(
            source="clip.mp4",
            source_info={} if size is None else {"width": size[0], "height": size[1], "nominal_fps": 10.0},
            frames=len(times_s),
            duration_s=float(times_s[-1] - times_s[0]) if len(times_s) else 0.0,
            software_version="0.1.0",
            events=tuple(events),
            series=Series(columns),
        )

    return build

"""The built-in demo: the athlete as a clip and as an endless live source, judged against its truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.resources import find_config
from pose_analyzer.synthetic import Scene
from pose_analyzer.video import SourceInfo
from shared_utils.data_models import Frame, Session
from shared_utils.skeletons import BLAZEPOSE_33

_BODY = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))


def demo_scene() -> tuple[Scene, str]:
    """The scene of `config/scenes/demo.yaml` and the exercise it shows."""
    scene = Scene.from_yaml(find_config("scenes/demo.yaml"))
    return scene, str(scene.spec.athletes[0].motion.exercise)


class DemoSource:
    """The demo scene as a camera that never ends, at its natural pace.

    Args:
        clock: Seconds that never run backwards.
        wait: Sleeps the given seconds.
        remember: Keep what was drawn, as JPEG (about 30 MB), and show that from the second round on: drawing takes most of a
            core of a laptop, reading a tenth of that.
    """

    stream_id = "demo"
    damage = None

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wait: Callable[[float], None] = time.sleep, remember: bool = False
    ) -> None:
        self._scene, self.exercise = demo_scene()
        self._clock, self._wait = clock, wait
        self._drawn: dict[int, NDArray[np.uint8]] | None = {} if remember else None
        first, _ = self._scene.frame_at(0)
        self.info = SourceInfo(
            width=first.width,
            height=first.height,
            nominal_fps=self._scene.spec.image.fps,
            frame_count=None,
            duration_s=None,
            is_live=True,
            codec="synthetic",
            name="demo",
        )
        self.dropped = 0
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        start, total = self._clock(), len(self._scene)
        index = 0
        # A frame's length past the last one keeps the pace across the seam.
        length_s = self._scene.frame_at(total - 1)[0].timestamp_s + 1.0 / self._scene.spec.image.fps
        while not self._closed:
            loop, within = divmod(index, total)
            frame = self._frame(within)
            now_s = loop * length_s + frame.timestamp_s
            ahead = now_s - (self._clock() - start)
            if ahead > 0:
                self._wait(ahead)
            yield Frame(frame.image, index=index, timestamp_s=now_s, stream_id=self.stream_id)
            index += 1

    def close(self) -> None:
        """End after the frame under way."""
        self._closed = True

    def _frame(self, index: int) -> Frame:
        if self._drawn is None:
            return self._scene.frame_at(index)[0]
        jpeg = self._drawn.get(index)
        if jpeg is not None:
            image = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), np.uint8)
            return Frame(image, index=index, timestamp_s=index / self._scene.spec.image.fps)
        frame = self._scene.frame_at(index)[0]
        self._drawn[index] = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compare_with_truth(session: Session, scene: Scene) -> dict[str, Any]:
    """How far the measured session is from the scene's truth.

    Returns:
        `repetitions` (true number of complete ones), `landmark_error_px` (median over the visible
        joints of limbs and trunk), `knee_error_deg` (median over both knees), `height_px`.
    """
    series = session.series
    landmark: list[float] = []
    knee: list[float] = []
    rows = {int(f): i for i, f in enumerate(series["frame_index"])} if "frame_index" in series else {}
    at = BLAZEPOSE_33.indices(_BODY)
    for index, row in rows.items():
        truth = scene.truth_at(index)
        measured = np.array([[series[f"{name}_x_px"][row], series[f"{name}_y_px"][row]] for name in _BODY])
        error = np.hypot(*(measured - truth.joints_xy[0, at]).T)
        landmark.extend(error[truth.visible[0, at]].tolist())
        true = truth.angles()
        knee.extend(abs(float(series[name][row]) - float(true[name][0])) for name in ("left_knee_flexion_deg", "right_knee_flexion_deg"))
    return {
        "repetitions": sum(r.counts for r in scene.repetitions(scene.athletes[0].track_id)),
        "landmark_error_px": float(np.nanmedian(landmark)) if landmark else float("nan"),
        "knee_error_deg": float(np.nanmedian(knee)) if knee else float("nan"),
        "height_px": scene.spec.image.height,
    }

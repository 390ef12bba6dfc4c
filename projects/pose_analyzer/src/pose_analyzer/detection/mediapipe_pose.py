"""Pose detection by MediaPipe's own Python solution: images in, at most one person with 33 landmarks out.

The weights lie inside the installed wheel. `mediapipe` is imported when a detector is built, not with
this module.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.base import check_images
from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses
from shared_utils.models import file_sha256
from shared_utils.skeletons import BLAZEPOSE_33, Skeleton

_LANDMARK_SIZES = {0: "lite", 1: "full", 2: "heavy"}
_IN_IMAGE = 0.5
_BOX_MARGIN = 0.1

# Lines that every start of MediaPipe's C++ side writes, whatever is asked of it.
_STARTUP_NOISE = re.compile(
    rb"All log messages before absl::InitializeLog"
    rb"|Created TensorFlow Lite XNNPACK delegate"
    rb"|inference_feedback_manager\.cc.*Feedback manager requires a model with a single signature"
    rb"|landmark_projection_calculator\.cc.*NORM_RECT without IMAGE_DIMENSIONS"
    rb"|gl_context(_egl)?\.cc.*(GL version|Successfully initialized EGL)"
)
_stderr_lock = threading.Lock()  # descriptor 2 belongs to the process, not to a detector


class MediaPipePoseDetector:
    """MediaPipe Pose (BlazePose GHUM 3D), one person, as the library itself runs it on the CPU.

    It finds the most prominent person only. The keypoints carry MediaPipe's visibility as confidence and
    its presence; a landmark outside the image stays where the network puts it, with low presence. The
    solution does not tell how sure it is of the person, so the score is the mean presence of the
    landmarks. The box is that of `BlazePoseDetector`: the hull of the landmarks that are likely inside the
    image (presence at least 0.5; of all, if none is), widened on each side by a tenth of its longer side,
    cut at the image's border. Not safe for use by several threads at once.

    Args:
        device: `"cpu"`, or `"auto"`, which is the same here: the Python solution has no other device.
        max_people: Accepted so that detectors are interchangeable; 1 or more, at most one person comes back.
        model_complexity: Landmark network 0 (lite), 1 (full) or 2 (heavy). The wheel holds 1 only; the
            others work where their files were added to it.
        smooth: MediaPipe's own landmark filter for streams. Default off, because it assumes 30 frames/s
            whatever the stream's rate; `pose_analyzer.smoothing` goes by true timestamps.
        min_detection_confidence: Least score 0..1 of the person detector for a new person.
        min_tracking_confidence: Least score 0..1 of the landmark network to keep a person; below it there
            is nobody, and in a stream the detector runs again on the next image.

    Raises:
        DetectorError: mediapipe cannot be imported, a device other than the CPU is asked for, an argument is
            out of range, or the weights of `model_complexity` are not in the wheel.

    Example:
        >>> with MediaPipePoseDetector() as detector:
        ...     [poses] = detector.detect([np.zeros((64, 64, 3), np.uint8)])
        >>> len(poses), poses.skeleton.name
        (0, 'blazepose_33')
    """

    name = "mediapipe"
    skeleton: Skeleton = BLAZEPOSE_33

    def __init__(
        self,
        *,
        device: str = "cpu",
        max_people: int = 1,
        model_complexity: Literal[0, 1, 2] = 1,
        smooth: bool = False,
        min_detection_confidence: float = 0.5,
        min_tracking_confidence: float = 0.5,
    ) -> None:
        if device not in ("cpu", "auto"):
            raise DetectorError(f"MediaPipe's Python solution runs on the CPU only, got device={device!r}; use device='cpu'")
        if max_people < 1:
            raise DetectorError(f"max_people must be 1 or more, got {max_people}")
        for argument, value in (("detection", min_detection_confidence), ("tracking", min_tracking_confidence)):
            if not 0 <= value <= 1:
                raise DetectorError(f"min_{argument}_confidence must lie in 0..1, got {value}")
        solutions, self._base = _import_solution()
        self._pose_class = solutions.Pose
        self._models = MappingProxyType(_hash_weights(_modules_folder(), model_complexity))
        self._options: dict[str, Any] = {
            "model_complexity": model_complexity,
            "smooth_landmarks": smooth,
            "min_detection_confidence": min_detection_confidence,
            "min_tracking_confidence": min_tracking_confidence,
        }
        self._still: Any = None
        self._streams: dict[str, Any] = {}
        self._started: set[int] = set()
        self._found_someone = False
        self._closed = False

    @property
    def models(self) -> Mapping[str, str]:
        """Weight name -> sha256 of the files inside the installed wheel."""
        return self._models

    def detect(self, images: Sequence[NDArray[np.uint8]], *, stream_ids: Sequence[str] | None = None) -> list[Poses]:
        """The most prominent person of each image, or nobody.

        Args:
            images: (H, W, 3) uint8 RGB each; sizes may differ.
            stream_ids: Which stream each image continues: the region of the frame before is tried before
                the person detector. None = unrelated still images.

        Returns:
            One `Poses` with 0 or 1 person per image; `world_xyz_m` in metres from the middle of the hips.

        Raises:
            DetectorError: An image is not acceptable, the detector is closed, or MediaPipe fails.
        """
        if self._closed:
            raise DetectorError("this MediaPipePoseDetector is closed; build a new one")
        check_images(images, stream_ids)
        return [self._detect_one(image, None if stream_ids is None else stream_ids[i]) for i, image in enumerate(images)]

    def forget(self, stream_id: str) -> None:
        """Drop the region that was carried for one stream; unknown ids are fine."""
        if (solution := self._streams.pop(stream_id, None)) is not None:
            self._release(solution)

    def close(self) -> None:
        """Release MediaPipe's graphs. May be called twice."""
        for stream_id in list(self._streams):
            self.forget(stream_id)
        if self._still is not None:
            self._release(self._still)
            self._still = None
        self._closed = True

    def __enter__(self) -> MediaPipePoseDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _detect_one(self, image: NDArray[np.uint8], stream_id: str | None) -> Poses:
        solution = self._solution(stream_id)
        # The start-up lines come with the first image of a graph, one of them with the first person.
        noisy = id(solution) not in self._started or not self._found_someone
        try:
            with _without_startup_noise() if noisy else nullcontext():
                # `Pose.process` would erase the presence of the landmarks; its base class does not.
                found = self._base.process(solution, {"image": np.ascontiguousarray(image)})
        except (RuntimeError, ValueError) as error:
            # A graph that failed once refuses everything after; the next image gets a new one.
            self._discard(solution, stream_id)
            raise DetectorError(f"MediaPipe failed on an image of {image.shape[1]}x{image.shape[0]} px: {error}") from error
        self._started.add(id(solution))
        if found.pose_landmarks is None:
            return Poses.empty(self.skeleton)
        self._found_someone = True
        return _to_poses(found.pose_landmarks.landmark, found.pose_world_landmarks.landmark, image.shape[1], image.shape[0])

    def _solution(self, stream_id: str | None) -> Any:
        if stream_id is None:
            if self._still is None:
                self._still = self._pose_class(static_image_mode=True, **self._options)
            return self._still
        if stream_id not in self._streams:
            self._streams[stream_id] = self._pose_class(static_image_mode=False, **self._options)
        return self._streams[stream_id]

    def _discard(self, solution: Any, stream_id: str | None) -> None:
        if stream_id is None:
            self._still = None
        else:
            self._streams.pop(stream_id, None)
        try:
            self._release(solution)
        except (RuntimeError, ValueError):
            # Closing repeats the error that is being reported already.
            return

    def _release(self, solution: Any) -> None:
        self._started.discard(id(solution))
        solution.close()


def _import_solution() -> tuple[Any, Any]:
    try:
        from mediapipe.python.solution_base import SolutionBase
        from mediapipe.python.solutions import pose
    except ImportError as error:
        raise DetectorError(
            f"mediapipe with its `solutions` package cannot be imported ({error}); "
            "install the project's requirements again, or use the detector 'blazepose', which reads the same weights"
        ) from error
    return pose, SolutionBase


def _modules_folder() -> Path:
    import mediapipe

    return Path(mediapipe.__file__).parent / "modules"


def _hash_weights(modules: Path, model_complexity: int) -> dict[str, str]:
    """Registry name -> sha256 of the two networks that the solution will load from the folder `modules`.

    Raises:
        DetectorError: No such complexity, or a file is not there; MediaPipe would try to download it.
    """
    if model_complexity not in _LANDMARK_SIZES:
        raise DetectorError(f"model_complexity must be 0, 1 or 2, got {model_complexity}")
    size = _LANDMARK_SIZES[model_complexity]
    files = {
        "blazepose_detector": modules / "pose_detection" / "pose_detection.tflite",
        f"blazepose_landmark_{size}": modules / "pose_landmark" / f"pose_landmark_{size}.tflite",
    }
    for name, file in files.items():
        if not file.is_file():
            raise DetectorError(
                f"{name} is not in the installed mediapipe wheel, and MediaPipe may not download it by itself; "
                f"use model_complexity=1, whose weights are bundled, or run `pose-analyzer models fetch {name}` and copy it to {file}"
            )
    return {name: file_sha256(file) for name, file in files.items()}


def _to_poses(landmarks: Any, world_landmarks: Any, width_px: int, height_px: int) -> Poses:
    table = np.array([(m.x, m.y, m.visibility, m.presence) for m in landmarks], np.float32)
    xy = table[:, :2] * np.array([width_px, height_px], np.float32)
    presence = table[:, 3].clip(0, 1)
    inside = xy[presence >= _IN_IMAGE] if (presence >= _IN_IMAGE).any() else xy
    low, high = inside.min(0), inside.max(0)
    margin = _BOX_MARGIN * (high - low).max()
    border = np.array([width_px, height_px], np.float32)
    return Poses(
        boxes_xyxy=np.concatenate([(low - margin).clip(0, border), (high + margin).clip(0, border)])[None],
        scores=presence.mean(keepdims=True),
        keypoints_xy=xy[None],
        keypoint_confidence=table[None, :, 2].clip(0, 1),
        keypoint_presence=presence[None],
        world_xyz_m=np.array([[(m.x, m.y, m.z) for m in world_landmarks]], np.float32),
        skeleton=BLAZEPOSE_33,
    )


@contextmanager
def _without_startup_noise() -> Iterator[None]:
    """Hold back what is written to descriptor 2 inside the block; afterwards pass on all but the known noise.

    Neither environment variables nor Python's logging reach these lines: they are written by C++ before
    its logging is set up.
    """
    with _stderr_lock:
        try:
            original = os.dup(2)
        except OSError:  # a process without standard error has nothing to keep clean
            yield
            return
        with tempfile.TemporaryFile() as held:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                if sys.stderr is not None:
                    sys.stderr.flush()
                os.dup2(original, 2)
                os.close(original)
                held.seek(0)
                if rest := b"".join(line for line in held if not _STARTUP_NOISE.search(line)):
                    os.write(2, rest)

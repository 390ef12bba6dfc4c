"""BlazePose without MediaPipe: the same two networks, run by OpenVINO, for several people and streams.

Images go in, `Poses` with 33 landmarks come out. In a stream each person's region follows from the
landmarks of the frame before; the person detector runs only when somebody may be new.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.base import check_images, in_waves
from pose_analyzer.detection.blazepose.cache import open_cache
from pose_analyzer.detection.blazepose.decode import (
    Candidate,
    Landmarks,
    decode_people,
)
from pose_analyzer.detection.blazepose.looks import LOOKS, measure
from pose_analyzer.detection.blazepose.network import Network, Output, Runtime, resolve_device
from pose_analyzer.detection.blazepose.people import Finding, Person, Stream, regions_of
from pose_analyzer.detection.blazepose.regions import Region
from pose_analyzer.detection.blazepose.weights import find_weights
from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33, Skeleton

_DETECTOR_OUTPUTS = (Output(name="boxes", shape=(2254, 12)), Output(name="scores", shape=(2254, 1)))
_LANDMARK_OUTPUTS = (
    Output(name="landmarks", shape=(195,)),
    Output(name="score", shape=(1,)),
    Output(name="heat", shape=(64, 64, 39)),
    Output(name="world", shape=(117,)),
)
# The topmost landmarks are the eyes, the lowest the toes: the crown, hair and soles lie outside their hull.
_BOX_MARGIN = 0.1
_IN_IMAGE = 0.5
# OpenCV keeps coordinates of a picture to be warped in 16 bits.
_MAX_IMAGE_PX = 32766


class BlazePoseDetector:
    """BlazePose GHUM 3D (full) on OpenVINO; weights from the installed mediapipe wheel, no download.

    With `max_people=1` it does what MediaPipe's own solution does with landmark smoothing off: detector
    when nobody is followed, landmarks in a rotated region, refinement on heat maps, next region from two
    extra landmarks. With more, `blazepose.people.Stream` tells when further people are looked for and when
    two findings are one person. Landmarks are not smoothed.

    The score is the landmark network's own, confidence is its visibility. The box is the hull of the
    landmarks that are likely inside the image (presence at least 0.5; of all, if none is), widened on
    each side by a tenth of its longer side, cut at the image's border. Safe for use by several threads:
    calls wait for one another.

    Args:
        device: `"cpu"`, `"gpu"` (Intel), `"npu"`, or `"auto"`: a GPU if OpenVINO sees one, else the CPU; the
            choice is in `.device`. Never another device than was asked for.
        max_people: Most people per image or stream, 1 or more.
        model: Another landmark network: `"blazepose_landmark_lite"`, `"blazepose_landmark_heavy"`, or a file.
        threads: CPU threads; default: as many as there are physical cores.
        min_detection_confidence: Least score 0..1 of the person detector for a new person.
        min_tracking_confidence: Score 0..1 of the landmark network that a person must exceed to be there.
        search_frames: In a stream with room for more people, frames between two searches for them. A search costs
            about as much as the landmarks of one person. Default 15.
        precision: `"f32"` as MediaPipe computes, or `"bf16"`: half as fast again on processors with bfloat16
            instructions, at the price of about a pixel (median) and more than ten for some hidden landmarks.
            OpenVINO's own choice would be the latter.
        upsampling: How the region of a person of less than 90 px is enlarged for the landmark network: `"linear"` as MediaPipe
            does, or `"cubic"`: 3 to 7 % less error for them, for a tenth of a millisecond each.
        looks: How often the landmark network looks at each person: 1 as MediaPipe; 2: also at the mirror image; 4: also at both a
            little larger. The middle of the looks is nearer to the truth, knees and hips most, at the cost of a person each.
        cache_dir: Folder in which compiled networks wait for the next process, 14 MB; default `"user"`: the user's
            cache folder; None: nowhere.

    Raises:
        DetectorError: Weights are missing or wrong, the device is absent, or an argument is out of range.

    Example:
        >>> with BlazePoseDetector(max_people=2, threads=1) as detector:
        ...     [poses] = detector.detect([np.zeros((64, 64, 3), np.uint8)])
        >>> len(poses), poses.skeleton.name, detector.device
        (0, 'blazepose_33', 'cpu')
    """

    name = "blazepose"
    skeleton: Skeleton = BLAZEPOSE_33

    def __init__(
        self,
        *,
        device: str = "cpu",
        max_people: int = 6,
        model: str | Path | None = None,
        threads: int | None = None,
        min_detection_confidence: float = 0.5,
        min_tracking_confidence: float = 0.5,
        search_frames: int = 15,
        precision: Literal["f32", "bf16"] = "f32",
        upsampling: Literal["linear", "cubic"] = "linear",
        looks: int = 1,
        cache_dir: str | Path | None = "user",
    ) -> None:
        _check_range("max_people", max_people, 1, math.inf)
        _check_range("search_frames", search_frames, 1, math.inf)
        _check_range("min_detection_confidence", min_detection_confidence, 0, 1)
        _check_range("min_tracking_confidence", min_tracking_confidence, 0, 1)
        if threads is not None:
            _check_range("threads", threads, 1, math.inf)
        if precision not in ("f32", "bf16"):
            raise DetectorError(f"precision must be 'f32' or 'bf16', got {precision!r}")
        if upsampling not in ("linear", "cubic"):
            raise DetectorError(f"upsampling must be 'linear' or 'cubic', got {upsampling!r}")
        if looks not in LOOKS:
            raise DetectorError(f"looks must be one of {', '.join(map(str, LOOKS))}, got {looks!r}")
        self._finer, self._looks = upsampling == "cubic", LOOKS[looks]
        runtime = Runtime(device=resolve_device(device), threads=threads, precision=precision, cache_dir=open_cache(cache_dir))
        weights = find_weights(model)
        self.device = runtime.device.lower()
        self.models: Mapping[str, str] = weights.sha256
        self._min_detection, self._min_tracking = min_detection_confidence, min_tracking_confidence
        self._max_people, self._search_frames = max_people, search_frames
        self._networks: _Networks | None = _Networks(
            detector=Network(weights.detector, _DETECTOR_OUTPUTS, mean=127.5, scale=127.5, runtime=runtime),
            landmarks=Network(weights.landmarks, _LANDMARK_OUTPUTS, mean=0.0, scale=255.0, runtime=runtime),
        )
        self._streams: dict[str, Stream] = {}
        self._lock = threading.Lock()

    def detect(self, images: Sequence[NDArray[np.uint8]], *, stream_ids: Sequence[str] | None = None) -> list[Poses]:
        """The people of each image.

        Args:
            images: (H, W, 3) uint8 RGB each, at least 16 px a side; sizes may differ.
            stream_ids: Which stream each image continues; an id may come several times, in the order of
                time. None = unrelated still images.

        Returns:
            One `Poses` per image: in a stream in the order in which people came, else by falling detection
            score. `world_xyz_m` in metres from the middle of the hips, `keypoint_presence` set.

        Raises:
            DetectorError: An image is not acceptable, the detector is closed, or OpenVINO fails.
        """
        check_images(images, stream_ids)
        with self._lock:
            if (networks := self._networks) is None:
                raise DetectorError("this BlazePoseDetector is closed; build a new one")
            results: list[Poses] = [Poses.empty(self.skeleton)] * len(images)
            for wave in in_waves(len(images), stream_ids):
                views = [_View(_readable(images[i]), self._stream(stream_ids, i)) for i in wave]
                for i, poses in zip(wave, self._detect_wave(views, networks), strict=True):
                    results[i] = poses
            return results

    def forget(self, stream_id: str) -> None:
        """Drop the people followed in one stream; unknown ids are fine."""
        with self._lock:
            self._streams.pop(stream_id, None)

    def adopt(self, stream_id: str, poses: Poses, *, width_px: int, height_px: int) -> int:
        """Follow people in a stream from the next image on, as if they had been found here.

        Args:
            stream_id: Of the stream; one that is not known yet begins with them.
            poses: Where they are, in px of the stream's pictures; at least hips and shoulders of each.
            width_px: Of those pictures.
            height_px: Of those pictures.

        Returns:
            How many there was room for: `max_people` in all; who is followed already is not taken twice.

        Raises:
            DetectorError: The poses have another skeleton.
        """
        if poses.skeleton != self.skeleton:
            raise DetectorError(f"people to follow must have the skeleton {self.skeleton.name}, got {poses.skeleton.name}")
        with self._lock:
            return self._stream([stream_id], 0).adopt(regions_of(poses), width_px, height_px)

    def close(self) -> None:
        """Release the networks. May be called twice."""
        with self._lock:
            self._networks = None
            self._streams.clear()

    def __enter__(self) -> BlazePoseDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream(self, stream_ids: Sequence[str] | None, i: int) -> Stream:
        if stream_ids is None:
            return Stream(self._max_people, self._search_frames)
        return self._streams.setdefault(stream_ids[i], Stream(self._max_people, self._search_frames))

    def _detect_wave(self, views: Sequence[_View], networks: _Networks) -> list[Poses]:
        """At most one image of each stream; all their people go through the networks together."""
        places = [(view, view.stream.start_frame(view.width_px, view.height_px)) for view in views]
        searches = [(view, region) for view, region in places if region is not None]
        candidates = self._search(searches, networks.detector)
        jobs = [_Job(view, person, False) for view in views for person in view.stream.people]
        for (view, _), seen in zip(searches, candidates, strict=True):
            jobs += [_Job(view, person, True) for person in view.stream.newcomers(seen)]
        places = [(job.view.image, job.person.region) for job in jobs]
        found = measure(places, networks.landmarks, looks=self._looks, finer=self._finer)
        results = []
        for view in views:
            findings = [
                Finding(job.person, job.is_new, landmarks)
                for job, landmarks in zip(jobs, found, strict=True)
                if job.view is view and landmarks.score > self._min_tracking
            ]
            results.append(_to_poses(view.stream.end_frame(findings), view))
        return results

    def _search(self, searches: Sequence[tuple[_View, Region]], network: Network) -> list[list[Candidate]]:
        def fill(search: tuple[_View, Region], out: NDArray[np.uint8]) -> None:
            search[1].crop(search[0].image, out, replicate=False)

        def read(search: tuple[_View, Region], outputs: Mapping[str, NDArray[np.float32]]) -> list[Candidate]:
            return decode_people(outputs["boxes"], outputs["scores"][:, 0], search[1], min_score=self._min_detection)

        return network.map(searches, fill, read)


@dataclass(frozen=True, slots=True)
class _Networks:
    detector: Network
    landmarks: Network


@dataclass(slots=True, eq=False)
class _View:
    """An image and the stream it continues."""

    image: NDArray[np.uint8]
    stream: Stream

    @property
    def width_px(self) -> int:
        return self.image.shape[1]

    @property
    def height_px(self) -> int:
        return self.image.shape[0]


@dataclass(slots=True, eq=False)
class _Job:
    """A region to be measured."""

    view: _View
    person: Person
    is_new: bool


def _readable(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image in a memory layout that OpenCV reads without copying it at every crop."""
    if max(image.shape[:2]) > _MAX_IMAGE_PX:
        raise DetectorError(f"an image may be at most {_MAX_IMAGE_PX} px a side, got {image.shape[1]}x{image.shape[0]}; scale it down")
    whole_pixels = image.strides[2] == 1 and image.strides[1] == 3 and image.strides[0] >= 3 * image.shape[1]
    return image if whole_pixels else np.ascontiguousarray(image)


def _to_poses(people: Sequence[Landmarks], view: _View) -> Poses:
    if not people:
        return Poses.empty(BLAZEPOSE_33)
    return Poses(
        boxes_xyxy=np.array([_box(p, view.width_px, view.height_px) for p in people], np.float32),
        scores=np.array([min(max(p.score, 0.0), 1.0) for p in people], np.float32),
        keypoints_xy=np.array([p.xy_px for p in people], np.float32),
        keypoint_confidence=np.array([p.visibility for p in people], np.float32),
        keypoint_presence=np.array([p.presence for p in people], np.float32),
        world_xyz_m=np.array([p.world_xyz_m for p in people], np.float32),
        skeleton=BLAZEPOSE_33,
    )


def _box(person: Landmarks, width_px: int, height_px: int) -> tuple[float, float, float, float]:
    """Padded hull x1, y1, x2, y2, cut at the border."""
    inside = person.xy_px[person.presence >= _IN_IMAGE]
    if not len(inside):
        inside = person.xy_px[np.isfinite(person.xy_px).all(1)]
    (x1, y1), (x2, y2) = inside.min(0).tolist(), inside.max(0).tolist()
    margin = _BOX_MARGIN * max(x2 - x1, y2 - y1)
    return (
        min(max(x1 - margin, 0.0), width_px),
        min(max(y1 - margin, 0.0), height_px),
        min(max(x2 + margin, 0.0), width_px),
        min(max(y2 + margin, 0.0), height_px),
    )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        wanted = f"{low} or more" if high == math.inf else f"in {low}..{high}"
        raise DetectorError(f"{name} must be {wanted}, got {value}")

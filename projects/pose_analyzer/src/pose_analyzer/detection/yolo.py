"""Pose detection by ultralytics' YOLO pose models: images in, several people with the model's keypoints out.

`ultralytics` and `torch` are imported when a detector is built, not with this module, and are kept from
downloading, installing, updating or reporting anything by themselves. Both the library and its weights
are AGPL-3.0; nothing else in this package needs them.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from pose_analyzer.detection.base import check_images
from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses
from shared_utils.errors import ModelError
from shared_utils.models import file_sha256, find_model, get_model, verify
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17, HALPE_26, Skeleton

_log = logging.getLogger(__name__)

_LICENCE = "ultralytics and its weights are AGPL-3.0"
_SKELETONS = {len(s): s for s in (COCO_17, HALPE_26, BLAZEPOSE_33)}


class YOLOPoseDetector:
    """YOLOv8, YOLO11 or YOLO26 pose through ultralytics, from `.pt`, `.onnx` or an OpenVINO folder.

    Every image is judged by itself: there is no state per stream, and images that share a batch do not
    change one another (ultralytics pads a batch of mixed sizes differently, so a batch here has one size).
    An export with a fixed batch size is run in pieces of that size; with batch 1 a batch saves nothing.
    `.pt` files are read with ultralytics' restricted loader, which refuses checkpoints that carry other
    code. If the program imported ultralytics before, the settings it was imported with stay in force.

    Args:
        model: A name of the model registry (`"yolo11n-pose"`), a `.pt` or `.onnx` file, or a folder with
            an OpenVINO `.xml` and `.bin`. Never downloaded here.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`, or `"auto"`: the first of cuda, mps, cpu that is
            there and fits the format; the choice is logged and in `.device`. OpenVINO folders: cpu.
        max_people: Most people per image; the highest scores stay.
        min_score: Least score 0..1 of a person.
        iou: Boxes that overlap more than this, 0..1, are one person. Without effect on YOLO26, which has
            no suppression step.
        image_size: Longer side in px that images are scaled to; exports of fixed size use their own.
        min_keypoint_confidence: Keypoints below this, 0..1, become missing. Default 0: all are kept with
            their confidence, and later stages decide.
        skeleton: Names of the model's keypoints; by their number (17, 26, 33) if not given.

    Raises:
        DetectorError: The weights are not on this machine (the text holds the command that fetches them),
            cannot be loaded, or are not of a pose model; the device is absent; an argument is out of range.

    Example:
        >>> YOLOPoseDetector("yolo99-pose")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        pose_analyzer.errors.DetectorError: unknown model 'yolo99-pose'; did you mean ...
    """

    name = "yolo"

    def __init__(
        self,
        model: str | Path = "yolo11n-pose",
        *,
        device: str = "cpu",
        max_people: int = 6,
        min_score: float = 0.25,
        iou: float = 0.7,
        image_size: int = 640,
        min_keypoint_confidence: float = 0.0,
        skeleton: Skeleton | None = None,
    ) -> None:
        for argument, value in (("min_score", min_score), ("iou", iou), ("min_keypoint_confidence", min_keypoint_confidence)):
            if not 0 <= value <= 1:
                raise DetectorError(f"{argument} must lie in 0..1, got {value}")
        if max_people < 1 or image_size < 32:
            raise DetectorError(f"max_people must be 1 or more and image_size 32 px or more, got {max_people} and {image_size}")
        weights, self._models = _find_weights(model)
        self._max_people = max_people
        self._min_keypoint_confidence = min_keypoint_confidence
        with _contained():
            self.device = _choose_device(device, weights)
            self._arguments: dict[str, Any] = {
                "conf": min_score,
                "iou": iou,
                "imgsz": image_size,
                "max_det": max_people,
                # "cpu" would let OpenVINO choose any device of Intel's; "intel:cpu" means the CPU.
                "device": "intel:cpu" if weights.is_dir() else self.device,
                "verbose": False,
            }
            self._network = _load(weights, self._arguments)
        backend = self._network.predictor.model
        self._check_backend(backend)
        self.skeleton = _skeleton_of(backend, skeleton, weights)
        self._fixed_batch = None if backend.format == "pt" or backend.metadata.get("dynamic") else max(int(backend.batch), 1)
        persons = [i for i, name in backend.names.items() if name == "person"]
        if persons and len(backend.names) > 1:
            self._arguments["classes"] = persons

    @property
    def models(self) -> Mapping[str, str]:
        """Weight name -> sha256 of the file; of the `.bin` for an OpenVINO folder."""
        return self._models

    def detect(self, images: Sequence[NDArray[np.uint8]], *, stream_ids: Sequence[str] | None = None) -> list[Poses]:
        """People in each image, the surest first.

        Args:
            images: (H, W, 3) uint8 RGB each; sizes may differ.
            stream_ids: Checked, otherwise without effect.

        Raises:
            DetectorError: An image is not acceptable, the detector is closed, or the model fails.
        """
        network = self._network
        if network is None:
            raise DetectorError("this YOLOPoseDetector is closed; build a new one")
        check_images(images, stream_ids)
        by_shape: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            by_shape[image.shape].append(i)
        found: dict[int, Poses] = {}
        for same_size in by_shape.values():
            step = self._fixed_batch or len(same_size)
            for start in range(0, len(same_size), step):
                rows = same_size[start : start + step]
                found.update(zip(rows, self._predict(network, [images[i] for i in rows]), strict=True))
        return [found[i] for i in range(len(images))]

    def forget(self, stream_id: str) -> None:
        """Nothing to drop: no state is kept per stream."""

    def close(self) -> None:
        """Release the model. May be called twice."""
        self._network = None

    def __enter__(self) -> YOLOPoseDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict(self, network: Any, images: list[NDArray[np.uint8]]) -> list[Poses]:
        try:
            # ultralytics takes arrays for BGR, as OpenCV reads them.
            results = network.predict([np.ascontiguousarray(image[..., ::-1]) for image in images], **self._arguments)
        except Exception as error:  # whatever the backend's runtime raises, the frame is lost for the same reason
            raise DetectorError(f"YOLO failed on {len(images)} images of {images[0].shape[1]}x{images[0].shape[0]} px: {error}") from error
        return [self._to_poses(result) for result in results]

    def _to_poses(self, result: Any) -> Poses:
        poses = Poses.from_ultralytics(result, skeleton=self.skeleton)
        surest_first = np.argsort(-poses.scores, kind="stable")[: self._max_people]
        poses = poses[surest_first]
        return poses.masked(self._min_keypoint_confidence) if self._min_keypoint_confidence > 0 else poses

    def _check_backend(self, backend: Any) -> None:
        """A runtime that fell back to the CPU on its own is an error here."""
        kind = getattr(backend.device, "type", str(backend.device)).partition(":")[0]
        wanted = self.device.partition(":")[0]
        if kind != wanted and not (backend.format == "openvino" and wanted == "cpu"):
            raise DetectorError(f"device {self.device!r} was asked for, but the {backend.format} runtime took {kind!r}; use device='cpu'")


def _find_weights(model: str | Path) -> tuple[Path, Mapping[str, str]]:
    """The file or folder of a name or path, and name -> sha256 of the weights in it."""
    path = Path(model).expanduser()
    # A bare `yolo11n-pose.pt` is ultralytics' way to name a model; any other file name is a path.
    explicit = isinstance(model, Path) or path.name != str(model) or path.exists() or (path.suffix != "" and not _is_known(path.stem))
    name = path.name.removesuffix(".pt")
    try:
        if not explicit:
            weights = find_model(name)
            digest = verify(weights, get_model(name))
        elif not path.exists():
            raise DetectorError(f"no YOLO weights at {path}; {_fetch_hint(name)}")
        else:
            weights = path
            digest = file_sha256(_openvino_files(path)[1] if path.is_dir() else path)
    except ModelError as error:
        raise DetectorError(str(error)) from error
    if weights.is_file() and weights.suffix not in (".pt", ".onnx"):
        raise DetectorError(f"{weights.name} is no YOLO model; give a .pt or .onnx file, or a folder with an OpenVINO .xml and .bin")
    return weights, MappingProxyType({weights.name if explicit else name: digest})


def _is_known(name: str) -> bool:
    try:
        get_model(name)
    except ModelError:
        return False
    return True


def _fetch_hint(name: str) -> str:
    known = get_model(name).name if _is_known(name) else "yolo11n-pose"
    return f"`pose-analyzer models fetch {known}` fetches {known} ({_LICENCE})"


def _openvino_files(folder: Path) -> tuple[Path, Path]:
    graphs = sorted(folder.glob("*.xml"))
    if len(graphs) != 1 or not graphs[0].with_suffix(".bin").is_file():
        raise DetectorError(f"{folder} is no OpenVINO model; such a folder holds one .xml and its .bin")
    return graphs[0], graphs[0].with_suffix(".bin")


def _choose_device(requested: str, weights: Path) -> str:
    """The torch name of the device to use.

    Raises:
        DetectorError: It is not on this machine or cannot run this format; the text lists what can.
    """
    available = _devices_for(weights)
    kind = {".pt": "PyTorch", ".onnx": "ONNX"}.get(weights.suffix, "OpenVINO")
    if requested == "auto":
        _log.info("YOLO runs on %s (%s model; usable here: %s)", available[0], kind, ", ".join(available))
        return available[0]
    wanted = "cuda:0" if requested == "cuda" else requested
    if wanted not in available:
        raise DetectorError(f"device {requested!r} is not usable for a {kind} model on this machine; usable: {', '.join(available)}, auto")
    return wanted


def _devices_for(weights: Path) -> list[str]:
    """Usable devices, the fastest first."""
    if weights.is_dir():
        return ["cpu"]
    import torch

    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if weights.suffix == ".pt":
        return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]
    import onnxruntime

    return [*(cuda if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else []), "cpu"]


def _load(weights: Path, arguments: Mapping[str, Any]) -> Any:
    """The network, ready: the first prediction builds the backend, so that what is wrong shows now."""
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise DetectorError(f"ultralytics cannot be imported ({error}); install the project's requirements again") from error
    with tempfile.TemporaryDirectory(prefix="yolo-") as folder:
        path = weights
        if weights.is_dir() and not weights.name.endswith("_openvino_model"):
            # ultralytics tells formats by name: an OpenVINO folder must be called *_openvino_model.
            path = Path(folder) / f"{weights.name}_openvino_model"
            path.symlink_to(weights.resolve(), target_is_directory=True)
        try:
            network = YOLO(str(path), verbose=False)
            if network.task == "pose":
                network.predict([np.zeros((64, 64, 3), np.uint8)], **arguments)
        except Exception as error:  # loaders and runtimes raise what they like; the file cannot be used either way
            raise DetectorError(f"cannot load {weights} as a YOLO model: {error}") from error
    if network.task != "pose":
        raise DetectorError(f"{weights.name} is a {network.task} model without keypoints; use a pose model, for example yolo11n-pose")
    return network


def _skeleton_of(backend: Any, skeleton: Skeleton | None, weights: Path) -> Skeleton:
    count = int(backend.kpt_shape[0])
    chosen = skeleton or _SKELETONS.get(count)
    if chosen is None:
        raise DetectorError(f"{weights.name} gives {count} keypoints, which no known skeleton has; pass skeleton= with their names")
    if len(chosen) != count:
        raise DetectorError(f"{weights.name} gives {count} keypoints, but skeleton {chosen.name} has {len(chosen)}")
    return chosen


@contextmanager
def _contained() -> Iterator[None]:
    """Import and build ultralytics without its side effects on this process, network and home folder.

    It reads its settings from the environment at import. While importing, it also sets environment
    variables, numpy's print options and OpenCV's number of threads for everybody; these are put back.
    """
    before = dict(os.environ)
    threads = cv2.getNumThreads()
    defaults = {
        "YOLO_AUTOINSTALL": "false",  # never runs pip
        "YOLO_OFFLINE": "true",  # no look for updates, no usage statistics
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SAFE_LOAD": "true",  # a .pt is a pickle
        "YOLO_CONFIG_DIR": str(user_cache_path("pose-analyzer", appauthor=False)),
    }
    os.environ.update({name: value for name, value in defaults.items() if name not in before})
    try:
        with np.printoptions():
            yield
    finally:
        cv2.setNumThreads(threads)
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})

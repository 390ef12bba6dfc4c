"""Looks by a person re-identification network in ONNX, such as OSNet (arXiv:1905.00953), on the CPU.

OpenVINO runs it where it is installed, otherwise ONNX Runtime; both give the same vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.openvino_core import openvino_core
from pose_analyzer.tracking.appearance import unit
from shared_utils.data_models import Poses
from shared_utils.errors import ModelError
from shared_utils.models import find_model

# Statistics of ImageNet that ReID networks of Torchreid's family are trained with.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_SMALLEST_CROP_PX = 8

Runtime = Literal["openvino", "onnxruntime"]


class ReidNetwork:
    """Describes people by a ReID network; one vector per crop of a detected box.

    Args:
        model: A name of the model registry (`osnet_x0_25_msmt17`) or a path to an ONNX file with one input
            (N, 3, H, W) of RGB with ImageNet's mean and deviation, and one output (N, d).
        runtime: Which runtime; default OpenVINO if it is here, else ONNX Runtime.
        threads: Inference threads; 0 lets the runtime choose.

    Raises:
        ModelError: The file is missing, is no such network, or neither runtime is installed.
    """

    def __init__(self, model: str | Path, *, runtime: Runtime | None = None, threads: int = 0) -> None:
        self.path = find_model(model)
        chosen: Runtime = runtime or ("openvino" if find_spec("openvino") else "onnxruntime")
        if not find_spec(chosen):
            raise ModelError(f"{chosen} is not installed, so {self.path.name} cannot run; install it, or set model: auto")
        try:
            self._run, shape = (_openvino if chosen == "openvino" else _onnxruntime)(self.path, threads)
        except Exception as error:
            raise ModelError(f"{chosen} cannot load {self.path}: {error}") from error
        if len(shape) != 4 or shape[1] != 3 or not all(isinstance(s, int) and s > 0 for s in shape[2:]):
            raise ModelError(f"{self.path.name} takes {shape}; a ReID network takes (N, 3, height, width)")
        self._batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        self._height, self._width = int(shape[2]), int(shape[3])
        self.size = self._vectors(np.zeros((1, 3, self._height, self._width), np.float32)).shape[1]

    def describe(self, image: NDArray[np.uint8], poses: Poses) -> NDArray[np.float64]:
        """(n, size) of unit length; NaN for boxes outside the image. See `Appearance`."""
        looks = np.full((len(poses), self.size), np.nan)
        limits = np.array([image.shape[1], image.shape[0]] * 2)
        edges = np.clip(np.round(poses.boxes_xyxy), 0, limits).astype(int)
        rows = np.flatnonzero(((edges[:, 2:] - edges[:, :2]) >= _SMALLEST_CROP_PX).all(1))
        if len(rows):
            crops = [cv2.resize(image[y1:y2, x1:x2], (self._width, self._height)) for x1, y1, x2, y2 in edges[rows].tolist()]
            pixels = (np.stack(crops).astype(np.float32) / 255 - _MEAN) / _STD
            looks[rows] = unit(self._vectors(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))))
        return looks

    def _vectors(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._batch is None:
            return self._run(pixels)
        return np.concatenate([self._run(pixels[i : i + 1]) for i in range(len(pixels))])


_Loaded = tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], tuple[Any, ...]]


def _openvino(path: Path, threads: int) -> _Loaded:
    # In full precision: the lower one that some CPUs prefer moves the vectors by a percent.
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino_core().compile_model(str(path), "CPU", settings)
    shape = tuple(d.get_length() if d.is_static else None for d in compiled.input(0).partial_shape)
    request = compiled.create_infer_request()

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        request.infer({0: pixels})
        return np.array(request.get_output_tensor(0).data)

    return run, shape


def _onnxruntime(path: Path, threads: int) -> _Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0]
    return lambda pixels: np.asarray(session.run(None, {first.name: pixels})[0]), tuple(first.shape)

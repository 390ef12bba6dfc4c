"""One network on one OpenVINO device: unused outputs cut, the scaling of pixels folded in, buffers reused.

Pictures are written as uint8 straight into the network's input memory, and outputs are read where the
network left them. A single picture gets all threads; several run side by side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.preprocess import PrePostProcessor

from pose_analyzer.detection.blazepose.cache import seal
from pose_analyzer.errors import DetectorError
from pose_analyzer.openvino_core import openvino_core

_log = logging.getLogger(__name__)

_AUTO_ORDER = ("GPU", "CPU")

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output to keep.

    Args:
        name: What it is called here.
        shape: Without the batch; outputs are told apart by it.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How a network is run.

    Args:
        device: An OpenVINO device that is present, for example `"CPU"`.
        threads: CPU threads; None = as many as OpenVINO chooses (all physical cores).
        precision: `"f32"` or `"bf16"`; ignored by devices that have only one.
        cache_dir: Folder for compiled networks, from `open_cache`; None = compile anew in every process.
    """

    device: str = "CPU"
    threads: int | None = None
    precision: str = "f32"
    cache_dir: Path | None = None


def resolve_device(device: str, available: Sequence[str] | None = None) -> str:
    """The OpenVINO device for a name, never another one than was asked for.

    Args:
        device: `"cpu"`, `"gpu"`, `"gpu.1"`, `"npu"`, or `"auto"`: a GPU if there is one, else the CPU.
        available: Devices to choose from; default: those of this machine.

    Raises:
        DetectorError: It is absent; the text lists what there is.

    Example:
        >>> resolve_device("cpu", ["CPU"])
        'CPU'
        >>> resolve_device("gpu", ["CPU"])
        Traceback (most recent call last):
        pose_analyzer.errors.DetectorError: device 'gpu' is not available to OpenVINO; this machine has: cpu
    """
    names = list(openvino_core().available_devices if available is None else available)
    if device.lower() == "auto":
        chosen = next((n for kind in _AUTO_ORDER for n in names if n.split(".")[0] == kind), None)
        _log.info("device auto: %s, of %s", chosen, ", ".join(names))
    else:
        # OpenVINO lists a single GPU as "GPU" and several as "GPU.0", "GPU.1"; "GPU" then means the first.
        chosen = next((n for n in names if n.upper() in (device.upper(), device.upper() + ".0")), None)
    if chosen is None:
        there = ", ".join(n.lower() for n in names) or "nothing"
        raise DetectorError(f"device {device!r} is not available to OpenVINO; this machine has: {there}")
    return chosen


class Network:
    """A network with one square uint8 RGB input. Not safe for use by several threads at once.

    Args:
        path: Weights in a format that OpenVINO reads.
        outputs: What to keep; everything else is cut off, with all that only it needs.
        mean: Subtracted from the pixels 0..255.
        scale: Divides them afterwards.
        runtime: Where and how to run.

    Raises:
        DetectorError: The file cannot be read, is not the expected network, or the device refuses it.
    """

    def __init__(self, path: Path, outputs: Sequence[Output], *, mean: float, scale: float, runtime: Runtime) -> None:
        self._core = openvino_core()
        self._runtime = runtime
        try:
            model = self._core.read_model(path)
            self._positions = _cut(model, outputs, path)
            steps = PrePostProcessor(model)
            steps.input().tensor().set_element_type(ov.Type.u8)
            steps.input().preprocess().convert_element_type(ov.Type.f32).mean(mean).scale(scale)
            self._model = steps.build()
        except RuntimeError as error:
            raise DetectorError(f"{path} is not a network that OpenVINO {ov.__version__} can read: {_reason(error)}") from error
        self._single = self._compile("LATENCY")
        self._first = _Lane(self._single)
        self._lanes: list[_Lane] = []

    def map(
        self,
        jobs: Sequence[Job],
        fill: Callable[[Job, NDArray[np.uint8]], None],
        read: Callable[[Job, Mapping[str, NDArray[np.float32]]], Result],
    ) -> list[Result]:
        """Run the network once per job.

        Args:
            jobs: Anything.
            fill: Writes a job's picture into the (n, n, 3) input memory.
            read: Makes a job's result from the outputs, without the batch; the arrays are views that the
                next run overwrites.

        Returns:
            Results in the order of the jobs.

        Raises:
            DetectorError: OpenVINO failed.
        """
        lanes = [self._first] if len(jobs) < 2 else self._side_by_side()
        results: list[Result] = []
        try:
            # Jobs take turns on the lanes, so the lane that is needed next holds the oldest job.
            for i, job in enumerate(jobs):
                lane = lanes[i % len(lanes)]
                if i >= len(lanes):
                    results.append(read(jobs[i - len(lanes)], lane.outputs(self._positions)))
                fill(job, lane.input)
                lane.start()
            for i in range(len(results), len(jobs)):
                results.append(read(jobs[i], lanes[i % len(lanes)].outputs(self._positions)))
        except RuntimeError as error:
            raise DetectorError(f"OpenVINO failed on {self._runtime.device}: {_reason(error)}") from error
        finally:
            for lane in lanes:
                lane.drain()
        return results

    def _side_by_side(self) -> list[_Lane]:
        """Requests that run at the same time; with a single thread, one that is filled while the other runs."""
        if not self._lanes:
            compiled = self._single if self._runtime.threads == 1 else self._compile("THROUGHPUT")
            wanted = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
            self._lanes = [_Lane(compiled) for _ in range(wanted + 1)]
        return self._lanes

    def _compile(self, hint: str) -> ov.CompiledModel:
        settings = _settings(self._core, self._runtime) | {"PERFORMANCE_HINT": hint}
        try:
            compiled = self._core.compile_model(self._model, self._runtime.device, settings)
        except RuntimeError as error:
            raise DetectorError(f"OpenVINO cannot compile the network for {self._runtime.device}: {_reason(error)}") from error
        if self._runtime.cache_dir is not None:
            seal(self._runtime.cache_dir)
        return compiled


class _Lane:
    """An inference request with its own memory."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self.input: NDArray[np.uint8] = self._request.get_input_tensor().data[0]
        self._busy = False

    def start(self) -> None:
        self._request.start_async()
        self._busy = True

    def outputs(self, positions: Mapping[str, int]) -> dict[str, NDArray[np.float32]]:
        """Wait for the run that was started; output name -> view."""
        self._busy = False
        self._request.wait()
        return {name: self._request.get_output_tensor(i).data[0] for name, i in positions.items()}

    def drain(self) -> None:
        """Wait for a run that nobody will read, so that the memory may be written again."""
        if self._busy:
            self._busy = False
            self._request.wait()


def _cut(model: ov.Model, outputs: Sequence[Output], path: Path) -> dict[str, int]:
    """Remove every result but `outputs`; name -> position among the remaining ones."""
    shapes = {output.shape: output for output in outputs}
    found: list[Output] = []
    for result in model.get_results():
        shape = tuple(result.get_output_shape(0))[1:]
        if shape in shapes:
            found.append(shapes[shape])
        else:
            model.remove_result(result)
    missing = [output.name for output in outputs if output not in found]
    if missing or len(found) != len(outputs):
        raise DetectorError(f"{path} is not the expected network: it has no output for {', '.join(missing) or 'each name once'}")
    model.validate_nodes_and_infer_types()
    return {output.name: i for i, output in enumerate(found)}


def _settings(core: ov.Core, runtime: Runtime) -> dict[str, Any]:
    known = core.get_property(runtime.device, "SUPPORTED_PROPERTIES")
    # Left to itself OpenVINO takes bfloat16 or half floats where the chip has them; landmarks then move by pixels.
    wanted: dict[str, Any] = {"INFERENCE_PRECISION_HINT": runtime.precision}
    if runtime.threads is not None:
        wanted["INFERENCE_NUM_THREADS"] = runtime.threads
    settings = {key: value for key, value in wanted.items() if key in known}
    if runtime.cache_dir is not None:
        settings["CACHE_DIR"] = str(runtime.cache_dir)  # belongs to OpenVINO itself, no device lists it
    return settings


def _reason(error: BaseException) -> str:
    """OpenVINO's messages run over many lines of source positions; the last one says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Exception from" not in line]
    return lines[-1] if lines else type(error).__name__

"""Entry of a measuring process: `python -m pose_analyzer.pipeline.workers.child`; started by `WorkerProcess`, not by hand.

It confines itself, warms up if told to, takes one order from its service ("analyze", "stream" or "push"), does it and ends.
An order that fails is answered with an "error" message; the exit status says how it ended.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pose_analyzer.errors import PoseAnalyzerError, WorkerError
from pose_analyzer.pipeline.workers.channel import Channel
from pose_analyzer.pipeline.workers.limits import WorkerLimits, confine, restrict
from shared_utils.errors import SharedUtilsError
from shared_utils.logging import get_logger, redact, setup_logging

if TYPE_CHECKING:
    from pose_analyzer.detection import PoseDetector

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_MEMORY = 0, 70, 65, 71
_log = get_logger(__name__)


def main(words: Sequence[str] | None = None) -> int:
    """Take one order and do it.

    Args:
        words: Flags. Default: those of the process.

    Returns:
        Exit status: 0 done or stopped as asked, 65 the order or its source is wrong, 70 failed, 71 out of memory.
    """
    options = _options(words)
    channel = Channel.of_this_process()
    confine(WorkerLimits(memory_bytes=options.memory_bytes, cpu_s=options.cpu_s, niceness=options.niceness), options.parent)
    setup_logging(options.log_level, json=True)
    try:
        detector = warm_up() if options.warm else None
        channel.send({"type": "ready", "pid": os.getpid()})
        message = channel.receive()
        if message is not None:
            _obey(channel, message[0], detector)
        return EXIT_DONE
    except MemoryError:
        return _give_up(channel, "memory", f"it needed more than the {options.memory_bytes >> 20} MiB that it may use", EXIT_MEMORY)
    except (PoseAnalyzerError, SharedUtilsError) as error:
        return _give_up(channel, "refused", redact(str(error)), EXIT_REFUSED)
    except Exception as error:  # noqa: BLE001  # the last place that can still tell the service
        _log.exception("worker_failed")
        if _is_out_of_memory(error):
            return _give_up(channel, "memory", f"it needed more than the {options.memory_bytes >> 20} MiB that it may use", EXIT_MEMORY)
        return _give_up(channel, "internal", f"measuring failed ({type(error).__name__}); the service's log says more", EXIT_FAILED)


def warm_up() -> PoseDetector:
    """Import what every order needs, and build the default detector of a stream, with one thread: streams share the cores."""
    import cv2
    import numpy as np

    from pose_analyzer.pipeline import Pipeline
    from pose_analyzer.pipeline.stream import make_detector
    from pose_analyzer.settings import load_pose_settings

    started = time.perf_counter()
    cv2.setNumThreads(1)
    settings = load_pose_settings(overrides={"detection.threads": 1})
    detector = make_detector(settings)
    Pipeline(settings, detector=detector)
    # The first run allocates what all later ones use.
    detector.detect([np.zeros((360, 640, 3), np.uint8)])
    # What is loaded now stays for good; a full collection over all of it would cost a frame every few minutes.
    gc.collect()
    gc.freeze()
    _log.debug("warm", duration_s=round(time.perf_counter() - started, 3))
    return detector


def _obey(channel: Channel, order: dict[str, Any], detector: PoseDetector | None) -> None:
    restrict(cpu_s=order.get("cpu_s"), niceness=int(order.get("niceness") or 0))
    match order["type"]:
        case "analyze":
            from pose_analyzer.pipeline.workers import analysis

            analysis.run(channel, order)
        case "stream":
            from pose_analyzer.pipeline.workers import streaming

            streaming.run_stream(channel, order, detector=detector)
        case "push":
            from pose_analyzer.pipeline.workers import pushing

            pushing.run_push(channel, order, detector=detector)
        case other:
            raise WorkerError(f"there is no order {other[:40]!r}; there are analyze, stream and push")


def _give_up(channel: Channel, code: str, detail: str, status: int) -> int:
    channel.send({"type": "error", "code": code, "detail": detail})
    return status


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether libraries that know no `MemoryError` meant one (C++ says bad_alloc, OpenCV "Insufficient memory", FFmpeg ENOMEM)."""
    words = ("bad_alloc", "insufficient memory", "cannot allocate memory", "out of memory", "failed to allocate")
    while error is not None:
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pose_analyzer.pipeline.workers.child", description="One measuring process.")
    parser.add_argument("--parent", type=int, required=True, help="process that it must not outlive")
    parser.add_argument("--memory-bytes", type=int, required=True, help="address space")
    parser.add_argument("--cpu-s", type=int, default=None, help="processor time")
    parser.add_argument("--niceness", type=int, default=0, help="how far it stands back behind others")
    parser.add_argument("--warm", action="store_true", help="build the default detector before the order comes")
    parser.add_argument("--log-level", default="WARNING", help="least severe level that is logged")
    return parser.parse_args(words)


if __name__ == "__main__":
    code = main()
    # Threads that wait for a camera, and libraries that tidy up for long, are not waited for: everything is written.
    sys.stderr.flush()
    os._exit(code)

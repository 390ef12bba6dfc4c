"""The process of one job: an order in JSON comes in on the first line, lines of JSON go out.

Lines out: `{"progress": 0..1, "stage": "..."}` any number of times, then `{"result": ...}` or `{"error": "..."}`.
The process ends when its input does, so that it never outlives the service.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from gpu_optimizer.errors import GpuOptimizerError
from shared_utils.errors import SharedUtilsError


def main() -> int:
    """Do one job.

    Returns:
        Exit status: 0 also when the job failed with a reason, which stands in the last line.
    """
    # What libraries print must not get between the lines.
    out, sys.stdout = sys.stdout, sys.stderr

    def tell(message: dict[str, Any]) -> None:
        out.write(json.dumps(message, allow_nan=False) + "\n")
        out.flush()

    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return 0
    _limit_memory(int(order["memory_bytes"]))
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        tell({"result": _run(order, tell)})
    except (GpuOptimizerError, SharedUtilsError) as error:
        tell({"error": str(error)})
    except MemoryError:
        tell({"error": "it needed more memory than it may take (worker_memory_bytes)"})
    return 0


def _run(order: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    from gpu_optimizer.api import tasks

    def progress(ratio: float, stage: str) -> None:
        tell({"progress": ratio, "stage": stage})

    return tasks.TASKS[order["task"]](order, progress)


def _limit_memory(count: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    # Of data, not of address space: torch with CUDA maps tens of gigabytes that it never touches.
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    count = count if most == resource.RLIM_INFINITY else min(count, most)
    resource.setrlimit(resource.RLIMIT_DATA, (count, most))


def _end_with_input() -> None:
    while sys.stdin.readline():
        pass
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())

"""Measuring in processes of their own: foreign bytes are decoded where a crash, a leak or a hang costs one stream only.

`WorkerPool` hands out `WorkerProcess`es; each takes one order ("analyze", "stream", "push") as its first message.
"""

from pose_analyzer.pipeline.workers.limits import WorkerLimits
from pose_analyzer.pipeline.workers.process import WorkerPool, WorkerProcess

__all__ = ["WorkerLimits", "WorkerPool", "WorkerProcess"]

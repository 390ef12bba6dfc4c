"""Faults that the driver reports as XID events, counted since somebody began to listen."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gpu_optimizer.monitoring.nvml import optional, text_of

_MOST_PER_LOOK = 1000


class XidListener:
    """Registers for XID events of every GPU and counts them; where that is not supported it hears nothing.

    Args:
        nvml: The module `pynvml`, connected.
        indices: Numbers of the GPUs.
    """

    def __init__(self, nvml: Any, indices: range) -> None:
        self._nvml = nvml
        self.counts: Counter[tuple[str, int]] = Counter()
        """(uuid, XID) -> how many."""
        self._events = optional(lambda: nvml.nvmlEventSetCreate())
        self.listens = frozenset(uuid for index in indices if (uuid := self._register(index)) is not None)
        """uuids of the GPUs that report events."""

    def look(self) -> None:
        """Take what has come in since the last look, without waiting."""
        for _ in range(_MOST_PER_LOOK if self.listens else 0):
            # It raises NVMLError_Timeout when there is nothing.
            event = optional(lambda: self._nvml.nvmlEventSetWait_v2(self._events, 0))
            if event is None:
                return
            uuid = optional(lambda event=event: text_of(self._nvml.nvmlDeviceGetUUID(event.device)))
            self.counts[uuid or "unknown", int(event.eventData)] += 1

    def close(self) -> None:
        """Let go of the event set."""
        if self._events is not None:
            optional(lambda: self._nvml.nvmlEventSetFree(self._events))
            self._events = None
        self.listens = frozenset()

    def _register(self, index: int) -> str | None:
        def register() -> str:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self._nvml.nvmlDeviceRegisterEvents(handle, self._nvml.nvmlEventTypeXidCriticalError, self._events)
            return text_of(self._nvml.nvmlDeviceGetUUID(handle))

        return None if self._events is None else optional(register)

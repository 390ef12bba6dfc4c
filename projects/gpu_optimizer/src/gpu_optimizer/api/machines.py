"""Machines by the short names that plans take, without a web framework."""

from __future__ import annotations

from gpu_optimizer.costing import known_machines
from gpu_optimizer.errors import ModelSpecError
from shared_utils.devices import MachineProfile


def machine_profile_of(name: str) -> MachineProfile:
    """The figures of one machine.

    Raises:
        ModelSpecError: It is not known; the text names those that are.

    Example:
        >>> machine_profile_of("l4").memory_gib
        24.0
    """
    known = known_machines()
    if name not in known:
        raise ModelSpecError(f"there is no machine {name[:80]!r}; there are {', '.join(known) or 'none: config/machines.yml is missing'}")
    return known[name]

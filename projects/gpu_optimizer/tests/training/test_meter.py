"""What fits an accelerator is judged on what its allocator reserves; torch's calls are imitated where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpu_optimizer.training.batch_optimizer import _budgets
from gpu_optimizer.training.meter import AcceleratorMeter, HostMeter, meter_for

GIB = 1 << 30
CUDA = torch.device("cuda", 0)


class FakeAllocator:
    """16 GiB, of which another process and the context hold 3; tensors of 2 GiB in segments of 5."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fractions: list[float] = [0.8]
        accelerator: dict[str, Any] = {
            "is_available": lambda: True,
            "synchronize": lambda *_: None,
            "empty_cache": lambda: None,
            "reset_peak_memory_stats": lambda *_: None,
            "max_memory_reserved": lambda _: 5 * GIB,
            "max_memory_allocated": lambda _: 2 * GIB,
            "memory_allocated": lambda _: 2 * GIB,
            "memory_reserved": lambda _: 5 * GIB,
            "get_memory_info": lambda _: (8 * GIB, 16 * GIB),
        }
        cuda: dict[str, Any] = {
            "get_device_properties": lambda _: SimpleNamespace(total_memory=16 * GIB),
            "get_per_process_memory_fraction": lambda _: self.fractions[-1],
            "set_per_process_memory_fraction": lambda value, _: self.fractions.append(value),
        }
        for home, fakes in ((torch.accelerator, accelerator), (torch.cuda, cuda)):
            for name, fake in fakes.items():
                monkeypatch.setattr(home, name, fake, raising=False)


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> FakeAllocator:
    return FakeAllocator(monkeypatch)


def test_the_peak_is_what_was_reserved_not_what_tensors_held(allocator: FakeAllocator) -> None:
    """`max_memory_allocated` says "fits" where the pieces between tensors do not."""
    with meter_for(CUDA, 4 * GIB, []) as meter:
        assert isinstance(meter, AcceleratorMeter)
    assert meter.peak_bytes == 5 * GIB


def test_the_allocator_refuses_at_the_budget_and_is_let_go_after_an_error(allocator: FakeAllocator) -> None:
    def step() -> None:
        with AcceleratorMeter(CUDA, 4 * GIB):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        step()
    assert allocator.fractions == [0.8, 0.25, 0.8]


def test_memory_of_other_processes_and_of_the_context_is_not_promised(allocator: FakeAllocator) -> None:
    """90 % of 16 GiB are 14.4; 8 free and 5 reserved here are 13, so 3 belong to others."""
    step: Any = SimpleNamespace(
        device=CUDA, model=torch.nn.Module(), sample=SimpleNamespace(tensors=lambda: iter([torch.zeros(2)])), target=None
    )
    budget, cap = _budgets(step, None, 0.9)
    assert cap == 13 * GIB
    assert budget == 13 * GIB - (2 * GIB - 8)  # what this process holds beside the step: all but the sample's 8 bytes
    assert _budgets(step, None, 0.5)[1] == 8 * GIB
    assert _budgets(step, GIB, 0.9) == (GIB, GIB + 2 * GIB - 8)


def test_on_a_cpu_storages_are_counted(allocator: FakeAllocator) -> None:
    assert isinstance(meter_for(torch.device("cpu"), 100, []), HostMeter)

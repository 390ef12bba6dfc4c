"""Advice on allocator settings says when they are read and how to record a history; both names of the variable are understood."""

from __future__ import annotations

import pytest
from rich.console import Console

from gpu_optimizer.profiling import AllocatorSimulator, MemorySnapshot, analyze_snapshot
from gpu_optimizer.profiling.fragmentation import snapshot_settings

MIB = 2**20


def _comb() -> AllocatorSimulator:
    allocator = AllocatorSimulator(record=False)
    for number in range(10):
        allocator.alloc(number, 4 * MIB)
    for number in range(0, 10, 2):
        allocator.free(number)
    return allocator


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_settings_are_read_under_the_new_name_and_the_old(name: str) -> None:
    snapshot = MemorySnapshot(segments=(), settings={name: "max_split_size_mb:64,garbage_collection_threshold:0.8"})
    assert snapshot_settings(snapshot).text == "max_split_size_mb:64,garbage_collection_threshold:0.8"


def test_advice_to_set_something_says_that_it_is_read_before_cuda_is_first_used() -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(analyze_snapshot(_comb().snapshot()).table())
    assert "PYTORCH_ALLOC_CONF" in shown.get()
    assert "before CUDA is first used" in shown.get()


def test_a_history_is_asked_for_in_the_form_that_does_not_take_minutes() -> None:
    """torch's own call records stacks of C++ unless told otherwise, and its dumps then take minutes."""
    (advice,) = analyze_snapshot(_comb().snapshot()).advice
    assert "record_history()" in advice.reason
    assert "_record_memory_history" not in advice.reason

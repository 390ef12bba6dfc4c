"""Requests run through the simulated allocator: from tensor lives, from histories, under several settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_optimizer.errors import AllocatorError
from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.replay import Replay, Request, predict_reserved, replay, requests_from_lives, requests_from_snapshot
from gpu_optimizer.profiling.snapshots import load_snapshot

MIB = 2**20


@dataclass
class Life:
    born: int
    died: int | None
    size_bytes: int
    name: str = ""


def test_lives_become_requests_in_the_order_of_their_ticks() -> None:
    lives = [Life(0, None, 20 * MIB), Life(1, 3, 30 * MIB), Life(3, 5, 40 * MIB)]
    result = replay(requests_from_lives(lives))
    # At tick 3 the third is allocated before the second is released: 20, 50, 90, 60, 20 MiB; nothing cached fits 40.
    assert [active // MIB for active in result.active_bytes] == [20, 50, 90, 60, 20]
    assert [reserved // MIB for reserved in result.reserved_bytes] == [20, 50, 90, 90, 90]
    assert result.stats.peak_active_bytes == 90 * MIB


def test_life_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(AllocatorError, match="life 0 ends at tick 1"):
        requests_from_lives([Life(2, 1, 5)])


def test_names_of_lives_reach_the_snapshot() -> None:
    allocator = AllocatorSimulator()
    replay(requests_from_lives([Life(0, None, 512, name="encoder.weight")]), simulator=allocator)
    assert allocator.snapshot()["segments"][0]["blocks"][0]["frames"][0]["name"] == "encoder.weight"


def test_replay_stops_where_memory_runs_out() -> None:
    requests = [Request("alloc", number, 40 * MIB) for number in range(4)]
    result = replay(requests, capacity_bytes=100 * MIB)
    assert result.out_of_memory_at == 2
    assert "no room for" in (result.out_of_memory or "")
    assert len(result.reserved_bytes) == 2


def test_growing_shapes_leave_slivers_that_expandable_segments_avoid() -> None:
    """The case torch's source describes: batch N, then N + 1; each layer has an activation and a weightless copy of it."""
    requests = []
    for round_, size in enumerate((12, 14, 16, 18)):
        requests += [Request("alloc", (round_, layer), size * MIB) for layer in range(8)]
        requests += [Request("free", (round_, layer)) for layer in range(8)]
    default = replay(requests).stats
    expandable = replay(requests, AllocatorSettings(expandable_segments=True)).stats
    # Default: 8 * (12 + 14 + 16 + 18) = 480, since no old segment serves a larger request.
    assert default.peak_reserved_bytes == 480 * MIB
    # Expandable: 8 * 18 = 144, in pieces of 20: 160.
    assert expandable.peak_reserved_bytes == 160 * MIB


def test_replay_round_trips_through_json() -> None:
    result = replay([Request("alloc", 1, 5), Request("free", 1)])
    assert Replay.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_unknown_request_is_refused() -> None:
    with pytest.raises(AllocatorError, match="unknown request 'fly'"):
        replay([Request("fly")])  # pyright: ignore[reportArgumentType]


def test_all_actions_reach_the_allocator() -> None:
    requests = [
        Request("alloc", "a", 16 * MIB),
        Request("record_stream", "a", stream=3),
        Request("free", "a"),
        Request("synchronize"),
        Request("alloc", "b", 4 * MIB, stream=1),
        Request("wait_free", "b"),
        Request("complete", "b"),
        Request("empty_cache"),
    ]
    result = replay(requests)
    assert [active // MIB for active in result.active_bytes] == [16, 16, 16, 0, 4, 4, 0, 0]
    assert result.reserved_bytes[-1] == 0


STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30 * MIB), st.integers(0, 1)), max_size=50)


@given(STEPS)
@settings(max_examples=80, deadline=None)
def test_history_of_a_snapshot_replays_to_the_same_memory(steps: list[tuple[int, int, int]]) -> None:
    original = AllocatorSimulator()
    original.alloc("first", 1)
    for key, size, stream in steps:
        if original.holds(key):
            original.free(key)
        else:
            original.alloc(key, size, stream=stream)
    again = AllocatorSimulator()
    result = replay(requests_from_snapshot(load_snapshot(original.snapshot())), simulator=again)
    stats = original.stats()
    assert result.stats.peak_reserved_bytes == stats.peak_reserved_bytes
    assert again.snapshot()["segments"] == original.snapshot()["segments"]


def test_history_that_begins_late_starts_with_what_was_there() -> None:
    original = AllocatorSimulator()
    original.alloc("weights", 30 * MIB)
    original.alloc("input", 12 * MIB)
    snapshot: dict[str, Any] = original.snapshot()
    late = len(snapshot["device_traces"][0])
    original.alloc("activation", 40 * MIB)
    original.free("input")
    snapshot = original.snapshot()
    snapshot["device_traces"][0] = snapshot["device_traces"][0][late:]
    requests = requests_from_snapshot(load_snapshot(snapshot))
    assert sorted(request.size_bytes for request in requests[:2]) == [12 * MIB, 30 * MIB]
    assert replay(requests).stats.peak_active_bytes == 82 * MIB
    assert replay(requests).stats.allocated_bytes == 70 * MIB


def test_history_without_completed_releases_is_understood() -> None:
    original = AllocatorSimulator()
    for number in range(3):
        original.alloc(number, 12 * MIB)
        original.free(number)
    snapshot = original.snapshot()
    snapshot["device_traces"][0] = [e for e in snapshot["device_traces"][0] if e["action"] != "free_completed"]
    assert replay(requests_from_snapshot(load_snapshot(snapshot))).stats.peak_active_bytes == 12 * MIB


def test_snapshot_without_history_says_how_to_record_one() -> None:
    snapshot = AllocatorSimulator(record=False).snapshot()
    with pytest.raises(AllocatorError, match=r"_record_memory_history\(stacks=\"python\"\)"):
        requests_from_snapshot(load_snapshot(snapshot))


def test_lives_of_an_estimated_step_need_what_the_profile_says() -> None:
    import torch

    from gpu_optimizer.profiling.estimate import estimate_step
    from gpu_optimizer.steps import TrainingStep

    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(300, 700), torch.nn.GELU(), torch.nn.Linear(700, 50))
        sample = torch.empty(64, 300)
    profile = estimate_step(TrainingStep.of(model, sample, optimizer="adamw"), target="cuda")
    # Growing segments split to 512 bytes, so nothing but the rounding is added to what tensors need.
    predicted = predict_reserved(profile.lives, AllocatorSettings(expandable_segments=True))
    assert predicted.stats.peak_active_bytes == profile.peak_bytes
    assert predicted.peak_bytes >= profile.peak_bytes
    assert predict_reserved(profile.lives, capacity_bytes=profile.peak_bytes // 2).out_of_memory
    allocator = AllocatorSimulator()
    replay(requests_from_lives(profile.lives), simulator=allocator)
    names = {frame.name for segment in load_snapshot(allocator.snapshot()).segments for block in segment.blocks for frame in block.frames}
    assert any("0.weight" in name for name in names)

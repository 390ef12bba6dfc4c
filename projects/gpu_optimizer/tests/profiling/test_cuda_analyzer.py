"""Fragmentation reports of snapshots whose numbers are known by construction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gpu_optimizer.errors import SnapshotError
from gpu_optimizer.profiling import cuda_analyzer
from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.cuda_analyzer import FragmentationReport, analyze_snapshot, capture, record_history, restore_allocator
from gpu_optimizer.profiling.fragmentation import NO_STACK, responsible_line
from gpu_optimizer.profiling.snapshots import Frame, load_snapshot

MIB = 2**20
LINEAR = Frame("/venv/lib/python3.11/site-packages/torch/nn/modules/linear.py", 134, "forward")


def stack(line: int, name: str = "forward") -> tuple[Frame, ...]:
    return (Frame("c10/cuda/CUDACachingAllocator.cpp", 0, "malloc"), LINEAR, Frame("/home/me/net.py", line, name))


def comb() -> AllocatorSimulator:
    """Ten blocks of 10 MiB, every second one freed, and two small ones."""
    allocator = AllocatorSimulator()
    for number in range(10):
        allocator.alloc(number, 4 * MIB, frames=stack(number % 2 + 1))  # two segments of 20 MiB, five blocks each
    for number in range(0, 10, 2):
        allocator.free(number)
    allocator.alloc("small", 100_000, frames=stack(9))
    return allocator


def test_sums_of_a_comb_are_those_of_arithmetic() -> None:
    report = analyze_snapshot(comb().snapshot())
    assert report.reserved_bytes == 42 * MIB  # 2 * 20 and a small segment of 2
    assert report.active_bytes == 20 * MIB + 100_352  # ceil(100000 / 512) * 512
    assert report.requested_bytes == 20 * MIB + 100_000
    small_free = 2 * MIB - 100_352
    assert report.free_bytes == 20 * MIB + small_free
    assert report.inactive_split_bytes == 20 * MIB + small_free  # every free block has a neighbour in use
    assert report.largest_free_bytes == 4 * MIB
    assert report.fragmentation_ratio == pytest.approx(1 - 4 * MIB / (20 * MIB + small_free))
    by_name = {pool.name: pool for pool in report.pools}
    assert set(by_name) == {"large", "small"}
    assert by_name["small"].fragmentation_ratio == 0  # one free piece
    assert by_name["large"].fragmentation_ratio == pytest.approx(0.8)  # 20 MiB free in pieces of 4


def test_segment_that_is_free_as_a_whole_can_be_returned() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("x", 40 * MIB)
    allocator.free("x")
    report = analyze_snapshot(allocator.snapshot())
    assert (report.free_bytes, report.inactive_split_bytes, report.fragmentation_ratio) == (40 * MIB, 0, 0)


def test_segments_with_most_free_memory_come_first() -> None:
    allocator = comb()
    allocator.alloc("full", 40 * MIB)
    rows = analyze_snapshot(allocator.snapshot()).segments
    # In the first segment 3 of 5 blocks of 4 MiB are free, in the second 2 of 5.
    assert [(row.pool, row.size_bytes // MIB, row.active_bytes // MIB, row.blocks) for row in rows] == [
        ("large", 20, 8, 5),
        ("large", 20, 12, 5),
        ("small", 2, 0, 2),
        ("large", 40, 40, 1),
    ]
    assert [row.largest_free_bytes // MIB for row in rows] == [4, 4, 1, 0]


def test_memory_is_attributed_to_the_first_line_outside_of_torch() -> None:
    report = analyze_snapshot(comb().snapshot())
    assert [(row.where, row.size_bytes, row.blocks) for row in report.holders] == [
        ("net.py:2 forward", 20 * MIB, 5),
        ("net.py:9 forward", 100_352, 1),
    ]
    assert report.holders[0].stack == ("CUDACachingAllocator.cpp:0 malloc", "linear.py:134 forward", "net.py:2 forward")


def test_further_lines_become_one_row() -> None:
    allocator = AllocatorSimulator()
    for number in range(5):
        allocator.alloc(number, (5 - number) * MIB, frames=stack(number))
    rows = analyze_snapshot(allocator.snapshot(), top=2).holders
    assert [row.where for row in rows] == ["net.py:0 forward", "net.py:1 forward", "(3 more lines)"]
    assert rows[2].blocks == 3


@pytest.mark.parametrize(
    ("frames", "where"),
    [
        ((), NO_STACK),
        ((LINEAR,), "linear.py:134 forward"),
        ((Frame("??", 0, "start"), Frame("train.py", 3, "main")), "train.py:3 main"),
        ((Frame("<frozen runpy>", 88, "_run_code"), Frame("C:\\me\\torch\\x.py", 1, "f"), Frame("a.py", 2, "g")), "a.py:2 g"),
    ],
)
def test_responsible_line(frames: tuple[Frame, ...], where: str) -> None:
    assert responsible_line(frames) == where


@pytest.mark.parametrize(
    ("size", "limit", "outcome", "block", "segment"),
    [
        (4 * MIB, None, "fits", 4 * MIB, 0),
        (5 * MIB, None, "new_segment", 5 * MIB, 20 * MIB),  # free blocks have 4
        (30 * MIB, None, "new_segment", 30 * MIB, 30 * MIB),
        (30 * MIB, 60 * MIB, "out_of_memory", 0, 0),  # 42 reserved, none of it can be returned
        (1000, None, "fits", 1024, 0),
    ],
)
def test_what_a_request_would_meet(size: int, limit: int | None, outcome: str, block: int, segment: int) -> None:
    answer = analyze_snapshot(comb().snapshot()).meets(size, limit_bytes=limit)
    assert (answer.outcome, answer.block_bytes, answer.segment_bytes) == (outcome, block, segment)
    assert answer.sentence


def test_request_that_needs_the_cache_returned_first() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("kept", 30 * MIB)
    allocator.alloc("cached", 30 * MIB)
    allocator.free("cached")
    answer = analyze_snapshot(allocator.snapshot()).meets(40 * MIB, limit_bytes=80 * MIB)
    assert answer.outcome == "after_release"
    assert answer.segment_bytes == 10 * MIB  # 40 taken, 30 given back


def test_wrong_questions_are_refused() -> None:
    report = analyze_snapshot(comb().snapshot())
    with pytest.raises(SnapshotError, match="at least 1"):
        report.meets(0)
    with pytest.raises(SnapshotError, match="are reserved already"):
        report.meets(1, limit_bytes=1)
    with pytest.raises(SnapshotError, match="nothing of device 3, only of 0"):
        analyze_snapshot(comb().snapshot(), device=3)
    read = FragmentationReport.from_dict(report.to_dict())
    with pytest.raises(SnapshotError, match="no snapshot to ask"):
        read.meets(1)
    with pytest.raises(SnapshotError, match="no snapshot to draw"):
        read.plot("x.png")
    with pytest.raises(SnapshotError, match="not the values of a fragmentation report"):
        FragmentationReport.from_dict({"device": 0})


@pytest.mark.parametrize("expandable", [False, True])
def test_restored_allocator_goes_on_as_the_original(expandable: bool) -> None:
    original = AllocatorSimulator(AllocatorSettings(expandable_segments=expandable))
    addresses = {number: original.alloc(number, (number + 3) * MIB) for number in range(8)}
    for number in (1, 2, 5):
        original.free(number)
    restored = restore_allocator(load_snapshot(original.snapshot()), 0)
    assert restored.snapshot()["segments"] == original.snapshot()["segments"]
    for allocator, key in ((original, 3), (restored, addresses[3])):
        allocator.free(key)
        allocator.alloc("next", 11 * MIB)
    assert restored.active_bytes == original.active_bytes
    assert restored.reserved_bytes == original.reserved_bytes
    layouts = [
        [[(block["size"], block["state"]) for block in row["blocks"]] for row in allocator.snapshot()["segments"]]
        for allocator in (original, restored)
    ]
    assert layouts[0] == layouts[1]


def growing_shapes() -> dict[str, Any]:
    """Eight layers at four growing batch sizes: what torch's source gives as the reason for expandable segments."""
    allocator = AllocatorSimulator()
    for round_, size in enumerate((12, 14, 16, 18)):
        for layer in range(8):
            allocator.alloc((round_, layer), size * MIB, frames=stack(layer))
        for layer in range(8):
            allocator.free((round_, layer))
    allocator.alloc("left", 5 * MIB, frames=stack(1))
    return allocator.snapshot()


def test_advice_is_worth_what_the_replay_says() -> None:
    report = analyze_snapshot(growing_shapes())
    best = report.advice[0]
    assert best.setting == "expandable_segments:True"
    assert best.predicted_reserved_bytes == 160 * MIB  # 8 * 18 in pieces of 20
    assert best.gain_bytes == 320 * MIB  # of 8 * (12 + 14 + 16 + 18) = 480
    assert report.replay_check is not None
    assert report.replay_check.predicted_bytes == report.replay_check.recorded_bytes == 480 * MIB


def test_varying_shapes_of_one_line_are_advised_to_be_padded() -> None:
    allocator = AllocatorSimulator()
    for size in range(33, 41):
        allocator.alloc("batch", size * MIB, frames=stack(5))
        allocator.free("batch")
    # Segments of 34, 36, 38 and 40 MiB, each serving two sizes: 148. Eighths between 32 and 64 are 36 and 40: 76.
    report = analyze_snapshot(allocator.snapshot())
    padding = next(advice for advice in report.advice if advice.title == "Pad inputs to a few fixed shapes")
    assert padding.predicted_reserved_bytes == 76 * MIB
    assert padding.gain_bytes == 72 * MIB
    assert "net.py:5 forward: 8 sizes from 33 MiB to 40 MiB" in padding.reason
    assert report.advice[0].predicted_reserved_bytes == 40 * MIB  # segments that grow do better still


def test_advice_that_keeps_memory_from_running_out_comes_first() -> None:
    allocator = AllocatorSimulator(capacity_bytes=100 * MIB)
    for number in range(10):  # pairs of 6 and 4 MiB fill five segments of 20
        allocator.alloc(("long", number), 6 * MIB, frames=stack(1))
        allocator.alloc(("short", number), 4 * MIB, frames=stack(2))
    for number in range(10):
        allocator.free(("short", number))
        if number != 9:
            allocator.free(("long", number))
    allocator.alloc("next", 3 * MIB, frames=stack(3))  # splits the segment of the last long one
    with pytest.raises(MemoryError):
        allocator.alloc("x", 82 * MIB, frames=stack(4))
    snapshot = allocator.snapshot()
    report = analyze_snapshot(snapshot)
    assert report.out_of_memory[0].device_free_bytes + report.out_of_memory[0].reserved_bytes == 100 * MIB
    assert report.advice[0].setting == "expandable_segments:True"
    assert report.advice[0].avoided_ooms == 1
    assert "memory runs out 0 instead of 1 times" in report.advice[0].reason


def test_steady_program_gets_no_advice() -> None:
    allocator = AllocatorSimulator()
    for _ in range(20):
        for layer in range(8):
            allocator.alloc(layer, 16 * MIB, frames=stack(layer))
        for layer in range(8):
            allocator.free(layer)
    assert analyze_snapshot(allocator.snapshot()).advice == ()


def test_emptying_the_cache_in_a_loop_is_noticed() -> None:
    allocator = AllocatorSimulator()
    for _ in range(12):
        allocator.alloc("x", 16 * MIB)
        allocator.free("x")
        allocator.empty_cache()
    (advice,) = analyze_snapshot(allocator.snapshot()).advice
    assert advice.title == "Do not empty the cache in a loop"
    assert "11 segments (176 MiB in all)" in advice.reason


def test_private_pools_and_waiting_blocks_are_noticed() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("graph", 64 * MIB, pool=(0, 1))
    allocator.free("graph")
    allocator.alloc("copy", 32 * MIB)
    allocator.record_stream("copy", 5)
    allocator.free("copy")
    titles = {advice.title for advice in analyze_snapshot(allocator.snapshot()).advice}
    assert {"Let CUDA graphs share one pool", "Release what other streams use by events"} <= titles


def test_without_a_history_the_gain_is_said_to_be_unknown() -> None:
    allocator = AllocatorSimulator(record=False)
    for number in range(10):
        allocator.alloc(number, 4 * MIB)
    for number in range(0, 10, 2):
        allocator.free(number)
    report = analyze_snapshot(allocator.snapshot())
    (advice,) = report.advice
    assert advice.setting == "expandable_segments:True"
    assert advice.gain_bytes is None
    assert "not known" in advice.reason
    assert report.timelines == ()


def out_of_memory(free_every_second: bool) -> dict[str, Any]:
    allocator = AllocatorSimulator(capacity_bytes=100 * MIB)
    for number in range(20):
        allocator.alloc(number, 5 * MIB, frames=stack(number))  # five segments of 20
    if free_every_second:
        for number in range(0, 20, 2):
            allocator.free(number)
    with pytest.raises(MemoryError):
        allocator.alloc("x", 40 * MIB, frames=stack(99, "loss"))
    return allocator.snapshot()


def test_post_mortem_tells_fragmentation_from_a_full_device() -> None:
    (fragmented,) = analyze_snapshot(out_of_memory(True)).out_of_memory
    assert (fragmented.requested_bytes, fragmented.reserved_bytes, fragmented.active_bytes) == (40 * MIB, 100 * MIB, 50 * MIB)
    assert fragmented.reading.startswith("fragmentation: 50 MiB were reserved and free")
    assert fragmented.where == "net.py:99 loss"
    assert len(fragmented.holders) == 10
    (full,) = analyze_snapshot(out_of_memory(False)).out_of_memory
    assert full.reading.startswith("too much in use: 100 MiB are held, and 40 MiB more")


def test_pools_over_time_end_at_the_state_and_keep_the_peak() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("weights", 30 * MIB)
    early = len(allocator.history.entries)
    for step in range(2000):
        allocator.alloc(step, (50 if step == 777 else 10) * MIB)
        allocator.free(step)
    snapshot = allocator.snapshot()
    snapshot["device_traces"][0] = snapshot["device_traces"][0][early:]
    (line,) = analyze_snapshot(snapshot, advice=False).timelines
    assert line.name == "large"
    assert line.active_bytes[0] == 30 * MIB
    assert max(line.active_bytes) == 80 * MIB
    assert len(line.ticks) <= 402


def test_report_round_trips_through_json() -> None:
    for snapshot in (growing_shapes(), out_of_memory(True), comb().snapshot()):
        report = analyze_snapshot(snapshot)
        values = json.loads(json.dumps(report.to_dict()))
        assert FragmentationReport.from_dict(values) == report
        assert values["fragmentation_ratio"] == report.fragmentation_ratio
        assert values["pools"][0]["name"] == report.pools[0].name


def test_table_names_the_line_the_advice_and_the_cause() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(analyze_snapshot(growing_shapes()).table())
    console.print(analyze_snapshot(out_of_memory(True)).table())
    text = console.export_text()
    for part in ("expandable_segments:True", "320 MiB", "net.py:1 forward", "fragmentation: 50 MiB", "+0.0% of what the history shows"):
        assert part in text


def test_picture_is_drawn(tmp_path: Path) -> None:
    path = analyze_snapshot(out_of_memory(True)).plot(tmp_path / "memory.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    empty = analyze_snapshot([])
    assert empty.plot(tmp_path / "empty.svg").exists()
    with pytest.raises(SnapshotError, match="cannot draw"):
        empty.plot(tmp_path / "no" / "folder.png")


def test_without_a_gpu_the_live_calls_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # also where there is one
    with pytest.raises(SnapshotError, match="no CUDA device here"):
        capture()
    with pytest.raises(SnapshotError, match="no CUDA device here"), record_history():
        pass


def two_devices(monkeypatch: pytest.MonkeyPatch, backend: str = "native") -> list[int | None]:
    """A machine with two CUDA devices, as far as torch's answers go; returns what is asked of the history."""
    import torch

    from gpu_optimizer import _torch_private

    devices = [AllocatorSimulator(device=number) for number in range(2)]
    for number, allocator in enumerate(devices):
        allocator.alloc("x", (number + 1) * 30 * MIB, frames=stack(number))
    first, second = (allocator.snapshot() for allocator in devices)
    second["device_traces"][0] = first["device_traces"][0]
    answer = {**second, "segments": first["segments"] + second["segments"]}
    asked: list[int | None] = []
    for name, value in (("is_available", lambda: True), ("init", lambda: None), ("device_count", lambda: 2)):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: backend)
    monkeypatch.setattr(_torch_private, "cuda_memory_snapshot", lambda: answer)
    monkeypatch.setattr(_torch_private, "record_cuda_memory_history", asked.append)
    return asked


def test_capture_keeps_the_device_that_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = two_devices(monkeypatch)
    with record_history(max_entries=77):
        snapshot = capture(1, path=tmp_path / "dump.pickle")
    assert asked == [77, None]
    assert snapshot.devices == (1,)
    assert analyze_snapshot(snapshot).reserved_bytes == 60 * MIB
    assert load_snapshot(tmp_path / "dump.pickle").devices == (0, 1)
    whole = capture()
    assert analyze_snapshot(whole).device == 1  # most memory
    assert analyze_snapshot(whole, device=0).reserved_bytes == 30 * MIB
    with pytest.raises(SnapshotError, match="there are 2 CUDA devices, got 5"):
        capture(5)


def test_history_ends_when_the_program_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = two_devices(monkeypatch)
    with pytest.raises(ZeroDivisionError), record_history():
        raise ZeroDivisionError
    assert asked == [100_000, None]


def test_allocator_without_segments_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    two_devices(monkeypatch, backend="cudaMallocAsync")
    with pytest.raises(SnapshotError, match="keeps no segments to look at"):
        capture()


@pytest.mark.gpu
def test_capture_on_a_gpu(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with record_history():
        tensor = torch.empty(7 * MIB, dtype=torch.uint8, device="cuda")
        snapshot = capture(tensor.device.index, path=tmp_path / "dump.pickle")
    report = analyze_snapshot(snapshot)
    assert report.reserved_bytes == torch.cuda.memory_reserved()
    assert report.active_bytes == torch.cuda.memory_allocated()
    assert any("test_cuda_analyzer.py" in row.where for row in report.holders)
    assert cuda_analyzer.load_snapshot(tmp_path / "dump.pickle").segments

"""Snapshots in torch's format: read exactly, refused clearly, never run."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_optimizer.errors import SnapshotError
from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.snapshots import Frame, load_snapshot, save_snapshot

MIB = 2**20
FRAMES = [{"filename": "/home/me/model.py", "line": 7, "name": "forward"}]


def official() -> dict[str, Any]:
    """One snapshot with every part of the schema in torch/cuda/memory.py, written by hand."""
    return {
        "segments": [
            {
                "device": 0,
                "address": 4096,
                "total_size": 2 * MIB,
                "allocated_size": 1024,
                "active_size": 1536,
                "requested_size": 1400,
                "stream": 0,
                "segment_type": "small",
                "segment_pool_id": (0, 3),
                "is_expandable": True,
                "frames": FRAMES,
                "blocks": [
                    {"address": 4096, "size": 1024, "requested_size": 1000, "state": "active_allocated", "frames": FRAMES},
                    {"address": 5120, "size": 512, "requested_size": 400, "state": "active_pending_free", "frames": FRAMES},
                    {"address": 5632, "size": 2 * MIB - 1536, "requested_size": 0, "state": "inactive", "frames": []},
                ],
            }
        ],
        "device_traces": [
            [
                {"action": "segment_map", "addr": 4096, "size": 2 * MIB, "stream": 0, "time_us": 1, "frames": FRAMES, "pool_id": (0, 3)},
                {"action": "alloc", "addr": 4096, "size": 1000, "stream": 0, "time_us": 2, "frames": FRAMES, "pool_id": (0, 3)},
                {"action": "oom", "device_free": 99, "size": 123, "stream": 0, "time_us": 3, "frames": [], "pool_id": (0, 0)},
                {"action": "snapshot", "addr": 0, "size": 1536, "stream": 0, "time_us": 4, "frames": []},
            ]
        ],
        "allocator_settings": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "expandable_segments": True},
        "external_annotations": [],
    }


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("trusted", [False, True])
def test_pickle_of_every_protocol_is_read(tmp_path: Path, protocol: int, trusted: bool) -> None:
    path = write(tmp_path, pickle.dumps(official(), protocol=protocol))
    snapshot = load_snapshot(path, trusted=trusted)
    (segment,) = snapshot.segments
    assert (segment.device, segment.address, segment.size_bytes, segment.small, segment.expandable) == (0, 4096, 2 * MIB, True, True)
    assert segment.pool_id == (0, 3)
    assert [block.state for block in segment.blocks] == ["active_allocated", "active_awaiting_free", "inactive"]
    assert [block.requested_bytes for block in segment.blocks] == [1000, 400, 0]
    assert (segment.allocated_bytes, segment.active_bytes, segment.free_bytes) == (1024, 1536, 2 * MIB - 1536)
    assert segment.blocks[0].frames == (Frame("/home/me/model.py", 7, "forward"),)
    assert [event.action for event in snapshot.trace(0)] == ["segment_map", "alloc", "oom", "snapshot"]
    assert snapshot.trace(0)[2].device_free_bytes == 99
    assert snapshot.settings["expandable_segments"] is True
    assert snapshot.devices == (0,)


def test_json_bytes_dictionary_and_list_of_segments_say_the_same(tmp_path: Path) -> None:
    expected = load_snapshot(official())
    path = save_snapshot(official(), tmp_path / "snapshot.json")
    assert load_snapshot(path) == expected
    assert load_snapshot(json.dumps(official()).encode()) == expected
    assert load_snapshot(pickle.dumps(official())) == expected
    assert load_snapshot(official()["segments"]).segments == expected.segments
    assert load_snapshot(save_snapshot(official(), tmp_path / "snapshot.pickle")) == expected
    assert load_snapshot(expected) is expected


def test_format_of_torch_2_0_is_read() -> None:
    row = official()["segments"][0]
    for block in row["blocks"]:
        history = [{"addr": 1, "real_size": block.pop("requested_size"), "frames": block.pop("frames")}]
        del block["address"]
        if block["state"] != "inactive":
            block["history"] = history
    segment = load_snapshot([row]).segments[0]
    assert [block.requested_bytes for block in segment.blocks] == [1000, 400, 0]
    assert segment.blocks[1].address == 5120
    assert segment.blocks[0].frames[0].line == 7


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("trusted", [False, True])
def test_pickle_that_runs_a_program_is_refused_and_runs_nothing(tmp_path: Path, protocol: int, trusted: bool) -> None:
    trace = tmp_path / "was_here"
    content = pickle.dumps({"segments": [], "device_traces": [Bomb(trace)]}, protocol=protocol)
    with pytest.raises(SnapshotError, match="could run a program"):
        load_snapshot(content, trusted=trusted)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",  # GLOBAL and REDUCE by hand
        b"(ios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pname\n.",  # PERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
    ],
)
def test_operations_beyond_plain_values_are_unknown(content: bytes) -> None:
    with pytest.raises(SnapshotError):
        load_snapshot(content)


def test_memo_of_a_hostile_pickle_takes_no_memory() -> None:
    tracemalloc.start()
    snapshot = load_snapshot(b"\x80\x02]r\xff\xff\xff\x7f.")  # an empty list, remembered as number 2**31 - 1
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert snapshot.segments == ()
    assert peak_bytes < MIB


def test_lists_nested_into_each_other_are_refused_shortly() -> None:
    value: Any = []
    for _ in range(60):
        value = [value, value]  # 2**60 lists if written out
    row = official()
    row["segments"][0]["segment_type"] = value
    with pytest.raises(SnapshotError, match="segment_type") as caught:
        load_snapshot(pickle.dumps(row))
    assert len(str(caught.value)) < 1000


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        load_snapshot(content)
    except SnapshotError:
        return


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused(position: int, byte: int) -> None:
    content = bytearray(pickle.dumps(official()))
    content[position % len(content)] = byte
    try:
        load_snapshot(bytes(content))
    except SnapshotError:
        return


def change(path: list[Any], value: Any) -> dict[str, Any]:
    """The snapshot with one value replaced."""
    snapshot: Any = official()
    place = snapshot
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return snapshot


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["segments"], 3, "segments: expected a list, got int"),
        (["segments", 0], "x", r"segments\[0\]: expected a dictionary"),
        (["segments", 0, "total_size"], 5, "its blocks have 2097152 bytes together, but total_size is 5"),
        (["segments", 0, "address"], -1, r"segments\[0\]\.address: expected a whole number"),
        (["segments", 0, "address"], True, r"segments\[0\]\.address: expected a whole number"),
        (["segments", 0, "segment_type"], "huge", "expected one of large, small"),
        (["segments", 0, "segment_pool_id"], (1,), "two whole numbers"),
        (["segments", 0, "blocks", 1, "state"], "lost", r"segments\[0\]\.blocks\[1\]\.state"),
        (["segments", 0, "blocks", 1, "state"], ["inactive"], r"segments\[0\]\.blocks\[1\]\.state"),
        (["segments", 0, "blocks", 1, "address"], 7, "expected 5120, the end of the block before it"),
        (["segments", 0, "blocks", 0, "frames"], [1], r"frames\[0\]: expected a dictionary"),
        (["segments", 0, "blocks", 0, "frames"], [{"name": 3}], "must be texts"),
        (["device_traces"], None, "device_traces: expected a list"),
        (["device_traces", 0, 1, "action"], "explode", r"device_traces\[0\]\[1\]\.action"),
        (["device_traces", 0, 1, "size"], 1.5, r"device_traces\[0\]\[1\]\.size"),
    ],
)
def test_wrong_values_are_refused_with_their_place(path: list[Any], value: Any, problem: str) -> None:
    with pytest.raises(SnapshotError, match=problem):
        load_snapshot(change(path, value))


def test_what_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="no memory snapshot"):
        load_snapshot({"weights": 1})
    with pytest.raises(SnapshotError, match="no valid JSON"):
        load_snapshot(b"{" * 100_000)
    with pytest.raises(SnapshotError, match="cannot read"):
        load_snapshot(tmp_path / "missing.pickle")
    with pytest.raises(SnapshotError, match="more than the 100 that are read"):
        load_snapshot(write(tmp_path, pickle.dumps(official())), max_bytes=100)
    with pytest.raises(SnapshotError, match="cannot write"):
        save_snapshot(official(), tmp_path / "no" / "such" / "folder.json")


@pytest.fixture
def simulated() -> dict[str, Any]:
    """A predicted snapshot with splits, a pending block, two streams, a private pool, an OOM and expandable pieces."""
    allocator = AllocatorSimulator(AllocatorSettings(expandable_segments=True), capacity_bytes=200 * MIB)
    frames = (Frame("/home/me/model.py", 7, "forward"), Frame("/home/me/train.py", 3, "main"))
    for number, size in enumerate((1000, 30 * MIB, 50 * MIB, 3 * MIB)):
        allocator.alloc(number, size, frames=frames, stream=number % 2, pool=(0, 0) if number < 3 else (0, 1))
    allocator.record_stream(1, 9)
    allocator.free(1)
    allocator.free(2)
    allocator.empty_cache()
    with pytest.raises(MemoryError):
        allocator.alloc("too much", 500 * MIB)
    return allocator.snapshot()


def test_predicted_snapshot_is_read_back(simulated: dict[str, Any]) -> None:
    snapshot = load_snapshot(pickle.dumps(simulated))
    for row, segment in zip(simulated["segments"], snapshot.segments, strict=True):
        assert row["allocated_size"] == segment.allocated_bytes
        assert row["active_size"] == segment.active_bytes
    assert snapshot.trace(0)[-1].action == "oom"


def test_torchs_own_viewer_opens_a_predicted_snapshot(simulated: dict[str, Any]) -> None:
    from torch.cuda import _memory_viz

    def as_lines(text: str) -> str:  # stands for flamegraph.pl, which would be downloaded
        return text

    assert "total_reserved" in _memory_viz.segsum(simulated)
    history = _memory_viz.trace(simulated)
    assert "OutOfMemoryError # 500.0MiB requested" in history
    assert "forward" in _memory_viz.segments(simulated, as_lines)
    assert "model.py:7:forward" in _memory_viz.memory(simulated, as_lines)
    for page in (
        _memory_viz.trace_plot(simulated),
        _memory_viz.trace_plot(simulated, plot_segments=True),
        _memory_viz.segment_plot(simulated),
    ):
        assert "MemoryViz" in page


def test_torchs_sums_of_a_predicted_snapshot_are_ours(simulated: dict[str, Any]) -> None:
    from torch.cuda import _memory_viz

    reserved = sum(segment.size_bytes for segment in load_snapshot(simulated).segments)
    assert f"total_reserved: {_memory_viz.Bytes(reserved)}" in _memory_viz.segsum(simulated)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 50 * MIB), st.booleans()), max_size=40), st.booleans())
@settings(max_examples=50, deadline=None)
def test_torch_adds_up_every_predicted_snapshot(steps: list[tuple[int, int, bool]], expandable: bool) -> None:
    """`segsum` of torch compares the bytes of each segment with those of its blocks, and all of them with each other."""
    from torch.cuda import _memory_viz

    allocator = AllocatorSimulator(AllocatorSettings(expandable_segments=expandable))
    for key, size, elsewhere in steps:
        if allocator.holds(key):
            if elsewhere:
                allocator.record_stream(key, 5)
            allocator.free(key)
        else:
            allocator.synchronize()
            allocator.alloc(key, size, stream=int(elsewhere))
    assert f"segments: {len(allocator.segments())}" in _memory_viz.segsum(allocator.snapshot())

"""The allocator's rules on cases computed by hand, and properties that hold for every list of requests."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_optimizer.errors import AllocatorError, SimulatedOutOfMemoryError
from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings

KIB, MIB = 2**10, 2**20
EXPANDABLE = AllocatorSettings(expandable_segments=True)


def layout(allocator: AllocatorSimulator) -> list[list[tuple[int, bool]]]:
    """Size and use of every block of every segment."""
    return [[(block.size, block.allocated) for block in chain] for chain in allocator.segments()]


@pytest.mark.parametrize(
    ("requested", "block"),
    [
        (1, 512),  # at least one unit of 512
        (512, 512),
        (513, 1024),  # ceil(513 / 512) = 2 units
        (1_000_000, 1_000_448),  # ceil(1e6 / 512) = 1954 units; 1954 * 512
    ],
)
def test_requests_are_rounded_up_to_512_bytes(requested: int, block: int) -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("x", requested)
    assert allocator.allocated_bytes == block
    assert allocator.requested_bytes == requested


@pytest.mark.parametrize(
    ("requested", "segment"),
    [
        (1 * MIB, 2 * MIB),  # up to 1 MiB: small pool, segments of 2 MiB
        (1 * MIB + 1, 20 * MIB),  # above: large pool, a segment of 20 MiB
        (10 * MIB - 512, 20 * MIB),  # still below 10 MiB
        (10 * MIB, 10 * MIB),  # from 10 MiB: a segment of its own, multiples of 2 MiB
        (11 * MIB, 12 * MIB),
        (100 * MIB + 1, 102 * MIB),
    ],
)
def test_segment_size_follows_the_request(requested: int, segment: int) -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("x", requested)
    assert allocator.reserved_bytes == segment


def test_small_requests_share_a_segment_until_it_is_full() -> None:
    allocator = AllocatorSimulator()
    for number in range(4):  # 4 * 512 KiB fill 2 MiB
        allocator.alloc(number, 512 * KIB)
    assert allocator.reserved_bytes == 2 * MIB
    allocator.alloc(4, 512)
    assert allocator.reserved_bytes == 4 * MIB


def test_large_block_is_split_only_when_more_than_1_mib_is_left() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("a", 9 * MIB)  # segment 20, rest 11
    allocator.alloc("b", 9 * MIB)  # takes 9 of 11, rest 2 > 1: split again
    assert layout(allocator) == [[(9 * MIB, True), (9 * MIB, True), (2 * MIB, False)]]
    allocator.alloc("c", MIB + 512)  # takes 1 MiB + 512 of 2, rest 1 MiB - 512 is not more than 1 MiB: whole block
    assert layout(allocator) == [[(9 * MIB, True), (9 * MIB, True), (2 * MIB, True)]]
    assert allocator.allocated_bytes == 20 * MIB  # what is not split counts as allocated
    assert allocator.requested_bytes == 19 * MIB + 512


def test_rest_of_exactly_1_mib_is_not_split_off() -> None:
    allocator = AllocatorSimulator()
    for name, size in (("a", 7), ("b", 7), ("c", 5)):  # 20 - 7 - 7 = 6; 6 - 5 = 1
        allocator.alloc(name, size * MIB)
    assert layout(allocator) == [[(7 * MIB, True), (7 * MIB, True), (6 * MIB, True)]]


def test_small_block_is_split_down_to_512_bytes() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("a", MIB)
    allocator.alloc("b", MIB - 512)
    assert layout(allocator) == [[(MIB, True), (MIB - 512, True), (512, False)]]


def test_best_fit_takes_the_smallest_block_that_is_large_enough() -> None:
    allocator = AllocatorSimulator()
    for name, size in (("a", 30), ("b", 12), ("c", 20)):
        allocator.alloc(name, size * MIB)
    for name in "abc":
        allocator.free(name)
    address = allocator.alloc("x", 18 * MIB)  # 20 is the smallest that fits; 2 MiB are left and split off
    assert address == allocator.segments()[2][0].address
    assert layout(allocator)[2] == [(18 * MIB, True), (2 * MIB, False)]
    assert allocator.reserved_bytes == 62 * MIB


def test_freed_neighbours_become_one_block() -> None:
    allocator = AllocatorSimulator()
    for name in "abc":
        allocator.alloc(name, 4 * MIB)  # one segment: 4 4 4 and 8 left
    allocator.free("a")
    allocator.free("c")  # joins the 8 behind it
    assert layout(allocator) == [[(4 * MIB, False), (4 * MIB, True), (12 * MIB, False)]]
    allocator.free("b")
    assert layout(allocator) == [[(20 * MIB, False)]]


def test_stream_does_not_use_blocks_of_another_stream() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("a", 16 * MIB, stream=0)
    allocator.free("a")
    allocator.alloc("b", 16 * MIB, stream=1)
    assert allocator.reserved_bytes == 32 * MIB
    allocator.alloc("c", 16 * MIB, stream=0)
    assert allocator.reserved_bytes == 32 * MIB


def test_block_used_by_another_stream_stays_active_until_that_stream_is_done() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("a", 16 * MIB)
    allocator.record_stream("a", 7)
    allocator.free("a")
    assert (allocator.allocated_bytes, allocator.active_bytes) == (0, 16 * MIB)
    allocator.alloc("b", 16 * MIB)  # cannot use it
    assert allocator.reserved_bytes == 32 * MIB
    allocator.synchronize()
    assert allocator.active_bytes == 16 * MIB
    allocator.alloc("c", 16 * MIB)
    assert allocator.reserved_bytes == 32 * MIB


def test_private_pool_keeps_its_memory_to_itself() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("graph", 16 * MIB, pool=(0, 1))
    allocator.free("graph")
    allocator.alloc("eager", 16 * MIB)
    assert allocator.reserved_bytes == 32 * MIB
    allocator.empty_cache()  # the graph may be replayed: its segment stays
    assert allocator.reserved_bytes == 32 * MIB
    allocator.release_pool((0, 1))
    allocator.empty_cache()
    assert allocator.reserved_bytes == 16 * MIB


def test_empty_cache_returns_whole_segments_only() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("kept", 2 * MIB)  # in a segment of 20
    allocator.alloc("gone", 40 * MIB)
    allocator.free("gone")
    allocator.empty_cache()
    assert allocator.reserved_bytes == 20 * MIB
    assert allocator.stats().inactive_split_bytes == 18 * MIB


def test_cache_is_given_back_before_memory_runs_out() -> None:
    allocator = AllocatorSimulator(capacity_bytes=100 * MIB)
    for number in range(5):
        allocator.alloc(number, 20 * MIB)
    for number in range(5):
        allocator.free(number)
    allocator.alloc("large", 90 * MIB)  # no cached block of 20 serves it; all five go back first
    assert allocator.reserved_bytes == 90 * MIB
    assert allocator.stats().alloc_retries == 1
    assert allocator.stats().device_frees == 5


def test_out_of_memory_names_the_free_pieces() -> None:
    allocator = AllocatorSimulator(capacity_bytes=100 * MIB)
    for number in range(5):
        allocator.alloc(number, 20 * MIB)
    for number in (0, 2, 4):
        allocator.free(number)  # 60 MiB free, in three segments of 20 that are given back
    allocator.alloc("a", 60 * MIB)
    with pytest.raises(SimulatedOutOfMemoryError, match=r"no room for 1048577 bytes \(a segment of 20971520\)"):
        allocator.alloc("b", MIB + 1)
    assert allocator.stats().ooms == 1
    assert allocator.history.entries[-1]["action"] == "oom"


def test_memory_fraction_is_a_lower_limit() -> None:
    allocator = AllocatorSimulator(AllocatorSettings(memory_fraction=0.5), capacity_bytes=100 * MIB)
    allocator.alloc("a", 40 * MIB)
    with pytest.raises(SimulatedOutOfMemoryError):
        allocator.alloc("b", 12 * MIB)


def test_limit_on_splitting_keeps_large_blocks_whole() -> None:
    allocator = AllocatorSimulator(AllocatorSettings.parse("max_split_size_mb:32"))
    allocator.alloc("large", 64 * MIB)
    allocator.free("large")
    allocator.alloc("small", 12 * MIB)  # below the limit: may not take the block of 64
    assert allocator.reserved_bytes == 76 * MIB
    allocator.alloc("near", 50 * MIB)  # at most 20 MiB smaller than the block: takes it whole
    assert allocator.reserved_bytes == 76 * MIB
    allocator.free("near")
    allocator.alloc("far", 44 * MIB)  # 64 >= 44 + 20: may not
    assert allocator.reserved_bytes == 120 * MIB


def test_limit_on_splitting_gives_oversize_blocks_back_first() -> None:
    allocator = AllocatorSimulator(AllocatorSettings.parse("max_split_size_mb:32"), capacity_bytes=100 * MIB)
    allocator.alloc("large", 64 * MIB)
    allocator.alloc("cached", 20 * MIB)
    allocator.free("large")
    allocator.free("cached")
    allocator.alloc("far", 40 * MIB)  # 64 + 20 + 40 > 100: the block of 64 goes, the one of 20 stays cached
    assert allocator.reserved_bytes == 60 * MIB
    assert allocator.stats().alloc_retries == 0


def test_limit_on_splitting_gives_several_oversize_blocks_back() -> None:
    allocator = AllocatorSimulator(AllocatorSettings.parse("max_split_size_mb:32"), capacity_bytes=140 * MIB)
    for name, size in (("a", 34), ("b", 36), ("c", 40), ("small", 20)):
        allocator.alloc(name, size * MIB)
        allocator.free(name)
    # 130 are reserved. No single block has 70, so the largest go until 70 are reached: 40 and 36; 34 and 20 stay.
    allocator.alloc("x", 70 * MIB)
    assert allocator.reserved_bytes == (34 + 20 + 70) * MIB
    assert allocator.stats().alloc_retries == 0
    with pytest.raises(SimulatedOutOfMemoryError):  # 34 are not enough: the whole cache goes, in vain
        allocator.alloc("y", 90 * MIB)
    assert allocator.reserved_bytes == 70 * MIB


def test_end_of_an_expandable_segment_is_returned() -> None:
    allocator = AllocatorSimulator(EXPANDABLE)
    allocator.alloc("kept", 30 * MIB)
    allocator.alloc("gone", 45 * MIB)  # 30-75; mapped 0-80
    allocator.free("gone")
    allocator.empty_cache()  # of the free 30-80 the pieces 40-60 and 60-80 are whole
    assert allocator.reserved_bytes == 40 * MIB
    assert layout(allocator) == [[(30 * MIB, True), (10 * MIB, False)]]


def test_middle_of_a_free_range_is_returned_and_both_rests_stay() -> None:
    allocator = AllocatorSimulator(EXPANDABLE)
    for name, size in (("a", 10), ("b", 60), ("c", 10)):  # 0-10, 10-70, 70-80; mapped 0-80
        allocator.alloc(name, size * MIB)
    allocator.free("b")
    allocator.empty_cache()  # of 10-70 the pieces 20-40 and 40-60 are whole
    assert allocator.reserved_bytes == 40 * MIB
    assert layout(allocator) == [[(10 * MIB, True), (10 * MIB, False)], [(10 * MIB, False), (10 * MIB, True)]]


def test_garbage_collection_returns_what_was_left_alone_longest() -> None:
    config = AllocatorSettings(garbage_collection_threshold=0.5, memory_fraction=1.0)
    allocator = AllocatorSimulator(config, capacity_bytes=100 * MIB)
    allocator.alloc("old", 30 * MIB)
    allocator.alloc("new", 32 * MIB)
    allocator.alloc("other", 12 * MIB, stream=1)
    allocator.free("old")
    for _ in range(4):  # each search of the large pool makes the free block older
        allocator.free("other")
        allocator.alloc("other", 12 * MIB, stream=1)
    allocator.free("new")
    # Reserved are 30 + 32 + 12 = 74, so at least 24 must go; ages are 5 and 1 searches, the mean is 3: the 30 go, and suffice.
    allocator.alloc("x", 34 * MIB)
    assert allocator.reserved_bytes == (32 + 12 + 34) * MIB


def test_garbage_collection_without_a_memory_fraction_does_nothing() -> None:
    allocator = AllocatorSimulator(AllocatorSettings(garbage_collection_threshold=0.1), capacity_bytes=100 * MIB)
    allocator.alloc("a", 30 * MIB)
    allocator.free("a")
    allocator.alloc("b", 40 * MIB)
    assert allocator.reserved_bytes == 70 * MIB


@pytest.mark.parametrize(
    ("requested", "block"),
    [
        (5 * MIB, 5 * MIB),  # steps of 1 MiB between 4 and 8
        (5 * MIB + 1, 6 * MIB),
        (7 * MIB + 1, 8 * MIB),
        (8 * MIB, 8 * MIB),  # a power of two stays
        (1200, 1536),  # at most 4 * 512: only rounded to 512
        (2049, 2560),  # steps of 512 between 2048 and 4096
    ],
)
def test_roundup_power2_divisions(requested: int, block: int) -> None:
    allocator = AllocatorSimulator(AllocatorSettings.parse("roundup_power2_divisions:4"))
    allocator.alloc("x", requested)
    assert allocator.segments()[0][0].requested == requested
    assert AllocatorSettings.parse("roundup_power2_divisions:4").round_size(requested) == block


def test_divisions_can_differ_by_size() -> None:
    config = AllocatorSettings.parse("roundup_power2_divisions:[8:2,32:4,>:1]")
    assert config.roundup_power2_divisions[:7] == (2, 2, 2, 2, 0, 4, 1)
    assert config.round_size(9 * MIB) == 12 * MIB  # 8 to 16 in two steps
    assert config.round_size(17 * MIB) == 17 * MIB  # 16 is not named: no rounding


@pytest.mark.parametrize(
    ("text", "by_mib"),
    [
        ("[64:8,128:2,256:4,512:2,1024:4,>:1]", {32: 8, 64: 8, 128: 2, 256: 4, 512: 2, 1024: 4, 2048: 1, 4096: 1, 8192: 1}),
        ("[128:8,256:16,512:1,2048:8,>:2]", {64: 8, 128: 8, 256: 16, 512: 1, 1024: 0, 2048: 8, 4096: 2}),
        ("4", {64: 4, 256: 4, 2048: 4}),
    ],
)
def test_divisions_are_those_of_torchs_own_test(text: str, by_mib: dict[int, int]) -> None:
    """Expectations of c10/test/core/AllocatorConfig_test.cpp."""
    steps = AllocatorSettings.parse(f"roundup_power2_divisions:{text}").roundup_power2_divisions
    assert {size: steps[size.bit_length() - 1] for size in by_mib} == by_mib


def test_expandable_segment_grows_by_20_mib_and_is_shared_by_all_sizes() -> None:
    allocator = AllocatorSimulator(EXPANDABLE)
    allocator.alloc("a", 12 * MIB)  # maps 20
    assert allocator.reserved_bytes == 20 * MIB
    allocator.alloc("b", 12 * MIB)  # 8 are left: maps 20 more, 16 left
    assert allocator.reserved_bytes == 40 * MIB
    assert layout(allocator) == [[(12 * MIB, True), (12 * MIB, True), (16 * MIB, False)]]
    allocator.free("a")
    allocator.free("b")
    allocator.alloc("c", 36 * MIB)  # one block of 36, which two segments of 12 could not give
    assert allocator.reserved_bytes == 40 * MIB


def test_end_of_an_expandable_segment_is_used_last() -> None:
    allocator = AllocatorSimulator(EXPANDABLE)
    hole = allocator.alloc("hole", 15 * MIB)
    allocator.alloc("kept", 35 * MIB)  # 0-15, 15-50; mapped 0-60, so 10 are free at the end
    allocator.free("hole")
    # The 10 at the end would fit best, but they can grow; the hole of 15 cannot.
    assert allocator.alloc("x", 8 * MIB) == hole


def test_expandable_segment_returns_whole_pieces_from_its_middle() -> None:
    allocator = AllocatorSimulator(EXPANDABLE)
    for name in "abc":
        allocator.alloc(name, 30 * MIB)  # 0-30, 30-60, 60-90; mapped 0-100
    allocator.free("b")
    allocator.empty_cache()  # of 30-60 the piece 40-60 is whole; of 90-100 none
    assert allocator.reserved_bytes == 80 * MIB
    assert [sum(size for size, _ in chain) for chain in layout(allocator)] == [40 * MIB, 40 * MIB]
    allocator.alloc("d", 28 * MIB)  # fits again where it was: 30-60 with the piece 40-60 mapped anew
    assert allocator.reserved_bytes == 100 * MIB
    assert [size for size, _ in layout(allocator)[0]] == [30 * MIB, 28 * MIB, 2 * MIB, 30 * MIB, 10 * MIB]


def test_expandable_segments_serve_what_fragments_cannot() -> None:
    def run(config: AllocatorSettings) -> AllocatorSimulator:
        allocator = AllocatorSimulator(config, capacity_bytes=100 * MIB)
        for number in range(10):
            allocator.alloc(number, 10 * MIB)
        for number in range(0, 10, 2):
            allocator.free(number)
        return allocator

    pieces = run(EXPANDABLE)
    # 50 MiB are free in holes of 10; the pieces of 20 hold a live block each, so not even these can be returned.
    with pytest.raises(SimulatedOutOfMemoryError):
        pieces.alloc("x", 40 * MIB)
    # Ordinary segments of 10 are each free as a whole and go back to the driver.
    ordinary = run(AllocatorSettings())
    ordinary.alloc("x", 40 * MIB)
    assert ordinary.reserved_bytes == 90 * MIB


def test_constants_can_be_changed() -> None:
    allocator = AllocatorSimulator(AllocatorSettings.parse("large_segment_size_mb:12"))
    allocator.alloc("x", 3 * MIB)
    assert allocator.reserved_bytes == 12 * MIB


@pytest.mark.parametrize(
    "text",
    [
        "expandable_segments:True",
        "max_split_size_mb:64,garbage_collection_threshold:0.8",
        "roundup_power2_divisions:[1:2,2:2,4:2,8:2,16:4,32:4,64:4,128:4,256:1,512:1,1024:1,2048:1,4096:1,8192:1,16384:1,32768:1]",
        "large_segment_size_mb:32,max_non_split_rounding_mb:10,per_process_memory_fraction:0.5",
        "",
    ],
)
def test_settings_text_is_read_back_equal(text: str) -> None:
    config = AllocatorSettings.parse(text)
    assert AllocatorSettings.parse(config.text) == config


def test_settings_that_change_no_device_memory_are_passed_over() -> None:
    assert AllocatorSettings.parse("backend:native, pinned_use_background_threads:True,") == AllocatorSettings()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_split_size_mb:10", "max_split_bytes: expected at least the large segment"),
        ("max_split_size_mb:many", "max_split_size_mb: cannot use 'many'"),
        ("expandable_segments:perhaps", "True or False"),
        ("expandable_segments:true", "True or False"),
        ("max_split_size_mb:20,large_segment_size_mb:25", "max_split_bytes: expected at least the large segment"),
        ("roundup_power2_divisions:[64:8", "cannot read"),
        ("max_split_size_mb:", "cannot read"),
        ("garbage_collection_threshold:1.5", "a share below 1"),
        ("roundup_power2_divisions:3", "powers of two"),
        ("roundup_power2_divisions:[3:2]", "3 is no power of two"),
        ("speed:fast", "unknown allocator setting 'speed'"),
        ("expandable_segments", "expected key:value"),
        ("per_process_memory_fraction:0", "above 0"),
        ("large_segment_size_mb:5", "a segment must hold the largest request"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(AllocatorError, match=problem):
        AllocatorSettings.parse(text)


def test_wrong_use_is_refused() -> None:
    allocator = AllocatorSimulator()
    allocator.alloc("x", 1)
    with pytest.raises(AllocatorError, match="'x' is held already"):
        allocator.alloc("x", 1)
    with pytest.raises(AllocatorError, match="at least 0 bytes"):
        allocator.alloc("y", -1)
    with pytest.raises(AllocatorError, match="nothing is held under 'z'"):
        allocator.record_stream("z", 1)
    with pytest.raises(AllocatorError, match="capacity_bytes"):
        AllocatorSimulator(capacity_bytes=0)
    with pytest.raises(AllocatorError, match="a share of what"):
        AllocatorSimulator(AllocatorSettings(memory_fraction=0.5))


def test_empty_request_takes_nothing() -> None:
    allocator = AllocatorSimulator()
    assert allocator.alloc("x", 0) == 0
    allocator.free("x")
    assert allocator.reserved_bytes == 0


SIZES = st.one_of(st.integers(1, 4 * KIB), st.integers(1, 2 * MIB), st.integers(1, 40 * MIB))
STEPS = st.lists(st.tuples(st.integers(0, 9), SIZES, st.integers(0, 1)), max_size=60)
CONFIGS = st.sampled_from(
    [
        AllocatorSettings(),
        EXPANDABLE,
        AllocatorSettings.parse("max_split_size_mb:24"),
        AllocatorSettings.parse("roundup_power2_divisions:8"),
        AllocatorSettings.parse("expandable_segments:True,roundup_power2_divisions:4"),
        AllocatorSettings(garbage_collection_threshold=0.3, memory_fraction=0.9),
    ]
)


def drive(allocator: AllocatorSimulator, steps: list[tuple[int, int, int]]) -> None:
    """Alternate: a key that is free is asked for, one that is held is given back; every tenth step empties the cache."""
    for number, (key, size, stream) in enumerate(steps):
        if allocator.holds(key):
            allocator.free(key)
        else:
            try:
                allocator.alloc(key, size, stream=stream)
            except SimulatedOutOfMemoryError:
                assert allocator.capacity_bytes is not None
        if number % 10 == 9:
            allocator.empty_cache()


@given(STEPS, CONFIGS, st.sampled_from([80 * MIB, 2000 * MIB]))
@settings(max_examples=150, deadline=None)
def test_blocks_tile_their_segments_and_sums_agree(steps: list[tuple[int, int, int]], config: AllocatorSettings, capacity: int) -> None:
    allocator = AllocatorSimulator(config, capacity_bytes=capacity)
    drive(allocator, steps)
    chains = allocator.segments()
    blocks = list(itertools.chain(*chains))
    assert sum(block.size for block in blocks) == allocator.reserved_bytes <= capacity
    assert sum(block.size for block in blocks if block.allocated) == allocator.allocated_bytes
    assert sum(block.requested for block in blocks) == allocator.requested_bytes
    assert allocator.requested_bytes <= allocator.allocated_bytes <= allocator.active_bytes <= allocator.reserved_bytes
    for left, right in itertools.pairwise(blocks):
        assert left.address + left.size <= right.address
    for chain in chains:
        for left, right in itertools.pairwise(chain):
            assert left.address + left.size == right.address
            assert not (left.is_free and right.is_free)
            assert left.stream == right.stream


@given(STEPS, CONFIGS)
@settings(max_examples=100, deadline=None)
def test_when_all_is_freed_every_segment_is_one_block_and_can_be_returned(
    steps: list[tuple[int, int, int]], config: AllocatorSettings
) -> None:
    allocator = AllocatorSimulator(config, capacity_bytes=2000 * MIB)
    drive(allocator, steps)
    for key in range(10):
        allocator.free(key)
    assert allocator.active_bytes == allocator.requested_bytes == 0
    assert all(len(chain) == 1 for chain in allocator.segments())
    allocator.empty_cache()
    assert allocator.reserved_bytes == 0
    assert allocator.segments() == []


@given(STEPS, CONFIGS)
@settings(max_examples=40, deadline=None)
def test_same_requests_give_the_same_snapshot(steps: list[tuple[int, int, int]], config: AllocatorSettings) -> None:
    snapshots = []
    for _ in range(2):
        allocator = AllocatorSimulator(config, capacity_bytes=200 * MIB)
        drive(allocator, steps)
        snapshots.append(allocator.snapshot())
    assert snapshots[0] == snapshots[1]

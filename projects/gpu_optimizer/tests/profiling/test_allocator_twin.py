"""The simulator against a twin that is slow and obvious: a list of segments, each a list of blocks, searched in full."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_optimizer.errors import SimulatedOutOfMemoryError
from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings

MIB = 2**20


@dataclass
class Piece:
    size: int
    owner: object = None


@dataclass
class Range:
    number: int
    stream: int
    small: bool
    pieces: list[Piece] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)


class Twin:
    """Ordinary segments only: rounding, two pools, best fit, splitting, merging, one retry with an empty cache."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.ranges: list[Range] = []
        self.taken = 0

    @property
    def reserved(self) -> int:
        return sum(each.size for each in self.ranges)

    @property
    def allocated(self) -> int:
        return sum(piece.size for each in self.ranges for piece in each.pieces if piece.owner is not None)

    def alloc(self, owner: object, size: int, stream: int) -> bool:
        size = max(1, -(-size // 512)) * 512
        small = size <= MIB
        fits = [
            (piece.size, each.number, index)
            for each in self.ranges
            if each.stream == stream and each.small == small
            for index, piece in enumerate(each.pieces)
            if piece.owner is None and piece.size >= size
        ]
        if fits:
            _, number, index = min(fits)
            home = next(each for each in self.ranges if each.number == number)
        else:
            segment = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
            if self.reserved + segment > self.capacity:
                self.ranges = [each for each in self.ranges if any(piece.owner is not None for piece in each.pieces)]
            if self.reserved + segment > self.capacity:
                return False
            self.taken += 1
            home, index = Range(self.taken, stream, small, [Piece(segment)]), 0
            self.ranges.append(home)
        rest = home.pieces[index].size - size
        if rest >= 512 if small else rest > MIB:
            home.pieces[index : index + 1] = [Piece(size, owner), Piece(rest)]
        else:
            home.pieces[index].owner = owner
        return True

    def free(self, owner: object) -> None:
        for each in self.ranges:
            for piece in each.pieces:
                if piece.owner == owner:
                    piece.owner = None
            merged: list[Piece] = []
            for piece in each.pieces:
                if merged and merged[-1].owner is None and piece.owner is None:
                    merged[-1].size += piece.size
                else:
                    merged.append(piece)
            each.pieces = merged


SIZES = st.one_of(st.integers(1, 2 * MIB), st.integers(1, 40 * MIB), st.sampled_from([512, MIB, MIB + 1, 10 * MIB, 20 * MIB]))


@given(st.lists(st.tuples(st.integers(0, 12), SIZES, st.integers(0, 1)), max_size=80), st.sampled_from([90 * MIB, 10_000 * MIB]))
@settings(max_examples=250, deadline=None)
def test_simulator_agrees_with_its_obvious_twin(steps: list[tuple[int, int, int]], capacity: int) -> None:
    simulator, twin = AllocatorSimulator(AllocatorSettings(), capacity_bytes=capacity), Twin(capacity)
    for key, size, stream in steps:
        if simulator.holds(key):
            simulator.free(key)
            twin.free(key)
        else:
            try:
                simulator.alloc(key, size, stream=stream)
                served = True
            except SimulatedOutOfMemoryError:
                served = False
            assert twin.alloc(key, size, stream) == served
        assert simulator.reserved_bytes == twin.reserved
        assert simulator.allocated_bytes == twin.allocated
    assert [[(block.size, block.key) for block in chain] for chain in simulator.segments()] == [
        [(piece.size, piece.owner) for piece in each.pieces] for each in twin.ranges
    ]

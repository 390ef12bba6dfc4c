"""Damaged copies of a file: what disks, cameras and downloads do to videos, and what a spiteful user might."""

from __future__ import annotations

import random
from collections.abc import Iterator

_STRANGE_NAMES = (
    *("clip.txt", "clip", "clip.jpg", "clip.mp3", "clip.mp4.part"),
    *("cl\u00efp \u2603.avi", "-clip.mkv", "%d.png", "http:clip.ts", "clip.m3u8"),
)


def damaged_variants(data: bytes, n: int, seed: int) -> Iterator[tuple[str, bytes, str]]:
    """Yield `n` damaged copies of a file, the same for the same seed.

    Args:
        data: The whole file.
        n: How many copies.
        seed: Of the damage.

    Yields:
        (what was done, the copy's bytes, a file name for it).
    """
    dice = random.Random(seed)
    kinds = (_flip_bits, _flip_head, _cut, _cut_head, _zero_block, _repeat_block, _garbage_block, _insert, _swap_blocks, _only_name)
    for i in range(n):
        kind = kinds[i % len(kinds)]
        copy = bytes(kind(bytearray(data), dice))
        name = dice.choice(_STRANGE_NAMES) if kind is _only_name or dice.random() < 0.2 else f"clip{i}.mp4"
        yield f"{kind.__name__.strip('_')} {i} (seed {seed})", copy, name


def _span(data: bytearray, dice: random.Random) -> tuple[int, int]:
    start = dice.randrange(max(len(data), 1))
    return start, min(start + dice.randint(1, max(len(data) // 10, 2)), len(data))


def _flip_bits(data: bytearray, dice: random.Random) -> bytearray:
    for _ in range(dice.choice((1, 10, 100)) if data else 0):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return data


def _flip_head(data: bytearray, dice: random.Random) -> bytearray:
    for _ in range(8):
        data[dice.randrange(min(len(data), 600))] ^= 1 << dice.randrange(8)
    return data


def _cut(data: bytearray, dice: random.Random) -> bytearray:
    return data[: dice.randrange(len(data))]


def _cut_head(data: bytearray, dice: random.Random) -> bytearray:
    return data[dice.randrange(min(len(data), 2000)) :]


def _zero_block(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    data[start:end] = bytes(end - start)
    return data


def _repeat_block(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    return data[:end] + data[start:end] * dice.randint(1, 20) + data[end:]


def _garbage_block(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    data[start:end] = dice.randbytes(end - start)
    return data


def _insert(data: bytearray, dice: random.Random) -> bytearray:
    start = dice.randrange(len(data))
    return data[:start] + dice.randbytes(dice.randint(1, 300)) + data[start:]


def _swap_blocks(data: bytearray, dice: random.Random) -> bytearray:
    middle = dice.randrange(len(data))
    return data[:8] + data[middle:] + data[8:middle]


def _only_name(data: bytearray, dice: random.Random) -> bytearray:
    return data

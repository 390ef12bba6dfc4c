"""Broken recordings: what can be read is delivered, what was lost is said, and nothing crashes or hangs."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import av
import numpy as np
import pytest
from _damage import damaged_variants
from _video_clips import make_clip, number_in, numbered

from pose_analyzer.errors import SourceError
from pose_analyzer.video import VideoWriter, open_source


def cut(tmp_path, name: str, share: float, **options):
    """A clip of 100 pictures of which only the first part of the pictures' bytes is left."""
    whole = make_clip(tmp_path / f"whole-{name}", frames=100, gop=10, **options)
    data = whole.read_bytes()
    start = packet_places(whole)[0]
    path = tmp_path / name
    path.write_bytes(data[: start + int((len(data) - start) * share)])
    return path


def packet_places(path) -> list[int]:
    """Where in the file each packet begins, in bytes; some containers do not tell and say 0."""
    with av.open(str(path)) as container:
        return [packet.pos or 0 for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"container_options": {"movflags": "faststart"}}),  # the index comes first
        ("a.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),  # no index
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.ts", {"form": "mpegts"}),
        ("a.h264", {"form": "h264"}),
    ],
    ids=str,
)
def test_a_cut_recording_gives_its_pictures_up_to_the_cut(tmp_path, name, options):
    with open_source(cut(tmp_path, name, 0.7, **options)) as source:
        numbers = [number_in(frame.image) for frame in source]
    assert 30 <= len(numbers) < 100
    # Near the cut, a picture may be there while one shown before it, but stored after it, is not; and a transport stream
    # has no lengths, so its last picture may be decoded from half of its data.
    whole = len(numbers) - 3
    assert numbers[:whole] == list(range(whole))


def test_a_recording_in_fragments_opens_wherever_it_is_cut(tmp_path):
    whole = make_clip(tmp_path / "w.mp4", frames=60, gop=10, container_options={"movflags": "frag_keyframe+empty_moov"}).read_bytes()
    path = tmp_path / "a.mp4"
    counts = []
    # A file that ends where a fragment does (or within the next one's first words) is a shorter recording, not a damaged one.
    borders = [place.start() - 4 for place in re.finditer(b"moof|mfra", whole)]
    for end in range(whole.index(b"moof", whole.index(b"moof") + 4), len(whole), 41):
        path.write_bytes(whole[:end])
        with open_source(path) as source:
            counts.append(len(list(source)))
        assert source.damage is not None or any(0 <= end - border < 8 for border in borders), end
    assert counts == sorted(counts)
    assert (counts[0], counts[-1] > 50) == (10, True)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_no_good_picture_before_the_cut_is_lost_between_decoder_threads(tmp_path, threads):
    path = cut(tmp_path, "a.mp4", 0.7, container_options={"movflags": "faststart"})
    with open_source(path, decode_threads=1) as source:
        expected = [frame.image.tobytes() for frame in source]
    with open_source(path, decode_threads=threads) as source:
        assert [frame.image.tobytes() for frame in source] == expected


@pytest.mark.parametrize("seed", range(3))
def test_damage_near_the_end_costs_the_same_pictures_with_any_number_of_threads(tmp_path, seed):
    whole = make_clip(tmp_path / "w.mkv", frames=40, gop=10)
    data, places = bytearray(whole.read_bytes()), packet_places(whole)
    start = places[34 + seed] + 12
    data[start : start + 8] = bytes(8)
    path = tmp_path / "a.mkv"
    path.write_bytes(data)
    counts = []
    for threads in (1, 2, 8):
        with open_source(path, decode_threads=threads) as source:
            counts.append([number_in(frame.image) for frame in source])
    assert counts[0] == counts[1] == counts[2]
    assert len(counts[0]) >= 30


def test_the_damage_is_a_sentence_with_the_lengths(tmp_path):
    path = cut(tmp_path, "a.mp4", 0.7, container_options={"movflags": "faststart"})
    with open_source(path) as source:
        assert source.damage is None
        last = max(frame.timestamp_s for frame in source)
    assert source.damage is not None
    assert "ends early" in source.damage
    assert f"{last + 0.04:.2f} s of the 4.00 s" in source.damage


def test_a_whole_file_has_no_damage(clip):
    with open_source(clip) as source:
        list(source)
    assert source.damage is None


def test_damage_is_not_claimed_by_who_stops_early(tmp_path):
    path = make_clip(tmp_path / "a.mp4", frames=100)
    with open_source(path, end_s=1.0) as source:
        list(source)
    assert source.damage is None


def test_pictures_after_a_bad_stretch_are_delivered(tmp_path):
    whole = make_clip(tmp_path / "a.mp4", frames=100, gop=10, container_options={"movflags": "faststart"})
    data, places = bytearray(whole.read_bytes()), packet_places(whole)
    data[places[30] : places[50]] = bytes(places[50] - places[30])
    path = tmp_path / "hole.mp4"
    path.write_bytes(data)
    with open_source(path) as source:
        frames = list(source)
    assert [number_in(frame.image) for frame in frames[:30]] == list(range(30))
    assert [number_in(frame.image) for frame in frames[-50:]] == list(range(50, 100))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames[-50:]], np.arange(50, 100) / 25)  # the hole takes its time
    assert source.damage is not None
    assert "could not be decoded" in source.damage


def test_a_loop_over_a_damaged_file_goes_on(tmp_path):
    path = cut(tmp_path, "a.mp4", 0.5, container_options={"movflags": "faststart"})
    with open_source(path) as source:
        once = len(list(source))
    with open_source(path, loop=True) as source:
        frames = [next(source) for _ in range(2 * once + 1)]
    assert number_in(frames[once].image) == number_in(frames[2 * once].image) == 0
    assert all(a.timestamp_s < b.timestamp_s for a, b in pairwise(frames))


FORMS = {
    "mp4": {"form": "mp4"},
    "mkv": {"form": "matroska", "sound": True},
    "webm": {"form": "webm", "codec": "libvpx-vp9"},
    "avi": {"form": "avi", "codec": "mpeg4"},
    "ts": {"form": "mpegts"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_hundred_damaged_files_give_frames_or_one_of_our_errors(tmp_path, form):
    whole = io.BytesIO()
    make_clip(whole, frames=20, gop=6, **FORMS[form])
    for what, data, name in damaged_variants(whole.getvalue(), n=20, seed=len(form) + 2024):
        path = tmp_path / name
        path.write_bytes(data)
        try:
            with open_source(path) as source:
                times = [(frame.timestamp_s, frame.index) for frame in source]
        except SourceError:
            continue
        assert times, what
        assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(times)), what


def test_the_damage_generator_repeats_itself():
    data = bytes(range(256)) * 20
    assert list(damaged_variants(data, 30, 5)) == list(damaged_variants(data, 30, 5))
    assert list(damaged_variants(data, 30, 5)) != list(damaged_variants(data, 30, 6))
    assert sum(copy != data for _, copy, _ in damaged_variants(data, 30, 5)) >= 25


def test_a_last_picture_that_stands_long_is_no_damage(tmp_path):
    path = tmp_path / "screen.mp4"
    with VideoWriter(path, width=64, height=48, fps=0.2) as writer:
        for number, time_s in enumerate((0.0, 0.04, 0.08, 0.12)):
            writer.write(numbered(number), time_s)
    with open_source(path) as source:
        assert len(list(source)) == 4
    assert source.info.duration_s == pytest.approx(5.12)
    assert source.damage is None

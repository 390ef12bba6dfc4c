"""Conversion into MP4: without loss where possible, with the same times always."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from _video_clips import make_clip, number_in
from _video_dav import make_dav

from pose_analyzer.errors import DamagedSourceError, MissingSourceError, NotAVideoError, SinkError
from pose_analyzer.video import convert, open_source

SCRIPT = Path(__file__).resolve().parents[4] / "scripts" / "convert_dav.sh"


def frames_of(path):
    with open_source(path) as source:
        return [(number_in(frame.image), frame.index, round(frame.timestamp_s, 3)) for frame in source]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_dav_recording_is_read_and_converted(tmp_path, codec):
    path = make_dav(tmp_path / "ch1.dav", frames=60, codec=codec)
    with open_source(path) as source:
        frames = list(source)
    assert [number_in(frame.image) for frame in frames] == list(range(60))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], np.arange(60) / 25, atol=0.01)
    assert source.damage is None
    result = convert(path, tmp_path / "ch1.mp4")
    assert (result.frames, result.damage) == (60, None)
    assert result.duration_s == pytest.approx(2.4, abs=0.05)
    assert [(number, index) for number, index, _ in frames_of(result.path)] == [(i, i) for i in range(60)]
    np.testing.assert_allclose([time_s for _, _, time_s in frames_of(result.path)], np.arange(60) / 25, atol=0.01)


def test_hevc_is_tagged_for_apples_players(tmp_path):
    path = make_clip(tmp_path / "a.mkv", codec="libx265", frames=10, options={"x265-params": "log-level=none"})
    result = convert(path, tmp_path / "a.mp4")
    assert result.how == "copied"
    assert b"hvc1" in result.path.read_bytes()


@pytest.mark.parametrize(
    ("name", "options", "how"),
    [
        ("a.mkv", {}, "copied"),
        ("a.ts", {"form": "mpegts"}, "copied"),
        ("a.mov", {"turn": (90, False, False)}, "copied"),
        ("a.mkv", {"sar": Fraction(2)}, "copied"),
        ("a.webm", {"codec": "libvpx"}, "encoded"),
        ("a.avi", {"codec": "mpeg4"}, "encoded"),
        ("a.h264", {"form": "h264"}, "encoded"),  # no times to copy
    ],
    ids=str,
)
def test_what_mp4_can_hold_is_copied_and_the_rest_encoded(tmp_path, name, options, how):
    path = make_clip(tmp_path / name, frames=30, gop=10, **options)
    result = convert(path, tmp_path / "out.mp4")
    assert result.how == how
    assert result.frames == 30
    with open_source(path) as before, open_source(result.path) as after:
        assert (before.info.width, before.info.height) == (after.info.width, after.info.height)
        for old, new in zip(before, after, strict=True):
            assert new.timestamp_s == pytest.approx(old.timestamp_s, abs=1e-3)
            if how == "copied":
                assert np.array_equal(old.image, new.image)
            else:
                assert number_in(old.image) == number_in(new.image)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, "out.mp4"])


def test_sound_comes_along_in_a_copy(tmp_path):
    path = make_clip(tmp_path / "a.mkv", frames=30, sound=True)
    assert convert(path, tmp_path / "a.mp4").sound
    assert len(frames_of(tmp_path / "a.mp4")) == 30


def test_a_variable_rate_stays_variable(tmp_path):
    pts = [0, 40, 50, 200, 201, 1000]
    path = make_clip(tmp_path / "a.webm", codec="libvpx", frames=6, pts=pts, time_base=Fraction(1, 1000))
    convert(path, tmp_path / "a.mp4")
    np.testing.assert_allclose([time_s for _, _, time_s in frames_of(tmp_path / "a.mp4")], np.array(pts) / 1000, atol=1e-3)


def test_reencoding_can_be_asked_for(tmp_path, clip):
    result = convert(clip, tmp_path / "a.mp4", reencode=True, crf=40)
    assert (result.how, result.frames) == ("encoded", 60)


def test_of_a_damaged_recording_the_rest_is_kept(tmp_path):
    whole = make_clip(tmp_path / "w.avi", codec="mpeg4", frames=100)
    cut = tmp_path / "cut.avi"
    data = whole.read_bytes()
    movie = data.index(b"movi")
    cut.write_bytes(data[: movie + (len(data) - movie) // 2])
    result = convert(cut, tmp_path / "out.mp4")
    assert 20 < result.frames < 100
    assert result.damage is not None
    assert [number for number, _, _ in frames_of(result.path)] == list(range(result.frames))


def test_progress_reaches_the_end(tmp_path, clip):
    for reencode in (False, True):
        calls = []
        convert(
            clip, tmp_path / f"{reencode}.mp4", reencode=reencode, progress=lambda done, total, calls=calls: calls.append((done, total))
        )
        assert len(calls) == 60
        assert max(done for done, _ in calls) == pytest.approx(2.4)
        assert all(total == pytest.approx(2.4) for _, total in calls)


def test_what_cannot_be_converted_is_refused_without_a_trace(tmp_path, clip):
    (tmp_path / "text.dav").write_text("text")
    (tmp_path / "there.mp4").write_text("mine")
    with pytest.raises(NotAVideoError):
        convert(tmp_path / "text.dav", tmp_path / "o.mp4")
    with pytest.raises(MissingSourceError):
        convert(tmp_path / "none.dav", tmp_path / "o.mp4")
    with pytest.raises(NotAVideoError, match="folder"):
        convert(tmp_path, tmp_path / "o.mp4")
    with pytest.raises(SinkError, match="exists already"):
        convert(clip, tmp_path / "there.mp4")
    with pytest.raises(SinkError, match="itself"):
        convert(clip, clip, overwrite=True)
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:500])
    with pytest.raises(DamagedSourceError):
        convert(tmp_path / "broken.mp4", tmp_path / "o.mp4")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["broken.mp4", "text.dav", "there.mp4"]
    assert (tmp_path / "there.mp4").read_text() == "mine"


def test_an_existing_file_is_replaced_when_allowed(tmp_path, clip):
    (tmp_path / "a.mp4").write_text("old")
    assert convert(clip, tmp_path / "a.mp4", overwrite=True).frames == 60


def test_the_same_recording_gives_the_same_bytes(tmp_path, clip):
    for reencode in (False, True):
        paths = [convert(clip, tmp_path / f"{reencode}{i}.mp4", reencode=reencode).path for i in range(2)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.fixture
def fake_command(tmp_path):
    """A stand-in for `pose-analyzer` that notes its arguments and copies; it fails on bad* and complains of hurt*."""
    command = tmp_path / "bin" / "pose-analyzer"
    command.parent.mkdir()
    command.write_text(
        '#!/bin/sh\necho "$@" >> "$(dirname "$0")/calls"\n'
        'case "$(basename "$2")" in bad*) exit 3;; esac\n'
        'cp "$2" "$4"\n'
        'case "$(basename "$2")" in hurt*) exit 3;; esac\n'
    )
    command.chmod(0o755)
    return command


def run_script(command, *arguments):
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "POSE_ANALYZER": str(command)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_converts_a_folder_and_resumes(tmp_path, fake_command):
    source = tmp_path / "re cordings"
    (source / "sub").mkdir(parents=True)
    for name in ("a.dav", "b 2.DAV", "sub/c.dav", "notes.txt"):
        (source / name).write_text(name)
    done = run_script(fake_command, source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.mp4"))
    assert made == ["a.mp4", "b 2.mp4", "sub/c.mp4"]
    assert "3 converted" in done.stdout
    again = run_script(fake_command, source, tmp_path / "out")
    assert "3 already there" in again.stdout
    assert len((fake_command.parent / "calls").read_text().splitlines()) == 3


def test_the_script_shows_first_what_it_would_do(tmp_path, fake_command):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dav").touch()
    done = run_script(fake_command, "--dry-run", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0
    assert "a.dav" in done.stdout
    assert not (tmp_path / "out").exists()
    assert not (fake_command.parent / "calls").exists()


def test_the_script_counts_what_a_damaged_recording_still_gave(tmp_path, fake_command):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "hurt.dav").touch()
    done = run_script(fake_command, tmp_path / "in", tmp_path / "out")
    assert (done.returncode, "1 converted" in done.stdout) == (0, True)


def test_the_script_goes_on_after_a_bad_file_and_says_so(tmp_path, fake_command):
    (tmp_path / "in").mkdir()
    for name in ("a.dav", "bad.dav", "z.dav"):
        (tmp_path / "in" / name).touch()
    done = run_script(fake_command, tmp_path / "in", tmp_path / "out")
    assert done.returncode == 1
    assert "2 converted" in done.stdout
    assert "1 failed" in done.stdout
    assert "bad.dav" in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2), (["--what"], 2), (["/nowhere", "/nowhere/else"], 2)])
def test_the_script_explains_itself(arguments, code, fake_command):
    done = run_script(fake_command, *arguments)
    assert done.returncode == code
    assert "Usage" in done.stdout + done.stderr or "no such folder" in done.stderr

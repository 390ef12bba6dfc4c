from __future__ import annotations

import json

import av
import numpy as np
import pytest

from pose_analyzer import analyze
from pose_analyzer.errors import MissingSourceError
from pose_analyzer.pipeline import Pipeline, PoseSession
from pose_analyzer.pipeline.analyze import Abandon

FILES = {"result.json", "series.parquet", "series.csv", "events.csv", "overlay.mp4", "angles.png"}


@pytest.fixture(scope="module")
def analysed(athlete_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysed")
    return analyze(athlete_clip, exercise="squat", out=folder), folder


def test_the_filmed_athlete_is_counted_right(analysed):
    session, _ = analysed
    assert session.complete
    assert session.repetition_count == 2


def test_every_result_file_is_written_and_reads_back(analysed):
    session, folder = analysed
    assert {p.name for p in folder.iterdir()} == FILES
    back = PoseSession.load(folder)
    assert back.events == session.events
    assert back.source_info["sha256"] == session.source_info["sha256"]


def test_the_same_input_gives_the_same_bytes(analysed, athlete_clip, tmp_path):
    _, folder = analysed
    analyze(athlete_clip, exercise="squat", out=tmp_path)
    for name in sorted(FILES):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_results_hold_no_path_and_no_clock(analysed, athlete_clip):
    _, folder = analysed
    text = (folder / "result.json").read_text()
    assert str(athlete_clip.parent) not in text
    assert json.loads(text)["source"]["name"] == athlete_clip.name


def test_the_overlay_keeps_size_length_and_timestamps(analysed, athlete_clip):
    _, folder = analysed

    def times(path):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return [float(f.pts * stream.time_base) for f in container.decode(stream)], (stream.width, stream.height)

    (overlay, size), (clip, clip_size) = times(folder / "overlay.mp4"), times(athlete_clip)
    assert size == clip_size
    np.testing.assert_allclose(np.subtract(overlay, overlay[0]), np.subtract(clip, clip[0]), atol=1e-3)


def test_measured_knee_angles_are_near_the_truth(analysed, athlete_scene):
    session, _ = analysed
    series = session.series
    errors = [
        abs(angle - athlete_scene.truth_at(int(index)).angles()["left_knee_flexion_deg"][0])
        for index, angle in zip(series["frame_index"], series["left_knee_flexion_deg"], strict=True)
    ]
    assert np.nanmedian(errors) < 8.0


def test_streaming_and_whole_file_analysis_agree(analysed, athlete_clip):
    session, _ = analysed
    with Pipeline(exercise="squat") as pipeline:
        events = [e for update in pipeline.run(athlete_clip) for e in update.events]
    assert sorted(e.message for e in events) == sorted(e.message for e in session.events)


def test_live_use_without_output_writes_nothing(athlete_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert analyze(athlete_clip, exercise="squat", max_seconds=0.5).frames > 3
    assert list(tmp_path.iterdir()) == []


def test_a_broken_tail_is_analysed_up_to_the_break(athlete_clip, tmp_path):
    # Matroska carries its index with the packets, so a cut file still opens; MP4's index may lie at the end.
    whole = tmp_path / "whole.mkv"
    with av.open(str(athlete_clip)) as source, av.open(str(whole), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    session = analyze(cut, exercise="squat", out=tmp_path / "out")
    assert session.frames > 10
    assert (tmp_path / "out" / "result.json").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingSourceError, match=r"nowhere\.mp4"):
        analyze(tmp_path / "nowhere.mp4")


def test_an_abandoned_analysis_keeps_nothing(athlete_clip, tmp_path):
    def abandon(progress):
        if progress.frames >= 3:
            raise Abandon

    with pytest.raises(Abandon):
        analyze(athlete_clip, exercise="squat", out=tmp_path, progress=abandon)
    assert [path.name for path in tmp_path.rglob("*") if path.suffix in (".json", ".parquet", ".csv", ".png", ".mp4")] == []

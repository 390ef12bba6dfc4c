"""Real clips from phones and cameras: as many pictures as OpenCV finds, at the times that the container gives."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from pose_analyzer.video import open_source

pytestmark = pytest.mark.footage

CLIPS = ["exercise/situp_02.mp4", "fight/fight_classroom_2p.mp4", "fight/vending_non_fight_vandalism2.mp4"]


@pytest.mark.parametrize("name", CLIPS)
def test_every_picture_of_a_real_clip_comes_at_its_time(footage, name):
    path = footage / name
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pts = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        expected = [float((value - pts[0]) * stream.time_base) for value in pts]
    with open_source(path) as source:
        frames = [(frame.timestamp_s, frame.image.shape) for frame in source]
    assert len(frames) == count
    np.testing.assert_allclose([time_s for time_s, _ in frames], expected, atol=1e-9)
    assert {shape for _, shape in frames} == {(source.info.height, source.info.width, 3)}
    assert source.damage is None
    assert source.timing.clean


def test_seeking_in_a_real_clip_gives_the_same_picture(footage):
    path = footage / CLIPS[0]
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    with open_source(path) as source:
        frames = {frame.index: frame for frame in source}
        for index in (100, 3, 139, 70):
            source.seek(frames[index].timestamp_s)
            frame = next(source)
            assert (frame.index, frame.timestamp_s) == (index, frames[index].timestamp_s)
            assert np.array_equal(frame.image, frames[index].image)

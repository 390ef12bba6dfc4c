"""Clips: the file gives back the pictures and times of the scene, and the truth lies beside it."""

from __future__ import annotations

import av
import numpy as np
import pytest

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic import Scene, load_truth, scene_for, synthesize, write_clip

SMALL = {"width": 160, "height": 120}


def read(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [float(f.pts * f.time_base) for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


@pytest.mark.parametrize("jitter", [0.0, 0.6])
def test_a_clip_has_every_frame_at_its_true_time_and_its_truth_beside_it(tmp_path, jitter):
    scene = scene_for("squat", reps=1, duration_s=1.0, fps=20, rate_jitter=jitter, **SMALL)
    calls = []
    path = write_clip(scene, tmp_path / "new" / "squat.mp4", progress=lambda done, total: calls.append((done, total)))
    times, pictures = read(path)
    assert times == pytest.approx(scene.timestamps_s, abs=1e-5)
    assert calls == [(i + 1, len(scene)) for i in range(len(scene))]
    truth = load_truth(tmp_path / "new" / "squat.truth.npz")
    assert [t.timestamp_s for t in truth.frames] == list(scene.timestamps_s)
    assert load_truth(tmp_path / "new" / "squat.truth.json").repetitions == truth.repetitions
    for i in (0, 10):
        assert np.abs(pictures[i].astype(float) - scene.frame_at(i)[0].image).mean() < 4


def test_a_description_is_filmed(tmp_path):
    spec = tmp_path / "scene.yaml"
    spec.write_text("image: {width: 64, height: 64, fps: 10}\nduration_s: 0.5\n")
    path = synthesize(spec, tmp_path / "out.mp4")
    assert len(read(path)[0]) == 5
    assert Scene.from_dict(load_truth(tmp_path / "out.truth.npz").spec).spec == Scene.from_yaml(spec).spec


def test_a_wrong_description_leaves_no_file(tmp_path):
    spec = tmp_path / "scene.yaml"
    spec.write_text("image: {widht: 64}")
    with pytest.raises(SceneError, match="did you mean 'width'"):
        synthesize(spec, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()

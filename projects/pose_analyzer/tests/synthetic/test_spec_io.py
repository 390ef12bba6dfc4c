"""Scene specs from YAML: defaults, round trips, and errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic import Exercise, Scene, scene_for, spec_from_dict, spec_from_yaml, spec_to_dict
from pose_analyzer.synthetic.spec import SceneSpec

SCENES = Path(__file__).parents[4] / "config" / "scenes"

FULL = """
name: gym
seed: 5
duration_s: 3
camera: {azimuth_deg: 30, elevation_deg: 12, distance_m: 4.5, fov_deg: 38, roll_deg: 2, pan_deg_per_s: 1.5, target_m: [0, 0, 0.9]}
image: {width: 320, height: 240, fps: 24, rate_jitter: 0.2, noise_sigma: 2, motion_blur: 0.3, jpeg_quality: 80}
room: {floor: rubber, floor_colour: "#444444", posters: false}
athletes:
  - body: {height_m: 1.82, build: 1.1, shirt: "#aa2233", hair_style: bun}
    motion:
      exercise: squat
      reps: 4
      tempo: [2, 0.5, 1, 0.5]
      depth_deg: 95
      partial: {3: 0.5}
      pauses: {2: 1}
      faults: {knee_valgus_deg: 10, reps: [2, 3]}
  - motion: {exercise: walking, path_m: [[-2, -2], [2, -2], [2, 2]], speed_m_s: 1.0}
    enters_s: 0.5
    track_id: 7
"""


def test_a_full_description_is_read():
    spec = spec_from_dict(yaml.safe_load(FULL))
    squat, walk = spec.athletes
    assert squat.motion.exercise is Exercise.SQUAT
    assert (squat.motion.tempo.eccentric_s, squat.motion.tempo.top_pause_s) == (2.0, 0.5)
    assert squat.motion.faults.reps == (2, 3)
    assert dict(squat.motion.partial) == {3: 0.5}
    assert walk.motion.path_m == ((-2.0, -2.0), (2.0, -2.0), (2.0, 2.0))
    assert spec.track_ids == (1, 7)
    assert spec.camera.target_m == (0.0, 0.0, 0.9)


def test_writing_and_reading_a_spec_gives_it_back():
    spec = spec_from_dict(yaml.safe_load(FULL))
    assert spec_from_dict(yaml.safe_load(yaml.safe_dump(spec_to_dict(spec)))) == spec
    assert spec_to_dict(SceneSpec()) == {}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"camra": {}}, "camra is unknown; did you mean 'camera'"),
        ({"camera": {"azimut": 3}}, "camera.azimut is unknown; did you mean 'azimuth_deg'"),
        ({"athletes": [{"motion": {"repetitions": 3}}]}, r"athletes\[0\].motion.repetitions is unknown"),
        ({"athletes": [{"motion": {"exercise": "squatt"}}]}, "unknown exercise 'squatt'; did you mean 'squat'"),
        ({"athletes": [{"motion": {"faults": {"knee_vagus_deg": 3}}}]}, "did you mean 'knee_valgus_deg'"),
        ({"athletes": [{"body": {"height_m": 17.5}}]}, "BodySpec.height_m must be a number in 1..2.3, got 17.5"),
        ({"athletes": [{"body": {"shirt": "blue"}}]}, "colour like"),
        ({"athletes": [{"body": {"hair_style": "shrt"}}]}, "did you mean 'short'"),
        ({"image": {"width": 640.5}}, "image.width must be a whole number"),
        ({"image": {"antialias": "yes"}}, "image.antialias must be true or false"),
        ({"image": {"width": True}}, "image.width must be a whole number"),
        ({"camera": {"target_m": [0, 1]}}, "camera.target_m must have 3 values, got 2"),
        ({"camera": [1, 2, 3, 4, 5, 6, 7, 8]}, "takes at most"),
        ({"athletes": {}}, "athletes must be a list"),
        ({"athletes": [{"motion": {"partial": {"two": 0.5}}}]}, "not attempt numbers"),
        ({"athletes": [{"motion": {"partial": {9: 0.5}}}]}, "MotionSpec.partial maps attempts 1..5"),
        (
            {"athletes": [{"motion": {"exercise": "bicep_curl", "faults": {"knee_valgus_deg": 5}}}]},
            "bicep_curl cannot show knee_valgus_deg",
        ),
        ({"athletes": [{"motion": {"exercise": "squat", "side": "left"}}]}, "squat has no side"),
        ({"athletes": [{"motion": {"exercise": "idle", "depth_deg": 9}}]}, "idle has no depth_deg"),
        ({"athletes": [{"track_id": 1}, {"track_id": 1}]}, "share a track_id"),
        ({"athletes": [{"enters_s": 3, "leaves_s": 2}]}, "leaves_s must be later"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"camera": None}, "camera must be a mapping"),
    ],
)
def test_a_wrong_description_says_what_would_be_right(data, text):
    with pytest.raises(SceneError, match=text):
        spec_from_dict(data)


def test_a_camera_that_would_pan_too_far_is_refused():
    with pytest.raises(SceneError, match="pans 300 degrees"):
        Scene.from_dict({"camera": {"pan_deg_per_s": 30}, "duration_s": 10})


def test_an_unknown_gesture_is_refused():
    with pytest.raises(SceneError, match="unknown gesture 'wav'"):
        Scene.from_dict({"athletes": [{"motion": {"exercise": "idle", "gestures": ["wav"]}}]})


def test_yaml_errors_name_the_file(tmp_path):
    path = tmp_path / "bad.yaml"
    with pytest.raises(SceneError, match=r"no scene at .*bad.yaml"):
        spec_from_yaml(path)
    path.write_text("a: [1, 2")
    with pytest.raises(SceneError, match=r"bad\.yaml is not YAML"):
        spec_from_yaml(path)
    path.write_text("- 1\n")
    with pytest.raises(SceneError, match="does not describe a scene"):
        spec_from_yaml(path)
    path.write_text("camera: {elevation: 3}")
    with pytest.raises(SceneError, match=r"bad.yaml: camera.elevation is unknown; did you mean 'elevation_deg'"):
        spec_from_yaml(path)


@pytest.mark.parametrize("path", sorted(SCENES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_scene_that_is_shipped_can_be_filmed(path):
    scene = Scene.from_yaml(path)
    frame, truth = scene.frame_at(len(scene) // 2)
    assert frame.image.shape == (scene.spec.image.height, scene.spec.image.width, 3)
    assert len(truth) >= 1


def test_scene_for_sorts_its_keywords_into_the_spec():
    scene = scene_for("squat", azimuth_deg=45, height_m=1.9, depth_deg=90, width=320, floor="tiles", heading_deg=10, duration_s=2.0)
    athlete = scene.spec.athletes[0]
    assert (athlete.body.height_m, athlete.motion.depth_deg, athlete.heading_deg) == (1.9, 90.0, 10.0)
    assert (scene.spec.camera.azimuth_deg, scene.spec.image.width, scene.spec.room.floor, scene.duration_s) == (45.0, 320, "tiles", 2.0)


def test_scene_for_refuses_an_unknown_keyword_and_names_the_nearest():
    with pytest.raises(SceneError, match="no keyword 'azimut'"):
        scene_for("squat", azimut=3)
    with pytest.raises(SceneError, match="did you mean 'noise_sigma'"):
        scene_for("squat", noise_sigm=3)


@given(st.sampled_from([e.value for e in Exercise]), st.floats(-180, 180), st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_every_preset_survives_a_round_trip(exercise, azimuth, seed):
    spec = scene_for(exercise, azimuth_deg=azimuth, seed=seed).spec
    assert spec_from_dict(spec_to_dict(spec)) == spec

"""Profiles: found by any of their names, refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pose_analyzer.biomechanics import ANGLE_NAMES
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import ExerciseProfile, list_profiles, load_profile

EXPECTED = {
    "squat", "barbell_squat", "push_up", "push_up_incline", "bicep_curl", "hammer_curl", "lateral_raise", "overhead_press",
    "lunge", "deadlift", "sit_up", "pull_up", "jumping_jack", "bench_press", "plank", "wall_sit",
}  # fmt: skip


def test_the_exercises_are_there():
    assert set(list_profiles()) >= EXPECTED
    assert list_profiles() == sorted(list_profiles())


@pytest.mark.parametrize("name", list_profiles())
def test_every_profile_is_valid_and_asks_for_angles_that_are_measured(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description.endswith(".")
    for cue in (*profile.cues, *profile.limits):
        assert any(f"{prefix}{cue.angle}_deg" in ANGLE_NAMES for prefix in ("left_", "")), cue.angle


def test_no_two_profiles_share_a_name():
    names = [n.replace("_", "") for p in map(load_profile, list_profiles()) for n in (p.name, *p.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Squat", "squat"),
        ("pushup", "push_up"),
        ("push-up", "push_up"),
        ("pushup_incline", "push_up_incline"),
        ("situp", "sit_up"),
        ("jumping jack", "jumping_jack"),
        ("back_squat", "barbell_squat"),
        ("Biceps-Curl", "bicep_curl"),
    ],
)
def test_spelling_and_aliases_do_not_matter(given, name):
    assert load_profile(given).name == name


def test_an_unknown_exercise_names_the_nearest_and_all():
    with pytest.raises(ExerciseError, match=r"unknown exercise 'bicepcurll'; did you mean 'bicep_curl'\?.*squat.*YAML"):
        load_profile("bicepcurll")


def squat(**changes):
    data = load_profile("squat").model_dump(mode="json")
    return {**data, **changes}


def write(folder: Path, data, name="mine.yaml") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return path


def test_a_profile_of_ones_own_is_read_from_its_file(tmp_path):
    assert load_profile(write(tmp_path, squat(name="my_squat", min_range_deg=20))).min_range_deg == 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (squat(min_rang_deg=20), r"min_rang_deg.*did you mean min_range_deg"),
        (squat(cues=[{"angel": "knee_flexion", "rest_deg": 0, "work_deg": 90}]), r"angel; did you mean cues\.0\.angle"),
        (squat(cues=[{"angle": "knee_flexion", "rest_deg": 50, "work_deg": 52}]), "at least 5 degrees apart"),
        (squat(cues=[]), "either cues"),
        (squat(limits=[{"angle": "knee_flexion"}]), "either cues"),
        (squat(cues=None), "cues"),
        (squat(min_range_deg=-5), "min_range_deg"),
        (squat(min_range_deg=120), "exceeds the first cue's own range"),
        (squat(min_duration_s=5, max_duration_s=4), "max_duration_s"),
        (squat(counts_at="bottom"), "counts_at"),
        (squat(sides="left"), "sides"),
        (squat(name="My Squat"), "name"),
        ("name: [", "mine.yaml"),
        ("just words", "mine.yaml"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path, data, reason):
    path = write(tmp_path, data)
    with pytest.raises(ExerciseError, match=r"(?s)exercise profile mine\.yaml: .*" + reason):
        load_profile(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ExerciseError, match=r"gone\.yaml"):
        load_profile(tmp_path / "gone.yaml")


def test_a_limit_without_width_is_refused(tmp_path):
    data = load_profile("plank").model_dump(mode="json")
    data["limits"][0].update(min_deg=90, max_deg=30)
    with pytest.raises(ExerciseError, match=r"max_deg \(30\) must be greater than min_deg \(90\)"):
        load_profile(write(tmp_path, data))


def test_a_folder_of_ones_own_comes_first(tmp_path, monkeypatch):
    (tmp_path / "exercises").mkdir()
    write(tmp_path / "exercises", squat(min_range_deg=12), "squat.yaml")
    write(tmp_path / "exercises", squat(name="cossack_squat", aliases=["side squat"]), "cossack_squat.yaml")
    monkeypatch.setenv("POSE_CONFIG_DIR", str(tmp_path))
    assert load_profile("squat").min_range_deg == 12
    assert load_profile("Side-Squat").name == "cossack_squat"
    assert load_profile("push_up").name == "push_up"
    assert list_profiles().count("squat") == 1


def test_a_broken_neighbour_does_not_hide_the_others(tmp_path, monkeypatch):
    (tmp_path / "exercises").mkdir()
    write(tmp_path / "exercises", "name: [", "broken.yaml")
    monkeypatch.setenv("POSE_CONFIG_DIR", str(tmp_path))
    assert load_profile("squat").name == "squat"
    with pytest.raises(ExerciseError, match="broken"):
        load_profile("broken")


def test_a_profile_cannot_be_changed():
    with pytest.raises(Exception, match="frozen"):
        load_profile("squat").min_range_deg = 3.0  # type: ignore[misc]


def test_phases_are_named_by_where_the_exercise_rests():
    assert load_profile("squat").phases == {"rest": "top", "out": "down", "turn": "bottom", "back": "up"}
    assert load_profile("bicep_curl").phases == {"rest": "bottom", "out": "up", "turn": "top", "back": "down"}


def test_every_setting_says_what_it_does():
    for model in (ExerciseProfile, *(type(x) for x in (load_profile("squat").cues[0], load_profile("plank").limits[0]))):
        assert all(field.description for field in model.model_fields.values())


def test_an_edited_profile_is_read_again_and_an_untouched_one_is_not(tmp_path, monkeypatch):
    (tmp_path / "exercises").mkdir()
    path = write(tmp_path / "exercises", squat(name="cossack_squat", aliases=["side squat"]), "cossack_squat.yaml")
    monkeypatch.setenv("POSE_CONFIG_DIR", str(tmp_path))
    before = load_profile("side squat")
    parsed: list[str] = []
    real = yaml.safe_load
    monkeypatch.setattr(yaml, "safe_load", lambda text: parsed.append(text) or real(text))
    assert load_profile("side squat") is before
    assert load_profile("jacks").name == "jumping_jack"
    assert not any("cossack" in text for text in parsed)
    write(tmp_path / "exercises", squat(name="cossack_squat", aliases=["sideways"], min_range_deg=11), path.name)
    assert load_profile("sideways").min_range_deg == 11
    with pytest.raises(ExerciseError, match="unknown exercise 'side squat'"):
        load_profile("side squat")
    path.unlink()
    with pytest.raises(ExerciseError, match="unknown exercise 'sideways'"):
        load_profile("sideways")


def test_a_profile_that_was_broken_and_is_mended_is_read(tmp_path):
    path = write(tmp_path, "name: [")
    with pytest.raises(ExerciseError):
        load_profile(path)
    write(tmp_path, squat(name="mended"))
    assert load_profile(path).name == "mended"

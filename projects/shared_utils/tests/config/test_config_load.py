"""Layers of settings, and what a wrong one is told."""

from __future__ import annotations

import pickle
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, field_validator, model_validator

from shared_utils.config import RESERVED_VARIABLES, SettingsModel, explain, load_settings, parse_override
from shared_utils.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Video(SettingsModel):
    """Reading."""

    stride: int = Field(1, ge=1, le=60)
    """Analyse every n-th frame."""
    pace: float | None = Field(None, gt=0)
    """Times natural speed; null is as fast as possible."""
    loop: bool = False
    """Begin again at the end."""
    tags: tuple[str, ...] = ()
    """Words to remember with the results."""

    @field_validator("tags")
    @classmethod
    def _no_blank(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        if any(not tag.strip() for tag in tags):
            raise ValueError("a tag must not be blank")
        return tags


class Zone(SettingsModel):
    """A place."""

    polygon: list[tuple[float, float]] = Field(min_length=3)
    """Corners in px."""


class Detection(SettingsModel):
    """Seeing people."""

    name: Literal["blazepose", "yolo"] = "blazepose"
    """Which detector."""
    max_people: int = Field(6, ge=1, le=16)
    """How many people at most."""
    min_confidence: float = Field(0.5, ge=0, le=1)
    """0..1."""
    model: Path | None = None
    """File of weights."""

    @model_validator(mode="after")
    def _enough(self) -> Detection:
        if self.name == "yolo" and self.max_people > 10:
            raise ValueError("yolo takes at most 10 people")
        return self


class Tree(SettingsModel):
    """Everything."""

    video: Video = Video()
    """Reading."""
    detection: Detection = Detection()
    """Seeing people."""
    zones: dict[str, Zone] = Field(default_factory=dict)
    """Places by name."""
    colour: Colour = Colour.RED
    """Of lines."""
    source: str = ""
    """Address."""
    api_token: SecretStr | None = None
    """Secret of the service."""


def load(tmp_path: Path | None = None, text: str | None = None, env: dict[str, str] | None = None, **overrides) -> Tree:
    file = None
    if text is not None:
        assert tmp_path is not None
        file = tmp_path / "pose.yaml"
        file.write_text(text)
    return load_settings(Tree, config_file=file, environ=env or {}, overrides=overrides)


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    text = "video: {stride: 2, pace: 2.0, loop: true}\n"
    settings = load(tmp_path, text, {"POSE_VIDEO__STRIDE": "3", "POSE_VIDEO__PACE": "3"}, **{"video.stride": 4})
    assert (settings.video.stride, settings.video.pace, settings.video.loop) == (4, 3.0, True)
    assert settings.detection.max_people == 6
    sources = {row.key: str(row.source) for row in explain(settings)}
    assert sources["video.stride"] == "flag video.stride"
    assert sources["video.pace"] == "environment variable POSE_VIDEO__PACE"
    assert sources["video.loop"] == f"{tmp_path}/pose.yaml:1"
    assert sources["detection.max_people"] == "default"


@given(
    st.dictionaries(st.sampled_from(["default", "file", "env", "flag"]), st.integers(1, 60)),
)
def test_the_strongest_layer_that_speaks_wins(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("layers")
    settings = load(
        folder,
        f"video:\n  stride: {values['file']}\n" if "file" in values else "",
        {"POSE_VIDEO__STRIDE": str(values["env"])} if "env" in values else {},
        **({"video.stride": values["flag"]} if "flag" in values else {}),
    )
    expected = next((values[layer] for layer in ("flag", "env", "file") if layer in values), 1)
    assert settings.video.stride == expected


def test_default_files_are_used_where_they_exist_in_order(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("video: {stride: 2, loop: true}")
    second.write_text("video: {stride: 3}")
    settings = load_settings(Tree, default_files=[first, tmp_path / "absent.yaml", second], environ={})
    assert (settings.video.stride, settings.video.loop) == (3, True)


def test_environment_takes_lists_mappings_and_null_as_json():
    env = {
        "POSE_VIDEO__TAGS": '["a", "b"]',
        "POSE_ZONES__RACK__POLYGON": "[[0, 0], [1, 0], [1, 1]]",
        "POSE_VIDEO__PACE": "null",
        "POSE_DETECTION": '{"max_people": 2}',
        "POSE_DETECTION__NAME": "yolo",
        "POSE_COLOUR": "blue",
        "POSE_SOURCE": "",
    }
    settings = load(env=env)
    assert settings.video.tags == ("a", "b")
    assert settings.zones["rack"].polygon == [(0, 0), (1, 0), (1, 1)]
    assert settings.video.pace is None
    assert (settings.detection.max_people, settings.detection.name) == (2, "yolo")
    assert settings.colour is Colour.BLUE
    sources = {row.key: row.source.where for row in explain(settings)}
    assert sources["detection.max_people"] == "POSE_DETECTION"
    assert sources["detection.name"] == "POSE_DETECTION__NAME"
    assert sources["detection.min_confidence"] == ""
    assert sources["zones"] == "POSE_ZONES__RACK__POLYGON"


def test_the_process_s_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("POSE_VIDEO__STRIDE", "7")
    assert load_settings(Tree).video.stride == 7


def test_variables_of_the_scripts_are_no_settings():
    assert load(env=dict.fromkeys(RESERVED_VARIABLES, "x")) == Tree()
    assert load(env={"OTHER_VIDEO__STRIDE": "9"}) == Tree()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"POSE_VIDEO__STRID": "2"}, "environment variable POSE_VIDEO__STRID: unknown setting video.strid; did you mean video.stride?"),
        ({"POSE_STRIDE": "2"}, "environment variable POSE_STRIDE: unknown setting stride; did you mean video.stride?"),
        ({"POSE_VIDOE__STRIDE": "2"}, "POSE_VIDOE__STRIDE: unknown setting vidoe.stride; did you mean video.stride?"),
        ({"POSE_XYZZY": "2"}, "POSE_XYZZY: unknown setting xyzzy; there are video, detection"),
        ({"POSE_SOURCE__DEEPER": "2"}, "POSE_SOURCE__DEEPER: unknown setting source.deeper"),
        ({"POSE_VIDEO__TAGS": "a,b"}, "POSE_VIDEO__TAGS: a list or section is written as JSON"),
        ({"POSE_VIDEO__STRIDE": "many"}, "POSE_VIDEO__STRIDE: video.stride must be an integer from 1 to 60, got 'many'"),
    ],
)
def test_a_wrong_variable_is_named(env, message):
    with pytest.raises(ConfigError) as error:
        load(env=env)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video:\n  strid: 2\n", "pose.yaml:2: unknown setting video.strid; did you mean video.stride?"),
        ("video:\n  max_people: 2\n", "pose.yaml:2: unknown setting video.max_people; did you mean detection.max_people?"),
        ("\n\ncolor: blue\n", "pose.yaml:3: unknown setting color; did you mean colour?"),
        ("on: 1\n", "pose.yaml:1: unknown setting on;"),
        ("zones:\n  rack:\n    poly: []\n", "pose.yaml:3: unknown setting zones.rack.poly; did you mean zones.rack.polygon?"),
        ("video:\n  stride: 0\n", "pose.yaml:2: video.stride must be an integer from 1 to 60, got 0"),
        ("video:\n  pace: fast\n", "pose.yaml:2: video.pace must be a number above 0 or null, got 'fast'"),
        ("video: 3\n", "pose.yaml:1: video must be a section of `key: value`, got 3"),
        ("video:\n  loop: perhaps\n", "pose.yaml:2: video.loop must be true or false, got 'perhaps'"),
        ("detection:\n  name: openpose\n", "pose.yaml:2: detection.name must be one of 'blazepose', 'yolo', got 'openpose'"),
        ("colour: green\n", "pose.yaml:1: colour must be one of 'red', 'blue', got 'green'"),
        ("video:\n  tags: [a, ' ']\n", "pose.yaml:2: video.tags: a tag must not be blank (got ['a', ' '])"),
        ("detection: {name: yolo, max_people: 12}\n", "pose.yaml:1: detection: yolo takes at most 10 people"),
        (
            "zones:\n  rack:\n    polygon: [[0, 0]]\n",
            "pose.yaml:3: zones.rack.polygon must be a list (at least 3 items) of: a list of 2 items of: a number",
        ),
        ("video:\n  tags:\n  - a\n  - 7\n", "pose.yaml:4: video.tags must be a list of: text, got 7 at 1"),
        ("zones:\n  rack: {}\n", "pose.yaml:2: zones.rack.polygon is missing"),
        ("video:\n  stride: 1\n  stride: 2\n", "pose.yaml:3: video.stride stands here and on line 2; keep one"),
        ("video: {stride: 1\nx", "pose.yaml:2: not valid YAML"),
        ("video:\n\tstride: 1\n", "pose.yaml:2: not valid YAML"),
        ("- 1\n- 2\n", "pose.yaml:1: expected settings as `key: value`, got a list"),
        ("a: !!python/object:os.system x\n", "pose.yaml:1: not valid YAML"),
        ("? [a, b]\n: 1\n", "pose.yaml:1: a key must be a word"),
        ("source: \x00\n", "pose.yaml: not valid YAML"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper than 40 levels"),
        ("a: " + "[" * 1200, "nested deeper than 40 levels"),
        ("a: &a [*a]\n", "nested deeper than 40 levels"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\n"
            "d: &d [*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e]\n",
            "too many values",
        ),
        ("source: 2024-13-45\n", "pose.yaml: a value cannot be read"),
    ],
)
def test_a_wrong_file_is_told_file_and_line(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert message in str(error.value)


def test_a_wrong_flag_is_named():
    with pytest.raises(ConfigError, match=r"^flag detection.max_people: detection.max_people must be an integer from 1 to 16, got 99$"):
        load(detection={"max_people": 99})


def test_all_problems_are_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "video:\n  stride: 0\ndetection:\n  max_peple: 3\n", {"POSE_COLOUR": "green"})
    lines = str(error.value).splitlines()
    assert lines[0] == "3 settings are wrong:"
    assert len(lines) == 4


def test_a_problem_lies_where_the_winning_value_came_from(tmp_path):
    with pytest.raises(ConfigError, match=r"^environment variable POSE_VIDEO__STRIDE: "):
        load(tmp_path, "video: {stride: 2}\n", {"POSE_VIDEO__STRIDE": "0"})


def test_credentials_and_secrets_stay_out_of_messages(tmp_path):
    class Strict(SettingsModel):
        source: int = 0
        """Number."""
        api_token: SecretStr = Field(SecretStr("x" * 20), min_length=20)
        """Secret."""

    for text in ("source: rtsp://admin:hunter2@cam/\n", "api_token: hunter2\n"):
        file = tmp_path / "pose.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError) as error:
            load_settings(Strict, config_file=file, environ={})
        assert "hunter2" not in str(error.value)
        assert "pose.yaml:1" in str(error.value)


def test_a_missing_file_a_folder_and_foreign_bytes_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="there is no settings file"):
        load_settings(Tree, config_file=tmp_path / "absent.yaml", environ={})
    with pytest.raises(ConfigError, match="cannot read the settings file"):
        load_settings(Tree, config_file=tmp_path, environ={})
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a UTF-8 text"):
        load_settings(Tree, config_file=binary, environ={})
    binary.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        load_settings(Tree, config_file=binary, environ={})


def test_an_empty_file_changes_nothing(tmp_path):
    assert load(tmp_path, "") == load(tmp_path, "# only words\n") == Tree()


def test_merge_keys_work_and_written_keys_overrule_them(tmp_path):
    text = "zones:\n  z: &z {polygon: [[0,0],[1,0],[1,1]]}\n  a:\n    <<: *z\n    polygon: [[9,9],[8,9],[8,8]]\n  b: {<<: *z}\n"
    settings = load(tmp_path, text)
    assert settings.zones["a"].polygon[0] == (9, 9)
    assert settings.zones["b"].polygon[0] == (0, 0)


def test_an_alias_is_not_changed_through_another_place(tmp_path):
    text = "zones:\n  a: &z {polygon: [[0,0],[1,0],[1,1]]}\n  b: *z\n"
    settings = load(tmp_path, text, {"POSE_ZONES__A__POLYGON": "[[5,5],[6,5],[6,6]]"})
    assert settings.zones["b"].polygon[0] == (0, 0)


def test_merged_mappings_keep_their_lines(tmp_path):
    text = "zones:\n  a: &z\n    polygon: [[0,0],[1,0],[1,1]]\n  b:\n    <<: *z\n    polygon: 7\n"
    with pytest.raises(ConfigError, match=r"pose.yaml:6: zones.b.polygon must be"):
        load(tmp_path, text)


def test_a_flag_that_was_not_given_changes_nothing():
    assert load(**{"video.stride": None, "detection": {"name": None}}) == Tree()


def test_one_entry_of_a_mapping_can_be_overruled(tmp_path):
    text = "zones:\n  a: {polygon: [[0,0],[1,0],[1,1]]}\n"
    settings = load(tmp_path, text, **{"zones.b.polygon": [(0, 0), (2, 0), (2, 2)]})
    assert set(settings.zones) == {"a", "b"}


def test_settings_are_frozen_equal_and_picklable(tmp_path):
    settings = load(tmp_path, "video: {stride: 2}")
    with pytest.raises(ValueError, match="frozen"):
        settings.video.stride = 3
    assert settings == load(env={"POSE_VIDEO__STRIDE": "2"})
    assert settings != Tree()
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert explain(copy) == explain(settings)
    assert hash(Video(stride=2)) == hash(settings.video)


def test_a_field_without_a_description_is_refused():
    with pytest.raises(TypeError, match=r"Silent: write under each field what it does and in which unit; missing: speed"):

        class Silent(SettingsModel):
            speed: float = 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=3", ("a.b", 3)),
        ("a=", ("a", None)),
        ("a=[1, x]", ("a", [1, "x"])),
        ("a = b = c", ("a", "b = c")),
        ("source=rtsp://cam/1", ("source", "rtsp://cam/1")),
    ],
)
def test_an_override_is_a_key_and_a_yaml_value(text, expected):
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["stride", "=3", "a=[1,", ""])
def test_a_wrong_override_is_an_error(text):
    with pytest.raises(ConfigError):
        parse_override(text)


def complaint(**options) -> str | None:
    try:
        load_settings(Tree, environ={}, **options)
    except ConfigError as error:
        return str(error)
    return None


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NESTED = st.recursive(LEAVES, lambda inner: st.dictionaries(st.text(max_size=8), inner), max_leaves=8)


@given(st.dictionaries(st.text(max_size=8), NESTED))
def test_whatever_flags_hold_is_accepted_or_refused_in_words(values):
    said = complaint(overrides=values)
    assert said is None or "flag " in said


@given(st.text(max_size=200))
def test_whatever_a_file_holds_is_accepted_or_refused_in_words(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("any") / "pose.yaml"
    file.write_text(text, "utf-8", newline="")
    said = complaint(config_file=file)
    assert said is None or str(file) in said

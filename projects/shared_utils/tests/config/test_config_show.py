"""Settings shown to people and tools."""

from __future__ import annotations

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from shared_utils.config import SettingsModel, dump_yaml, explain, load_settings, settings_schema
from shared_utils.config.problems import allowed


class Section(SettingsModel):
    """A part."""

    ratio: float = Field(0.5, ge=0, le=1)
    """Share, 0..1."""
    names: tuple[str, ...] = ("a",)
    """Words."""


class Tree(SettingsModel):
    """Everything."""

    section: Section = Section()
    """A part of it."""
    source: str = "rtsp://admin:hunter2@cam/1"
    """Address of the camera."""
    limits: dict[str, int] = Field(default_factory=dict)
    """Numbers by name."""
    token: SecretStr | None = SecretStr("hunter2")
    """Secret of the service."""


def test_explain_walks_the_tree_in_order_without_credentials():
    rows = explain(Tree())
    assert [row.key for row in rows] == ["section.ratio", "section.names", "source", "limits", "token"]
    assert rows[2].value == "rtsp://***@cam/1"
    assert rows[0].allowed == "a number from 0 to 1"
    assert rows[0].description == "Share, 0..1."
    assert "hunter2" not in repr(rows)


def test_a_dump_is_yaml_without_secrets():
    text = dump_yaml(Tree())
    assert yaml.safe_load(text) == {"section": {"ratio": 0.5, "names": ["a"]}, "source": "rtsp://***@cam/1", "limits": {}}
    assert "hunter2" not in dump_yaml(Tree(), comments=True)
    assert yaml.safe_load(dump_yaml(Tree(), redacted=False))["source"] == "rtsp://admin:hunter2@cam/1"


def test_comments_say_what_each_setting_does():
    assert dump_yaml(Tree(), comments=True).splitlines()[:4] == [
        "# A part of it.",
        "section:",
        "  # Share, 0..1. A number from 0 to 1; default 0.5.",
        "  ratio: 0.5",
    ]
    assert "default {}." in dump_yaml(Tree(), comments=True)


@given(
    st.builds(
        Tree,
        section=st.builds(Section, ratio=st.floats(0, 1), names=st.lists(st.text(max_size=10), max_size=3).map(tuple)),
        source=st.text(max_size=20),
        limits=st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="."), max_size=5), st.integers(), max_size=3),
        token=st.none(),
    ),
    st.booleans(),
)
def test_a_dump_reads_back_equal(tmp_path_factory, tree, comments):
    file = tmp_path_factory.mktemp("dump") / "pose.yaml"
    file.write_text(dump_yaml(tree, redacted=False, comments=comments), "utf-8")
    assert load_settings(Tree, config_file=file, environ={}) == tree


def test_the_schema_accepts_the_defaults_and_refuses_what_loading_refuses():
    schema = settings_schema(Tree)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema).is_valid
    assert check(yaml.safe_load(dump_yaml(Tree())))
    assert not check({"section": {"ratio": 2}})
    assert not check({"sektion": {}})
    assert schema["$defs"]["Section"]["properties"]["ratio"]["description"] == "Share, 0..1."


@pytest.mark.parametrize(
    ("annotation", "constraint", "words"),
    [
        (int, {}, "an integer"),
        (int, {"ge": 2}, "an integer of at least 2"),
        (float, {"lt": 3}, "a number below 3"),
        (float, {"gt": 0, "lt": 3}, "a number above 0 and below 3"),
        (int, {"multiple_of": 32, "ge": 32}, "an integer of at least 32, a multiple of 32"),
        (str, {"min_length": 2}, "text (at least 2 characters)"),
        (str, {"pattern": "^a+$"}, "text of the form ^a+$"),
        (list[int], {"max_length": 4}, "a list (at most 4 items) of: an integer"),
        (list, {}, "a list"),
        (Section, {}, "a section of `key: value`"),
        (int | None, {}, "an integer or null"),
    ],
)
def test_what_is_allowed_is_said_in_words(annotation, constraint, words):
    model = type("M", (BaseModel,), {"__annotations__": {"x": annotation}, "x": Field(**constraint)})
    assert allowed(model.model_fields["x"]) == words

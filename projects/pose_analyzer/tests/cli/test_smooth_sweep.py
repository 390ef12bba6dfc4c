"""The sweep of filter settings: admits what keeps to its limits, orders by error, prints for people and machines."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from pose_analyzer.cli import smooth_sweep
from pose_analyzer.cli.smooth_sweep import best_first, register, sweep, sweep_clips
from pose_analyzer.smoothing.noise import load_noise
from shared_utils.errors import ConfigError


@pytest.fixture(scope="module")
def clips():
    return sweep_clips(load_noise())


@pytest.fixture
def app():
    tree = typer.Typer()
    tree.callback()(lambda: None)
    register(tree)
    return tree


def test_the_default_filter_keeps_to_its_limits_and_is_nearer_to_the_truth_than_no_filter(clips):
    [row] = sweep("steady", clips, {})
    assert row.jitter_ratio <= 0.1
    assert row.lag_frames <= 1.0
    assert row.error_ratio < 1.0
    assert row.admitted


def test_more_smoothing_leaves_less_jitter_and_more_lag(clips):
    calm, quick = best_first(sweep("ema", clips, {"time_constant_s": (0.02, 0.1)}))
    calm, quick = sorted((calm, quick), key=lambda row: -row.options["time_constant_s"])
    assert calm.jitter_ratio < quick.jitter_ratio
    assert calm.lag_frames > quick.lag_frames


def test_the_command_lists_the_best_as_json(app, clips, monkeypatch):
    monkeypatch.setattr(smooth_sweep, "sweep_clips", lambda noise: clips)
    result = CliRunner().invoke(app, ["smooth-sweep", "ema", "--top", "1", "--json"])
    [row] = json.loads(result.stdout)
    assert row["filter"] == "ema"
    assert set(row["options"]) == {"time_constant_s"}
    text = CliRunner().invoke(app, ["smooth-sweep", "ema"]).stdout
    assert "time_constant_s=0.05" in text


def test_an_unknown_filter_is_named(app):
    result = CliRunner().invoke(app, ["smooth-sweep", "median"])
    assert isinstance(result.exception, ConfigError)
    assert "there are steady" in str(result.exception)

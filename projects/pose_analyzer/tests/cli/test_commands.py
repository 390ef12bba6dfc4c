from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time

import pytest

from pose_analyzer.cli import main

FAST = ["--no-video", "--no-plot", "--max-seconds", "0.6"]


def test_analyze_prints_the_table_and_writes_the_results(athlete_clip, tmp_path, capsys):
    assert main(["analyze", str(athlete_clip), "--exercise", "squat", "--out", str(tmp_path)]) == 0
    assert "squat: 2 repetitions" in capsys.readouterr().out
    assert (tmp_path / "squat" / "overlay.mp4").exists()


def test_the_same_command_again_keeps_what_is_done(athlete_clip, tmp_path, capsys):
    command = ["analyze", str(athlete_clip), "-e", "squat", "--no-video", "--no-plot", "--json", "--out", str(tmp_path)]
    skipped = []
    for extra in ([], [], ["--force"], ["--stride", "2"]):
        assert main([*command, *extra]) == 0
        skipped.append(json.loads(capsys.readouterr().out)[0]["skipped"])
    assert skipped == [False, True, False, False]


def test_one_bad_source_does_not_cost_the_others(athlete_clip, tmp_path, capsys):
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    status = main(["analyze", str(bad), str(athlete_clip), *FAST, "--json", "--out", str(tmp_path / "out")])
    rows = json.loads(capsys.readouterr().out)
    assert status == 3
    assert [r["complete"] for r in rows] == [False, True]
    assert "bad.mp4" in rows[0]["error"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["analyze", "nowhere.mp4"], 3, "nowhere.mp4"),  # missing file
        (["analyze", "."], 3, "without videos or pictures"),  # folder with nothing in it
        (["analyze"], 2, "Missing argument"),  # no source
        (["analyze", "x.mp4", "--exercise", "squatt"], 2, "squat"),  # misspelt exercise
        (["analyze", "x.mp4", "--set", "detection.thread=1"], 2, "threads"),  # misspelt setting
        (["analyze", "x.mp4", "--set", "detection"], 2, "KEY=VALUE"),  # not a pair
        (["analyze", "x.mp4", "--detector", "yolo", "--model", "absent.pt"], 5, "absent.pt"),  # missing weights
        (["models", "path", "blazepoze"], 5, "blazepose"),  # misspelt model
        (["synth", "absent.yaml", "-o", "x.mp4"], 2, "absent.yaml"),  # missing spec
        (["nonsense"], 2, "nonsense"),  # unknown command
    ],
)
def test_every_mistake_is_one_clear_sentence_and_a_status(arguments, status, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_an_unexpected_error_shows_no_traceback_unless_asked(monkeypatch, capsys):
    def explode(*_args, **_options):
        raise ZeroDivisionError("rtsp://user:secret@cam/")

    monkeypatch.setattr("pose_analyzer.cli.inspect.settings_from", explode)
    assert main(["config", "show"]) == 1
    quiet = capsys.readouterr().err
    assert "Traceback" not in quiet
    assert "secret" not in quiet
    monkeypatch.setenv("POSE_DEBUG", "1")
    main(["config", "show"])
    assert "Traceback" in capsys.readouterr().err


def test_config_show_says_where_each_value_comes_from(tmp_path, monkeypatch, capsys):
    path = tmp_path / "pose.yaml"
    path.write_text("detection:\n  max_people: 2\n")
    monkeypatch.setenv("POSE_VIDEO__STRIDE", "3")
    assert main(["config", "show", "--config", str(path), "--set", "detection.threads=1", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert (settings["detection"]["max_people"], settings["video"]["stride"], settings["detection"]["threads"]) == (2, 3, 1)
    assert main(["config", "show", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "pose.yaml" in shown.replace("\n", "")


def test_the_shipped_settings_file_is_the_defaults_and_can_be_read_back(capsys):
    from pose_analyzer.resources import find_config

    assert main(["config", "show", "--yaml"]) == 0
    shown = capsys.readouterr().out
    path = find_config("pose/default.yaml")
    assert path.read_text(encoding="utf-8") == shown
    assert main(["config", "show", "--config", str(path), "--yaml"]) == 0
    assert capsys.readouterr().out == shown


def test_schemas_are_json_schemas(capsys):
    import jsonschema

    for extra in ([], ["--result"]):
        assert main(["config", "schema", *extra]) == 0
        jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


def test_models_and_exercises_are_listed_for_people_and_machines(capsys):
    assert main(["models", "list"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out
    assert main(["exercises", "--json"]) == 0
    assert "squat" in [row["name"] for row in json.loads(capsys.readouterr().out)]


def test_live_prints_one_json_line_per_event(athlete_clip, capsys):
    assert main(["live", str(athlete_clip), "--seconds", "0.5", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["type"] == "person_entered"


def test_ctrl_c_keeps_what_was_analysed(tmp_path):
    from pose_analyzer.synthetic import scene_for, write_clip

    clip = tmp_path / "long.mp4"
    write_clip(scene_for("squat", reps=8, width=320, height=240, fps=30), clip)
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        "from pose_analyzer.cli.app import entry; entry()",
        "analyze",
        str(clip),
        "-e",
        "squat",
        "-o",
        str(out),
    ]
    # Whoever runs the tests in the background ignores Ctrl-C, and children inherit that.
    listening = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening)
    try:
        # The picture file appears with the first measured frame.
        while not list(out.glob("long/*overlay*")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "goes on from here" in err
    assert "Traceback" not in err
    result = json.loads((out / "long" / "result.json").read_text())
    assert not result["complete"]
    assert result["frames"] > 0


def test_ctrl_c_that_a_library_swallows_still_stops():
    from pose_analyzer.cli.common import stoppable

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stoppable() as check:
            check()
            with contextlib.suppress(KeyboardInterrupt):  # as a destructor does
                signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                check()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)

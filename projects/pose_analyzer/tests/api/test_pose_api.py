"""The API as a client sees it: in this process, and once as a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml

from pose_analyzer.api import create_app
from pose_analyzer.api.main import main
from pose_analyzer.api.settings import PoseApiSettings

REPOSITORY = Path(__file__).resolve().parents[4]


def get(app: Any, path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return anyio.run(ask)


@pytest.fixture
def settings(tmp_path):
    return PoseApiSettings(data_dir=tmp_path / "data", readiness_timeout_s=120)


@pytest.fixture
def app(settings):
    return create_app(settings)


def test_the_default_detectors_weights_are_here_and_copyleft_is_told(app):
    models = {row["name"]: row for row in get(app, "/v1/models").json()}
    assert models["blazepose_detector"]["is_here"] is True
    assert models["blazepose_landmark_full"]["licence"] == "Apache-2.0"
    assert models["blazepose_landmark_full"]["skeleton"] == "blazepose_33"
    assert models["yolo11n-pose"]["licence"] == "AGPL-3.0"


def test_models_are_filtered_by_task_and_a_wrong_task_names_the_right_ones(app):
    rows = get(app, "/v1/models?task=face_detection").json()
    assert {row["task"] for row in rows} == {"face_detection"}
    wrong = get(app, "/v1/models?task=juggling")
    assert wrong.status_code == 422
    assert "face_detection" in wrong.text


def test_no_path_of_this_machine_is_told(app):
    assert str(Path.home()) not in get(app, "/v1/models").text
    assert "site-packages" not in get(app, "/v1/models").text


def test_exercises_are_those_of_the_configuration(app):
    files = {path.stem for path in (REPOSITORY / "config/exercises").glob("*.yaml")}
    listed = {row["name"]: row for row in get(app, "/v1/exercises").json()}
    assert set(listed) == files
    assert listed["squat"]["kind"] == "repetitions"
    assert listed["plank"]["kind"] == "hold"


def test_one_exercise_comes_with_its_thresholds(app):
    written = yaml.safe_load((REPOSITORY / "config/exercises/squat.yaml").read_text())
    told = get(app, "/v1/exercises/squat").json()
    assert told["cues"][0]["angle"] == written["cues"][0]["angle"]
    assert told["cues"][0]["work_deg"] == written["cues"][0]["work_deg"]


@pytest.mark.parametrize("name", ["sqat", "..%2Fscenes%2Fdemo.yaml", "%2Fetc%2Fpasswd.yaml", "config.yaml", "squat.yaml"])
def test_only_names_of_the_list_are_given_out(app, name):
    answer = get(app, f"/v1/exercises/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_devices_end_with_the_processor(app):
    assert get(app, "/v1/devices").json()[-1]["device"] == "cpu"


def test_it_is_ready_when_weights_exercises_and_database_are_there(app, monkeypatch):
    assert get(app, "/readyz").json()["checks"] == {"weights": "ok", "exercises": "ok", "database": "ok"}
    monkeypatch.setattr("pose_analyzer.api.app._DEFAULT_WEIGHTS", ("yolo11x-pose",))
    monkeypatch.setenv("POSE_MODELS_DIR", "/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere")
    answer = get(app, "/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"weights": "failed", "exercises": "ok", "database": "ok"}


def test_it_is_not_ready_without_exercises(settings, monkeypatch):
    monkeypatch.setattr("pose_analyzer.api.app.list_profiles", list)
    answer = get(create_app(settings), "/readyz")
    assert (answer.status_code, answer.json()["checks"]["exercises"]) == (503, "failed")


def test_files_are_named_where_the_service_has_a_folder_of_them(app, tmp_path):
    assert get(app, "/v1/files").json() == {"items": []}
    media = tmp_path / "media"
    (media / "folder").mkdir(parents=True)
    for name in ("b.mp4", "a.MOV", ".hidden.mp4", "notes.txt"):
        (media / name).write_bytes(b"x")
    other = create_app(PoseApiSettings(data_dir=tmp_path / "other", media_dir=media))
    assert get(other, "/v1/files").json() == {"items": [{"name": "a.MOV"}, {"name": "b.mp4"}]}


def test_requests_are_counted_by_route(app):
    get(app, "/v1/exercises/squat")
    assert 'pose_http_requests_total{method="GET",route="/v1/exercises/{name}",status="200"} 1.0' in get(app, "/metrics").text


def test_with_a_token_nobody_else_comes_in_but_the_page_may_ask_for_it(tmp_path):
    app = create_app(PoseApiSettings(data_dir=tmp_path, host="0.0.0.0", token="a-long-enough-token"))  # type: ignore[arg-type]
    assert get(app, "/").status_code == 200
    assert get(app, "/v1/streams").status_code == 401
    assert get(app, "/v1/models").status_code == 401
    assert get(app, "/v1/models", Authorization="Bearer a-long-enough-token").status_code == 200
    assert get(app, "/healthz").status_code == 200


def test_listening_for_others_without_a_token_is_refused(capsys, monkeypatch):
    monkeypatch.delenv("HTTP_API_TOKEN", raising=False)
    assert main(["--host", "0.0.0.0", "--port", "0"]) == 2
    assert "listening on 0.0.0.0 needs a token" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_used_is_one_sentence(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HTTP_API_DATA_DIR", str(tmp_path / "file"))
    assert main(["--port", "0"]) == 2
    assert "data_dir" in capsys.readouterr().err


def test_a_server_of_its_own_answers_and_stops_when_told(tmp_path):
    command = [sys.executable, "-m", "pose_analyzer.api.main", "--host", "127.0.0.1", "--port", "0", "--log-level", "WARNING"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("HTTP_API_")} | {"HTTP_API_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[3]
            assert httpx.get(f"{address}/readyz", timeout=60).json()["status"] == "ready"
            server.send_signal(signal.SIGTERM)
            _, errors = server.communicate(timeout=60)
        finally:
            server.kill()
    assert server.returncode == 0
    assert "RuntimeWarning" not in errors
    assert "Traceback" not in errors

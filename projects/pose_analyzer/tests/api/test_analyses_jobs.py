"""What becomes of jobs when servers are killed, processes die, hosts are slow and people change their minds."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from _analyses_app import Service, own_process, serving

from pose_analyzer.api.job_folders import JobFolders
from pose_analyzer.api.jobs import MAX_ATTEMPTS
from pose_analyzer.reporting import save_session
from pose_analyzer.storage import DATABASE_FILE, AnalysisRecord, AnalysisState, Store
from shared_utils.data_models import Event, EventType, Session

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    """One squat, 320x240 at 15 frames/s."""
    from pose_analyzer.synthetic import scene_for, write_clip

    path = tmp_path_factory.mktemp("clip") / "squat.mp4"
    return write_clip(scene_for("squat", reps=1, azimuth_deg=40, width=320, height=240, fps=15), path).read_bytes()


class Host(http.server.ThreadingHTTPServer):
    """A web server of recordings; `/slow` begins to answer and never ends."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.content = content
        self.asked: list[str] = []
        self.released = threading.Event()
        self.name = f"127.0.0.1:{self.server_address[1]}"


class _Answers(http.server.BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = self.path.split("?")[0]
        if path == "/moved.mp4":
            self._head(302, Location="/clip.mp4")
        elif path == "/away.mp4":
            self._head(302, Location="http://169.254.169.254/latest/meta-data")
        elif path == "/round.mp4":
            self._head(302, Location="/round.mp4")
        elif path == "/private.mp4":
            self._head(401)
        elif path == "/text.mp4":
            self._head(200, Content_Length="5")
            self.wfile.write(b"hello")
        elif path == "/slow.mp4":
            self._head(200, Content_Length="1000000")
            self.wfile.write(bytes(1000))
            self.wfile.flush()
            self.server.released.wait(60)
        elif path == "/endless.mp4":
            self._head(200)
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 16))
        elif path == "/clip.mp4":
            self._head(200, Content_Length=str(len(self.server.content)))
            self.wfile.write(self.server.content)
        else:
            self._head(404)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's word
        pass


@pytest.fixture(scope="module")
def host(clip) -> Iterator[Host]:
    with Host(clip) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield web
        web.released.set()
        web.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory, host):
    with serving(
        tmp_path_factory.mktemp("service") / "data", url_hosts=[host.name], max_queued_jobs=3, max_upload_bytes=500_000
    ) as running:
        yield running


def fetch(service: Service, host: Host, path: str):
    return service.post("/v1/analyses", json={"url": f"http://{host.name}{path}", "exercise": "squat"})


def children(process_id: int) -> list[psutil.Process]:
    """The measuring processes of a server."""
    found = []
    for child in psutil.Process(process_id).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "pose_analyzer.pipeline.workers.child" in child.cmdline():
                found.append(child)
    return found


# --- the server's end -----------------------------------------------------------------------------------
def test_a_job_goes_on_after_the_server_was_killed_in_the_middle_of_it(tmp_path, clip):
    with own_process(tmp_path / "data") as (service, process):
        path = service.upload(clip, exercise="squat").headers["location"]
        service.wait(path, lambda view: view["progress"]["frames"] > 0)
        measuring = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(measuring) == 1
    # The measuring process dies with its server.
    psutil.wait_procs(measuring, timeout=20)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in measuring)
    assert list((tmp_path / "data" / "sessions").iterdir()) == []
    with own_process(tmp_path / "data") as (service, _):
        view = service.finish(path)
        assert (view["state"], view["attempts"], view["summary"]["repetitions"]) == ("done", 2, 1)
        assert service.get(view["links"]["video"]).status_code == 200
        assert {name.split("/")[0] for name in service.files()} == {"sessions", "sources"}


def test_a_server_that_is_told_to_stop_does_so_within_5_s_and_the_job_waits_for_the_next(tmp_path, host):
    with own_process(tmp_path / "data", url_hosts=[host.name]) as (service, process):
        path = fetch(service, host, "/slow.mp4").headers["location"]
        service.wait(path, lambda view: view["state"] == "running" and bool(children(process.pid)))
        begun_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        # Uvicorn ends by the signal it was sent, once it has shut everything down.
        assert process.wait(30) in (0, -signal.SIGTERM)
        assert time.monotonic() - begun_s < 5.0  # the promise itself, not a measurement
    with Store(tmp_path / "data" / DATABASE_FILE) as store:
        record = store.analyses.get(path.rsplit("/", 1)[1])
        assert (record.state, record.attempts) == (AnalysisState.QUEUED, 0)
    assert list((tmp_path / "data" / "work").iterdir()) == []


@contextlib.contextmanager
def left_behind(data_dir: Path, **fields) -> Iterator[Store]:
    """A data folder as a server that was killed leaves it: one job runs."""
    for folder in ("work", "sessions", "sources"):
        (data_dir / folder).mkdir(parents=True, exist_ok=True)
    with Store(data_dir / DATABASE_FILE) as store:
        store.analyses.add(AnalysisRecord(id="a" * 32, name="clip", created_at=NOW, state=AnalysisState.RUNNING, started_at=NOW, **fields))
        yield store


def test_a_job_that_took_the_server_down_time_and_again_is_given_up(tmp_path, clip):
    with left_behind(tmp_path, attempts=MAX_ATTEMPTS):
        (tmp_path / "sources" / ("a" * 32)).write_bytes(clip)
    with serving(tmp_path) as service:
        view = service.get(f"/v1/analyses/{'a' * 32}").json()
        assert view["state"] == "failed"
        assert "ended 3 times" in view["error"]


def test_a_job_whose_recording_is_gone_is_told_as_failed(tmp_path):
    with left_behind(tmp_path, attempts=1):
        pass
    with serving(tmp_path) as service:
        view = service.get(f"/v1/analyses/{'a' * 32}").json()
        assert (view["state"], "recording is gone" in view["error"]) == ("failed", True)


@pytest.fixture
def results(tmp_path_factory) -> Path:
    """A folder of results as a measuring process leaves it."""
    folder = tmp_path_factory.mktemp("results") / "out"
    event = Event(EventType.REP_COMPLETED, "a" * 32, 1, 0.5, 2.5, value=1.0, frames=(15, 75))
    save_session(Session(source="clip", stream_id="a" * 32, frames=90, duration_s=3.0, events=(event,)), folder)
    return folder


def test_results_that_were_whole_before_the_server_was_killed_are_kept(tmp_path, results):
    with left_behind(tmp_path, attempts=MAX_ATTEMPTS):
        shutil.copytree(results, tmp_path / "sessions" / ("a" * 32))
    with serving(tmp_path) as service:
        view = service.get(f"/v1/analyses/{'a' * 32}").json()
        assert (view["state"], view["summary"]["repetitions"]) == ("done", 1)
        assert [event["frames"] for event in service.get(view["links"]["events"]).json()] == [[15, 75]]


def test_results_that_are_damaged_are_not_served(tmp_path, results):
    with left_behind(tmp_path, attempts=1):
        shutil.copytree(results, tmp_path / "sessions" / ("a" * 32))
        (tmp_path / "sessions" / ("a" * 32) / "result.json").write_text('{"events": [')
    with serving(tmp_path) as service:
        view = service.get(f"/v1/analyses/{'a' * 32}").json()
        assert (view["state"], "damaged" in view["error"]) == ("failed", True)
        assert service.get(view["links"]["result"]).status_code == 409
        assert service.files() == set()


def test_what_nobody_owns_is_swept_up_at_the_start(tmp_path):
    with left_behind(tmp_path, attempts=MAX_ATTEMPTS):
        (tmp_path / "work" / "x.upload").write_bytes(b"half")
        (tmp_path / "work" / "y-1").mkdir()
        (tmp_path / "work" / "y-1" / "overlay.mp4").write_bytes(b"half")
        (tmp_path / "sources" / ("b" * 32)).write_bytes(b"nobody's")
        (tmp_path / "sessions" / ("c" * 32)).mkdir()
        (tmp_path / "sessions" / ("c" * 32) / "result.json").write_text("{}")
        (tmp_path / "sources" / ("a" * 32)).write_bytes(b"somebody's")
    with serving(tmp_path) as service:
        owned = {"sources/" + "a" * 32}
        assert service.until_files_are(owned) == owned  # it sweeps beside answering


def test_ids_that_are_paths_lead_to_no_file(tmp_path):
    folders = JobFolders(tmp_path / "data")
    folders.make()
    (tmp_path / "secret").write_text("")
    (tmp_path / "data" / "result.json").write_text("{}")
    for analysis_id in ("../../secret", str(tmp_path / "secret"), "..", "", "a" * 32):
        assert folders.recording(analysis_id) is None
        assert folders.result(analysis_id) is None
    (folders.sources / ("a" * 32)).write_text("")
    assert folders.recording("a" * 32) == folders.sources / ("a" * 32)


def test_a_second_server_leaves_the_first_ones_folder_alone(service):
    with pytest.raises(AssertionError), own_process(service.data_dir) as (_, second):
        assert second.wait(60) == 0
    assert service.get("/v1/analyses").status_code == 200


# --- a measuring process' end ---------------------------------------------------------------------------
def running(service: Service, host: Host, path: str = "/slow.mp4") -> str:
    """A job that runs until it is stopped."""
    location = fetch(service, host, path).headers["location"]
    service.wait(location, lambda view: view["state"] == "running" and bool(children(os.getpid())))
    return location


def test_a_measuring_process_that_dies_costs_its_job_alone(service, host):
    path = running(service, host)
    deadline = time.monotonic() + 60
    while service.get(path).json()["state"] == "running" and time.monotonic() < deadline:
        for child in children(os.getpid()):
            child.kill()
    view = service.finish(path)
    assert (view["state"], "SIGKILL" in view["error"]) == ("failed", True)
    assert service.get("/healthz").status_code == 200
    assert service.files() == set()
    service.delete(path)


def test_jobs_that_wait_and_jobs_that_run_can_be_cancelled_and_the_queue_has_an_end(service, host):
    first = running(service, host)
    waiting = [fetch(service, host, "/slow.mp4").headers["location"] for _ in range(3)]
    full = fetch(service, host, "/slow.mp4")
    assert (full.status_code, full.headers["retry-after"]) == (429, "30")
    assert service.upload(b"x" * 1000).status_code == 429
    listed = service.get("/v1/analyses?state=queued").json()["items"]
    assert [item["links"]["self"] for item in listed] == waiting[::-1]
    for path in (waiting[0], first):
        assert service.post(path + "/cancel").json()["state"] == "cancelled"
        assert service.get(path + "/result").status_code == 409
    service.wait(waiting[1], lambda view: view["state"] == "running")
    for path in (first, *waiting):
        assert service.delete(path).status_code == 204
    assert service.get("/v1/analyses").json()["items"] == []
    assert service.files() == set()
    assert 'pose_jobs{state="running"} 0.0' in service.get("/metrics").text


# --- recordings from the web ----------------------------------------------------------------------------
def test_a_recording_is_fetched_measured_and_its_credentials_are_told_nobody(service, host):
    url = f"http://someone:hunter22@{host.name}/moved.mp4?token=s3cr3t-token"
    answer = service.post("/v1/analyses", json={"url": url, "exercise": "squat"})
    view = service.finish(answer.headers["location"])
    assert (view["state"], view["name"], view["summary"]["repetitions"]) == ("done", "moved.mp4", 1)
    told = json.dumps([answer.json(), view, service.get(view["links"]["result"]).json()])
    assert "hunter22" not in told
    assert "s3cr3t" not in told
    # Once the recording is here, the address is forgotten.
    assert b"hunter22" not in (service.data_dir / DATABASE_FILE).read_bytes()
    service.delete(view["links"]["self"])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/away.mp4", "not fetched from 169.254.169.254"),
        ("/round.mp4", "leads on and on"),
        ("/private.mp4?token=s3cr3t-token", "refuses access"),
        ("/none.mp4", "status 404"),
        ("/text.mp4", "not a video"),
        ("/endless.mp4", "max_upload_bytes"),
    ],
)
def test_a_recording_that_cannot_be_had_fails_with_the_reason(service, host, path, said):
    view = service.finish(fetch(service, host, path).headers["location"])
    assert view["state"] == "failed"
    assert said in view["error"]
    assert "s3cr3t" not in json.dumps(view)
    assert str(service.data_dir) not in view["error"]
    assert service.files() <= {f"sources/{view['id']}"}
    service.delete(view["links"]["self"])
    assert service.files() == set()

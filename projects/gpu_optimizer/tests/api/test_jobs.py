"""Background work: order, progress, ends of every kind; its workers are scripts that do what a test wants."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest
from _served import served
from prometheus_client import CollectorRegistry

from gpu_optimizer.api import GpuApiSettings, create_app, tasks
from gpu_optimizer.api.jobs import Job, JobManager, JobState, QueueFullError
from gpu_optimizer.api.summaries import thinned
from gpu_optimizer.monitoring import SnapshotReader

pytestmark = pytest.mark.usefixtures("prices_of_today")
PRELUDE = "import json, os, sys, time\norder = json.loads(sys.stdin.readline())\ntell = lambda **m: print(json.dumps(m), flush=True)\n"


def no_driver():
    raise OSError("no driver")


def manager(script: str, **changes: Any) -> JobManager:
    options = {"max_queued": 10, "kept": 10, "concurrent": 1, "timeout_s": 60.0, "memory_bytes": 2**31, **changes}
    return JobManager(CollectorRegistry(), command=(sys.executable, "-c", PRELUDE + script), **options)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def run(jobs: JobManager, scene: Callable[[JobManager], Any]) -> Any:
    async def go() -> Any:
        await jobs.start()
        try:
            return await scene(jobs)
        finally:
            await jobs.stop()

    return asyncio.run(go())


async def ended(jobs: JobManager, **order: Any) -> Job:
    job = jobs.submit(Job(kind="estimate", name="x", order=order))
    await until(lambda: job.state.is_final)
    return job


def test_a_job_tells_its_progress_and_gives_its_result(tmp_path):
    flag = tmp_path / "flag"

    async def scene(jobs: JobManager) -> tuple[Job, list[float | None]]:
        job = jobs.submit(Job(kind="estimate", name="x", order={"a": 5, "flag": str(flag)}))
        await until(lambda: job.progress == 0.5)
        seen = [job.progress]
        assert job.stage == "half"
        flag.touch()
        await until(lambda: job.state.is_final)
        return job, [*seen, job.progress]

    wait = "while not os.path.exists(order['flag']): time.sleep(0.01)"
    script = f"tell(progress=0.5, stage='half')\n{wait}\ntell(result={{'twice': order['a'] * 2}})"
    job, seen = run(manager(script), scene)
    assert (job.state, job.result, seen) == (JobState.DONE, {"twice": 10}, [0.5, 1.0])


def test_a_reason_given_by_the_worker_is_the_jobs_error():
    job = run(manager("tell(error='no model of that name')"), ended)
    assert (job.state, job.error, job.result) == (JobState.FAILED, "no model of that name", None)


def test_a_worker_that_dies_fails_its_job_and_not_the_next():
    async def scene(jobs: JobManager) -> list[Job]:
        return [await ended(jobs, die=True), await ended(jobs, die=False)]

    first, second = run(manager("os._exit(9) if order['die'] else tell(result={})"), scene)
    assert first.state is JobState.FAILED
    assert "status 9" in (first.error or "")
    assert second.state is JobState.DONE


def test_a_worker_that_takes_too_long_is_ended():
    job = run(manager("time.sleep(600)", timeout_s=0.5), ended)
    assert job.state is JobState.FAILED
    assert "job_timeout_s" in (job.error or "")


def test_a_running_job_is_cancelled_with_its_process():
    async def scene(jobs: JobManager) -> tuple[Job, int]:
        job = jobs.submit(Job(kind="estimate", name="x", order={}))
        await until(lambda: job.progress is not None and job.process is not None)
        assert job.process is not None
        pid = job.process.pid
        assert jobs.cancel(job)
        await until(lambda: job.ended_at is not None)
        assert not jobs.cancel(job)
        return job, pid

    job, pid = run(manager("tell(progress=0.1)\ntime.sleep(600)"), scene)
    assert job.state is JobState.CANCELLED
    assert not psutil.pid_exists(pid)


def test_a_waiting_job_is_cancelled_and_never_runs():
    async def scene(jobs: JobManager) -> list[Job]:
        running = jobs.submit(Job(kind="estimate", name="x", order={}))
        waiting = jobs.submit(Job(kind="estimate", name="y", order={}))
        await until(lambda: running.state is JobState.RUNNING)
        jobs.cancel(waiting)
        jobs.cancel(running)
        await until(lambda: running.ended_at is not None)
        return [running, waiting]

    assert [job.state for job in run(manager("time.sleep(600)"), scene)] == [JobState.CANCELLED] * 2


def test_stopping_ends_what_runs_and_what_waits_and_cleans_up():
    cleaned: list[str] = []

    async def scene(jobs: JobManager) -> list[Job]:
        made = [jobs.submit(Job(kind="estimate", name=n, order={}, clean=lambda n=n: cleaned.append(n))) for n in ("a", "b")]
        await until(lambda: made[0].progress is not None)
        return made

    made = run(manager("tell(progress=0.1)\ntime.sleep(600)"), scene)
    assert [job.state for job in made] == [JobState.CANCELLED] * 2
    assert sorted(cleaned) == ["a", "b"]


def test_a_worker_knows_neither_the_token_nor_a_gpu(monkeypatch):
    monkeypatch.setenv("HTTP_API_TOKEN", "a-token-of-some-length")
    script = "tell(result={'token': 'HTTP_API_TOKEN' in os.environ, 'gpus': os.environ['CUDA_VISIBLE_DEVICES']})"
    assert run(manager(script), ended).result == {"token": False, "gpus": ""}


def test_only_so_many_wait_and_only_so_many_are_kept():
    async def scene(jobs: JobManager) -> None:
        for _ in range(4):
            await ended(jobs)
        assert len(jobs.list("estimate")) == 2
        jobs._waiting.extend(Job(kind="estimate", name="x", order={}) for _ in range(10))
        with pytest.raises(QueueFullError, match="max_queued_jobs"):
            jobs.submit(Job(kind="estimate", name="x", order={}))
        jobs._waiting.clear()

    run(manager("tell(result={})", kept=2), scene)


# --- the real worker --------------------------------------------------------------------------------
def work(order: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "gpu_optimizer.api.worker"],
        input=json.dumps({"memory_bytes": 2**33, **order}) + "\n" * 2,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_worker_ends_when_the_service_does():
    with subprocess.Popen([sys.executable, "-m", "gpu_optimizer.api.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(60) == 0


def test_a_long_timeline_keeps_its_peak():
    values = [1] * 5000
    values[3777] = 99
    rows = thinned(range(5000), values, 100)
    assert len(rows) == 100
    assert 3777 in rows
    assert rows == sorted(rows)


# --- over HTTP --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def client():
    app = create_app(GpuApiSettings(max_upload_bytes=10_000), reader=SnapshotReader(no_driver))
    with served(app) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.mark.parametrize("kind", ["estimates", "plans", "snapshots"])
def test_an_unknown_job_is_not_found(client, kind):
    for answer in (client.get(f"/v1/{kind}/none"), client.post(f"/v1/{kind}/none/cancel"), client.delete(f"/v1/{kind}/none")):
        assert answer.status_code == 404
        assert f"there is no {kind[:-1]} 'none'" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"batch": 0}, "batch"),
        ({"precision": "fp4"}, "precision"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"modell": "x"}, "modell"),
        ({"accumulation": 0}, "accumulation"),
        ({"model": "../../secrets.json"}, "paths are not read"),
        ({"model": "config.json"}, "paths are not read"),
        ({"model": "my_module:function"}, "paths are not read"),
    ],
)
def test_a_wrong_estimate_is_refused_by_field(client, change, word):
    answer = client.post("/v1/estimates", json={"model": "resnet50", **change})
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


def test_a_snapshot_that_is_too_large_is_refused_while_it_arrives(client, tmp_path):
    assert client.post("/v1/snapshots", content=b"x" * 20_000).status_code == 413
    assert client.post("/v1/snapshots", content=iter([b"x" * 6000] * 3)).status_code == 413


def test_a_name_of_a_client_has_no_control_characters(client):
    made = client.post("/v1/snapshots", params={"name": "a\x00\n\x1b[31mb"}, content=b"x").json()
    assert made["name"] == "a [31mb"
    client.delete(f"/v1/snapshots/{made['id']}")


def test_an_empty_snapshot_is_refused(client):
    answer = client.post("/v1/snapshots", content=b"")
    assert answer.status_code == 422
    assert "_dump_snapshot" in answer.json()["detail"]


def test_processes_are_told_only_where_the_setting_is_on(client):
    assert client.get("/v1/processes").status_code == 403
    with served(create_app(GpuApiSettings(processes=True), reader=SnapshotReader(no_driver))) as address:
        assert httpx.get(f"{address}/v1/processes").json() == {
            "processes": [],
            "told": {},
            "problem": "no NVIDIA driver answers (no driver)",
        }


def finished(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    while (job := client.get(answer.headers["location"]).json())["state"] in ("queued", "running"):
        time.sleep(0.05)
    return job


SMALL = {"model_type": "gpt2", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
ORDER = {"batch": 2, "precision": "fp32", "optimizer": "adamw", "accumulation": 1, "target": "cuda", "name": "gpt2"}


def test_an_estimate_is_made_in_the_background(client):
    job = finished(client, "/v1/estimates", model=SMALL, batch=2, optimizer="sgd")
    assert (job["state"], job["error"]) == ("done", None)
    assert (job["result"]["batch_size"], job["result"]["optimizer"]) == (2, "sgd")
    listed = client.get("/v1/estimates").json()["items"]
    assert any(item["id"] == job["id"] and item["result"] is None for item in listed)
    assert client.delete(f"/v1/estimates/{job['id']}").status_code == 204
    assert client.get(f"/v1/estimates/{job['id']}").status_code == 404


def test_a_plan_for_an_unknown_machine_names_those_that_are_known(client):
    job = finished(client, "/v1/plans", model="lstm", machine="abacus", budget="1GiB")
    assert job["state"] == "failed"
    assert "l4" in job["error"]


def test_an_estimate_of_billions_is_small_to_send_and_true_to_its_sums():
    result = tasks.run_estimate({**ORDER, "model": "llama-block", "name": "llama-block"}, lambda ratio, stage: None)
    moments = [sum(row) for row in zip(*result["timeline"]["categories"].values(), strict=True)]
    assert max(moments) == pytest.approx(result["peak_bytes"], rel=0.01)
    assert sum(result["by_category_bytes"].values()) == result["peak_bytes"]
    assert result["parameters"] * 4 == result["by_category_bytes"]["parameters"]
    assert len(json.dumps(result)) < 500_000


def test_a_plan_is_made_for_a_machine_that_is_not_here():
    stages: list[str] = []
    result = tasks.run_plan({**ORDER, "model": SMALL, "machine": "l4", "budget": "20GiB"}, lambda ratio, stage: stages.append(stage))
    assert result["budget_bytes"] == 20 * 2**30
    assert result["predicted_peak_bytes"] <= result["budget_bytes"]
    assert stages[0] == "loading torch"


def test_models_machines_and_prices_are_told(client):
    assert "gpt2" in {row["model"] for row in client.get("/v1/models").json()}
    assert "l4" in {row["machine"] for row in client.get("/v1/machines").json()}
    found = client.get("/v1/prices", params={"gpu": "H100", "min_memory_gib": 80}).json()["items"]
    assert found
    assert all(price["gpu_memory_gib"] >= 80 and price["source"] and price["date"] and not price["spot"] for price in found)
    assert [p["usd_per_hour"] for p in found] == sorted(p["usd_per_hour"] for p in found)

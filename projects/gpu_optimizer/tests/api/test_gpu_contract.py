"""The service answers as its own OpenAPI document says, whatever it is asked (schemathesis)."""

from __future__ import annotations

import httpx
from _contract import ask_everything
from _fake_nvml import FakeNvml
from _served import served

from gpu_optimizer.api import GpuApiSettings, create_app
from gpu_optimizer.monitoring import SnapshotReader

# Which names are models, which bytes a snapshot, and which prices are young enough, no schema can say.
_JUDGED_BY_CONTENT = {"POST /v1/estimates", "POST /v1/plans", "POST /v1/snapshots", "GET /v1/prices"}


def test_every_answer_is_one_that_the_document_tells_of(subtests):
    nvml = FakeNvml()
    # One job at a time and one in line: what is asked is tried, not computed.
    app = create_app(GpuApiSettings(processes=True, max_queued_jobs=1), reader=SnapshotReader(lambda: nvml))
    with served(app) as address:
        assert ask_everything(address, subtests, judged_by_content=_JUDGED_BY_CONTENT) > 100
        assert httpx.get(f"{address}/healthz").status_code == 200

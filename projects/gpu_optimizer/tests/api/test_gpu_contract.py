"""The service answers as its own OpenAPI document says, whatever it is asked (schemathesis)."""

from __future__ import annotations

import httpx
import pytest
from _fake_nvml import FakeNvml
from _served import served

from gpu_optimizer.api import GpuApiSettings, create_app
from gpu_optimizer.monitoring import SnapshotReader

schemathesis = pytest.importorskip("schemathesis")

_EXAMPLES = 12
# Which names are models, which bytes a snapshot, and which prices are young enough, no schema can say.
_JUDGED_BY_CONTENT = {"POST /v1/estimates", "POST /v1/plans", "POST /v1/snapshots", "GET /v1/prices"}


def test_every_answer_is_one_that_the_document_tells_of(subtests):
    from hypothesis import HealthCheck, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    nvml = FakeNvml()
    # One job at a time and one in line: what is asked is tried, not computed.
    app = create_app(GpuApiSettings(processes=True, max_queued_jobs=1), reader=SnapshotReader(lambda: nvml))
    asked = 0
    with served(app) as address:
        document = schemathesis.openapi.from_url(f"{address}/openapi.json")
        for found in document.get_all_operations():
            operation = found.ok()
            excluded = [positive_data_acceptance] if operation.label in _JUDGED_BY_CONTENT else []
            with subtests.test(operation=operation.label):

                @settings(max_examples=_EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
                @given(case=operation.as_strategy())
                def ask(case):
                    nonlocal asked
                    asked += 1
                    case.call_and_validate(timeout=60, excluded_checks=excluded)  # noqa: B023  # called at once

                ask()
        assert httpx.get(f"{address}/healthz").status_code == 200
    assert asked > 100

"""The service answers as its own OpenAPI document says, whatever it is asked (schemathesis)."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

_EXAMPLES = 15


@pytest.fixture(scope="module")
def document(server):
    return schemathesis.openapi.from_url(f"{server.address}/openapi.json")


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=_EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_tells_of(case, server):
    case.call_and_validate(timeout=30, base_url=server.address)
    assert server.is_running

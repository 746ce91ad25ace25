"""Chains of requests that schemathesis makes up from OpenAPI: no 500, and nothing that is not documented."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.conformance.conftest import Served

schemathesis: Any = pytest.importorskip("schemathesis", reason="schemathesis is not in this set of versions")

pytestmark = pytest.mark.drivers("sqlite+aiosqlite", "postgresql+asyncpg")
_STEPS = 6


def test_the_blog(blog: Served, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    from schemathesis.specs.openapi import checks  # noqa: PLC0415 - it may be missing

    held = (
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.use_after_free,
    )
    schema = schemathesis.openapi.from_url(f"{blog.address}/openapi.json")
    answered: Counter[str] = Counter()

    class Requests(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            blog.reset()

        def validate_response(self, response: Any, case: Any, **options: Any) -> None:
            answered[f"{case.operation.label} {response.status_code}"] += 1
            case.validate_response(response, checks=held, transport_kwargs=options, recorder=self.recorder)

    wanted: int = request.config.getoption("--api-cases")
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    runs = settings(
        max_examples=max(1, min(50, wanted // _STEPS)),
        stateful_step_count=_STEPS,
        deadline=None,
        suppress_health_check=quiet,
        database=None,
    )
    while answered.total() < wanted:
        Requests.run(settings=runs)
    with capsys.disabled():
        print(f"\n{request.node.name}: {answered.total()} requests, {dict(sorted(answered.items()))}")  # noqa: T201 - the figures
    assert len({each.split()[1] for each in answered}) > 1, "chains of several routes"

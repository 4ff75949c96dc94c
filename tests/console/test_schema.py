"""The API conforms to its OpenAPI document; schemathesis generates the requests."""

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from onhook.console.auth import failures
from tests.console.conftest import ConsoleHarness
from tests.factories import QUEUE, SN, details

EXAMPLES_MAX = 20
"""Examples per operation and mode."""

ENDLESS_PATH = "/api/v1/live"
"""An endless stream; tests/console/test_live.py tests it."""

EXCLUDED_CHECKS = [positive_data_acceptance, negative_data_rejection]
"""An existing date, a valid cursor, a text that is a number as well: accepted or rejected, but never a 5xx."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_api_responses_match_the_schema(
    harness: ConsoleHarness, mode: GenerationMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each response is described by the schema and is never a 5xx; without a token it is 401."""
    # Each operation is also requested with wrong tokens, from one address; this limit has its own test.
    monkeypatch.setattr(failures.WrongTokens, "allowed_count", 1_000_000)
    await harness.ingest_details([details(), details(call_id="1777287876.9", call_to=QUEUE), details(status="BUSY")])
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s"}' % SN.encode()])
    requested = await asyncio.to_thread(request_all_operations, harness, mode)
    assert "POST /api/v1/pbxs" in requested
    assert len(requested) >= 17


def request_all_operations(harness: ConsoleHarness, mode: GenerationMode) -> set[str]:
    """Request every operation of the schema with generated parameters; return the requested ones."""
    headers = {"Authorization": f"Bearer {harness.admin_token}"}
    schema = schemathesis.openapi.from_url(f"{harness.url}/schema/openapi.json", headers=headers)
    requested = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        can_be_wrong = list(operation.iter_parameters()) or operation.body
        if operation.path != ENDLESS_PATH and (can_be_wrong or mode is GenerationMode.POSITIVE):
            request_operation(operation, mode, headers)
            requested.add(f"{operation.method.upper()} {operation.path}")
    return requested


def request_operation(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: Any) -> None:
        # The web server itself rejects an invalid Content-Length, before any route.
        case.headers.pop("content-length", None)
        case.call_and_validate(headers=headers, excluded_checks=EXCLUDED_CHECKS)

    once()

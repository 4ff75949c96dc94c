"""Logs of OpenTelemetry, against a local server with the interface of OTLP/HTTP: no collector is at hand."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.otlp_log import format_log_request
from onhook.delivery.samples import sample_operational_event
from tests.delivery.destinations.contract import REFUSED, DestinationContract, open_client
from tests.delivery.destinations.http_server import HttpServer, ReceivedRequest
from tests.factories import record


def plain(value: dict[str, Any]) -> Any:
    """Return a value of the protocol as the value itself."""
    ((kind, content),) = value.items()
    if kind == "kvlistValue":
        return {item["key"]: plain(item["value"]) for item in content["values"]}
    if kind == "arrayValue":
        return [plain(item) for item in content["values"]]
    return int(content) if kind == "intValue" else content


def plain_members(key_values: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["key"]: plain(item["value"]) for item in key_values}


def only_log_record(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the log record of a request, and the attributes of its resource."""
    (resource_logs,) = json.loads(body)["resourceLogs"]
    (scope_logs,) = resource_logs["scopeLogs"]
    (log_record,) = scope_logs["logRecords"]
    return log_record, plain_members(resource_logs["resource"]["attributes"])


class Collector(HttpServer):
    """See `contract.KindServer`: rejects as the protocol has it, with status 200."""

    kind = "otlp"

    def __init__(self) -> None:
        super().__init__()
        self.log_records: list[dict[str, Any]] = []
        self._durations: dict[str, int] = {}

    def durations(self) -> dict[str, int]:
        return self._durations

    def answer(self, request: ReceivedRequest) -> tuple[int, bytes]:
        assert request.path == "/v1/logs"
        if self.is_refusing and REFUSED.encode() in request.body:
            return 200, b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too long"}}'
        self.accepted.append(request)
        log_record, _resource = only_log_record(request.body)
        self.log_records.append(log_record)
        if not is_test(log_record):
            body = plain(log_record["body"])
            self._durations[body["call_id"]] = body["talk_duration"]
        return 200, b'{"partialSuccess":{}}'


def is_test(log_record: dict[str, Any]) -> bool:
    return "onhook.test" in plain_members(log_record["attributes"])


@pytest.fixture
async def server() -> AsyncIterator[Collector]:
    server = Collector()
    await server.start()
    yield server
    await server.stop()


class TestOtlp(DestinationContract):
    """The promises of every kind."""


async def test_otlp_log_record_has_the_members_of_the_record(server: Collector) -> None:
    source = record(extra={"custom": [1, 2.5, {"a": True}]}, answered_at=None)
    client = open_client(server.settings, "geheimgeheim")
    await client.send([Notification("r1-7", client.format_payload(source), 1)])
    await client.close()
    (request,) = server.accepted
    log_record, resource = only_log_record(request.body)
    assert resource == {"service.name": "onhook"}
    body = plain(log_record["body"])
    expected = json.loads(client.format_payload(source))
    assert body == {name: value for name, value in expected.items() if value is not None}
    assert plain_members(log_record["attributes"]) == {
        "onhook.id": "r1-7",
        "onhook.sn": source.sn,
        "onhook.call_id": source.call_id,
    }
    assert source.ended_at is not None
    assert int(log_record["timeUnixNano"]) == int(source.ended_at.timestamp()) * 1_000_000_000
    assert (log_record["severityNumber"], log_record["severityText"]) == (9, "INFO")
    assert (log_record["eventName"], request.headers["Content-Type"]) == ("onhook.record", "application/json")
    assert request.headers["Authorization"] == "Bearer geheimgeheim"


async def test_otlp_log_hides_the_token(server: Collector) -> None:
    client = open_client(server.settings, "geheimgeheim")
    (result,) = await client.send([Notification("id", client.format_payload(record()), 1)])
    await client.close()
    assert result.exchange is not None
    assert result.exchange.request_headers["Authorization"] == "…"
    assert "geheim" not in repr(result)


@pytest.mark.parametrize("notifies_of", ["alarms", "issues"])
def test_otlp_alarm_and_issue_are_warnings_until_they_end(notifies_of: Any) -> None:
    event = json.loads(sample_operational_event(notifies_of, datetime(2026, 11, 30, tzinfo=UTC)))
    subject = notifies_of.removesuffix("s")
    for ended_at, severity in ((None, "WARN"), ("2026-11-30T01:00:00Z", "INFO")):
        event[subject]["ended_at"] = ended_at
        body = format_log_request(
            json.dumps(event).encode(), notifies_of=notifies_of, service_name="a", notification_id="1", attempted_at=1
        )
        log_record, _resource = only_log_record(body)
        assert (log_record["severityText"], log_record["eventName"]) == (severity, f"onhook.{subject}")


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"\xff", b'{"a":' * 10_000, b'{"partialSuccess":{"rejectedLogRecords":0,"errorMessage":"w"}}'],
    ids=lambda body: repr(body)[:30],
)
async def test_otlp_other_response_of_success_is_accepted(server: Collector, body: bytes) -> None:
    server.reply = (200, body)
    client = open_client(server.settings)
    (result,) = await client.send([Notification("id", client.format_payload(record()), 1)])
    await client.close()
    assert result.outcome == "accepted"

"""Responses of the PBX's web API, as recorded."""

from typing import Any

import msgspec
import pytest

from onhook.pbx.client import PbxWebhook, PbxWebhookConfig, SystemFacts
from onhook.pbx.yeastar.answers import parse_facts, parse_response, parse_webhooks

INFORMATION = {
    "errcode": 0,
    "errmsg": "SUCCESS",
    "data": {
        "device_name": "Office",
        "sn": "3651XXXXXXXX",
        "firmware_version": "37.23.0.123",
        "system_date_format": "DD/MM/YYYY",
        "system_time_format": "12",
        "system_time": "30/06/2026 09:37:17 PM",
        "timestamp": 1782844637,
    },
}


def facts(**changes: Any) -> SystemFacts:
    body = msgspec.json.encode(INFORMATION | {"data": INFORMATION["data"] | changes})  # type: ignore[operator] # a dict
    return parse_facts(parse_response(200, body))


def test_parse_facts_returns_formats_clock_and_offset() -> None:
    """The offset follows from the displayed time and the timestamp."""
    assert facts() == SystemFacts(
        firmware="37.23.0.123",
        sn="3651XXXXXXXX",
        date_format="DD/MM/YYYY",
        time_format="12",
        clock=1782844637,
        offset_seconds=10800,
    )


@pytest.mark.parametrize(
    ("displayed", "date_format"),
    [("06/30/2026 21:37:17", "MM/DD/YYYY"), ("2026/06/30 21:37:17", "YYYY/MM/DD"), ("2026-06-30 21:37:17", "")],
)
def test_parse_facts_reads_offset_in_every_date_format(displayed: str, date_format: str) -> None:
    assert facts(system_time=displayed, system_date_format=date_format).offset_seconds == 10800


def test_parse_facts_without_clock_or_offset_returns_none() -> None:
    """Not zero: a missing offset or clock must not count as UTC."""
    assert facts(system_time="", timestamp="soon") == SystemFacts(
        firmware="37.23.0.123", sn="3651XXXXXXXX", date_format="DD/MM/YYYY", time_format="12"
    )
    assert facts(system_time="99/99/2026 21:37:17").offset_seconds is None
    assert parse_facts(parse_response(200, b'{"errcode":0,"data":[7]}')) == SystemFacts()


@pytest.mark.parametrize(
    ("body", "error_kind"),
    [
        (b'{"errcode":0,"errmsg":"SUCCESS"}', None),
        (b'{"errcode":10004,"errmsg":"TOKEN EXPIRED"}', "token_expired"),
        (b'{"errcode":60002,"errmsg":"MAX LIMITATION EXCEEDED"}', "too_many_tokens"),
        (b'{"errcode":70004,"errmsg":"ACCOUNT IP BLOCKED"}', "needs_operator"),
        (b'{"errcode":10001,"errmsg":"INTERFACE NOT EXISTED"}', "unsupported"),
        (b'{"errcode":40002,"errmsg":"PARAMETER ERROR"}', "invalid_parameter"),
        (b'{"errcode":-2,"errmsg":"INTERNAL SERVER ERROR"}', "temporary"),
        (b'{"errcode":70999,"errmsg":"A NEW ONE"}', "invalid_request"),
        (b'{"errcode":"0"}', "invalid_response"),
        (b"<html>", "invalid_response"),
        (b"[]", "invalid_response"),
        (b"", "invalid_response"),
        (b'{"errcode":' + b"[" * 5000, "invalid_response"),
    ],
)
def test_parse_response_maps_each_code_to_one_error_kind(body: bytes, error_kind: str | None) -> None:
    """The HTTP status is 200 for all of them (yeastar-p-series.md 6)."""
    assert parse_response(200, body).error_kind == error_kind


def test_parse_response_from_proxy_is_temporary() -> None:
    assert parse_response(502, b"<html>").error_kind == "temporary"
    assert parse_response(400, b'{"errcode":10004,"errmsg":"TOKEN EXPIRED"}').error_kind == "token_expired"


def parse_webhook_data(data: Any) -> PbxWebhookConfig:
    return parse_webhooks(parse_response(200, msgspec.json.encode({"errcode": 0, "data": data})))


@pytest.mark.parametrize(
    ("event_ids", "sends_call_ends"),
    [
        (["0"], True),
        ([0], True),
        (["30011", "30012"], True),
        ([30012], True),
        (["30011"], False),
        ([], False),
        (7, False),
    ],
)
def test_parse_webhooks_recognizes_webhook_that_sends_call_ends(event_ids: Any, sends_call_ends: bool) -> None:
    """By the number of the event, or the number for all events, as text or not (yeastar-p-series.md 4.1)."""
    entry = {"url": "https://onhook.example.org/", "secret": "S", "request_method": "post", "event_ids": event_ids}
    config = parse_webhook_data({"enb_webhook_event_push": 1, "webhook_event_push_list": [entry, "no entry"]})
    assert config == PbxWebhookConfig(
        is_enabled=True,
        entries=[
            PbxWebhook(url="https://onhook.example.org/", secret="S", method="POST", sends_call_ends=sends_call_ends)
        ],
    )


@pytest.mark.parametrize(
    "data", [None, [], "none", {}, {"webhook_event_push_list": "none"}, {"enb_webhook_event_push": "0"}]
)
def test_parse_webhooks_of_other_response_returns_empty_config(data: Any) -> None:
    assert parse_webhook_data(data) == PbxWebhookConfig(is_enabled=False, entries=[])


@pytest.mark.parametrize("status", [404, 405, 410, 501])
def test_parse_response_of_missing_endpoint_is_unsupported(status: int) -> None:
    response = parse_response(status, b"<html>Not Found</html>")
    assert (response.error_kind, response.errcode, response.error_text) == (
        "unsupported",
        -status,
        f"HTTP status {status}",
    )

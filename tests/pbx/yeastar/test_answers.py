"""What the PBX's web API answers, as recorded."""

from typing import Any

import msgspec
import pytest

from onhook.pbx.client import SystemFacts
from onhook.pbx.yeastar.answers import parse_facts, parse_response

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


def test_the_pbx_tells_its_formats_and_its_clock() -> None:
    """And by both of its clocks, its offset from UTC."""
    assert facts() == SystemFacts(
        firmware="37.23.0.123",
        sn="3651XXXXXXXX",
        date_format="DD/MM/YYYY",
        time_format="12",
        clock=1782844637,
        offset_seconds=10800,
    )


@pytest.mark.parametrize(
    ("shown", "date_format"),
    [("06/30/2026 21:37:17", "MM/DD/YYYY"), ("2026/06/30 21:37:17", "YYYY/MM/DD"), ("2026-06-30 21:37:17", "")],
)
def test_the_offset_is_read_in_every_format(shown: str, date_format: str) -> None:
    """By the format that stands beside it."""
    assert facts(system_time=shown, system_date_format=date_format).offset_seconds == 10800


def test_what_is_not_told_is_unknown() -> None:
    """Not zero: an offset or a clock that nobody told must not be taken for UTC."""
    assert facts(system_time="", timestamp="soon") == SystemFacts(
        firmware="37.23.0.123", sn="3651XXXXXXXX", date_format="DD/MM/YYYY", time_format="12"
    )
    assert facts(system_time="99/99/2026 21:37:17").offset_seconds is None
    assert parse_facts(parse_response(200, b'{"errcode":0,"data":[7]}')) == SystemFacts()


@pytest.mark.parametrize(
    ("body", "trouble"),
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
def test_each_code_has_one_meaning(body: bytes, trouble: str | None) -> None:
    """The status is 200 for all of them (yeastar-p-series.md 6)."""
    assert parse_response(200, body).error_kind == trouble


def test_a_gateway_in_between_is_no_pbx() -> None:
    """Its pages are worth another try."""
    assert parse_response(502, b"<html>").error_kind == "temporary"
    assert parse_response(400, b'{"errcode":10004,"errmsg":"TOKEN EXPIRED"}').error_kind == "token_expired"

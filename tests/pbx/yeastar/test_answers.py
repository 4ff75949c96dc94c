"""What the PBX's web API answers, as recorded."""

from typing import Any

import msgspec
import pytest

from onhook.pbx.client import Facts
from onhook.pbx.yeastar.answers import read_answer, read_facts

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


def facts(**changes: Any) -> Facts:
    body = msgspec.json.encode(INFORMATION | {"data": INFORMATION["data"] | changes})  # type: ignore[operator] # a dict
    return read_facts(read_answer(200, body))


def test_the_pbx_tells_its_formats_and_its_clock() -> None:
    """And by both of its clocks, its offset from UTC."""
    assert facts() == Facts(
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
    assert facts(system_time="", timestamp="soon") == Facts(
        firmware="37.23.0.123", sn="3651XXXXXXXX", date_format="DD/MM/YYYY", time_format="12"
    )
    assert facts(system_time="99/99/2026 21:37:17").offset_seconds is None
    assert read_facts(read_answer(200, b'{"errcode":0,"data":[7]}')) == Facts()


@pytest.mark.parametrize(
    ("body", "trouble"),
    [
        (b'{"errcode":0,"errmsg":"SUCCESS"}', None),
        (b'{"errcode":10004,"errmsg":"TOKEN EXPIRED"}', "token"),
        (b'{"errcode":60002,"errmsg":"MAX LIMITATION EXCEEDED"}', "full"),
        (b'{"errcode":70004,"errmsg":"ACCOUNT IP BLOCKED"}', "person"),
        (b'{"errcode":10001,"errmsg":"INTERFACE NOT EXISTED"}', "missing"),
        (b'{"errcode":40002,"errmsg":"PARAMETER ERROR"}', "parameter"),
        (b'{"errcode":-2,"errmsg":"INTERNAL SERVER ERROR"}', "later"),
        (b'{"errcode":70999,"errmsg":"A NEW ONE"}', "wrong"),
        (b'{"errcode":"0"}', "garbage"),
        (b"<html>", "garbage"),
        (b"[]", "garbage"),
        (b"", "garbage"),
        (b'{"errcode":' + b"[" * 5000, "garbage"),
    ],
)
def test_each_code_has_one_meaning(body: bytes, trouble: str | None) -> None:
    """The status is 200 for all of them (PROTOCOL.md 6)."""
    assert read_answer(200, body).trouble == trouble


def test_a_gateway_in_between_is_no_pbx() -> None:
    """Its pages are worth another try."""
    assert read_answer(502, b"<html>").trouble == "later"
    assert read_answer(400, b'{"errcode":10004,"errmsg":"TOKEN EXPIRED"}').trouble == "token"

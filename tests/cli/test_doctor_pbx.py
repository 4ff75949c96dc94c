"""`onhook doctor PBX`: one line per check, and what to do."""

import asyncio
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.cdr.sync_types import PushChannelStatus
from onhook.config import Config
from onhook.ops.instance_lock import instance_lock
from onhook.sync import pbx_session
from tests.cli.conftest import Command
from tests.pbx.yeastar.lists import SN
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, PbxResponder, json_response, pbx_responder_in_thread

URL = "https://calls.office.example:30012/a-long-path"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
SINCE = round(datetime(2026, 11, 28, 9, tzinfo=UTC).timestamp())
GOOD = {"url": URL, "secret": SECRET, "request_method": "POST", "event_ids": [30012]}


def healthy(face: PbxResponder) -> None:
    face.information |= {"timestamp": int(time.time())}
    webhooks(face, GOOD)


def webhooks(face: PbxResponder, *entries: dict[str, Any], is_on: int = 1) -> None:
    async def answer(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith("webhook/query"):
            return None
        return json_response(
            errcode=0, data={"enb_webhook_event_push": is_on, "webhook_event_push_list": list(entries)}
        )

    face.override_response = answer


def declared(onhook: Command, port: int, scheme: str = "http") -> None:
    api = ("--api", f"{scheme}://127.0.0.1:{port}", "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET)
    assert onhook("pbx", "add", "Branch", "--sn", SN, "--secret", SECRET, *api)[0] == 0


def test_doctor_pbx_without_errors(onhook: Command) -> None:
    """Each check has its line; no secret is in any."""
    with pbx_responder_in_thread() as face:
        healthy(face)
        declared(onhook, face.port)
        code, out, _ = onhook("doctor", "Branch", "--webhook", URL)
    assert code == 0, out
    for line in (
        "is open",
        "client id and secret are accepted",
        "firmware is 37.23.0.123",
        "its clock is",
        "is set correctly",
        "sends call end events",
    ):
        assert line in out
    assert "a-long-path" not in out
    assert SECRET not in out
    assert CLIENT_SECRET not in out


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (GOOD | {"url": URL[:30]}, "cut off after 30 characters"),
        (GOOD | {"url": "https://elsewhere.example/"}, "no webhook in the PBX has this URL"),
        (GOOD | {"event_ids": [30008, 30011]}, "does not send call end events"),
        (GOOD | {"secret": "another-secret"}, "signed with an unknown secret"),
        (GOOD | {"request_method": "GET"}, "uses the method GET"),
    ],
)
def test_trouble_35_doctor_detects_a_wrong_webhook(onhook: Command, entry: dict[str, Any], line: str) -> None:
    """yeastar-p-series.md 12, 35: a URL that was cut off, a wrong list of events, another secret."""
    with pbx_responder_in_thread() as face:
        healthy(face)
        webhooks(face, entry)
        declared(onhook, face.port)
        _, out, _ = onhook("doctor", "Branch", "--webhook", URL)
    assert line in out
    assert "another-secret" not in out


def test_trouble_24_doctor_handles_a_firmware_without_webhooks_in_its_api(onhook: Command) -> None:
    """yeastar-p-series.md 12, 24: 10001; and no webhook at all."""
    with pbx_responder_in_thread() as face:

        async def missing(request: web.Request) -> web.StreamResponse | None:
            return json_response(errcode=10001, errmsg="INTERFACE NOT EXISTED") if "webhook" in request.path else None

        face.override_response = missing
        declared(onhook, face.port)
        assert "has no webhooks in its API" in onhook("doctor", "Branch")[1]
        webhooks(face, is_on=0)
        assert "no webhook is set" in onhook("doctor", "Branch")[1]


@pytest.mark.parametrize(
    ("errcode", "line", "advice"),
    [
        (10001, "does not report its system information", "onhook pbx change Branch --zone ZONE"),
        (10005, "may not read the PBX's system information", "give the client the permission"),
        (-2, "fails to report its system information (-2 FAILURE)", "calls are back-filled without it"),
    ],
)
def test_doctor_pbx_without_system_information_is_no_error(
    onhook: Command, monkeypatch: pytest.MonkeyPatch, errcode: int, line: str, advice: str
) -> None:
    """The advice fits the case; back-fills work."""
    monkeypatch.setattr(pbx_session, "RETRY_SECONDS", 0.001)
    with pbx_responder_in_thread() as face:

        async def missing(request: web.Request) -> web.StreamResponse | None:
            is_asked = request.path.endswith("system/information")
            return json_response(errcode=errcode, errmsg="FAILURE") if is_asked else None

        face.override_response = missing
        declared(onhook, face.port)
        code, out, _ = onhook("doctor", "Branch")
        assert code == 0
        assert line in out
        assert advice in " ".join(out.split())
        assert "the firmware is older" not in out


def test_doctor_pbx_that_cannot_be_reached_shows_what_to_do(onhook: Command) -> None:
    """The port, the credentials, the address, another PBX, its clock."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    declared(onhook, port)
    code, out, _ = onhook("doctor", "Branch")
    assert (code, f"port {port} cannot be reached" in out) == (1, True)
    assert onhook("pbx", "remove", "Branch")[0] == 0
    with pbx_responder_in_thread() as face:
        healthy(face)
        face.information |= {"sn": "3631A2124XXX", "timestamp": int(time.time()) - 600}
        declared(onhook, face.port)
        code, out, _ = onhook("doctor", "Branch")
        assert (code, "another PBX has this address" in out, "seconds from this server's" in out) == (1, True, True)
        face.login_error_code = 70004
        assert onhook("pbx", "change", "Branch", "--client-id", "another")[0] == 0
        code, out, _ = onhook("doctor", "Branch")
        assert (code, "70004" in out) == (1, True)


def test_doctor_pbx_expired_tokens_are_temporary(onhook: Command) -> None:
    """The advice is to try again, with the time."""
    with pbx_responder_in_thread() as face:
        healthy(face)

        async def ended(request: web.Request) -> web.StreamResponse | None:
            return json_response(errcode=10004, errmsg="TOKEN EXPIRED") if "webhook" in request.path else None

        face.override_response = ended
        declared(onhook, face.port)
        _, out, _ = onhook("doctor", "Branch")
        assert "the permission to read" not in out
        assert (
            "the PBX rejected a new token immediately; next attempt not before 20" in out
            or "try again in some minutes" in out
        )
        face.login_error_code = 60002
        assert onhook("pbx", "change", "Branch", "--client-id", "another")[0] == 0
        _, out, _ = onhook("doctor", "Branch")
        assert "too many active tokens: 60002 REFUSED; next attempt not before 20" in out
        assert " UTC" not in next(line for line in out.splitlines() if "next attempt" in line)


async def save_status(status: PushChannelStatus) -> None:
    async with AppDb(Path("onhook-data/onhook.db")) as appdb:
        await appdb.sync_states.save_push_channel(SN, status)


def test_doctor_pbx_names_the_state_of_the_push_channel(onhook: Command) -> None:
    """Since when it is connected, why it is not, and that it is off while no server runs."""
    with pbx_responder_in_thread() as face:
        healthy(face)
        declared(onhook, face.port)
        assert "OK      the push channel is off: no server is running" in onhook("doctor", "Branch")[1]
        with instance_lock(Config(data=Path("onhook-data"))):
            assert "OK      the push channel is off: it was not opened yet" in onhook("doctor", "Branch")[1]
            for status, line in (
                (PushChannelStatus(state="opening", since=SINCE), "OK      the push channel is being opened since "),
                (PushChannelStatus(state="connected", since=SINCE), "OK      the push channel is connected since "),
                (
                    PushChannelStatus(state="token_refused", since=SINCE, reason="HTTP 403"),
                    "WARNING the PBX refused the push channel at ",
                ),
                (
                    PushChannelStatus(state="waiting", since=SINCE, reason="no connection"),
                    "WARNING the push channel is closed since ",
                ),
            ):
                asyncio.run(save_status(status))
                code, out, _ = onhook("doctor", "Branch")
                (channel_line,) = [text for text in out.splitlines() if "the push channel" in text]
                assert channel_line.startswith(line)
                assert "2026-11-28 09:00:00" in channel_line
                assert status.reason in channel_line
                assert code == 0


def test_doctor_pbx_without_address_or_api_is_one_line(onhook: Command) -> None:
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", SECRET)[0] == 0
    out = onhook("doctor", "Office")[1]
    assert "is not set: no further checks" in out
    assert "the meaning of agent_ring_time is detected from its calls" in out
    assert onhook("pbx", "change", "Office", "--ring-time", "wait")[0] == 0
    assert "the meaning of agent_ring_time is the wait of the caller" in onhook("doctor", "Office")[1]
    api = ("--api", "https://pbx.invalid:8088", "--client-id", "a", "--client-secret", "b")
    assert onhook("pbx", "change", "Office", *api)[0] == 0
    code, out, _ = onhook("doctor", "Office")
    assert (code, "pbx.invalid has no address" in out) == (1, True)
    assert onhook("doctor", "Unknown")[0] == 1

"""Requests of public programs for the original PBX, as they came over the wire, replayed against the PBX API."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.runtime.adapters.simulated_calls import SimulatedCalls
from tests.factories import details
from tests.pbx_api.harness import CLIENT_ID, CLIENT_SECRET, PbxApiHarness, open_pbx_api_harness

REQUESTS: Final = [
    json.loads(line) for line in (Path(__file__).parent / "clients" / "requests.jsonl").read_text().splitlines()
]

EXPECTED_ERRORS: Final = {
    # A 12-hour time sent to a PBX that displays 24 hours.
    "12%3A00%3A00+AM": 40002,
    # A recording and a call that do not exist here.
    "recording/download": 60001,
    "cdr/detail": 60001,
    # No such endpoint on the original either.
    "/logout": 10001,
    # Filters that no stored call has.
    "segments=2": 40002,
}


async def send(harness: PbxApiHarness, recorded: dict[str, Any], values: dict[str, str]) -> tuple[int, bytes]:
    """Send a recorded request byte for byte, with these credentials; return the status and the rest."""
    target, body = recorded["target"], recorded["body"]
    for name, value in values.items():
        target, body = target.replace(f"{{{name}}}", value), body.replace(f"{{{name}}}", value)
    lines = [f"{recorded['method']} {target} {recorded['version']}", f"Host: {harness.address}"]
    lines += [f"{name}: {value}" for name, value in recorded["headers"]]
    if "Upgrade" in dict(recorded["headers"]):
        lines.append("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    host, port = harness.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"server:" not in head.lower()
    status = int(head.split()[1])
    response_body = b"" if status == 101 else await reader.read()
    writer.close()
    return status, response_body


def expected_code(target: str) -> int:
    return next((code for part, code in EXPECTED_ERRORS.items() if part in target), 0)


@pytest.mark.parametrize(
    "recorded",
    REQUESTS,
    ids=lambda recorded: f"{recorded['method']} {recorded['target'][:60]}",
)
async def test_client_request_is_answered_as_by_the_original(recorded: dict[str, Any]) -> None:
    async with open_pbx_api_harness(behaviour=ApiBehaviour(date_format="YYYY/MM/DD")) as harness:
        values = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "token": await harness.token()}
        status, body = await send(harness, recorded, values)
    if "subscribe" in recorded["target"]:
        assert status == 101
    else:
        assert (status, json.loads(body)["errcode"]) == (200, expected_code(recorded["target"]))


EXISTING = [
    recorded
    for recorded in REQUESTS
    if "recording/download" in recorded["target"] or "cdr/detail" in recorded["target"]
]


@pytest.mark.parametrize("recorded", EXISTING, ids=lambda recorded: recorded["target"][:60])
async def test_client_request_of_a_recording_or_call_that_exists_is_answered(
    recorded: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same request, with the call of which it speaks stored; the directory of recordings is a mock."""
    query = dict(parse_qsl(urlsplit(recorded["target"]).query))
    audio = tmp_path / "call.wav"
    audio.write_bytes(b"RIFF")

    async def recording_file(_calls: SimulatedCalls, _sn: str, name: str) -> Path | None:
        return audio if name == query["file"] else None

    monkeypatch.setattr(SimulatedCalls, "recording_file", recording_file)
    async with open_pbx_api_harness(behaviour=ApiBehaviour(date_format="YYYY/MM/DD")) as harness:
        uid = query.get("uid", "20261128042313AB3D1")
        harness.add_records([details(uid=uid, recording=query.get("file", ""))])
        token = await harness.token()
        status, body = await send(harness, recorded, {"token": token})
        answer = json.loads(body)
        assert (status, answer["errcode"]) == (200, 0)
        if "file" in query:
            url = f"http://{harness.address}{answer['download_resource_url']}"
            async with aiohttp.request("GET", url, params={"access_token": token}) as response:
                assert (answer["file"], await response.read()) == (query["file"], b"RIFF")
        else:
            assert answer["data"]["basic"]["uid"] == uid


async def test_path_with_doubled_slashes_is_folded() -> None:
    async with open_pbx_api_harness() as harness:
        for path in ("/openapi//v1.0/cdr/list", "//openapi/v1.0/cdr/list/"):
            request = {
                "method": "GET",
                "target": f"{path}?access_token={await harness.token()}",
                "version": "HTTP/1.1",
                "headers": [["User-Agent", "Go-http-client/1.1"]],
                "body": "",
            }
            status, body = await send(harness, request, {})
            assert (status, json.loads(body)["errcode"]) == (200, 0)

"""FreeSWITCH through the intake: captured requests on real connections, gathered from the ledger, and the calls that
they are.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call
from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.lib.errors import ParseError, Unavailable
from onhook.receiver.http_parser import BODY_BYTES_MAX
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.store.contract import QuarantineEntry
from tests.counts import sampled
from tests.ops.leg_world import DIALECTS, SN, LegWorld, describe, open_leg_world
from tests.pbx.freeswitch.captures import CONSTRUCTED, FREESWITCH, PAYLOADS, assemble, calls_of
from tests.receiver.harness import ReceiverHarness, make_request, open_receiver, statuses

EXPECTED: dict[str, Any] = json.loads((CONSTRUCTED / "expected.json").read_text())
PATH = "/fs/3kFz0qLrB7xN9sVe"
PBX = RegisteredPbx(sn=SN, dialect="freeswitch", path=PATH, networks=(ip_network("127.0.0.0/8"),))
FOLDERS = sorted(path.name for path in PAYLOADS.iterdir() if any(path.glob("*.head.txt")))
BROKEN = ("e02", "e37")
"""With `encode=true` before PR 3152 and encoded values: no JSON."""


@asynccontextmanager
async def open_intake(folder: Path) -> AsyncIterator[tuple[ReceiverHarness, LegWorld]]:
    """An intake and a gatherer with one ledger."""
    async with (
        open_receiver(folder / "ledger.db", [PBX], dialects=DIALECTS) as receiver,
        open_leg_world(folder) as world,
    ):
        yield receiver, world


async def read_calls(world: LegWorld) -> tuple[list[Call], list[QuarantineEntry]]:
    """Return the calls when no leg is waited for any longer; the intake has stored them by this machine's clock."""
    world.clock.us = 4_000_000_000 * 1_000_000
    await world.gather()
    return await world.read_calls()


def captured_requests(folder: str) -> list[bytes]:
    """Return the requests of a folder as they were sent, in order, but to the secret path."""
    requests = []
    for head_path in sorted((PAYLOADS / folder).glob("*.head.txt")):
        body_path = head_path.with_name(head_path.name.replace(".head.txt", ".body"))
        if body_path.exists():
            line, rest = head_path.read_bytes().split(b"\r\n", 1)
            query = line.split(b" ")[1].partition(b"?")[2]
            requests.append(b"POST %s?%s HTTP/1.1\r\n%s" % (PATH.encode(), query, rest) + body_path.read_bytes())
    return requests


async def post(receiver: ReceiverHarness, requests: Sequence[bytes]) -> list[int]:
    """Send requests one after the other on one connection; return the statuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    codes: list[int] = []
    try:
        for request in requests:
            writer.write(request)
            async with asyncio.timeout(30):
                head = await reader.readuntil(b"\r\n\r\n")
                while head.startswith(b"HTTP/1.1 100"):
                    head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            codes += statuses(head)
    finally:
        writer.close()
    return codes


def make_leg_request(body: bytes, **headers: str) -> bytes:
    request = make_request(body, secret=None, **headers).replace(b"Connection: close\r\n", b"")
    return request.replace(b"POST / ", f"POST {PATH}?uuid=3da8bf84-c133-4959-9e24-e72875cb33a1 ".encode(), 1)


def constructed_request(name: str) -> bytes:
    """Return a document as a request; of a captured one its content type too, which may be wrong."""
    content = (CONSTRUCTED / name).read_bytes()
    if not name.endswith(".txt"):
        return make_leg_request(content)
    head, _, body = content.partition(b"\n\n")
    types = [line.partition(b":")[2].strip() for line in head.splitlines() if line.lower().startswith(b"content-type")]
    return make_leg_request(body, **({"Content_Type": types[0].decode()} if types else {}))


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("folder", sampled(FOLDERS))
async def test_intake_captured_requests_are_the_calls_of_their_legs(tmp_path: Path, folder: str) -> None:
    """Each request of each capture, byte for byte, twice: JSON and XML of one leg are one event."""
    requests = captured_requests(folder)
    readable: list[bytes] = []
    for request in requests:
        try:
            FREESWITCH.read_links(body_of(request))
        except ParseError:
            continue
        readable.append(body_of(request))
    unreadable_count = len({body_of(request) for request in requests}) - len(set(readable))
    assert (unreadable_count > 0) is folder.startswith(BROKEN)
    async with open_intake(tmp_path) as (receiver, world):
        assert await post(receiver, requests * 2) == [200] * (2 * len(requests))
        calls, quarantined = await read_calls(world)
        keys = {FREESWITCH.peek(body).key for body in readable}
        assert len({call.call_id for call in calls}) == len(calls)
        assert len(quarantined) == unreadable_count
        assert all("`encode`" in entry.reason for entry in quarantined)
        stored = [event for event in await world.ledger.read(0, 1_000) if event.dialect == "freeswitch"]
        assert len(stored) == len(keys) + unreadable_count
        first_bodies = {FREESWITCH.peek(body).key: body for body in reversed(readable)}
        assert describe(calls) == describe(assemble(details) for details in calls_of(first_bodies.values()) if details)


@pytest.mark.parametrize("name", [name for name, test in EXPECTED.items() if "calls" in test])
async def test_intake_acceptance_values(tmp_path: Path, name: str) -> None:
    """FS1, FS5, FS6, FS7, FS8 and FS9, in each order where that is free."""
    test = EXPECTED[name]
    requests = [constructed_request(document) for document in test["in"]]
    orders = list(itertools.permutations(requests)) if test.get("any_order") else [tuple(requests)]
    for number, order in enumerate(orders):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with open_intake(folder) as (receiver, world):
            assert await post(receiver, [*order, *order]) == [200] * (2 * len(order))
            calls, quarantined = await read_calls(world)
            assert (len(calls), len(quarantined)) == (test["calls"], test.get("quarantined", 0))
            for call in calls:
                check_call(call, test)


def check_call(call: Call, test: dict[str, Any]) -> None:
    values = {
        "call_id": call.call_id,
        "status": call.status,
        "type": call.type,
        "talk": call.talk_duration,
        "did": call.did_number,
        "src_trunk": call.src_trunk_name,
        "dst_trunk": call.dst_trunk_name,
        "answered_by": call.answered_by,
        "from": extract_number(call.call_from),
        "to": call.legs[0].call_to,
        "time_start": call.legs[0].time_start,
        "offset_s": call.legs[0].extra["utc_offset_seconds"],
        "call": call.call_duration,
    }
    assert {member: values[member] for member in values.keys() & test.keys()} == {
        member: test[member] for member in values.keys() & test.keys()
    }
    rows = [
        {
            "to": leg.call_to,
            "time_start": leg.time_start,
            "call": leg.call_duration,
            "talk": leg.talk_duration,
            "agent_ring": leg.agent_ring_time,
        }
        for leg in call.legs
    ]
    for row, expected in zip(rows, test.get("rows", rows), strict=True):
        assert {member: row[member] for member in expected} == expected


async def test_intake_fs12_full_disk_is_answered_503_and_the_retry_and_file_are_one_leg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = constructed_request("fs_json_cdr_a_leg.json")
    async with open_intake(tmp_path) as (receiver, world):
        with monkeypatch.context() as patch:

            async def fail(_entries: Sequence[LedgerEntry]) -> list[AppendResult]:
                raise Unavailable("the disk is full")

            patch.setattr(receiver.ledger, "append", fail)
            assert await post(receiver, [request]) == [503]
        assert not await world.ledger.has_events()
        file = make_leg_request(body_of(request).strip() + b"\n")
        assert await post(receiver, [request, request, file]) == [200, 200, 200]
        assert len(await world.ledger.read(0, 10)) == 1


@pytest.mark.parametrize("size", [300 * 1024, BODY_BYTES_MAX + 1])
async def test_intake_fs16_large_document_is_rejected_and_counted(tmp_path: Path, size: int) -> None:
    body = (CONSTRUCTED / "fs_json_cdr_a_leg.json").read_bytes().ljust(size)
    async with open_intake(tmp_path) as (receiver, world):
        assert await post(receiver, [make_leg_request(body)]) == [413]
        assert not await world.ledger.has_events()
        assert await receiver.count_verdicts() == {"too_large": 1}


async def test_intake_fs17_expect_100_continue_is_answered_at_once(tmp_path: Path) -> None:
    request = make_leg_request((CONSTRUCTED / "fs_json_cdr_a_leg.json").read_bytes(), Expect="100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    async with open_intake(tmp_path) as (receiver, _world):
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        async with asyncio.timeout(20):
            writer.write(head + b"\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert statuses(await reader.readuntil(b"\r\n\r\n")) == [200]
        writer.close()


async def test_intake_files_of_the_error_folder_are_the_legs(tmp_path: Path) -> None:
    """As JSON, percent-encoded and Base64 text, with a line feed: sent again with curl."""
    paths = [
        path for path in sorted(PAYLOADS.glob("e*/disk/*/*.cdr.json")) if not str(path.parts[-4]).startswith(BROKEN)
    ]
    requests = [make_leg_request(path.read_bytes(), Content_Type="application/x-www-form-urlencoded") for path in paths]
    async with open_intake(tmp_path) as (receiver, world):
        assert await post(receiver, requests) == [200] * len(paths)
        calls, quarantined = await read_calls(world)
        assert (len(calls) > 0, quarantined) == (True, [])

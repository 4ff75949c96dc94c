"""A reader with masked numbers finds no digits of them: on no page, route, export and feed, by no filter."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zipfile import ZipFile

import aiohttp
import duckdb
import pytest

from onhook.appdb.masking import load_masking
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_masking import Mask, mask_number
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.reports.kinds import KINDS
from onhook.store.contract import SUMMARY_DIMENSIONS
from tests.console.conftest import ConsoleHarness
from tests.console.test_limits import handlers
from tests.factories import SN, details

NUMBER = "+4915794638271"
TAIL = "94638271"
"""Its last digits: no response contains them, with separators or without."""

NAME = "Erika Musterfrau"
SHORT = "22833"
"""An external number that is as long as an extension."""

INBOUND_ID, OUTBOUND_ID, SHORT_ID, INTERNAL_ID = (f"1777287876.{number}" for number in range(1, 5))
PERIOD = "since=2026-04-01&until=2026-05-01"
MASKS: tuple[Mask, ...] = ("last3", "hash")
RECORDING = f"20260427190436-0{NUMBER[3:]}-1001.wav"


async def add_calls(harness: ConsoleHarness, directory: Path) -> None:
    """Add calls with the number on either side, in all texts of a record and in notes."""
    outside: dict[str, Any] = {"src_trunk_name": "sip", "type": "Inbound", "did_number": "+4930555000"}
    outside["did_name"] = f"from {NUMBER}"
    extra = {"ani": NUMBER, "channel": f"SIP/0{NUMBER[3:]}-0000000a", "call_note": f"rang 0049 {NUMBER[3:]}, {NAME}"}
    party = f"{NAME}<{NUMBER}>"
    await harness.ingest_details(
        [
            details(
                call_id=INBOUND_ID, call_from=party, call_to="Agent<1001>", recording=RECORDING, extra=extra, **outside
            ),
            details(call_id=OUTBOUND_ID, call_from="1001", call_to=party, dst_trunk_name="sip", type="Outbound"),
            details(call_id=SHORT_ID, call_from=SHORT, call_to="1002", status="NO ANSWER", talk_duration=0, **outside),
            details(call_id=INTERNAL_ID, call_from=f"Transfer {NUMBER}<{SHORT}>", call_to="1002"),
            details(call_id="1777287876.5", call_from=party, call_to="1003", status="BUSY", talk_duration=0, **outside),
        ]
    )
    (directory / RECORDING).write_bytes(b"RIFF----WAVEfmt ")
    await harness.appdb.recordings.put(SN, directory)
    now_us = harness.clock.microseconds()
    for text in (f"call back {NUMBER}", f"0{NUMBER[3:]} is a customer"):
        await harness.appdb.notes.write(SN, INBOUND_ID, text, f"vip,{NUMBER}", author="admin", now_us=now_us)


@pytest.fixture
async def masked(harness: ConsoleHarness, tmp_path: Path) -> AsyncIterator[dict[Mask, aiohttp.ClientSession]]:
    """Yield clients of masked readers."""
    directory = tmp_path / "recordings"
    directory.mkdir()
    await add_calls(harness, directory)
    now_us = harness.clock.microseconds()
    tokens = {
        mask: await harness.appdb.tokens.add(mask, "annotator", now_us=now_us, scope=AccessScope(mask=mask))
        for mask in MASKS
    }
    async with harness.client(tokens["last3"]) as first, harness.client(tokens["hash"]) as second:
        yield {"last3": first, "hash": second}


def assert_hidden(text: str, where: str) -> None:
    digits = re.sub(r"[^0-9]", "", text)
    compact = re.sub(r"[\s()./_\-]|%20|%2B", "", text)
    assert TAIL not in compact, where
    assert NUMBER[1:] not in digits, where
    assert "musterfrau" not in text.lower(), where


def readable(body: bytes) -> str:
    """Return a response as text; of a workbook its sheets."""
    if not body.startswith(b"PK"):
        return body.decode(errors="replace")
    with ZipFile(io.BytesIO(body)) as archive:
        return "".join(archive.read(name).decode(errors="replace") for name in archive.namelist())


def targets() -> list[str]:
    """Return the addresses of all GET routes, those with parameters in several ways."""
    filters = {
        "number": [NUMBER, "0" + NUMBER[3:], TAIL, SHORT, "1001"], "call_from": [NUMBER], "call_to": [NUMBER],
        "caller": [NUMBER], "dialled": [NUMBER], "answered_by": [NUMBER, "1001"], "q": [NUMBER, "Erika", SHORT],
        "extra": [f"ani={NUMBER}"], "note": [NUMBER, "call back"], "tag": [NUMBER, "vip"],
    }  # fmt: skip
    queries = ["", "limit=1", *(urlencode({name: text}) for name, texts in filters.items() for text in texts)]
    addresses = [
        f"{path}?{query}&{PERIOD}" for path in ("/calls", "/api/v1/calls", "/api/v1/export.csv") for query in queries
    ]
    addresses += [
        f"/calls?sort={key}&columns=from,to,tags,recording" for key in ("-talk_duration", "started_at", "call_from")
    ]
    addresses += [
        f"/api/v1/records?{query}" for query in queries if not query.startswith(("q", "tag", "note", "caller"))
    ]
    addresses += [f"/api/v1/summary?by={name}&{PERIOD}" for name in (*SUMMARY_DIMENSIONS, "pbx,went_to,answered_by")]
    addresses += [
        f"{path}?report={name}&{PERIOD}" for name in KINDS for path in ("/reports", "/reports.csv", "/api/v1/reports")
    ]
    addresses += [f"/?{PERIOD}", f"/?{PERIOD}&caller={NUMBER}"]
    addresses += [
        f"{path}/{SN}/{call_id}" for path in ("/calls", "/api/v1/calls") for call_id in (INBOUND_ID, OUTBOUND_ID)
    ]
    addresses += [
        f"{path}sn={SN}&call_id={INBOUND_ID}" for path in ("/call?earlier=yes&", "/api/v1/notes?", "/api/v1/recording?")
    ]
    addresses += [f"/api/v1/export.{form}?{PERIOD}" for form in ("jsonl", "xlsx", "csv", "parquet")]
    for path, handler in handlers():
        if handler.http_methods == {"GET"} and path != "/api/v1/live":
            filled = re.sub(r"\{\w+:int\}", "1", path.replace("{sn:str}", SN).replace("{call_id:str}", INBOUND_ID))
            addresses.append(re.sub(r"\{\w+:str\}", "office", filled))
    return addresses


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["last3", "hash"])
async def test_masked_reader_finds_no_digits_of_a_number_at_any_address(
    harness: ConsoleHarness, masked: dict[Mask, aiohttp.ClientSession], mask: Mask
) -> None:
    originals = [record.record_id for record in (await harness.store.records(RecordFilter(), 9)).data]
    statuses = dict.fromkeys((200, 400, 403, 404), 0)
    for address in targets():
        async with masked[mask].get(address, allow_redirects=False) as response:
            body = await response.read()
            # What the reader typed comes back in the address of links and in the form.
            typed = [NUMBER, NUMBER[1:], "0" + NUMBER[3:], TAIL] if TAIL in address else []
            text = readable(body)
            for spelling in typed:
                text = text.replace(spelling, "").replace(spelling.replace("+", "%2B"), "")
            statuses[response.status] = statuses.get(response.status, 0) + 1
            assert response.status in (200, 302, 303, 307, 400, 401, 403, 404, 422, 503), (
                response.status,
                address,
                text,
            )
            assert_hidden(text, address)
            assert_hidden(str(response.headers), address)
            assert not [record_id for record_id in originals if record_id in text], address
            if TAIL in address:
                assert response.status in (400, 403), address
            if body.startswith(b"PAR1"):
                assert_parquet_hidden(body, harness.config.data / "masked.parquet")
    assert statuses[200] > 100
    assert statuses[403] > 20


def assert_parquet_hidden(body: bytes, path: Path) -> None:
    path.write_bytes(body)
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet($1)", [str(path)]).fetchall()
    assert_hidden(str(rows), "parquet")


async def get_json(client: aiohttp.ClientSession, path: str) -> dict[str, object]:
    async with client.get(path) as response:
        assert response.status == 200, (path, await response.text())
        content: dict[str, object] = await response.json()
        return content


async def call_ids(client: aiohttp.ClientSession, **filters: str) -> set[str]:
    data = (await get_json(client, f"/api/v1/calls?{urlencode(filters)}"))["data"]
    assert isinstance(data, list)
    return {call["call_id"] for call in data}


async def test_masked_reader_filters_by_extension_and_by_what_is_shown(
    harness: ConsoleHarness, masked: dict[Mask, aiohttp.ClientSession]
) -> None:
    """A short external number matches only where it is an extension; another extension does not match the masked."""
    key = await harness.appdb.mask_key.get()
    for mask, client in masked.items():
        masked_number = mask_number(NUMBER, mask, key)
        everywhere = {INBOUND_ID, OUTBOUND_ID, "1777287876.5"}
        assert await call_ids(client, number=masked_number) == everywhere
        assert await call_ids(client, q=masked_number) == everywhere
        assert await call_ids(client, caller=masked_number) == everywhere - {OUTBOUND_ID}
        assert await call_ids(client, answered_by=masked_number) == {OUTBOUND_ID}
        assert await call_ids(client, number=SHORT) == {INTERNAL_ID}
        assert await call_ids(client, q=SHORT) == {INTERNAL_ID}
        assert await call_ids(client, number=mask_number(SHORT, mask, key)) == {SHORT_ID}
        assert await call_ids(client, number="1001") == {INBOUND_ID, OUTBOUND_ID}
        assert await call_ids(client, q="Agent") == {INBOUND_ID, OUTBOUND_ID}
        assert await call_ids(client, q="Muster") == set()
        async with client.get("/api/v1/calls", params={"caller": NUMBER}) as response:
            problem = await response.text()
            assert response.status == 400
            assert "masked" in problem
            assert TAIL not in problem
        rows = (await get_json(client, f"/api/v1/summary?by=call_from&{PERIOD}"))["data"]
        assert isinstance(rows, list)
        assert {row["call_from"]: row["calls"] for row in rows} == {
            masked_number: 2, mask_number(SHORT, mask, key): 1, SHORT: 1, "1001": 1
        }  # fmt: skip


async def test_masked_reader_pages_through_all_records(masked: dict[Mask, aiohttp.ClientSession]) -> None:
    for path in ("records", "calls"):
        cursor: object = ""
        ids: list[str] = []
        while cursor is not None:
            page = await get_json(masked["last3"], f"/api/v1/{path}?limit=1&cursor={cursor}")
            data = page["data"]
            assert isinstance(data, list)
            ids += [row["call_id"] for row in data]
            cursor = page["next"]
        assert len({*ids}) == len(ids) == 5
    async with masked["last3"].get("/api/v1/records?cursor=abc") as response:
        assert response.status == 400


@pytest.mark.parametrize("mask", MASKS)
async def test_masked_reader_follows_masked_records(
    harness: ConsoleHarness, masked: dict[Mask, aiohttp.ClientSession], mask: Mask
) -> None:
    masked_number = mask_number(NUMBER, mask, await harness.appdb.mask_key.get())
    for filters, expected in (("", 5), (f"&number={SHORT}", 1), (f"&{urlencode({'number': masked_number})}", 3)):
        async with masked[mask].get(f"/api/v1/live?after=0{filters}") as response:
            text = ""
            async with asyncio.timeout(10):
                while text.count("event: record") < expected:
                    text += (await response.content.readany()).decode()
        assert_hidden(text, filters)
        assert text.count("event: record") == expected
    async with masked[mask].get("/api/v1/live", params={"number": NUMBER}) as response:
        assert response.status == 400


async def test_masked_reader_listens_and_sees_no_file_name(masked: dict[Mask, aiohttp.ClientSession]) -> None:
    async with masked["hash"].get(f"/api/v1/recording?sn={SN}&call_id={INBOUND_ID}") as response:
        assert response.status == 200
        assert await response.read() == b"RIFF----WAVEfmt "
    async with masked["hash"].get(f"/calls/{SN}/{INBOUND_ID}") as response:
        assert "<audio" in await response.text()


async def test_masked_annotator_changes_no_note_with_a_masked_number(
    harness: ConsoleHarness, masked: dict[Mask, aiohttp.ClientSession]
) -> None:
    client, key = masked["last3"], {"sn": SN, "call_id": INBOUND_ID}
    versions = await harness.appdb.notes.history(SN, INBOUND_ID)
    data = (await get_json(client, f"/api/v1/notes?{urlencode(key)}"))["data"]
    assert isinstance(data, list)
    assert data[0]["text"] == "015794638*** is a customer"
    same = {**key, "text": data[0]["text"], "tags": data[0]["tags"]}
    async with client.post("/api/v1/notes", json=same) as response:
        assert response.status == 201
    async with client.post("/api/v1/notes", json={**same, "text": "another"}) as response:
        assert response.status == 400
    assert await harness.appdb.notes.history(SN, INBOUND_ID) == versions
    new: dict[str, Any] = {**key, "call_id": OUTBOUND_ID, "text": "new", "tags": []}
    async with client.post("/api/v1/notes", json=new) as response:
        assert response.status == 201
    assert [note.text for note in await harness.appdb.notes.history(SN, OUTBOUND_ID)] == ["new"]
    # A text with numbers to try would be masked where one is right.
    for trial in ({"text": "638270 638271"}, {"text": "6 38-27 1"}, {"tags": ["638271"]}):
        async with client.post("/api/v1/notes", json=new | trial) as response:
            assert response.status == 400, trial


async def test_export_has_the_mask_that_is_asked_for_unless_the_user_has_another(
    harness: ConsoleHarness, masked: dict[Mask, aiohttp.ClientSession]
) -> None:
    masking = await load_masking(harness.appdb, "hash")
    assert masking is not None
    async with harness.client() as administrator:
        async with administrator.get("/api/v1/export.jsonl?mask=hash") as response:
            lines = [json.loads(line) for line in (await response.text()).splitlines()]
        records = (await harness.store.records(RecordFilter(), 9)).data
        assert {line["record_id"] for line in lines} == {masking.mask_record(record).record_id for record in records}
        assert_hidden(str(lines), "export")
        async with administrator.get("/api/v1/export.csv?mask=none") as response:
            assert NUMBER in await response.text()
        async with administrator.get("/api/v1/export.csv?mask=all") as response:
            assert response.status == 400
        entries = [entry.action for entry in await harness.appdb.audit.latest(9)]
        assert any("mask=hash" in action for action in entries)
    for mask, status in (("none", 400), ("hash", 400), ("last3", 200), ("", 200)):
        async with masked["last3"].get(f"/api/v1/export.csv?mask={mask}") as response:
            assert response.status == status
            assert_hidden(await response.text(), mask)


async def test_share_token_with_a_mask_gives_masked_exports(harness: ConsoleHarness, tmp_path: Path) -> None:
    await add_calls(harness, tmp_path)
    text = await harness.appdb.tokens.add(
        "share", "reader", now_us=1, scope=AccessScope(mask="last3"), export_filter="type=inbound"
    )
    async with harness.client("") as client:
        async with client.get(f"/api/v1/export.csv?token={text}") as response:
            assert response.status == 200
            assert_hidden(await response.text(), "share")
        async with client.get(f"/api/v1/export.csv?token={text}&mask=none") as response:
            assert response.status == 400


@pytest.mark.parametrize("mask", MASKS)
async def test_masked_reports_link_to_the_calls_that_they_count(
    masked: dict[Mask, aiohttp.ClientSession], mask: Mask
) -> None:
    link_count = 0
    for name in ("callers", "dialled", "extensions", "unreturned", "outcomes"):
        report = await get_json(masked[mask], f"/api/v1/reports?report={name}&{PERIOD}")
        columns, rows = report["columns"], report["data"]
        assert isinstance(columns, list)
        assert isinstance(rows, list)
        assert rows, name
        for row in rows:
            for column, cell in zip(columns, row, strict=True):
                if column["kind"] == "count" and cell["href"]:
                    data = (await get_json(masked[mask], "/api/v1" + cell["href"]))["data"]
                    assert isinstance(data, list)
                    assert len(data) == cell["value"], (name, row)
                    link_count += 1
        if name == "extensions":
            assert {row[0]["value"] for row in rows} >= {"1001", "1002"}
            assert not any("anon-" in str(row[0]["value"]) or "***" in str(row[0]["value"]) for row in rows)
    assert link_count > 10


@pytest.mark.usefixtures("masked")
async def test_masked_reader_with_a_masked_number_in_the_scope_sees_its_calls(harness: ConsoleHarness) -> None:
    scope = AccessScope(numbers=(NUMBER,), mask="hash")
    token = await harness.appdb.tokens.add("mobile", "reader", now_us=1, scope=scope)
    async with harness.client(token) as client:
        for path in (f"/api/v1/calls/{SN}/{INBOUND_ID}", f"/calls/{SN}/{INBOUND_ID}", "/api/v1/calls"):
            async with client.get(path) as response:
                assert response.status == 200
                assert_hidden(await response.text(), path)
        assert await call_ids(client) == {INBOUND_ID, OUTBOUND_ID, "1777287876.5"}
        async with client.get(f"/api/v1/calls/{SN}/{SHORT_ID}") as response:
            assert response.status == 404


async def test_repeat_callers_who_are_shown_alike_are_apart(harness: ConsoleHarness) -> None:
    """Two callers of one call each are no repeat caller; a row that others are shown like has no link to calls."""
    begin = datetime(2026, 4, 27, 10, tzinfo=UTC)
    callers = [NUMBER, NUMBER, NUMBER[:-3] + "001", "+4940555123", "+4940555124", "+4950666123", "+4950666123"]
    await harness.ingest_details(
        [
            details(
                begin + timedelta(minutes=number),
                call_id=f"{int(begin.timestamp()) + number}.{number}",
                call_from=caller,
                src_trunk_name="sip",
                type="Inbound",
            )
            for number, caller in enumerate(callers)
        ]
    )
    now_us = harness.clock.microseconds()
    token = await harness.appdb.tokens.add("masked", "reader", now_us=now_us, scope=AccessScope(mask="last3"))
    async with harness.client(token) as reader:
        report = await (await reader.get(f"/api/v1/reports?report=repeat-callers&{PERIOD}")).json()
    *rows, total = report["data"]
    assert {(row[0]["value"], row[1]["value"], bool(row[1]["href"])) for row in rows} == {
        (NUMBER[:-3] + "***", 2, False),
        ("+4950666***", 2, True),
    }
    assert total[1]["value"] == 4
    assert report["note"].startswith("2 of 5 callers called more than once: 4 of 7 calls.")

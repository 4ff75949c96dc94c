"""The JSON API over a real socket."""

import csv
import io
import json
from typing import Any

import aiohttp
import msgspec
import pytest

from onhook.cdr.call_details import DETAIL_FIELDS
from onhook.cdr.record import Record
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import BOB, IVR, QUEUE, SN, details

DERIVED = {
    "sn", "pbx", "record_id", "started_at", "answered_at", "ended_at", "ring_duration", "utc_offset", "offset_from",
    "is_ambiguous", "is_shifted", "via", "received_at", "seq", "extra",
}  # fmt: skip


async def test_api_record_has_all_fields(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A record has the 18 fields under their own names and the derived ones; a missing number is null."""
    await harness.ingest_details([details(call_duration=None, talk_duration=None)])
    answer = await client.get("/api/v1/records")
    (record,) = (await answer.json())["data"]
    assert set(record) == {*DETAIL_FIELDS, *DERIVED}
    assert record["call_duration"] is record["talk_duration"] is record["ended_at"] is None
    assert record["call_to"] == BOB
    assert record["started_at"] == "2026-04-27T11:04:36Z"
    assert (record["utc_offset"], record["offset_from"], record["via"]) == ("+08:00", "ids", "webhook")
    assert msgspec.convert(record, Record).sn == SN


async def test_api_call_has_legs_in_order(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    legs = [details(call_id="1777287876.1", call_to=party) for party in (QUEUE, IVR, BOB)]
    await harness.ingest_details(legs)
    (call,) = (await (await client.get("/api/v1/calls")).json())["data"]
    assert [leg["call_to"] for leg in call["legs"]] == [IVR, QUEUE, BOB]
    assert (call["status"], call["answered_by"], call["talk_duration"]) == ("ANSWERED", "1002", 14)
    assert await (await client.get(f"/api/v1/calls/{SN}/1777287876.1")).json() == call


async def test_api_cursors_list_each_record_once(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Calls that arrive meanwhile do not shift the pages; `next` of the last page is null."""
    await harness.ingest_details([details() for _ in range(7)])
    record_ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await (await client.get("/api/v1/records", params={"limit": 3, "cursor": cursor})).json()
        record_ids += [record["record_id"] for record in page["data"]]
        cursor = page["next"]
        if len(record_ids) == 3:
            await harness.ingest_details([details()])
    assert len(record_ids) == len(set(record_ids)) >= 7


@module_loop
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("number=1001", 3),
        ("number=1003", 1),
        ("call_to=1002&status=no_answer", 1),
        ("status=no%20answer", 2),
        ("min_talk_duration=14", 1),
        ("max_talk_duration=0", 2),
        ("since=2026-04-27T13:04:36&zone=Europe/Berlin", 3),
        ("until=2026-04-27T13:04:36%2B02:00", 0),
        ("since=2026-04-27T11:04:37Z", 0),
        ("pbx=office", 3),
        ("pbx=nowhere", 0),
        ("status=&number=", 3),
        ("extra=account_code%3D4711", 1),
        ("extra=account_code%3D4712", 0),
    ],
)
async def test_api_filters_select_records(
    module_harness: ConsoleHarness, module_client: aiohttp.ClientSession, query: str, expected: int
) -> None:
    """Times are parsed in the requested zone; an empty filter is ignored."""
    unanswered: dict[str, Any] = {"status": "NO ANSWER", "talk_duration": 0}
    await module_harness.ingest_details(
        [
            details(call_id="1777287876.1"),
            details(call_id="1777287876.2", call_from="1003", call_to="1001", **unanswered),
            details(call_id="1777287876.3", extra={"account_code": "4711"}, **unanswered),
        ]
    )
    answer = await module_client.get(f"/api/v1/records?{query}")
    assert answer.status == 200, await answer.text()
    assert len((await answer.json())["data"]) == expected


async def test_api_summary_counts_each_call_once(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Calls are grouped by the day of the reader's zone."""
    await harness.ingest_details([details(), details(status="BUSY", call_duration=0, talk_duration=0)])
    answer = await client.get("/api/v1/summary?by=day&zone=Asia/Kathmandu")
    (row,) = (await answer.json())["data"]
    assert row["day"].startswith("2026-04-27")
    assert (row["calls"], row["answered"], row["missed"], row["busy"], row["talk_duration"]) == (2, 1, 1, 1, 14)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
async def test_api_export_is_a_complete_file(harness: ConsoleHarness, client: aiohttp.ClientSession, form: str) -> None:
    """Each format has a file name, begins as such a file does, and is complete."""
    await harness.ingest_details([details(call_from="=1+1<1001>")])
    answer = await client.get(f"/api/v1/export.{form}?zone=Europe/Berlin")
    body = await answer.read()
    assert answer.headers["Content-Disposition"].endswith(f'.{form}"')
    if form == "csv":
        (row,) = csv.DictReader(io.StringIO(body.decode()))
        assert row["call_from"] == "'=1+1<1001>"
        assert row["started_at"].endswith("+02:00")
    elif form == "jsonl":
        assert json.loads(body)["call_from"] == "=1+1<1001>"
    else:
        assert body.startswith({"parquet": b"PAR1", "xlsx": b"PK"}[form])


async def test_api_event_has_unchanged_bytes(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The `seq` of a record leads to the bytes of its event, also where they are not text."""
    await harness.ingest_details([details()])
    (record,) = (await (await client.get("/api/v1/records")).json())["data"]
    report = await (await client.get(f"/api/v1/events/{record['seq']}")).json()
    assert record["call_id"] in report["text"]
    assert "signature" not in report
    assert report["is_signed"]
    await harness.ingest_bodies([b'{"type":30012,\xff'])
    report = await (await client.get(f"/api/v1/events/{record['seq'] + 1}")).json()
    assert report["text"] is None
    assert report["body_base64"]


async def test_api_quarantine_is_listed_read_and_retried(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s","msg":"{}"}' % SN.encode(), b'{"type":30012}'])
    page = await (await client.get("/api/v1/quarantine?limit=1")).json()
    assert (len(page["data"]), page["next"]) == (1, str(page["data"][0]["seq"]))
    rest = await (await client.get("/api/v1/quarantine", params={"cursor": page["next"]})).json()
    assert (len(rest["data"]), rest["next"]) == (1, None)
    seq = page["data"][0]["seq"]
    entry = await (await client.get(f"/api/v1/quarantine/{seq}")).json()
    assert entry["reason"] == page["data"][0]["reason"]
    assert entry["raw_event"]["seq"] == seq
    retried = await (await client.post(f"/api/v1/quarantine/{seq}/retry")).json()
    assert retried == {"seq": seq, "is_parsed": False, "reason": entry["reason"]}
    assert (await client.post("/api/v1/quarantine/99/retry")).status == 404


async def test_api_pbx_secret_is_returned_once(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """This applies to generated and to given secrets."""
    new = {"name": "branch", "sn": "3631B2124XXX", "zone": "Asia/Dubai", "number_plan": {"queue": "7000-7099"}}
    answer = await client.post("/api/v1/pbxs", json=new)
    assert answer.status == 201
    added = await answer.json()
    assert len(added["secret"]) == 32
    assert added["pbx"]["number_plan"]["queue"] == ["7000-7099"]
    added = {"label": "new", "secret": "abcdefgh"}
    second = await (await client.post("/api/v1/pbxs/branch/secrets", json=added)).json()
    assert (second["label"], second["secret"]) == ("new", "abcdefgh")
    text = await (await client.get("/api/v1/pbxs/branch/secrets")).text()
    assert "abcdefgh" not in text
    assert added["secret"] not in text + await (await client.get("/api/v1/pbxs")).text()
    assert (await client.delete(f"/api/v1/pbxs/branch/secrets/{second['secret_id']}")).status == 204
    assert (await client.delete("/api/v1/pbxs/branch")).status == 204
    assert (await client.get("/api/v1/pbxs/branch")).status == 404
    assert [pbx.name for pbx in await harness.appdb.pbxs()] == ["office"]


async def test_api_changes_a_pbx(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """What is left out stays; an invalid value changes nothing."""
    path = f"/api/v1/pbxs/{SN}"
    changed = await (await client.patch(path, json={"zone": "Europe/Berlin", "number_plan": {"queue": "7000"}})).json()
    assert (changed["name"], changed["zone"], changed["number_plan"]["queue"]) == ("office", "Europe/Berlin", ["7000"])
    changed = await (await client.patch(path, json={"zone": None, "keeps_unregistered": False})).json()
    assert (changed["zone"], changed["keeps_unregistered"]) == (None, False)
    assert changed["number_plan"]["queue"] == ["7000"]
    wrong_digits = {"number_plan": {"extension_digits_max": "many"}}
    for wrong in ({"zone": "Mars/Base"}, {"number_plan": {"queue": "x"}}, wrong_digits, {"sn": "OTHER"}):
        assert (await client.patch(path, json=wrong)).status == 400
    assert (await harness.appdb.pbx(SN)).number_plan.queue == ("7000",)
    plan = {"extension_digits_max": "3", "extension": "12345670-12345679"}
    changed = await (await client.patch(path, json={"number_plan": plan})).json()
    assert changed["number_plan"]["extension_digits_max"] == 3
    number_plan = (await harness.appdb.pbx(SN)).number_plan
    kinds = [number_plan.kind_of(number) for number in ("201", "1001", "12345678")]
    assert kinds == ["extension", "external", "extension"]


async def test_api_serial_numbers_are_added_and_removed(client: aiohttp.ClientSession) -> None:
    path = f"/api/v1/pbxs/{SN}/serial-numbers"
    assert (await (await client.post(path, json={"sn": "3631A2199ZZZ"})).json())["further_sns"] == ["3631A2199ZZZ"]
    assert (await (await client.get("/api/v1/pbxs/3631A2199ZZZ")).json())["sn"] == SN
    assert (await client.post(path, json={"sn": SN})).status == 400
    assert (await client.delete(f"{path}/3631A2199ZZZ")).status == 204
    assert (await client.delete(f"{path}/3631A2199ZZZ")).status == 404

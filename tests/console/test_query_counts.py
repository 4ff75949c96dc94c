"""Pages and requests about many things read them together, not one by one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest

from onhook.appdb.report_spec import ReportSpec
from onhook.cdr.access_scope import AccessScope
from tests.console.conftest import ConsoleHarness
from tests.factories import SN, details

HEADERS = {"Sec-Fetch-Site": "same-origin"}


class Reads:
    """Reads of the store and of the application database; `in_transactions` are those of the store while writers of
    the application database wait.
    """

    def __init__(self) -> None:
        self.store = 0
        self.appdb = 0
        self.in_transactions = 0


@contextmanager
def count_reads(harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    """Count reads inside the block."""
    reads, store, appdb = Reads(), harness.store._database, harness.appdb._database
    store_read, appdb_rows, transaction = store.read, appdb.rows, appdb.transaction
    open_transactions = 0

    async def read(*arguments: Any, **options: Any) -> Any:
        reads.store += 1
        reads.in_transactions += open_transactions > 0
        return await store_read(*arguments, **options)

    async def rows(*arguments: Any, **options: Any) -> Any:
        reads.appdb += 1
        return await appdb_rows(*arguments, **options)

    @asynccontextmanager
    async def counted_transaction(**options: Any) -> AsyncIterator[None]:
        nonlocal open_transactions
        async with transaction(**options):
            open_transactions += 1
            try:
                yield
            finally:
                open_transactions -= 1

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", read)
        patch.setattr(appdb, "rows", rows)
        patch.setattr(appdb, "transaction", counted_transaction)
        yield reads


async def count_page(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, address: str
) -> tuple[int, int]:
    """Return how often a page reads the store and the application database, once both have cached what they cache."""
    assert (await client.get(address)).status == 200
    with count_reads(harness, monkeypatch) as reads:
        assert (await client.get(address)).status == 200
    return reads.store, reads.appdb


async def test_list_of_pbxs_reads_no_more_for_more_pbxs(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.ingest_details([details()])
    before = await count_page(harness, client, monkeypatch, "/pbxs")
    for number in range(12):
        await harness.appdb.add_pbx(name=f"branch {number}", sn=f"BRANCH{number}", secret="s" * 32, now_us=1)
    await harness.publish()
    await harness.ingest_details([details()], "BRANCH3")
    assert await count_page(harness, client, monkeypatch, "/pbxs") == before
    page = await (await client.get("/pbxs")).text()
    assert page.count("UTC+8") + page.count("+08:00") == 2, "the offset of both PBXs with calls"


@pytest.mark.parametrize("mask", ["none", "last3"])
async def test_changes_of_many_calls_read_them_once_and_before_the_transaction(
    harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch, mask: Any
) -> None:
    call_ids = [f"17772878{number:02}.1" for number in range(30)]
    await harness.ingest_details([details(call_id=call_id, call_from="+4930123456") for call_id in call_ids])
    token = await harness.appdb.tokens.add("Carol", "annotator", now_us=1, scope=AccessScope(mask=mask))
    async with harness.client(token, headers=HEADERS) as carol:
        form = [*(("call", f"{SN}\n{call_id}") for call_id in call_ids), ("tags", "vip"), ("action", "add")]
        calls = [{"sn": SN, "call_id": call_id} for call_id in call_ids]
        with count_reads(harness, monkeypatch) as reads:
            answer = await carol.post("/calls/tags", data=form, allow_redirects=False)
            assert answer.status == 303
            assert (await carol.post("/api/v1/missed-calls", json={"calls": calls, "action": "claim"})).status == 200
        assert (reads.store, reads.in_transactions) == (2, 0)
        tags = await harness.appdb.notes.tags_by_call([(SN, call_id) for call_id in call_ids])
        assert set(tags.values()) == {("vip",)}
        assert len(tags) == len(call_ids)


async def test_pages_read_no_alarms_and_issues_that_have_ended(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page says how many are open: a thousand that have ended would be decoded for it."""
    alarms, appdb = harness.appdb.alarms, harness.appdb._database
    for number in range(5):
        await alarms.raise_alarm(SN, "clock", "late", hint="", now_us=number * 10 + 1)
        await alarms.end(SN, "clock", now_us=number * 10 + 2)
    await alarms.raise_alarm(SN, "silence", "no event", hint="", now_us=100)
    row_counts: dict[str, int] = {}
    appdb_rows = appdb.rows

    async def rows(sql: str, *arguments: Any, **options: Any) -> Any:
        sql_rows = await appdb_rows(sql, *arguments, **options)
        row_counts[sql] = len(sql_rows)
        return sql_rows

    with monkeypatch.context() as patch:
        patch.setattr(appdb, "rows", rows)
        for address in ("/calls", "/"):
            assert (await client.get(address)).status == 200
    counts = [count for sql, count in row_counts.items() if " FROM alarms" in sql or " FROM issues" in sql]
    assert counts
    assert max(counts) == 1


async def test_list_of_scheduled_reports_reads_no_more_for_more_of_them(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules = harness.appdb.report_schedules
    await harness.appdb.users.add("Alice", "reader", None, now_us=1)
    spec = ReportSpec(report="volume", addresses=["bob@example.com", "eve@example.com"])
    first = await schedules.add("Alice", "first", spec, now_us=1)
    addresses = ("/report-schedules", "/api/v1/report-schedules")
    before = [await count_page(harness, client, monkeypatch, address) for address in addresses]
    for number in range(9):
        await schedules.add("Alice", f"report {number}", spec, now_us=1)
    await schedules.opt_out(first.schedule_id, "Bob@example.com", now_us=1)
    assert [await count_page(harness, client, monkeypatch, address) for address in addresses] == before
    infos = (await (await client.get("/api/v1/report-schedules")).json())["data"]
    assert {info["name"]: info["unsubscribed"] for info in infos if info["unsubscribed"]} == {
        "first": ["bob@example.com"]
    }

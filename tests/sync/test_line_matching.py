"""Reports of a 3CX beside its lines: over real connections to a stub, and into a real ledger."""

import json
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.record import Record
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.pbx.client import ClientCredentials, ListingPage, SystemFacts, TimeWindow
from onhook.pbx.registry import dialects
from onhook.pbx.threecx.call_list import SETTLE_SECONDS, ThreeCxCallList
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync import line_matching
from onhook.sync.call_list_reader import CallListReader
from onhook.sync.call_lookup import EmptyCallLookup
from onhook.sync.contract import BackfillTotals
from onhook.sync.line_matching import LineMatcher
from onhook.sync.list_backfill import ListBackfill
from onhook.sync.page_ingest import PageIngestor
from onhook.sync.pbx_session import PbxEndpoint
from tests.pbx.threecx.test_acceptance import THREE_CX
from tests.pbx.threecx.test_report import AGENT_SEGMENT, QUEUE_SEGMENT, REPORT
from tests.receiver.harness import MemoryPbxRegistry
from tests.sync.xapi_stub import CLIENT, SECRET, XapiStub, run_xapi

SENDER = RegisteredPbx(sn="3CX", dialect="3cx")
START = datetime(2025, 12, 8, 21, 32, 26, 706340, tzinfo=UTC)
WINDOW = TimeWindow(since=round(START.timestamp()) - 3600, until=round(START.timestamp()) + 200_000)
LINE = (
    b"Call 1,line_1,00:00:57,2025/12/08 21:32:%02d,2025/12/08 21:32:33,2025/12/08 21:33:30,TerminatedBySrc,%s,Ext.%s,"
    b"10000,%s,,,%s,%s,,,,,,Line,Extension,Extension,,,,"
)


class Records:
    """Stored records of lines; the times of each look-up are kept."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = records
        self.spans: list[tuple[datetime, datetime]] = []

    async def find_records_between(self, sn: str, since: datetime, until: datetime) -> Sequence[Record]:
        self.spans.append((since, until))
        return [record for record in self.records if since <= record.started_at <= until]


def record_of(second: int, caller: bytes, callee: bytes, via: str = "line") -> Record:
    """Return the record of a line that began at a second of the minute of the report."""
    (details,) = THREE_CX.parse(LINE % (second, caller, callee, callee, callee, callee))
    leg = ReportedLeg(details=details, seq=1, via=via, received_at=START)
    return assemble_call("3CX", [leg], PbxFacts(dialect="3cx")).legs[0]


@pytest.mark.parametrize(
    ("record", "row_count"),
    [
        (record_of(26, b"+15550100001", b"101"), 0),
        (record_of(28, b"0015550100001", b"101"), 0),
        (record_of(26, b"", b"101"), 0),
        (record_of(26, b"015550100001", b"101"), 0),
        (record_of(26, b"+15550100001", b"999"), 1),
        (record_of(26, b"+15550100002", b"101"), 1),
        (record_of(26, b"", b""), 1),
        (record_of(30, b"+15550100001", b"101"), 1),
        (record_of(26, b"+4930901820", b"102"), 1),
        (record_of(26, b"+15550100001", b"101", via="backfill"), 1),
    ],
)
async def test_report_of_a_call_with_a_line_is_left_out(record: Record, row_count: int) -> None:
    lookup = Records([record])
    matcher = LineMatcher(sn="3CX", dialect=THREE_CX, lookup=lookup)
    page = await matcher.filter_page(ListingPage(rows=[REPORT], done_until=5))
    assert (len(page.rows), page.done_until) == (row_count, 5)
    ((since, until),) = lookup.spans
    assert until - since == timedelta(seconds=7)


def report_of(second: float, caller: str, callee: str) -> bytes:
    """Return the report of a call that began at a second of the minute of the line."""
    names = {"MainCallHistoryId": f"{second} {caller}", "CdrId": f"{second} {caller}", "SourceCallerId": caller}
    parties = {"SourceDn": "10000", "DestinationDn": callee, "DestinationCallerId": callee}
    segment = {**AGENT_SEGMENT, **names, **parties, "StartTime": f"2025-12-08T21:32:{second:09.6f}Z"}
    return json.dumps({"value": [segment]}).encode()


async def test_line_is_that_of_the_nearest_call_alone() -> None:
    """Calls to one queue, and of callers who send no number, are as many as there are."""
    lookup = Records([record_of(26, b"+15550100001", b"101"), record_of(40, b"", b"102")])
    matcher = LineMatcher(sn="3CX", dialect=THREE_CX, lookup=lookup)
    rows = [
        report_of(24.5, "+15550100001", "101"),
        report_of(26.2, "+15550100001", "101"),
        report_of(27.0, "+15550100009", "101"),
        report_of(40.0, "", "102"),
        report_of(40.5, "", "102"),
        report_of(41.0, "", "103"),
    ]
    page = await matcher.filter_page(ListingPage(rows=rows, done_until=5))
    assert page.rows == [rows[0], rows[2], rows[4], rows[5]]


async def test_lines_are_compared_with_calls_of_their_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    comparisons = 0
    has_same_parties = line_matching._has_same_parties

    def count(call: Sequence[CallDetails], line: Record) -> bool:
        nonlocal comparisons
        comparisons += 1
        assert threading.current_thread() is not threading.main_thread()
        return has_same_parties(call, line)

    monkeypatch.setattr(line_matching, "_has_same_parties", count)
    lookup = Records([record_of(second, b"+15550100001", b"101") for second in range(0, 60, 6)])
    matcher = LineMatcher(sn="3CX", dialect=THREE_CX, lookup=lookup)
    rows = [report_of(second + 1, "+15550100001", "101") for second in range(0, 60, 6)]
    assert (await matcher.filter_page(ListingPage(rows=rows, done_until=5))).rows == []
    assert comparisons == len(rows)


async def test_report_that_cannot_be_read_stays_for_the_quarantine() -> None:
    matcher = LineMatcher(sn="3CX", dialect=THREE_CX, lookup=Records())
    damaged = b'{"value":[1]}'
    for rows in ([damaged], [damaged, REPORT], []):
        page = ListingPage(rows=rows, done_until=5)
        assert (await matcher.filter_page(page)).rows == rows


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    yield ledger
    await ledger.close()


async def run_backfill(url: str, ledger: SqliteLedger, lookup: Records, window: TimeWindow) -> BackfillTotals:
    registry = MemoryPbxRegistry([SENDER])
    ingestor = Ingestor(registry=registry, ledger=ledger, dialects=dialects(), clock=SystemClock())
    reader = CallListReader(
        client=ThreeCxCallList(),
        endpoint=PbxEndpoint(url=url, login=ClientCredentials(CLIENT, SECRET)),
        clock=SystemClock(),
    )
    pages = PageIngestor(
        ingestor=ingestor, sender=SENDER, dialect=THREE_CX, call_lookup=EmptyCallLookup(), host=reader.host
    )

    async def ignore(totals: BackfillTotals) -> None: ...

    source = ListBackfill(reader, pages, LineMatcher(sn="3CX", dialect=THREE_CX, lookup=lookup))
    try:
        return await source.backfill(window, SystemFacts(), missed_window=window, on_progress=ignore)
    finally:
        await ingestor.close()


async def test_x14_reports_without_lines_are_stored_once(ledger: SqliteLedger) -> None:
    """The token expires between the days, and the 3CX requests a delay."""
    later = {**AGENT_SEGMENT, "MainCallHistoryId": "later", "CdrId": "later", "StartTime": "2025-12-10T03:00:00.5Z"}
    stub = XapiStub([QUEUE_SEGMENT, AGENT_SEGMENT, later])
    stub.token_uses, stub.delays = 1, [0]
    async with run_xapi(stub) as url:
        totals = await run_backfill(url, ledger, Records(), WINDOW)
        assert (totals.rows, totals.new, totals.unreadable) == (2, 3, 0)
        assert await ledger.last_seq() == 2
        await run_backfill(url, ledger, Records([record_of(26, b"+15550100001", b"101")]), WINDOW)
    assert stub.login_count > 2
    raw_events = await ledger.read(0, 10)
    assert [len(json.loads(event.body)["value"]) for event in raw_events] == [2, 1]


async def test_report_of_the_latest_minutes_is_left_for_later(ledger: SqliteLedger) -> None:
    """A call is in a report some time after its line: until then it is not known to be missing."""
    now = datetime.now(UTC)
    segment = {**AGENT_SEGMENT, "StartTime": f"{now - timedelta(seconds=SETTLE_SECONDS - 60):%Y-%m-%dT%H:%M:%SZ}"}
    window = TimeWindow(since=round(now.timestamp()) - 7200, until=round(now.timestamp()) + 86_400)
    async with run_xapi(XapiStub([segment])) as url:
        totals = await run_backfill(url, ledger, Records(), window)
    assert (totals.rows, await ledger.last_seq()) == (0, 0)
    assert totals.reach_until is not None
    assert 0 <= now.timestamp() + 5 - SETTLE_SECONDS - totals.reach_until < 10

"""One PBX synchronised with a real ledger, with a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CallDetails
from onhook.cdr.coverage import Interval
from onhook.cdr.identity import RecordKey, record_key
from onhook.cdr.record import Record
from onhook.cdr.sync_types import (
    AlarmKind,
    BackfillProgress,
    BackfillRequest,
    BackfillResult,
    PbxStatus,
    PushChannelStatus,
)
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import OnhookError, ParseError, Unavailable
from onhook.pbx.client import ClientCredentials, SystemFacts, TimeWindow
from onhook.pbx.yeastar.client import YeastarClient
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.api_backfill import ApiBackfill
from onhook.sync.contract import BackfillProgressCallback, BackfillTotals, IntervalChange
from onhook.sync.pbx_session import PbxEndpoint, PbxSession
from onhook.sync.pbx_sync import PbxSync
from onhook.sync.push_channel import PushReceiver
from tests.pbx.yeastar.lists import NOON, SN
from tests.receiver.harness import MemoryPbxRegistry
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, PbxResponder


class AdvancingClock:
    """Stands at noon until a test moves it; advances with the monotonic time."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0
        self._started_at = asyncio.get_running_loop().time()

    def microseconds(self) -> int:
        return round((NOON + self.offset_seconds + asyncio.get_running_loop().time() - self._started_at) * 1_000_000)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.microseconds() / 1_000_000, UTC)


class MemorySyncState:
    """Tokens and state in memory; `alarms` are the open ones."""

    def __init__(self) -> None:
        self.token_text = ""
        self.saved_intervals: list[Interval] = []
        self.saved_pbx_status: PbxStatus | None = None
        self.saved_progress: BackfillProgress | None = None
        self.alarms: dict[AlarmKind, str] = {}
        self.offset: int | None = None
        self.pending_request: BackfillRequest | None = None
        self.backfill_result: BackfillResult | None = None
        self.counts: dict[datetime, int] = {}
        self.push_channel_statuses: list[PushChannelStatus] = []

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        yield

    async def load_tokens(self) -> str:
        return self.token_text

    async def save_tokens(self, text: str) -> None:
        self.token_text = text

    async def intervals(self) -> list[Interval]:
        return self.saved_intervals

    async def save_intervals(self, intervals: Sequence[Interval]) -> None:
        self.saved_intervals = list(intervals)

    async def change_intervals(self, change: IntervalChange) -> None:
        self.saved_intervals = list(change(self.saved_intervals))

    async def pbx_status(self) -> PbxStatus | None:
        return self.saved_pbx_status

    async def save_pbx_status(self, pbx_status: PbxStatus) -> None:
        self.saved_pbx_status = pbx_status

    async def backfill_progress(self) -> BackfillProgress | None:
        return self.saved_progress

    async def save_backfill_progress(self, progress: BackfillProgress | None) -> None:
        self.saved_progress = progress

    async def backfill_request(self) -> BackfillRequest | None:
        return self.pending_request

    async def finish_backfill_request(self, result: BackfillResult) -> None:
        self.pending_request, self.backfill_result = None, result

    async def save_push_channel(self, status: PushChannelStatus) -> None:
        self.push_channel_statuses.append(status)

    async def pbx_argument(self) -> str:
        return "Branch"

    async def raise_alarm(self, kind: AlarmKind, detail: str, hint: str) -> None:
        assert hint
        self.alarms[kind] = detail

    async def end_alarm(self, kind: AlarmKind) -> None:
        self.alarms.pop(kind, None)

    async def expected_offset_seconds(self, time: datetime) -> int | None:
        return self.offset

    async def count_records(self, since: datetime, until: datetime) -> int:
        return self.counts.get(since, 10**9)


class MemoryBackfillSource:
    """Source with results that a test sets. `error` is raised by the next back-fill; `counts` are those of days, in the
    order in which they are counted, then the source is unreachable; `windows` are those that were read.
    """

    def __init__(self, counts: Sequence[int | None] = ()) -> None:
        self.facts = SystemFacts()
        self.totals = BackfillTotals()
        self.error: OnhookError | None = None
        self.windows: list[TimeWindow] = []
        self._counts = list(counts)

    async def get_facts(self) -> SystemFacts:
        return self.facts

    async def backfill(
        self,
        window: TimeWindow,
        facts: SystemFacts,
        *,
        missed_window: TimeWindow,
        on_progress: BackfillProgressCallback,
    ) -> BackfillTotals:
        self.windows.append(window)
        error, self.error = self.error, None
        if error is not None:
            raise error
        await on_progress(self.totals)
        return self.totals

    async def count_records(self, window: TimeWindow, facts: SystemFacts) -> int | None:
        if not self._counts:
            raise Unavailable("no connection")
        return self._counts.pop(0)


class LedgerCallLookup:
    """Look-up of a store that is always up to date."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    async def records(self) -> dict[RecordKey, Record]:
        """Return all records, as the projector makes them."""
        calls: dict[tuple[str, str], list[ReportedLeg]] = {}
        dialect = Yeastar()
        for raw_event in await self._ledger.read(0, 1_000_000):
            received_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=raw_event.received_at)
            for details in _parse(dialect, raw_event.body):
                reported_legs = ReportedLeg(
                    details=details, seq=raw_event.seq, via=raw_event.via, received_at=received_at
                )
                calls.setdefault((raw_event.sn, details.call_id), []).append(reported_legs)
        assembled_legs = [
            leg for (sn, _), reported_legs in calls.items() for leg in assemble_call(sn, reported_legs, PbxFacts()).legs
        ]
        assert all(to_reported_leg(leg) for leg in assembled_legs)
        return {record_key(leg.sn, leg): leg for leg in assembled_legs}

    async def find_legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        return [leg for leg in (await self.records()).values() if (leg.sn, leg.call_id) in set(keys)]

    async def find_call_ids(self, sn: str, uids: Sequence[str], window: TimeWindow) -> Mapping[str, str]:
        return {leg.uid: leg.call_id for leg in (await self.records()).values() if leg.uid in set(uids)}


def _parse(dialect: Yeastar, body: bytes) -> Sequence[CallDetails]:
    try:
        return dialect.parse(body)
    except ParseError:
        return []


class SyncHarness:
    """All parts that receive from one PBX."""

    def __init__(
        self, folder: Path, responder: PbxResponder, *, rows_max: int = 1000, url: str = "", fingerprint: str = ""
    ) -> None:
        self.clock = AdvancingClock()
        self.state = MemorySyncState()
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.call_lookup = LedgerCallLookup(self.ledger)
        self.pbx = RegisteredPbx(sn=SN, dialect="yeastar")
        dialects = {"yeastar": Yeastar()}
        self.ingestor = Ingestor(
            ledger=self.ledger, registry=MemoryPbxRegistry([self.pbx]), dialects=dialects, clock=self.clock
        )
        endpoint = PbxEndpoint(
            url=url or f"http://127.0.0.1:{responder.port}",
            login=ClientCredentials(CLIENT_ID, CLIENT_SECRET),
            fingerprint=fingerprint,
        )
        self.session = PbxSession(
            client=YeastarClient(), endpoint=endpoint, token_store=self.state, clock=self.clock, jitter=lambda: 0.0
        )
        self.api_backfill = ApiBackfill(
            session=self.session,
            ingestor=self.ingestor,
            sender=self.pbx,
            dialect=Yeastar(),
            call_lookup=self.call_lookup,
            rows_max=rows_max,
        )
        self.pbx_sync = PbxSync(
            access=self.session,
            backfill_source=self.api_backfill,
            state=self.state,
            registered_at=NOON,
            jitter=lambda: 0.0,
        )
        self.push_intake = PushReceiver(
            session=self.session, ingestor=self.ingestor, sender=self.pbx, observer=self.pbx_sync, jitter=lambda: 0.0
        )

    async def list_channels(self) -> list[str]:
        """Return the channels of the stored events, in order."""
        return [raw_event.via for raw_event in await self.ledger.read(0, 1_000_000)]

    async def wait_for_raw_events(self, count: int) -> None:
        """Return when so many events are stored."""
        async with asyncio.timeout(10):
            while await self.ledger.last_seq() < count:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.01)


@asynccontextmanager
async def open_sync_harness(folder: Path, responder: PbxResponder, **options: object) -> AsyncIterator[SyncHarness]:
    harness = SyncHarness(folder, responder, **options)  # type: ignore[arg-type] # named where it is used
    try:
        async with harness.session:
            yield harness
    finally:
        await harness.ingestor.close()
        await harness.ledger.close()


@asynccontextmanager
async def run_push_channel(harness: SyncHarness) -> AsyncIterator[None]:
    """Run the push channel while the context is open."""
    task = asyncio.create_task(harness.push_intake.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})

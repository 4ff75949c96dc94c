"""One PBX looked after with a real ledger, whose time a test can move."""

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
from onhook.cdr.sync_types import AlarmKind, BackfillProgress, BackfillRequest, BackfillResult, PbxStatus
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import ParseError
from onhook.pbx.client import Login, Window
from onhook.pbx.yeastar.client import YeastarLink
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.api_backfill import ApiBackfill
from onhook.sync.pbx_session import PbxEndpoint, PbxSession
from onhook.sync.pbx_sync import PbxSync
from onhook.sync.push_channel import PushReceiver
from tests.pbx.yeastar.lists import NOON, SN
from tests.receiver.harness import ListedDoor
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, Face


class MovedClock:
    """Stands at noon until a test moves it; runs on with the machine's own monotonic time."""

    def __init__(self) -> None:
        self.moved = 0.0
        self._began = asyncio.get_running_loop().time()

    def microseconds(self) -> int:
        return round((NOON + self.moved + asyncio.get_running_loop().time() - self._began) * 1_000_000)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.microseconds() / 1_000_000, UTC)


class Memory:
    """Tokens and notes in memory; `alarms` are those that go on."""

    def __init__(self) -> None:
        self.text = ""
        self.known: list[Interval] = []
        self.last_contact: PbxStatus | None = None
        self.begun: BackfillProgress | None = None
        self.alarms: dict[AlarmKind, str] = {}
        self.offset: int | None = None
        self.wished: BackfillRequest | None = None
        self.outcome: BackfillResult | None = None
        self.counts: dict[datetime, int] = {}

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        yield

    def tokens(self) -> str:
        return self.text

    def keep_tokens(self, text: str) -> None:
        self.text = text

    def stretches(self) -> list[Interval]:
        return self.known

    def keep_stretches(self, stretches: Sequence[Interval]) -> None:
        self.known = list(stretches)

    def contact(self) -> PbxStatus | None:
        return self.last_contact

    def keep_contact(self, contact: PbxStatus) -> None:
        self.last_contact = contact

    def progress(self) -> BackfillProgress | None:
        return self.begun

    def keep_progress(self, progress: BackfillProgress | None) -> None:
        self.begun = progress

    def wish(self) -> BackfillRequest | None:
        return self.wished

    def end_wish(self, outcome: BackfillResult) -> None:
        self.wished, self.outcome = None, outcome

    def sound(self, kind: AlarmKind, what: str, todo: str) -> None:
        assert todo
        self.alarms[kind] = what

    def end(self, kind: AlarmKind) -> None:
        self.alarms.pop(kind, None)

    def expected_offset_seconds(self, at: datetime) -> int | None:
        return self.offset

    async def count(self, since: datetime, until: datetime) -> int:
        return self.counts.get(since, 10**9)


class LedgerKnown:
    """What a store that is never behind would know."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    async def records(self) -> dict[RecordKey, Record]:
        """All records, as the projector makes them."""
        calls: dict[tuple[str, str], list[ReportedLeg]] = {}
        dialect = Yeastar()
        for report in await self._ledger.read(0, 1_000_000):
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=report.received_at)
            for one in _read(dialect, report.body):
                said = ReportedLeg(details=one, seq=report.seq, via=report.via, received_at=at)
                calls.setdefault((report.sn, one.call_id), []).append(said)
        made = [leg for (sn, _), said in calls.items() for leg in assemble_call(sn, said, PbxFacts()).legs]
        assert all(to_reported_leg(leg) for leg in made)
        return {record_key(leg.sn, leg): leg for leg in made}

    async def legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        return [leg for leg in (await self.records()).values() if (leg.sn, leg.call_id) in set(keys)]

    async def call_ids(self, sn: str, uids: Sequence[str], window: Window) -> Mapping[str, str]:
        return {leg.uid: leg.call_id for leg in (await self.records()).values() if leg.uid in set(uids)}


def _read(dialect: Yeastar, body: bytes) -> Sequence[CallDetails]:
    try:
        return dialect.read(body)
    except ParseError:
        return []


class Receiver:
    """All that receives from one PBX."""

    def __init__(self, folder: Path, face: Face, *, rows_max: int = 1000, url: str = "", fingerprint: str = "") -> None:
        self.clock = MovedClock()
        self.memory = Memory()
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.known = LedgerKnown(self.ledger)
        self.sender = RegisteredPbx(sn=SN, dialect="yeastar")
        dialects = {"yeastar": Yeastar()}
        self.accept = Ingestor(ledger=self.ledger, door=ListedDoor([self.sender]), dialects=dialects, clock=self.clock)
        reached = PbxEndpoint(
            url=url or f"http://127.0.0.1:{face.port}",
            login=Login(CLIENT_ID, CLIENT_SECRET),
            fingerprint=fingerprint,
        )
        self.account = PbxSession(
            link=YeastarLink(), reached=reached, keeping=self.memory, clock=self.clock, chance=lambda: 0.0
        )
        self.filler = ApiBackfill(
            account=self.account,
            accept=self.accept,
            sender=self.sender,
            dialect=Yeastar(),
            known=self.known,
            rows_max=rows_max,
        )
        self.caretaker = PbxSync(
            account=self.account, filler=self.filler, notes=self.memory, declared_at=NOON, chance=lambda: 0.0
        )
        self.push = PushReceiver(
            account=self.account, accept=self.accept, sender=self.sender, watch=self.caretaker, chance=lambda: 0.0
        )

    async def kept(self) -> list[str]:
        """By which ways reports came, in order."""
        return [report.via for report in await self.ledger.read(0, 1_000_000)]

    async def has_kept(self, count: int) -> None:
        """Return when so many reports have been kept."""
        async with asyncio.timeout(10):
            while await self.ledger.last() < count:  # noqa: ASYNC110 - a ledger tells nobody
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving(folder: Path, face: Face, **options: object) -> AsyncIterator[Receiver]:
    receiver = Receiver(folder, face, **options)  # type: ignore[arg-type] # named where it is used
    try:
        async with receiver.account:
            yield receiver
    finally:
        await receiver.accept.close()
        await receiver.ledger.close()


@asynccontextmanager
async def pushing(receiver: Receiver) -> AsyncIterator[None]:
    """The push channel, open as long as this lasts."""
    task = asyncio.create_task(receiver.push.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})

"""Lines from the socket of the intake to calls: 3CX of both generations."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_conventions import parse_conventions
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.appdb.source_match import LINE_DIALECTS
from onhook.cdr.merge import LINE
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Address, Config
from onhook.console.line_setup import LineChanges, NewLinePbx, add_line_pbx, merge_line_changes, store_line_connection
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.call_time_monitor import LINES_IN_A_ROW, CallTimeMonitor
from onhook.ops.leg_gatherer import LegGatherer
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.intake_process import open_intake
from onhook.store.contract import Store
from onhook.store.duckdb import open_store
from tests.pbx.avaya.test_acceptance import ANSWERED as AVAYA_ANSWERED
from tests.pbx.avaya.test_acceptance import OUTBOUND as AVAYA_OUTBOUND
from tests.pbx.avaya.test_acceptance import VOICEMAIL as AVAYA_VOICEMAIL
from tests.pbx.threecx.test_acceptance import OUTBOUND, QUEUE, REORDERED, REORDERED_FIELDS, V18, load
from tests.waiting import polls, wait_until

SN = "3cx-office"


class LaterClock(SystemClock):
    """A clock that is a minute ahead."""

    def microseconds(self) -> int:
        return super().microseconds() + 60_000_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server_socket:
        return int(server_socket.getsockname()[1])


class LineWorld:
    """An intake, a PBX that writes to it, and a store that is made from the ledger."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.config = Config(data=folder, intake=Address("127.0.0.1", 0))
        self.port = free_port()
        self.clock = SystemClock()
        self.appdb = AppDb(self.config.appdb_file)
        stack.push_async_callback(self.appdb.close)

    async def start(self, zone: str | None = "UTC", dialect: str = "3cx") -> None:
        new_pbx = NewLinePbx(name="Office", dialect=dialect, sn=SN, listen=f"127.0.0.1:{self.port}", zone=zone)
        await add_line_pbx(self.config, self.appdb, new_pbx, now_us=1)
        await self._stack.enter_async_context(open_intake(self.config, self.clock))
        self.ledger = SqliteLedger(self.config.ledger_file)
        self._stack.push_async_callback(self.ledger.close)
        self.store: Store = await open_store(self.config.store_file)
        self._stack.push_async_callback(self.store.close)
        self.projector = Projector(ledger=self.ledger, store=self.store, dialects=dialects(), clock=self.clock)

    async def write(self, *lines: bytes) -> None:
        """Write lines over a connection, and wait until they are in the ledger."""
        before = len(await self.list_lines())
        await write_to(self.port, *lines)
        await wait_until(len(await self.list_lines()) == before + len(lines) async for _ in polls())

    async def publish(self) -> None:
        """Publish changed facts of the PBX, as the hub does."""
        await FactsPublisher(self.ledger, AppDbPbxFacts(self.appdb), self.clock).publish()

    async def list_lines(self) -> list[bytes]:
        return await list_lines(self.ledger)

    async def read_calls(self) -> list[Call]:
        await self.projector.catch_up()
        calls = (await self.store.calls(RecordFilter(), 1_000)).data
        return sorted(calls, key=lambda call: call.started_at)


async def list_lines(ledger: SqliteLedger) -> list[bytes]:
    return [
        raw_event.body
        for raw_event in await ledger.read(0, 1_000)
        if raw_event.via == LINE and raw_event.dialect in LINE_DIALECTS
    ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LineWorld]:
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        yield LineWorld(stack, tmp_path)


async def test_lines_of_both_generations_are_calls(world: LineWorld) -> None:
    await world.start(zone="Europe/Stockholm")
    await world.write(load(V18), load(QUEUE), load(OUTBOUND))
    calls = await world.read_calls()
    assert [(call.type, call.status, call.call_from, call.talk_duration) for call in calls] == [
        ("Inbound", "ANSWERED", "+353860000149", 336),
        ("Inbound", "ANSWERED", "0700000000", 490),
        ("Outbound", "ANSWERED", "Backup no2<10016>", 25),
    ]
    assert [call.answered_by for call in calls] == ["504", "10013", "+46700000082"]
    assert calls[2].started_at == datetime(2024, 6, 17, 3, 59, 49, tzinfo=UTC)
    (leg,) = calls[2].legs
    assert (leg.via, leg.offset_from, leg.utc_offset) == ("line", "configured", "+02:00")


async def test_segments_of_an_avaya_are_one_call(world: LineWorld) -> None:
    """As soon as the last one is there; the mailbox is no person. Its names are in another code page."""
    await world.start(zone="Europe/London", dialect="avaya")
    await world.appdb.pbx_conventions.put(SN, parse_conventions("cp1252", ""))
    await world.publish()
    answered = AVAYA_ANSWERED.replace(b"John Example", "Jörg".encode("cp1252"))
    await world.write(answered, AVAYA_VOICEMAIL, AVAYA_OUTBOUND)
    gatherer = LegGatherer(appdb=world.appdb, ledger=world.ledger, dialects=dialects(), clock=LaterClock())
    while await gatherer.step():
        pass
    inbound, outbound = await world.read_calls()
    assert (inbound.type, inbound.status, inbound.answered_by, inbound.talk_duration) == (
        *("Inbound", "ANSWERED", "4750", 13),
    )
    assert [(leg.call_to, leg.status, leg.talk_duration) for leg in inbound.legs] == [
        ("Jörg<4750>", "ANSWERED", 13),
        ("VM Channel 2<9502>", "VOICEMAIL", 21),
    ]
    assert (outbound.call_to, outbound.talk_duration, outbound.ring_duration) == ("+441632960553", 225, 7)
    assert await world.store.quarantine(10) == []


async def test_x6_reordered_line_is_quarantined_until_its_order_is_declared(world: LineWorld) -> None:
    await world.start()
    await world.write(load(REORDERED))
    assert await world.read_calls() == []
    (entry,) = await world.store.quarantine(10)
    assert "first field is no history id: declare the field order" in entry.reason
    pbx = await world.appdb.pbx(SN)
    connection = await merge_line_changes(world.config, world.appdb, pbx, LineChanges(fields=REORDERED_FIELDS))
    await store_line_connection(world.appdb, pbx, connection, await world.appdb.source_matches.get(SN))
    await world.publish()
    await world.projector.catch_up()
    assert await world.projector.retry([entry.seq]) == []
    (call,) = await world.read_calls()
    assert (call.type, call.call_from, call.call_to, call.talk_duration, call.call_duration) == (
        *("Outbound", "Ann Example<5490>", "0500000250", 9, 13),
    )
    assert await world.store.quarantine(10) == []


async def test_line_of_a_3cx_whose_reports_count_makes_no_call(world: LineWorld) -> None:
    """It is in the ledger; once lines count again, a rebuild makes calls of it."""
    await world.start()
    connection = await world.appdb.line_connections.get(SN)
    assert connection is not None
    await world.appdb.line_connections.put(SN, msgspec.structs.replace(connection, precedence="report"))
    await world.publish()
    await world.write(load(OUTBOUND))
    assert await world.read_calls() == []
    assert await world.store.quarantine(10) == []
    stored_lines = [event for event in await world.ledger.read(0, 10) if event.sn == SN]
    assert [event.via for event in stored_lines] == ["line"]


async def test_line_in_another_code_page_has_its_names(world: LineWorld) -> None:
    await world.start()
    await world.appdb.pbx_conventions.put(SN, parse_conventions("cp1252", ""))
    await world.publish()
    await world.write(load(OUTBOUND).replace(b"Backup no2", "Jörg Größe".encode("cp1252")))
    (call,) = await world.read_calls()
    assert call.call_from == "Jörg Größe<10016>"


def line_ending_at(time: datetime, number: int) -> bytes:
    start = (time - timedelta(seconds=34)).strftime("%Y/%m/%d %H:%M:%S").encode()
    body = load(OUTBOUND).replace(b"26808", b"%d" % number).replace(b"2024/06/17 05:59:49", start)
    body = body.replace(b"2024/06/17 05:59:58", start)
    return body.replace(b"2024/06/17 06:00:23", time.strftime("%Y/%m/%d %H:%M:%S").encode())


@pytest.mark.parametrize(("hours", "hint"), [(-2, "UTC-02:00"), (1, "UTC+01:00"), (0, "")])
async def test_x12_twenty_lines_at_another_offset_are_a_warning(world: LineWorld, hours: int, hint: str) -> None:
    await world.start(zone=None)
    monitor = CallTimeMonitor(appdb=world.appdb, store=world.store, clock=world.clock)
    now = world.clock.now() + timedelta(hours=hours)
    lines = [line_ending_at(now + timedelta(seconds=number), number) for number in range(LINES_IN_A_ROW)]
    for part in (lines[:-1], lines[-1:]):
        assert await world.appdb.alarms.open_alarms() == []
        await world.write(*part)
        await world.read_calls()
        await monitor.check()
    alarms = await world.appdb.alarms.open_alarms()
    assert [alarm.kind for alarm in alarms] == (["clock"] if hint else [])
    assert not hint or f"set the zone to one at {hint}: `onhook pbx change Office --zone ZONE`" in alarms[0].hint
    assert (await world.appdb.pbx(SN)).zone is None
    # A line at the right time ends it.
    await world.write(line_ending_at(world.clock.now(), 99))
    await world.read_calls()
    await monitor.check()
    assert await world.appdb.alarms.open_alarms() == []


async def test_line_of_an_intake_that_starts_without_the_database_is_stored(tmp_path: Path) -> None:
    """By the line connections as they were last read; those of the database count as soon as it can be read."""
    config, port, other_port = Config(data=tmp_path, intake=Address("127.0.0.1", 0)), free_port(), free_port()
    async with AppDb(config.appdb_file) as appdb:
        new_pbx = NewLinePbx(name="Office", dialect="3cx", sn=SN, listen=f"127.0.0.1:{port}", zone="UTC")
        await add_line_pbx(config, appdb, new_pbx, now_us=1)
    async with asyncio.timeout(60):
        async with open_intake(config, SystemClock()):
            await write_to(port, load(OUTBOUND))
        content = config.appdb_file.read_bytes()
        config.appdb_file.write_bytes(b"\0" * len(content))
        async with open_intake(config, SystemClock()):
            await write_to(port, load(QUEUE))
            ledger = SqliteLedger(config.ledger_file)
            lines = [load(OUTBOUND).rstrip(), load(QUEUE).rstrip()]
            await wait_until(await list_lines(ledger) == lines async for _ in polls())
            await ledger.close()
            config.appdb_file.write_bytes(content)
            async with AppDb(config.appdb_file) as appdb:
                connection = await appdb.line_connections.get(SN)
                assert connection is not None
                await appdb.line_connections.put(SN, msgspec.structs.replace(connection, port=other_port))
            await write_to(other_port, load(V18))


async def write_to(port: int, *lines: bytes) -> None:
    """Write lines over a connection, as soon as something listens."""
    while True:
        try:
            writer = (await asyncio.open_connection("127.0.0.1", port))[1]
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.writelines(lines)
        await writer.drain()
        writer.close()
        return

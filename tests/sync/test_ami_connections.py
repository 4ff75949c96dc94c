"""AMI connections: received calls are stored, whatever happens to the connection, the PBX and the ledger."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.ledger.contract import AppendResult, LedgerEntry, RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.asterisk.connection import AsteriskProtocol
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.session import AmiCredentials
from onhook.pbx.connection import ClockReading, ConnectionProtocol, ConnectionUpdate
from onhook.receiver.ingest import Ingestor
from onhook.sync import ami_connections
from onhook.sync.ami_connections import ConnectionManager, LiveQueues
from onhook.sync.asterisk_sync import AsteriskConnectionState
from tests.pbx.asterisk.ami_streams import stream
from tests.pbx.asterisk.replayed import SECRET, USER, FakeAsterisk, open_fake_asterisk
from tests.receiver.harness import MemoryPbxRegistry
from tests.waiting import polls, wait_until

CALL, QUEUE = stream("internal_answered"), stream("inbound_ivr_queue_two_agents")
RECEIVED_SECONDS_MAX = 20.0


class StoppableLedger(SqliteLedger):
    """Ledger that can be stopped."""

    is_stopped = False
    refused_count = 0

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        if self.is_stopped:
            self.refused_count += 1
            raise Unavailable("the disk is full")
        return await super().append(entries)


async def ignore_reconnected(sn: str) -> None:
    """Do nothing when a PBX is connected again."""


class AmiHarness:
    """Settings, a ledger, and the connections, as in the hub."""

    def __init__(self, directory: Path) -> None:
        self.appdb = AppDb(directory / "onhook.db")
        self.ledger = StoppableLedger(directory / "ledger.db")
        clock = SystemClock()
        ingestor = Ingestor(
            ledger=self.ledger, registry=MemoryPbxRegistry([]), dialects={"asterisk": Asterisk()}, clock=clock
        )
        self.live_queues = LiveQueues()
        self.connection_manager = ConnectionManager(
            state=AsteriskConnectionState(self.appdb, clock, ignore_reconnected),
            ingestor=ingestor,
            clock=clock,
            live_queues=self.live_queues,
        )
        self.ingestor = ingestor

    async def add_asterisk(self, port: int, name: str = "Office", tls: str = "off") -> str:
        """Add an Asterisk on the loopback; return its serial number."""
        sn = f"{name}.example.org"
        await self.appdb.add_pbx(name=name, sn=sn, secret="unknown-knows-this", dialect="asterisk", now_us=1)
        asterisk_pbx = AsteriskPbx(sn=sn, host="127.0.0.1", port=port, user=USER, tls=tls)
        await self.appdb.asterisks.add(asterisk_pbx, SECRET)
        return sn

    async def wait_for_events(self, count: int) -> list[RawEvent]:
        """Return all events, when there are so many."""
        async with asyncio.timeout(RECEIVED_SECONDS_MAX):
            while len(raw_events := await self.ledger.read(0, 1000)) < count:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.05)
        return raw_events


@pytest.fixture
def received_data(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Return the data that all connections have received so far."""
    received, receive_data = bytearray(), AsteriskProtocol.receive_data

    def record_and_receive(protocol: AsteriskProtocol, data: bytes, now: ClockReading) -> ConnectionUpdate:
        received.extend(data)
        return receive_data(protocol, data, now)

    monkeypatch.setattr(AsteriskProtocol, "receive_data", record_and_receive)
    return received


def new_certificate(directory: Path, name: str) -> Path:
    """Return a key and a self-signed certificate in one file."""
    path = directory / f"{name}.pem"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}.example.org"
    subprocess.run(["openssl", *words.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(Path(f"{path}.crt").read_text() + path.read_text())
    return path


@asynccontextmanager
async def open_ami_harness(directory: Path) -> AsyncIterator[AmiHarness]:
    ami_harness = AmiHarness(directory)
    manager_task = asyncio.create_task(ami_harness.connection_manager.run())
    try:
        yield ami_harness
    finally:
        manager_task.cancel()
        await asyncio.wait([manager_task])
        await ami_harness.ingestor.close()
        await ami_harness.ledger.close()
        await ami_harness.appdb.close()


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with open_fake_asterisk() as fake_asterisk:
        yield fake_asterisk


@pytest.fixture
async def ami_harness(tmp_path: Path) -> AsyncIterator[AmiHarness]:
    async with open_ami_harness(tmp_path) as harness:
        yield harness


async def test_ami_call_received_is_stored(ami_harness: AmiHarness, asterisk: FakeAsterisk) -> None:
    """Completely, with the trunks that were detected; the PBX is shown as connected."""
    sn = await ami_harness.add_asterisk(asterisk.port)
    await asterisk.wait_for_login()
    await wait_until(bool((await ami_harness.appdb.asterisks.get(sn)).detected_config) async for _ in polls())
    await asterisk.send(QUEUE)
    (raw_event,) = await ami_harness.wait_for_events(1)
    assert (raw_event.sn, raw_event.dialect, raw_event.via) == (sn, "asterisk", "ami")
    rows = Asterisk().parse(raw_event.body)
    assert {(row.type, row.src_trunk_name, row.did_number) for row in rows} == {("Inbound", "trunk-a", "5550000")}
    asterisk_pbx = await ami_harness.appdb.asterisks.get(sn)
    assert asterisk_pbx.is_connected
    assert asterisk_pbx.error == ""
    assert SECRET not in repr(asterisk.actions)


async def test_ami_queues_are_known_after_a_start_and_unknown_without_connection(
    ami_harness: AmiHarness, asterisk: FakeAsterisk
) -> None:
    """A caller waited before the connection was opened."""
    asterisk.lists["QueueStatus"] = (
        "QueueParams\r\nQueue: team",
        "QueueEntry\r\nQueue: team\r\nUniqueid: 1.1\r\nWait: 5",
    )
    asterisk.lists["CoreShowChannels"] = ("CoreShowChannel\r\nUniqueid: 1.1\r\nExten: 6400\r\nApplication: Queue",)
    sn = await ami_harness.add_asterisk(asterisk.port)
    assert ami_harness.live_queues.read() == {}
    await asterisk.wait_for_login()
    await wait_until(lambda: sn in ami_harness.live_queues.read())
    (state,) = ami_harness.live_queues.read()[sn]
    assert (state.queue, state.name, state.waiting, state.talking) == ("6400", "team", 1, 0)
    await asterisk.send(b"Event: QueueCallerAbandon\r\nQueue: team\r\nUniqueid: 1.1\r\n\r\n")
    await wait_until(lambda: ami_harness.live_queues.read()[sn][0].waiting == 0)
    await asterisk.close()
    await wait_until(lambda: ami_harness.live_queues.read() == {})


async def test_ami_settings_that_cannot_be_read_leave_no_connection_open(
    ami_harness: AmiHarness, asterisk: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ami_connections, "RETRY_SECONDS_FIRST", 0.01)
    failures: list[str] = []
    create_protocol = AsteriskConnectionState._create_protocol

    async def fail_at_first(state: AsteriskConnectionState, sn: str, login: AmiCredentials) -> ConnectionProtocol:
        if len(failures) < 3:
            failures.append("locked")
            raise Unavailable("the application database is busy")
        return await create_protocol(state, sn, login)

    monkeypatch.setattr(AsteriskConnectionState, "_create_protocol", fail_at_first)
    await ami_harness.add_asterisk(asterisk.port)
    await asterisk.wait_for_login()
    assert (len(failures), asterisk.open_count) == (3, 1)


@pytest.mark.slow
async def test_ami_cut_connection_is_opened_again(
    ami_harness: AmiHarness, asterisk: FakeAsterisk, received_data: bytearray
) -> None:
    """Received CDRs are stored though the call's end was not received; the time in between is a gap."""
    sn = await ami_harness.add_asterisk(asterisk.port)
    await asterisk.wait_for_login()
    await asterisk.send(CALL)
    await ami_harness.wait_for_events(1)
    await asterisk.send(QUEUE)
    await wait_until(lambda: QUEUE in received_data)
    await asterisk.close_connections()
    raw_events = await ami_harness.wait_for_events(2)
    assert b"CEL: none" in raw_events[1].body
    await asterisk.wait_for_login()
    await wait_until(
        "gap" in [interval.state for interval in await ami_harness.appdb.sync_states.intervals(sn)]
        async for _ in polls()
    )
    await asterisk.send(CALL)
    await asterisk.send(stream("ring_group"))
    raw_events = await ami_harness.wait_for_events(3)
    # The CDR received twice is stored once.
    assert len(raw_events) == 3
    (gap,) = (interval for interval in await ami_harness.appdb.sync_states.intervals(sn) if interval.state == "gap")
    assert gap.reason == "not connected: the PBX closed the connection"


@pytest.mark.slow
async def test_ami_unreachable_pbx_is_retried(ami_harness: AmiHarness, asterisk: FakeAsterisk) -> None:
    """Until it is back; the status shows the reason."""
    port = asterisk.port
    await asterisk.close()
    sn = await ami_harness.add_asterisk(port)
    await wait_until("no connection" in (await ami_harness.appdb.asterisks.get(sn)).error async for _ in polls())
    restarted_asterisk = await FakeAsterisk().listen(port)
    try:
        await restarted_asterisk.wait_for_login()
        await restarted_asterisk.send(CALL)
        assert len(await ami_harness.wait_for_events(1)) == 1
    finally:
        await restarted_asterisk.close()


@pytest.mark.slow
async def test_ami_failing_pbx_does_not_affect_another(ami_harness: AmiHarness, asterisk: FakeAsterisk) -> None:
    """Of four, one rejects the login, one is no Asterisk, one sends invalid data; the fourth works."""
    async with open_fake_asterisk() as rejecting, open_fake_asterisk() as unknown, open_fake_asterisk() as invalid:
        rejecting.rejects_login = True
        unknown.greeting = b"220 mail.example.org ESMTP\r\n"
        sns = [
            await ami_harness.add_asterisk(asterisk.port, f"P{asterisk.port}")
            for asterisk in (rejecting, unknown, invalid)
        ]
        await ami_harness.add_asterisk(asterisk.port)
        await invalid.wait_for_login()
        await invalid.send(bytes(range(256)) * 800 + b"\r\n\r\nEvent: Cdr\r\n\r\nEvent: CEL\r\nEventTime: x\r\n\r\n")
        await asterisk.wait_for_login()
        await asterisk.send(CALL)
        (raw_event,) = await ami_harness.wait_for_events(1)
        assert raw_event.sn == "Office.example.org"
        await wait_until(
            "Authentication failed" in (await ami_harness.appdb.asterisks.get(sns[0])).error async for _ in polls()
        )
        await wait_until("not Asterisk" in (await ami_harness.appdb.asterisks.get(sns[1])).error async for _ in polls())
        assert (await ami_harness.appdb.asterisks.get(sns[2])).is_connected


@pytest.mark.slow
async def test_ami_stopped_ledger_loses_nothing(ami_harness: AmiHarness, asterisk: FakeAsterisk) -> None:
    """Received events wait until they are stored, and are not claimed before."""
    sn = await ami_harness.add_asterisk(asterisk.port)
    await asterisk.wait_for_login()
    ami_harness.ledger.is_stopped = True
    await asterisk.send(CALL)
    await wait_until(lambda: ami_harness.ledger.refused_count > 1)
    before = (await ami_harness.appdb.asterisks.get(sn)).covered_until
    assert await ami_harness.ledger.read(0, 10) == []
    ami_harness.ledger.is_stopped = False
    (raw_event,) = await ami_harness.wait_for_events(1)
    after = (await ami_harness.appdb.asterisks.get(sn)).covered_until
    assert before is not None
    assert after is not None
    assert before.timestamp() * 1_000_000 < raw_event.received_at


@pytest.mark.slow
async def test_ami_settings_have_effect_without_a_restart(ami_harness: AmiHarness, asterisk: FakeAsterisk) -> None:
    """A removed PBX is disconnected, an added one connected."""
    sn = await ami_harness.add_asterisk(asterisk.port)
    await asterisk.wait_for_login()
    await ami_harness.appdb.remove_pbx(sn)
    await wait_until(lambda: not asterisk._writers)
    await ami_harness.add_asterisk(asterisk.port)
    await wait_until(lambda: asterisk.login_count == 2)


async def test_ami_silent_pbx_is_not_connected(ami_harness: AmiHarness, asterisk: FakeAsterisk) -> None:
    """It accepts the connection and answers nothing."""
    asterisk.is_silent = True
    sn = await ami_harness.add_asterisk(asterisk.port)
    await wait_until(lambda: asterisk.received_count > 0)
    assert not (await ami_harness.appdb.asterisks.get(sn)).is_connected


@pytest.mark.slow
@pytest.mark.parametrize("is_trusted", [True, False])
async def test_ami_tls_trusts_the_given_certificate(ami_harness: AmiHarness, tmp_path: Path, is_trusted: bool) -> None:
    """Whatever name it has; with another one nothing is sent."""
    own, other = (new_certificate(tmp_path, name) for name in ("own", "other"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    asterisk = await FakeAsterisk().listen(tls=context)
    try:
        sn = await ami_harness.add_asterisk(asterisk.port, tls=(own if is_trusted else other).read_text())
        if is_trusted:
            await asterisk.wait_for_login()
            await asterisk.send(CALL)
            assert len(await ami_harness.wait_for_events(1)) == 1
        else:
            await wait_until(
                "certificate" in (await ami_harness.appdb.asterisks.get(sn)).error.lower() async for _ in polls()
            )
            assert asterisk.actions == []
    finally:
        await asterisk.close()


async def test_ami_stop_stores_received_events(
    tmp_path: Path, asterisk: FakeAsterisk, received_data: bytearray
) -> None:
    """Right after a CDR has arrived."""
    async with open_ami_harness(tmp_path) as ami_harness:
        await ami_harness.add_asterisk(asterisk.port)
        await asterisk.wait_for_login()
        await asterisk.send(QUEUE)
        await wait_until(lambda: QUEUE in received_data)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    assert len(await ledger.read(0, 10)) == 1
    await ledger.close()


async def test_ami_connection_spec_shows_no_secret(tmp_path: Path) -> None:
    """Settings are compared by a hash."""
    appdb = AppDb(tmp_path / "onhook.db")
    await appdb.add_pbx(name="Office", sn="a", secret="unknown-knows-this", dialect="asterisk", now_us=1)
    await appdb.asterisks.add(AsteriskPbx(sn="a", host="127.0.0.1", port=5038, user=USER), SECRET)
    (line,) = await AsteriskConnectionState(appdb, SystemClock(), ignore_reconnected).list_specs()
    assert SECRET not in repr(line)
    with pytest.raises(OnhookError):
        await appdb.asterisks.get("b")
    await appdb.close()

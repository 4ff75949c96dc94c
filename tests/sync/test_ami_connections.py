"""AMI connections: received calls are stored, whatever happens to the connection, the PBX and the ledger."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.ledger.contract import AppendResult, LedgerEntry, RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.asterisk.payload import Asterisk
from onhook.receiver.ingest import Ingestor
from onhook.sync.ami_connections import ConnectionManager
from onhook.sync.asterisk_sync import AsteriskConnectionState
from tests.pbx.asterisk.ami_streams import stream
from tests.pbx.asterisk.replayed import SECRET, USER, FakeAsterisk, open_fake_asterisk
from tests.receiver.harness import MemoryPbxRegistry

CALL, QUEUE = stream("internal_answered"), stream("inbound_ivr_queue_two_agents")
RECEIVED_SECONDS_MAX = 20.0


class StandingLedger(SqliteLedger):
    """A ledger that can be stopped."""

    stands_still = False

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        if self.stands_still:
            raise Unavailable("the disk is full")
        return await super().append(entries)


class Ways:
    """Settings, a ledger, and the connections, as in the hub."""

    def __init__(self, directory: Path) -> None:
        self.appdb = AppDb(directory / "onhook.db")
        self.ledger = StandingLedger(directory / "ledger.db")
        clock = SystemClock()
        accept = Ingestor(
            ledger=self.ledger, registry=MemoryPbxRegistry([]), dialects={"asterisk": Asterisk()}, clock=clock
        )
        self.outgoing = ConnectionManager(
            state=AsteriskConnectionState(self.appdb, clock), ingestor=accept, clock=clock
        )
        self.accept = accept

    def declare(self, port: int, name: str = "Office", tls: str = "off") -> str:
        """Add an Asterisk on the loopback; return its serial number."""
        sn = f"{name}.example.org"
        self.appdb.add_pbx(name=name, sn=sn, secret="unknown-knows-this", dialect="asterisk", now_us=1)
        reached = AsteriskPbx(sn=sn, host="127.0.0.1", port=port, user=USER, tls=tls)
        self.appdb.asterisks.add(reached, SECRET)
        return sn

    async def wait_for_events(self, count: int) -> list[RawEvent]:
        """Return all events, when there are so many."""
        async with asyncio.timeout(RECEIVED_SECONDS_MAX):
            while len(reports := await self.ledger.read(0, 1000)) < count:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.05)
        return reports


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(RECEIVED_SECONDS_MAX):
        while not holds():  # noqa: ASYNC110 - a database sets no event
            await asyncio.sleep(0.05)


def new_certificate(directory: Path, name: str) -> Path:
    """Return a key and a self-signed certificate in one file."""
    path = directory / f"{name}.pem"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}.example.org"
    subprocess.run(["openssl", *words.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(Path(f"{path}.crt").read_text() + path.read_text())
    return path


@asynccontextmanager
async def ways_in(directory: Path) -> AsyncIterator[Ways]:
    ways = Ways(directory)
    running = asyncio.create_task(ways.outgoing.run())
    try:
        yield ways
    finally:
        running.cancel()
        await asyncio.wait([running])
        await ways.accept.close()
        await ways.ledger.close()
        ways.appdb.close()


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with open_fake_asterisk() as fake_asterisk:
        yield fake_asterisk


@pytest.fixture
async def ways(tmp_path: Path) -> AsyncIterator[Ways]:
    async with ways_in(tmp_path) as harness:
        yield harness


async def test_ami_call_received_is_stored(ways: Ways, asterisk: FakeAsterisk) -> None:
    """Completely, with the trunks that were detected; the PBX is shown as connected."""
    sn = ways.declare(asterisk.port)
    await asterisk.wait_for_login()
    await until(lambda: bool(ways.appdb.asterisks.get(sn).detected_config))
    await asterisk.send(QUEUE)
    (report,) = await ways.wait_for_events(1)
    assert (report.sn, report.dialect, report.via) == (sn, "asterisk", "ami")
    rows = Asterisk().parse(report.body)
    assert {(row.type, row.src_trunk_name, row.did_number) for row in rows} == {("Inbound", "trunk-a", "5550000")}
    reached = ways.appdb.asterisks.get(sn)
    assert reached.is_connected
    assert reached.error == ""
    assert SECRET not in repr(asterisk.actions)


@pytest.mark.slow
async def test_ami_cut_connection_is_opened_again(ways: Ways, asterisk: FakeAsterisk) -> None:
    """Received CDRs are stored though the call's end was not received; the time in between is a gap."""
    sn = ways.declare(asterisk.port)
    await asterisk.wait_for_login()
    await asterisk.send(CALL)
    await ways.wait_for_events(1)
    await asterisk.send(QUEUE)
    await asyncio.sleep(0.2)
    await asterisk.close_connections()
    reports = await ways.wait_for_events(2)
    assert b"CEL: none" in reports[1].body
    await asterisk.wait_for_login()
    await until(lambda: "gap" in [interval.state for interval in ways.appdb.sync_states.intervals(sn)])
    await asterisk.send(CALL)
    await asterisk.send(stream("ring_group"))
    reports = await ways.wait_for_events(3)
    # The CDR received twice is stored once.
    assert len(reports) == 3
    (gap,) = (interval for interval in ways.appdb.sync_states.intervals(sn) if interval.state == "gap")
    assert gap.reason == "not connected: the PBX closed the connection"


@pytest.mark.slow
async def test_ami_unreachable_pbx_is_retried(ways: Ways, asterisk: FakeAsterisk) -> None:
    """Until it is back; the status shows the reason."""
    port = asterisk.port
    await asterisk.close()
    sn = ways.declare(port)
    await until(lambda: "no connection" in ways.appdb.asterisks.get(sn).error)
    again = await FakeAsterisk().listen(port)
    try:
        await again.wait_for_login()
        await again.send(CALL)
        assert len(await ways.wait_for_events(1)) == 1
    finally:
        await again.close()


@pytest.mark.slow
async def test_ami_failing_pbx_does_not_affect_another(ways: Ways, asterisk: FakeAsterisk) -> None:
    """Of four, one rejects the login, one is no Asterisk, one sends invalid data; the fourth works."""
    async with open_fake_asterisk() as refusing, open_fake_asterisk() as unknown, open_fake_asterisk() as mad:
        refusing.rejects_login = True
        unknown.greeting = b"220 mail.example.org ESMTP\r\n"
        sns = [ways.declare(asterisk.port, f"P{asterisk.port}") for asterisk in (refusing, unknown, mad)]
        ways.declare(asterisk.port)
        await mad.wait_for_login()
        await mad.send(bytes(range(256)) * 800 + b"\r\n\r\nEvent: Cdr\r\n\r\nEvent: CEL\r\nEventTime: x\r\n\r\n")
        await asterisk.wait_for_login()
        await asterisk.send(CALL)
        (report,) = await ways.wait_for_events(1)
        assert report.sn == "Office.example.org"
        await until(lambda: "Authentication failed" in ways.appdb.asterisks.get(sns[0]).error)
        await until(lambda: "no Asterisk" in ways.appdb.asterisks.get(sns[1]).error)
        assert ways.appdb.asterisks.get(sns[2]).is_connected


@pytest.mark.slow
async def test_ami_stopped_ledger_loses_nothing(ways: Ways, asterisk: FakeAsterisk) -> None:
    """Received events wait until they are stored, and are not claimed before."""
    sn = ways.declare(asterisk.port)
    await asterisk.wait_for_login()
    ways.ledger.stands_still = True
    await asterisk.send(CALL)
    # The call is passed on two seconds after its end.
    await asyncio.sleep(3.5)
    before = ways.appdb.asterisks.get(sn).covered_until
    assert await ways.ledger.read(0, 10) == []
    ways.ledger.stands_still = False
    (report,) = await ways.wait_for_events(1)
    after = ways.appdb.asterisks.get(sn).covered_until
    assert before is not None
    assert after is not None
    assert before.timestamp() * 1_000_000 < report.received_at


@pytest.mark.slow
async def test_ami_settings_have_effect_without_a_restart(ways: Ways, asterisk: FakeAsterisk) -> None:
    """A removed PBX is disconnected, an added one connected."""
    sn = ways.declare(asterisk.port)
    await asterisk.wait_for_login()
    ways.appdb.remove_pbx(sn)
    await until(lambda: not asterisk._writers)
    ways.declare(asterisk.port)
    await until(lambda: asterisk.login_count == 2)


async def test_ami_silent_pbx_is_disconnected(ways: Ways, asterisk: FakeAsterisk) -> None:
    """It accepts the connection and sends nothing."""
    asterisk.is_silent = True
    sn = ways.declare(asterisk.port)
    await asyncio.sleep(1.5)
    assert not ways.appdb.asterisks.get(sn).is_connected


@pytest.mark.slow
@pytest.mark.parametrize("is_trusted", [True, False])
async def test_ami_tls_trusts_the_given_certificate(ways: Ways, tmp_path: Path, is_trusted: bool) -> None:
    """Whatever name it has; with another one nothing is sent."""
    own, other = (new_certificate(tmp_path, name) for name in ("own", "other"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    asterisk = await FakeAsterisk().listen(tls=context)
    try:
        sn = ways.declare(asterisk.port, tls=(own if is_trusted else other).read_text())
        if is_trusted:
            await asterisk.wait_for_login()
            await asterisk.send(CALL)
            assert len(await ways.wait_for_events(1)) == 1
        else:
            await until(lambda: "certificate" in ways.appdb.asterisks.get(sn).error.lower())
            assert asterisk.actions == []
    finally:
        await asterisk.close()


async def test_ami_stop_stores_received_events(tmp_path: Path, asterisk: FakeAsterisk) -> None:
    """Right after a CDR has arrived."""
    async with ways_in(tmp_path) as ways:
        ways.declare(asterisk.port)
        await asterisk.wait_for_login()
        await asterisk.send(QUEUE)
        await asyncio.sleep(0.3)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    assert len(await ledger.read(0, 10)) == 1
    await ledger.close()


def test_ami_connection_spec_shows_no_secret(tmp_path: Path) -> None:
    """Settings are compared by a hash."""
    ways = AppDb(tmp_path / "onhook.db")
    ways.add_pbx(name="Office", sn="a", secret="unknown-knows-this", dialect="asterisk", now_us=1)
    ways.asterisks.add(AsteriskPbx(sn="a", host="127.0.0.1", port=5038, user=USER), SECRET)
    (line,) = AsteriskConnectionState(ways, SystemClock()).list_specs()
    assert SECRET not in repr(line)
    with pytest.raises(OnhookError):
        ways.asterisks.get("b")
    ways.close()

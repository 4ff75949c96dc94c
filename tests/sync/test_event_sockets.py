"""Connections to event sockets: a stub that answers as a captured FreeSWITCH does, over real connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.sync import ami_connections
from onhook.sync.ami_connections import ConnectionManager
from onhook.sync.event_sockets import EventSocketState
from tests.pbx.freeswitch.captures import PAYLOADS, bodies
from tests.waiting import polls, wait_until

PASSWORD = "event-socket-password"
FRAMES = (PAYLOADS / "s01_internal_answered" / "esl-json.frames.txt").read_bytes()
EVENTS = FRAMES[FRAMES.index(b"Content-Length") :]
REPLY = b"Content-Type: command/reply\nReply-Text: %s\n\n"


class SocketStub:
    """Sends the events of a call to each connection that subscribes, and closes the first of them."""

    def __init__(self) -> None:
        self.logins: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Content-Type: auth/request\n\n")
        command = (await reader.readuntil(b"\n\n")).decode().strip()
        self.logins.append(command)
        is_accepted = command == f"auth {PASSWORD}"
        writer.write(REPLY % (b"+OK accepted" if is_accepted else b"-ERR invalid"))
        if is_accepted:
            assert await reader.readuntil(b"\n\n") == b"event json CHANNEL_HANGUP_COMPLETE\n\n"
            writer.write(REPLY % b"+OK event listener enabled json" + EVENTS)
            await writer.drain()
            if len(self.logins) > 1:
                await reader.read()
        writer.close()


@asynccontextmanager
async def run_sockets(folder: Path, stub: SocketStub, password: str) -> AsyncIterator[tuple[AppDb, SqliteLedger]]:
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with AppDb(folder / "onhook.db") as appdb:
        ledger, clock = SqliteLedger(folder / "ledger.db"), SystemClock()
        await appdb.add_pbx(name="Fusion", sn="pbx1", secret=password, dialect="freeswitch", now_us=1)
        await appdb.line_connections.put("pbx1", LineConnection(mode="connect", host="127.0.0.1", port=port))
        ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=clock)
        manager = ConnectionManager(state=EventSocketState(appdb, clock), ingestor=ingestor, clock=clock)
        task = asyncio.create_task(manager.run())
        try:
            yield appdb, ledger
        finally:
            task.cancel()
            await asyncio.wait({task})
            await ingestor.close()
            await ledger.close()
            server.close()


async def test_event_socket_connects_again_and_stores_each_leg_once(tmp_path: Path) -> None:
    stub = SocketStub()
    async with run_sockets(tmp_path, stub, PASSWORD) as (appdb, ledger):
        await wait_until(len(stub.logins) > 1 async for _ in polls())
        await wait_until(len(await read_events(ledger)) == len(bodies("s01")) async for _ in polls())
        assert set(await read_events(ledger)) == {("pbx1", "freeswitch", "event_socket")}
        assert not await appdb.alarms.open_alarms()
    assert stub.logins == [f"auth {PASSWORD}"] * 2


async def read_events(ledger: SqliteLedger) -> list[tuple[str, str, str]]:
    """Return the events of the PBX, without the entries that Onhook writes itself."""
    return [(event.sn, event.dialect, event.via) for event in await ledger.read(0, 10) if event.sn]


async def test_event_socket_that_refuses_the_password_is_an_alarm(tmp_path: Path) -> None:
    stub = SocketStub()
    async with run_sockets(tmp_path, stub, "another-password") as (appdb, ledger):
        await wait_until(bool(await appdb.alarms.open_alarms()) async for _ in polls())
        (alarm,) = await appdb.alarms.open_alarms()
        assert (alarm.kind, "refuses the password" in alarm.detail) == ("credentials", True)
        assert await ledger.last_seq() == 0
    assert ami_connections.REFUSED_RETRY_SECONDS >= 60

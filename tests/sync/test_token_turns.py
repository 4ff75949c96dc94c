"""Two processes with the session of one PBX and one application database: they take turns at changing its tokens, on
different machines too.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from onhook.appdb import leases
from onhook.appdb.appdb import AppDb
from onhook.appdb.leases import LEASE_MICROSECONDS
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.lib.errors import Unavailable
from onhook.pbx.client import PbxRequest
from onhook.sync.appdb_state import AppDbTokenStore
from onhook.sync.pbx_session import PbxSession
from onhook.sync.pbx_sync_manager import create_pbx_session
from tests.pbx.yeastar.lists import SN
from tests.sync.harness import AdvancingClock
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, PbxResponder, open_pbx_responder
from tests.waiting import wait_until

REQUEST = PbxRequest(path="/openapi/v1.0/system/information")
FREE_SECONDS_MAX = 10.0
HOLDER = """
import asyncio, sys
from pathlib import Path
from onhook.appdb.appdb import AppDb
from onhook.lib.clock import SystemClock

async def hold(path):
    async with AppDb(path) as appdb:
        async with appdb.leases.turn("tokens:" + sys.argv[2], SystemClock()):
            print("held", flush=True)
            await asyncio.sleep(60)

asyncio.run(hold(Path(sys.argv[1])))
"""


def hold_and_die(path: Path) -> None:
    """Take the turn in a process that is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), SN], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.kill()
    process.communicate()


class Process:
    """A process with a connection of its own to the database, and its session with the PBX."""

    def __init__(self, appdb: AppDb, session: PbxSession, token_store: AppDbTokenStore) -> None:
        self.appdb = appdb
        self.session = session
        self.token_store = token_store


class Office:
    """A PBX with two processes that use its API."""

    def __init__(self, folder: Path, clock: AdvancingClock, responder: PbxResponder) -> None:
        self.path = folder / "onhook.db"
        self.clock = clock
        self.responder = responder
        self.credentials = PbxCredentials(
            url=f"http://127.0.0.1:{responder.port}", client_id=CLIENT_ID, client_secret=CLIENT_SECRET
        )

    @asynccontextmanager
    async def open_process(self) -> AsyncIterator[Process]:
        async with AppDb(self.path) as appdb:
            spec = (SN, "yeastar", 0.0, self.credentials)
            async with create_pbx_session(spec, appdb=appdb, clock=self.clock, jitter=lambda: 0.0) as session:
                store = AppDbTokenStore(appdb=appdb, clock=self.clock, sn=SN, credentials=self.credentials)
                yield Process(appdb, session, store)


@pytest.fixture
async def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setattr(leases, "TURN_POLL_SECONDS", 0.01)
    async with open_pbx_responder() as responder:
        opened = Office(tmp_path, AdvancingClock(), responder)
        async with AppDb(opened.path) as appdb:
            await appdb.add_pbx(name="Branch", sn=SN, secret=None, now_us=1, credentials=opened.credentials)
        yield opened


def delay_logins(office: Office) -> asyncio.Event:
    """Let the PBX answer logins once the event that is returned is set."""
    is_released = asyncio.Event()

    async def log_in_slowly(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("get_token"):
            await is_released.wait()
        return None

    office.responder.override_response = log_in_slowly
    return is_released


async def test_token_of_two_processes_is_requested_once(office: Office) -> None:
    """The second one waits while the first one logs in, and uses its token."""
    is_released = delay_logins(office)
    async with office.open_process() as hub, office.open_process() as command:
        requests = [asyncio.create_task(process.session.token()) for process in (hub, command)]
        await wait_until(lambda: "get_token" in office.responder.request_names)
        await asyncio.sleep(0.1)
        is_released.set()
        assert [(await request).token for request in requests] == ["token-1", "token-1"]
    assert office.responder.login_count == 1


async def test_stored_token_is_used_while_another_process_has_the_turn(office: Office) -> None:
    """Requests of apps and pages of a back-fill wait for no other process, and write nothing."""
    async with office.open_process() as hub, office.open_process() as command, asyncio.timeout(5):
        await hub.session.token()
        async with command.token_store.lock():
            version = await command.appdb.version()
            assert (await hub.session.send_request(REQUEST)).errcode == 0
            assert await command.appdb.version() == version


async def test_turn_of_a_killed_process_is_free_within_ten_seconds(office: Office) -> None:
    """Not before its time, so that a process that only stands still does not sign in beside the next one."""
    await asyncio.to_thread(hold_and_die, office.path)
    async with office.open_process() as hub:
        (until,) = (await hub.appdb._database.rows("SELECT until FROM leases"))[0]
        office.clock.offset_seconds += (until - office.clock.microseconds()) / 1e6 - 0.3
        request = asyncio.create_task(hub.session.token())
        await asyncio.sleep(0.05)
        assert not request.done()
        async with asyncio.timeout(FREE_SECONDS_MAX):
            assert (await request).token == "token-1"
    assert LEASE_MICROSECONDS / 1e6 + leases.TURN_POLL_SECONDS < FREE_SECONDS_MAX


async def test_turn_of_a_process_that_stops_during_a_login_is_free_at_once(office: Office) -> None:
    """As of a command that is interrupted."""
    is_released = delay_logins(office)
    async with office.open_process() as hub:
        async with office.open_process() as command:
            request = asyncio.create_task(command.session.token())
            await wait_until(lambda: "get_token" in office.responder.request_names)
        with pytest.raises(asyncio.CancelledError):
            await request
        is_released.set()
        assert await hub.appdb._database.rows("SELECT owner FROM leases") == [("",)]
        assert (await hub.session.token()).token


async def test_turn_lasts_as_long_as_its_process_renews_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PBX may answer a login after a minute."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    async with office.open_process() as hub, office.open_process() as command:
        async with hub.token_store.lock():
            request = asyncio.create_task(command.session.token())
            for _ in range(20):
                await asyncio.sleep(0.05)
                office.clock.offset_seconds += LEASE_MICROSECONDS / 4e6
            assert not request.done()
        assert (await request).token == "token-1"


async def test_process_that_stood_still_stores_no_tokens_over_those_of_the_next(office: Office) -> None:
    """And it sends no login: what it begins is stored first."""
    async with AsyncExitStack() as stack:
        hub, command = [await stack.enter_async_context(office.open_process()) for _ in range(2)]
        await stack.enter_async_context(hub.token_store.lock())
        office.clock.offset_seconds += LEASE_MICROSECONDS / 1e6 + 1
        async with command.token_store.lock():
            await command.token_store.save_tokens('{"halt_reason":"of the next"}')
            with pytest.raises(Unavailable, match="another process"):
                await hub.token_store.save_tokens("{}")
            assert "of the next" in await hub.token_store.load_tokens()


async def test_start_of_a_hub_takes_no_turn_of_a_command(office: Office) -> None:
    async with office.open_process() as hub, office.open_process() as command:
        async with command.token_store.lock():
            await hub.appdb.leases.release_all()
            await command.token_store.save_tokens("{}")
            request = asyncio.create_task(hub.session.token())
            await asyncio.sleep(0.05)
            assert not request.done()
        await request


async def test_token_is_not_requested_while_the_database_is_locked(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, and the next attempt logs in once."""
    async with office.open_process() as hub, office.open_process() as command:
        monkeypatch.setattr(hub.appdb._database, "_call_seconds", 0.1)
        async with command.appdb.transaction():
            with pytest.raises(Unavailable, match="application database"):
                await hub.session.token()
        assert office.responder.login_count == 0
        await hub.session.token()
    assert office.responder.login_count == 1

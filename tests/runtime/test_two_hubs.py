"""Two hubs with one application database and one ledger: each PBX, each Asterisk and each job is one hub's at a time.

The other one goes on at once after a stop, and within ten seconds of a death; a hub that was overtaken commits nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from onhook.appdb import leases
from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.fence import FencedOff
from onhook.appdb.leases import Leases
from onhook.appdb.pbx_credentials import parse_pbx_credentials
from onhook.config import Config
from onhook.delivery.commit_batch import UNCOMMITTED_MAX
from onhook.lib.clock import SystemClock
from onhook.pbx_api.frame_masks import FloodCounter
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.runtime.adapters.erasure import create_eraser
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.runtime.hub_process import (
    HubResources,
    _create_console,
    _create_dispatcher,
    _create_maintenance_services,
    _create_projector,
    _create_report_service,
    _create_sync_manager,
    _create_sync_services,
    _open_resources,
)
from onhook.runtime.services import Service, running
from onhook.sync import pbx_sync_manager
from tests.delivery.harness import WebhookReceiver
from tests.lease_check import watch_commits
from tests.pbx.asterisk.replayed import SECRET, USER, FakeAsterisk, open_fake_asterisk
from tests.runtime.harness import call_id, webhook_body
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, PbxResponder, open_pbx_responder
from tests.test_projector import entry
from tests.waiting import polls, wait_until

BRANCH, OFFICE = "3651XXXXXXXX", "office.example.org"
JOBS = {
    "legs",
    "directory",
    "serial_numbers",
    "silence",
    "call_times",
    "issues",
    "replays",
    "retention",
    "erasure",
    "issue_mails",
    "alerts",
    "reports",
    "mail",
    "destination_log",
}
LEASES = {f"pbx:{BRANCH}", f"ami:{OFFICE}", *(f"job:{name}" for name in JOBS)}


class MovedClock:
    """The system's clock, moved by a test."""

    def __init__(self) -> None:
        self.moved_us = 0

    def microseconds(self) -> int:
        return SystemClock().microseconds() + self.moved_us

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.microseconds() / 1e6, UTC)


class SecondHubConfig(Config, frozen=True):
    """The configuration of a hub with a store of its own."""

    @property
    def store_file(self) -> Path:
        return self.data / "calls-2.duckdb"


class Hub:
    """What a hub does under a lease, wired as in its process; without a destination its dispatcher does nothing."""

    def __init__(self, config: Config, clock: MovedClock) -> None:
        self._config = config
        self._clock = clock
        self._stack = AsyncExitStack()
        self._resources: HubResources

    async def start(self) -> None:
        self._resources = resources = await _open_resources(self._stack, self._config, self._clock)
        projector = _create_projector(resources)
        ingestor = create_ingestor(appdb=resources.appdb, ledger=resources.ledger, clock=self._clock)
        self._stack.push_async_callback(ingestor.close)
        eraser = create_eraser(
            self._config,
            appdb=resources.appdb,
            ledger=resources.ledger,
            store=resources.store,
            projector=projector,
            clock=self._clock,
        )
        dispatcher = _create_dispatcher(resources)
        action_runner = ConsoleActionRunner(self._config, resources.appdb, self._clock)
        self._stack.push_async_callback(action_runner.close)
        console = _create_console(
            resources, action_runner, projector, dispatcher, flood_counter=FloodCounter(), eraser=eraser
        )
        services = (
            Service("leases", resources.leases.run),
            Service("projector", partial(projector.run, resources.position_notifier.announce)),
            Service("dispatcher", dispatcher.run),
            *_create_sync_services(resources, ingestor, _create_sync_manager(resources, ingestor)),
            *_create_maintenance_services(resources, projector, eraser),
            _create_report_service(resources, console.state.app_state),
        )
        await self._stack.enter_async_context(running(*services))

    def list_leases(self) -> set[str]:
        """Return the leases by which this hub works."""
        return set(self._resources.leases._fences)

    async def append_calls(self, numbers: range) -> None:
        """Append an event of each call to the ledger, which both hubs read."""
        entries = [entry(webhook_body(number, BRANCH), BRANCH) for number in numbers]
        await self._resources.ledger.append(entries)

    async def renew_leases(self) -> None:
        await self._resources.leases.renew()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def die(self) -> None:
        """Commit and release nothing any more, as a process that is killed; `stop` ends what is left of it."""
        await self._resources.appdb.close()


class World:
    """Two hubs, not started, a PBX with a web API, and an Asterisk."""

    def __init__(self, folder: Path, responder: PbxResponder, asterisk: FakeAsterisk) -> None:
        self._folder = folder
        self.clock = MovedClock()
        self.first = Hub(Config(data=folder), self.clock)
        self.second = Hub(SecondHubConfig(data=folder), self.clock)
        self.responder = responder
        self.asterisk = asterisk
        self.appdb = AppDb(folder / "onhook.db")

    def replace_first(self) -> Hub:
        """Return the first hub as it is started again after a stop."""
        self.first = Hub(Config(data=self._folder), self.clock)
        return self.first

    async def add_pbxs(self) -> None:
        api = parse_pbx_credentials(f"http://127.0.0.1:{self.responder.port}", CLIENT_ID, CLIENT_SECRET)
        now_us = self.clock.microseconds()
        await self.appdb.add_pbx(name="Branch", sn=BRANCH, secret=None, credentials=api, now_us=now_us)
        await self.appdb.add_pbx(name="Office", sn=OFFICE, secret="unknown-knows-this", dialect="asterisk", now_us=1)
        asterisk_pbx = AsteriskPbx(sn=OFFICE, host="127.0.0.1", port=self.asterisk.port, user=USER)
        await self.appdb.asterisks.add(asterisk_pbx, SECRET)

    async def read_sync_state(self) -> tuple[Any, ...]:
        """Return coverage, back-fill progress and state of both PBXs."""
        states = self.appdb.sync_states
        return (
            [await states.intervals(sn) for sn in (BRANCH, OFFICE)],
            await states.backfill_progress(BRANCH),
            await states.pbx_status(BRANCH),
            (await self.appdb.asterisks.get(OFFICE)).is_connected,
        )

    async def is_synchronised(self) -> bool:
        """Return whether the PBX with a web API was compared, and the Asterisk is connected."""
        (covered, _gaps), progress, status, is_connected = await self.read_sync_state()
        return bool(covered) and progress is None and status is not None and is_connected


async def release_none(_leases: Leases) -> None:
    """Release no lease at a start: here another hub may have them."""


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(leases, "ACQUIRE_SECONDS", 0.01)
    monkeypatch.setattr(Leases, "release_all", release_none)
    monkeypatch.setattr(pbx_sync_manager, "POLL_SECONDS", 0.01)
    lost_commits: list[str] = []
    watch_commits(monkeypatch, lost_commits)
    async with open_world(tmp_path) as world:
        yield world
    assert lost_commits == []


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    async with open_pbx_responder() as responder, open_fake_asterisk() as asterisk:
        world = World(folder, responder, asterisk)
        await world.add_pbxs()
        try:
            yield world
        finally:
            await world.first.stop()
            await world.second.stop()
            await world.appdb.close()


async def test_each_pbx_and_job_is_one_hub_s_and_the_other_s_at_once_after_a_stop(world: World) -> None:
    await world.first.start()
    await wait_until(lambda: world.first.list_leases() == LEASES)
    await world.second.start()
    await wait_until(await world.is_synchronised() async for _ in polls())
    assert world.second.list_leases() == set()
    assert (world.responder.login_count, len(world.responder.subscribed), world.asterisk.login_count) == (1, 1, 1)
    await world.first.stop()
    await wait_until(lambda: world.second.list_leases() == LEASES)
    assert world.first.list_leases() == set()
    await wait_until(lambda: world.asterisk.login_count == 2 and len(world.responder.subscribed) == 1)


@pytest.mark.slow
async def test_deliveries_and_pbxs_of_two_hubs_are_one_hub_s_at_a_time(world: World) -> None:
    """Two dispatchers and two sync managers on one application database: each notification is sent once through a stop,
    and through a death all are sent, a few twice; each PBX is connected once.
    """
    async with WebhookReceiver().listen() as receiver:
        spec = DestinationSpec(url=receiver.url, allow_private=True)
        destination, _secret = await world.appdb.destinations.add("crm", spec, None, after=0, now_us=1)
        all_leases = {*LEASES, f"destination:{destination.destination_id}"}
        await world.first.start()
        await wait_until(lambda: world.first.list_leases() == all_leases)
        await world.second.start()
        await world.first.append_calls(range(20))
        await wait_until(lambda: len(receiver.accepted) >= 5)
        assert world.second.list_leases() == set()
        await world.first.stop()
        await wait_until(lambda: world.second.list_leases() == all_leases)
        await world.second.append_calls(range(20, 40))
        await wait_until(lambda: len(receiver.accepted) >= 40)
        assert receiver.accepted_counts() == {call_id(number): 1 for number in range(40)}
        await wait_until(lambda: world.asterisk.login_count == 2 and len(world.responder.subscribed) == 1)
        third = world.replace_first()
        await third.start()
        await world.second.append_calls(range(40, 60))
        await wait_until(lambda: len(receiver.accepted) >= 45)
        await world.second.die()
        world.clock.moved_us += 10_000_000
        await wait_until(lambda: third.list_leases() == all_leases)
        await wait_until(lambda: set(receiver.accepted_call_ids()) == {call_id(number) for number in range(60)})
        assert len(receiver.accepted) - 60 <= UNCOMMITTED_MAX
        await world.second.stop()
        await wait_until(lambda: world.asterisk.login_count == 3 and len(world.responder.subscribed) == 1)


@pytest.mark.slow
async def test_pbxs_and_jobs_of_a_hub_that_dies_are_the_other_s_within_ten_seconds(world: World) -> None:
    await world.first.start()
    await wait_until(lambda: world.first.list_leases() == LEASES)
    await world.second.start()
    await wait_until(await world.is_synchronised() async for _ in polls())
    await world.first.die()
    assert world.second.list_leases() == set()
    world.clock.moved_us += 10_000_000
    await wait_until(lambda: world.second.list_leases() == LEASES)
    await world.first.stop()
    await wait_until(lambda: world.asterisk.login_count == 2 and len(world.responder.subscribed) == 1)
    await wait_until(await world.is_synchronised() async for _ in polls())


async def test_hub_that_is_overtaken_commits_no_state_of_a_pbx(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood still in the middle of a back-fill, longer than its leases last, and goes on when the other is done."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 3600.0)  # it stands still: the test renews for it
    is_slow, answered = True, asyncio.Event()
    fenced_off: list[str] = []
    create = FencedOff.__init__

    def note(error: FencedOff, message: str, **options: Any) -> None:
        fenced_off.append(message)
        create(error, message, **options)

    async def answer(request: web.Request) -> web.StreamResponse | None:
        if is_slow and "cdr" in request.path:
            await answered.wait()
        return None

    monkeypatch.setattr(FencedOff, "__init__", note)
    world.responder.override_response = answer
    await world.first.start()
    await wait_until(lambda: any("cdr" in name for name in world.responder.request_names))
    await world.asterisk.wait_for_login()
    is_slow = False
    world.clock.moved_us += 10_000_000
    await world.second.start()
    await wait_until(lambda: world.second.list_leases() == LEASES)
    await wait_until(await world.is_synchronised() async for _ in polls())
    before = await world.read_sync_state()
    answered.set()
    await wait_until(lambda: any(BRANCH in message for message in fenced_off))
    await world.first.renew_leases()
    await wait_until(lambda: world.first.list_leases() == set())
    assert await world.read_sync_state() == before

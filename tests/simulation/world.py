"""The whole simulated world: one machine, its PBXs and receivers, the people who change settings, and the model."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.appdb.leases import LEASE_MICROSECONDS
from onhook.cdr.call_details import CallDetails
from onhook.cdr.queue_figures import AgentFigures, QueueCount
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.sync_types import BackfillRequest
from onhook.lib.errors import OnhookError, ParseError
from onhook.pbx.yeastar.payload import Yeastar
from onhook.simulator.fault_injection import Faults
from onhook.store.contract import QuarantineEntry, Store
from tests.simulation.hubs import RunningHub
from tests.simulation.machine import SimulatedMachine
from tests.simulation.model import KnownDestination, MachineState, Model
from tests.simulation.pbxs import ZONE, ApiPbx, WebhookPbx, open_api_pbx
from tests.simulation.receivers import SimulatedReceiver
from tests.simulation.virtual_time import SimulatedClock, VirtualTime, start_time

WAIT_SECONDS_MAX = 120.0
"""Virtual time for the projector, and for a restarted service, which waits up to a minute."""

REPAIR_ROUNDS_MAX = 16
ROUND_SECONDS = 7 * 3600
"""The ten attempts of the retry policy take three days and a half; an endpoint that is down is tried every minute."""

BACKFILL_ATTEMPTS_MAX = 5

SINGLE_HUB_EVERY = 4
"""Of so many seeds one has a single hub, which frees all leases when it starts."""

SETTLE_SECONDS = 10.0
"""A lease of a process that died is followed by another one within that time."""

PAGE = 1_000


class World:
    """Everything, and the `trace` of what happened."""

    def __init__(self, virtual_time: VirtualTime, folder: Path, seed: int) -> None:
        self.rng = Random(f"{seed}/world")
        self.seed = seed
        self.virtual_time = virtual_time
        self.start = start = start_time(self.rng)
        self.clock = SimulatedClock(virtual_time, start)
        self.pbx_clock = SimulatedClock(virtual_time, start)
        keep_days = self.rng.choice([0, 1, 1])
        self.model = Model(keep_days, virtual_time.read)
        hub_count = 1 if seed % SINGLE_HUB_EVERY == SINGLE_HUB_EVERY - 1 else 2
        self.machine = SimulatedMachine(folder, self.clock, Random(f"{seed}/jitter"), keep_days, hub_count)
        self.webhook_pbxs = [self._webhook_pbx("3631A2124AAA", 1), self._webhook_pbx("3631A2124CCC", 2)]
        self.registered_sns = {pbx.sn for pbx in self.webhook_pbxs}
        self.api_pbx: ApiPbx
        self.stack = AsyncExitStack()
        self.trace: list[str] = []
        self.is_upgraded = False
        self.lock: sqlite3.Connection | None = None
        self.unsettled_until = 0.0

    def _webhook_pbx(self, sn: str, number: int) -> WebhookPbx:
        secret = f"{self.rng.getrandbits(128):032x}"
        return WebhookPbx(sn, self.seed * 10 + number, self.clock_of_pbxs, secret)

    @property
    def clock_of_pbxs(self) -> SimulatedClock:
        """Return the clock of the PBXs, which may differ from that of the machine."""
        return self.pbx_clock

    @property
    def is_healthy(self) -> bool:
        """Return whether nothing is wrong with the machine, and has not been for a while."""
        return (
            self.machine.is_up
            and self.machine.disk.is_sound
            and self.lock is None
            and self.virtual_time.seconds >= self.unsettled_until
        )

    @property
    def hub(self) -> RunningHub:
        assert self.machine.hub is not None
        return self.machine.hub

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.now():%m-%d %H:%M:%S} {text}")

    def parse(
        self, dialect: Yeastar, body: bytes, original: Callable[[Yeastar, bytes], list[CallDetails]]
    ) -> list[CallDetails]:
        """Parse a body as the installed version does: some calls are readable for the next version only."""
        legs = original(dialect, body)
        if not self.is_upgraded and any(leg.call_id in self.model.unreadable_calls for leg in legs):
            raise ParseError("a form that this version cannot read")
        return legs

    # People

    async def change(
        self, action: str, work: Callable[[AppDb], Awaitable[object]], is_done: Callable[[AppDb], Awaitable[bool]]
    ) -> bool:
        """Change a setting as a command does; return whether it is changed, also where the command has failed."""
        try:
            async with self.machine.open_appdb() as appdb:
                await work(appdb)
            has_changed = True
        except Exception as error:
            if not isinstance(error, OnhookError) and not self.machine.disk.is_dead:
                raise
            self.note(f"failed: {error}")
            has_changed = await self._find_out(is_done)
        if has_changed and action:
            self.model.change(action, is_certain=True)
        return has_changed

    async def _find_out(self, is_done: Callable[[AppDb], Awaitable[bool]]) -> bool:
        while True:
            await self.machine.ensure_running()
            with suppress(OnhookError):
                async with self.machine.open_appdb() as appdb:
                    return await is_done(appdb)
            await asyncio.sleep(1.0)

    async def add_destination(self, name: str, **spec_fields: object) -> None:
        receiver = await self.stack.enter_async_context(SimulatedReceiver(name).listen())
        secret = f"{self.rng.getrandbits(128):032x}"
        receiver.secrets.append(secret)
        spec = DestinationSpec(url=receiver.url, allow_private=True, with_standard_webhooks=True, **spec_fields)  # type: ignore[arg-type]
        after = 0 if self.rng.random() < 0.5 else await self.hub.store.position()
        destination = KnownDestination(
            name=name,
            receiver=receiver,
            is_per_call=spec.notifies_of == "calls",
            after=after,
            expired_seqs=self.model.list_expired_seqs(),
        )
        if spec.filter.sn:
            destination.sns.add(spec.filter.sn)
        now_us = self.clock.microseconds()
        has_changed = await self.change(
            f"add destination {name}",
            lambda appdb: appdb.destinations.add(name, spec, secret, after=after, now_us=now_us),
            lambda appdb: self.has_destination(appdb, name),
        )
        if has_changed:
            self.model.destinations[name] = destination

    async def has_destination(self, appdb: AppDb, name: str) -> bool:
        return name in (await appdb.destinations.names()).values()

    async def register(self, pbx: WebhookPbx) -> None:
        has_changed = await self.change(
            f"add PBX {pbx.sn}",
            lambda appdb: appdb.add_pbx(
                name=pbx.sn, sn=pbx.sn, secret=pbx.secret, zone=ZONE, now_us=self.clock.microseconds()
            ),
            lambda appdb: self.has_pbx(appdb, pbx.sn),
        )
        if has_changed:
            self.registered_sns.add(pbx.sn)

    async def has_pbx(self, appdb: AppDb, sn: str) -> bool:
        return sn in {pbx.sn for pbx in await appdb.pbxs()}

    # States

    def unsettle(self, seconds: float = 2.0) -> None:
        """Allow the machine so much time before it must behave as one without faults."""
        self.unsettled_until = max(self.unsettled_until, self.virtual_time.seconds + seconds)

    async def wait_until_projected(self) -> bool:
        """Wait until each store has all events of the ledger; return False where one does not in time."""
        deadline = self.virtual_time.seconds + WAIT_SECONDS_MAX
        while self.virtual_time.seconds < deadline:
            last_seq = await self.hub.ledger.last_seq()
            hubs = [hub.running for hub in self.machine.hubs]
            positions = {await hub.store.position() for hub in hubs if hub is not None}
            if None not in hubs and positions == {last_seq}:
                return True
            await asyncio.sleep(0.2)
        return False

    async def check(self) -> None:
        """Compare what must always hold; only a sound machine can be read without harm."""
        if not self.is_healthy:
            return
        if not await self.wait_until_projected():
            self.model.errors.append("the projector does not go on")
            return
        self.model.erasures.note_applied(asyncio.get_running_loop().time())
        self.model.check_always(await self.read_state())
        # A later version may have read an event at its first time for one store, and not for the other.
        if not self.is_upgraded and not any(hub.is_outdated for hub in self.machine.hubs):
            await self.check_stores()

    def list_stores(self) -> dict[str, Store | None]:
        """Return the store of each hub, None while that is down."""
        return {hub.name: None if hub.running is None else hub.running.store for hub in self.machine.hubs}

    async def check_stores(self) -> None:
        """Compare the stores with each other: record by record, visits to queues, and what is in the quarantine."""
        stores = [await self._read_store(hub.running) for hub in self.machine.hubs if hub.running is not None]
        for calls, *further_contents in stores[1:]:
            self.model.compare_stores(stores[0][0], calls)
            self.model.errors += [
                f"stores differ: {first} and {other}"
                for first, other in zip(stores[0][1:], further_contents, strict=True)
                if first != other
            ]

    async def _read_store(
        self, hub: RunningHub
    ) -> tuple[list[Call], list[QueueCount], list[AgentFigures], list[QuarantineEntry]]:
        visits = await hub.store.count_visits(RecordFilter(), "hour_of_day", ZONE)
        agents = await hub.store.agent_figures(RecordFilter(), ZONE)
        return await self._read_calls(hub), visits, agents, await hub.store.quarantine(PAGE)

    async def check_erasures(self) -> None:
        """Check that no raw event, no stored delivery and no log of a destination has a number that was erased from
        its call. To which call a damaged body belongs is not known to the machine.
        """
        hub = self.hub
        events = await hub.ledger.read(0, PAGE)
        while page := await hub.ledger.read(events[-1].seq if events else 0, PAGE):
            events += page
        bodies = [event.body for event in events if event.body not in self.model.malformed]
        deliveries = await hub.appdb._database.rows("SELECT body FROM deliveries")
        attempts = await hub.appdb._database.rows("SELECT body FROM destination_log")
        self.model.errors += [
            *self.model.erasures.find_in_bodies("raw event", bodies),
            *self.model.erasures.find_in_bodies("delivery", [body for (body,) in deliveries]),
            *self.model.erasures.find_in_bodies("attempt", [body for (body,) in attempts]),
        ]

    async def check_leases(self) -> None:
        """Check that no lease is that of a process which has died, once its time has passed. One that ends later than a
        lease of now is free: the clock was set back.
        """
        await asyncio.sleep(SETTLE_SECONDS)
        owners = {hub.running.leases._owner for hub in self.machine.hubs if hub.running is not None}
        now_us = self.clock.microseconds()
        rows = await self.hub.appdb._database.rows("SELECT name, owner, until FROM leases")
        self.model.errors += [
            f"the lease {name} is that of {owner or 'none'}, until {until - now_us} µs from now"
            for name, owner, until in rows
            if now_us < until <= now_us + LEASE_MICROSECONDS and owner not in owners
        ]
        served = {name for name, owner, until in rows if until > now_us and owner in owners}
        expected = {f"pbx:{self.api_pbx.sn}"} | {
            f"destination:{each.destination_id}" for each in await self.hub.appdb.destinations.all()
        }
        self.model.errors += [f"nothing has the lease {name}" for name in sorted(expected - served)]

    async def read_state(self) -> MachineState:
        hub = self.hub
        quarantine = await hub.store.quarantine(PAGE)
        bodies = [raw_event.body for raw_event in await hub.ledger.get([entry.seq for entry in quarantine])]
        entries = await hub.appdb.audit.latest(10 * PAGE)
        return MachineState(
            now=self.clock.now(),
            calls=await self._read_calls(hub),
            quarantined_bodies=bodies,
            intervals=await hub.appdb.sync_states.intervals(self.api_pbx.sn),
            audit_actions=[re.sub(r" and \d+ more$", "", entry.action) for entry in entries],
            failed_ids={name: await self.failed_ids(hub.appdb, name) for name in self.model.destinations},
            destination_ids={name: number for number, name in (await hub.appdb.destinations.names()).items()},
        )

    async def _read_calls(self, hub: RunningHub) -> list[Call]:
        calls: list[Call] = []
        cursor = None
        while True:
            page = await hub.store.calls(RecordFilter(), PAGE, cursor)
            calls += page.data
            cursor = page.next
            if cursor is None:
                return calls

    async def failed_ids(self, appdb: AppDb, name: str) -> set[str]:
        destination = await appdb.destinations.get(name)
        rows = await appdb.deliveries.page(destination.destination_id, "failed", 10 * PAGE)
        return {row.notification_id for row in rows}

    # Repair

    async def repair(self) -> None:
        """End all faults, as a person does who has read the list of issues."""
        self.machine.disk.repair()
        self.release_lock()
        self.pbx_clock.error_seconds = self.clock.error_seconds
        self.api_pbx.set_faults(Faults())
        for known_destination in self.model.destinations.values():
            known_destination.receiver.mode = "accept"
        await self.machine.ensure_running()
        assert self.api_pbx.credentials is not None
        # Where the PBX has rejected them, nothing is tried again before they are set.
        await self.hub.appdb.pbx_credentials.put(self.api_pbx.sn, self.api_pbx.credentials)
        await self.upgrade()
        assert await self.wait_until_projected(), "the projector does not go on"
        await self.retry_quarantine()
        self.model.unreadable_calls.clear()
        for destination in await self.hub.appdb.destinations.all():
            if destination.state != "active":
                await self.hub.appdb.destinations.set_state(destination.name, "active")

    async def upgrade(self) -> None:
        """Install the next version, which reads more."""
        await self.machine.stop_hubs()
        self.is_upgraded = True
        await self.machine.ensure_running()

    async def retry_quarantine(self) -> None:
        """Read again what is in any quarantine, on any hub."""
        seqs = await self.note_late_seqs()
        if seqs:
            hub = self.rng.choice([hub.running for hub in self.machine.hubs if hub.running is not None])
            await hub.quarantine_retrier.retry(seqs)

    async def note_late_seqs(self) -> list[int]:
        """Return the numbers in all quarantines: from now on they may be read, later than their neighbours."""
        hubs = [hub.running for hub in self.machine.hubs if hub.running is not None]
        seqs = {entry.seq for hub in hubs for entry in await hub.store.quarantine(PAGE)}
        self.model.late_seqs |= seqs
        return sorted(seqs)

    def release_lock(self) -> None:
        if self.lock is not None:
            self.lock.rollback()
            self.lock.close()
            self.lock = None

    async def run_until_quiet(self) -> None:
        """Run until nothing is pending."""
        for _round in range(REPAIR_ROUNDS_MAX):
            await asyncio.sleep(SETTLE_SECONDS)
            await self.machine.ensure_running()  # with a store that was rebuilt meanwhile
            if not await self.list_pending():
                return
            self.virtual_time.advance(ROUND_SECONDS)
        self.model.errors.append(f"still pending: {await self.list_pending()}")

    async def list_pending(self) -> list[str]:
        """Return what is not done."""
        appdb, last_seq = self.hub.appdb, await self.hub.ledger.last_seq()
        position = await self.hub.store.position()
        pending = [] if position == last_seq else [f"store at {position} of {last_seq}"]
        pending += [f"{hub.name} is outdated" for hub in self.machine.hubs if hub.is_outdated]
        erasures = await self.hub.eraser.list_erasures()
        pending += [f"unfinished: {erasure}" for erasure in erasures if erasure.state == "erasing"]
        if await appdb.sync_states.backfill_request(self.api_pbx.sn) is not None:
            pending.append("requested back-fill")
        held_replays = await appdb.destinations.list_held_replays(now_us=self.clock.microseconds())
        pending += [f"replay until {seq} is held" for seq in held_replays]
        for destination in await appdb.destinations.all():
            pending += await self._pending_of(appdb, destination, last_seq)
        return pending

    async def _pending_of(self, appdb: AppDb, destination: Destination, last_seq: int) -> Sequence[str]:
        streams = await appdb.destinations.streams(destination.destination_id)
        backlog = await appdb.deliveries.backlog(destination.destination_id)
        if destination.state == "active" and not backlog.retrying and [s.cursor for s in streams] == [last_seq]:
            return []
        return [f"{destination!r}, {backlog}, {streams}, last {last_seq}"]

    async def backfill(self) -> None:
        """Request all calls of the PBX's list until none fails: the PBX may have blocked the login for a while."""
        for _attempt in range(BACKFILL_ATTEMPTS_MAX):
            await self._request_backfill()
            await self.run_until_quiet()
            result = await self.hub.appdb.sync_states.backfill_result(self.api_pbx.sn)
            if result is not None and not result.error:
                return
            self.note(f"back-fill: {result}")
            self.virtual_time.advance(3_600)
        self.model.errors.append("the back-fill does not succeed")

    async def _request_backfill(self) -> None:
        now = round(self.clock.microseconds() / 1_000_000)
        since = round(self.start.timestamp()) - 86_400
        request = BackfillRequest(since=since, until=None, requested_at=now)
        await self.hub.appdb.sync_states.save_backfill_request(self.api_pbx.sn, request)


@asynccontextmanager
async def open_world(virtual_time: VirtualTime, folder: Path, seed: int) -> AsyncIterator[World]:
    """Yield a world whose machine has started, with its PBXs registered."""
    world = World(virtual_time, folder, seed)
    async with world.stack:
        world.api_pbx = await world.stack.enter_async_context(
            open_api_pbx("3631A2124BBB", seed * 10 + 3, world.pbx_clock)
        )
        world.machine.open()
        world.stack.push_async_callback(world.machine.close)
        async with world.machine.open_appdb() as appdb:
            for pbx in world.webhook_pbxs:
                await appdb.add_pbx(name=pbx.sn, sn=pbx.sn, secret=pbx.secret, zone=ZONE, now_us=1)
                world.model.change(f"add PBX {pbx.sn}", is_certain=True)
            credentials, sn = world.api_pbx.credentials, world.api_pbx.sn
            await appdb.add_pbx(name=sn, sn=sn, secret=None, credentials=credentials, now_us=1)
        assert await world.machine.ensure_running()
        await world.add_destination("all-records", filter=RecordFilter())
        await world.add_destination("all-calls", notifies_of="calls")
        yield world

"""A store, an application database and a dispatcher, and real receivers of webhooks."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.cdr.record import Call
from onhook.config import Config
from onhook.delivery.destinations.contract import DestinationClient, OpenDestination
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps, DestinationWorker
from onhook.ledger.contract import RawEvent
from onhook.ledger.control_entries import (
    ControlEntry,
    Erased,
    ErasedCall,
    Forgotten,
    ForgottenCall,
    encode_control,
    to_ledger_entries,
)
from onhook.lib.clock import SystemClock
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.position_notifier import PositionNotifier
from tests.factories import call, record
from tests.waiting import wait_until

SECRET = "0123456789abcdefghijABCDEFGHIJ01"
WAIT_SECONDS_MAX = 20.0

ReplyCallback = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | int]]
"""What a receiver answers: a response, or its status."""


class WebhookReceiver:
    """A real receiver of webhooks: records every request, and answers as set."""

    def __init__(self, reply: ReplyCallback | None = None) -> None:
        self.reply = reply
        self.payloads: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.accepted: list[dict[str, Any]] = []
        self.url = ""

    @asynccontextmanager
    async def listen(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["WebhookReceiver"]:
        """Listen on a port of 127.0.0.1, over TLS under the name `localhost`."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{runner.addresses[0][1]}/calls"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        payload = json.loads(body)
        details = json.loads(payload["msg"]) if isinstance(payload.get("msg"), str) else payload
        self.payloads.append(details)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        reply = await self.reply(request, body) if self.reply else 200
        response = reply if isinstance(reply, web.StreamResponse) else web.Response(status=reply, text="so it is")
        if 200 <= response.status < 300:
            self.accepted.append(details)
        return response

    def accepted_call_ids(self) -> list[str]:
        """Return the ids of the accepted calls, in order."""
        return [details["call_id"] for details in self.accepted]

    def accepted_counts(self) -> Counter[str]:
        return Counter(self.accepted_call_ids())


class WorkerCycles:
    """Cycles that ended without an attempt in progress, in which the newest worker had nothing to send."""

    def __init__(self) -> None:
        self._count = 0
        self._worker: DestinationWorker | None = None

    @property
    def revision(self) -> int | None:
        """Return the revision of the destination that the newest worker serves."""
        return None if self._worker is None else self._worker._destination.revision

    def end_cycle(self, worker: DestinationWorker) -> None:
        self._worker = worker
        self._count += worker._pool.is_idle

    async def complete(self) -> None:
        """Wake the worker until two more cycles have ended: one that was running, and one that began since."""
        expected_count = self._count + 2
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while self._count < expected_count:
                if self._worker is not None:
                    self._worker._wake.set()
                await asyncio.sleep(0.001)


class DispatcherCycles:
    """Checks of the settings by the dispatcher."""

    def __init__(self) -> None:
        self._count = 0

    def end_cycle(self) -> None:
        self._count += 1

    async def complete(self) -> None:
        """Return when two more cycles have ended: one that was running, and one that began since."""
        expected_count = self._count + 2
        await wait_until(lambda: self._count >= expected_count)


class DeliveryHarness:
    """The dispatcher's environment. `put_calls` stores calls."""

    def __init__(self, directory: Path, store: DuckDbStore) -> None:
        self.directory = directory
        self.store = store
        self.appdb = AppDb(directory / "onhook.db")
        self.position_notifier = PositionNotifier()
        self.position = 0
        self.errors: list[tuple[int, Exception | None]] = []
        self.error_names: list[str] = []
        self.issues: list[tuple[str, bool]] = []
        self.open_destination: OpenDestination = destination_opener(Config())
        self.dispatcher_appdb = AppDb(directory / "onhook.db")
        self.control_entries: list[RawEvent] = []
        self.dispatcher = self._create_dispatcher()
        self._dispatcher_task: asyncio.Task[None] | None = None

    def _create_dispatcher(self) -> DeliveryDispatcher:
        return DeliveryDispatcher(
            deps=DeliveryDeps(
                record_reader=RecordReader(self.store, self.position_notifier),
                appdb=self.dispatcher_appdb,
                clock=SystemClock(),
                read_control_entries=self._read_control_entries,
            ),
            open_destination=self._open_destination,
            on_error=self._record_error,
            on_issue=lambda issue, has_begun: self.issues.append((issue.kind, has_begun)),
        )

    def _record_error(self, destination_id: int, name: str, error: Exception | None) -> None:
        self.errors.append((destination_id, error))
        self.error_names.append(name)

    def _open_destination(self, spec: DestinationSpec, secrets: Sequence[str]) -> DestinationClient:
        return self.open_destination(spec, secrets)

    async def add_destination(self, name: str, url: str, after: int | None = 0, **spec_fields: Any) -> Destination:
        values: dict[str, Any] = {"url": url, "allow_private": True} | spec_fields
        destination, _ = await self.appdb.destinations.add(
            name, DestinationSpec(**values), SECRET, after=after, now_us=1
        )
        return destination

    async def put_calls(self, *calls: Call) -> list[str]:
        """Store calls, each leg with a new number of its own; return the ids of the calls."""
        numbered_calls = [self._assign_seqs(numbered_call) for numbered_call in calls]
        batch = StoreBatch(calls=numbered_calls, quarantined=(), reparsed_seqs=(), position=self.position)
        await self.store.put(batch)
        self.position_notifier.announce(self.position)
        return [numbered_call.call_id for numbered_call in numbered_calls]

    async def forget(self, *calls: Call) -> None:
        """Delete calls, as retention does; those that are stored again have stayed."""
        keys = [(item.sn, item.call_id) for item in calls]
        entry = Forgotten(calls=tuple(ForgottenCall(sn, call_id, ()) for sn, call_id in keys))
        await self._apply_control(entry, removed_keys=keys)

    async def erase(self, *calls: Call) -> None:
        """Replace calls by what is left of them, as the erasure of a number does."""
        erased_calls = tuple(ErasedCall(item.sn, item.call_id, (), "", 0, ()) for item in calls)
        await self._apply_control(Erased(erasure_id="e", last_seq=self.position, calls=erased_calls), calls=calls)

    async def _apply_control(self, entry: ControlEntry, **changes: Any) -> None:
        self.position += 1
        values: dict[str, Any] = {"calls": (), "quarantined": (), "reparsed_seqs": (), "position": self.position}
        await self.store.put(StoreBatch(**(values | changes)))
        (ledger_entry,) = to_ledger_entries([encode_control(entry)], self.position, 0)
        self.control_entries.append(RawEvent(**msgspec.structs.asdict(ledger_entry), seq=self.position))
        self.position_notifier.announce(self.position)

    async def _read_control_entries(self, after_seq: int, limit: int) -> Sequence[RawEvent]:
        return [raw_event for raw_event in self.control_entries if raw_event.seq > after_seq][:limit]

    def _assign_seqs(self, original: Call) -> Call:
        legs = []
        for leg in original.legs:
            self.position += 1
            legs.append(msgspec.structs.replace(leg, seq=self.position))
        return msgspec.structs.replace(original, legs=tuple(legs))

    def start(self) -> None:
        """Start the dispatcher; after `stop` another one, as after a restart."""
        self._dispatcher_task = asyncio.create_task(self.dispatcher.run())

    async def stop(self) -> None:
        if self._dispatcher_task is not None:
            self._dispatcher_task.cancel()
            await asyncio.wait([self._dispatcher_task])
            self._dispatcher_task = None
            await self.dispatcher_appdb.close()
            self.dispatcher_appdb = AppDb(self.directory / "onhook.db")
            self.dispatcher = self._create_dispatcher()

    async def cursor(self, name: str) -> int | None:
        destination = await self.appdb.destinations.get(name)
        return (await self.appdb.destinations.streams(destination.destination_id))[0].cursor

    async def rows(self, name: str, state: Any = None) -> list[Any]:
        destination = await self.appdb.destinations.get(name)
        return await self.appdb.deliveries.page(destination.destination_id, state, 10_000)


@asynccontextmanager
async def open_delivery_harness(directory: Path) -> AsyncIterator[DeliveryHarness]:
    store = await open_store(directory / "calls.duckdb")
    harness = DeliveryHarness(directory, store)
    try:
        yield harness
    finally:
        await harness.stop()
        await store.close()
        await harness.appdb.close()


def make_calls(count: int, **changes: Any) -> Sequence[Call]:
    return [call(record(**changes)) for _ in range(count)]

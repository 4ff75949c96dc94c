"""Whichever operation fails during a delivery, each notification is accepted or visibly failed, and has one row."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import DUE_AFTER_PREDECESSOR
from onhook.appdb.delivery_rows import DeliveryCommit, DeliveryUpdate, NewDelivery
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.config import Config
from onhook.delivery import worker_supervisor
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.lib.clock import SystemClock
from onhook.store.position_notifier import PositionNotifier
from tests.delivery.factories import NOW, new_attempt
from tests.delivery.harness import SECRET, WebhookReceiver
from tests.faults.test_each_operation import (
    ENTRIES,
    append_all,
    early_and_late,
    every_operation,
    fail_each,
    open_projector,
    try_again,
)
from tests.waiting import polls, wait_until

REJECTED_CALL_TO = b"Bob<101>"
"""The second leg of each call is rejected."""

CALL = ("SN", "1.1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


async def add_destination(appdb: AppDb, url: str) -> Destination:
    spec = DestinationSpec(url=url, allow_private=True, retry_policy="original", max_attempts=1)
    destination, _secret = await appdb.destinations.add("crm", spec, SECRET, after=0, now_us=1)
    return destination


@asynccontextmanager
async def running_dispatcher(directory: Path) -> AsyncIterator[AppDb]:
    async with open_projector(directory) as (_projector, store, _ledger, appdb):
        position_notifier = PositionNotifier()
        position_notifier.announce(await store.position())
        dispatcher = DeliveryDispatcher(
            deps=DeliveryDeps(record_reader=RecordReader(store, position_notifier), appdb=appdb, clock=SystemClock()),
            open_destination=destination_opener(Config()),
            on_error=lambda _id, _name, _error: None,
            on_issue=lambda _issue, _has_begun: None,
        )
        task = asyncio.create_task(dispatcher.run())
        try:
            yield appdb
        finally:
            task.cancel()
            await asyncio.wait([task])


async def is_served(appdb: AppDb) -> bool:
    destination = await appdb.destinations.get("crm")
    (stream,) = await appdb.destinations.streams(destination.destination_id)
    return stream.cursor == len(ENTRIES)


@every_operation
@early_and_late
async def test_deliver_each_operation_fails(
    directory: Path, monkeypatch: pytest.MonkeyPatch, step: int, *, is_late: bool
) -> None:
    """What was accepted and not committed is sent again; what was rejected is a failed delivery."""
    monkeypatch.setattr(worker_supervisor, "RESTART_SECONDS_FIRST", 0.01)

    async def reply(_request: web.Request, body: bytes) -> int:
        return 400 if REJECTED_CALL_TO in body else 200

    await append_all(directory)
    async with WebhookReceiver(reply).listen() as crm:
        async with open_projector(directory) as (projector, _store, _ledger, appdb):
            await projector.catch_up()
            await add_destination(appdb, crm.url)

        async def deliver(copy: Path) -> None:
            async with running_dispatcher(copy) as copied_appdb:
                await wait_until(await is_served(copied_appdb) async for _ in polls())

        async def check(copy: Path) -> None:
            async with AppDb(copy / "onhook.db") as copied_appdb:
                rows = await copied_appdb.deliveries.page(1, None, 100)
            assert [(row.state, row.seq) for row in rows] == [("failed", seq) for seq in (2, 4, 6, 8, 10)]
            assert set(crm.accepted_counts()) == {row.call_id for row in rows}
            crm.accepted.clear()

        await fail_each(directory, deliver, check, step, is_late=is_late)


@every_operation
@early_and_late
async def test_commit_each_operation_fails(directory: Path, step: int, *, is_late: bool) -> None:
    """A commit that failed is repeated unchanged; done twice it is the same as once."""
    async with AppDb(directory / "onhook.db") as appdb:
        destination = await add_destination(appdb, "http://127.0.0.1:1/")
        (stream,) = await appdb.destinations.streams(destination.destination_id)

    def build_commit(cursor: int, new: list[NewDelivery], updates: list[DeliveryUpdate]) -> DeliveryCommit:
        return DeliveryCommit(
            destination_id=destination.destination_id,
            revision=destination.revision,
            cursors={stream.stream_id: cursor},
            finished_replays=(),
            new_deliveries=new,
            updates=updates,
            attempts_succeeded=0,
            attempts_failed=1,
            failing_since=None,
            retry_after=0,
            retry_all_now=False,
            now_us=NOW,
        )

    commits = (
        build_commit(2, [new_delivery(1, is_tried=True), new_delivery(2, is_tried=False)], []),
        build_commit(3, [new_delivery(3, is_tried=False)], [failed_update(1)]),
    )

    async def commit_all(copy: Path) -> None:
        async with AppDb(copy / "onhook.db") as appdb:
            for commit in commits:
                await try_again(lambda commit=commit: commit_once(appdb, commit))  # type: ignore[misc] # bound now

    async def check(copy: Path) -> None:
        async with AppDb(copy / "onhook.db") as appdb:
            rows = await appdb.deliveries.page(destination.destination_id, None, 100)
            (copied_stream,) = await appdb.destinations.streams(destination.destination_id)
            attempts = [len(await appdb.deliveries.attempts(row.delivery_id)) for row in rows]
        assert [(row.notification_id, row.state, row.attempts) for row in rows] == [
            ("e1", "failed", 2),
            ("e2", "retrying", 0),
            ("e3", "retrying", 0),
        ]
        assert [row.due_at is None for row in rows] == [True, False, True]
        assert attempts[1:] == [0, 0]
        assert copied_stream.cursor == 3

    await fail_each(directory, commit_all, check, step, is_late=is_late)


async def commit_once(appdb: AppDb, commit: DeliveryCommit) -> None:
    await appdb.deliveries.commit(commit)


def new_delivery(seq: int, *, is_tried: bool) -> NewDelivery:
    return NewDelivery(
        notification_id=f"e{seq}",
        seq=seq,
        call=CALL,
        body=b"{}",
        due_at=NOW if is_tried else DUE_AFTER_PREDECESSOR,
        pending_since=NOW,
        attempt=new_attempt() if is_tried else None,
    )


def failed_update(delivery_id: int) -> DeliveryUpdate:
    return DeliveryUpdate(
        delivery_id=delivery_id,
        call=CALL,
        state="failed",
        due_at=NOW,
        attempts=2,
        attempts_before=1,
        attempt=new_attempt(),
    )

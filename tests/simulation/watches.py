"""Oracles that look on where no result shows it: when a lease is released, when raw events are deleted, and what was
committed as done.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from onhook.appdb.deliveries import Deliveries
from onhook.appdb.delivery_rows import DeliveryCommit
from onhook.appdb.fence import Lease
from onhook.appdb.leases import RENEW_SECONDS, LeaseHolder
from onhook.delivery import worker
from onhook.lib.leased_work import LeasedWork
from onhook.ops.event_deletion import EventDeletion
from onhook.store.contract import Store


def watch_releases(patch: pytest.MonkeyPatch, errors: list[str]) -> None:
    """Add to `errors` each release of a lease whose work has not ended."""
    run_leased, release = LeaseHolder.run_leased, LeaseHolder._release
    active: set[tuple[int, str]] = set()

    async def run_watched(holder: LeaseHolder, name: str, work: LeasedWork) -> None:
        async def watched_work() -> None:
            active.add((id(holder), name))
            try:
                await work()
            finally:
                active.discard((id(holder), name))

        await run_leased(holder, name, watched_work)

    async def release_watched(holder: LeaseHolder, lease: Lease) -> None:
        if (id(holder), lease.name) in active:
            errors.append(f"released before its work has ended: {lease}")
        await release(holder, lease)

    patch.setattr(LeaseHolder, "run_leased", run_watched)
    patch.setattr(LeaseHolder, "_release", release_watched)


def watch_deletions(
    patch: pytest.MonkeyPatch, errors: list[str], list_stores: Callable[[], Mapping[str, Store | None]]
) -> None:
    """Add to `errors` each deletion of raw events by an entry that a store has not applied. `list_stores` returns the
    store of each hub, None while that is down: then it is where it was when it was last seen.
    """
    delete = EventDeletion._delete_events_of
    last_positions: dict[str, int] = {}

    async def delete_watched(deletion: EventDeletion, seq: int, entry: Any) -> int:
        for name, store in list_stores().items():
            if store is not None:
                last_positions[name] = await store.position()
            if last_positions.get(name, seq) < seq:
                errors.append(f"deleted by entry {seq}, which {name} has not applied at {last_positions[name]}")
        return await delete(deletion, seq, entry)

    patch.setattr(EventDeletion, "_delete_events_of", delete_watched)


class DoneNotifications:
    """Since when notifications are committed as done, by the time of the simulation."""

    def __init__(self, read_time: Callable[[], float]) -> None:
        self._read_time = read_time
        self._cursors: dict[int, list[tuple[float, int]]] = {}
        self._done_ahead: dict[int, dict[str, float]] = {}
        self._stored_ids: dict[int, set[str]] = {}

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Note what commits contain, once they have succeeded."""
        commit = Deliveries.commit

        async def commit_watched(deliveries: Deliveries, changes: DeliveryCommit) -> Any:
            released_calls = await commit(deliveries, changes)
            self._note(changes)
            return released_calls

        patch.setattr(Deliveries, "commit", commit_watched)

    def is_done(self, destination_id: int, notification_id: str, time: float) -> bool:
        """Return whether a notification was committed as done before a time, by its first attempt."""
        if notification_id in self._stored_ids.get(destination_id, ()):
            return False  # it is a stored delivery, which is tried again
        seq = int(notification_id.rpartition("-")[2])
        done_at = self._done_ahead.get(destination_id, {}).get(notification_id, time)
        return done_at < time or any(
            committed_at < time and cursor >= seq for committed_at, cursor in self._cursors.get(destination_id, ())
        )

    def _note(self, changes: DeliveryCommit) -> None:
        destination_id, now = changes.destination_id, self._read_time()
        for new_delivery in changes.new_deliveries:
            self._stored_ids.setdefault(destination_id, set()).add(new_delivery.notification_id)
        if changes.cursors:
            live_stream = min(changes.cursors)  # replays come later
            self._cursors.setdefault(destination_id, []).append((now, changes.cursors[live_stream]))
        for ids in changes.done_ahead.values():
            for notification_id in ids:
                self._done_ahead.setdefault(destination_id, {}).setdefault(notification_id, now)


STALE_START_SECONDS = RENEW_SECONDS + 5.0
"""A hub that stood still sends what it had begun to send, and further notifications until its renewal of the lease; a
destination has five seconds to accept them.
"""

STALE_ATTEMPT_SECONDS = worker.CLOSE_SECONDS_MAX + 30.0
"""A hub that was overtaken may send so long what another one has sent: until its renewal of the lease, and its end."""

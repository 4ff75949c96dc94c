"""How a subscription stands: what is owed to it, since when, and what a test came to."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import mask_url
from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.destinations.contract import DestinationClient, Notification
from onhook.delivery.issues import Issue, find_issues
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.timestamps import to_datetime
from onhook.store.contract import Store

TEST_NOTIFICATION_ID = "test"
"""The id of a test: none of an event's."""


class DestinationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed to a subscription.

    `pending` counts records that were not yet sent, and events that wait to be sent again; `retrying` of them are such
    events, `failed` ones are not among them. `oldest_pending_at` is when the oldest of them came. `replays` are still
    to do. `position` is the number up to which everything is settled, None where it has not begun. `is_full` is whether
    so many are retrying or failed that nothing new is tried before a person has retried or discarded some.
    """

    pending: int
    retrying: int
    failed: int
    oldest_pending_at: datetime | None
    replays: int
    position: int | None
    is_full: bool


class DestinationView(Destination, frozen=True, kw_only=True):
    """A destination with its status and its issues, flat, as API and pages show it.

    Values of `headers` and in the query of `url` are masked: they may be keys. The other members are those of
    `DestinationStatus`.
    """

    pending: int
    retrying: int
    failed: int
    oldest_pending_at: datetime | None
    replays: int
    position: int | None
    is_full: bool
    issues: Sequence[Issue]


class DestinationTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a test came to. `status` is None where no answer came."""

    accepted: bool
    status: int | None
    detail: str
    duration_ms: int
    body: str


async def view_destination(destination: Destination, appdb: AppDb, store: Store, now: datetime) -> DestinationView:
    """As everybody may see it. Raises `Unavailable`."""
    backlog = appdb.deliveries.backlog(destination.destination_id)
    status = await load_status(destination, appdb, store)
    return DestinationView(
        **msgspec.structs.asdict(mask_secrets(destination)),
        **msgspec.structs.asdict(status),
        issues=find_issues(destination, backlog, now),
    )


async def load_status(destination: Destination, appdb: AppDb, store: Store) -> DestinationStatus:
    """How it stands now. Raises `Unavailable`."""
    backlog = appdb.deliveries.backlog(destination.destination_id)
    streams = appdb.destinations.streams(destination.destination_id)
    pending, pending_times = (
        backlog.retrying,
        [] if backlog.oldest_pending_at is None else [to_datetime(backlog.oldest_pending_at)],
    )
    position = await store.position()
    for stream in streams:
        cursor = stream.cursor or 0
        if cursor >= position:
            continue  # most are at the end, and then nothing is to be counted
        is_live = stream.until is None
        extent = await store.extent(destination.filter if is_live else stream.filter, cursor, stream.until)
        pending += extent.count
        if is_live and extent.first_received_at is not None:
            pending_times.append(extent.first_received_at)
    return DestinationStatus(
        pending=pending,
        retrying=backlog.retrying,
        failed=backlog.failed,
        oldest_pending_at=min(pending_times, default=None),
        replays=sum(stream.until is not None for stream in streams),
        position=streams[0].cursor if streams else None,
        is_full=backlog.is_full,
    )


def mask_secrets(destination: Destination) -> Destination:
    """Without the values of its headers and those in its URL's query, which may be keys."""
    return msgspec.structs.replace(
        destination, headers=dict.fromkeys(destination.headers, "…"), url=mask_url(destination.url)
    )


async def replay(appdb: AppDb, store: Store, name: str, record_filter: RecordFilter, clock: Clock) -> int:
    """Have what matches sent again; how many records match. Raises `UsageError` where it would be everything ever."""
    if record_filter.since is None:
        raise UsageError(
            "a replay needs a start time",
            hint="set --since, such as 2d or 2026-04-27",
        )
    destination = appdb.destinations.get(name)
    # By the beginning alone: filters may be true of whole calls, and calls may go on behind their first legs.
    first_seq = (await store.extent(RecordFilter(since=record_filter.since))).first_seq
    matching_count = (await store.extent(_combine_filters(destination.filter, record_filter))).count
    if first_seq is not None:
        until = await store.position()
        appdb.destinations.replay(name, record_filter, after=first_seq - 1, until=until, now_us=clock.microseconds())
    return matching_count


def _combine_filters(destination_filter: RecordFilter, replay_filter: RecordFilter) -> RecordFilter:
    """What both mean, as far as one filter can say that: where they want different texts, what the other means."""
    unset_fields = (field for field in RecordFilter.__struct_fields__ if getattr(replay_filter, field) is None)
    since = (
        max(time for time in (destination_filter.since, replay_filter.since) if time)
        if destination_filter.since or replay_filter.since
        else None
    )
    return msgspec.structs.replace(
        replay_filter, **{field: getattr(destination_filter, field) for field in unset_fields} | {"since": since}
    )


async def send_test(client: DestinationClient, clock: Clock) -> DestinationTestResult:
    """Send a test to a destination and close it; whatever it does is an answer."""
    started_at = clock.microseconds()
    try:
        result = await client.send(Notification(TEST_NOTIFICATION_ID, client.format_test_payload(), started_at))
    finally:
        await client.close()
    return DestinationTestResult(
        accepted=result.outcome == "accepted",
        status=result.status,
        detail=result.detail,
        duration_ms=(clock.microseconds() - started_at) // 1000,
        body=result.body.decode(errors="replace"),
    )

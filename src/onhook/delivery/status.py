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

    `owed` counts records that were not yet sent, and events that wait to be sent again; `waiting` of them are such
    events, `parked` ones are not among them. `oldest_owed_at` is when the oldest of them came. `replays` are still to
    do. `position` is the number up to which everything is settled, None where it has not begun. `is_full` is whether so
    many wait and are parked that nothing new is tried before a person has retried or dropped some.
    """

    owed: int
    waiting: int
    parked: int
    oldest_owed_at: datetime | None
    replays: int
    position: int | None
    is_full: bool


class DestinationView(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription, how it stands, and what a person should know. Values of `headers` are not shown, nor those in the
    query of its URL: they may be keys."""

    subscription: Destination
    standing: DestinationStatus
    plights: Sequence[Issue]


class DestinationTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a test came to. `status` is None where no answer came."""

    is_taken: bool
    status: int | None
    said: str
    milliseconds: int
    body: str


async def view_destination(one: Destination, settings: AppDb, store: Store, now: datetime) -> DestinationView:
    """As everybody may see it. Raises `Unavailable`."""
    backlog = settings.deliveries.backlog(one.subscription_id)
    status = await load_status(one, settings, store)
    return DestinationView(subscription=mask_secrets(one), standing=status, plights=find_issues(one, backlog, now))


async def load_status(one: Destination, settings: AppDb, store: Store) -> DestinationStatus:
    """How it stands now. Raises `Unavailable`."""
    backlog = settings.deliveries.backlog(one.subscription_id)
    streams = settings.subscriptions.streams(one.subscription_id)
    pending, pending_times = backlog.waiting, [] if backlog.oldest_at is None else [to_datetime(backlog.oldest_at)]
    position = await store.position()
    for stream in streams:
        cursor = stream.cursor or 0
        if cursor >= position:
            continue  # most are at the end, and then nothing is to be counted
        is_live = stream.until is None
        extent = await store.extent(one.where if is_live else stream.where, cursor, stream.until)
        pending += extent.count
        if is_live and extent.first_received_at is not None:
            pending_times.append(extent.first_received_at)
    return DestinationStatus(
        owed=pending,
        waiting=backlog.waiting,
        parked=backlog.parked,
        oldest_owed_at=min(pending_times, default=None),
        replays=sum(stream.until is not None for stream in streams),
        position=streams[0].cursor if streams else None,
        is_full=backlog.is_full,
    )


def mask_secrets(one: Destination) -> Destination:
    """Without the values of its headers and those in its URL's query, which may be keys."""
    return msgspec.structs.replace(one, headers=dict.fromkeys(one.headers, "…"), url=mask_url(one.url))


async def replay(settings: AppDb, store: Store, name: str, where: RecordFilter, clock: Clock) -> int:
    """Have what matches sent again; how many records match. Raises `UsageError` where it would be everything ever."""
    if where.since is None:
        raise UsageError(
            "a replay needs a beginning, or everything ever would be sent again",
            todo="say since when, as with --since 2d or since=2026-04-27",
        )
    destination = settings.subscriptions.get(name)
    # By the beginning alone: filters may be true of whole calls, and calls may go on behind their first legs.
    first_seq = (await store.extent(RecordFilter(since=where.since))).first_seq
    matching_count = (await store.extent(_combine_filters(destination.where, where))).count
    if first_seq is not None:
        until = await store.position()
        settings.subscriptions.replay(name, where, after=first_seq - 1, until=until, at=clock.microseconds())
    return matching_count


def _combine_filters(one: RecordFilter, other: RecordFilter) -> RecordFilter:
    """What both mean, as far as one filter can say that: where they want different texts, what the other means."""
    unset_fields = (field for field in RecordFilter.__struct_fields__ if getattr(other, field) is None)
    since = max(time for time in (one.since, other.since) if time) if one.since or other.since else None
    return msgspec.structs.replace(other, **{field: getattr(one, field) for field in unset_fields} | {"since": since})


async def send_test(sink: DestinationClient, clock: Clock) -> DestinationTestResult:
    """Send a test to a destination and close it; whatever it does is an answer."""
    started_at = clock.microseconds()
    try:
        result = await sink.send(Notification(TEST_NOTIFICATION_ID, sink.pack_test(), started_at))
    finally:
        await sink.close()
    return DestinationTestResult(
        is_taken=result.verdict == "taken",
        status=result.status,
        said=result.said,
        milliseconds=(clock.microseconds() - started_at) // 1000,
        body=result.body.decode(errors="replace"),
    )

"""How a subscription stands: what is owed to it, since when, and what a test came to."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from onhook.appdb.appdb import Settings
from onhook.appdb.destination_spec import shown_url
from onhook.appdb.destinations import Subscription
from onhook.cdr.record_filter import Filter
from onhook.delivery.destinations.contract import Parcel, Sink
from onhook.delivery.issues import Plight, plights_of
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.timestamps import moment
from onhook.store.contract import Store

TEST_ID = "test"
"""The id of a test: none of an event's."""


class Owing(msgspec.Struct, frozen=True, kw_only=True):
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


class ShownSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription, how it stands, and what a person should know. Values of `headers` are not shown, nor those in the
    query of its URL: they may be keys."""

    subscription: Subscription
    standing: Owing
    plights: Sequence[Plight]


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What a test came to. `status` is None where no answer came."""

    is_taken: bool
    status: int | None
    said: str
    milliseconds: int
    body: str


async def shown(one: Subscription, settings: Settings, store: Store, now: datetime) -> ShownSubscription:
    """As everybody may see it. Raises `Unavailable`."""
    backlog = settings.deliveries.backlog(one.subscription_id)
    owing = await owing_of(one, settings, store)
    return ShownSubscription(subscription=masked(one), standing=owing, plights=plights_of(one, backlog, now))


async def owing_of(one: Subscription, settings: Settings, store: Store) -> Owing:
    """How it stands now. Raises `Unavailable`."""
    backlog = settings.deliveries.backlog(one.subscription_id)
    streams = settings.subscriptions.streams(one.subscription_id)
    owed, oldest = backlog.waiting, [] if backlog.oldest_at is None else [moment(backlog.oldest_at)]
    position = await store.position()
    for stream in streams:
        after = stream.cursor or 0
        if after >= position:
            continue  # most are at the end, and then nothing is to be counted
        is_live = stream.until is None
        extent = await store.extent(one.where if is_live else stream.where, after, stream.until)
        owed += extent.count
        if is_live and extent.first_received_at is not None:
            oldest.append(extent.first_received_at)
    return Owing(
        owed=owed,
        waiting=backlog.waiting,
        parked=backlog.parked,
        oldest_owed_at=min(oldest, default=None),
        replays=sum(stream.until is not None for stream in streams),
        position=streams[0].cursor if streams else None,
        is_full=backlog.is_full,
    )


def masked(one: Subscription) -> Subscription:
    """Without the values of its headers and those in its URL's query, which may be keys."""
    return msgspec.structs.replace(one, headers=dict.fromkeys(one.headers, "…"), url=shown_url(one.url))


async def replay(settings: Settings, store: Store, name: str, where: Filter, clock: Clock) -> int:
    """Have what matches sent again; how many records match. Raises `UsageError` where it would be everything ever."""
    if where.since is None:
        raise UsageError(
            "a replay needs a beginning, or everything ever would be sent again",
            todo="say since when, as with --since 2d or since=2026-04-27",
        )
    one = settings.subscriptions.get(name)
    # By the beginning alone: filters may be true of whole calls, and calls may go on behind their first legs.
    first = (await store.extent(Filter(since=where.since))).first_seq
    matching = (await store.extent(_both(one.where, where))).count
    if first is not None:
        until = await store.position()
        settings.subscriptions.replay(name, where, after=first - 1, until=until, at=clock.microseconds())
    return matching


def _both(one: Filter, other: Filter) -> Filter:
    """What both mean, as far as one filter can say that: where they want different texts, what the other means."""
    names = (name for name in Filter.__struct_fields__ if getattr(other, name) is None)
    since = max(at for at in (one.since, other.since) if at) if one.since or other.since else None
    return msgspec.structs.replace(other, **{name: getattr(one, name) for name in names} | {"since": since})


async def try_out(sink: Sink, clock: Clock) -> Tried:
    """Send a test to a destination and close it; whatever it does is an answer."""
    began = clock.microseconds()
    try:
        answer = await sink.send(Parcel(TEST_ID, sink.pack_test(), began))
    finally:
        await sink.close()
    return Tried(
        is_taken=answer.verdict == "taken",
        status=answer.status,
        said=answer.said,
        milliseconds=(clock.microseconds() - began) // 1000,
        body=answer.body.decode(errors="replace"),
    )

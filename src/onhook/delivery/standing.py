"""How a subscription stands: what is owed to it, since when, and what a test came to."""

from datetime import datetime

import msgspec

from onhook.cdr.filter import Filter
from onhook.clock import Clock
from onhook.errors import UsageError
from onhook.settings.deliveries import TROUBLED_MAX
from onhook.settings.moments import moment
from onhook.settings.settings import Settings
from onhook.settings.subscriptions import Subscription
from onhook.sinks.sink import Parcel, Sink
from onhook.store.store import Store

TEST_ID = "test"
"""The id of a test: none of an event's."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
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


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What a test came to. `status` is None where no answer came."""

    is_taken: bool
    status: int | None
    said: str
    milliseconds: int
    body: str


async def standing_of(one: Subscription, settings: Settings, store: Store) -> Standing:
    """How it stands now. Raises `Unavailable`."""
    rows = settings.deliveries.standing(one.subscription_id)
    streams = settings.subscriptions.streams(one.subscription_id)
    owed, oldest = rows.waiting, [] if rows.oldest_at is None else [moment(rows.oldest_at)]
    for stream in streams:
        is_live = stream.until is None
        extent = await store.extent(one.where if is_live else stream.where, stream.cursor or 0, stream.until)
        owed += extent.count
        if is_live and extent.first_received_at is not None:
            oldest.append(extent.first_received_at)
    return Standing(
        owed=owed,
        waiting=rows.waiting,
        parked=rows.parked,
        oldest_owed_at=min(oldest, default=None),
        replays=sum(stream.until is not None for stream in streams),
        position=streams[0].cursor if streams else None,
        is_full=rows.waiting + rows.parked >= TROUBLED_MAX,
    )


def masked(one: Subscription) -> Subscription:
    """As everybody may see it: without the values of its headers, which may be keys."""
    return msgspec.structs.replace(one, headers=dict.fromkeys(one.headers, "…"))


async def replay(settings: Settings, store: Store, name: str, where: Filter, clock: Clock) -> int:
    """Have what matches sent again; how many records match. Raises `UsageError` where it would be everything ever."""
    if where.since is None:
        raise UsageError("a replay without a beginning would send everything", todo="say `since`, such as 2d")
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

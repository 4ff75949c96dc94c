"""`/`: what happens now. Today beside the same weekday before, the latest calls as they end, what needs attention.

Complete without a script; the script only asks for the same page again when a call has ended.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from onhook.cdr.record_filter import Filter, parse_moment
from onhook.console.addresses import intake_host, intake_port
from onhook.console.api.coverage import NamedAlarm, named_alarms
from onhook.console.api.quarantine import Tallied, tallied
from onhook.console.auth.access import LIMITED, limits_of, visitor_of
from onhook.console.pages.calls import COLUMNS_DEFAULT
from onhook.console.pages.issues import quarantined
from onhook.console.pages.page import AnyRequest, page, plights_now
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import ReaderZone
from onhook.console.state import Handed, Rooms
from onhook.delivery.issues import Plight
from onhook.store.contract import Quarantined, Spread

CALLS_SHOWN = 25
"""A screen; the rest is on the page of calls."""

ATTENTION_MAX = 5
"""Lines in the box at the top; the rest is on a page of its own."""

STRANGER_WORDS = frozenset({"unknown_sn", "wrong_signature", "no_signature", "wrong_place"})
"""The intake's words for knocks that a person should look at: a wrong secret, or a PBX that nobody declared."""

KNOCKS_FRESH = timedelta(days=1)
"""A knock that was not repeated for a day needs no one's attention any more; it stays in the list at the door."""

BESIDE = timedelta(days=7)
"""Today is held beside the same weekday: offices live by the week."""


class Attention(msgspec.Struct, frozen=True):
    """What a person should look at."""

    quarantined: int = 0
    newest_quarantined: Sequence[Quarantined] = ()
    knocks: Sequence[Tallied] = ()
    alarms: Sequence[NamedAlarm] = ()
    plights: Sequence[Plight] = ()

    @property
    def is_needed(self) -> bool:
        """Whether there is anything."""
        return bool(self.quarantined or self.knocks or self.alarms or self.plights)


class Day(msgspec.Struct, frozen=True):
    """A day so far, counted."""

    by_pbx: Sequence[Mapping[str, Any]]
    answer: Spread

    @property
    def totals(self) -> Totals:
        """All PBXs together."""
        return add_up(self.by_pbx)

    @property
    def longest_wait(self) -> int | None:
        """In seconds; None where nobody reported any."""
        return max(
            (row["wait_duration_max"] for row in self.by_pbx if row["wait_duration_max"] is not None), default=None
        )


@get("/", opt=LIMITED, include_in_schema=False)
async def now_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone) -> Response[str]:
    """The day so far and the latest calls; or, where there are none yet, how to get the first."""
    now = rooms.clock.now()
    within = limits_of(request.scope)
    # Asked before the page is read: what comes in between is told twice rather than never.
    position = await rooms.store.position()
    latest = Filter(within=within)
    shown = await rooms.shared.ask((position, "latest", latest), lambda: rooms.store.calls(latest, CALLS_SHOWN))
    today = parse_moment("today", reader_zone, now)
    then_since, then_until = (_a_week_before(at, reader_zone) for at in (today, now))
    day = await _day(rooms, position, Filter(since=today, within=within), reader_zone)
    then = await _day(
        rooms, position, Filter(since=then_since, until=then_until.replace(second=0), within=within), reader_zone
    )
    is_empty = not shown.data
    return page(
        request,
        rooms,
        reader_zone,
        "now.html",
        page=shown,
        columns=COLUMNS_DEFAULT,
        totals=day.totals,
        by_pbx=day.by_pbx,
        answer=day.answer,
        longest_wait=day.longest_wait,
        then=then.totals,
        then_since=then_since,
        then_until=then_until.replace(second=0),
        is_today=True,
        is_filtered=False,
        position=position,
        attention=await _attention(request, rooms, position),
        pbxs=rooms.settings.pbxs() if within is None else [],
        intake_port=intake_port(rooms.config) if is_empty else 0,
        intake_host=intake_host(rooms.config, request.url.hostname or "")[0] if is_empty else "",
        is_empty=is_empty,
    )


async def _day(rooms: Rooms, position: int, where: Filter, zone: ZoneInfo) -> Day:
    by_pbx = await rooms.shared.ask(
        (position, "summary", where, zone.key), lambda: rooms.store.summary(where, "pbx", zone.key)
    )
    answered = msgspec.structs.replace(where, status="ANSWERED")
    answer = await rooms.shared.ask(
        (position, "answer", answered), lambda: rooms.store.spread(answered, "wait_duration", [0])
    )
    return Day(by_pbx, answer)


def _a_week_before(at: datetime, zone: ZoneInfo) -> datetime:
    """The same time of the same weekday, by the wall clock."""
    local = at.astimezone(zone).replace(tzinfo=None, microsecond=0)
    return (local - BESIDE).replace(tzinfo=zone).astimezone(UTC)


async def _attention(request: AnyRequest, rooms: Rooms, position: int) -> Attention:
    visitor = visitor_of(request.scope)
    if visitor is None or visitor.limits is not None:
        return Attention()
    total, newest = await rooms.shared.ask((position, "quarantine"), lambda: quarantined(rooms, ATTENTION_MAX))
    tallies = await rooms.shared.ask("tallies", lambda: tallied(rooms))
    fresh = rooms.clock.now() - KNOCKS_FRESH
    knocks = [one for one in tallies if one.what in STRANGER_WORDS and one.last_at >= fresh and not one.is_known_by_now]
    alarms = [one for one in named_alarms(rooms) if one.ended_at is None]
    return Attention(total, newest, knocks[:ATTENTION_MAX], alarms[:ATTENTION_MAX], plights_now(rooms)[:ATTENTION_MAX])

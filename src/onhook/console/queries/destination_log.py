"""The log of a destination: its attempts by filter, one of them with what was sent, and its days."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from litestar.params import PathParameter, QueryParameter

from onhook.appdb.delivery_rows import HttpExchange
from onhook.appdb.destination_log import AttemptCount, LogFilter, LoggedAttempt, LogState
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX, parse_time
from onhook.console.parameters import SEQ_MAX
from onhook.console.state import AppState
from onhook.lib.timestamps import to_microseconds

DAYS_SHOWN = 7

LogStateQuery = Annotated[
    LogState | None, QueryParameter(name="state", description="State of the attempts; `failed`: all but `accepted`")
]
LogTimeQuery = Annotated[str, QueryParameter(description="Time of the attempts", max_length=TEXT_CHARACTERS_MAX)]
AttemptId = Annotated[int, PathParameter(description="Number of the attempt", ge=1, le=SEQ_MAX)]


class AttemptDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt, the notification as it was sent (cut off where it was too long for the log), the HTTP exchange (null
    of other kinds; its `body` is null where it is the notification), and the beginning of the response. Secrets, values
    of custom headers and those in the query of the URL are hidden.
    """

    attempt: LoggedAttempt
    notification: str
    is_cut: bool
    exchange: HttpExchange | None
    response: str


class AttemptDay(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts of one day in the reader's zone."""

    day: date
    accepted: int
    failed: int


def make_log_filter(
    app_state: AppState, zone: ZoneInfo, *, state: LogState | None, since: str, until: str, sn: str, call_id: str
) -> LogFilter:
    """Return the filter of a request. Raises `UsageError`."""
    now = app_state.clock.now()
    return LogFilter(
        state=state,
        since=parse_time(since.strip(), zone, now, name="since") if since.strip() else None,
        until=parse_time(until.strip(), zone, now, name="until") if until.strip() else None,
        sn=sn.strip(),
        call_id=call_id.strip(),
    )


async def get_attempt_details(app_state: AppState, destination_id: int, attempt_id: int) -> AttemptDetails:
    """Return an attempt with what was sent. Raises `NotFound`."""
    log = app_state.appdb.destination_log
    content = await log.content(destination_id, attempt_id)
    return AttemptDetails(attempt=await log.get(destination_id, attempt_id), **msgspec.structs.asdict(content))


async def count_days(app_state: AppState, destination_id: int, zone: ZoneInfo) -> list[AttemptDay]:
    """Return the attempts of the last seven days, today included, in order of time."""
    today = app_state.clock.now().astimezone(zone).date()
    days = [today - timedelta(days=ago) for ago in reversed(range(DAYS_SHOWN))]
    since = datetime.combine(days[0], time(), zone)
    counts = await app_state.appdb.destination_log.counts(destination_id, to_microseconds(since))
    return [_sum_day(day, counts, zone) for day in days]


def _sum_day(day: date, counts: Sequence[AttemptCount], zone: ZoneInfo) -> AttemptDay:
    of_day = [count for count in counts if count.started_at.astimezone(zone).date() == day]
    return AttemptDay(
        day=day, accepted=sum(count.accepted for count in of_day), failed=sum(count.failed for count in of_day)
    )

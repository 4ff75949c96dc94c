"""`/api/v1/destinations/{name}/log`: every attempt of a destination, with what was sent and answered."""

import msgspec
from litestar import get, post

from onhook.appdb.delivery_rows import Delivery
from onhook.appdb.destination_log import LogPage
from onhook.console.parameters import PAGE_DEFAULT, CallIdQuery, Cursor, DestinationName, Limit, ReaderZone, SnQuery
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.destination_log import (
    AttemptDay,
    AttemptDetails,
    AttemptId,
    LogStateQuery,
    LogTimeQuery,
    count_days,
    get_attempt_details,
    make_log_filter,
)
from onhook.console.state import AppState, AppStateDep


class AttemptDays(msgspec.Struct, frozen=True):
    """Attempts by day, in order of time."""

    data: list[AttemptDay]
    next: None = None


@get("/destinations/{name:str}/log", summary="List attempts", tags=["destinations"], responses=PROBLEMS)
async def list_attempts(  # noqa: PLR0917 - the parameters of the URL
    app_state: AppStateDep,
    name: DestinationName,
    reader_zone: ReaderZone,
    log_state: LogStateQuery = None,
    since: LogTimeQuery = "",
    until: LogTimeQuery = "",
    sn: SnQuery = "",
    call_id: CallIdQuery = "",
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = "",
) -> LogPage:
    """List the attempts of a destination, successful ones too, the latest first."""
    log_filter = make_log_filter(
        app_state,
        reader_zone,
        state=log_state,
        since=since,
        until=until,
        sn=sn,
        call_id=call_id,
    )
    destination_id = await _get_id(app_state, name)
    return await app_state.appdb.destination_log.page(destination_id, log_filter, limit, cursor)


@get(
    "/destinations/{name:str}/log/{attempt_id:int}",
    summary="Read an attempt",
    tags=["destinations"],
    responses=PROBLEMS,
)
async def read_attempt(app_state: AppStateDep, name: DestinationName, attempt_id: AttemptId) -> AttemptDetails:
    """Read an attempt with the notification, the headers of request and response, and the beginning of the response.
    Secrets are hidden.
    """
    return await get_attempt_details(app_state, await _get_id(app_state, name), attempt_id)


@post(
    "/destinations/{name:str}/log/{attempt_id:int}/resend", summary="Send the notification of an attempt again",
    tags=["destinations"], responses=PROBLEMS, status_code=200,
)  # fmt: skip
async def resend_attempt(app_state: AppStateDep, name: DestinationName, attempt_id: AttemptId) -> Delivery:
    """Send the notification of an attempt again as it was, with all attempts of the retry policy; the response is its
    delivery, which is listed under `/deliveries` until it is delivered, and for a while after.
    """
    appdb = app_state.appdb
    delivery_id = await appdb.destination_log.resend(
        await _get_id(app_state, name), attempt_id, now_us=app_state.clock.microseconds()
    )
    return await appdb.deliveries.get(delivery_id)


@get("/destinations/{name:str}/days", summary="Count attempts by day", tags=["destinations"], responses=PROBLEMS)
async def list_days(app_state: AppStateDep, name: DestinationName, reader_zone: ReaderZone) -> AttemptDays:
    """Count accepted and failed attempts of each of the last seven days, today included."""
    return AttemptDays(await count_days(app_state, await _get_id(app_state, name), reader_zone))


ROUTES = (list_attempts, read_attempt, resend_attempt, list_days)


async def _get_id(app_state: AppState, name: str) -> int:
    return (await app_state.appdb.destinations.get(name)).destination_id

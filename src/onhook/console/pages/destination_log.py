"""The pages `/destinations/{destination_id}/log`: every attempt of a destination, one of them with what was sent."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.appdb.destination_log import LogFilter, LoggedAttempt, LogPage, LogState
from onhook.appdb.destination_spec import log_days_of
from onhook.appdb.destinations import Destination
from onhook.console.pages.date_range import DateRange, create_date_range
from onhook.console.pages.formatting import format_date, url
from onhook.console.pages.page import MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.reports.report import Chart, Series
from onhook.console.parameters import CallIdQuery, Cursor, DestinationId, ReaderZone, SnQuery
from onhook.console.queries.destination_log import (
    AttemptDay,
    AttemptDetails,
    AttemptId,
    LogTimeQuery,
    get_attempt_details,
    make_log_filter,
)
from onhook.console.queries.destinations import get_destination_by_id
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _, mark

ATTEMPTS_ON_PAGE = 50

LogStateChoice = Annotated[LogState | Literal[""], QueryParameter(name="state", description="State of the attempts")]
"""A form sends an empty text where its choice is all states."""

STATES: Mapping[LogState, str] = MappingProxyType(
    {
        "accepted": mark("Accepted"),
        "failed": mark("Failed, for any reason"),
        "rejected": mark("Rejected"),
        "unreachable": mark("Unreachable"),
        "throttled": mark("Throttled"),
        "gone": mark("Gone"),
    }
)
"""States by which the page filters, and their names."""


class DestinationLogView(View, frozen=True, kw_only=True):
    """Values of the page: a page of attempts; `errors` are messages by parameter."""

    template: ClassVar = "destination_log.html"
    destination: Destination
    log_days: int
    attempts: Sequence[LoggedAttempt]
    texts: Mapping[str, str]
    is_filtered: bool
    errors: Mapping[str, str]
    date_range: DateRange
    first_url: str
    next_url: str
    message: str
    states: Mapping[LogState, str] = STATES


class AttemptView(View, frozen=True, kw_only=True):
    """Values of the page: one attempt. `body` is what was sent, for reading; `inner_body` the JSON inside its member
    `msg`, or empty.
    """

    template: ClassVar = "logged_attempt.html"
    destination: Destination
    details: AttemptDetails
    body: str
    inner_body: str
    response: str
    error: str
    states: Mapping[LogState, str] = STATES


@get("/destinations/{destination_id:int}/log", include_in_schema=False)
async def destination_log_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    destination_id: DestinationId,
    reader_zone: ReaderZone,
    log_state: LogStateChoice = "",
    since: LogTimeQuery = "",
    until: LogTimeQuery = "",
    sn: SnQuery = "",
    call_id: CallIdQuery = "",
    cursor: Cursor = "",
    message: Message = "",
) -> Response[str]:
    """Return a page of a destination's log, the latest attempts first."""
    destination = await get_destination_by_id(app_state, destination_id)
    path = log_path(destination_id)
    texts = {"state": log_state, "since": since, "until": until, "sn": sn, "call_id": call_id}
    texts |= {"zone": request.query_params.get("zone", "")}
    errors: dict[str, str] = {}
    log_filter, log_page = LogFilter(), LogPage([], None)
    try:
        log_filter = make_log_filter(
            app_state, reader_zone, state=log_state or None, since=since, until=until, sn=sn, call_id=call_id
        )
        log_page = await app_state.appdb.destination_log.page(destination_id, log_filter, ATTEMPTS_ON_PAGE, cursor)
    except UsageError as error:
        errors[error.parameter or "since"] = str(error)
    return await render_page(
        request,
        app_state,
        reader_zone,
        DestinationLogView(
            destination=destination,
            log_days=log_days_of(destination, app_state.config.log_days),
            attempts=log_page.data,
            texts=texts,
            is_filtered=log_filter != LogFilter(),
            errors=errors,
            date_range=create_date_range(path, texts, reader_zone, app_state.clock.now(), offers_all=True),
            first_url=url(path, **texts) if cursor else "",
            next_url=url(path, **texts, cursor=log_page.next) if log_page.next else "",
            message=message,
        ),
        status=HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK,
    )


@get("/destinations/{destination_id:int}/log/{attempt_id:int}", include_in_schema=False)
async def attempt_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    destination_id: DestinationId,
    attempt_id: AttemptId,
    reader_zone: ReaderZone,
    error: Message = "",
) -> Response[str]:
    """Return the page of one attempt: request and response with their headers, and the notification."""
    destination = await get_destination_by_id(app_state, destination_id)
    details = await get_attempt_details(app_state, destination_id, attempt_id)
    exchange = details.exchange
    body = details.notification if exchange is None or exchange.body is None else exchange.body
    return await render_page(
        request,
        app_state,
        reader_zone,
        AttemptView(
            destination=destination,
            details=details,
            body=format_json(body),
            inner_body=format_inner_json(body),
            response=format_json(details.response),
            error=error,
        ),
    )


@post("/destinations/{destination_id:int}/log/{attempt_id:int}/resend", include_in_schema=False, status_code=200)
async def resend_attempt(app_state: AppStateDep, destination_id: DestinationId, attempt_id: AttemptId) -> Redirect:
    """Send the notification of an attempt again."""
    path = log_path(destination_id)
    try:
        delivery_id = await app_state.appdb.destination_log.resend(
            destination_id, attempt_id, now_us=app_state.clock.microseconds()
        )
    except OnhookError as error:
        message = str(error)[:MESSAGE_CHARACTERS_MAX]
        return Redirect(url(f"{path}/{attempt_id}", error=message), status_code=303)
    message = _("The notification is sent again: delivery {delivery_id}.", delivery_id=delivery_id)
    return Redirect(url(path, message=message), status_code=303)


ROUTES = (destination_log_page, attempt_page, resend_attempt)


def log_path(destination_id: int) -> str:
    """Return the path of a destination's log."""
    return f"/destinations/{destination_id}/log"


def build_days_chart(days: Sequence[AttemptDay], destination_id: int) -> Chart:
    """Return the chart of accepted and failed attempts by day; each day leads to its attempts."""
    return Chart(
        shape="stack",
        labels=[format_date(count.day) for count in days],
        series=[
            Series(_("Accepted"), [count.accepted for count in days], "good"),
            Series(_("Failed"), [count.failed for count in days], "bad"),
        ],
        links=[day_url(destination_id, count) for count in days],
    )


def day_url(destination_id: int, count: AttemptDay) -> str:
    """Return the URL of the attempts of a day."""
    next_day = count.day + timedelta(days=1)
    return url(log_path(destination_id), since=count.day.isoformat(), until=next_day.isoformat())


def format_json(text: str) -> str:
    r"""Return JSON with a member in each line; any other text is unchanged.

    >>> format_json('{"sn":"A","type":30012}'), format_json("no JSON")
    ('{\n  "sn": "A",\n  "type": 30012\n}', 'no JSON')
    """
    try:
        return msgspec.json.format(text.encode(), indent=2).decode()
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text


def format_inner_json(text: str) -> str:
    r"""Return the JSON that an event has as a text in its member `msg`, with a member in each line; else an empty text.

    >>> format_inner_json('{"sn":"A","msg":"{\\"call_id\\":\\"1.1\\"}"}'), format_inner_json('{"msg":"none"}')
    ('{\n  "call_id": "1.1"\n}', '')
    """
    try:
        event = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return ""
    message = event.get("msg") if isinstance(event, dict) else None
    return format_json(message) if isinstance(message, str) and message.lstrip().startswith("{") else ""

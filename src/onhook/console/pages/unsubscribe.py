"""`/unsubscribe`: a recipient of a scheduled report ends its mails, without signing in.

Invariant: opening the link changes nothing, because programs that check mails open links. A button does, and the single
request that programs of mail send for their own button (RFC 8058).
"""

from typing import Annotated, Any, ClassVar

from litestar import Response, get, post
from litestar.params import QueryParameter

from onhook.console.auth.access import OPEN
from onhook.console.pages.rendering import View, render
from onhook.console.report_mails.unsubscribing import TOKEN_CHARACTERS_MAX, find_recipient
from onhook.console.state import AppStateDep

LinkToken = Annotated[str, QueryParameter(description="Text of the link", max_length=TOKEN_CHARACTERS_MAX)]


class UnsubscribeView(View, frozen=True, kw_only=True):
    """Values of the page, before and after."""

    template: ClassVar = "unsubscribe.html"
    token: str
    name: str
    address: str
    is_done: bool


@get("/unsubscribe", opt=OPEN, include_in_schema=False)
async def unsubscribe_page(app_state: AppStateDep, token: LinkToken = "") -> Response[str]:
    """Return the page with a button."""
    schedule, address = await find_recipient(app_state.appdb, token)
    optouts = await app_state.appdb.report_schedules.list_optouts(schedule.schedule_id)
    is_done = address.casefold() in optouts
    view = UnsubscribeView(token=token, name=schedule.name, address=address, is_done=is_done)
    return Response(render(view), media_type="text/html")


@post("/unsubscribe", opt=OPEN, include_in_schema=False, status_code=200)
async def unsubscribe(app_state: AppStateDep, token: LinkToken = "") -> Response[str]:
    """End the mails of a schedule to the address of the link. The body is not looked at: the link says everything."""
    schedule, address = await find_recipient(app_state.appdb, token)
    now_us = app_state.clock.microseconds()
    await app_state.appdb.report_schedules.opt_out(schedule.schedule_id, address, now_us=now_us)
    view = UnsubscribeView(token=token, name=schedule.name, address=address, is_done=True)
    return Response(render(view), media_type="text/html")


ROUTES: tuple[Any, ...] = (unsubscribe_page, unsubscribe)

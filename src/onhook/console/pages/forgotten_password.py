"""`/forgotten-password`: a link to choose another password is sent to the address of a user.

Invariant: the answer is the same for every name, and does not wait for what it begins.
"""

import logging
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import PermissionDeniedException

from onhook.console.auth.access import OPEN, client_address, is_cross_site
from onhook.console.invitation_mails import find_console_url, request_reset
from onhook.console.pages.page import FORM_BODY
from onhook.console.pages.rendering import View, render
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.mail_addresses import ADDRESS_CHARACTERS_MAX
from onhook.lib.messages import _


class ForgottenPasswordForm(msgspec.Struct, frozen=True):
    """Content of the form: the name of a user, or an address."""

    name: str = ""


class ForgottenPasswordView(View, frozen=True, kw_only=True):
    """Values of the page, before and after the form was sent."""

    template: ClassVar = "forgotten_password.html"
    can_send: bool
    is_sent: bool = False
    error: str = ""


@get("/forgotten-password", opt=OPEN, include_in_schema=False)
async def forgotten_password_page(app_state: AppStateDep) -> Response[str]:
    """Return the page with the form; without a mail server it says whom to ask."""
    can_send = bool(await find_console_url(app_state.appdb))
    return Response(render(ForgottenPasswordView(can_send=can_send)), media_type="text/html")


@post("/forgotten-password", opt=OPEN, include_in_schema=False, status_code=200)
async def send_reset_link(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[ForgottenPasswordForm, FORM_BODY]
) -> Response[str]:
    """Have a link sent, where there is such a user; the answer does not say whether. An address has a limit of
    requests, whatever names they have.
    """
    if is_cross_site(request):
        raise PermissionDeniedException(_("sign in from a page of this console"))
    address, now_us = client_address(request), app_state.clock.microseconds()
    await app_state.reset_requests.record(address, now_us)
    if wait_seconds := app_state.reset_requests.seconds_to_wait(address, now_us):
        view = ForgottenPasswordView(
            can_send=True, error=_("Too many requests from this address: wait an hour, or ask an administrator.")
        )
        headers = {"Retry-After": str(wait_seconds)}
        return Response(render(view), media_type="text/html", status_code=429, headers=headers)
    name = data.name.strip()[:ADDRESS_CHARACTERS_MAX]
    return Response(
        render(ForgottenPasswordView(can_send=True, is_sent=True)),
        media_type="text/html",
        background=BackgroundTask(_request_reset, app_state, name),
    )


ROUTES: tuple[Any, ...] = (forgotten_password_page, send_reset_link)


async def _request_reset(app_state: AppState, name: str) -> None:
    """Add the mail after the response; where that is impossible now, the person asks again."""
    try:
        await request_reset(app_state.appdb, app_state.clock, name)
    except OnhookError as error:
        logging.getLogger("onhook.console").error("cannot send a link", extra={"error": str(error)})

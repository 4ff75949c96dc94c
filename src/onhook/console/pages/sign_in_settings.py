"""`/sign-in-settings`: roles whose users need a second factor, and the address of the console; for administrators."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.appdb.sign_in_settings import SignInSettings
from onhook.appdb.tokens import ROLES, Role
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.auth.passkeys import parse_relying_party
from onhook.console.invitation_mails import find_console_url, find_public_url
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _


class FactorRolesForm(msgspec.Struct, frozen=True):
    """Content of the form: a role is `yes`, or empty."""

    administrator: str = ""
    annotator: str = ""
    reader: str = ""

    @property
    def roles(self) -> tuple[Role, ...]:
        """Return the roles that are chosen."""
        return tuple(role for role in ROLES if getattr(self, role))


class ConsoleUrlForm(msgspec.Struct, frozen=True):
    """Content of the form with the address of the console."""

    console_url: str = ""


class SignInSettingsView(View, frozen=True, kw_only=True):
    """Values of the page. `counts` are users by role: all, and those with a second factor."""

    template: ClassVar = "sign_in_settings.html"
    settings: SignInSettings
    counts: dict[Role, tuple[int, int]]
    console_url: str
    mail_url: str
    page_url: str
    passkey_error: str
    message: str = ""
    error: str = ""


@get("/sign-in-settings", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def sign_in_settings_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = ""
) -> Response[str]:
    """Return the page of the settings of the sign-in."""
    return await _render(request, app_state, reader_zone, message=message)


@post("/sign-in-settings", include_in_schema=False, status_code=200)
async def change_sign_in_settings(app_state: AppStateDep, data: Annotated[FactorRolesForm, FORM_BODY]) -> Redirect:
    """Set the roles; it applies to open browsers at once."""
    settings = await app_state.appdb.sign_in_settings.get()
    await app_state.appdb.sign_in_settings.put(msgspec.structs.replace(settings, factor_roles=data.roles))
    return Redirect(url("/sign-in-settings", message=_("Saved.")), status_code=303)


@post("/sign-in-settings/console-url", include_in_schema=False, status_code=200)
async def change_console_url(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ConsoleUrlForm, FORM_BODY]
) -> Response[Any]:
    """Set the address of the console."""
    settings = await app_state.appdb.sign_in_settings.get()
    try:
        await app_state.appdb.sign_in_settings.put(msgspec.structs.replace(settings, console_url=data.console_url))
    except UsageError as error:
        return await _render(request, app_state, reader_zone, console_url=data.console_url, error=str(error))
    return Redirect(url("/sign-in-settings", message=_("Saved.")), status_code=303)


ROUTES: tuple[Any, ...] = (sign_in_settings_page, change_sign_in_settings, change_console_url)


async def _render(
    request: AnyRequest,
    app_state: AppState,
    zone: ReaderZone,
    *,
    message: str = "",
    error: str = "",
    console_url: str | None = None,
) -> Response[str]:
    settings = await app_state.appdb.sign_in_settings.get()
    view = SignInSettingsView(
        settings=settings,
        counts=await _count_users(app_state),
        console_url=settings.console_url if console_url is None else console_url,
        mail_url=await find_console_url(app_state.appdb),
        page_url=str(request.base_url).rstrip("/"),
        passkey_error=await _passkey_error(app_state),
        message=message,
        error=error,
    )
    return await render_page(request, app_state, zone, view)


async def _passkey_error(app_state: AppState) -> str:
    """Return why there can be no passkeys, or an empty text."""
    try:
        parse_relying_party(await find_public_url(app_state.appdb))
    except UsageError as error:
        return error.message
    return ""


async def _count_users(app_state: AppState) -> dict[Role, tuple[int, int]]:
    users = await app_state.appdb.users.all()
    return {
        role: (
            sum(user.role == role for user in users),
            sum(user.role == role and user.has_second_factor for user in users),
        )
        for role in ROLES
    }

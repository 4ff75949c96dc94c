"""`/sign-in-settings`: the roles whose users need a second factor; for administrators."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.appdb.sign_in_settings import SignInSettings
from onhook.appdb.tokens import ROLES, Role
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
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


class SignInSettingsView(View, frozen=True, kw_only=True):
    """Values of the page. `counts` are users by role: all, and those with a second factor."""

    template: ClassVar = "sign_in_settings.html"
    settings: SignInSettings
    counts: dict[Role, tuple[int, int]]
    message: str = ""


@get("/sign-in-settings", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def sign_in_settings_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = ""
) -> Response[str]:
    """Return the page of the settings of the sign-in."""
    view = SignInSettingsView(
        settings=await app_state.appdb.sign_in_settings.get(), counts=await _count_users(app_state), message=message
    )
    return await render_page(request, app_state, reader_zone, view)


@post("/sign-in-settings", include_in_schema=False, status_code=200)
async def change_sign_in_settings(app_state: AppStateDep, data: Annotated[FactorRolesForm, FORM_BODY]) -> Redirect:
    """Set the roles; it applies to open browsers at once."""
    settings = await app_state.appdb.sign_in_settings.get()
    await app_state.appdb.sign_in_settings.put(msgspec.structs.replace(settings, factor_roles=data.roles))
    return Redirect(url("/sign-in-settings", message=_("Saved.")), status_code=303)


ROUTES: tuple[Any, ...] = (sign_in_settings_page, change_sign_in_settings)


async def _count_users(app_state: AppState) -> dict[Role, tuple[int, int]]:
    users = await app_state.appdb.users.all()
    return {
        role: (
            sum(user.role == role for user in users),
            sum(user.role == role and user.has_second_factor for user in users),
        )
        for role in ROLES
    }

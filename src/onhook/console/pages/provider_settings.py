"""`/sign-in-settings/provider`: the identity provider, for administrators. The client secret is never shown."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.appdb.identity_provider import ProviderSettings
from onhook.appdb.stored_json import RowUnreadable
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.auth.provider_setup import put_provider
from onhook.console.auth.provider_sign_in import CALLBACK_PATH
from onhook.console.invitation_mails import find_public_url
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _


class ProviderForm(msgspec.Struct, frozen=True):
    """Content of the form: choices are `yes`, or empty; without a secret the stored one stays."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    label: str = ""
    scopes: str = ""
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    rules: str = ""
    adds_users: str = ""
    counts_as_factor: str = ""
    allow_private: str = ""
    ca_certificates: str = ""


class ProviderView(View, frozen=True, kw_only=True):
    """Values of the page: the form, and what the provider's own settings need."""

    template: ClassVar = "provider.html"
    form: ProviderForm
    is_set: bool
    has_secret: bool
    redirect_uri: str
    message: str = ""
    error: str = ""


@get("/sign-in-settings/provider", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def provider_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = ""
) -> Response[str]:
    """Return the page of the identity provider."""
    return await _render(request, app_state, reader_zone, message=message)


@post("/sign-in-settings/provider", include_in_schema=False, status_code=200)
async def change_provider(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ProviderForm, FORM_BODY]
) -> Response[Any]:
    """Set the identity provider, whose configuration is read at once."""
    try:
        await put_provider(app_state, _parse_form(data), data.client_secret or None)
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, form=data, error=str(error))
    return Redirect(url("/sign-in-settings/provider", message=_("Saved.")), status_code=303)


@post("/sign-in-settings/provider/remove", include_in_schema=False, status_code=200)
async def remove_provider(app_state: AppStateDep) -> Redirect:
    """Remove the identity provider."""
    await app_state.appdb.identity_provider.remove()
    return Redirect(url("/sign-in-settings/provider", message=_("Identity provider removed.")), status_code=303)


ROUTES: tuple[Any, ...] = (provider_page, change_provider, remove_provider)


def _parse_form(form: ProviderForm) -> ProviderSettings:
    return ProviderSettings(
        issuer=form.issuer,
        client_id=form.client_id,
        label=form.label,
        scopes=form.scopes,
        name_claim=form.name_claim,
        role_claim=form.role_claim,
        rules=form.rules,
        adds_users=bool(form.adds_users),
        counts_as_factor=bool(form.counts_as_factor),
        allow_private=bool(form.allow_private),
        ca_certificates=form.ca_certificates,
    )


def _fill_form(settings: ProviderSettings | None) -> ProviderForm:
    if settings is None:
        return ProviderForm()
    values = msgspec.structs.asdict(settings)
    return ProviderForm(**{name: "yes" if value is True else value or "" for name, value in values.items()})


async def _render(
    request: AnyRequest,
    app_state: AppState,
    zone: ReaderZone,
    *,
    form: ProviderForm | None = None,
    message: str = "",
    error: str = "",
) -> Response[str]:
    provider = app_state.appdb.identity_provider
    try:
        settings = await provider.get()
    except RowUnreadable as reason:  # it can be entered again
        settings, error = None, error or str(reason)
    view = ProviderView(
        form=form or _fill_form(settings),
        is_set=settings is not None,
        has_secret=settings is not None and bool(await provider.get_client_secret()),
        redirect_uri=(await find_public_url(app_state.appdb) or str(request.base_url).rstrip("/")) + CALLBACK_PATH,
        message=message,
        error=error,
    )
    return await render_page(request, app_state, zone, view)

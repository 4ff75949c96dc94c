"""`/apps`: apps of the PBX API, for administrators only."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post

from onhook.appdb.api_clients import App, BlockedAddress
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _
from onhook.lib.text import split_list


class AppForm(msgspec.Struct, frozen=True):
    """Content of the forms of an app; `pbxs` and `networks` are separated by commas."""

    name: str = ""
    pbxs: str = ""
    networks: str = ""
    allow_control: bool = False


class AppNameForm(msgspec.Struct, frozen=True):
    """Content of a form with the name of an app only."""

    name: str = ""


class AppsView(View, frozen=True, kw_only=True):
    """Values of the page: the apps; new credentials are shown once."""

    template: ClassVar = "apps.html"
    apps: Sequence[App]
    blocked_addresses: Sequence[BlockedAddress]
    pbx_names: Mapping[str, str]
    form: AppForm = AppForm()
    error: str = ""
    message: str = ""
    new_app: App | None = None
    client_secret: str = ""


@get("/apps", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def apps_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of apps."""
    return await _render_apps(request, app_state, reader_zone)


@post("/apps", include_in_schema=False, status_code=200)
async def add_app(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AppForm, FORM_BODY]
) -> Response[str]:
    """Add an app; its credentials are shown this once."""
    try:
        new_app, client_secret = await app_state.appdb.apps.add(
            data.name,
            now_us=app_state.clock.microseconds(),
            pbxs=await _serial_numbers(app_state, data.pbxs),
            networks=split_list(data.networks),
            allow_control=data.allow_control,
        )
    except OnhookError as error:
        return await _render_apps(request, app_state, reader_zone, error=str(error), form=data)
    return await _render_apps(request, app_state, reader_zone, new_app=new_app, client_secret=client_secret)


@post("/apps/change", include_in_schema=False, status_code=200)
async def change_app(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AppForm, FORM_BODY]
) -> Response[str]:
    """Change what an app may do."""
    try:
        changed_app = await app_state.appdb.apps.change(
            data.name,
            pbxs=await _serial_numbers(app_state, data.pbxs),
            networks=split_list(data.networks),
            allow_control=data.allow_control,
        )
    except OnhookError as error:
        return await _render_apps(request, app_state, reader_zone, error=str(error))
    return await _render_apps(
        request, app_state, reader_zone, message=_('App "{name}" changed.', name=changed_app.name)
    )


@post("/apps/renew", include_in_schema=False, status_code=200)
async def renew_app_secret(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AppNameForm, FORM_BODY]
) -> Response[str]:
    """Replace the secret; the new one is shown this once."""
    try:
        renewed_app, client_secret = await app_state.appdb.apps.renew_secret(data.name)
    except OnhookError as error:
        return await _render_apps(request, app_state, reader_zone, error=str(error))
    return await _render_apps(request, app_state, reader_zone, new_app=renewed_app, client_secret=client_secret)


@post("/apps/remove", include_in_schema=False, status_code=200)
async def remove_app(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AppNameForm, FORM_BODY]
) -> Response[str]:
    """Remove an app; its tokens and sockets become invalid."""
    try:
        await app_state.appdb.apps.remove(data.name)
    except OnhookError as error:
        return await _render_apps(request, app_state, reader_zone, error=str(error))
    return await _render_apps(request, app_state, reader_zone, message=_('App "{name}" removed.', name=data.name))


ROUTES = (apps_page, add_app, change_app, renew_app_secret, remove_app)


async def _serial_numbers(app_state: AppState, names: str) -> list[str]:
    return [(await app_state.appdb.pbx(name)).sn for name in split_list(names)]


async def _render_apps(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, **extra_values: Any
) -> Response[str]:
    appdb = app_state.appdb
    view = AppsView(
        apps=await appdb.apps.all(),
        blocked_addresses=await appdb.apps.blocked_addresses(app_state.clock.microseconds()),
        pbx_names={pbx.sn: pbx.name for pbx in await appdb.pbxs()},
        **extra_values,
    )
    return await render_page(request, app_state, zone, view)

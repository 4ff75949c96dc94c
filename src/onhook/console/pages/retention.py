"""`/retention`: how long calls are kept, of the installation and of each PBX; for administrators only."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from onhook.appdb.pbxs import Pbx
from onhook.appdb.retention_overrides import FOR_EVER, parse_retention_days
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _

INSTALLATION = ""
"""Stands for the installation among the serial numbers of the forms; a form of it goes to a route of its own."""


class RetentionForm(msgspec.Struct, frozen=True):
    """Content of the form of one PBX, or of the installation: `choice` is `auto`, `always` or `days`, with the number
    in `days`.
    """

    sn: str = INSTALLATION
    choice: str = "auto"
    days: str = ""


class RetentionView(View, frozen=True, kw_only=True):
    """Values of the page: `forms` by serial number; `error` is about the PBX `invalid_sn`, None without one.
    `configured_days` are those of the configuration, `keep_days` those that apply.
    """

    template: ClassVar = "retention.html"
    configured_days: int
    keep_days: int
    log_days: int
    pbxs: Sequence[Pbx]
    forms: Mapping[str, RetentionForm]
    message: str = ""
    error: str = ""
    invalid_sn: str | None = None


@get("/retention", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def retention_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = ""
) -> Response[str]:
    """Return the page with the retention of the installation and of each PBX."""
    view = msgspec.structs.replace(await _load_view(app_state), message=message)
    return await render_page(request, app_state, reader_zone, view)


@post("/retention", include_in_schema=False, status_code=200)
async def change_retention(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[RetentionForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Change how long calls of a PBX are kept."""
    pbx = await app_state.appdb.pbx(data.sn)
    overrides = await app_state.appdb.retention_overrides.all()
    try:
        await app_state.appdb.retention_overrides.put(pbx.sn, _parse_days(data, overrides.get(pbx.sn)))
    except OnhookError as error:
        return await render_page(request, app_state, reader_zone, await _load_invalid_view(app_state, data, error))
    return _redirect(_("Retention of {name} saved.", name=pbx.name))


@post("/retention/installation", include_in_schema=False, status_code=200)
async def change_installation_retention(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[RetentionForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Change how long calls of the PBXs without days of their own are kept."""
    data = msgspec.structs.replace(data, sn=INSTALLATION)
    stored_days = await app_state.appdb.installation_retention.get()
    try:
        await app_state.appdb.installation_retention.put(_parse_days(data, stored_days))
    except OnhookError as error:
        return await render_page(request, app_state, reader_zone, await _load_invalid_view(app_state, data, error))
    return _redirect(_("Retention of this installation saved."))


ROUTES = (retention_page, change_retention, change_installation_retention)


async def load_keep_days(app_state: AppState) -> int:
    """Return the days that calls are kept where their PBX has none of its own; 0 is for ever."""
    days = await app_state.appdb.installation_retention.get()
    return app_state.config.keep_days if days is None else days


def _parse_days(form: RetentionForm, stored_days: int | None) -> int | None:
    """Return the days of a form. Raises `UsageError`, also for another number than the page has shown beside a choice
    without one: either may be meant.
    """
    shown_days = _fill_form(form.sn, stored_days).days
    if form.choice in ("auto", "always") and form.days.strip() not in ("", shown_days):
        raise UsageError(
            _("{days} days are entered, and another choice is made", days=form.days.strip()[:20]),
            hint=_("choose “for a number of days”, or leave the number out"),
        )
    return parse_retention_days(form.days.strip() if form.choice == "days" else form.choice)


def _redirect(message: str) -> Redirect:
    return Redirect(url("/retention", message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)


async def _load_invalid_view(app_state: AppState, form: RetentionForm, error: OnhookError) -> RetentionView:
    """Return the page with a form as it was sent, and what is wrong with it."""
    view = await _load_view(app_state)
    return msgspec.structs.replace(view, error=str(error), invalid_sn=form.sn, forms={**view.forms, form.sn: form})


async def _load_view(app_state: AppState) -> RetentionView:
    overrides, pbxs = await app_state.appdb.retention_overrides.all(), await app_state.appdb.pbxs()
    return RetentionView(
        configured_days=app_state.config.keep_days,
        keep_days=await load_keep_days(app_state),
        log_days=app_state.config.log_days,
        pbxs=pbxs,
        forms={
            INSTALLATION: _fill_form(INSTALLATION, await app_state.appdb.installation_retention.get()),
            **{pbx.sn: _fill_form(pbx.sn, overrides.get(pbx.sn)) for pbx in pbxs},
        },
    )


def _fill_form(sn: str, days: int | None) -> RetentionForm:
    if days is None:
        return RetentionForm(sn)
    return RetentionForm(sn, "always") if days == FOR_EVER else RetentionForm(sn, "days", str(days))

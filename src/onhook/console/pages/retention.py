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
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _


class RetentionForm(msgspec.Struct, frozen=True):
    """Content of the form of one PBX: `choice` is `auto`, `always` or `days`, with the number in `days`."""

    sn: str = ""
    choice: str = "auto"
    days: str = ""


class RetentionView(View, frozen=True, kw_only=True):
    """Values of the page: `forms` by serial number; `error` is about the PBX `invalid_sn`."""

    template: ClassVar = "retention.html"
    keep_days: int
    log_days: int
    pbxs: Sequence[Pbx]
    forms: Mapping[str, RetentionForm]
    message: str = ""
    error: str = ""
    invalid_sn: str = ""


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
    try:
        days = parse_retention_days(data.days.strip() if data.choice == "days" else data.choice)
        await app_state.appdb.retention_overrides.put(pbx.sn, days)
    except OnhookError as error:
        view = await _load_view(app_state)
        view = msgspec.structs.replace(view, error=str(error), invalid_sn=pbx.sn, forms={**view.forms, pbx.sn: data})
        return await render_page(request, app_state, reader_zone, view)
    message = _("Retention of {name} saved.", name=pbx.name)
    return Redirect(url("/retention", message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)


ROUTES = (retention_page, change_retention)


async def _load_view(app_state: AppState) -> RetentionView:
    overrides, pbxs = await app_state.appdb.retention_overrides.all(), await app_state.appdb.pbxs()
    return RetentionView(
        keep_days=app_state.config.keep_days,
        log_days=app_state.config.log_days,
        pbxs=pbxs,
        forms={pbx.sn: _fill_form(pbx.sn, overrides.get(pbx.sn)) for pbx in pbxs},
    )


def _fill_form(sn: str, days: int | None) -> RetentionForm:
    if days is None:
        return RetentionForm(sn)
    return RetentionForm(sn, "always") if days == FOR_EVER else RetentionForm(sn, "days", str(days))

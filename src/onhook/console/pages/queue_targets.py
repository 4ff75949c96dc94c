"""`/queue-targets`: the form with the settings of a queue, on the report of queues."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.response import Redirect

from onhook.appdb.pbxs import Pbx
from onhook.cdr.queue_figures import (
    SERVICE_LEVEL_SECONDS_DEFAULT,
    SHORT_ABANDON_SECONDS_DEFAULT,
    QueueTargets,
)
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import InvalidFormView
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

SECONDS_DIGITS_MAX = 4
"""Those of an hour."""

REPORTS = ("queues", "ring-groups")
"""Reports with the form."""


class QueueTargetsForm(msgspec.Struct, frozen=True):
    """Content of the form: empty seconds are the usual ones. `report` is the one to return to."""

    pbx: str = ""
    queue: str = ""
    service_level_seconds: str = ""
    short_abandon_seconds: str = ""
    report: str = ""


class InvalidQueueTargetsView(InvalidFormView, frozen=True, kw_only=True):
    """Values of the form with a value that cannot be used."""

    form_template: str = "queue_targets_form.html"
    form: Mapping[str, str]
    pbxs: Sequence[Pbx]


@post("/queue-targets", include_in_schema=False, status_code=200)
async def change_queue_targets(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[QueueTargetsForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Change the settings of a queue, and return to the report."""
    try:
        await _put_targets(app_state, data)
    except UsageError as error:
        view = InvalidQueueTargetsView(
            title=_("Settings of a queue or ring group"),
            form=msgspec.structs.asdict(data),
            errors={error.parameter or "queue": str(error)},
            pbxs=await app_state.appdb.pbxs(),
        )
        return await render_page(request, app_state, reader_zone, view, status=error.http_status)
    report = data.report if data.report in REPORTS else REPORTS[0]
    return Redirect(f"/reports?report={report}", status_code=303)


async def _put_targets(app_state: AppState, form: QueueTargetsForm) -> None:
    """Store the settings of a form. Raises `UsageError`, `NotFound`."""
    pbx = await app_state.appdb.pbx(form.pbx)
    targets = QueueTargets(
        service_level_seconds=_parse_seconds(
            "service_level_seconds", form.service_level_seconds, SERVICE_LEVEL_SECONDS_DEFAULT
        ),
        short_abandon_seconds=_parse_seconds(
            "short_abandon_seconds", form.short_abandon_seconds, SHORT_ABANDON_SECONDS_DEFAULT
        ),
    )
    await app_state.appdb.queue_targets.put(pbx.sn, form.queue, targets)


def _parse_seconds(name: str, text: str, default: int) -> int:
    text = text.strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= SECONDS_DIGITS_MAX):
        raise UsageError(
            _("{value} is not a number of seconds", value=repr(text[:20])),
            location=name,
            hint=_("write whole seconds, such as 20"),
        )
    return int(text)


ROUTES = (change_queue_targets,)

"""`/queue-targets`: the form with the settings of a queue, on the report of queues."""

from typing import Annotated

import msgspec
from litestar import post
from litestar.response import Redirect

from onhook.cdr.queue_figures import (
    SERVICE_LEVEL_SECONDS_DEFAULT,
    SHORT_ABANDON_SECONDS_DEFAULT,
    QueueTargets,
)
from onhook.console.pages.page import FORM_BODY
from onhook.console.state import AppStateDep
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


@post("/queue-targets", include_in_schema=False, status_code=200)
async def change_queue_targets(app_state: AppStateDep, data: Annotated[QueueTargetsForm, FORM_BODY]) -> Redirect:
    """Change the settings of a queue, and return to the report."""
    pbx = await app_state.appdb.pbx(data.pbx)
    targets = QueueTargets(
        service_level_seconds=_parse_seconds(
            "service_level_seconds", data.service_level_seconds, SERVICE_LEVEL_SECONDS_DEFAULT
        ),
        short_abandon_seconds=_parse_seconds(
            "short_abandon_seconds", data.short_abandon_seconds, SHORT_ABANDON_SECONDS_DEFAULT
        ),
    )
    await app_state.appdb.queue_targets.put(pbx.sn, data.queue, targets)
    report = data.report if data.report in REPORTS else REPORTS[0]
    return Redirect(f"/reports?report={report}", status_code=303)


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

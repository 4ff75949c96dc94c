"""`/alarms`: alarms of PBXs."""

from collections.abc import Sequence
from typing import ClassVar

from litestar import Response, get

from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.queries.coverage import NamedAlarm, list_named_alarms
from onhook.console.state import AnyRequest, AppStateDep


class AlarmsView(View, frozen=True, kw_only=True):
    """Values of the page: open and ended alarms."""

    template: ClassVar = "alarms.html"
    alarms: Sequence[NamedAlarm]


@get("/alarms", include_in_schema=False)
async def alarms_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of open and ended alarms."""
    return render_page(request, app_state, reader_zone, AlarmsView(alarms=list_named_alarms(app_state)))

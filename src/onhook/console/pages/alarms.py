"""`/alarms`: alarms of PBXs."""

from litestar import Response, get

from onhook.console.pages.page import render_page
from onhook.console.parameters import ReaderZone
from onhook.console.queries.coverage import list_named_alarms
from onhook.console.state import AnyRequest, AppStateDep


@get("/alarms", include_in_schema=False)
async def alarms_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of open and ended alarms."""
    return render_page(request, app_state, reader_zone, "alarms.html", alarms=list_named_alarms(app_state))

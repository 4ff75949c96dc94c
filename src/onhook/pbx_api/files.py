"""`cdr/download`: the rows of a search as a file, and the file itself."""

from typing import Final

from onhook.pbx_api.cdr import parse_record_search
from onhook.pbx_api.codes import ApiResponse, success_response
from onhook.pbx_api.downloads import PATH, format_csv
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState
from onhook.store.contract import RecordListResult

PREFIX: Final = "cdr"


async def make_csv(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Prepare the file; it is fetched under its `download_resource_url` with a token of the same app."""
    listing = parse_record_search(request)
    result = RecordListResult(0, []) if listing is None else await state.calls.list_records(listing)
    content = await format_csv(result.data, request.display)
    file = state.downloads.add(request.owner.client_id, PREFIX, content, state.clock.microseconds())
    return success_response(file=file.name, download_resource_url=f"{PATH}{file.name}")

"""`cdr/download`: the rows that a search finds as a file, and the file itself."""

from typing import Final

from onhook.pbx_api.cdr import searched_records
from onhook.pbx_api.codes import Answer, succeeded
from onhook.pbx_api.downloads import PATH, csv_of
from onhook.pbx_api.request import Asked
from onhook.pbx_api.state import Rooms
from onhook.store.contract import RecordsListed

PREFIX: Final = "cdr"


async def make_csv(rooms: Rooms, asked: Asked) -> Answer:
    """Make the file ready; it is fetched under its `download_resource_url` with a token of the same application."""
    listing = searched_records(asked)
    found = RecordsListed(0, []) if listing is None else await rooms.calls.listed_records(listing)
    content = await csv_of(found.data, asked.display)
    ready = rooms.downloads.keep(asked.owner.client_id, PREFIX, content, rooms.clock.microseconds())
    return succeeded(file=ready.name, download_resource_url=f"{PATH}{ready.name}")

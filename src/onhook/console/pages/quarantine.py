"""`/quarantine`: events that could not be parsed, and retrying them."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.console.pages.formatting import url
from onhook.console.pages.page import MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import SEQ_MAX, ReaderZone, Seq
from onhook.console.queries.quarantine import find_quarantined
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.messages import _
from onhook.store.contract import QuarantineEntry

QUARANTINE_ROWS_MAX = 100
"""Events on one page."""

AfterSeqQuery = Annotated[int, QueryParameter(ge=0, le=SEQ_MAX)]


class QuarantineView(View, frozen=True, kw_only=True):
    """Values of the page: quarantined events, and the number of the last one where more follow."""

    template: ClassVar = "quarantine.html"
    entries: Sequence[QuarantineEntry]
    total: int
    next: int | None
    after: int
    message: str


@get("/quarantine", include_in_schema=False)
async def quarantine_page(
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    after: AfterSeqQuery = 0,
    message: Message = "",
) -> Response[str]:
    """Return the page of quarantined events, in order of number, each with its reason."""
    entries = list(await app_state.store.quarantine(QUARANTINE_ROWS_MAX, after))
    return await render_page(
        request,
        app_state,
        reader_zone,
        QuarantineView(
            entries=entries,
            total=(await app_state.store.counts())["quarantined"] if entries else 0,
            next=entries[-1].seq if len(entries) == QUARANTINE_ROWS_MAX else None,
            after=after,
            message=message,
        ),
    )


@post("/quarantine/{seq:int}/retry", include_in_schema=False, status_code=200)
async def retry_quarantined(app_state: AppStateDep, seq: Seq) -> Redirect:
    """Retry one event, as after an upgrade."""
    await find_quarantined(app_state.store, seq)
    still_quarantined = await app_state.retry_parsing([seq])
    message = (
        _("Event {seq} still cannot be parsed: {reason}", seq=seq, reason=still_quarantined[0].reason)
        if still_quarantined
        else _("Event {seq} was parsed.", seq=seq)
    )
    return Redirect(
        url("/quarantine", after=max(0, seq - 1), message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303
    )


@post("/quarantine/retry", include_in_schema=False, status_code=200)
async def retry_first_page(app_state: AppStateDep) -> Redirect:
    """Retry the first events, as many as a page shows."""
    seqs = [entry.seq for entry in await app_state.store.quarantine(QUARANTINE_ROWS_MAX)]
    still_quarantined = await app_state.retry_parsing(seqs) if seqs else []
    message = _("{parsed} of {total} events were parsed.", parsed=len(seqs) - len(still_quarantined), total=len(seqs))
    return Redirect(url("/quarantine", message=message), status_code=303)


ROUTES = (quarantine_page, retry_quarantined, retry_first_page)

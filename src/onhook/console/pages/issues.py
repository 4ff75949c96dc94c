"""Pages: what needs a person's attention, and a report as it came."""

from collections.abc import Sequence

from litestar import Response, get

from onhook.console.api.coverage import named_alarms
from onhook.console.api.quarantine import tallied
from onhook.console.api.records import Seq, raw
from onhook.console.pages.page import AnyRequest, page
from onhook.console.parameters import ReaderZone
from onhook.console.state import Handed, Rooms
from onhook.lib.errors import NotFound
from onhook.store.contract import Quarantined

QUARANTINE_SHOWN_MAX = 200

KEPT_WORDS = frozenset({"kept", "repeat", "unreadable"})
"""The intake's words for what is in the ledger; all others are for what is counted and nothing else."""


@get("/attention", include_in_schema=False)
async def attention_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone) -> Response[str]:
    """What could not be read, and who knocked in vain."""
    total, newest = await quarantined(rooms, QUARANTINE_SHOWN_MAX)
    return page(
        request,
        rooms,
        reader_zone,
        "attention.html",
        alarms=[one for one in named_alarms(rooms) if one.ended_at is None],
        quarantined=newest,
        quarantined_total=total,
        tallies=[one for one in await tallied(rooms) if one.what not in KEPT_WORDS],
    )


@get("/reports/{seq:int}", include_in_schema=False)
async def report_page(request: AnyRequest, rooms: Handed, seq: Seq, reader_zone: ReaderZone) -> Response[str]:
    """A report, as its bytes came."""
    reports = await rooms.ledger.get([seq])
    if not reports:
        raise NotFound(f"the ledger has no report {seq}")
    reasons = [one.reason for one in await rooms.store.quarantine(1, seq - 1) if one.seq == seq]
    return page(
        request,
        rooms,
        reader_zone,
        "report.html",
        report=raw(reports[0]),
        reason="".join(reasons),
    )


async def quarantined(rooms: Rooms, limit: int) -> tuple[int, Sequence[Quarantined]]:
    """How many could not be read, and the newest of them."""
    newest = await rooms.store.quarantine(limit, newest=True)
    # Counting looks through everything, so it is left out where the list itself says how many there are.
    return len(newest) if len(newest) < limit else (await rooms.store.counts())["quarantined"], newest

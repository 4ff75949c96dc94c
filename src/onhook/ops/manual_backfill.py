"""Reading what an Asterisk keeps by hand, beside a server that may run."""

from collections.abc import Sequence
from datetime import UTC, datetime

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.appdb.pbxs import Pbx
from onhook.cdr.sync_types import Outcome, Wish
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.receiver.ingest import Ingestor
from onhook.sync.access import caretaker_of_archive
from onhook.sync.adapters import NotesByHand, NothingKnown
from onhook.sync.pbx_sync import SyncProgressCallback, build_backfill_result

SOURCES_MAX = 100
"""As many files as a rotation leaves."""


def named_sources(places: Sequence[str], columns: str | None, table: str | None) -> list[CdrSource]:
    """Sources from texts as people write them. Raises `UsageError`."""
    if len(places) > SOURCES_MAX:
        raise UsageError(f"there are more than {SOURCES_MAX} files", todo="name them in several runs")
    return [parse_cdr_source(place, columns=columns, table=table) for place in dict.fromkeys(places)]


async def read_by_hand(
    settings: AppDb, pbx: Pbx, *, accept: Ingestor, sources: Sequence[CdrSource], wish: Wish, tell: SyncProgressCallback
) -> Outcome:
    """Keep the calls of these sources, as they were wished for. Raises `OnhookError`."""
    settings.asterisks.of(pbx.sn)
    clock = SystemClock()
    caretaker = caretaker_of_archive(
        pbx.sn,
        lambda: sources,
        settings=settings,
        notes=NotesByHand(settings=settings, store=None, clock=clock, sn=pbx.sn),
        heard=lambda: (),
        known=NothingKnown(),
        accept=accept,
        clock=clock,
        chance=lambda: 0.0,
    )
    since = datetime.fromtimestamp(wish.since, UTC)
    until = None if wish.until is None else datetime.fromtimestamp(wish.until, UTC)
    return build_backfill_result(wish, await caretaker.fill(since, until, compares_days=False, tell=tell))

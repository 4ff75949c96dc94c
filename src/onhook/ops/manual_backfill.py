"""Back-fill from CDR sources by hand, beside a server that may run."""

from collections.abc import Sequence
from datetime import UTC, datetime

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.appdb.pbxs import Pbx
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import BackfillRequest, BackfillResult
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.receiver.ingest import Ingestor
from onhook.sync.appdb_state import ManualSyncState
from onhook.sync.backfill_run import build_backfill_result
from onhook.sync.call_lookup import EmptyCallLookup
from onhook.sync.cdr_sources import create_cdr_sync
from onhook.sync.contract import SyncProgressCallback

SOURCES_MAX = 100
"""As many files as a rotation leaves."""


def parse_cdr_sources(locations: Sequence[str], columns: str | None, table: str | None) -> list[CdrSource]:
    """Return the sources described by texts. Raises `UsageError`."""
    if len(locations) > SOURCES_MAX:
        raise UsageError(
            _("there are more than {maximum} files", maximum=SOURCES_MAX), hint=_("name them in several runs")
        )
    return [parse_cdr_source(location, columns=columns, table=table) for location in dict.fromkeys(locations)]


async def run_manual_backfill(
    appdb: AppDb,
    pbx: Pbx,
    *,
    ingestor: Ingestor,
    sources: Sequence[CdrSource],
    request: BackfillRequest,
    on_progress: SyncProgressCallback,
) -> BackfillResult:
    """Store the calls of these sources. Raises `OnhookError`."""
    await appdb.asterisks.get(pbx.sn)
    clock = SystemClock()
    pbx_sync = create_cdr_sync(
        pbx.sn,
        lambda: sources,
        appdb=appdb,
        sync_state=ManualSyncState(appdb=appdb, store=None, clock=clock, sn=pbx.sn),
        load_intervals=_no_intervals,
        call_lookup=EmptyCallLookup(),
        ingestor=ingestor,
        clock=clock,
        jitter=lambda: 0.0,
    )
    since = datetime.fromtimestamp(request.since, UTC)
    until = None if request.until is None else datetime.fromtimestamp(request.until, UTC)
    return build_backfill_result(
        request, await pbx_sync.backfill(since, until, compares_days=False, on_progress=on_progress)
    )


async def _no_intervals() -> Sequence[Interval]:
    """Return no coverage: a call that a person fetches was not missed."""
    return ()

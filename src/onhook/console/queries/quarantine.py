"""Events that could not be parsed, and counters of the intake; the command line uses them too."""

from collections.abc import Sequence

from onhook.appdb.appdb import AppDb
from onhook.appdb.senders import list_senders
from onhook.ledger.contract import Ledger
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.receiver.rejections import RequestCounter, name_counters
from onhook.store.contract import QuarantineEntry, Store


async def list_counters(ledger: Ledger, appdb: AppDb) -> list[RequestCounter]:
    """Return the ledger's counters, with the names and the sources of registered PBXs."""
    return name_counters(await ledger.counters(), await list_senders(appdb))


async def find_quarantined(store: Store, seq: int) -> QuarantineEntry:
    """Return the entry with this number. Raises `NotFound`."""
    for entry in await store.quarantine(1, seq - 1):
        if entry.seq == seq:
            return entry
    raise NotFound(
        _("event {seq} is not in the quarantine", seq=seq),
        hint=_("list the quarantine: it may have been parsed meanwhile"),
    )


async def load_quarantine(store: Store, limit: int) -> tuple[int, Sequence[QuarantineEntry]]:
    """Return how many events could not be parsed, and the newest of them."""
    newest = await store.quarantine(limit, newest_first=True)
    # Counting reads everything, so it is left out where the list is complete.
    return len(newest) if len(newest) < limit else (await store.counts())["quarantined"], newest

"""Events that could not be parsed, and counters of the intake; the command line uses them too."""

from collections.abc import Sequence
from datetime import datetime

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import pbxs_by_sn
from onhook.appdb.source_match import SourceMatch
from onhook.cdr.identity import fold_sn
from onhook.ledger.contract import Ledger
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.receiver.rejections import REJECTED_KINDS, RequestCounter, find_remedy, find_title
from onhook.store.contract import QuarantineEntry, Store


class NamedCounter(RequestCounter, frozen=True, kw_only=True):
    """Counter of a verdict, with the time of its first request and what a page says about it."""

    first_at: datetime

    @property
    def is_registered_now(self) -> bool:
        """Return whether the PBX of a rejected request was registered since."""
        return self.kind == "unknown_pbx" and bool(self.pbx)

    @property
    def is_rejected(self) -> bool:
        """Return whether the requests were answered with an error."""
        return self.kind in REJECTED_KINDS

    @property
    def title(self) -> str:
        """Return what was rejected, in words."""
        return find_title(self.kind)

    @property
    def remedy(self) -> str:
        """Return what to do about it, with a command between backticks."""
        return find_remedy(self)


async def list_counters(ledger: Ledger, appdb: AppDb) -> list[NamedCounter]:
    """Return the ledger's counters, with the names and the sources of registered PBXs."""
    pbxs, source_matches = pbxs_by_sn(await appdb.pbxs()), await appdb.source_matches.all()
    named_counters = []
    for counter in await ledger.counters():
        pbx = pbxs.get(fold_sn(counter.sn))
        named_counters.append(
            NamedCounter(
                kind=counter.kind,
                sn=counter.sn,
                pbx=pbx.name if pbx else "",
                label=counter.label,
                count=counter.count,
                first_at=to_datetime(counter.first_at),
                last_at=to_datetime(counter.last_at),
                identified_by=source_matches.get(pbx.sn, SourceMatch()).parts if pbx else (),
            )
        )
    return named_counters


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

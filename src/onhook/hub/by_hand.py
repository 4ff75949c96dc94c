"""Reading what an Asterisk keeps by hand, beside a server that may run."""

from collections.abc import Sequence
from datetime import UTC, datetime

from onhook.cdr.contact import Outcome, Wish
from onhook.clock import SystemClock
from onhook.config import Config
from onhook.errors import UsageError
from onhook.hub.care import door_of
from onhook.hub.notes import NotesByHand, NothingKnown
from onhook.hub.sources import caretaker_of_archive
from onhook.intake.caretaker import Tell, outcome_of
from onhook.ledger.sqlite import SqliteLedger
from onhook.settings.pbxs import Pbx
from onhook.settings.settings import Settings
from onhook.settings.sources import Source, checked_source

SOURCES_MAX = 100
"""As many files as a rotation leaves."""


def named_sources(places: Sequence[str], columns: str | None, table: str | None) -> list[Source]:
    """Sources from texts as people write them. Raises `UsageError`."""
    if len(places) > SOURCES_MAX:
        raise UsageError(f"there are more than {SOURCES_MAX} files", todo="name them in several runs")
    return [checked_source(place, columns=columns, table=table) for place in dict.fromkeys(places)]


async def read_by_hand(
    config: Config, settings: Settings, pbx: Pbx, *, sources: Sequence[Source], wish: Wish, tell: Tell
) -> Outcome:
    """Keep the calls of these sources, as they were wished for. Raises `OnhookError`."""
    settings.asterisks.of(pbx.sn)
    clock, ledger = SystemClock(), SqliteLedger(config.ledger_file)
    accept = door_of(settings=settings, ledger=ledger, clock=clock)
    notes = NotesByHand(settings=settings, store=None, clock=clock, sn=pbx.sn)
    caretaker = caretaker_of_archive(
        pbx.sn,
        lambda: sources,
        settings=settings,
        notes=notes,
        heard=lambda: (),
        known=NothingKnown(),
        accept=accept,
        clock=clock,
        chance=lambda: 0.0,
    )
    try:
        since = datetime.fromtimestamp(wish.since, UTC)
        until = None if wish.until is None else datetime.fromtimestamp(wish.until, UTC)
        found = await caretaker.fill(since, until, compares_days=False, tell=tell)
    finally:
        await accept.close()
        await ledger.close()
    return outcome_of(wish, found)

"""What the console was handed: the rooms it looks into, and what it remembers between two requests."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from onhook.appdb.appdb import Settings
from onhook.config import Config
from onhook.console.actions import Acts
from onhook.console.auth.failures import Failures
from onhook.console.auth.sessions import Sessions
from onhook.console.export_jobs import Exporting
from onhook.console.live.live_tail import Tail
from onhook.console.metrics import Counters
from onhook.console.queries.destinations import Sending
from onhook.console.request_coalescing import Shared
from onhook.console.semaphores import Places
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.store.contract import Quarantined, Store
from onhook.store.position_notifier import Feed

ReadAgain = Callable[[Sequence[int]], Awaitable[Sequence[Quarantined]]]
"""Reads reports of the quarantine anew; answers with those that still cannot be read."""


class Rooms(msgspec.Struct, frozen=True, kw_only=True):
    """All that a route may touch."""

    store: Store
    ledger: Ledger
    settings: Settings
    clock: Clock
    config: Config
    feed: Feed
    listeners: Places
    exports: Places
    players: Places
    exporting: Exporting
    scrambling: Places
    asking: Places
    tail: Tail
    read_again: ReadAgain
    sending: Sending
    acts: Acts
    sessions: Sessions
    failures: Failures
    counters: Counters
    shared: Shared


Handed = NamedDependency[SkipValidation[Rooms]]
"""How a route asks for the rooms."""

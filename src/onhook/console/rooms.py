"""What the console was handed: the rooms it looks into, and what it remembers between two requests."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from onhook.clock import Clock
from onhook.config import Config
from onhook.console.acts import Acts
from onhook.console.counters import Counters
from onhook.console.entrance.failures import Failures
from onhook.console.entrance.sessions import Sessions
from onhook.console.exporting import Exporting
from onhook.console.feed import Feed
from onhook.console.places import Places
from onhook.console.sending import Sending
from onhook.console.shared import Shared
from onhook.console.tail import Tail
from onhook.ledger.ledger import Ledger
from onhook.settings.settings import Settings
from onhook.store.store import Quarantined, Store

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

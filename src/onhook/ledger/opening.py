"""The ledger of an installation: in a file, or on NATS JetStream."""

from pathlib import Path
from typing import TYPE_CHECKING

from onhook.ledger.contract import Ledger
from onhook.ledger.health import LedgerHealth
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

if TYPE_CHECKING:
    from onhook.ledger import jetstream, jetstream_health
else:
    # One machine does without it.
    jetstream = DeferredModule("onhook.ledger.jetstream")
    jetstream_health = DeferredModule("onhook.ledger.jetstream_health")


def open_ledger(path: Path, url: str = "") -> Ledger:
    """Return the ledger of a file, which is created, or of a URL of NATS where there is one, to which its first call
    connects. Raises `UsageError` for a URL that is none, and where the client library is missing; of a file
    `OnhookError`.
    """
    if not url:
        return SqliteLedger(path)
    try:
        return jetstream.JetStreamLedger(url)
    except ModuleNotFoundError as error:
        raise UsageError(
            _("NATS needs the library {name}, which is not installed", name=error.name),
            location="ledger",
            hint=_("run `make install CLUSTER=1`, or install the package with the extra cluster"),
        ) from error


async def create_shared_ledger(url: str, after_seq: int) -> None:
    """Create the ledger of a URL of NATS, which begins after a number. Raises `UsageError` for one that has entries,
    `Unavailable`.
    """
    await jetstream.create_ledger(url, after_seq)


async def read_shared_health(url: str, clock: Clock) -> LedgerHealth:
    """Return how the servers of a URL of NATS are. Raises `UsageError` for a URL that is none."""
    return await jetstream_health.read_health(url, clock)

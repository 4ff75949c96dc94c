"""Senders that know a secret of a registered PBX and have a serial number that is not registered: a device that was
replaced, or a hot standby. Their events are kept, for a person to decide.

Invariants: what an outsider makes this code compute is bounded, and equal for a serial number that is registered and
for one that is not. Bounded too is what a sender that knows a secret can have kept.
"""

from collections import Counter
from collections.abc import Mapping

from onhook.cdr.merge import UNREGISTERED
from onhook.ledger.contract import Ledger
from onhook.lib.signing import is_signed_by
from onhook.receiver.counters import SN_CHARACTERS_MAX
from onhook.receiver.hash_budget import HashBudget
from onhook.receiver.pbx_registry import PbxRegistry, RegisteredPbx
from onhook.receiver.signature_check import SIGNATURE_CHARACTERS

EVENTS_MAX = 10_000
"""Kept events per serial number at a time: days of a busy PBX, shown on the page Issues from the first one on."""

SERIAL_NUMBERS_MAX = 100
"""Serial numbers that are not registered: devices that know a secret are few."""


class UnregisteredSenders:
    """Finds the PBX whose secret such a sender knows. `counts` has the number of events that are kept already, by
    serial number; the search is charged to `budget`.
    """

    def __init__(self, registry: PbxRegistry, counts: Mapping[str, int], budget: HashBudget) -> None:
        self._registry = registry
        self._counts = dict(counts)
        self._budget = budget
        self.has_reached_limit = False
        """Whether an event was refused because of the counts."""

    def find_signer(self, body: bytes, signature: str) -> RegisteredPbx | None:
        """Return the PBX whose secret signs the body; None too where too much was hashed lately."""
        if len(signature.strip()) != SIGNATURE_CHARACTERS:
            return None
        return next(
            (
                pbx
                for pbx in self._budget.limit(self._registry.list_all(), len(body))
                if is_signed_by(pbx.secrets, body, signature)
            ),
            None,
        )

    def admits(self, sn: str) -> bool:
        """Return whether one more event of this serial number may be kept."""
        if not (sn.isascii() and sn.isprintable() and " " not in sn and len(sn) <= SN_CHARACTERS_MAX):
            return False
        count = self._counts.get(sn)
        if count is not None:
            is_admitted = count < EVENTS_MAX
        else:
            unregistered = sum(self._registry.find_by_sn(known_sn) is None for known_sn in self._counts)
            is_admitted = unregistered < SERIAL_NUMBERS_MAX
        self.has_reached_limit = self.has_reached_limit or not is_admitted
        return is_admitted

    def replace_counts(self, counts: Mapping[str, int]) -> None:
        """Use other counts from now on: events were read, or deleted."""
        self._counts, self.has_reached_limit = dict(counts), False

    def add(self, sn: str) -> None:
        """Count one kept event."""
        self._counts[sn] = self._counts.get(sn, 0) + 1


async def count_unregistered(ledger: Ledger) -> Mapping[str, int]:
    """Return the number of events that are kept now, by serial number."""
    counts: Counter[str] = Counter()
    for counter in await ledger.counters():
        if counter.kind == UNREGISTERED:
            counts[counter.sn] += counter.count
    return counts

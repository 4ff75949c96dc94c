"""How much is hashed and decoded for requests that are rejected in the end: outsiders can send as many as they like.

Invariant: what they make the intake hash and decode is bounded per second, whatever they send; what a registered PBX
signs costs nothing, and a body as PBXs send it is always looked at.
"""

from collections.abc import Callable, Iterable

from onhook.receiver.pbx_registry import RegisteredPbx

SEARCH_BYTES_MAX = 8 * 1024 * 1024
"""Bytes to hash in search of the sender of one body: some 10 ms, so that an unknown PBX cannot delay the others. A
common event of 600 bytes is tried with 12,000 secrets, the largest body with 32.
"""

BYTES_PER_SECOND = 16 * 1024 * 1024
"""Spent on requests that are rejected in the end: a twentieth of a core, measured with events of 600 bytes."""

BYTES_BURST = 4 * BYTES_PER_SECOND
"""Saved up for a burst; more than a single search may take."""

USUAL_BODY_BYTES_MAX = 16 * 1024
"""Size up to which a plain body is decoded whatever outsiders send: an event has some 600 bytes."""

DECODING_WEIGHT = 64
"""Decoding a byte, in the worst case, takes as long as hashing so many."""

BODY_BYTES_MIN = 4 * 1024
"""A shorter body is counted as this long: the call costs as much as the hashing."""


class HashBudget:
    """Bytes that may be hashed now for requests that are rejected. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._bytes_left = float(BYTES_BURST)
        self._filled_at = monotonic()

    @property
    def is_spent(self) -> bool:
        """Return whether too much was hashed lately."""
        self._fill()
        return self._bytes_left < 0

    def charge(self, senders: Iterable[RegisteredPbx], body_bytes: int) -> None:
        """Charge for secrets none of which signed the body."""
        self._bytes_left -= sum(_cost(sender, body_bytes) for sender in senders)

    def charge_decoding(self, body_bytes: int) -> None:
        """Charge for a body of this size, unpacked, that was decoded for a request that is rejected."""
        self._bytes_left -= DECODING_WEIGHT * body_bytes

    def limit(self, senders: Iterable[RegisteredPbx], body_bytes: int) -> Iterable[RegisteredPbx]:
        """Return as many PBXs as their secrets may be tried on a body of this size now, and charge for them."""
        self._fill()
        for sender in limit_search(senders, body_bytes):
            cost = _cost(sender, body_bytes)
            if cost > self._bytes_left:
                return
            self._bytes_left -= cost
            yield sender

    def _fill(self) -> None:
        now = self._monotonic()
        saved = self._bytes_left + (now - self._filled_at) * BYTES_PER_SECOND
        self._bytes_left, self._filled_at = min(saved, BYTES_BURST), now


def limit_search(senders: Iterable[RegisteredPbx], body_bytes: int) -> Iterable[RegisteredPbx]:
    """Return as many PBXs as their secrets may be tried on one body of this size."""
    bytes_left = SEARCH_BYTES_MAX
    for sender in senders:
        bytes_left -= len(sender.secrets) * body_bytes
        if bytes_left < 0:
            return
        yield sender


def _cost(sender: RegisteredPbx, body_bytes: int) -> int:
    return len(sender.secrets) * max(body_bytes, BODY_BYTES_MIN)

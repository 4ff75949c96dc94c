"""Limits per address for requests of senders that cannot sign, and are rejected: wrong paths and passwords.

Invariant: what a registered PBX sends is accepted whatever others send from its address, as behind one router.
"""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

PERIOD_SECONDS = 60.0

REJECTIONS_MAX = 300
"""Per address and period: a PBX with a wrong secret tries each leg four times, and busy ones have five legs a second.
"""

ADDRESSES_MAX = 10_000
"""Counted addresses; more of them in one period are counted together."""

IPV6_PREFIX = 64
"""One network of a subscriber: its addresses count as one."""

_OTHERS = "others"


class RejectionLimits:
    """Counts of rejected requests by address, for a minute. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: dict[str, int] = {}
        self._began_at = monotonic()

    def admits(self, peer: str) -> bool:
        """Count one rejected request; return whether the address may have it rejected, and not just put off."""
        now = self._monotonic()
        if now - self._began_at >= PERIOD_SECONDS:
            self._counts, self._began_at = {}, now
        address = _to_network(peer)
        if address not in self._counts and len(self._counts) >= ADDRESSES_MAX:
            address = _OTHERS
        self._counts[address] = self._counts.get(address, 0) + 1
        return self._counts[address] <= REJECTIONS_MAX

    def forgive(self, peer: str) -> None:
        """Begin anew for the address of a request that was accepted: with `auth-scheme=any` each second one is."""
        if self._counts:
            self._counts.pop(_to_network(peer), None)


def _to_network(peer: str) -> str:
    """Return the address, or the network of an IPv6 address."""
    if ":" not in peer:
        return peer
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if not isinstance(address, IPv6Address) or address.ipv4_mapped is not None:
        return str(getattr(address, "ipv4_mapped", address))
    return str(ip_network((address, IPV6_PREFIX), strict=False))

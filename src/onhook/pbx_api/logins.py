"""Who logs in wrongly too often: five in a row, and the address is kept out (PROTOCOL.md 6).

Addresses are counted as one where one person has many: an IPv6 address stands for its network of 64 bits.
"""

import ipaddress
from collections import OrderedDict

FAILURES_MAX = 5

COUNTED_MAX = 10_000
"""Addresses whose failures are counted at once; the one that failed first is forgotten first."""

FORGOTTEN_MICROSECONDS = 3_600_000_000
"""Failures of an hour ago are forgotten: a person mistypes now and then."""

IPV6_PREFIX = 64


class Failures:
    """Failed logins in a row, by address."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def failed(self, source: str, at: int) -> bool:
        """Count one more; whether that was one too many, and the count begins anew."""
        count, last = self._counts.pop(source, (0, at))
        count = 1 if at - last >= FORGOTTEN_MICROSECONDS else count + 1
        if count >= FAILURES_MAX:
            return True
        self._counts[source] = count, at
        while len(self._counts) > COUNTED_MAX:
            self._counts.popitem(last=False)
        return False

    def succeeded(self, source: str) -> None:
        """It knows the secret after all."""
        self._counts.pop(source, None)


def source_of(address: str) -> str:
    """The address that is counted and kept out.

    >>> source_of("192.0.2.7"), source_of("2001:db8::7"), source_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)

"""Failed logins: five in a row block the address (yeastar-p-series.md 6).

Addresses of one owner are counted together: an IPv6 address stands for its /64 network.
"""

import ipaddress
from collections import OrderedDict

FAILURES_MAX = 5

ADDRESSES_MAX = 10_000
"""Addresses with counted failures; the oldest count is removed first."""

EXPIRY_MICROSECONDS = 3_600_000_000
"""Failures older than an hour do not count, because people mistype now and then."""

IPV6_PREFIX = 64


class LoginFailures:
    """Failed logins in a row, by address."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def record_failure(self, key: str, now_us: int) -> bool:
        """Count a failure. Return whether the limit is reached; that resets the count."""
        count, last_failed_at = self._counts.pop(key, (0, now_us))
        count = 1 if now_us - last_failed_at >= EXPIRY_MICROSECONDS else count + 1
        if count >= FAILURES_MAX:
            return True
        self._counts[key] = count, now_us
        while len(self._counts) > ADDRESSES_MAX:
            self._counts.popitem(last=False)
        return False

    def record_success(self, key: str) -> None:
        """Reset the count."""
        self._counts.pop(key, None)


def throttle_key(address: str) -> str:
    """Return the address that is counted and blocked.

    >>> throttle_key("192.0.2.7"), throttle_key("2001:db8::7"), throttle_key("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    try:
        ip_address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip_address, ipaddress.IPv6Address):
        if ip_address.ipv4_mapped is not None:
            return str(ip_address.ipv4_mapped)
        return str(ipaddress.ip_network((ip_address, IPV6_PREFIX), strict=False))
    return str(ip_address)

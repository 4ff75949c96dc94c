"""Hosts of URLs, in every notation of an address that a resolver or a client takes for one; URLs of proxies. Pure."""

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

import msgspec

from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

if TYPE_CHECKING:
    import yarl
else:  # the intake and most commands read no URL
    yarl = DeferredModule("yarl")

AnyAddress = IPv4Address | IPv6Address

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

SECRET_NAMES = re.compile(r"pass|pwd|secret|token|key|signature|credential", re.IGNORECASE)
"""In the names of what is secret in a query, such as `password` and `sslkey` of PostgreSQL."""

NO_PROXY = "none"
"""Instead of the URL of a proxy: connect without one."""

PROXY_CHARACTERS_MAX = 500
"""A host name of full length, a user and a password."""

NAME_CHARACTERS_MAX = 254
"""Of a name with the dot of the root at its end (RFC 1035, 2.3.4)."""


class UrlHost(msgspec.Struct, frozen=True):
    """Host of a URL as a client connects to it: `text` in lower case and in ASCII, without brackets and zone; `address`
    is None for a name.
    """

    text: str
    address: AnyAddress | None

    @property
    def is_canonical(self) -> bool:
        """Return whether it is a name, or an address in its usual notation; clients do not agree about others."""
        return self.address is None or self.text in (str(self.address), self.address.exploded)


def parse_url_host(url: str) -> UrlHost:
    """Return the host of a URL. Raises `ValueError` for a host that is neither a name nor an address.

    >>> parse_url_host("http://0x7f.1/").address, parse_url_host("http://Pbx.example.:80/").text
    (IPv4Address('127.0.0.1'), 'pbx.example')
    """
    return parse_host(yarl.URL(url).raw_host or "")


def parse_host(host: str) -> UrlHost:
    """Return a host that stands alone, without brackets, like `parse_url_host`."""
    if ":" in host:
        text = host.partition("%")[0]
        return UrlHost(text, IPv6Address(text))
    text = host.lower()
    if len(text) > NAME_CHARACTERS_MAX or not _NAME.fullmatch(text):
        raise ValueError(host)
    text = text.removesuffix(".")
    if not _NUMBER.fullmatch(text.rpartition(".")[2]):
        return UrlHost(text, None)
    try:
        # The rules of every resolver: decimal, octal, hexadecimal, one to four parts.
        return UrlHost(text, ip_address(socket.inet_aton(text)))
    except OSError:
        raise ValueError(host) from None


def parse_proxy(text: str, location: str) -> str:
    """Return the URL of an HTTP proxy, `http://USER:PASSWORD@HOST:PORT`. Raises `UsageError` without the text."""
    try:
        url = yarl.URL(text)
        is_proxy = url.scheme == "http" and url.explicit_port not in (None, 0) and url.raw_path in ("", "/")
        is_proxy = is_proxy and not url.raw_query_string and parse_url_host(text).is_canonical
    except ValueError:
        is_proxy = False
    # Not ASCII: among others a password that was masked for display.
    if not is_proxy or len(text) > PROXY_CHARACTERS_MAX or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(
            _("this is not the URL of a proxy"),
            location=location,
            hint=_("write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"),
        )
    return text.removesuffix("/")


def proxy_passwords(text: str) -> tuple[str, ...]:
    """Return the password in the URL of a proxy, as it is meant and as it is written; nothing where there is none.

    >>> proxy_passwords("http://onhook:p%40w@proxy.example:3128"), proxy_passwords("none")
    (('p@w', 'p%40w'), ())
    """
    credentials = text.partition("://")[2].rpartition("@")[0]
    password = credentials.partition(":")[2]
    return (unquote(password), password) if password else ()


def query_values(url: str, names: re.Pattern[str] | None = None) -> tuple[str, ...]:
    """Return the values in the query of a URL, as they are meant and as they are written; with `names`, those of such
    names.

    >>> query_values("https://a.example/?key=k%2B1"), query_values("postgresql://db/x?sslmode=off", SECRET_NAMES)
    (('k+1', 'k%2B1'), ())
    """
    parts = [part.partition("=") for part in url.partition("#")[0].partition("?")[2].split("&")]
    values = [value for name, _sign, value in parts if names is None or names.search(name)]
    return tuple(form for value in values for form in (unquote_plus(value), value))


def mask_proxy(text: str) -> str:
    """Return the URL of a proxy for display, without its password.

    >>> mask_proxy("http://onhook:pw@proxy.example:3128"), mask_proxy("none")
    ('http://onhook:…@proxy.example:3128', 'none')
    """
    scheme, separator, rest = text.partition("://")
    credentials, at_sign, address = rest.rpartition("@")
    user, colon, _password = credentials.partition(":")
    return f"{scheme}{separator}{user}:…{at_sign}{address}" if colon else text

"""What people ask for with a subscription, and what of it can be meant so."""

import base64
import binascii
import re
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError

Method = Literal["POST", "GET"]
Per = Literal["leg", "call"]
NotifiesOf = Literal["calls", "alarms"]
RetryPolicy = Literal["days", "original"]
PayloadFormat = Literal["p-2023", "p-2025", "p-2026", "doc", "object"]
"""The generations of PBX whose event can be written (PROTOCOL.md 3.2)."""

URL_CHARACTERS_MAX = 2_000
"""Longer ones are cut off somewhere on their way; a PBX saves less."""

TIMEOUT_SECONDS_LIMITS = (1.0, 120.0)
"""The original allows 3 to 10 (PROTOCOL.md 4); beyond two minutes nobody waits on purpose."""

MAX_ATTEMPTS_LIMITS = (1, 5)
"""Of the plan `original` (PROTOCOL.md 4)."""

HEADERS_MAX = 20
"""A key or two for a gateway."""

HEADER_CHARACTERS_MAX = 1_000
"""Long enough for a signed token."""

WHSEC_PREFIX = "whsec_"
"""How a secret of Standard Webhooks begins; Base64 follows."""

KEY_BYTES_LIMITS = (24, 64)
"""Of a secret of Standard Webhooks, as its specification says."""

RESERVED_HEADERS = frozenset(
    {"content-length", "content-type", "host", "transfer-encoding", "connection", "x-signature", "user-agent"}
    | {"webhook-id", "webhook-timestamp", "webhook-signature"}
)
"""Headers that say what is sent and who signed it: nobody sets them by hand."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


class DestinationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls an application wants, where, and how.

    `about` is what it is told of: calls, or alarms of PBXs, of which `where` chooses by `sn` alone. For calls
    `where` is the one set of filters; with `per` of `call` it is held against whole calls. `plan` is how often it is
    tried: `days`, or `original` with `tries`. `headers` are sent besides our own. `allows_private` lets it be on this
    machine or in a private network.
    """

    url: str
    about: NotifiesOf = "calls"
    sink: str = "webhook"
    method: Method = "POST"
    where: RecordFilter = RecordFilter()
    profile: PayloadFormat = "p-2026"
    per: Per = "leg"
    timeout_seconds: float = 5.0
    plan: RetryPolicy = "days"
    tries: int = 3
    headers: dict[str, str] = {}
    with_standard_webhooks: bool = False
    allows_private: bool = False

    def __repr__(self) -> str:
        return f"Wishes({self.method} {mask_url(self.url)}, {len(self.headers)} headers)"


SPEC_FIELDS: tuple[str, ...] = DestinationSpec.__struct_fields__


def validate_spec(wishes: DestinationSpec) -> DestinationSpec:
    """The same. Raises `UsageError` for what cannot be meant so; never shows a password in a URL."""
    _check_url(wishes.url)
    _check_choice("profile", wishes.profile, get_args(PayloadFormat))
    _check_choice("method", wishes.method, get_args(Method))
    _check_choice("per", wishes.per, get_args(Per))
    _check_choice("about", wishes.about, get_args(NotifiesOf))
    if wishes.about == "alarms" and wishes.where != RecordFilter(sn=wishes.where.sn):
        raise UsageError("alarms have no calls to be filtered by", todo="choose them by sn alone, or not at all")
    _check_choice("plan", wishes.plan, get_args(RetryPolicy))
    _check_range("timeout_seconds", wishes.timeout_seconds, TIMEOUT_SECONDS_LIMITS)
    _check_range("tries", wishes.tries, MAX_ATTEMPTS_LIMITS)
    _check_headers(wishes.headers)
    return wishes


def parse_standard_webhooks_key(text: str) -> bytes:
    """The key in a secret of Standard Webhooks: `whsec_` and Base64 of 24 to 64 bytes. Raises `UsageError`."""
    minimum, maximum = KEY_BYTES_LIMITS
    try:
        key = base64.b64decode(text.removeprefix(WHSEC_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(WHSEC_PREFIX) or not minimum <= len(key) <= maximum:
        raise UsageError(
            "this is no secret for Standard Webhooks",
            todo=f"write {WHSEC_PREFIX} and {minimum} to {maximum} bytes in Base64, or leave it out to generate one",
        )
    return key


def mask_url(url: str) -> str:
    """A URL as it may be shown: the values in its query are often keys.

    >>> mask_url("https://crm.example.com/calls?key=1f2e3d&on")
    'https://crm.example.com/calls?key=…&on'
    """
    address, separator, query = url.partition("?")
    return (
        address
        + separator
        + "&".join(f"{part.partition('=')[0]}=…" if "=" in part else part for part in query.split("&"))
    )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_webhook = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        has_password = "@" in parts.netloc
    except ValueError:  # a bracket left open, a port that is no number
        is_webhook = has_password = False
    if has_password:
        raise UsageError("a password does not belong into a URL", todo="send it as a header: Authorization")
    if not is_webhook or len(url) > URL_CHARACTERS_MAX or not url.isprintable() or " " in url:
        raise UsageError("this is not a webhook's URL", todo="write one such as https://crm.example.com/calls")


def _check_headers(headers: dict[str, str]) -> None:
    if len(headers) > HEADERS_MAX:
        raise UsageError(f"there are {len(headers)} headers", todo=f"give at most {HEADERS_MAX}")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
            raise UsageError(f"{name[:80]!r} cannot be a header of yours", todo="choose another name")
        if len(value) > HEADER_CHARACTERS_MAX or not value.isascii() or not value.isprintable():
            raise UsageError(f"the header {name} has a value that cannot be sent", todo="write printable ASCII")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} cannot be {value[:80]!r}", todo=f"use {' or '.join(known)}")


def _check_range(name: str, value: float, limits: tuple[float, float]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise UsageError(f"{name} cannot be {value:g}", todo=f"write {limits[0]:g} to {limits[1]:g}")

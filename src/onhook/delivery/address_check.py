"""Check of the addresses that Onhook connects to, when they are set: by command line, API, page, or an app.

Invariants: private addresses of destinations must be allowed. Those of proxies, of PBXs and of their CDR tables need no
permission: they are in private networks as a rule, and only administrators set them. Link-local addresses and metadata
services are none of these. Stored headers and passwords are sent to no other host, port or scheme than before, and no
other proxy reads them.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.destination_spec import SPEC_FIELDS, DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.config import Config
from onhook.delivery.destinations.kinds import check_kind
from onhook.delivery.ssrf_guard import check_address, create_ssrf_guard
from onhook.lib.errors import UsageError
from onhook.lib.hosts import NO_PROXY, parse_host, parse_url_host
from onhook.lib.messages import _

ADDRESS_FIELDS = frozenset({"url", "allow_private", "proxy"})
"""Fields that decide whether a destination may be connected to."""


async def check_destination(config: Config, spec: DestinationSpec) -> list[str]:
    """Return warnings about the addresses of a destination. Raises `UsageError` where one is not allowed now, and
    for an invalid field of its kind.
    """
    check_kind(spec)
    warnings = []
    for url, allow_private, location in ((spec.url, spec.allow_private, "url"), (spec.proxy, True, "proxy")):
        try:
            host = parse_url_host(url)
        except ValueError:
            continue  # no proxy, or rejected as a URL when it is stored
        guard = create_ssrf_guard(config.private_networks, allow_private=allow_private)
        warnings.append(await check_address(host, guard, location=location))
    return [warning for warning in warnings if warning]


async def check_change(
    config: Config, old: Destination, changes: Mapping[str, Any], *, may_move_secrets: bool = False
) -> list[str]:
    """Return warnings about a change of a destination. Raises `UsageError` for a new address that is not allowed now; a
    permission can always be revoked, which is a warning where nothing can be sent afterwards. Raises it also for
    another host or proxy that would be sent stored headers or a password, unless these may move.
    """
    changed_fields = {name: value for name, value in changes.items() if name in SPEC_FIELDS}
    new = msgspec.structs.replace(old, **changed_fields)
    check_kind(new)
    if not may_move_secrets:
        check_kept_values(
            old,
            new.url,
            new.proxy,
            has_headers=bool(old.headers) and "headers" not in changes,
            has_password=old.kind != "webhook" and old.secrets > 0,
        )
    address_changes = {name: value for name, value in changed_fields.items() if name in ADDRESS_FIELDS}
    if not address_changes:
        return []
    try:
        return await check_destination(config, new)
    except UsageError as error:
        if address_changes == {"allow_private": False}:
            return [str(error)]
        raise


def check_kept_values(
    old: DestinationSpec, url: str, proxy: str, *, has_headers: bool, has_password: bool = False
) -> None:
    """Raise `UsageError` where stored headers or a password are kept for another host, port or scheme, or for a proxy
    that reads them, because the URL has no TLS.

    >>> crm = DestinationSpec(url="https://crm.example.com/calls")
    >>> check_kept_values(crm, "https://CRM.example.com/new", "http://proxy.example.com:3128", has_headers=True)
    """
    if not has_headers and not has_password:
        return
    if _origin(url) != _origin(old.url):
        if has_headers:
            raise UsageError(
                _("the hidden values of headers belong to another host"),
                location="headers",
                hint=_("enter their values, or remove these headers"),
            )
        raise UsageError(
            _("its password belongs to another host"),
            location="url",
            hint=_("duplicate the destination, and enter the password again"),
        )
    is_new_proxy = proxy not in ("", NO_PROXY) and _origin(proxy) != _origin(old.proxy)
    if is_new_proxy and urlsplit(url.strip()).scheme == "http":
        raise UsageError(
            _("another proxy would read stored headers or the password"),
            location="proxy",
            hint=_("use a URL with https, or enter them again"),
        )


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL; of an invalid one, which has another error, an empty text."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


async def check_pbx_host(config: Config, host: str, *, location: str) -> str:
    """Return a warning about the host of a PBX or of its CDR table, or an empty text.

    Raises `UsageError` for an address that is no PBX's.
    """
    try:
        parsed_host = parse_host(host)
    except ValueError:
        raise UsageError(
            _("{host} is not a host", host=repr(host[:80])), location=location, hint=_("write a name or an address")
        ) from None
    guard = create_ssrf_guard(config.private_networks, allow_private=True)
    return await check_address(parsed_host, guard, location=location)

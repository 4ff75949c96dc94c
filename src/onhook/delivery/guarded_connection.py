"""TCP connections of kinds that are not HTTP: the name is looked up here, and each address is checked by the SSRF guard
before its socket exists. TLS names are checked against the name, not the address.
"""

import os
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp
from aiohappyeyeballs import AddrInfoType, start_connection

from onhook.delivery.ssrf_guard import AnyAddress, SsrfGuard, resolve_host
from onhook.lib.certificates import create_trust
from onhook.lib.hosts import UrlHost, parse_url_host
from onhook.lib.messages import _

NEXT_ADDRESS_SECONDS = 0.25
"""Wait for an address before the next one is tried too (RFC 8305, 8)."""


async def connect_guarded(url: str, default_port: int, guard: SsrfGuard) -> socket.socket:
    """Return a non-blocking socket, connected to the first address of the URL's host that answers: the next one is
    tried beside those that have not answered yet (RFC 8305).

    Raises `OSError`: `PermissionError` for an address that the guard does not allow. The caller limits the time.
    """
    return await connect_host(parse_url_host(url), urlsplit(url).port or default_port, guard)


async def connect_host(host: UrlHost, port: int, guard: SsrfGuard) -> socket.socket:
    """Return a socket like `connect_guarded`, connected to a host that stands in no URL."""
    addresses = await _list_addresses(host)
    for address in addresses:
        guard.require_allowed(address)
    try:
        return await start_connection(
            [_address_info(address, port) for address in addresses],
            happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
            interleave=1,
            socket_factory=guard.create_socket,
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        message = _("cannot connect to {host}:{port}: {reason}", host=host.text, port=port, reason=reason)
        raise OSError(message) from error


async def _list_addresses(host: UrlHost) -> list[AnyAddress]:
    if host.address is not None:
        return [host.address]
    resolver = aiohttp.AsyncResolver()
    try:
        addresses, reason = await resolve_host(host, resolver)
    finally:
        await resolver.close()
    if not addresses:
        raise OSError(_("{host} has no address: {reason}", host=host.text, reason=reason))
    return list(addresses)


def _address_info(address: AnyAddress, port: int) -> AddrInfoType:
    """Return an address as `socket.getaddrinfo` does."""
    if address.version == 6:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port))


def create_tls_context(ca_certificates: str) -> ssl.SSLContext:
    """Return the context that trusts these certificates, or those of the system where there are none."""
    return create_trust(ca_certificates) if ca_certificates else ssl.create_default_context()


def describe_connection_error(error: OSError) -> str:
    """Return why a connection was not made, or was lost, in one line."""
    if isinstance(error, PermissionError):
        return _("not connected: {reason}", reason=error.strerror)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _("the certificate is not trusted: {reason}", reason=error.verify_message)
    return " ".join((error.strerror or str(error) or type(error).__name__).split())

"""TCP connections of kinds that are not HTTP: the name is looked up here, and each address is checked by the SSRF guard
before its socket exists. TLS names are checked against the name, not the address.
"""

import asyncio
import os
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp

from onhook.delivery.ssrf_guard import AnyAddress, SsrfGuard, resolve_host
from onhook.lib.certificates import create_trust
from onhook.lib.hosts import UrlHost, parse_url_host
from onhook.lib.messages import _


async def connect_guarded(url: str, default_port: int, guard: SsrfGuard) -> socket.socket:
    """Return a non-blocking socket, connected to the first address of the URL's host that answers.

    Raises `OSError`: `PermissionError` for an address that the guard does not allow. The caller limits the time.
    """
    return await connect_host(parse_url_host(url), urlsplit(url).port or default_port, guard)


async def connect_host(host: UrlHost, port: int, guard: SsrfGuard) -> socket.socket:
    """Return a socket like `connect_guarded`, connected to a host that stands in no URL."""
    error: OSError | None = None
    for address in await _list_addresses(host):
        try:
            return await _connect_address(address, port, guard)
        except PermissionError:
            raise
        except OSError as address_error:
            error = address_error
    assert error is not None, "a host without an address raises"
    reason = os.strerror(error.errno) if error.errno else error
    raise OSError(_("cannot connect to {host}:{port}: {reason}", host=host.text, port=port, reason=reason)) from error


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


async def _connect_address(address: AnyAddress, port: int, guard: SsrfGuard) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    new_socket = guard.create_socket((family, socket.SOCK_STREAM, 0, "", (str(address), port)))
    try:
        await asyncio.get_running_loop().sock_connect(new_socket, (str(address), port))
    except BaseException:
        new_socket.close()
        raise
    return new_socket


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

"""Certificate of a PBX, fetched without verification, so that an operator can compare and pin it."""

import hashlib
import socket
import ssl
from urllib.parse import urlsplit

import msgspec

from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

CONNECT_SECONDS_MAX = 10.0
"""A PBX in the same country answers within a second."""


class PeerCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """`fingerprint` is the SHA-256 of the certificate; `verification_error` is the reason why no certificate authority
    verifies it, or empty. `expires_at` is the end of one that an authority verifies, in Unix seconds.
    """

    fingerprint: str
    verification_error: str
    expires_at: float | None = None


def fetch_certificate(url: str) -> PeerCertificate:
    """Return the certificate of `https://HOST:PORT`. Raises `Unavailable`, and `UsageError` for plain HTTP."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        raise UsageError(_("there is no certificate without TLS"), location=url, hint=_("use https://"))
    address = (parts.hostname, parts.port or 443)
    certificate = _download_certificate(address)
    verification_error, expires_at = _verify(address)
    return PeerCertificate(
        fingerprint=hashlib.sha256(certificate).hexdigest(),
        verification_error=verification_error,
        expires_at=expires_at,
    )


def _download_certificate(address: tuple[str, int]) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # Nothing is sent: only the certificate is needed.
    try:
        with (
            socket.create_connection(address, CONNECT_SECONDS_MAX) as connection,
            context.wrap_socket(connection, server_hostname=address[0]) as tls_connection,
        ):
            certificate = tls_connection.getpeercert(binary_form=True)
    except OSError as error:
        raise _unreachable_error(address, error) from error
    assert certificate is not None
    return certificate


def _verify(address: tuple[str, int]) -> tuple[str, float | None]:
    """Return why the system's certificate authorities do not verify the certificate, or an empty text and its end."""
    try:
        with (
            socket.create_connection(address, CONNECT_SECONDS_MAX) as connection,
            ssl.create_default_context().wrap_socket(connection, server_hostname=address[0]) as tls_connection,
        ):
            not_after = (tls_connection.getpeercert() or {}).get("notAfter")
            return "", ssl.cert_time_to_seconds(not_after) if isinstance(not_after, str) else None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message or str(error), None
    except OSError as error:
        raise _unreachable_error(address, error) from error


def _unreachable_error(address: tuple[str, int], error: OSError) -> Unavailable:
    return Unavailable(
        _("no TLS connection: {error}", error=error.strerror or error),
        location=f"{address[0]}:{address[1]}",
        hint=_("compare host and port with Integrations > API of the PBX; the default port is 8088"),
    )

"""Certificate of the PBX API: configured, or generated and self-signed, as on a PBX.

Invariant: a private key is readable by its owner only (0600), and is either complete or absent under its name.
"""

import ipaddress
import os
import socket
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.messages import _

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509 import oid
else:  # there are no apps at most sites
    ec = DeferredModule("cryptography.hazmat.primitives.asymmetric.ec")
    hashes = DeferredModule("cryptography.hazmat.primitives.hashes")
    oid = DeferredModule("cryptography.x509.oid")
    serialization = DeferredModule("cryptography.hazmat.primitives.serialization")
    x509 = DeferredModule("cryptography.x509")

VALID_DAYS = 3_650
"""Ten years: apps pin the certificate and have to pin a new one again."""

CLOCK_TOLERANCE = timedelta(days=1)
"""Valid from a day before its generation, because clocks differ."""

KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644
COMMON_NAME_CHARACTERS_MAX = 64


def ensure_certificate(certificate: Path, key: Path, host: str, now: datetime) -> None:
    """Generate both files if neither exists. Raises `UsageError` when one of them is missing."""
    if certificate.exists() and key.exists():
        return
    if certificate.exists() or key.exists():
        missing = key if certificate.exists() else certificate
        raise UsageError(
            _("{name} is missing", name=missing.name),
            location=str(missing.parent),
            hint=_("restore it, or remove both"),
        )
    private_key = ec.generate_private_key(ec.SECP256R1())
    signed_certificate = _self_sign(private_key, _alternative_names(host), now)
    plain_key = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_certificate(certificate, key, signed_certificate.public_bytes(serialization.Encoding.PEM), plain_key)


def write_certificate(certificate: Path, key: Path, certificate_pem: bytes, key_pem: bytes) -> None:
    """Write both files. Raises `Unavailable`."""
    _write(key, key_pem, KEY_MODE)
    _write(certificate, certificate_pem, CERTIFICATE_MODE)


def create_tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context for TLS 1.2 or later with this certificate. Raises `UsageError` when it cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # An SSLError is an OSError too.
        raise UsageError(
            _("the certificate cannot be used: {reason}", reason=error.strerror or error),
            location=f"{certificate}, {key}",
            hint=_("name a certificate and its unencrypted key, both PEM"),
        ) from error
    return context


class RenewableTlsContext:
    """The context of a server, which follows its files: new connections get the renewed certificate.

    Invariant: the context always has a certificate and its key. Files that do not fit each other, as while they are
    renewed one by one, change nothing.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both files. Raises `UsageError`."""
        self._certificate = certificate
        self._key = key
        self._loaded_state = self._read_state()
        self.context = create_tls_context(certificate, key)

    def reload(self) -> bool:
        """Load the files where they have changed; return whether they have. Raises `UsageError`, each time."""
        state = self._read_state()
        if state == self._loaded_state:
            return False
        # A key that does not fit would leave the context without one: both are tried in a context of their own.
        create_tls_context(self._certificate, self._key)
        self.context.load_cert_chain(self._certificate, self._key)
        self._loaded_state = state
        return True

    def _read_state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Return what changes when a file is replaced or written again; None of one that cannot be read."""
        return tuple(_read_file_state(path) for path in (self._certificate, self._key))


def _read_file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_fingerprint(certificate: Path) -> str:
    """Return the SHA-256 fingerprint for pinning, in pairs of digits. Raises `OnhookError`."""
    try:
        parsed_certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise OnhookError(
            _("this is not a certificate: {error}", error=error), location=str(certificate), hint=_("name another file")
        ) from error
    return parsed_certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _alternative_names(host: str) -> "list[x509.GeneralName]":
    """Return the machine's name, `localhost`, the loopback addresses and the listening address."""
    hosts = dict.fromkeys([socket.gethostname(), "localhost", "127.0.0.1", "::1", host])
    general_names = (_general_name(host_name) for host_name in hosts if host_name not in ("", "0.0.0.0", "::"))  # noqa: S104 - compared
    return [name for name in general_names if name is not None]


def _general_name(host: str) -> "x509.GeneralName | None":
    """Return an address or a name, or None for a machine name that is neither."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return _dns_name(host)


def _dns_name(host: str) -> "x509.DNSName | None":
    try:
        return x509.DNSName(host.encode("idna").decode())
    except UnicodeError:
        return None


def _self_sign(key: "ec.EllipticCurvePrivateKey", names: "list[x509.GeneralName]", now: datetime) -> "x509.Certificate":
    name = x509.Name(
        [x509.NameAttribute(oid.NameOID.COMMON_NAME, (socket.gethostname() or "onhook")[:COMMON_NAME_CHARACTERS_MAX])]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    partial_path = path.with_name(path.name + ".part")
    try:
        partial_path.unlink(missing_ok=True)
        with os.fdopen(os.open(partial_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(content)
        partial_path.replace(path)
    except OSError as error:
        raise Unavailable(
            _("cannot write {name}: {error}", name=path.name, error=error),
            location=str(path),
            hint=_("free disk space"),
        ) from error

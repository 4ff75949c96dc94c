"""Certificates of a destination for display."""

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from onhook.lib.deferred_module import DeferredModule

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
else:  # few destinations have certificates of their own
    hashes = DeferredModule("cryptography.hazmat.primitives.hashes")
    x509 = DeferredModule("cryptography.x509")


class TrustedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that a destination trusts. `fingerprint` is its SHA-256 in hexadecimal digits."""

    subject: str
    expires_at: datetime
    fingerprint: str


def parse_certificates(pem: str) -> list[TrustedCertificate]:
    """Return the certificates in a text that was validated when it was stored; none in an empty one."""
    certificates = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    return [
        TrustedCertificate(
            subject=certificate.subject.rfc4514_string(),
            expires_at=certificate.not_valid_after_utc,
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        )
        for certificate in certificates
    ]

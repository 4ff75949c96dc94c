"""Certificates in PEM, and fingerprints of certificates."""

import re
import ssl

from onhook.lib.errors import UsageError
from onhook.lib.messages import _

CERTIFICATES_MAX = 20
"""A certificate authority, its predecessor and their intermediates."""

_HEX = re.compile(r"[0-9a-f]{64}")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def normalize_certificates(pem: str) -> str:
    """Return the certificates of a text in PEM, and nothing else of it. Raises `UsageError`."""
    texts = _PEM.findall(pem)
    try:
        certificates = "".join(ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(text)) for text in texts)
        create_trust(certificates)
    except (ValueError, ssl.SSLError) as error:
        raise UsageError(
            _("these are no certificates in PEM"),
            location="ca_certificates",
            hint=_("give the certificates of the authority, which begin with -----BEGIN CERTIFICATE-----"),
        ) from error
    if len(texts) > CERTIFICATES_MAX:
        raise UsageError(
            _("there are more than {maximum} certificates", maximum=CERTIFICATES_MAX),
            location="ca_certificates",
            hint=_("give those that sign the receiver's certificate"),
        )
    return certificates


def create_trust(pem: str) -> ssl.SSLContext:
    """Return the context that trusts these certificates alone, whether they are of an authority or of a server. Raises
    `ValueError`, `ssl.SSLError`.

    Those that companies and devices make for themselves often lack extensions of RFC 5280, which Python 3.13 and later
    require.
    """
    context = ssl.create_default_context(cadata=pem or "none")
    context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
    return context


def parse_fingerprint(text: str) -> str:
    """Return 64 hexadecimal digits, written with or without colons. Raises `UsageError`."""
    digits = "".join(text.replace(":", "").split()).lower()
    if not _HEX.fullmatch(digits):
        raise UsageError(
            _("{text} is not the SHA-256 of a certificate", text=repr(text[:80])),
            location="fingerprint",
            hint=_("write its 64 hexadecimal digits; `onhook pbx trust` shows that of a PBX"),
        )
    return digits


def format_fingerprint(fingerprint: str) -> str:
    """Return a fingerprint as browsers show it.

    >>> format_fingerprint("0aff")
    '0A:FF'
    """
    return ":".join(fingerprint[offset : offset + 2] for offset in range(0, len(fingerprint), 2)).upper()

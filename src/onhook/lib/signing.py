"""Webhook signatures of PBXs: yeastar-p-series.md 4, `X-Signature`."""

import base64
import hmac
from collections.abc import Iterable

SIGNATURE_HEADER = "X-Signature"


def sign(secret: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of the raw body, keyed by the text of the secret, as Base64 (standard, padded, 44
    characters).
    """
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()


def is_signed_by(secrets: Iterable[str], body: bytes, signature: str) -> bool:
    """Return whether the signature belongs to one of the secrets; compared in constant time, surrounding
    blanks ignored.
    """
    signature_bytes = signature.strip().encode(errors="replace")
    return any(hmac.compare_digest(sign(secret, body).encode(), signature_bytes) for secret in secrets)

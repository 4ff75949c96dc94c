"""Codes of authenticator apps: six digits of an HMAC over the number of a step of 30 seconds (RFC 6238, RFC 4226).

These are the values that all apps support, whatever an `otpauth` URL says: SHA-1, six digits, 30 seconds.
"""

import base64
import hmac
import secrets
import struct
from urllib.parse import quote, urlencode

SECRET_BYTES = 20
"""As long as the hash (RFC 4226, 4)."""

DIGITS = 6
STEP_SECONDS = 30

STEPS_AROUND = 1
"""Steps before and after the current one whose codes are accepted: clocks differ (RFC 6238, 5.2)."""


def generate_secret() -> str:
    """Return a new secret in base32, without padding: 32 characters."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def code_of_step(secret: str, step: int) -> str:
    """Return the code of a step.

    >>> code_of_step("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 59 // 30)
    '287082'
    """
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), "sha1")
    offset = digest[-1] & 0xF
    number = struct.unpack_from(">I", digest, offset)[0] & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_step(secret: str, code: str, now_us: int) -> int | None:
    """Return the latest step around the time, in microseconds since 1970, whose code this is, or None. Every step is
    compared, each in constant time.
    """
    current = now_us // (STEP_SECONDS * 1_000_000)
    steps = range(max(0, current - STEPS_AROUND), current + STEPS_AROUND + 1)
    matching = [step for step in steps if hmac.compare_digest(code_of_step(secret, step).encode(), code.encode())]
    return matching[-1] if matching else None


def otpauth_url(secret: str, *, issuer: str, account: str) -> str:
    """Return what the QR code for an app says.

    >>> otpauth_url("GEZDGNBV", issuer="Onhook", account="Ann Lee")
    'otpauth://totp/Onhook:Ann%20Lee?secret=GEZDGNBV&issuer=Onhook'
    """
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer}, quote_via=quote)}"

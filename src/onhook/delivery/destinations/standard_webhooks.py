"""Headers of Standard Webhooks 1.0 (standardwebhooks.com): an id, a time stamp, and a signature per secret.

HMAC-SHA256 signs `id.timestamp.body`; the key is the Base64 after `whsec_`, or the bytes of a usual secret. Signatures
are separated by blanks, each with the prefix `v1,`.
"""

import base64
import hmac
from collections.abc import Iterable

from onhook.appdb.destination_spec import parse_standard_webhooks_key

MICROSECONDS = 1_000_000


def standard_headers(notification_id: str, now_us: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """Return the three headers. `now_us` is in microseconds since 1970; every secret can be used for them."""
    timestamp = str(now_us // MICROSECONDS)
    signed_content = b".".join((notification_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": notification_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed_content)}" for secret in secrets),
    }


def _signature(secret: str, signed_content: bytes) -> str:
    key = parse_standard_webhooks_key(secret)
    return base64.b64encode(hmac.digest(key, signed_content, "sha256")).decode()

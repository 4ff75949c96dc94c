"""Signatures of requests to S3: AWS Signature Version 4, with the hash of the body. Pure.

Source: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)", whose examples the tests have.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

import msgspec

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs, and for which region."""

    access_key: str
    secret: str
    region: str

    def __repr__(self) -> str:
        return f"SigningKey({self.access_key!r}, {self.region!r})"


def encode_path(path: str) -> str:
    """Return the path of a key as it is signed and sent.

    >>> encode_path("/calls/day=2026-11-30/sn=A%2FB")
    '/calls/day%3D2026-11-30/sn%3DA%252FB'
    """
    return quote(path, safe="/-_.~")


def encode_query(query: Mapping[str, str]) -> str:
    """Return a query as it is signed and sent, in order of its names."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))


def sign_request(
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    body: bytes,
    key: SigningKey,
    now: datetime,
) -> dict[str, str]:
    """Return the headers that sign a request, beside those that are given, which have its host. `path` is encoded."""
    time = f"{now:%Y%m%dT%H%M%SZ}"
    body_hash = hashlib.sha256(body).hexdigest()
    added_headers = {"x-amz-content-sha256": body_hash, "x-amz-date": time}
    lines = {name.lower(): " ".join(value.split()) for name, value in {**headers, **added_headers}.items()}
    signed_names = ";".join(sorted(lines))
    canonical_headers = "".join(f"{name}:{lines[name]}\n" for name in sorted(lines))
    canonical = "\n".join([method, path, encode_query(query), canonical_headers, signed_names, body_hash])
    scope = f"{time[:8]}/{key.region}/{SERVICE}/aws4_request"
    text = "\n".join([ALGORITHM, time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = _hmac(_derive_key(key, time[:8]), text).hex()
    credential = f"{key.access_key}/{scope}"
    authorization = f"{ALGORITHM} Credential={credential}, SignedHeaders={signed_names}, Signature={signature}"
    return {**added_headers, "Authorization": authorization}


def _derive_key(key: SigningKey, day: str) -> bytes:
    derived = f"AWS4{key.secret}".encode()
    for text in (day, key.region, SERVICE, "aws4_request"):
        derived = _hmac(derived, text)
    return derived


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

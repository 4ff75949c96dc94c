"""Verification of webhook signatures: finds the registered PBX that sent a request, and rejects all other requests.

A PBX that cannot sign is identified by its source instead. Used for every request, before anything else is decoded.
"""

import base64
import binascii
import secrets

from onhook.lib.signing import is_signed_by
from onhook.pbx.dialect import Envelope
from onhook.receiver.hash_budget import HashBudget, limit_search
from onhook.receiver.pbx_registry import PbxRegistry, RegisteredPbx
from onhook.receiver.verdict import Verdict

SIGNATURE_CHARACTERS = 44
"""Length in Base64 of the 32 bytes of a SHA-256 (yeastar-p-series.md 4); a signature of another length is invalid and
costs no hashing.
"""


_NO_SECRET = (secrets.token_hex(16),)
"""Hashed with where there is no secret, so that the time of an answer is no hint at a registered serial number."""


def read_password(authorization: bytes) -> str:
    """Return the password of Basic credentials (RFC 7617), whatever the user; an empty text where there is none.

    >>> read_password(b"Basic b25ob29rOmV4YW1wbGUtcGFzc3dvcmQ="), read_password(b"Bearer abc")
    ('example-password', '')
    """
    scheme, _, credentials = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def verify_sender(
    registry: PbxRegistry,
    envelope: Envelope,
    body: bytes,
    signature: str,
    *,
    path: str,
    peer: str,
    password: str = "",
    budget: HashBudget,
) -> RegisteredPbx | Verdict:
    """Return the PBX that signed the body or has this source, or the verdict that rejects the request. A search that
    finds none is charged to the `budget`.
    """
    if not envelope.sn:
        source_pbx = None if signature else registry.find_by_source(path, peer, password)
        return source_pbx or _find_signing_pbx(registry, body, signature, budget)
    sender = registry.find_by_sn(envelope.sn)
    if sender is not None and sender.is_unsigned:
        return sender
    is_signed = is_signed_by((sender.secrets if sender else ()) or _NO_SECRET, body, signature)
    if sender is None:
        return "unknown_pbx"
    if is_signed:
        return sender
    if sender.is_identified_by_source:
        return sender if sender.matches_source(path, peer) else "unexpected_source"
    return _reject_signature(signature)


def _find_signing_pbx(
    registry: PbxRegistry, body: bytes, signature: str, budget: HashBudget
) -> RegisteredPbx | Verdict:
    """Find the sender of a body that names none, by the secret that signs it (test messages and some events:
    yeastar-p-series.md 1). Where too much was hashed for other requests that were rejected, the sender is to try again.
    """
    if len(signature.strip()) != SIGNATURE_CHARACTERS:
        return _reject_signature(signature)
    if budget.is_spent:
        return "too_many"
    candidates = list(limit_search(registry.list_all(), len(body)))
    for candidate in candidates:
        if is_signed_by(candidate.secrets, body, signature):
            return candidate
    budget.charge(candidates, len(body))
    return "invalid_signature"


def _reject_signature(signature: str) -> Verdict:
    return "invalid_signature" if signature else "missing_signature"

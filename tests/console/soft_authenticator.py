"""An authenticator in software: makes passkeys and signs with them, right or wrong in one detail."""

import base64
import hashlib
import json
import secrets
import struct
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, HAS_CREDENTIAL = 0x01, 0x04, 0x40


def encode_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class SoftAuthenticator:
    """One passkey, for the browser of the pages at one origin."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.credential_id = secrets.token_bytes(32)
        self.user_handle = b""
        self.sign_count = 0
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: dict[str, Any], *, flags: int = PRESENT | VERIFIED) -> str:
        """Return the answer of `navigator.credentials.create()`, as JSON."""
        self.user_handle = decode_base64url(options["user"]["id"])
        numbers = self._key.public_key().public_numbers()
        public_key = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )
        credential = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + public_key
        data = self._authenticator_data(options["rp"]["id"], flags | HAS_CREDENTIAL) + credential
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", options["challenge"])
        return self._answer(
            attestationObject=encode_base64url(attestation), clientDataJSON=encode_base64url(client_data)
        )

    def get(self, options: dict[str, Any], *, flags: int = PRESENT | VERIFIED, rp_id: str = "") -> str:
        """Return the answer of `navigator.credentials.get()`, as JSON."""
        self.sign_count += 1
        data = self._authenticator_data(rp_id or options["rpId"], flags)
        client_data = self._client_data("webauthn.get", options["challenge"])
        signature = self._key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256()))
        return self._answer(
            authenticatorData=encode_base64url(data),
            clientDataJSON=encode_base64url(client_data),
            signature=encode_base64url(signature),
            userHandle=encode_base64url(self.user_handle),
        )

    def _authenticator_data(self, rp_id: str, flags: int) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, self.sign_count)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _answer(self, **response: str) -> str:
        identifier = encode_base64url(self.credential_id)
        return json.dumps(
            {
                "id": identifier,
                "rawId": identifier,
                "type": "public-key",
                "response": response,
                "clientExtensionResults": {},
            }
        )

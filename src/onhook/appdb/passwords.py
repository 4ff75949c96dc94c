"""Stored forms of passwords: Argon2id; those of earlier versions are scrypt, until their user signs in again."""

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

if TYPE_CHECKING:
    import argon2
    from argon2 import exceptions as argon2_exceptions
else:
    argon2 = DeferredModule("argon2")
    argon2_exceptions = DeferredModule("argon2.exceptions")

PASSWORD_CHARACTERS_MIN = 12
"""Three short words. A longer password is better than a complicated one."""

PASSWORD_CHARACTERS_MAX = 200
"""A longer password is an attack and is not hashed."""

TIME_COST = 3
MEMORY_KIB = 32 * 1024
"""32 MiB and some 80 ms per try: a thief of the file makes few tries, a person waits briefly. RFC 9106 demands three
passes for less memory than 2 GiB; the memory is that of four concurrent checks (`auth.failures`).
"""

_ARGON2_PREFIX = b"$argon2id$"
_UNKNOWN_HASH = b"$argon2id$v=19$m=32768,t=3,p=1$" + b"A" * 22 + b"$" + b"A" * 43
"""Compared with for an unknown user, with the same cost; no password has it."""

_SCRYPT: dict[str, Any] = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024, "dklen": 32}
_SCRYPT_SALT_BYTES = 16


def validate_password(password: str) -> str:
    """Return the password. Raises `UsageError`, never showing it. Blanks at the ends, repeated ones and what cannot be
    seen make no password longer.
    """
    words = "".join(character if character.isprintable() else " " for character in password).split()
    count = len(password) if len(password) > PASSWORD_CHARACTERS_MAX else len(" ".join(words))
    if not PASSWORD_CHARACTERS_MIN <= count <= PASSWORD_CHARACTERS_MAX:
        raise UsageError(
            _("a password cannot have {count} characters", count=count),
            hint=_(
                "use {minimum} to {maximum}: a few words are good",
                minimum=PASSWORD_CHARACTERS_MIN,
                maximum=PASSWORD_CHARACTERS_MAX,
            ),
        )
    return password


def hash_password(password: str) -> bytes:
    """Return the stored form of a password. Takes some 80 ms: call it in a thread."""
    return _hasher().hash(_encode(password)).encode()


def verify_password(password: str, password_hash: bytes | None) -> bool:
    """Return whether this is the password; takes as long for an unknown user. Call it in a thread."""
    text = _encode(password[:PASSWORD_CHARACTERS_MAX])
    password_hash = password_hash or _UNKNOWN_HASH
    if not password_hash.startswith(_ARGON2_PREFIX):
        salt = password_hash[:_SCRYPT_SALT_BYTES]
        return hmac.compare_digest(hashlib.scrypt(text, salt=salt, **_SCRYPT), password_hash[_SCRYPT_SALT_BYTES:])
    try:
        return _hasher().verify(password_hash, text)
    except (argon2_exceptions.VerificationError, argon2_exceptions.InvalidHashError):
        return False


def is_outdated_hash(password_hash: bytes) -> bool:
    """Return whether a stored form is of another kind, or cost, than those that are made now."""
    if not password_hash.startswith(_ARGON2_PREFIX):
        return True
    return _hasher().check_needs_rehash(password_hash.decode())


def _hasher() -> "argon2.PasswordHasher":
    return argon2.PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1, hash_len=32, salt_len=16)


def _encode(password: str) -> bytes:
    return password.encode(errors="replace")

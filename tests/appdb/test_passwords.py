"""Stored forms of passwords."""

import hashlib
import time

import pytest

from onhook.appdb import passwords
from onhook.appdb.passwords import (
    PASSWORD_CHARACTERS_MAX,
    hash_password,
    is_outdated_hash,
    validate_password,
    verify_password,
)
from onhook.lib.errors import UsageError

PASSWORD = "three short words"


def scrypt_hash(password: str) -> bytes:
    """Return a stored form of an earlier version."""
    salt = b"0123456789abcdef"
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=32)


def test_hash_password_is_verified_and_has_a_salt_of_its_own(
    password_costs: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "TIME_COST", password_costs[0])
    monkeypatch.setattr(passwords, "MEMORY_KIB", password_costs[1])
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second
    assert first.startswith(b"$argon2id$v=19$m=32768,t=3,p=1$")
    assert verify_password(PASSWORD, first)
    assert not verify_password(PASSWORD + "!", first)
    assert not is_outdated_hash(first)


def test_verify_password_of_an_unknown_user_takes_as_long_as_a_wrong_one(
    password_costs: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By processor time, which other processes do not change, one beside the other."""
    monkeypatch.setattr(passwords, "TIME_COST", password_costs[0])
    monkeypatch.setattr(passwords, "MEMORY_KIB", password_costs[1])

    def measure(password_hash: bytes | None) -> float:
        began_at = time.thread_time()
        assert not verify_password("wrong password", password_hash)
        return time.thread_time() - began_at

    stored = hash_password(PASSWORD)
    pairs = [(measure(None), measure(stored)) for _number in range(3)]
    unknown_seconds, wrong_seconds = (min(times) for times in zip(*pairs, strict=True))
    assert 0.5 < unknown_seconds / wrong_seconds < 2


def test_verify_password_unknown_user_or_damaged_hash_is_false() -> None:
    for stored in (None, b"", b"$argon2id$damaged", b"short"):
        assert not verify_password(PASSWORD, stored)


def test_verify_password_of_an_earlier_version_is_accepted_and_outdated() -> None:
    stored = scrypt_hash(PASSWORD)
    assert verify_password(PASSWORD, stored)
    assert not verify_password(PASSWORD + "!", stored)
    assert is_outdated_hash(stored)


def test_is_outdated_hash_of_another_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = hash_password(PASSWORD)
    monkeypatch.setattr(passwords, "TIME_COST", 2)
    assert is_outdated_hash(stored)
    assert verify_password(PASSWORD, stored)


def test_verify_password_of_any_text_and_length_ends() -> None:
    assert not verify_password("\ud800" * 100_000, hash_password(PASSWORD))


def test_validate_password_length() -> None:
    assert validate_password(PASSWORD) == PASSWORD
    for password in ("short", "x" * (PASSWORD_CHARACTERS_MAX + 1), f"short{' ' * 20}"):
        with pytest.raises(UsageError) as error:
            validate_password(password)
        assert password not in str(error.value)


@pytest.mark.parametrize("character", [" ", "\t", "\u00a0", "\u3000", "\u200b", "\u00ad", "\0", "\u2028"])
def test_validate_password_of_what_cannot_be_seen_is_none(character: str) -> None:
    for password in (character * 12, character * PASSWORD_CHARACTERS_MAX, f"a{character * 20}b"):
        with pytest.raises(UsageError, match="cannot have"):
            validate_password(password)

"""Codes of authenticator apps, against the values of RFC 6238 and RFC 4226."""

import base64
import re

import pytest

from onhook.lib.totp import STEP_SECONDS, code_of_step, find_step, generate_secret, otpauth_url

SECRET = base64.b32encode(b"12345678901234567890").decode()
"""That of both documents."""


@pytest.mark.parametrize(
    ("seconds", "code"),
    [  # RFC 6238, appendix B, without the first two of eight digits
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ],
)
def test_code_is_that_of_the_rfc(seconds: int, code: str) -> None:
    assert code_of_step(SECRET, seconds // STEP_SECONDS) == code


def test_codes_of_the_first_steps_are_those_of_rfc_4226() -> None:
    codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [code_of_step(SECRET, step) for step in range(10)] == codes


def test_step_is_found_one_before_and_after() -> None:
    step = 40_000_000
    now_us = (step * STEP_SECONDS + 7) * 1_000_000
    found_steps = [find_step(SECRET, code_of_step(SECRET, step + n), now_us) for n in range(-2, 3)]
    assert found_steps == [None, step - 1, step, step + 1, None]
    for text in ("", "12345", "1234567", "ääääää", "٢٨٧٠٨٢"):
        assert find_step(SECRET, text, now_us) is None
    assert find_step(SECRET, code_of_step(SECRET, 0), 0) == 0


def test_secrets_are_twenty_random_bytes() -> None:
    first, second = generate_secret(), generate_secret()
    assert first != second
    assert re.fullmatch(r"[A-Z2-7]{32}", first)
    assert len(base64.b32decode(first)) == 20


def test_otpauth_url_has_every_name_quoted() -> None:
    url = otpauth_url(SECRET, issuer="On hook", account="a:b/ü?&")
    assert url == f"otpauth://totp/On%20hook:a%3Ab%2F%C3%BC%3F%26?secret={SECRET}&issuer=On%20hook"

"""Certificates in PEM and fingerprints."""

from pathlib import Path

import pytest

from onhook.lib.certificates import CERTIFICATES_MAX, normalize_certificates, parse_fingerprint
from onhook.lib.errors import UsageError
from tests.server_certificates import create_server_certificate


def test_parse_fingerprint_accepts_any_notation() -> None:
    """Those of browsers, PBXs and openssl."""
    assert parse_fingerprint("AB:" * 31 + "CD") == parse_fingerprint("ab " * 31 + "cd") == "ab" * 31 + "cd"


@pytest.mark.parametrize("text", ["ab" * 20, "xy" * 32, "ab" * 33, ":"])
def test_parse_fingerprint_other_text_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="not the SHA-256"):
        parse_fingerprint(text)


def test_normalize_certificates_keeps_all_of_a_chain(tmp_path: Path) -> None:
    certificate = create_server_certificate(tmp_path, "localhost")
    chain = certificate.server_pem + certificate.authority_pem
    assert normalize_certificates(f"Issuer: none\r\n{chain.replace(chr(10), chr(13) + chr(10))}") == chain


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"])
def test_normalize_certificates_text_without_any_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="no certificates in PEM"):
        normalize_certificates(text)


def test_normalize_certificates_number_is_limited(tmp_path: Path) -> None:
    pem = create_server_certificate(tmp_path, "localhost").authority_pem
    with pytest.raises(UsageError, match="more than 20 certificates"):
        normalize_certificates(pem * (CERTIFICATES_MAX + 1))

"""Certificate of the PBX API: its names, the permissions of its key, and errors."""

import asyncio
import hashlib
import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from onhook.lib.errors import UsageError
from onhook.pbx_api.certificate import RenewableTlsContext, create_tls_context, ensure_certificate, read_fingerprint
from tests.pbx_api.harness import NOW


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "pbx_api.crt", tmp_path / "pbx_api.key"


def test_certificate_is_generated_for_this_machine(files: tuple[Path, Path]) -> None:
    """For its name, the loopback, and the address that is listened on; for ten years; the key for its owner alone."""
    ensure_certificate(*files, "192.0.2.7", NOW)
    certificate = x509.load_pem_x509_certificate(files[0].read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", "::1", "192.0.2.7"} <= addresses
    assert certificate.not_valid_before_utc < NOW
    assert certificate.not_valid_after_utc > NOW + timedelta(days=3_649)
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600
    assert len(read_fingerprint(files[0]).split(":")) == 32


def test_certificate_is_generated_once(files: tuple[Path, Path]) -> None:
    """Apps pin it."""
    ensure_certificate(*files, "127.0.0.1", NOW)
    first = files[0].read_bytes()
    ensure_certificate(*files, "127.0.0.1", NOW)
    assert files[0].read_bytes() == first
    create_tls_context(*files)


def test_certificate_missing_half_is_an_error(files: tuple[Path, Path]) -> None:
    """Neither file is overwritten."""
    files[1].write_text("a key")
    with pytest.raises(UsageError, match=r"pbx_api\.crt is missing"):
        ensure_certificate(*files, "127.0.0.1", NOW)
    assert files[1].read_text() == "a key"


def test_certificate_invalid_file_is_an_error(files: tuple[Path, Path]) -> None:
    """Which names the files."""
    for file in files:
        file.write_text("invalid")
    with pytest.raises(UsageError, match="the certificate cannot be used"):
        create_tls_context(*files)


async def _read_served_fingerprint(context: ssl.SSLContext) -> str:
    """Return the fingerprint that a client sees, in pairs of digits."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    async with server:
        _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client_context)
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
    return hashlib.sha256(certificate).digest().hex(":").upper()


async def test_certificate_that_is_renewed_is_used_by_new_connections(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Only when both files are there: until then the earlier one is used, and each look is an error."""
    ensure_certificate(*files, "127.0.0.1", NOW)
    tls = RenewableTlsContext(*files)
    first = read_fingerprint(files[0])
    assert not tls.reload()
    renewed = tmp_path / "renewed.crt", tmp_path / "renewed.key"
    ensure_certificate(*renewed, "127.0.0.1", NOW)
    renewed[0].replace(files[0])
    for _look in range(2):
        with pytest.raises(UsageError, match="the certificate cannot be used"):
            tls.reload()
    assert await _read_served_fingerprint(tls.context) == first
    renewed[1].replace(files[1])
    assert tls.reload()
    assert not tls.reload()
    assert await _read_served_fingerprint(tls.context) == read_fingerprint(files[0]) != first

"""Certificates of servers, made for a test."""

import datetime as dt
import ssl
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

YEARS = dt.timedelta(days=3650)


class ServerCertificate(msgspec.Struct, frozen=True):
    """A server's TLS context, the PEM of its authority and its own, and its SHA-256."""

    context: ssl.SSLContext
    authority_pem: str
    server_pem: str
    fingerprint: str


def create_server_certificate(directory: Path, host: str) -> ServerCertificate:
    """Return a certificate for this name and 127.0.0.1, signed by an authority of its own."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _sign(_builder("Test Authority", "Test Authority", authority_key, is_authority=True), authority_key)
    builder = _builder(host, "Test Authority", server_key, is_authority=False)
    server = _sign(builder, authority_key)
    pem = _pem(server)
    key_pem = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate_file, key_file = directory / "server.pem", directory / "server.key"
    certificate_file.write_text(pem)
    key_file.write_bytes(key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file, key_file)
    return ServerCertificate(context, _pem(authority), pem, server.fingerprint(hashes.SHA256()).hex())


def _builder(name: str, issuer: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - YEARS)
        .not_valid_after(now + YEARS)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder if is_authority else builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()

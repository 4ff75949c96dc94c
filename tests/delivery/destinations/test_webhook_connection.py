"""Certificates and proxies of webhooks, against real servers and a real proxy."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from onhook.appdb.destination_spec import DestinationSpec, validate_spec
from onhook.config import Config
from onhook.delivery.certificates import parse_certificates
from onhook.delivery.destinations.contract import DeliveryResult, Notification
from onhook.delivery.destinations.opening import destination_opener
from onhook.lib.certificates import format_fingerprint
from onhook.lib.errors import UsageError
from tests.delivery.harness import WebhookReceiver
from tests.server_certificates import ServerCertificate, create_server_certificate


@pytest.fixture
def certificate(tmp_path: Path) -> ServerCertificate:
    return create_server_certificate(tmp_path, "localhost")


@pytest.fixture
async def receiver(certificate: ServerCertificate) -> AsyncIterator[WebhookReceiver]:
    """Yield a receiver over TLS, whose authority the system does not trust."""
    async with WebhookReceiver().listen(certificate.context) as listening:
        yield listening


@pytest.fixture
async def plain_receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver().listen() as listening:
        yield listening


class Proxy:
    """An HTTP proxy: connects to whatever address it is asked for, if the credentials are right."""

    def __init__(self, credentials: str = "") -> None:
        self.requests: list[str] = []
        self.url = ""
        self._credentials = base64.b64encode(credentials.encode()).decode()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head.splitlines()[0])
        if self._credentials and f"Proxy-Authorization: Basic {self._credentials}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        method, target, _version = head.splitlines()[0].split(" ")
        parts = urlsplit(target if method != "CONNECT" else f"//{target}")
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            far_writer.write(head.replace(target, parts.path, 1).encode())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, far_writer))
            tasks.create_task(_copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def _send(url: str, config: Config | None = None, **settings: Any) -> DeliveryResult:
    values: dict[str, Any] = {"url": url, "allow_private": True} | settings
    client = destination_opener(config or Config())(validate_spec(DestinationSpec(**values)), ())
    try:
        return (await client.send([Notification("abc-1", b"{}", 1)]))[0]
    finally:
        await client.close()


# Certificates


async def test_webhook_unknown_authority_is_not_trusted(receiver: WebhookReceiver) -> None:
    result = await _send(receiver.url)
    assert result.outcome == "unreachable"
    assert result.detail.startswith("the certificate is not trusted: ")
    assert receiver.bodies == []


@pytest.mark.parametrize("is_server", [False, True])
async def test_webhook_certificates_of_the_destination_are_trusted(
    receiver: WebhookReceiver, certificate: ServerCertificate, is_server: bool
) -> None:
    """That of the authority, or that of the server itself."""
    pem = certificate.server_pem if is_server else certificate.authority_pem
    assert (await _send(receiver.url, ca_certificates=f"Text before.\n{pem}")).outcome == "accepted"


async def test_webhook_certificates_of_the_destination_replace_those_of_the_system(
    receiver: WebhookReceiver, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = create_server_certificate(tmp_path / "other", "localhost")
    assert (await _send(receiver.url, ca_certificates=other.authority_pem)).outcome == "unreachable"


async def test_webhook_certificates_do_not_excuse_another_name(
    receiver: WebhookReceiver, certificate: ServerCertificate
) -> None:
    url = receiver.url.replace("localhost", "127.0.0.1")
    result = await _send(url, ca_certificates=certificate.authority_pem)
    assert "the certificate is not trusted: " in result.detail


async def test_webhook_pinned_certificate_is_trusted(receiver: WebhookReceiver, certificate: ServerCertificate) -> None:
    fingerprint = format_fingerprint(certificate.fingerprint)
    assert (await _send(receiver.url, fingerprint=fingerprint)).outcome == "accepted"


async def test_webhook_other_certificate_than_the_pinned_one_is_refused(
    receiver: WebhookReceiver, certificate: ServerCertificate
) -> None:
    result = await _send(receiver.url.replace("localhost", "127.0.0.1"), fingerprint="ab" * 32)
    assert result.outcome == "unreachable"
    assert format_fingerprint(certificate.fingerprint) in result.detail
    assert receiver.bodies == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ca_certificates": "no PEM"}, "no certificates in PEM"),
        ({"ca_certificates": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "no certificates"),
        ({"fingerprint": "abcd"}, "not the SHA-256 of a certificate"),
        ({"fingerprint": "ab" * 32, "url": "http://192.0.2.1/"}, "no certificate without TLS"),
        ({"proxy": "https://proxy.example:3128"}, "not the URL of a proxy"),
        ({"proxy": "http://user:geheim@proxy.example"}, "not the URL of a proxy"),
        ({"proxy": "http://0x7f.1:3128"}, "not the URL of a proxy"),
    ],
)
def test_validate_spec_invalid_connection_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        validate_spec(DestinationSpec(**{"url": "https://192.0.2.1/", **settings}))
    assert "geheim" not in str(error.value)


def test_validate_spec_certificates_and_fingerprint_exclude_each_other(certificate: ServerCertificate) -> None:
    spec = DestinationSpec(
        url="https://a/", ca_certificates=certificate.authority_pem, fingerprint=certificate.fingerprint
    )
    with pytest.raises(UsageError, match="a pinned certificate needs no certificate authority"):
        validate_spec(spec)


def test_validate_spec_keeps_certificates_alone(certificate: ServerCertificate) -> None:
    """A private key that stands in the same file is not stored."""
    text = f"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n{certificate.authority_pem}"
    stored = validate_spec(DestinationSpec(url="https://a/", ca_certificates=text)).ca_certificates
    assert stored == certificate.authority_pem
    assert [parsed.subject for parsed in parse_certificates(stored)] == ["CN=Test Authority"]


# Proxies


async def test_webhook_proxy_is_asked_for_the_checked_address(
    receiver: WebhookReceiver, certificate: ServerCertificate
) -> None:
    """With a password; the certificate is verified by the name."""
    async with Proxy("onhook:geheim").listen() as proxy:
        url = proxy.url.replace("http://", "http://onhook:geheim@")
        result = await _send(receiver.url, proxy=url, ca_certificates=certificate.authority_pem)
    port = urlsplit(receiver.url).port
    assert (result.outcome, result.detail) == ("accepted", "HTTP 200 OK")
    assert proxy.requests == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"]
    assert receiver.headers[0]["Host"] == f"localhost:{port}"


async def test_webhook_proxy_pinned_certificate_is_checked(receiver: WebhookReceiver) -> None:
    async with Proxy().listen() as proxy:
        result = await _send(receiver.url, proxy=proxy.url, fingerprint="ab" * 32)
    assert result.detail.startswith("the certificate is not the pinned one")
    assert receiver.bodies == []


async def test_webhook_proxy_forwards_plain_http(plain_receiver: WebhookReceiver) -> None:
    async with Proxy().listen() as proxy:
        assert (await _send(plain_receiver.url, proxy=proxy.url)).outcome == "accepted"
    assert proxy.requests == [f"POST {plain_receiver.url} HTTP/1.1"]


async def test_webhook_proxy_of_the_configuration_is_used_unless_the_destination_has_none(
    plain_receiver: WebhookReceiver,
) -> None:
    async with Proxy().listen() as proxy:
        config = Config(proxy=proxy.url)
        await _send(plain_receiver.url, config)
        await _send(plain_receiver.url, config, proxy="none")
    assert (len(proxy.requests), len(plain_receiver.bodies)) == (1, 2)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/calls", "http://localhost:{port}/", "https://localhost:{port}/"]
)
async def test_webhook_proxy_is_not_asked_for_private_addresses(plain_receiver: WebhookReceiver, url: str) -> None:
    """The proxy itself is in a private network."""
    async with Proxy().listen() as proxy:
        port = urlsplit(plain_receiver.url).port
        result = await _send(url.format(port=port), proxy=proxy.url, allow_private=False)
    assert "is a private address" in result.detail
    assert (proxy.requests, plain_receiver.bodies) == ([], [])


async def test_webhook_proxy_name_without_address_is_not_sent() -> None:
    async with Proxy().listen() as proxy:
        result = await _send("https://crm.invalid/", proxy=proxy.url)
    assert result.detail.startswith("crm.invalid has no address: ")
    assert proxy.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_webhook_proxy_that_refuses_is_named_without_its_password(
    plain_receiver: WebhookReceiver, scheme: str
) -> None:
    async with Proxy("onhook:right").listen() as proxy:
        url = proxy.url.replace("http://", "http://onhook:geheim@")
        result = await _send(plain_receiver.url.replace("http", scheme, 1), proxy=url)
    assert result.outcome != "accepted"
    assert "407" in result.detail
    assert "geheim" not in repr(result)


async def test_webhook_proxy_that_is_down_is_named() -> None:
    result = await _send("http://127.0.0.1:9/", proxy="http://onhook:geheim@127.0.0.1:9")
    assert result.detail.startswith("cannot connect to the proxy 127.0.0.1:9: ")
    assert "geheim" not in repr(result)


async def test_webhook_proxy_on_a_metadata_service_is_refused() -> None:
    result = await _send("http://93.184.216.34/", proxy="http://169.254.169.254:80")
    assert "169.254.169.254 is a private address" in result.detail

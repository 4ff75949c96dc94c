"""Addresses when they are set: literal ones, and those that names lead to, with real name servers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.config import Config
from onhook.delivery import ssrf_guard
from onhook.delivery.address_check import check_change, check_destination, check_pbx_host
from onhook.delivery.ssrf_guard import SsrfGuard, check_address
from onhook.lib.errors import UsageError
from onhook.lib.hosts import parse_host

REFUSED = (
    "http://127.0.0.1/", "http://2130706433/", "http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://127.1/",
    "http://①②⑦.0.0.1/", "http://localhost/", "http://localhost./", "http://LOCALHOST:8080/x", "http://crm.localhost/",
    "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://[2002:a00:1::]/", "http://[64:ff9b::10.0.0.1]/",
    "http://10.0.0.7/", "http://192.168.1.1:8080/", "http://100.64.0.1/", "http://[fd00::1]/",
)  # fmt: skip
NEVER = (
    "http://169.254.169.254/x", "http://2852039166/", "http://[fe80::1%25eth0]/", "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://0/", "http://224.0.0.1/",
)  # fmt: skip


def spec(url: str, **changes: Any) -> DestinationSpec:
    return DestinationSpec(url=url, **changes)


def destination(url: str, **changes: Any) -> Destination:
    return Destination(
        url=url, destination_id=1, name="CRM", state="active", reason="", failing_since=None, retry_after=None,
        attempts_succeeded=0, attempts_failed=0, app="", created_at=datetime(2026, 4, 27, tzinfo=UTC), secrets=1,
        revision=1, **changes,
    )  # fmt: skip


class NameServer(asyncio.DatagramProtocol):
    """A name server that answers each question for an IPv4 address with `address`, or never where it is empty."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.questions = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.questions += 1
        if not self._address:
            return
        question = data[12 : data.index(b"\0", 12) + 5]
        is_ipv4 = question[-4:-2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + bytes(map(int, self._address.split("."))) if is_ipv4 else b""
        header = data[:2] + b"\x81\x80\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0"
        cast("asyncio.DatagramTransport", self._transport).sendto(header + question + answer, address)


@asynccontextmanager
async def name_server(address: str) -> AsyncIterator[tuple[NameServer, aiohttp.AsyncResolver]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(address), local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    resolver = aiohttp.AsyncResolver(nameservers=[f"127.0.0.1:{port}"])
    try:
        yield server, resolver
    finally:
        await resolver.close()
        transport.close()


@pytest.mark.parametrize("url", REFUSED)
async def test_check_destination_private_address_needs_permission(url: str) -> None:
    with pytest.raises(UsageError, match="not a public address") as error:
        await check_destination(Config(), spec(url))
    assert (error.value.location, "--allow-private" in error.value.hint) == ("url", True)
    assert await check_destination(Config(), spec(url, allow_private=True)) == []


@pytest.mark.parametrize("url", NEVER)
async def test_check_destination_special_address_needs_the_setting(url: str) -> None:
    with pytest.raises(UsageError, match="not a public address") as error:
        await check_destination(Config(), spec(url, allow_private=True))
    assert error.value.hint == "only the setting private_networks allows it"
    networks = "0.0.0.0/0,::/0"
    assert await check_destination(Config(private_networks=networks), spec(url)) == []


@pytest.mark.parametrize("url", ["https://93.184.216.34/", "https://[2606:2800:220:1::1]/"])
async def test_check_destination_public_address_is_accepted(url: str) -> None:
    assert await check_destination(Config(), spec(url)) == []


async def test_check_destination_unknown_name_is_a_warning() -> None:
    (warning,) = await check_destination(Config(), spec("https://crm.invalid/"))
    assert warning.startswith("crm.invalid has no address now: ")


async def test_check_address_name_that_leads_to_private_address_is_refused() -> None:
    async with name_server("10.0.0.7") as (_, resolver):
        with pytest.raises(UsageError, match=r"crm\.example leads to 10\.0\.0\.7, which is not a public address"):
            await check_address(parse_host("crm.example"), SsrfGuard(False), location="url", resolver=resolver)
        host = parse_host("crm.example")
        assert await check_address(host, SsrfGuard(True), location="url", resolver=resolver) == ""


async def test_check_address_name_that_leads_to_public_address_is_accepted() -> None:
    async with name_server("93.184.216.34") as (_, resolver):
        assert await check_address(parse_host("crm.example."), SsrfGuard(False), location="", resolver=resolver) == ""


async def test_check_address_silent_name_server_is_a_warning_within_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop serves others meanwhile."""
    monkeypatch.setattr(ssrf_guard, "RESOLVE_SECONDS_MAX", 0.3)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    task = asyncio.create_task(tick())
    async with name_server("") as (server, resolver):
        started_at = time.monotonic()
        warning = await check_address(parse_host("crm.example"), SsrfGuard(False), location="url", resolver=resolver)
    task.cancel()
    assert warning == "crm.example has no address now: no answer within 0.3 seconds"
    assert time.monotonic() - started_at < 10 * 0.3
    assert server.questions
    assert ticks >= 3


async def test_check_change_other_field_is_not_checked() -> None:
    assert await check_change(Config(), destination("http://10.0.0.7/"), {"timeout_seconds": 3.0, "name": "BI"}) == []


async def test_check_change_new_private_url_is_refused() -> None:
    with pytest.raises(UsageError, match="not a public address"):
        await check_change(Config(), destination("https://93.184.216.34/"), {"url": "http://10.0.0.7/"})


async def test_check_change_new_url_keeps_the_permission() -> None:
    assert (
        await check_change(Config(), destination("http://10.0.0.6/", allow_private=True), {"url": "http://10.0.0.7/"})
        == []
    )


async def test_check_change_revoked_permission_is_a_warning() -> None:
    (warning,) = await check_change(
        Config(), destination("http://10.0.0.7/", allow_private=True), {"allow_private": False}
    )
    assert "10.0.0.7 is not a public address" in warning


async def test_check_change_of_the_command_line_moves_headers_and_password() -> None:
    """The command can read them."""
    old = destination("postgresql://o@127.0.0.1/calls", kind="postgresql", allow_private=True)
    changes = {"url": "postgresql://o@127.0.0.2/calls"}
    with pytest.raises(UsageError, match="password belongs to another host"):
        await check_change(Config(), old, changes)
    assert await check_change(Config(), old, changes, may_move_secrets=True) == []


async def test_check_pbx_host_private_address_is_accepted() -> None:
    assert await check_pbx_host(Config(), "192.168.1.10", location="--api") == ""


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "fe80::1", "0.0.0.0", "a b", ""])  # noqa: S104
async def test_check_pbx_host_address_of_no_pbx_is_refused(host: str) -> None:
    with pytest.raises(UsageError) as error:
        await check_pbx_host(Config(), host, location="--api")
    assert error.value.location == "--api"


@pytest.mark.parametrize(
    ("url", "proxy", "is_refused"),
    [
        ("http://127.0.0.1/calls", "http://127.0.0.2:3128", True),
        ("http://127.0.0.1/calls", "http://127.0.0.3:3129", True),
        ("http://127.0.0.1/calls", "http://user:pw@127.0.0.3:3128", False),
        ("http://127.0.0.1/calls", "none", False),
        ("http://127.0.0.1/calls", "", False),
        ("https://127.0.0.1/calls", "http://127.0.0.2:3128", False),
    ],
)
async def test_check_change_of_a_proxy_that_reads_stored_headers_is_refused(
    url: str, proxy: str, is_refused: bool
) -> None:
    """That of the installation is the operator's, and none reads what TLS protects."""
    old = destination(url, allow_private=True, headers={"X-Key": "hush"}, proxy="http://127.0.0.3:3128")
    if is_refused:
        with pytest.raises(UsageError, match="another proxy would read"):
            await check_change(Config(), old, {"proxy": proxy})
    else:
        assert await check_change(Config(), old, {"proxy": proxy}) == []
    assert await check_change(Config(), old, {"proxy": proxy, "headers": {"X-Key": "new"}}) == []

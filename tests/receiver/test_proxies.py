"""PBXs behind a proxy: the stored peer is the client that a trusted proxy names."""

from pathlib import Path

import pytest

from tests.factories import proxy_header
from tests.receiver.harness import RAW_EVENT, make_request, open_receiver, statuses

CLIENT, PROXY = "192.0.2.7", "127.0.0.1"
PREAMBLE = proxy_header(CLIENT, PROXY)
REQUEST = make_request(RAW_EVENT)


async def received_from(path: Path, trusted_proxies: tuple[str, ...], *parts: bytes) -> str:
    """Return the stored peer of an event that is sent in parts."""
    async with open_receiver(path / "ledger.db", trusted_proxies=trusted_proxies) as receiver:
        assert statuses(await receiver.send(*parts)) == [200]
        (raw_event,) = await receiver.ledger.read(0, 10)
        return raw_event.peer


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": CLIENT},
        {"Forwarded": f"for={CLIENT};proto=https"},
        {"x_forwarded_for": f"1.1.1.1, {CLIENT}"},
    ],
)
async def test_proxy_headers_name_the_peer_if_it_is_trusted(tmp_path: Path, headers: dict[str, str]) -> None:
    request = make_request(RAW_EVENT, **headers)
    assert await received_from(tmp_path, (PROXY,), request) == CLIENT


async def test_proxy_headers_of_an_untrusted_peer_change_nothing(tmp_path: Path) -> None:
    request = make_request(RAW_EVENT, X_Forwarded_For=CLIENT, Forwarded=f"for={CLIENT}")
    assert await received_from(tmp_path, (), request) == PROXY


@pytest.mark.parametrize(
    "parts",
    [
        (PREAMBLE + REQUEST,),
        (PREAMBLE[:5], PREAMBLE[5:20], PREAMBLE[20:] + REQUEST[:9], REQUEST[9:]),
        (PREAMBLE, REQUEST),
    ],
    ids=["at once", "in parts", "apart"],
)
async def test_proxy_protocol_names_the_peer_if_it_is_trusted(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    assert await received_from(tmp_path, (PROXY,), *parts) == CLIENT


async def test_proxy_protocol_is_optional_for_a_trusted_peer(tmp_path: Path) -> None:
    assert await received_from(tmp_path, (PROXY,), REQUEST[:3], REQUEST[3:]) == PROXY


async def test_proxy_protocol_of_an_untrusted_peer_is_invalid_http(tmp_path: Path) -> None:
    async with open_receiver(tmp_path / "ledger.db") as receiver:
        assert statuses(await receiver.send(PREAMBLE + REQUEST)) == [400]
        assert await receiver.count_raw_events() == 0

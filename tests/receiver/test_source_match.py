"""PBXs that cannot sign: identified by their address or by a secret path, and by nothing else."""

import json
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from onhook.config import Address
from onhook.ledger.contract import RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.pbx.newcdr.payload import NewCdr
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.http_server import WebhookServer
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from tests.receiver.harness import PAYLOADS, MemoryPbxRegistry, send_raw, statuses

CLOUD_SN = "369451090405"
PATH = "/3kFz0qLrB7xN9sVe"
HERE, ELSEWHERE = "127.0.0.0/8", "192.0.2.7/32"
NEWCDR = (PAYLOADS / "newcdr_cloud_v2.json").read_bytes()
WITHOUT_SN = json.dumps({key: value for key, value in json.loads(NEWCDR).items() if key != "sn"}).encode()


def placed(sn: str, *, network: str = "", path: str = "") -> RegisteredPbx:
    networks = (ip_network(network),) if network else ()
    return RegisteredPbx(sn=sn, dialect="newcdr", networks=networks, path=path)


async def posted(
    folder: Path, declared: Sequence[RegisteredPbx], body: bytes, path: str = "/"
) -> tuple[list[int], list[RawEvent]]:
    """Return the statuses of responses to an event from this machine, and the stored events."""
    ledger = SqliteLedger(folder / "ledger.db")
    clock = SystemClock()
    dialects = {dialect.name: dialect for dialect in (Yeastar(), NewCdr())}
    accept = Ingestor(ledger=ledger, registry=MemoryPbxRegistry(declared), dialects=dialects, clock=clock)
    server = WebhookServer(ingestor=accept, clock=clock)
    port = await server.start(Address("127.0.0.1", 0))
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: onhook\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return statuses(await send_raw(port, head.encode() + body)), await ledger.read(0, 10)
    finally:
        await server.stop()
        await accept.close()
        await ledger.close()


@pytest.mark.parametrize("body", [NEWCDR, WITHOUT_SN], ids=["with sn", "without sn"])
@pytest.mark.parametrize("place", [{"network": HERE}, {"path": PATH}, {"network": HERE, "path": PATH}])
async def test_source_match_event_from_its_source_is_stored(tmp_path: Path, body: bytes, place: dict[str, str]) -> None:
    """By address, by path, or by both; S-Series v1 has no serial number in the body at all."""
    answers, (report,) = await posted(tmp_path, [placed(CLOUD_SN, **place)], body, place.get("path", "/"))
    assert answers == [200]
    assert (report.sn, report.dialect, report.body) == (CLOUD_SN, "newcdr", body)


@pytest.mark.parametrize("body", [NEWCDR, WITHOUT_SN], ids=["with sn", "without sn"])
@pytest.mark.parametrize("place", [{"network": ELSEWHERE}, {"path": PATH}, {"network": ELSEWHERE, "path": PATH}])
async def test_source_match_event_from_another_source_is_rejected(
    tmp_path: Path, body: bytes, place: dict[str, str]
) -> None:
    """Even with the right serial number; where an address and a path are set, both must match."""
    wrong = "/" if "network" not in place else place.get("path", "/")
    assert await posted(tmp_path, [placed(CLOUD_SN, **place)], body, wrong) == ([401], [])


async def test_source_match_path_identifies_pbxs_behind_one_address(tmp_path: Path) -> None:
    pbxs = [placed("S-NORTH", network=HERE), placed("S-SOUTH", network=HERE, path=PATH)]
    answers, (report,) = await posted(tmp_path, pbxs[1:], WITHOUT_SN, f"{PATH}?a=b")
    assert (answers, report.sn) == ([200], "S-SOUTH")


async def test_source_match_two_pbxs_at_one_address_are_rejected(tmp_path: Path) -> None:
    """Neither is guessed."""
    pbxs = [placed("S-NORTH", network=HERE), placed("S-SOUTH", network=HERE)]
    assert await posted(tmp_path, pbxs, WITHOUT_SN) == ([401], [])


def test_source_match_compares_addresses_not_text() -> None:
    """IPv4 may come over a dual-stack socket; an invalid address matches no PBX."""
    cloud_pbx = placed(CLOUD_SN, network="192.0.2.0/24")
    assert cloud_pbx.matches_source("/", "192.0.2.9")
    assert cloud_pbx.matches_source("/", "::ffff:192.0.2.9")
    assert not cloud_pbx.matches_source("/", "192.0.3.9")
    assert not cloud_pbx.matches_source("/", "")
    assert not RegisteredPbx(sn="S", dialect="yeastar").matches_source("/", "192.0.2.9")

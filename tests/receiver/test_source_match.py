"""PBXs that cannot sign: told by their address or by a secret path, and by nothing else."""

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
    """What is answered to a report from this machine, and what was kept of it."""
    ledger = SqliteLedger(folder / "ledger.db")
    clock = SystemClock()
    dialects = {one.name: one for one in (Yeastar(), NewCdr())}
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
async def test_a_report_from_its_place_is_kept(tmp_path: Path, body: bytes, place: dict[str, str]) -> None:
    """By address, by path, or by both; S-Series v1 has no serial number in the body at all."""
    answers, (report,) = await posted(tmp_path, [placed(CLOUD_SN, **place)], body, place.get("path", "/"))
    assert answers == [200]
    assert (report.sn, report.dialect, report.body) == (CLOUD_SN, "newcdr", body)


@pytest.mark.parametrize("body", [NEWCDR, WITHOUT_SN], ids=["with sn", "without sn"])
@pytest.mark.parametrize("place", [{"network": ELSEWHERE}, {"path": PATH}, {"network": ELSEWHERE, "path": PATH}])
async def test_a_report_from_elsewhere_is_refused(tmp_path: Path, body: bytes, place: dict[str, str]) -> None:
    """Though it names the right serial number; where an address and a path are declared, both must hold."""
    wrong = "/" if "network" not in place else place.get("path", "/")
    assert await posted(tmp_path, [placed(CLOUD_SN, **place)], body, wrong) == ([401], [])


async def test_each_pbx_is_told_by_its_own_path(tmp_path: Path) -> None:
    """Two of them stand behind one address, and neither names itself."""
    both = [placed("S-NORTH", network=HERE), placed("S-SOUTH", network=HERE, path=PATH)]
    answers, (report,) = await posted(tmp_path, both[1:], WITHOUT_SN, f"{PATH}?a=b")
    assert (answers, report.sn) == ([200], "S-SOUTH")


async def test_two_pbxs_at_one_address_cannot_be_told_apart(tmp_path: Path) -> None:
    """So neither is guessed, and the report is refused."""
    both = [placed("S-NORTH", network=HERE), placed("S-SOUTH", network=HERE)]
    assert await posted(tmp_path, both, WITHOUT_SN) == ([401], [])


def test_an_address_is_compared_as_an_address() -> None:
    """IPv4 may come over a socket for both families; what is no address is nobody's."""
    there = placed(CLOUD_SN, network="192.0.2.0/24")
    assert there.matches_source("/", "192.0.2.9")
    assert there.matches_source("/", "::ffff:192.0.2.9")
    assert not there.matches_source("/", "192.0.3.9")
    assert not there.matches_source("/", "")
    assert not RegisteredPbx(sn="S", dialect="yeastar").matches_source("/", "192.0.2.9")

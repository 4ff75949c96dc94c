"""An intake with a real ledger and a real socket, and what PBXs say to it."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from onhook.config import Address
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError
from onhook.lib.signing import sign
from onhook.pbx.dialect import Dialect
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.http_server import WebhookServer
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx

SN = "3651XXXXXXXX"
UNSIGNED_SN = "3631A2124XXX"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
NEXT_SECRET = "another-secret-of-the-same-PBX-0"
PAYLOADS = Path(__file__).parents[1] / "payloads"
REPORT = (PAYLOADS / "p2026_inbound_voicemail.json").read_bytes()
REPORT_SIGNATURE = "8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc="  # PROTOCOL.md 3.1

DECLARED = (
    RegisteredPbx(sn=SN, dialect="yeastar", secrets=(SECRET, NEXT_SECRET)),
    RegisteredPbx(sn=UNSIGNED_SN, dialect="yeastar", is_unsigned=True),
)
DIALECTS: Mapping[str, Dialect] = {"yeastar": Yeastar()}
ANSWER_SECONDS_MAX = 20.0
"""Longer than anything that is asked for here takes."""


class ListedDoor:
    """A look-up in a list."""

    def __init__(self, declared: Sequence[RegisteredPbx]) -> None:
        self._by_sn = {one.sn: one for one in declared}

    def declared(self, sn: str) -> RegisteredPbx | None:
        return self._by_sn.get(sn)

    def placed(self, path: str, peer: str) -> RegisteredPbx | None:
        there = [one for one in self._by_sn.values() if one.is_at(path, peer)]
        return there[0] if len(there) == 1 else None

    def everybody(self) -> Sequence[RegisteredPbx]:
        return list(self._by_sn.values())


class OpenDoor:
    """An intake that listens on `port`; `troubles` is what it told of its ledger."""

    def __init__(self, path: Path) -> None:
        self.troubles: list[OnhookError | None] = []
        self.ledger = SqliteLedger(path)
        clock = SystemClock()
        self.accept = Ingestor(
            ledger=self.ledger,
            door=ListedDoor(DECLARED),
            dialects=DIALECTS,
            clock=clock,
            tell_trouble=self.troubles.append,
        )
        self.server = WebhookServer(accept=self.accept, clock=clock)
        self.port = 0

    async def say(self, *parts: bytes) -> bytes:
        """All that is answered until the connection is closed; parts are sent one after the other."""
        return await say(self.port, *parts)

    async def kept(self) -> int:
        return len(await self.ledger.read(0, 1_000_000))

    async def counts(self) -> dict[str, int]:
        """How often each word of `intake/verdict.py` was counted so far."""
        await self.accept.close()
        counts: dict[str, int] = {}
        for tally in await self.ledger.tallies():
            counts[tally.what] = counts.get(tally.what, 0) + tally.count
        return counts


@asynccontextmanager
async def open_door(path: Path) -> AsyncIterator[OpenDoor]:
    door = OpenDoor(path)
    door.port = await door.server.start(Address("127.0.0.1", 0))
    try:
        yield door
    finally:
        await door.server.stop()
        await door.accept.close()
        await door.ledger.close()


async def say(port: int, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01 if len(parts) > 1 else 0)
            return await reader.read()
    finally:
        writer.close()


def report(number: int, sn: str = SN) -> bytes:
    """The live report of 2026, made distinct by a number."""
    return REPORT.replace(b"1790197458.5215", b"%d.%d" % (1790197458 + number, number)).replace(
        SN.encode(), sn.encode()
    )


def post(body: bytes, secret: str | None = SECRET, **headers: str) -> bytes:
    """A whole request; signed unless `secret` is None. A header name is written with `_` for `-`."""
    lines = {"Host": "onhook", "Content-Length": str(len(body)), "Connection": "close"}
    if secret is not None:
        lines["X-Signature"] = sign(secret, body)
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


def event(**members: Any) -> bytes:
    return msgspec.json.encode(members)


def statuses(answers: bytes) -> list[int]:
    """The status of each answer, in order."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]

"""A receiver with a real ledger and a real socket, and the requests of PBXs."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.config import Address
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib import signing
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError
from onhook.lib.proxies import TrustedProxies
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
RAW_EVENT = (PAYLOADS / "p2026_inbound_voicemail.json").read_bytes()
RAW_EVENT_SIGNATURE = "8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc="  # yeastar-p-series.md 3.1

REGISTERED_PBXS = (
    RegisteredPbx(sn=SN, dialect="yeastar", secrets=(SECRET, NEXT_SECRET)),
    RegisteredPbx(sn=UNSIGNED_SN, dialect="yeastar", is_unsigned=True),
)
DIALECTS: Mapping[str, Dialect] = {"yeastar": Yeastar()}
RESPONSE_SECONDS_MAX = 20.0
"""Longer than any request of these tests takes."""


class MemoryPbxRegistry:
    """PBX registry in a list."""

    def __init__(self, pbxs: Sequence[RegisteredPbx]) -> None:
        self.set_pbxs(pbxs)

    def set_pbxs(self, pbxs: Sequence[RegisteredPbx]) -> None:
        self._pbxs = pbxs
        self._by_sn = {pbx.sn: pbx for pbx in pbxs}

    def find_by_sn(self, sn: str) -> RegisteredPbx | None:
        return self._by_sn.get(sn)

    def find_by_source(self, path: str, peer: str, password: str = "") -> RegisteredPbx | None:
        matches = [value for value in self._by_sn.values() if value.matches_source(path, peer, password)]
        return matches[0] if len(matches) == 1 else None

    def list_all(self) -> Sequence[RegisteredPbx]:
        return self._pbxs

    def is_empty(self) -> bool:
        return not self._by_sn

    def is_loaded(self) -> bool:
        return True

    async def refresh(self) -> None:
        """Do nothing: the list is always current."""


class ReceiverHarness:
    """A receiver that listens on `port`; `troubles` lists the ledger errors that it reported."""

    def __init__(
        self,
        path: Path,
        pbxs: Sequence[RegisteredPbx] = REGISTERED_PBXS,
        *,
        has_events: bool = False,
        trusted_proxies: Sequence[str] = (),
        dialects: Mapping[str, Dialect] = DIALECTS,
    ) -> None:
        self.ledger_errors: list[OnhookError | None] = []
        self.ledger = SqliteLedger(path)
        clock = SystemClock()
        self.ingestor = Ingestor(
            ledger=self.ledger,
            registry=MemoryPbxRegistry(pbxs),
            dialects=dialects,
            clock=clock,
            has_events=has_events,
            on_ledger_error=self.ledger_errors.append,
        )
        self.server = WebhookServer(
            ingestor=self.ingestor, clock=clock, trusted_proxies=TrustedProxies(trusted_proxies)
        )
        self.port = 0

    async def send(self, *parts: bytes) -> bytes:
        """Send the parts one after the other; return all bytes until the connection is closed."""
        return await send_raw(self.port, *parts)

    async def count_raw_events(self) -> int:
        return len(await self.ledger.read(0, 1_000_000))

    async def count_verdicts(self) -> dict[str, int]:
        """Return the counters per verdict."""
        await self.ingestor.close()
        counts: dict[str, int] = {}
        for counter in await self.ledger.counters():
            counts[counter.kind] = counts.get(counter.kind, 0) + counter.count
        return counts


@asynccontextmanager
async def open_receiver(
    path: Path,
    pbxs: Sequence[RegisteredPbx] = REGISTERED_PBXS,
    *,
    has_events: bool = False,
    trusted_proxies: Sequence[str] = (),
    dialects: Mapping[str, Dialect] = DIALECTS,
) -> AsyncIterator[ReceiverHarness]:
    receiver = ReceiverHarness(path, pbxs, has_events=has_events, trusted_proxies=trusted_proxies, dialects=dialects)
    receiver.port = await receiver.server.start(Address("127.0.0.1", 0))
    try:
        yield receiver
    finally:
        await receiver.server.stop()
        await receiver.ingestor.close()
        await receiver.ledger.close()


async def send_raw(port: int, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(RESPONSE_SECONDS_MAX):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01 if len(parts) > 1 else 0)
            return await reader.read()
    finally:
        writer.close()


def make_raw_event(number: int, sn: str = SN) -> bytes:
    """Return the event of a live capture of 2026, made distinct by a number."""
    return RAW_EVENT.replace(b"1790197458.5215", b"%d.%d" % (1790197458 + number, number)).replace(
        SN.encode(), sn.encode()
    )


def make_request(body: bytes, secret: str | None = SECRET, **headers: str) -> bytes:
    """Return a whole request; signed unless `secret` is None. A header name is written with `_` for `-`."""
    lines = {"Host": "onhook", "Content-Length": str(len(body)), "Connection": "close"}
    if secret is not None:
        lines["X-Signature"] = sign(secret, body)
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


def make_event_body(**members: Any) -> bytes:
    return msgspec.json.encode(members)


def statuses(responses: bytes) -> list[int]:
    """Return the status of each response, in order."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", responses)]


def count_hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the size of each body that is hashed from now on."""
    hashed: list[int] = []

    def counted_sign(secret: str, body: bytes) -> str:
        hashed.append(len(body))
        return sign(secret, body)

    monkeypatch.setattr(signing, "sign", counted_sign)
    return hashed

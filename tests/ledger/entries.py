"""Ledger entries for tests."""

from typing import Any

from onhook.ledger.contract import CONTROL_DIALECT, Ledger, LedgerEntry, RawEvent

SN = "3631A2124XXX"
NOW = 1_777_287_876_000_000
"""2026-04-27 11:04:36, UTC."""


def entry(number: int, **changes: Any) -> LedgerEntry:
    """Return the entry with this number; equal numbers are exact repeats."""
    values: dict[str, Any] = {
        "sn": SN,
        "dialect": "yeastar",
        "via": "webhook",
        "received_at": NOW + number,
        "key": (1_777_287_876 + number // 10).to_bytes(4, "big") + number.to_bytes(12, "big"),
        "body": b'{"number":%d,"filler":"%s"}' % (number, b"x" * 500),
        "signature": "8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc=",
        "peer": "192.0.2.1",
    }
    return LedgerEntry(**(values | changes))


def entries(first: int, last: int) -> list[LedgerEntry]:
    """Return the entries from `first` to `last`, both included."""
    return [entry(number) for number in range(first, last + 1)]


async def read_events(ledger: Ledger, limit: int = 1_000_000) -> list[RawEvent]:
    """Return the first entries of a ledger, but its control entries."""
    return [event for event in await ledger.read(0, limit) if event.dialect != CONTROL_DIALECT]

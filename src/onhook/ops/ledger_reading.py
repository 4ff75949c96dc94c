"""What checks and commands read of the ledger beside a running server, in a file or on servers.

Invariant: a file is only read, and none is created.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from onhook.config import Config
from onhook.ledger import counters, latest_events, sqlite_schema
from onhook.ledger.contract import Counter, Ledger
from onhook.ops.engines import LedgerOpener

ENTRIES_AT_ONCE = 1_000


async def has_events(config: Config, open_ledger: LedgerOpener) -> bool:
    """Return whether the ledger has events of PBXs. Raises `Unavailable`."""
    if not config.ledger:
        return await asyncio.to_thread(sqlite_schema.has_raw_events, config.ledger_file)
    async with opened(config, open_ledger) as ledger:
        return await ledger.has_events()


async def read_begin(config: Config, open_ledger: LedgerOpener) -> int:
    """Return the number after which a ledger begins that replaced a lost one; 0 for any other one. Raises
    `Unavailable`.
    """
    if not config.ledger:
        return await asyncio.to_thread(sqlite_schema.read_begin, config.ledger_file)
    async with opened(config, open_ledger) as ledger:
        return await ledger.begin_seq()


async def read_counters(config: Config, open_ledger: LedgerOpener, sns: Collection[str]) -> list[Counter]:
    """Return the counters with one of these serial numbers, in capitals or not, also as the label: the latest first.
    Raises `Unavailable`.
    """
    if not config.ledger:
        return await asyncio.to_thread(counters.read_counters, config.ledger_file, sns)
    names = {sn.upper() for sn in sns}
    async with opened(config, open_ledger) as ledger:
        return [counter for counter in await ledger.counters() if {counter.sn.upper(), counter.label.upper()} & names]


async def read_latest_bodies(
    config: Config, open_ledger: LedgerOpener, sn: str, dialect: str, limit: int
) -> Sequence[bytes]:
    """Return the latest bodies of a PBX in a dialect, the latest first: at most `limit` of the last 20,000 raw events.
    Raises `Unavailable`.
    """
    if not config.ledger:
        return await asyncio.to_thread(latest_events.read_latest_bodies, config.ledger_file, sn, dialect, limit)
    bodies: deque[bytes] = deque(maxlen=limit)
    async with opened(config, open_ledger) as ledger:
        after_seq = max(await ledger.last_seq() - latest_events.EVENTS_READ_MAX, 0)
        while events := await ledger.read(after_seq, ENTRIES_AT_ONCE):
            bodies += [event.body for event in events if (event.sn, event.dialect) == (sn, dialect)]
            after_seq = events[-1].seq
    return list(reversed(bodies))


@asynccontextmanager
async def opened(config: Config, open_ledger: LedgerOpener) -> AsyncIterator[Ledger]:
    """Open the ledger while the context is open."""
    ledger = open_ledger(config)
    try:
        yield ledger
    finally:
        await ledger.close()

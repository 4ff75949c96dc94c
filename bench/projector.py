"""Figures of the projector: events of a simulated office, from the ledger to the store.

`python -m bench.projector --records 100000` prints the table.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from bench.simulated_store import fill
from bench.table import Row, table
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.pbx.yeastar.payload import Yeastar
from onhook.projector.projector import Projector
from onhook.store.contract import Store
from onhook.store.duckdb import open_store

SN = "3651XXXXXXXX"
SIGNATURE = "8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc="
APPEND_ROWS = 2_000
LAG_SECONDS = 5
LAG_RATE = 1_000
RATE_TARGET = 30_000
BOUND = "one interpreter: parsing, assembling and storing share its lock"
YEASTAR = Yeastar()


def run(records: int) -> list[Row]:
    """Project so many events into an empty store, then some thousands into a large one, then at a steady rate."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as directory:
        for name in ("empty", "small", "large", "lag"):
            (Path(directory) / name).mkdir()
        return asyncio.run(_all(Path(directory), records))


async def _all(directory: Path, records: int) -> list[Row]:
    entries = list(islice(_entries(), records))
    rate = await _sustained(directory / "empty", entries, stored=0)
    small_seconds = await _sustained(directory / "small", entries[:20_000], stored=100_000)
    large_seconds = await _sustained(directory / "large", entries[:20_000], stored=records * 10)
    lag = await _lag(directory / "lag", entries[: LAG_SECONDS * LAG_RATE])
    return [
        Row(
            "projector, sustained",
            f"{rate:,.0f} records/s",
            "",
            "30,000 records/s",
            "" if rate >= RATE_TARGET else BOUND,
        ),
        Row("ledger, size of a raw event", f"{(directory / 'empty' / 'ledger.db').stat().st_size / records:.0f} bytes"),
        Row("projector, with 100,000 records in the store", f"{1e6 / small_seconds:.0f} ms per 1,000"),
        Row(
            f"projector, with {records * 10:,} records in the store",
            f"{1e6 / large_seconds:.0f} ms per 1,000",
            f"{small_seconds / large_seconds:.2f}",
            "2 x the former",
        ),
        Row(f"lag at {LAG_RATE:,} events a second", f"{lag * 1000:.0f} ms, 95th percentile", "", "less than 1 s"),
    ]


def _entries() -> Iterator[LedgerEntry]:
    """Yield one event after the other, like a busy office of three legs in two calls."""
    second, sequence = 1_767_225_600, 0
    while True:
        sequence += 1
        second += sequence % 3
        for leg, call_to in enumerate(("6200", "6400", "1002")[: 1 + sequence % 2 + sequence % 3 % 2]):
            body = _body(second, sequence, leg, call_to)
            yield LedgerEntry(
                sn=SN,
                dialect=YEASTAR.name,
                via="webhook",
                received_at=second * 1_000_000,
                key=YEASTAR.peek(body).key,
                body=body,
                signature=SIGNATURE,
                peer="192.0.2.1",
            )


def _body(second: int, sequence: int, leg: int, call_to: str) -> bytes:
    stamp = datetime.fromtimestamp(second + 3 * 3600, UTC)
    start = datetime.fromtimestamp(second + 3 * 3600 + 7 * leg, UTC)
    members = (
        f'"call_id":"{second}.{sequence}","time_start":"{start:%Y-%m-%d %H:%M:%S}",'
        f'"call_from":"555{sequence % 9973:04}",'
        f'"call_to":"{call_to}","call_duration":{20 + sequence % 300},"talk_duration":{sequence % 20},'
        f'"src_trunk_name":"Trunk-A","dst_trunk_name":"","pin_code":"","status":"ANSWERED","type":"Inbound",'
        f'"recording":"","did_number":"5550000","did_name":"","agent_ring_time":0,'
        f'"uid":"{stamp:%Y%m%d%H%M%S}{sequence % 1048576:05X}",'
        f'"call_note_id":"{stamp:%Y%m%d%H%M%S}-{sequence % 9973:05X}",'
        f'"enb_call_note":4,"is_display":1,"realclidnum":""'
    )
    escaped = members.replace('"', '\\"')
    return f'{{"sn":"{SN}","type":30012,"msg":"{{{escaped}}}"}}'.encode()


async def _sustained(directory: Path, entries: list[LedgerEntry], stored: int) -> float:
    """Return records per second, with all of them waiting in the ledger."""
    ledger = SqliteLedger(directory / "ledger.db")
    for begin in range(0, len(entries), APPEND_ROWS):
        await ledger.append(entries[begin : begin + APPEND_ROWS])
    await (await open_store(directory / "calls.duckdb")).close()
    if stored:
        # The ledger has none of these records: the store is to read it from its beginning.
        await asyncio.to_thread(fill, directory / "calls.duckdb", stored, position=0)
    store = await open_store(directory / "calls.duckdb")
    began = time.perf_counter()
    await _projector(ledger, store).catch_up()
    seconds = time.perf_counter() - began
    await store.close()
    await ledger.close()
    return len(entries) / seconds


async def _lag(directory: Path, entries: list[LedgerEntry]) -> float:
    """Return the 95th percentile of the time until an event is visible, at a steady rate."""
    ledger, store = SqliteLedger(directory / "ledger.db"), await open_store(directory / "calls.duckdb")
    appended_at: dict[int, float] = {}
    waited: list[float] = []
    everything_seen = asyncio.Event()

    def announce(position: int) -> None:
        now = time.perf_counter()
        waited.extend(now - appended_at.pop(seq) for seq in list(appended_at) if seq <= position)
        if position == len(entries):
            everything_seen.set()

    projecting = asyncio.create_task(_projector(ledger, store).run(announce))
    step = LAG_RATE // 50
    for begin in range(0, len(entries), step):
        next_at = time.perf_counter() + step / LAG_RATE
        for entry in await ledger.append(entries[begin : begin + step]):
            appended_at[entry.seq] = time.perf_counter()
        await asyncio.sleep(max(0, next_at - time.perf_counter()))
    await everything_seen.wait()
    projecting.cancel()
    await asyncio.wait([projecting])
    await store.close()
    await ledger.close()
    return statistics.quantiles(waited, n=20)[-1]


def _projector(ledger: SqliteLedger, store: Store) -> Projector:
    return Projector(
        ledger=ledger,
        store=store,
        dialects={YEASTAR.name: YEASTAR},
        clock=SystemClock(),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    print(table(run(parser.parse_args().records)))


if __name__ == "__main__":
    main()

"""Figures of the delivery: deliveries beside a bare loop of the same client, and the cost of an unreachable
application.

`python -m bench.delivery --records 50000` prints the table.
"""

import argparse
import asyncio
import contextlib
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec
import uvloop

from bench.accepting_server import run_accepting_server
from bench.simulated_store import fill
from bench.table import Row, table
from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.delivery.destinations.contract import CONCURRENT_ATTEMPTS_MAX
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.lib.clock import SystemClock
from onhook.pbx.yeastar.payload import Yeastar
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.store.position_notifier import PositionNotifier

RECORDS = 20_000
PENDING_FOR_DEAD = 1_000_000
ROUNDS = 3
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
UNREACHABLE = "http://127.0.0.1:9/calls"
"""An address without a listener."""

SETTLE_SECONDS = 2.0
WATCHED_SECONDS = 5
WATCHED_RATE = 50
"""Calls per second while a healthy and an unreachable or hanging application are served."""


class Served(NamedTuple):
    """A running dispatcher, with its environment."""

    store: DuckDbStore
    appdb: AppDb
    position_notifier: PositionNotifier
    dispatcher: DeliveryDispatcher


def run(records: int = RECORDS, pending: int = PENDING_FOR_DEAD) -> list[Row]:
    """Send so many records, then have a million pending for an unreachable application."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as directory, run_accepting_server() as url:
        for name, count in (("some.duckdb", records), ("many.duckdb", pending)):
            asyncio.run(_create_calls(Path(directory) / name))
            fill(Path(directory) / name, count)
        return uvloop.run(_all(Path(directory), url))


async def _create_calls(path: Path) -> None:
    """Create an empty store."""
    await (await open_store(path)).close()


async def _all(directory: Path, url: str) -> list[Row]:
    ratios, rates = [], []
    for round_number in range(ROUNDS):
        bare = await _bare(directory / "some.duckdb", url)
        ours = await _ours(directory, url, round_number)
        ratios.append(ours / bare)
        rates.append(ours)
    return [
        Row(
            "webhooks delivered",
            f"{statistics.median(rates):,.0f} events/s",
            f"{statistics.median(ratios):.2f} x a bare loop of the client",
            "0.7 x",
        ),
        *await _beside_the_dead(directory, url),
    ]


async def _bare(path: Path, url: str) -> float:
    """Send with the same client and the same number of connections, with prepared bodies."""
    store = await open_store(path)
    records = await store.records_after(0, 10_000_000)
    await store.close()
    bodies = iter([Yeastar().format(record, record.sn, "p-2026") for record in records])
    async with aiohttp.ClientSession() as session:
        began = time.perf_counter()
        await asyncio.gather(*(_post_all(session, url, bodies) for _ in range(CONCURRENT_ATTEMPTS_MAX)))
        return len(records) / (time.perf_counter() - began)


async def _post_all(session: aiohttp.ClientSession, url: str, bodies: object) -> None:
    for body in bodies:  # type: ignore[attr-defined] # all of them draw from one iterator
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            await answer.read()


async def _ours(directory: Path, url: str, round_number: int) -> float:
    async with _served(directory, "some.duckdb", f"appdb-{round_number}.db") as (store, appdb, _, _):
        total = (await store.counts())["records"]
        began = time.perf_counter()
        number = await _add_destination(appdb, "healthy", url, after=-1)  # the simulated store begins with 0
        while await _delivered(appdb, number) < total:  # noqa: ASYNC110 - the figure is in a file
            await asyncio.sleep(0.02)
        return total / (time.perf_counter() - began)


async def _beside_the_dead(directory: Path, url: str) -> list[Row]:
    """Measure a healthy application alone, then beside an unreachable one, and beside one that never answers, for both
    of which everything is pending.
    """
    async with _served(directory, "many.duckdb", "dead.db") as served:
        last = (await served.store.extent(RecordFilter())).last_seq or 0
        healthy = await _add_destination(served.appdb, "healthy", url, after=last)
        await _watch(served, healthy, last)  # until everything is warm
        alone, last = await _watch(served, healthy, last + WATCHED_SECONDS * WATCHED_RATE)
        before = _memory_bytes()
        await _add_destination(served.appdb, "dead", UNREACHABLE, after=0)
        await asyncio.sleep(SETTLE_SECONDS)
        beside, last = await _watch(served, healthy, last)
        grown = _memory_bytes() - before
        await served.appdb.destinations.remove("dead")
        async with _hanging() as url_of_hanging:
            await _add_destination(served.appdb, "hanging", url_of_hanging, after=0)
            await asyncio.sleep(SETTLE_SECONDS)
            beside_hanging, last = await _watch(served, healthy, last)
        pending = (await served.store.extent(RecordFilter())).count
    return [
        Row(
            f"hub's memory with {pending:,} pending for a dead application",
            f"{grown / 1e6:+.0f} MB",
            "",
            "less than +100 MB",
        ),
        Row(
            "a healthy application's latency beside it",
            f"{beside * 1000:.1f} ms, median",
            f"{beside / alone:.2f} x alone",
            "1 x",
        ),
        Row(
            "and beside one that accepts and never answers",
            f"{beside_hanging * 1000:.1f} ms, median",
            f"{beside_hanging / alone:.2f} x alone",
            "1 x",
        ),
    ]


@contextlib.asynccontextmanager
async def _hanging() -> AsyncIterator[str]:
    """Yield an application that accepts connections and never answers."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(65_536):
                pass
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/calls"
    finally:
        server.close()


async def _watch(served: Served, healthy: int, last: int) -> tuple[float, int]:
    """Return the median time from a call in the store to its acknowledged delivery, at a steady rate."""
    store, position_notifier, figures = served.store, served.position_notifier, served.dispatcher.metrics
    while healthy not in figures:  # noqa: ASYNC110 - it is served a moment after it was added
        await asyncio.sleep(0.01)
    (pattern,) = (await store.calls(RecordFilter(), 1)).data
    durations = []
    for _ in range(WATCHED_SECONDS * WATCHED_RATE):
        last += 1
        leg = msgspec.structs.replace(pattern.legs[0], call_id=f"1790000000.{last}", seq=last)
        call = msgspec.structs.replace(pattern, call_id=leg.call_id, legs=(leg,))
        await store.put(StoreBatch(calls=[call], quarantined=(), reparsed_seqs=(), position=last))
        begun, before = time.perf_counter(), figures[healthy].attempts["accepted"]
        position_notifier.announce(last)
        while figures[healthy].attempts["accepted"] == before:  # noqa: ASYNC110 - a count sets no event
            await asyncio.sleep(0.0005)
        durations.append(time.perf_counter() - begun)
        await asyncio.sleep(1 / WATCHED_RATE)
    return statistics.median(durations), last


@contextlib.asynccontextmanager
async def _served(directory: Path, store_name: str, name: str) -> AsyncIterator[Served]:
    store = await open_store(directory / store_name)
    appdb, delivery_appdb, position_notifier = (
        AppDb(directory / name),
        AppDb(directory / name),
        PositionNotifier(),
    )
    dispatcher = DeliveryDispatcher(
        deps=DeliveryDeps(
            record_reader=RecordReader(store, position_notifier), appdb=delivery_appdb, clock=SystemClock()
        ),
        open_destination=destination_opener(Config()),
        on_error=print,
        on_issue=print,
    )
    dispatcher_task = asyncio.create_task(dispatcher.run())
    try:
        yield Served(store, appdb, position_notifier, dispatcher)
    finally:
        dispatcher_task.cancel()
        await asyncio.wait([dispatcher_task])
        await store.close()
        await appdb.close()
        await delivery_appdb.close()


async def _add_destination(appdb: AppDb, name: str, url: str, *, after: int) -> int:
    spec = DestinationSpec(url=url, allow_private=True)
    return (await appdb.destinations.add(name, spec, SECRET, after=after, now_us=1))[0].destination_id


async def _delivered(appdb: AppDb, number: int) -> int:
    destination = await appdb.destinations.find_by_id(number)
    return 0 if destination is None else destination.attempts_succeeded


def _memory_bytes() -> int:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--pending", type=int, default=PENDING_FOR_DEAD)
    options = parser.parse_args()
    print(table(run(options.records, options.pending)))


if __name__ == "__main__":
    main()

"""Figures of the back-fill: a PBX's whole list, beside bare paging of the same list by the same client.

`python -m bench.backfill --records 100000` prints the table.
"""

import argparse
import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import uvloop

from bench.list_pbx import BEGUN
from bench.table import Row, table
from onhook.appdb.pbx_credentials import parse_pbx_credentials
from onhook.config import Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.runtime.engines import ENGINES
from onhook.store.duckdb import open_store
from onhook.sync.pbx_sync_manager import SyncDeps, build_api_sync_spec, open_pbx_sync

RECORDS = 1_000_000
PAGE_ROWS = 10_000
MEMORY_TARGET_MIB = 500
SN = "3651XXXXXXXX"


def run(records: int = RECORDS) -> list[Row]:
    """Page through so many records, then back-fill them into an empty installation."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as directory, pbx_of(records) as port:
        return uvloop.run(_all(Path(directory), port, records))


async def _all(directory: Path, port: int, records: int) -> list[Row]:
    bare = await _paged(port, records)
    filled = await _filled(directory, port, records)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Row("paging a PBX's list, nothing stored", f"{bare:,.0f} records/s"),
        Row(
            f"back-fill of {records:,} records",
            f"{filled:,.0f} records/s",
            f"{filled / bare:.2f} of bare paging",
            "",
            "one interpreter: each row is parsed, compared and checked by itself",
        ),
        Row("back-fill, memory at most", f"{peak:,.0f} MiB", "", f"{MEMORY_TARGET_MIB} MiB"),
    ]


async def _paged(port: int, records: int) -> float:
    """Read page after page of the same size, as bytes."""
    began = time.perf_counter()
    url = f"http://127.0.0.1:{port}/openapi/v1.0/cdr/search"
    async with aiohttp.ClientSession() as client:
        for page in range(1, records // PAGE_ROWS + 2):
            query = {"page": page, "page_size": PAGE_ROWS, "start_time": BEGUN, "end_time": BEGUN + records}
            async with client.get(url, params=query) as answer:
                await answer.read()
    return records / (time.perf_counter() - began)


async def _filled(directory: Path, port: int, records: int) -> float:
    appdb, ledger = ENGINES.open_appdb(Config(data=directory)), SqliteLedger(directory / "ledger.db")
    store, clock = await open_store(directory / "calls.duckdb"), SystemClock()
    api = parse_pbx_credentials(f"http://127.0.0.1:{port}", "us", "our-client-secret")
    pbx = await appdb.add_pbx(name="Office", sn=SN, secret=None, credentials=api, now_us=clock.microseconds())
    ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=clock)
    deps = SyncDeps(appdb=appdb, store=store, clock=clock, ingestor=ingestor)
    since = datetime.fromtimestamp(BEGUN, UTC) - timedelta(seconds=1)
    try:
        async with open_pbx_sync(deps, build_api_sync_spec(pbx, api)) as sync_tasks:
            began = time.perf_counter()
            totals = await sync_tasks.pbx_sync.backfill(
                since, since + timedelta(seconds=records + 2), compares_days=False
            )
            seconds = time.perf_counter() - began
        assert totals.new >= records, totals
        await ingestor.close()
        stored = sum(counter.count for counter in await ledger.counters() if counter.kind == "stored")
        assert stored == records, f"each is stored, and once: {stored} of {totals}"
        return records / seconds
    finally:
        await ingestor.close()
        await store.close()
        await ledger.close()
        await appdb.close()


@contextlib.contextmanager
def pbx_of(records: int) -> Iterator[int]:
    """Run a PBX in a process of its own; yield its port."""
    command = [sys.executable, "-m", "bench.list_pbx", str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.backfill", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    print(table(run(parser.parse_args().records)))


if __name__ == "__main__":
    main()

"""Figures of the store, full of simulated calls; bare DuckDB on the same file is the yardstick of the queries.

`python -m bench.store --records 1000000` prints the table.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import msgspec

from bench.simulated_store import EXTENSION, FIRST_SECOND, RARE_PBX, SECONDS, fill
from bench.table import Row, table
from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import RecordListing, Store, StoreBatch
from onhook.store.duckdb import open_store
from onhook.store.queries.measures import MEASURES

RUNS = 5
BATCH_CALLS = 6_000
"""Some ten thousand records: a batch of the projector."""

SMALL_RECORDS = 100_000
PAGE_ROWS = 100
CSV_ROWS_PER_SECOND = 500_000
ZONE = "Europe/Berlin"

_END = datetime.fromtimestamp(FIRST_SECOND + SECONDS, UTC)
_MONTH = (datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))


def run(records: int) -> list[Row]:
    """Fill a store with about so many records, measure, and remove it."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as directory:
        small, large = Path(directory) / "small.duckdb", Path(directory) / "large.duckdb"
        asyncio.run(_measure(small, SMALL_RECORDS))
        filled = asyncio.run(_measure(large, records))
        size = large.stat().st_size / filled
        return [
            Row("records in the store", f"{filled:,}"),
            Row("size, records and calls together", f"{size:.0f} bytes per record", "", "120 bytes per record"),
            *_reading(large),
            *asyncio.run(_measure_listings(large, filled)),
            *_exporting(large, filled),
            *asyncio.run(_putting(small, large)),
        ]


async def _measure(path: Path, records: int) -> int:
    await (await open_store(path)).close()
    return fill(path, records)


# Lists and summaries


def _reading(path: Path) -> list[Row]:
    filters = asyncio.run(_filters(path))
    by_hour, by_day = filters.pop("month"), filters.pop("all")
    since, until = (int(moment.timestamp()) for moment in _MONTH)
    month = _measure_bare_sql(path, "hour", "status_folded", f"WHERE started_at >= {since} AND started_at < {until}")
    everything = _measure_bare_sql(path, "day", "pbx = pbx", "")
    lists = [
        Row(
            f"first page of {subject}",
            f"{seconds * 1000:.0f} ms",
            "",
            "250 ms" if "rare" in subject or "id" in subject else "50 ms",
        )
        for subject, seconds in filters.items()
    ]
    return [*lists, _compare("a month by hour and status", by_hour, month), _compare("all by day", by_day, everything)]


async def _filters(path: Path) -> dict[str, float]:
    store = await open_store(path)
    oldest_call = (await store.calls(RecordFilter(until=_MONTH[0]), 1)).data[0]
    outside = next(
        leg.call_from for leg in (await store.records(RecordFilter(type="inbound", until=_MONTH[0]), 1)).data
    )
    filters = {
        "by time": RecordFilter(),
        "by time, a year ago": RecordFilter(until=_MONTH[0]),
        "by PBX": RecordFilter(pbx="PBX-A"),
        "by a quiet PBX": RecordFilter(pbx=RARE_PBX),
        "by extension": RecordFilter(number=EXTENSION),
        "by status": RecordFilter(status="failed"),
        "by a rare number": RecordFilter(number=outside),
        "by an unknown number (rare)": RecordFilter(number="+999"),
        "by call id": RecordFilter(call_id=oldest_call.call_id),
    }
    try:
        seconds_by_query: dict[str, float] = {}
        for subject, record_filter in filters.items():
            seconds_by_query[f"records {subject}"] = await _median(partial(store.records, record_filter, PAGE_ROWS))
            seconds_by_query[f"calls {subject}"] = await _median(partial(store.calls, record_filter, PAGE_ROWS))
        since, until = _MONTH
        seconds_by_query["month"] = await _median(
            lambda: store.summary(RecordFilter(since=since, until=until), "hour,status", ZONE)
        )
        seconds_by_query["all"] = await _median(lambda: store.summary(RecordFilter(), "day", ZONE))
        return seconds_by_query
    finally:
        await store.close()


async def _measure_listings(path: Path, records: int) -> list[Row]:
    """Return figures of pages by number, as applications request them from the PBX API."""
    day = int(_MONTH[0].timestamp())
    listings = {
        "the last 100": RecordListing(is_descending=True, limit=100),
        "10,000 at once": RecordListing(is_descending=True),
        "100 behind nine tenths": RecordListing(offset=records * 9 // 10, limit=100),
        "the 100 longest": RecordListing(order_by="call_duration", is_descending=True, limit=100),
        "a day of the wall clock": RecordListing(local_since=day, local_until=day + 86_400),
    }
    store = await open_store(path)
    try:
        return [
            Row(
                f"page of records by number: {subject}",
                f"{await _median(partial(store.list_records, item)) * 1000:.0f} ms",
            )
            for subject, item in listings.items()
        ]
    finally:
        await store.close()


def _measure_bare_sql(path: Path, interval: str, grouping: str, condition: str) -> float:
    """Return the time of the same measures in bare SQL, in UTC."""
    measures = ", ".join(MEASURES.values())
    query = (
        f"SELECT date_trunc('{interval}', make_timestamp(started_at * 1000000)), {grouping}, {measures}"
        f" FROM calls {condition} GROUP BY 1, 2 ORDER BY 1, 2"
    )
    with duckdb.connect(str(path), read_only=True) as connection:
        durations = []
        for _ in range(RUNS):
            began = time.perf_counter()
            connection.execute(query).fetchall()
            durations.append(time.perf_counter() - began)
    return statistics.median(durations)


def _compare(subject: str, ours: float, bare: float) -> Row:
    figure = f"{ours * 1000:.0f} ms, bare {bare * 1000:.0f} ms"
    return Row(subject, figure, f"{ours / bare:.2f}", "1.5 x bare DuckDB")


async def _median(ask: Callable[[], Awaitable[object]]) -> float:
    durations = []
    for _ in range(RUNS):
        began = time.perf_counter()
        await ask()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations)


# Exports and memory


class _Export(msgspec.Struct):
    """Figures of a process of its own."""

    seconds: float
    cpu_seconds: float
    at_rest_kib: int
    peak_kib: int


def _exporting(path: Path, records: int) -> list[Row]:
    output = subprocess.run([sys.executable, "-m", "bench.store", "--export", path], check=True, capture_output=True)
    export = msgspec.json.decode(output.stdout, type=_Export)
    rows_per_second = records / export.seconds
    cpu = (
        f"{export.cpu_seconds / records * 1e6:.1f} µs of CPU per row, on {os.cpu_count()} cores with whatever else runs"
    )
    bound = "" if rows_per_second >= CSV_ROWS_PER_SECOND else cpu
    return [
        Row("CSV of everything", f"{rows_per_second:,.0f} rows/s", "", f"{CSV_ROWS_PER_SECOND:,} rows/s", bound),
        Row("memory of that process, at most", f"{export.peak_kib / 1024:.0f} MB", "", "500 MB"),
        Row("memory with an open store, before that", f"{export.at_rest_kib / 1024:.0f} MB", "", "160 MB, whole hub"),
    ]


async def _export(path: Path) -> _Export:
    store = await open_store(path)
    await store.calls(RecordFilter(), PAGE_ROWS)
    at_rest = _memory_kib("VmRSS")
    began, worked = time.perf_counter(), time.process_time()
    async for _ in store.export(RecordFilter(), "csv", ZONE):
        pass
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    await store.close()
    return _Export(seconds, worked, at_rest, _memory_kib("VmHWM"))


def _memory_kib(name: str) -> int:
    """Return the memory of this process alone; `getrusage` begins with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


# Storing


async def _putting(small: Path, large: Path) -> list[Row]:
    small_ms, large_ms = await _put(small), await _put(large)
    return [
        Row("put, with 100,000 records in the store", f"{small_ms:.1f} ms per 1,000 records", "", "20 ms"),
        Row("put, with all of them", f"{large_ms:.1f} ms per 1,000", f"{large_ms / small_ms:.2f}", "2 x the former"),
    ]


async def _put(path: Path) -> float:
    """Return milliseconds per 1,000 records: the legs of new calls are looked up, as the projector does,
    then stored.
    """
    store = await open_store(path)
    try:
        return statistics.median([await _put_once(store, number) for number in range(RUNS)])
    finally:
        await store.close()


async def _put_once(store: Store, number: int) -> float:
    calls = _calls(_END + timedelta(hours=number))
    began = time.perf_counter()
    await store.legs([(call.sn, call.call_id) for call in calls])
    await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=number))
    return (time.perf_counter() - began) * 1_000_000 / sum(len(call.legs) for call in calls)


def _calls(begun: datetime) -> list[Call]:
    """Return as many calls as a batch has, of one to three legs, within an hour."""
    return [_call(begun + timedelta(seconds=number * 3600 // BATCH_CALLS), number) for number in range(BATCH_CALLS)]


def _call(begun: datetime, number: int) -> Call:
    epoch, stamp = int(begun.timestamp()), f"{begun:%Y%m%d%H%M%S}"
    details = [
        CallDetails(
            call_id=f"{epoch}.{number}",
            time_start=f"{begun + timedelta(seconds=leg):%Y-%m-%d %H:%M:%S}",
            call_from=f"+49{30_000_000 + number}",
            call_to=str(1000 + (number + leg) % 500),
            call_duration=60,
            talk_duration=50,
            src_trunk_name="trunk-1",
            status="ANSWERED",
            type="Inbound",
            recording=f"{stamp}-{epoch}.{number}-1001-1002-Inbound.wav" if number % 5 < 2 else "",
            uid=f"{stamp}{number:05X}",
            agent_ring_time=0,
            extra={"is_display": 1, "realclidnum": ""},
        )
        for leg in range(1 + (number % 20 >= 9) + (number % 20 >= 17))
    ]
    legs = [ReportedLeg(details=detail, seq=number, via="webhook", received_at=begun) for detail in details]
    return assemble_call("3691", legs, PbxFacts(name="PBX-A"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    filters = parser.parse_args()
    if filters.export:
        print(msgspec.json.encode(asyncio.run(_export(filters.export))).decode())
    else:
        print(table(run(filters.records)))

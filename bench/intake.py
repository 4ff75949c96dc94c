"""Figures of the receiver: durable acknowledgements beside nginx, their delay, constant cost, size, start, memory.

`python -m bench.intake` prints the table; `--big` adds the ledger of 10 million events: 8 GB on disk, some minutes.
"""

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

import uvloop

from bench.intake_load import (
    CONNECTIONS,
    FIRST_SECOND,
    SECRET,
    SN,
    body,
    intake,
    missing_tools,
    nginx,
    request,
    send_steadily,
    write_bodies,
    wrk,
)
from bench.table import Row, table
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.signing import sign

ROUNDS = 5
LOAD_SECONDS = 4
BODIES = 200_000
WAYS = (False, True)
"""A connection per event, and kept ones."""

RATE = 1_000
RATE_SECONDS = 20
SETTLE_SECONDS = 2.0
BIG_REPORTS = 10_000_000
FILL_ROWS = 2_000
BYTES_PER_REPORT_MAX = 900


def run(*, big: bool = False) -> list[Row]:
    """Return all figures; `big` fills a ledger with 10 million events first."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as name:
        directory = Path(name)
        rows = [_delay(directory), _start(directory), _memory(directory)]
        if missing := missing_tools():
            return [Row("intake, load", "not measured", bound=f"install {' and '.join(missing)}"), *rows]
        bodies = directory / "bodies.txt"
        write_bodies(bodies, range(BODIES))
        with nginx(directory) as yardstick:
            loads = [_beside_nginx(directory, bodies, yardstick, is_kept=is_kept) for is_kept in WAYS]
        return [*loads, *rows, *(_flat(directory, bodies) if big else [])]


def _beside_nginx(directory: Path, bodies: Path, yardstick: int, *, is_kept: bool) -> Row:
    ratios, rates = [], []
    for _ in range(ROUNDS):
        yardstick_result = wrk(yardstick, bodies, is_kept=is_kept, seconds=LOAD_SECONDS)
        with intake(directory / "load") as ours:
            own_result = wrk(ours.port, bodies, is_kept=is_kept, seconds=LOAD_SECONDS)
        shutil.rmtree(directory / "load")
        rates.append(own_result)
        ratios.append(own_result / yardstick_result)
    return Row(
        f"intake, durable, {'kept connections' if is_kept else 'a connection per event'}, {CONNECTIONS} at once",
        f"{statistics.median(rates):,.0f} events/s",
        f"{statistics.median(ratios):.2f} x nginx",
        f"{0.25 if is_kept else 0.5} x nginx",
    )


def _delay(directory: Path) -> Row:
    requests = [request(number) for number in range(RATE * RATE_SECONDS)]
    with intake(directory / "delay") as ours:
        waited = uvloop.run(send_steadily(ours.port, requests, RATE))
    percentiles = statistics.quantiles(waited, n=100)
    return Row(
        f"intake, acknowledgement at {RATE:,} events/s, a connection each",
        f"p50 {percentiles[49] * 1e3:.1f} ms, p99 {percentiles[98] * 1e3:.1f} ms",
        "",
        "p99 25 ms",
    )


def _start(directory: Path) -> Row:
    durations = []
    for number in range(ROUNDS):
        with intake(directory / "start") as ours:
            _acknowledged(ours.port, number)
            durations.append(time.monotonic() - ours.begun_at)
    return Row("intake, start to first acknowledgement", f"{statistics.median(durations):.2f} s", "", "1.5 s")


def _memory(directory: Path) -> Row:
    with intake(directory / "memory") as ours:
        _acknowledged(ours.port, 0)
        time.sleep(SETTLE_SECONDS)
        return Row("intake, memory at rest", f"{ours.memory_mebibytes():.0f} MB", "", "60 MB")


def _acknowledged(port: int, number: int) -> None:
    content = body(number)
    webhook_request = Request(f"http://127.0.0.1:{port}/", data=content, headers={"X-Signature": sign(SECRET, content)})
    with urlopen(webhook_request, timeout=10) as answer:  # noqa: S310 - the same
        assert answer.status == 200


def _flat(directory: Path, bodies: Path) -> list[Row]:
    with intake(directory / "big"):
        pass
    ledger_file = directory / "big" / "ledger.db"
    asyncio.run(_fill(ledger_file))
    size = ledger_file.stat().st_size / BIG_REPORTS
    ratios = []
    for number in range(ROUNDS):
        # Each run has events of its own: a duplicate is another kind of work.
        write_bodies(bodies, range((number + 1) * BODIES, (number + 2) * BODIES))
        with intake(directory / "empty") as ours:
            empty = wrk(ours.port, bodies, is_kept=False, seconds=LOAD_SECONDS)
        shutil.rmtree(directory / "empty")
        with intake(directory / "big") as ours:
            ratios.append(wrk(ours.port, bodies, is_kept=False, seconds=LOAD_SECONDS) / empty)
    return [
        Row(
            f"intake, with {BIG_REPORTS:,} reports in the ledger",
            "a connection per event",
            f"{statistics.median(ratios):.2f} x empty",
            "0.8 x",
        ),
        Row("ledger, size", f"{size:.0f} bytes per report", "", f"{BYTES_PER_REPORT_MAX} bytes"),
    ]


async def _fill(path: Path) -> None:
    """Fill the ledger with events of some years, in the order of their calls but for the usual disorder."""
    ledger = SqliteLedger(path)
    rng = random.Random(1)
    content = body(0)
    for first in range(0, BIG_REPORTS, FILL_ROWS):
        second = FIRST_SECOND - (BIG_REPORTS - first) * 8
        await ledger.append([_entry(second + 8 * n - rng.randrange(30), rng, content) for n in range(FILL_ROWS)])
    await ledger.close()


def _entry(second: int, rng: random.Random, content: bytes) -> LedgerEntry:
    return LedgerEntry(
        sn=SN,
        dialect="yeastar",
        via="webhook",
        received_at=second * 1_000_000,
        key=second.to_bytes(4, "big") + rng.randbytes(12),
        body=content,
        signature="8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc=",
        peer="192.0.2.1",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--big", action="store_true", help="fill a ledger with 10 million events first")
    print(table(run(big=parser.parse_args().big)))


if __name__ == "__main__":
    main()

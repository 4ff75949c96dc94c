"""The console's figures on a store full of made-up calls: how long the server takes for each page, and what is sent.

`python -m bench.console --records 1000000` prints the table. There is no yardstick: pages are held to what a person
waits for without noticing.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp

from bench.made_up_store import EXTENSION, FIRST_SECOND, SECONDS, fill
from bench.table import Row, table
from onhook.config import Address, Config
from onhook.console.acts import Acts
from onhook.console.app import console_app
from onhook.console.feed import Feed
from onhook.console.reports.kinds import KINDS
from onhook.console.sending import Sending
from onhook.console.shared import FRESH_SECONDS
from onhook.delivery.courier import try_by_name
from onhook.hub.acting import Acting
from onhook.hub.serving import serving
from onhook.hub.sinks import all_sinks
from onhook.ledger.sqlite import SqliteLedger
from onhook.settings.settings import Settings
from onhook.store.duckdb import open_store
from onhook.store.store import Quarantined

RUNS = 7
"""Of each page, each asked anew: what was shared a second ago is not measured."""

MONTH = "since=2025-12-01&until=2026-01-01&zone=Europe/Berlin"
BOUND_MILLISECONDS = 300

PAGES = {
    "Now": "/",
    "Calls": "/calls",
    "Calls, an extension": f"/calls?number={EXTENSION}",
    "Calls, a number in another notation": "/calls?q=030+000+000",
    "Calls, part of a name": "/calls?q=zzz",
    "Calls of a month, the longest talk first": f"/calls?{MONTH}&sort=-talk_duration",
    "PBXs": "/pbxs",
    "Attention": "/attention",
    "About": "/about",
    **{f"Report of a month: {kind.title}": f"/reports?of={name}&{MONTH}" for name, kind in KINDS.items()},
}


class StandingClock:
    """A clock that stands at the end of the made-up calls."""

    def microseconds(self) -> int:
        return (FIRST_SECOND + SECONDS - 3_600) * 1_000_000

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.microseconds() / 1_000_000, UTC)


def run(records: int) -> list[Row]:
    """Fill a store with about so many records, measure, and throw it away."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as directory:
        return asyncio.run(_measured(Path(directory), records))


async def _measured(directory: Path, records: int) -> list[Row]:
    config = Config(data=directory, console=Address("127.0.0.1", 0), zone="Europe/Berlin")
    await (await open_store(config.store_file)).close()
    filled = fill(config.store_file, records)
    async with (
        _served(config) as (url, token),
        aiohttp.ClientSession(url, headers=token, auto_decompress=False) as client,
    ):
        rows = [Row("records in the store", f"{filled:,}")]
        rows += [await _page(client, name, path) for name, path in PAGES.items()]
        return [*rows, *await _sizes(client)]


@contextlib.asynccontextmanager
async def _served(config: Config) -> AsyncIterator[tuple[str, dict[str, str]]]:
    clock, feed = StandingClock(), Feed()
    settings, ledger = Settings(config.settings_file), SqliteLedger(config.ledger_file)
    store = await open_store(config.store_file)
    for name, sn in (("PBX-A", "3691"), ("PBX-B", "3692"), ("PBX-C", "3693")):
        settings.add_pbx(name=name, sn=sn, secret="s" * 32, at=1)
    acting = Acting(config, settings, clock)

    async def nothing(_seqs: object) -> list[Quarantined]:
        return []

    app = console_app(
        store=store,
        ledger=ledger,
        settings=settings,
        clock=clock,
        config=config,
        feed=feed,
        read_again=nothing,
        sending=Sending(try_out=partial(try_by_name, settings, all_sinks(config), clock), figures=dict),
        acts=Acts(try_intake=acting.try_intake, show_made_up=acting.show_made_up),
    )
    try:
        async with serving(app, config.console) as served:
            token = settings.add_token("bench", "administrator", at=1)
            yield f"http://127.0.0.1:{served.port}", {"Authorization": f"Bearer {token}"}
            feed.close()
    finally:
        await store.close()
        await ledger.close()
        settings.close()


async def _page(client: aiohttp.ClientSession, name: str, path: str) -> Row:
    took = []
    for run_number in range(RUNS):
        begun = time.perf_counter()
        answer = await client.get(path)
        await answer.read()
        took.append((time.perf_counter() - begun) * 1_000)
        assert answer.status == 200, (path, await answer.text())
        if run_number < RUNS - 1:
            await asyncio.sleep(FRESH_SECONDS)
    worst = max(took)
    return Row(name, f"{statistics.median(took):.0f} ms, worst {worst:.0f} ms", "", f"{BOUND_MILLISECONDS} ms")


async def _sizes(client: aiohttp.ClientSession) -> list[Row]:
    first = sum([
        await _bytes(client, path)
        for path in (f"/reports?{MONTH}", "/static/style.css", "/static/console.css", "/static/echarts.common.min.js",
                     "/static/charts.js", "/static/icon.svg")
    ])  # fmt: skip
    after = await _bytes(client, f"/reports?{MONTH}")
    return [
        Row("a report the first time, all files", f"{first / 1_000:.0f} kB", "", "700 kB"),
        Row("a report after that", f"{after / 1_000:.0f} kB", "", "60 kB"),
    ]


async def _bytes(client: aiohttp.ClientSession, path: str) -> int:
    answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
    return len(await answer.read())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    print(table(run(parser.parse_args().records)))


if __name__ == "__main__":
    main()

"""Figures of the console on a store full of simulated calls: response times of each page, alone and while calls are
stored, transferred bytes, and first paint in a browser.

`python -m bench.console --records 1000000` prints the table; with `--data DIR` the store is generated there once and
kept. There is no yardstick: pages are compared with what a person notices.
"""

import argparse
import asyncio
import contextlib
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

import aiohttp
from playwright.async_api import Browser, async_playwright

from bench.simulated_store import EXTENSION, FIRST_SECOND, SECONDS, fill
from bench.table import Row, table
from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.record import Call
from onhook.config import Address, Config
from onhook.console.actions import ConsoleActions, DeliveryActions, ErasureActions
from onhook.console.app import console_app, create_app_state
from onhook.console.pages.reports.kinds import KINDS
from onhook.console.request_coalescing import MAX_AGE_SECONDS
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import send_test_by_name
from onhook.delivery.mail_sender import send_test_mail
from onhook.delivery.preview import preview_notification
from onhook.ledger.sqlite import SqliteLedger
from onhook.ops.rebuild import order_rebuild
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.runtime.adapters.erasure import create_eraser
from onhook.runtime.adapters.ingest import create_publisher
from onhook.runtime.engines import ENGINES
from onhook.runtime.http_server import HttpServer
from onhook.store.contract import QuarantineEntry, Store, StoreBatch
from onhook.store.duckdb import open_store
from onhook.store.position_notifier import PositionNotifier
from onhook.store.sql.runner import SqlProcessRunner

ROLL_UPS_MAX = 100_000
"""Parts of the sums that are computed before the pages are measured: all of them."""

RUNS = 7
"""Of each page, each queried anew: results shared within a second are not measured."""

RATE = 500
"""Calls per second, stored while pages are requested."""

PUTS_A_SECOND = 10
BOUND_MILLISECONDS = 300
PAINT_BOUND_MILLISECONDS = 1_000
PAINTS = 3
FIRST_PAINT = """() => new Promise(resolve => new PerformanceObserver(
    seen => resolve(seen.getEntriesByName("first-contentful-paint")[0].startTime)
).observe({type: "paint", buffered: true}))"""
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
ZONE = "zone=Europe/Berlin"

PERIODS = {"7 days": ZONE, "12 months": f"since=2025-01-01&{ZONE}"}
"""The default period of a report, and the longest that it offers."""

PAGES = {
    "Now": "/",
    "Dashboard, 12 months": f"/?{PERIODS['12 months']}",
    "Calls": "/calls",
    "Calls, an extension": f"/calls?number={EXTENSION}",
    "Calls, a number in another notation": "/calls?q=030+000+000",
    "Calls, part of a name": "/calls?q=zzz",
    "Calls of a month, the longest talk first": f"/calls?since=2025-12-01&{ZONE}&sort=-talk_duration",
    "PBXs": "/pbxs",
    "Issues": "/issues",
    "About": "/about",
    **{
        f"{kind.title}, {period}": f"/reports?report={name}&{query}"
        for name, kind in KINDS.items()
        for period, query in PERIODS.items()
    },
}


class StandingClock:
    """A clock that stands at the end of the simulated calls."""

    def microseconds(self) -> int:
        return (FIRST_SECOND + SECONDS - 3_600) * 1_000_000

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.microseconds() / 1_000_000, UTC)


def run(records: int, store_directory: Path | None = None) -> list[Row]:
    """Fill a store with about so many records, or use a kept one; measure."""
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as directory:
        return asyncio.run(_measured(Path(directory), store_directory or Path(directory), records))


async def _measured(directory: Path, store_directory: Path, records: int) -> list[Row]:
    config = Config(data=directory, console=Address("127.0.0.1", 0), zone="Europe/Berlin")
    file = store_directory / config.store_file.name
    if not file.exists():
        await (await open_store(file)).close()
        fill(file, records)
    store = await open_store(file)
    for _part in range(ROLL_UPS_MAX):
        if not await store.roll_up():
            break
    async with _served(config, store) as (url, token), aiohttp.ClientSession(url, headers=token) as client:
        rows = [Row("records in the store", f"{(await store.counts())['records']:,}")]
        rows += [await _page(client, name, path) for name, path in PAGES.items()]
        rows += [*await _sizes(url, token), *await _paints(url, token)]
        async with _putting(store):
            return [
                *rows,
                *[await _page(client, f"{name}, {RATE} calls a second", path) for name, path in PAGES.items()],
            ]


@contextlib.asynccontextmanager
async def _putting(store: Store) -> AsyncIterator[None]:
    """Store calls, the latest at the clock's time; with numbers that no record has, so that they can be identified."""
    putting = asyncio.create_task(_put_for_ever(store))
    try:
        yield
    finally:
        putting.cancel()
        await asyncio.wait([putting])


async def _put_for_ever(store: Store) -> None:
    now = asyncio.get_running_loop().time
    position, begun_at, facts = await store.position(), now(), PbxFacts(name="PBX-A")
    for turn in count(1):
        started_at = datetime.fromtimestamp(FIRST_SECOND + SECONDS - 3_600, UTC)
        calls = [
            _call(started_at, turn * RATE + number, position + turn, facts) for number in range(RATE // PUTS_A_SECOND)
        ]
        await store.put(StoreBatch(calls=calls, quarantined=(), reparsed_seqs=(), position=position + turn))
        await asyncio.sleep(max(0, begun_at + turn / PUTS_A_SECOND - now()))


def _call(clock_time: datetime, number: int, seq: int, facts: PbxFacts) -> Call:
    details = CallDetails(
        call_id=f"{int(clock_time.timestamp())}.{number}",
        time_start=f"{clock_time:%Y-%m-%d %H:%M:%S}",
        call_from=f"+4940{number % 1_000_000:07}",
        call_to=str(1_000 + number % 500),
        call_duration=20,
        talk_duration=10,
        status="ANSWERED",
        type="Inbound",
    )
    return assemble_call("3691", [ReportedLeg(details=details, seq=seq, via="webhook", received_at=clock_time)], facts)


@contextlib.asynccontextmanager
async def _served(config: Config, store: Store) -> AsyncIterator[tuple[str, dict[str, str]]]:
    clock, feed = StandingClock(), PositionNotifier()
    appdb, ledger = ENGINES.open_appdb(config), SqliteLedger(config.ledger_file)
    for name, sn in (("PBX-A", "3691"), ("PBX-B", "3692"), ("PBX-C", "3693")):
        await appdb.add_pbx(name=name, sn=sn, secret="s" * 32, now_us=1)
    acting = ConsoleActionRunner(config, appdb, clock)

    async def nothing(_seqs: object) -> list[QuarantineEntry]:
        return []

    projector = Projector(ledger=ledger, store=store, dialects=dialects(), clock=clock)
    eraser = create_eraser(config, appdb=appdb, ledger=ledger, store=store, projector=projector, clock=clock)
    app_state = create_app_state(
        store=store,
        sql_runner=SqlProcessRunner(config.store_file, config.sql_directory, clock),
        ledger=ledger,
        appdb=appdb,
        clock=clock,
        config=config,
        position_notifier=feed,
        retry_parsing=nothing,
        delivery_actions=DeliveryActions(
            send_test=partial(send_test_by_name, appdb, destination_opener(config), clock),
            preview=partial(preview_notification, appdb, store, destination_opener(config)),
            delivery_metrics=dict,
        ),
        erasure=ErasureActions(preview=eraser.preview, erase=eraser.erase, list_erasures=eraser.list_erasures),
        actions=ConsoleActions(
            send_test_event=acting.send_test_event,
            run_pbx_checks=acting.run_pbx_checks,
            start_simulated_pbx=acting.start_simulated_pbx,
            fetch_certificate=acting.fetch_certificate,
            rebuild=partial(
                order_rebuild, config, create_publisher(appdb=appdb, ledger=ledger, clock=clock), projector
            ),
            restrict_permissions=acting.restrict_permissions,
            send_test_mail=partial(send_test_mail, config, appdb, clock),
        ),
    )
    try:
        async with HttpServer(console_app(app_state), config.console) as served:
            token = await appdb.tokens.add("bench", "administrator", now_us=1)
            yield f"http://127.0.0.1:{served.port}", {"Authorization": f"Bearer {token}"}
            feed.close()
    finally:
        await store.close()
        await ledger.close()
        await appdb.close()


async def _page(client: aiohttp.ClientSession, name: str, path: str) -> Row:
    durations = []
    for run_number in range(RUNS):
        begun = time.perf_counter()
        answer = await client.get(path)
        await answer.read()
        durations.append((time.perf_counter() - begun) * 1_000)
        assert answer.status == 200, (path, await answer.text())
        if run_number < RUNS - 1 and not path.startswith("/reports"):
            await asyncio.sleep(MAX_AGE_SECONDS)
    worst = max(durations)
    return Row(
        name, f"{statistics.median(durations):.0f} ms, worst of {RUNS} {worst:.0f} ms", "", f"{BOUND_MILLISECONDS} ms"
    )


async def _sizes(url: str, token: dict[str, str]) -> list[Row]:
    """Return the size of the longest page, and of a report with all the files of its chart."""
    async with aiohttp.ClientSession(url, headers=token, auto_decompress=False) as client:
        sizes = {name: await _bytes(client, path) for name, path in PAGES.items()}
        longest = max(sizes, key=sizes.__getitem__)
        async with aiohttp.ClientSession(url, headers=token) as reader:
            text = await (await reader.get("/reports")).text()
        files = sum([await _bytes(client, file) for file in set(re.findall(r'"(/static/[^"]+)"', text))])
    return [
        Row("the longest page the first time, all files", f"{(files + sizes[longest]) / 1_000:.0f} kB", "", "700 kB"),
        Row("the longest page after that", f"{sizes[longest] / 1_000:.0f} kB, {longest}", "", "60 kB"),
    ]


async def _bytes(client: aiohttp.ClientSession, path: str) -> int:
    answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
    return len(await answer.read())


async def _paints(url: str, token: dict[str, str]) -> list[Row]:
    """Return when Chromium first paints each page, by its own timing, with an empty cache."""
    path = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if path is None:
        return [Row("first paint", "not measured", bound="there is no Chromium here")]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            return [await _paint(browser, url, token, name, path) for name, path in PAGES.items()]
        finally:
            await browser.close()


async def _paint(browser: Browser, url: str, token: dict[str, str], name: str, path: str) -> Row:
    durations = []
    for _ in range(PAINTS):
        context = await browser.new_context(extra_http_headers=token)
        page = await context.new_page()
        await page.goto(url + path)
        durations.append(await page.evaluate(FIRST_PAINT))
        await context.close()
        await asyncio.sleep(MAX_AGE_SECONDS)
    return Row(
        f"first paint of {name}",
        f"{statistics.median(durations):.0f} ms, worst of {PAINTS} {max(durations):.0f} ms",
        "",
        f"{PAINT_BOUND_MILLISECONDS} ms",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="directory in which the store is kept for the next run")
    options = parser.parse_args()
    print(table(run(options.records, options.data)))


if __name__ == "__main__":
    main()

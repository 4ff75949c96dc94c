"""The pages in a real browser: live updates, keyboard, dark mode, small screens, hostile names."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.call_details import DETAIL_FIELDS, NUMBER_FIELDS
from onhook.config import Address
from onhook.console.addresses import intake_host, intake_port
from onhook.console.pages import issues
from onhook.ledger.contract import CounterKey
from onhook.store.contract import CallPage
from onhook.store.duckdb import DuckDbStore
from tests.console.conftest import ConsoleHarness
from tests.factories import ALICE, BOB, IVR, QUEUE, SN, call, details, record

OUTPUT = Path(__file__).parents[2] / "test-output"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
expect.set_options(timeout=15_000)  # milliseconds, on a busy machine
OTHER_PAGES = (
    ("/reports", "reports"),
    ("/reports?report=week", "week"),
    ("/reports?report=returned", "returned"),
    ("/audit", "audit"),
    ("/issues", "issues"),
    ("/schema", "api"),
)
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'; alert(1) //",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
    "مدير المبيعات",
    "👩‍💼 Ünïcødé " + "long " * 30,
)


class Visit:
    """A signed-in browser window, and the errors in it."""

    def __init__(self, page: Page, harness: ConsoleHarness) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"error: {error}"))
        page.on(
            "console", lambda message: self.errors.append(f"console: {message.text}") if message.type != "log" else None
        )
        page.on(
            "request",
            lambda request: (
                None
                # A file that a script makes has a URL of its page.
                if request.url.removeprefix("blob:").startswith(harness.url)
                else self.errors.append(request.url)
            ),
        )


@asynccontextmanager
async def open_visit(harness: ConsoleHarness, chromium: str, **context: object) -> AsyncIterator[Visit]:
    """Yield a browser that signed in by the link; afterwards check for errors and for requests to other hosts."""
    OUTPUT.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        window: BrowserContext = await browser.new_context(**context)  # type: ignore[arg-type] # handed through as it is
        visit = Visit(await window.new_page(), harness)
        await visit.page.goto(f"{harness.url}/sign-in?token={harness.admin_token}")
        await visit.page.get_by_role("button", name="Sign in").click()
        yield visit
        assert visit.errors == []
        await browser.close()


def some_calls() -> list[datetime]:
    """Return times of today at which calls may have begun, the latest first."""
    now = datetime.now(UTC).replace(microsecond=0)
    return [now - timedelta(seconds=30 + 97 * n) for n in range(12)]


@pytest.mark.slow
async def test_calls_page_new_call_appears_without_reload(harness: ConsoleHarness, chromium_path: str) -> None:
    """The totals are updated, and the token is not in the URL."""
    moment = some_calls()[0]
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        assert page.url == f"{harness.url}/"
        await expect(page.get_by_text("No calls yet")).to_be_visible()
        await harness.ingest_details([details(moment)])
        await expect(page.locator("tr.call")).to_have_count(1)
        await page.evaluate("window.wasHere = true")
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await harness.ingest_details(
            [details(moment + timedelta(seconds=5), call_from="1003", status="BUSY", talk_duration=0)]
        )
        await expect(page.locator("tr.call")).to_have_count(2)
        await expect(page.locator("tr.call").first).to_contain_text("1003")
        await expect(page.locator("tr.call").first).to_contain_text("Busy")
        await expect(page.locator('[data-tile="missed"]')).to_contain_text("1 busy")
        assert await page.evaluate("window.wasHere")


@pytest.mark.slow
async def test_calls_page_keyboard_opens_first_call(harness: ConsoleHarness, chromium_path: str) -> None:
    """Tab and Enter are enough; the focus stays when a call arrives."""
    moments = some_calls()
    await harness.ingest_details([details(moment) for moment in moments[1:]])
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        for _ in range(60):
            await page.keyboard.press("Tab")
            if await page.evaluate("!!document.activeElement.closest('tr.call')"):
                break
        focused = await page.evaluate("document.activeElement.getAttribute('href')")
        await harness.ingest_details([details(moments[0])])
        await expect(page.locator("tr.call")).to_have_count(12)
        assert await page.evaluate("document.activeElement.getAttribute('href')") == focused
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(harness.url + focused)
        await expect(page.get_by_role("heading", name="Call flow")).to_be_visible()


async def test_call_page_shows_chart_fields_and_event(harness: ConsoleHarness, chromium_path: str) -> None:
    """There is a bar per leg, every field under its own name, and the event."""
    moment = some_calls()[0]
    call_id = f"{int(moment.timestamp())}.77"
    parties = (IVR, QUEUE, BOB)
    await harness.ingest_details(
        [details(moment, call_id=call_id, call_to=party, agent_ring_time=None) for party in parties]
    )
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls/{SN}/{call_id}")
        await expect(page.locator("svg.bar")).to_have_count(3)
        await page.get_by_text("Fields of all legs").click()
        names = await page.locator(".fields tbody:first-of-type th code").all_inner_texts()
        assert names[:18] == list(DETAIL_FIELDS)
        await page.get_by_text(re.compile("^Event 3")).click()
        await expect(page.locator("pre").last).to_contain_text("time_start")


@pytest.mark.slow
async def test_pages_hostile_names_are_escaped(harness: ConsoleHarness, chromium_path: str) -> None:
    texts = [name for name in DETAIL_FIELDS if name not in {*NUMBER_FIELDS, "call_id", "time_start"}]
    moments = some_calls()
    await harness.ingest_details(
        [details(moment, **dict.fromkeys(texts, evil)) for moment, evil in zip(moments, HOSTILE, strict=False)]
    )
    await harness.ingest_details(
        [
            details(moments[8], call_id=f"{evil[:40]}/../x", extra={evil: evil, "talk_duration": evil})
            for evil in HOSTILE
        ]
    )
    await harness.ingest_bodies([f'{{"type":30012,"sn":"{SN}","msg":"<script>{{"}}'.encode()])
    await harness.appdb.notes.write(
        SN, f"{HOSTILE[0][:40]}/../x", HOSTILE[0], "<b>x</b>", author=HOSTILE[1][:60], now_us=1
    )
    await harness.appdb.alarms.raise_alarm(
        SN, "silence", HOSTILE[0], hint=HOSTILE[1], now_us=harness.clock.microseconds()
    )
    await harness.appdb.saved_searches.add(HOSTILE[0][:60], "/calls?q=x", author=HOSTILE[1])
    await harness.ledger.add_counts(
        {CounterKey("unknown_pbx", evil[:60], evil[:60]): 1 for evil in HOSTILE}, harness.clock.microseconds()
    )
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await expect(page.locator("tr.call")).to_have_count(2 * len(HOSTILE))
        await expect(page.locator("tr.call", has_text=HOSTILE[0]).first).to_be_visible()
        links = await page.locator("tr.call .time a").evaluate_all("links => links.map(link => link.href)")
        other_paths = (
            "issues",
            "reports?report=callers",
            "reports?report=trunks",
            "reports?report=unreturned",
            "users",
            "pbxs",
            "audit",
            "calls?columns=answered_by,wait,talk,duration,tags,type,trunk,did,recording,legs,pbx",
            "destinations",
            "alarms",
            "quarantine",
            "reports?report=outcomes",
            "reports?report=dialled",
            "reports?report=dids",
            "reports?report=extensions",
            "reports?report=agents",
            "sql?sql=SELECT+*+FROM+records",
            f"pbxs/{SN}",
        )
        searched = f"{harness.url}/calls?q={HOSTILE[0]}"
        for link in [*links, searched, *(f"{harness.url}/{other}" for other in other_paths)]:
            answer = await page.goto(link)
            assert answer is not None
            assert answer.status == 200, link
            assert await page.title() != "owned"
            assert await page.locator("main script, main img").count() == 0, link


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("light", {"color_scheme": "light", "viewport": {"width": 1440, "height": 900}}),
        pytest.param(
            "dark", {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}}, marks=pytest.mark.slow
        ),
        pytest.param(
            "telephone", {"color_scheme": "light", "viewport": {"width": 390, "height": 844}}, marks=pytest.mark.slow
        ),
    ],
)
async def test_pages_fit_the_window(
    harness: ConsoleHarness, chromium_path: str, name: str, context: dict[str, object]
) -> None:
    """Long names fit too; a screenshot of each page is saved."""
    moments = some_calls()
    await harness.ingest_details([details(moment, call_from=f"{HOSTILE[-1]}<{10**19}>") for moment in moments])
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s"}' % SN.encode()])
    async with open_visit(harness, chromium_path, **context) as visit:
        page = visit.page
        first_call = await page.locator("tr.call a").first.get_attribute("href")
        call = str(first_call)
        for path, page_name in (("/", "now"), ("/calls", "calls"), (call, "call"), *OTHER_PAGES):
            await page.goto(harness.url + path)
            await page.screenshot(path=OUTPUT / f"{page_name}-{name}.png")
            width = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert width <= 0, (page_name, width)
            if name == "light":
                hidden = await page.evaluate(
                    "[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
                )
                assert max(hidden, default=0) <= 0, f"a column of {page_name} is cut off"


@pytest.mark.slow
async def test_report_head_stays_in_view_and_warnings_are_not_printed(
    harness: ConsoleHarness, chromium_path: str
) -> None:
    """A table of a hundred rows keeps its headings; a banner about a destination is for the screen."""
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
    for index in range(120):
        call_at = begin + timedelta(minutes=index)
        parties = {"call_from": f"+4930{index:07}", "call_to": "1001", "type": "Inbound"}
        await harness.ingest_details([details(call_at, status="NO ANSWER", talk_duration=0, **parties)])
    destination, _ = await harness.appdb.destinations.add(
        "CRM", DestinationSpec(url="http://a.example/"), None, after=0, now_us=1
    )
    await harness.appdb.destinations.disable(destination, "the application answered 410 Gone")
    async with open_visit(harness, chromium_path, viewport={"width": 1440, "height": 900}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/reports?report=unreturned")
        assert "Rows 1 to 100 of 120." in await page.inner_text("main")
        await page.locator("tbody tr").last.scroll_into_view_if_needed()
        assert await page.locator("thead th").first.is_visible()
        head, table = page.locator("thead th").first, page.locator("main .scroll")
        assert await table.evaluate("element => element.scrollTop") > 0
        head_top, table_top = [await part.evaluate("e => e.getBoundingClientRect().top") for part in (head, table)]
        assert head_top == table_top
        assert await page.locator(".issue-banner").is_visible()
        await page.emulate_media(media="print")
        assert not await page.locator(".issue-banner").is_visible()


@pytest.mark.slow
async def test_pages_on_small_screen_show_the_called_number(harness: ConsoleHarness, chromium_path: str) -> None:
    """At 390 px the name or number of a queue or IVR is readable, and the reason of a rejected request."""
    await harness.ingest_details([details(some_calls()[n], call_to=party) for n, party in enumerate((QUEUE, IVR, BOB))])
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s"}' % SN.encode()])
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 844}) as visit:
        page = visit.page
        await page.screenshot(path=OUTPUT / "callees-telephone.png")
        for number in ("6400", "6200", "1002"):
            box = await page.locator("td.to .number", has_text=number).bounding_box()
            cell = await page.locator("td.to", has_text=number).bounding_box()
            assert box
            assert cell
            visible_number = page.locator("td.to .number", has_text=number)
            assert await visible_number.evaluate("one => one.scrollWidth <= one.clientWidth"), "cut"
            assert box["x"] + box["width"] <= cell["x"] + cell["width"] + 1
            name = await page.locator("td.to", has_text=number).locator(".name").bounding_box()
            assert name
            assert name["width"] > 20
        await page.goto(f"{harness.url}/issues")
        await page.screenshot(path=OUTPUT / "issues-telephone.png")
        reason_box = await page.locator("td.long").first.bounding_box()
        assert reason_box
        assert reason_box["x"] + reason_box["width"] <= 390
        row = await page.locator(".stacked tbody tr").first.bounding_box()
        assert row
        assert row["height"] < 200


@pytest.mark.slow
async def test_calls_page_mark_of_assumed_zone_is_readable(harness: ConsoleHarness, chromium_path: str) -> None:
    """`UTC?` fits into the column of times at 1280 px."""
    await harness.ingest_details([details(some_calls()[0], call_id="a.b", uid="")])
    async with open_visit(harness, chromium_path, viewport={"width": 1280, "height": 900}) as visit:
        await visit.page.screenshot(path=OUTPUT / "assumed.png")
        mark = await visit.page.locator("abbr.assumed").bounding_box()
        cell = await visit.page.locator("td.time").bounding_box()
        assert mark
        assert cell
        assert mark["x"] + mark["width"] <= cell["x"] + cell["width"]


async def test_pages_work_without_scripts(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Calls, totals, filters and the link to the next page are in the HTML."""
    await harness.ingest_details([details(moment) for moment in some_calls()])
    text = await (await client.get("/calls?number=1001&limit=5&since=7d&zone=Asia/Kathmandu")).text()
    assert text.count('class="call"') == 5
    assert 'value="1001"' in text
    assert "Asia/Kathmandu" in text
    older = re.search(r'class="older"[^>]*href="([^"]+)"', text)
    assert older
    text = await (await client.get(older[1].replace("&amp;", "&"))).text()
    assert text.count('class="call"') == 5
    assert "data-live" not in text


async def test_calls_page_assumed_zone_is_marked(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """An unknown duration is a dash, not zero."""
    await harness.ingest_details([details(call_id="a.b", uid="", call_duration=None, talk_duration=None)])
    text = await (await client.get("/")).text()
    assert "UTC?" in text
    assert text.count('title="unknown"') == 1


async def test_quarantine_page_shows_the_newest_events(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is cut says so."""
    monkeypatch.setattr(issues, "QUARANTINE_SHOWN_MAX", 2)
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s","n":%d}' % (SN.encode(), n) for n in range(7)])
    text = await (await client.get("/issues")).text()
    assert re.findall(r'href="/events/(\d+)"', text) == ["8", "7"]
    assert "newest 2 of 7" in text
    assert "onhook quarantine retry --all" in text
    assert "7 events could not be parsed" in await (await client.get("/")).text()


async def test_dashboard_missed_calls_link_to_list(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """This includes calls missed for another reason."""
    moments = some_calls()
    statuses = ("ANSWERED", "BUSY", "NO ANSWER", "TELEPORTED")
    for moment, status in zip(moments, statuses, strict=False):
        await harness.ingest_details([details(moment, status=status, talk_duration=14 if status == "ANSWERED" else 0)])
    text = await (await client.get("/", params={"since": "2d"})).text()  # today may have just begun
    for shown_as, expected in ((">3</a>", 3), (">1 other</a>", 1)):
        link = re.search(rf'href="([^"]*status=%21ANSWERED[^"]*)"{shown_as}', text)
        assert link
        assert (await (await client.get(link[1].replace("&amp;", "&"))).text()).count('class="call"') == expected


async def test_dashboard_many_readers_share_one_query(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is counted that is not shown."""
    await harness.ingest_details([details(some_calls()[0])])
    queries = []

    async def calls(self: DuckDbStore, *arguments: Any) -> CallPage:
        queries.append("calls")
        return await original(self, *arguments)

    async def counts(self: DuckDbStore) -> dict[str, int]:  # noqa: ARG001 - the signature of the replaced function
        queries.append("counts")
        return {}

    original = DuckDbStore.calls
    monkeypatch.setattr(DuckDbStore, "calls", calls)
    monkeypatch.setattr(DuckDbStore, "counts", counts)
    texts = [await answer.text() for answer in await asyncio.gather(*(client.get("/") for _ in range(9)))]
    assert all(text.count('class="call"') == 1 for text in texts)
    assert queries == ["calls"]


async def test_pbx_page_shows_the_port_of_the_receiver(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The page shows the actual port where 0 is configured, or none; never port 0."""
    config = msgspec.structs.replace(harness.config, intake=Address("127.0.0.1", 0))
    assert intake_port(harness.config) == 30012
    assert intake_port(config) == 0
    config.running_file.write_text('{"pid":1,"intake":{"pid":2,"address":"127.0.0.1:33333"}}')
    assert intake_port(config) == 33333
    config.running_file.write_text("{")
    assert intake_port(config) == 0
    assert "http://127.0.0.1:30012/" in await (await client.get("/")).text()


@pytest.mark.parametrize(
    ("intake", "request_host", "expected_host"),
    [
        ("", "calls.example.com", ("calls.example.com", False)),
        ("::", "fd00::7", ("[fd00::7]", False)),
        ("192.0.2.7", "localhost", ("192.0.2.7", False)),
    ],
)
def test_pbx_page_shows_the_host_of_the_receiver(
    harness: ConsoleHarness, intake: str, request_host: str, expected_host: tuple[str, bool]
) -> None:
    """The host is the configured one, else that of the request; on the loopback it is marked as a guess."""
    config = msgspec.structs.replace(harness.config, intake=Address(intake, 30012))
    assert intake_host(config, request_host) == expected_host
    assert intake_host(harness.config, "127.0.0.1")[1]


async def test_api_page_is_readable(client: aiohttp.ClientSession) -> None:
    """Names are formatted as code, and each export has its own description."""
    text = await (await client.get("/schema")).text()
    assert "`" not in text
    jsonl = text[text.index("export.jsonl") : text.index("export.parquet")]
    assert "spreadsheet" not in jsonl
    assert "UTC" in jsonl


def test_factories_make_consistent_calls() -> None:
    """The factories make what the rules would make: Alice talks to Bob."""
    alice_call = call(record(call_from=ALICE))
    assert (alice_call.status, alice_call.answered_by, alice_call.talk_duration) == ("ANSWERED", "1002", 14)


@pytest.mark.slow
async def test_report_chart_and_table_link_to_calls(harness: ConsoleHarness, chromium_path: str) -> None:
    """The keyboard leads from the menu to a report and by its table to the calls; a bar of the chart is a link."""
    await harness.ingest_details([details(moment) for moment in some_calls()])
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.get_by_role("link", name="Reports").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="Top callers").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("figure[data-rendered] canvas")).to_be_visible()
        await page.locator("table.figures tbody a").first.focus()
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile("/calls\\?.*caller=1001"))
        await expect(page.locator("tr.call")).to_have_count(12)
        # Nothing covers the form: each row is one link, and the link ends with its row.
        await page.get_by_role("button", name="Search").click(trial=True)
        await page.go_back()
        box = await page.locator("figure[data-rendered] canvas").bounding_box()
        assert box
        await page.mouse.click(box["x"] + box["width"] / 3, box["y"] + box["height"] * 0.4)
        await expect(page).to_have_url(re.compile("/calls\\?.*caller=1001"))


@pytest.mark.slow
async def test_export_shows_its_progress(harness: ConsoleHarness, chromium_path: str) -> None:
    """Each format is downloaded completely, and the page shows the progress."""
    await harness.ingest_details([details(moment) for moment in some_calls()])
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls")
        for name in ("CSV", "XLSX", "JSONL", "Parquet"):
            async with page.expect_download() as downloading:
                await page.get_by_role("link", name=name, exact=True).click()
            path = await (await downloading.value).path()
            assert path.stat().st_size > 500
            await expect(page.locator("#export-progress")).to_contain_text(f"{name}: done")

"""Parts of every page: the menu and the user."""

import re
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

import onhook.console
from onhook.config import Address
from onhook.console.addresses import is_loopback
from onhook.console.pages.reports import page as report_routes
from onhook.console.pages.reports.kinds import KINDS
from onhook.console.pages.totals import Totals
from tests.console.conftest import ConsoleHarness, open_console_harness
from tests.factories import ALICE, PBX, SN, details

CURRENT = re.compile(r'<a href="([^"]+)" aria-current="page">\w+</a>')
CALL_ID = "1777287876.1"


MARKED = {
    "/": ["/"],
    "/calls": ["/calls"],
    f"/calls/{SN}/{CALL_ID}": ["/calls"],
    f"/pbxs/{SN}": ["/pbxs"],
    "/destinations": ["/destinations"],
    "/quarantine": ["/issues"],
    "/events/2": ["/issues"],
    "/audit": ["/users"],
    "/about": [],
    "/schema": [],
}


async def test_page_menu_marks_the_current_page(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details(call_id=CALL_ID)])
    for path, marked in MARKED.items():
        text = await (await client.get(path)).text()
        menu = text[text.index('aria-label="Pages"') : text.index("</nav>")]
        assert CURRENT.findall(menu) == marked, path
        assert 'href="/users"' in menu


async def test_api_page_lists_all_routes(client: aiohttp.ClientSession) -> None:
    """Each has its method and the fields of its body."""
    schema = await (await client.get("/schema/openapi.json")).json()
    text = await (await client.get("/schema")).text()
    assert text.count('class="route"') == sum(len(methods) for methods in schema["paths"].values())
    assert 'class="method patch"' in text
    assert "<code>call_id</code> <small>required</small>" in text
    assert "Raises" not in text


async def test_report_page_long_table_is_paged(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has all rows."""
    monkeypatch.setattr(report_routes, "ROWS_MAX", 2)
    started_at = datetime(2026, 10, 25, 11, tzinfo=UTC)
    await harness.ingest_details([details(started_at, call_from=ALICE, call_to=f"100{n}") for n in range(1, 6)])
    query = "report=dialled&since=2026-10-25&until=2026-10-26"
    row_count, path, text = 0, f"/reports?{query}", ""
    while path:
        text = await (await client.get(path)).text()
        row_count += text.count('<th scope="row">')
        after = re.search(r'href="([^"]+)">Next rows', text)
        path = after[1].replace("&amp;", "&") if after else ""
    assert row_count == 5
    assert "Rows 5 to 5 of 5" in text
    assert (await (await client.get(f"/reports.csv?{query}")).text()).count("\r\n") == 6


async def test_page_control_characters_of_a_caller_reach_no_page(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """An escape sequence moves the cursor of a terminal that shows the page; an override turns the text."""
    hostile = "Eve\x1b[2J\x07\x9b31m\u202etxt.exe\x00<5550199>"
    started_at = datetime(2026, 10, 25, 11, tzinfo=UTC)
    texts = dict.fromkeys(("call_from", "call_to", "src_trunk_name", "did_name", "recording", "status"), hostile)
    legs = [details(started_at, call_id=CALL_ID, type="Inbound", **texts), details(started_at, call_from=hostile)]
    await harness.ingest_details(legs)
    await harness.appdb.notes.write(SN, CALL_ID, hostile.replace("\x00", ""), "", author="Alice", now_us=1)
    period = "since=2026-10-25&until=2026-10-26"
    paths = [*MARKED, f"/calls?{period}", *(f"/reports?report={name}&{period}" for name in KINDS)]
    for path in paths:
        text = await (await client.get(path)).text()
        assert re.findall("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", text) == [], path
        assert "Eve" in text or path != f"/calls?{period}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "192.0.2.7"])
def test_loopback_warning_is_shown_for_addresses_of_this_machine(host: str) -> None:
    """A PBX elsewhere cannot reach the URL that the page offers."""
    assert is_loopback(host) is (host != "192.0.2.7")


@pytest.mark.parametrize("missed_by", [{"no_answer": 3}, {"busy": 1, "abandoned": 2, "failed": 1, "voicemail": 5}, {}])
def test_totals_breakdown_adds_up_to_the_missed_calls(missed_by: dict[str, int]) -> None:
    """Whatever the outcomes; those that no PBX is known to have are one more part."""
    totals = Totals(calls=60, answered=10, missed=50, **missed_by)
    assert sum(number for *_, number in totals.missed_by_outcome) == totals.missed


CONSOLE = Path(onhook.console.__file__).parent


def test_templates_errors_are_sentences() -> None:
    """A message begins in lower case, because elsewhere another text comes before it."""
    pattern = re.compile(r'class="(?:field-)?error"[^>]*>\{\{ (?!_\(|format_error\()([^}]+)\}\}')
    values = {path.name: pattern.findall(path.read_text()) for path in (CONSOLE / "templates").glob("*.html")}
    assert {name: expressions for name, expressions in values.items() if expressions} == {}


def test_scripts_have_no_texts_of_their_own() -> None:
    """Texts come with the page, in its language."""
    lines = [line for path in (CONSOLE / "static").glob("*.js") for line in path.read_text().splitlines()]
    literals = [text for line in lines if ".textContent =" in line for text in re.findall(r'"([^"]*)"', line)]
    assert literals
    assert [text for text in literals if re.search("[A-Z][a-z]{2}|[a-z]{2} |: [a-z]", text)] == []


@pytest.mark.parametrize(("host", "is_shown"), [("127.0.0.1", True), ("192.0.2.7", False)])
async def test_loopback_warning_is_on_each_page_that_offers_the_url(tmp_path: Path, host: str, is_shown: bool) -> None:
    """The dashboard before the first call, the page of a PBX, and the last step of adding one, by each form."""
    warning = "Only programs on this machine reach this URL: start the server with <code>--intake 0.0.0.0:30012</code>"
    async with open_console_harness(tmp_path, intake=Address(host, 30012)) as harness, harness.client() as client:
        texts = {path: await (await client.get(path)).text() for path in ("/", f"/pbxs/{SN}?wait=yes")}
        for path, sn in (("/add-pbx/p-series", "3699ONE"), ("/pbxs", "3699TWO")):
            texts[path] = await (await client.post(path, data={"name": sn, "sn": sn})).text()
        for path, text in texts.items():
            assert f"{host}:30012" in text, path
            assert (warning in text) is is_shown, path


@pytest.mark.parametrize(
    ("clock", "changes", "mark"),
    [
        ("2026-10-25 02:30:00", {}, "twice?"),
        ("2026-03-29 02:30:00", {}, "shifted"),
        ("2026-07-01 02:30:00", {}, ""),
        ("2026-07-01 02:30:00", {"zone": None}, "UTC?"),
    ],
)
async def test_start_that_is_not_certain_is_marked_on_calls_and_the_call(
    harness: ConsoleHarness, client: aiohttp.ClientSession, clock: str, changes: dict[str, None], mark: str
) -> None:
    """Ids without a time, and the zone of the PBX: an hour that occurs twice, one that does not exist, no zone."""
    await harness.appdb.change_pbx(PBX, {"zone": "Europe/Berlin"} | changes)
    await harness.publish()
    await harness.ingest_details([details(call_id="opaque", uid="", time_start=clock)])
    for path in ("/calls?since=2026-01-01", f"/calls/{SN}/opaque"):
        text = await (await client.get(path)).text()
        assert re.findall(r'<abbr class="assumed" title="[^"]+">([^<]*)</abbr>', text) == ([mark] if mark else []), path

"""Reports by department and site: data, links and files equal plain loops over the calls."""

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_details import fold_word
from onhook.cdr.directory import DirectoryEntry
from onhook.cdr.identity import extract_number
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from tests.cdr import plain_queues
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.console.test_queue_reports import BEGIN, PERIOD, expected_row, random_calls, select
from tests.factories import SN, details

PLAN = NumberPlan()
DEPARTMENTS = {"1001": "Sales", "1002": "Sales", "1003": "Support", "6400": "Sales", "6401": "Support"}
ENTRIES = [
    DirectoryEntry(sn=SN, number=number, name=f"Name {number}", department=department, site="Berlin")
    for number, department in DEPARTMENTS.items()
]


@pytest.fixture
async def calls(harness: ConsoleHarness) -> list[Call]:
    """Return calls of a week from outside, and some between extensions; extensions 1004 and 1009 have no department."""
    await harness.appdb.directory.put(ENTRIES)
    inside = [
        details(BEGIN, call_id=f"{int(BEGIN.timestamp())}.9{index}", call_from=f"Someone<{caller}>", call_to=callee)
        for index, (caller, callee) in enumerate(
            (("1001", "1002"), ("1001", "1003"), ("1009", "1002"), ("1003", "1009"))
        )
    ]
    await harness.ingest_details([*random_calls(2), *inside])
    return list((await harness.store.calls(RecordFilter(), 1_000)).data)


async def read_cells(client: aiohttp.ClientSession, name: str, query: str = "") -> dict[Any, dict[str, Any]]:
    """Return the cells of a report by the value of their row's first cell, and by the title of the column."""
    answer = await client.get(f"/api/v1/reports?report={name}&{PERIOD}&group_by=department{query}")
    report = await answer.json()
    assert answer.status == 200, report
    titles = [column["title"] for column in report["columns"]]
    return {row[0]["value"]: dict(zip(titles, row, strict=True)) for row in report["data"]}


def values(cells: dict[Any, dict[str, Any]], *titles: str) -> dict[Any, tuple[Any, ...]]:
    return {name: tuple(row[title]["value"] for title in titles) for name, row in cells.items()}


def went_to(call: Call) -> set[str]:
    """Return the extensions, and other numbers with a department, to which a call went."""
    numbers = {extract_number(leg.call_to) for leg in call.legs if not leg.dst_trunk_name}
    return {number for number in numbers if is_extension(number) or number in DEPARTMENTS}


def is_extension(number: str) -> bool:
    return PLAN.kind_of(number) == "extension"


def departments(numbers: set[str]) -> set[str]:
    return {DEPARTMENTS.get(number, "No department") for number in numbers}


def select_calls(calls: Sequence[Call], department: str, numbers: Callable[[Call], set[str]]) -> list[Call]:
    return [call for call in calls if department in departments(numbers(call))]


def answering(call: Call) -> set[str]:
    return went_to(call) & {call.answered_by}


def making(call: Call) -> set[str]:
    return set() if call.src_trunk_name else {extract_number(call.call_from)}


async def test_extensions_by_department_equal_plain_loop(client: aiohttp.ClientSession, calls: list[Call]) -> None:
    """Each figure links to exactly its calls."""
    cells = await read_cells(client, "extensions")
    numbers = set().union(*(went_to(call) | making(call) for call in calls))
    expected = {}
    for department in ("Sales", "Support", "No department"):
        received, answered, made = (select_calls(calls, department, of) for of in (went_to, answering, making))
        talk = sum(call.talk_duration or 0 for call in answered)
        extensions = sum(
            DEPARTMENTS.get(number, "No department") == department for number in numbers if is_extension(number)
        )
        expected[department] = (extensions, len(received), len(answered), len(made), talk)
    assert values(cells, "Extensions", "Received", "Answered", "Outgoing", "Talk time") == expected
    assert all(row[1] > 0 for row in expected.values())
    for department in ("Sales", "Support"):
        for title in ("Received", "Answered", "Outgoing"):
            cell = cells[department][title]
            answer = await client.get("/api/v1" + cell["href"] + "&limit=1000") if cell["href"] else None
            count = len((await answer.json())["data"]) if answer else 0
            assert count == cell["value"], (department, title)


async def test_pbxs_by_department_equal_plain_loop(client: aiohttp.ClientSession, calls: list[Call]) -> None:
    def parties(call: Call) -> set[str]:
        callers = {extract_number(leg.call_from) for leg in call.legs if not leg.src_trunk_name}
        callees = {extract_number(leg.call_to) for leg in call.legs if not leg.dst_trunk_name}
        return (callers | callees) & DEPARTMENTS.keys()

    cells = await read_cells(client, "pbxs")
    summary = await (await client.get(f"/api/v1/summary?by=department&{PERIOD}")).json()
    assert {row["department"] or "No department": row["calls"] for row in summary["data"]} == {
        name: row["Calls"]["value"] for name, row in cells.items()
    }
    expected = {}
    for department in ("Sales", "Support", "No department"):
        chosen = [call for call in calls if department in (departments(parties(call)) or {"No department"})]
        answered = [call for call in chosen if fold_word(call.status) == "ANSWERED"]
        expected[department] = (len(chosen), len(answered), len(chosen) - len(answered))
    assert values(cells, "Calls", "Answered", "Missed") == expected
    for department in ("Sales", "Support"):
        answer = await client.get("/api/v1" + cells[department]["Calls"]["href"] + "&limit=1000")
        assert len((await answer.json())["data"]) == expected[department][0]
    assert cells["No department"]["Calls"]["href"] == ""


async def test_queues_by_department_equal_plain_loop_and_add_up(
    client: aiohttp.ClientSession, calls: list[Call]
) -> None:
    cells = await read_cells(client, "queues")
    visits = select(calls, "queue")
    for department, queue in (("Sales", "6400"), ("Support", "6401")):
        row = {title: cell["value"] for title, cell in cells[department].items()}
        expected = expected_row([visit for visit in visits if visit["queue"] == queue])
        assert row == {"Department": department, "Queues": 1} | expected
    total = {title: cell["value"] for title, cell in cells["Total"].items()}
    assert total == {"Department": "Total", "Queues": 2} | expected_row(visits)
    groups = await read_cells(client, "ring-groups")
    assert set(groups) == {"No department", "Total"}


async def test_agents_by_department_equal_plain_loop_and_add_up(
    client: aiohttp.ClientSession, calls: list[Call]
) -> None:
    """An agent of two queues worked once a day, not twice; the total is the sum of the rows."""
    by_queue = plain_queues.agents(calls, PLAN, ZoneInfo("Europe/Berlin"))
    worked = plain_queues.worked_seconds(calls, PLAN, ZoneInfo("Europe/Berlin"))
    cells = await read_cells(client, "agents")
    titles = ("Agents", "Answered", "Missed rings", "Talk", "Worked", "Talk per hour")
    expected: dict[str, tuple[Any, ...]] = {}
    for department in ("Sales", "Support", "No department", "Total"):
        agents = [
            agent for _pbx, agent in worked if department in (DEPARTMENTS.get(agent[0], "No department"), "Total")
        ]
        rows = [figures for (_pbx, _queue, agent), figures in by_queue.items() if agent in agents]
        answered, missed, talk = (sum(row[place] for row in rows) for place in range(3))
        seconds = sum(worked["office", agent] for agent in agents)
        expected[department] = (
            *(len(agents), answered, missed, talk, seconds),
            round(3600 * talk / seconds) if seconds else None,
        )
    assert values(cells, *titles) == expected
    for place in range(5):
        assert sum(row[place] for name, row in expected.items() if name != "Total") == expected["Total"][place]


async def test_report_by_site_is_shown_on_the_page_and_in_the_file(
    client: aiohttp.ClientSession, calls: list[Call]
) -> None:
    query = f"report=extensions&{PERIOD}&group_by=site"
    page = await (await client.get(f"/reports?{query}")).text()
    assert '<option value="site" selected>' in page
    assert "Berlin" in page
    text = await (await client.get(f"/reports.csv?{query}")).text()
    assert [line.partition(",")[0] for line in text.splitlines()] == ["Site", "Berlin", "No site"]
    assert (await client.get("/api/v1/reports?group_by=colour")).status == 400
    page = await (await client.get("/reports?report=extensions&group_by=colour")).text()
    assert "reports are not by" in page.lower()
    assert calls


async def test_report_without_departments_says_where_they_are_set(client: aiohttp.ClientSession) -> None:
    answer = await client.get("/api/v1/reports?report=extensions&group_by=department")
    assert "page Directory" in (await answer.json())["note"]


async def test_number_filter_of_a_department_works_everywhere(
    harness: ConsoleHarness, client: aiohttp.ClientSession, calls: list[Call]
) -> None:
    """In lists, exports, chips, suggestions and the search of a share token."""
    sales = {"1001", "1002", "6400"}
    expected = sum(
        any(
            (not leg.src_trunk_name and extract_number(leg.call_from) in sales)
            or (not leg.dst_trunk_name and extract_number(leg.call_to) in sales)
            for leg in call.legs
        )
        for call in calls
    )
    call_page = await client.get("/api/v1/calls?number=department:sales&limit=1000")
    assert len((await call_page.json())["data"]) == expected
    page = await (await client.get("/calls?q=department:Sales")).text()
    assert "department Sales" in page
    suggestions = await (await client.get("/suggestions?field=party&text=sal")).json()
    assert suggestions["data"][0] == {"value": "department:Sales", "label": "department"}
    body = {"name": "sales", "export_filter": "answered_by=department:Sales"}
    share = await (await client.post("/api/v1/tokens", json=body)).json()
    async with harness.client("") as anonymous:
        text = await (await anonymous.get(f"/api/v1/export.csv?token={share['text']}")).text()
    answered = [call for call in calls if call.answered_by in sales and call.answered_by in went_to(call)]
    assert len(text.splitlines()) - 1 == sum(len(call.legs) for call in answered)


@pytest.mark.parametrize("mask", ["last3", "hash"])
async def test_masked_reader_gets_the_same_departments(
    harness: ConsoleHarness, client: aiohttp.ClientSession, calls: list[Call], mask: Any
) -> None:
    scope = AccessScope(mask=mask)
    token = await harness.appdb.tokens.add("masked", "reader", now_us=harness.clock.microseconds(), scope=scope)
    async with harness.client(token) as reader:
        for name in ("extensions", "queues", "agents", "pbxs"):
            query = f"/reports.csv?report={name}&{PERIOD}&group_by=department"
            assert await (await reader.get(query)).text() == await (await client.get(query)).text(), name
        answer = await reader.get("/api/v1/calls?number=department:Sales&call_to=1002&limit=1000")
        masked_count = len((await answer.json())["data"])
    answer = await client.get("/api/v1/calls?number=department:Sales&call_to=1002&limit=1000")
    assert masked_count == len((await answer.json())["data"]) > 0
    assert calls


@pytest.mark.slow
async def test_rows_by_department_are_chosen_on_the_page(
    harness: ConsoleHarness, chromium_path: str, calls: list[Call]
) -> None:
    """And a figure leads to its calls, with the department as a chip."""
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/reports?report=extensions&{PERIOD}")
        await page.locator("select[name=group_by]").select_option("by department")
        await page.get_by_role("button", name="Show").click()
        await expect(page.get_by_role("row", name="Sales")).to_be_visible()
        await page.screenshot(path=OUTPUT / "report-by-department.png", full_page=True)
        await page.get_by_role("row", name="Sales").get_by_role("link").nth(1).click()
        await expect(page.get_by_text("department Sales")).to_be_visible()
        await page.screenshot(path=OUTPUT / "calls-of-a-department.png")
        await page.set_viewport_size({"width": 390, "height": 800})
        await page.goto(f"{harness.url}/reports?report=agents&{PERIOD}&group_by=site")
        await page.screenshot(path=OUTPUT / "report-by-site-narrow.png", full_page=True)
    assert calls

"""Reports: each figure links to exactly the calls that it counts; page, chart and file are equal."""

import csv
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from onhook.cdr.call_details import CallDetails
from onhook.cdr.csv_injection import escape_formula
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.reports.kinds import KINDS
from onhook.console.queries.period import Period, compared_period, get_period, previous_period
from onhook.lib.errors import UsageError
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import BOB, IVR, QUEUE, details

BERLIN = ZoneInfo("Europe/Berlin")
TALLY = re.compile(r'<a(?: class="good")? href="([^"]+)">\s*([0-9\u202f]+)\s*</a>')
AUTUMN = datetime(2026, 10, 24, 22, tzinfo=UTC)
"""Begin of the day of 25 hours in Berlin."""


@pytest.mark.parametrize("report", ["answer", "wait", "ring", "talk"])
async def test_report_of_durations_has_bars_of_equal_width(client: aiohttp.ClientSession, report: str) -> None:
    """Bars of equal width are drawn for equal ranges of seconds, from 0 without a gap; the last one has the rest."""
    async with client.get(f"/reports.csv?report={report}") as answer:
        labels = [row[0] for row in list(csv.reader(io.StringIO(await answer.text())))[1:]]
    ranges = [tuple(map(int, label.split(" to "))) for label in labels[:-1]]
    assert len({high - low for low, high in ranges}) == 1
    lows = [low for low, _high in ranges]
    assert lows == [0, *(high + 1 for _low, high in ranges[:-1])]
    assert labels[-1] == f"{ranges[-1][1] + 1} and more"


def some_calls(begin: datetime) -> list[CallDetails]:
    """Return a day and a night of calls: queue and agent, ring group, outbound, missed inbound calls, one of them
    returned.
    """
    events = [
        details(begin, call_id=f"{int(begin.timestamp())}.99", call_from="1003", call_to=call_to)
        for call_to in ("Sales<6300>", BOB)
    ]
    for hour in range(30):
        started_at = begin + timedelta(hours=hour, minutes=7 * hour % 60)
        inbound: dict[str, Any] = {
            "type": "Inbound",
            "src_trunk_name": f"trunk-{hour % 2}",
            "did_number": f"+493055{hour % 3}",
        }
        outside = f"+4930123450{hour % 4}"
        call_id = f"{int(started_at.timestamp())}.{hour}"
        if hour % 3 == 0:
            legs = [(IVR, 5, 5), (QUEUE, 90 + hour, 70), (BOB, 90 + hour, 70)]
            events += [
                details(
                    started_at,
                    call_id=call_id,
                    call_from=outside,
                    call_to=call_to,
                    call_duration=all_,
                    talk_duration=talk,
                    **inbound,
                )
                for call_to, all_, talk in legs
            ]
        elif hour % 3 == 1:
            status = ("NO ANSWER", "BUSY", "VOICEMAIL", "strange")[hour % 4]
            events.append(
                details(
                    started_at, call_from=outside, status=status, talk_duration=0, call_duration=12 + hour, **inbound
                )
            )
        else:
            events.append(
                details(started_at, call_to=outside, type="Outbound", dst_trunk_name="trunk-0", call_duration=4_000)
            )
    return events


async def count_linked_calls(client: aiohttp.ClientSession, link: str) -> int:
    """Return how many calls the API lists for a link to the page of calls."""
    query = [(name, text) for name, text in parse_qsl(urlsplit(unescape(link)).query) if name != "columns"]
    answer = await client.get("/api/v1/calls", params=[*query, ("limit", "1000")])
    assert answer.status == 200, (link, await answer.text())
    return len((await answer.json())["data"])


@pytest.mark.slow
async def test_report_figures_equal_length_of_linked_list(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Check the page of each report, on days of 24 and 25 hours."""
    await harness.ingest_details(some_calls(AUTUMN))
    links: dict[str, int] = {}
    for kind_name in KINDS:
        text = await (await client.get(f"/reports?report={kind_name}&since=2026-10-25&until=2026-10-27")).text()
        assert "<table" in text, kind_name
        links |= {link: int(number.replace("\u202f", "")) for link, number in TALLY.findall(text) if "/calls?" in link}
    assert len(links) > 100
    assert {link: await count_linked_calls(client, link) for link in links} == links


async def test_report_file_is_in_the_audit_log(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """As every export: reports of callers have their numbers."""
    assert (await client.get("/reports.csv?report=volume")).status == 200
    assert [entry.action for entry in await harness.appdb.audit.latest(1)] == ["export of the report volume"]


async def test_report_page_chart_and_file_are_equal(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The file has the rows of the table; the values of the chart are those of a column."""
    await harness.ingest_details(some_calls(AUTUMN))
    for kind_name in KINDS:
        query = f"report={kind_name}&since=2026-10-25&until=2026-10-27"
        text = await (await client.get(f"/reports?{query}")).text()
        answer = await client.get(f"/reports.csv?{query}")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{kind_name}-2026-10-25.csv"'
        rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
        table = text[text.index("<tbody>", text.index('class="plain figures')) :]
        assert len(rows) == table.count('<th scope="row">'), kind_name
        for values in chart_values(text):
            assert values in [[row[name] for row in rows][: len(values)] for name in rows[0]], kind_name
        report = await (await client.get(f"/api/v1/reports?{query}")).json()
        assert [column["title"] for column in report["columns"]] == list(rows[0])
        assert [[as_csv_text(cell["value"]) for cell in row] for row in report["data"]] == [
            [*row.values()] for row in rows
        ]
        assert all(link in unescape(text) for row in report["data"] for cell in row if (link := cell["href"])), (
            kind_name
        )


def as_csv_text(value: str | float | None) -> str:
    """Return a value of the API as the file writes it."""
    if isinstance(value, str):
        return escape_formula(value)
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


async def test_report_links_keep_all_filters(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Free text and tags are filters too."""
    await harness.ingest_details(some_calls(AUTUMN))
    query = "report=callers&since=2026-10-25&until=2026-10-27&q=Bob&tag=x"
    assert (await (await client.get(f"/api/v1/reports?{query}")).json())["data"] == []
    report = await (await client.get(f"/api/v1/reports?{query.removesuffix('&tag=x')}")).json()
    links = {cell["href"]: cell["value"] for row in report["data"] for cell in row[1:2]}
    assert links
    assert {link: await count_linked_calls(client, link) for link in links} == links


def chart_values(text: str) -> list[list[str]]:
    """Return the values of each series of the chart on a page, as the file writes them."""
    picture = re.search(r'data-chart="([^"]+)"', text)
    chart: dict[str, Any] = json.loads(unescape(picture[1])) if picture else {"series": [], "unit": ""}
    form = "{:.4f}" if chart["unit"] == "share" else "{}"
    return [["" if value is None else form.format(value) for value in series["values"]] for series in chart["series"]]


async def test_report_days_of_23_and_25_hours_equal_plain_count(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Count by hour and by day, in the zone of the reader."""
    spring = datetime(2026, 3, 28, 22, tzinfo=UTC)
    events = [details(begin + timedelta(minutes=37 * n)) for begin in (spring, AUTUMN) for n in range(60)]
    await harness.ingest_details(events)
    moments = [begin + timedelta(minutes=37 * n) for begin in (spring, AUTUMN) for n in range(60)]
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
        times_of_day = [started_at for started_at in moments if str(started_at.astimezone(BERLIN).date()) == day]
        until = str(datetime.fromisoformat(day).date() + timedelta(days=1))
        answer = await client.get(f"/reports.csv?since={day}&until={until}&by=hour")
        rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
        first = datetime.fromisoformat(day).replace(tzinfo=BERLIN).astimezone(UTC)
        plain = Counter(int((started_at - first).total_seconds() // 3600) for started_at in times_of_day)
        assert [int(row["Calls"]) for row in rows] == [plain[hour] for hour in range(hours)]
        answer = await client.get(f"/reports.csv?since={day}&until={until}&by=day")
        (row,) = csv.DictReader(io.StringIO(await answer.text(), newline=""))
        assert int(row["Calls"]) == len(times_of_day)


async def test_report_other_zone_has_other_days(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Count the same calls by the days of Kathmandu."""
    await harness.ingest_details([details(AUTUMN + timedelta(hours=hour)) for hour in range(48)])
    answer = await client.get("/reports.csv?since=2026-10-24&until=2026-10-28&by=day&zone=Asia/Kathmandu")
    rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
    days = Counter((AUTUMN + timedelta(hours=hour)).astimezone(ZoneInfo("Asia/Kathmandu")).day for hour in range(48))
    assert [int(row["Calls"]) for row in rows] == [days[day] for day in range(24, 28)]


def test_report_period_is_compared_with_the_previous_one() -> None:
    """A whole week is compared with a whole week, also across a clock change; a week in progress with the same part of
    the last one.
    """

    def berlin(day: int, hour: int = 0) -> datetime:
        return datetime(2026, 10, day, hour, tzinfo=BERLIN).astimezone(UTC)

    assert previous_period(Period(berlin(19), berlin(26)), BERLIN) == Period(berlin(12), berlin(19))
    assert previous_period(Period(berlin(25), berlin(26)), BERLIN) == Period(berlin(24), berlin(25))
    assert previous_period(Period(berlin(19), berlin(25, 15)), BERLIN) == Period(berlin(12), berlin(18, 15))


def test_report_period_is_compared_with_a_chosen_one() -> None:
    """The year before has the same dates, also across a clock change; a chosen day begins a period as long."""

    def berlin(year: int, month: int, day: int, hour: int = 0) -> datetime:
        return datetime(year, month, day, hour, tzinfo=BERLIN).astimezone(UTC)

    week = Period(berlin(2026, 10, 19), berlin(2026, 10, 26))
    assert compared_period("", week, BERLIN) == compared_period("previous", week, BERLIN)
    assert compared_period("previous", week, BERLIN) == previous_period(week, BERLIN)
    assert compared_period("year", week, BERLIN) == Period(berlin(2025, 10, 19), berlin(2025, 10, 26))
    assert compared_period("2026-03-28", week, BERLIN) == Period(berlin(2026, 3, 28), berlin(2026, 4, 4))
    leap_day = Period(berlin(2028, 2, 29), berlin(2028, 3, 1))
    assert compared_period("year", leap_day, BERLIN) == Period(berlin(2027, 2, 28), berlin(2027, 3, 1))
    for text in ("fortnight", "0001-01-01", "9999-12-31"):
        with pytest.raises(UsageError, match="no period to compare with"):
            compared_period(text, week, BERLIN)


def test_report_period_ends_before_begin_is_rejected() -> None:
    """Without a start it is the last seven days."""
    now = datetime(2026, 11, 24, 12, 0, 5, 7, tzinfo=UTC)
    assert get_period(RecordFilter(), BERLIN, now).since == datetime(2026, 11, 17, 23, tzinfo=UTC)
    with pytest.raises(UsageError, match="ends before"):
        get_period(RecordFilter(since=now), BERLIN, now)


@module_loop
@pytest.mark.parametrize(
    "query",
    [
        "report=nothing",
        "by=fortnight",
        "compare=fortnight",
        "status=BUSY",
        "since=2020-01-01&by=hour",
        "since=now&until=yesterday",
    ],
)
async def test_report_invalid_parameter_is_rejected(module_client: aiohttp.ClientSession, query: str) -> None:
    """The status is 400, and the detail is one sentence."""
    answer = await module_client.get(f"/reports?{query}")
    assert answer.status == 400
    assert (await answer.json())["detail"]


async def test_report_empty_period_has_no_table(client: aiohttp.ClientSession) -> None:
    """There is no chart either."""
    text = await (await client.get("/reports?report=callers")).text()
    assert "No calls in this period" in text
    assert "data-chart" not in text


async def test_report_by_hour_has_both_parts_of_an_hour_that_a_half_hour_change_divides(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """On Lord Howe Island 02:00 is 01:30 again at the end of summer time: each step has its own calls."""
    hours = [datetime(2026, 4, 4, 14, 15, tzinfo=UTC) + timedelta(minutes=minutes) for minutes in (0, 30, 55, 85)]
    await harness.ingest_details([details(hour) for hour in hours])
    query = "report=volume&by=hour&zone=Australia/Lord_Howe&since=2026-04-05&until=2026-04-06"
    report = await (await client.get(f"/api/v1/reports?{query}")).json()
    counted = {row[1]["href"]: row[1]["value"] for row in report["data"] if row[1]["value"]}
    assert list(counted.values()) == [2, 1, 1]
    assert {link: await count_linked_calls(client, link) for link in counted} == counted


async def test_report_of_missed_calls_names_the_type_that_was_chosen(client: aiohttp.ClientSession) -> None:
    """Inbound ones are only those that are counted without a choice."""
    for query, beginning in (("", "0 inbound calls were missed:"), ("&type=outbound", "0 calls were missed:")):
        report = await (await client.get(f"/api/v1/reports?report=unreturned{query}")).json()
        assert report["note"].startswith(beginning)


async def test_report_of_volume_has_all_outcomes_of_missed_calls(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    statuses = ("NO ANSWER", "BUSY", "VOICEMAIL", "ABANDONED", "FAILED")
    await harness.ingest_details(
        [details(AUTUMN + timedelta(minutes=n), status=status, talk_duration=0) for n, status in enumerate(statuses)]
    )
    answer = await client.get("/reports.csv?report=volume&by=day&since=2026-10-25&until=2026-10-26")
    (row,) = csv.DictReader(io.StringIO(await answer.text(), newline=""))
    titles = ("No answer", "Busy", "Voicemail", "Abandoned", "Failed")
    assert (row["Missed"], [row[title] for title in titles]) == ("5", ["1"] * 5)

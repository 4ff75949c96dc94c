"""The dashboard: each figure equals a plain loop over the calls, in scope, and without a script."""

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from onhook.appdb.dashboards import TILES_MAX
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.dashboards import content, figures
from onhook.console.pages.dashboards.period import dashboard_period
from onhook.console.pages.dashboards.tiles import TILE_KINDS
from onhook.store.connections import DuckDbDatabase, Work
from tests.cdr import plain_queues
from tests.console.conftest import ConsoleHarness
from tests.console.test_queue_reports import BEGIN, random_calls, select
from tests.factories import SN, details
from tests.store import plain_reports

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = timedelta(days=7)
PERIOD = "since=2026-10-25&until=2026-11-01"
"""The first day has 25 hours."""

CURRENT_SINCE, CURRENT_UNTIL = (datetime(2026, month, day, tzinfo=BERLIN) for month, day in ((10, 25), (11, 1)))
PREVIOUS_SINCE, PREVIOUS_UNTIL = (datetime(2026, 10, day, tzinfo=BERLIN) for day in (18, 25))


async def add_two_weeks(harness: ConsoleHarness) -> list[Call]:
    """Add calls of the period and of the week before; return all."""
    await harness.ingest_details([*random_calls(1), *random_calls(2, BEGIN - WEEK)])
    missed = {"call_from": "+4930777", "type": "Inbound", "src_trunk_name": "t", "talk_duration": 0}
    begin = CURRENT_SINCE.astimezone(UTC) + timedelta(hours=1)
    await harness.ingest_details(
        [
            # The hour that occurs twice.
            details(begin + timedelta(hours=number), status=status, **missed)
            for number, status in enumerate(("NO ANSWER", "BUSY", "NO ANSWER", "TELEPORTED"))
        ]
    )
    return list((await harness.store.calls(RecordFilter(), 1_000)).data)


def started_between(calls: Iterable[Call], since: datetime, until: datetime) -> list[Call]:
    return [call for call in calls if since <= call.started_at < until]


def values_of(page: str) -> dict[str, str]:
    """Return the values of the figures by tile."""
    sections = re.split(r'<section class="tile', page)[1:]
    matches = [(re.search(r'data-tile="([^"]+)"', text), re.search(r'data-value="([^"]*)"', text)) for text in sections]
    return {tile[1]: value[1] for tile, value in matches if tile and value}


def tile_of(page: str, name: str) -> str:
    """Return the text of a tile."""
    match = re.search(rf'<section class="tile[^>]*data-tile="{name}".*?</section>', page, re.DOTALL)
    assert match, name
    return match[0]


def visible_text(tile: str) -> str:
    """Return what a person reads, without attributes."""
    return html.unescape(re.sub(r"<[^>]+>", " ", tile))


def rows_of(tile: str) -> list[list[str]]:
    """Return the cells of the rows of a tile's table, as texts."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", tile, re.DOTALL)
    return [
        [
            " ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


def plain_p90(values: Sequence[int]) -> int | None:
    return sorted(values)[math.ceil(0.9 * len(values)) - 1] if values else None


def expected_values(calls: Sequence[Call], office: Sequence[Call]) -> dict[str, Any]:
    """Return the figures of these calls; calls of the whole office return missed ones."""
    answered = [call for call in calls if call.status == "ANSWERED"]
    waits = [call.wait_duration for call in answered if call.wait_duration is not None]
    queues = plain_queues.figures(select(calls, "queue"), 20, 5)
    first = min(call.started_at for call in calls)
    missed, returned, _rows = plain_reports.missed_calls(
        [call for call in office if call in calls or call.started_at >= first],
        RecordFilter(since=CURRENT_SINCE, until=CURRENT_UNTIL, type="inbound"),
        is_returned=False,
    )
    anonymous = sum(call.status != "ANSWERED" and not extract_number(call.call_from) for call in calls)
    return {
        "calls": len(calls),
        "answer-rate": len(answered) / len(calls),
        "missed": len(calls) - len(answered),
        "unreturned-count": missed - returned - anonymous,
        "talk-time": sum(call.talk_duration or 0 for call in calls),
        "time-to-answer": sorted(waits)[math.ceil(len(waits) / 2) - 1],
        "longest-wait": max(call.wait_duration for call in calls if call.wait_duration is not None),
        "service-level": queues["service_level"],
        "asa": queues["wait_average"],
        "queue-p90": queues["wait_p90"],
        "abandon-rate": queues["abandon_rate"],
    }


async def test_dashboard_figures_equal_plain_loop(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    office = await add_two_weeks(harness)
    calls = started_between(office, CURRENT_SINCE, CURRENT_UNTIL)
    page = await (await client.get(f"/?{PERIOD}")).text()
    expected = expected_values(calls, office)
    assert values_of(page) == {name: str(value) for name, value in expected.items()}
    previous = started_between(office, PREVIOUS_SINCE, PREVIOUS_UNTIL)
    assert f"{len(previous)} in the period before" in tile_of(page, "calls")
    before = plain_queues.figures(select(previous, "queue"), 20, 5)["wait_average"]
    assert f"before: {before // 60}:{before % 60:02}" in tile_of(page, "asa")


async def test_dashboard_timeline_equals_plain_loop_and_adds_up(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """By the wall clock: of the hour that occurs twice there is one row, beside that of a week before."""
    office = await add_two_weeks(harness)
    page = await (await client.get(f"/?{PERIOD}")).text()
    rows = re.findall(r'data-calls="(\d*)" data-before="(\d+)"', tile_of(page, "timeline"))
    begin = datetime(2026, 10, 25)  # noqa: DTZ001 - by the wall clock
    hours = Counter(call.started_at.astimezone(BERLIN).replace(tzinfo=None, minute=0, second=0) for call in office)
    starts = [begin + timedelta(hours=number) for number in range(7 * 24)]
    assert rows == [(str(hours[start]), str(hours[start - WEEK])) for start in starts]
    assert sum(int(calls) for calls, _before in rows) == len(started_between(office, CURRENT_SINCE, CURRENT_UNTIL))
    assert "Calls per hour" in tile_of(page, "timeline")
    links = re.findall(r'<a href="(/calls[^"]+)">(\d+)</a>', tile_of(page, "timeline"))
    assert len(links) > 50
    for link, number in links[:9]:
        calls_page = await (await client.get(html.unescape(link), params={})).text()
        assert calls_page.count('class="call"') == int(number), link


@pytest.mark.parametrize(
    ("query", "step", "length"),
    [
        ("since=2026-09-20&until=2026-10-20", "day", timedelta(days=1)),
        ("since=2026-01-01&until=2026-11-01", "week", WEEK),
    ],
)
async def test_dashboard_timeline_of_a_long_period_has_longer_steps(
    harness: ConsoleHarness, client: aiohttp.ClientSession, query: str, step: str, length: timedelta
) -> None:
    office = await add_two_weeks(harness)
    page = await (await client.get(f"/?{query}")).text()
    tile = tile_of(page, "timeline")
    rows = re.findall(r'data-calls="(\d*)" data-before="(\d+)"', tile)
    since, until = (datetime.fromisoformat(text.partition("=")[2]).replace(tzinfo=BERLIN) for text in query.split("&"))
    assert f"Calls per {step}" in tile
    assert sum(int(calls) for calls, _before in rows) == len(started_between(office, since, until))
    assert abs(len(rows) - (until - since) / length) <= 1


async def test_dashboard_tables_equal_plain_loop(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Queues with their names, top numbers with names, and the latest unreturned calls."""
    await harness.appdb.directory.put(
        [
            DirectoryEntry(sn=SN, number="6400", kind="queue", name="Support"),
            DirectoryEntry(number="+49305551", kind="contact", name="Carol"),
        ]
    )
    office = await add_two_weeks(harness)
    calls = started_between(office, CURRENT_SINCE, CURRENT_UNTIL)
    page = await (await client.get(f"/?{PERIOD}")).text()
    visits = select(calls, "queue")
    queue_rows = {row[0]: row for row in rows_of(tile_of(page, "queues"))[1:]}
    assert "Support 6400" in queue_rows
    for label, queue in (("Support 6400", "6400"), ("6401", "6401")):
        figures = plain_queues.figures([visit for visit in visits if visit["queue"] == queue], 20, 5)
        assert queue_rows[label][1:4] == [str(figures[name]) for name in ("offered", "answered", "abandoned")]
        assert queue_rows[label][4] == f"{100 * figures['service_level']:.1f}".removesuffix(".0") + " %"
    callers = Counter(extract_number(call.call_from) for call in calls)
    caller_rows = rows_of(tile_of(page, "callers"))[1:]
    assert "Carol +49305551" in {row[0] for row in caller_rows}
    assert [int(row[1]) for row in caller_rows] == sorted(callers.values(), reverse=True)[:10]
    for row in caller_rows:
        assert callers[row[0].split()[-1]] == int(row[1])
    _missed, _returned, unreturned = plain_reports.missed_calls(
        office, RecordFilter(since=CURRENT_SINCE, until=CURRENT_UNTIL, type="inbound"), is_returned=False
    )
    places = re.findall(r'href="/calls/[^/]+/([^"?]+)', tile_of(page, "unreturned-calls"))
    assert places == [call.call_id for call in unreturned][:10]


async def test_dashboard_unreturned_call_can_be_called_back(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Where the number is one, and is not masked for the reader."""
    now = datetime.now(UTC).replace(microsecond=0)
    number = "+49 (30) 90 18-20"
    for place, caller in enumerate((f"Erika<{number}>", "Anonymous")):
        await harness.ingest_details(
            [
                details(
                    now - timedelta(seconds=9 + place),
                    call_from=caller,
                    type="Inbound",
                    status="NO ANSWER",
                    talk_duration=0,
                    src_trunk_name="t",
                )
            ]
        )
    tile = tile_of(await (await client.get("/?since=1d")).text(), "unreturned-calls")
    assert re.findall(r'href="(tel:[^"]+)"', tile) == ["tel:+4930901820"]
    scope = AccessScope(mask="last3")
    token = await harness.appdb.tokens.add("masked", "reader", now_us=harness.clock.microseconds(), scope=scope)
    async with harness.client(token) as reader:
        tile = tile_of(await (await reader.get("/?since=1d")).text(), "unreturned-calls")
    assert "tel:" not in tile
    assert "30901820" not in re.sub("[^0-9]", "", tile)


async def test_dashboard_of_today_has_no_figure_for_hours_to_come(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The hours of a week ago are whole; the figures compared are those up to this time of the day."""
    now = datetime.now(UTC).replace(microsecond=0)
    today = datetime.combine(now.astimezone(BERLIN).date(), datetime.min.time(), BERLIN)
    earlier = (today.replace(tzinfo=None) - WEEK).replace(tzinfo=BERLIN).astimezone(UTC)
    await harness.ingest_details([details(earlier + timedelta(hours=hour, minutes=5)) for hour in range(24)])
    await harness.ingest_details([details(now - timedelta(seconds=5))])
    page = await (await client.get("/")).text()
    rows = re.findall(r'data-calls="(\d*)" data-before="(\d+)"', tile_of(page, "timeline"))
    assert [int(before) for _calls, before in rows] == [1] * 24
    hours_begun = (now - today).total_seconds() // 3600 + 1
    assert abs(sum(calls != "" for calls, _before in rows) - hours_begun) <= 1
    match = re.search(r"(\d+) in the period before", tile_of(page, "calls"))
    elapsed = (now - today).total_seconds()
    expected = sum(3600 * hour + 300 < elapsed for hour in range(24))
    assert abs(int(match[1] if match else 0) - expected) <= 1


async def test_dashboard_of_a_long_period_with_many_calls_reads_the_last_days(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is read call by call; all else is of the whole period, and the tiles say which."""
    monkeypatch.setattr(figures, "RECENT_CALLS_MAX", 3)
    early, late = (datetime(2026, month, 3, 12, tzinfo=UTC) for month in (8, 10))
    parties = {"type": "Inbound", "status": "NO ANSWER", "talk_duration": 0, "src_trunk_name": "t"}
    for moment, caller in ((early, "+49301111"), (late, "+49302222")):
        await harness.ingest_details(
            [details(moment + timedelta(minutes=minute), call_from=caller, **parties) for minute in range(2)]
        )
    page = await (await client.get("/?since=2026-07-01&until=2026-10-25")).text()
    assert values_of(page)["calls"] == "4"
    assert values_of(page)["unreturned-count"] == "2"
    assert [row[0] for row in rows_of(tile_of(page, "callers"))[1:]] == ["+49302222"]
    for name in ("callers", "dialled", "unreturned-count", "unreturned-calls"):
        assert "its last 31 days" in visible_text(tile_of(page, name)), name
    tiles = (await (await client.get("/api/v1/dashboards/0?since=2026-07-01&until=2026-10-25")).json())["data"]
    assert [tile["kind"] for tile in tiles if "its last 31 days" in tile["note"]] == ["unreturned-count"]


async def test_dashboard_figures_of_waits_say_what_they_are(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await add_two_weeks(harness)
    page = await (await client.get(f"/?{PERIOD}&tiles=time-to-answer:2,p90-answer:2&edit=yes")).text()
    assert "half of the calls were answered within it" in visible_text(tile_of(page, "time-to-answer"))
    assert "nine of ten answered calls waited no longer" in visible_text(tile_of(page, "p90-answer"))


def test_dashboard_period_of_the_first_second_of_a_day_is_not_empty() -> None:
    midnight = datetime(2026, 10, 25, tzinfo=BERLIN).astimezone(UTC)
    period = dashboard_period(midnight, None, BERLIN, midnight)
    assert period.current.until == midnight + timedelta(seconds=1)


async def test_dashboard_is_limited_to_the_filter(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.appdb.add_pbx(name="branch", sn="3699OTHER", secret="s" * 32, now_us=1)
    await harness.publish()
    await add_two_weeks(harness)
    await harness.ingest_details([details(BEGIN + timedelta(hours=number)) for number in range(1, 4)], "3699OTHER")
    page = await (await client.get(f"/?{PERIOD}&pbx=branch")).text()
    assert values_of(page)["calls"] == "3"
    assert "service-level" not in values_of(page), "branch has no queue"
    assert "<option selected>branch</option>" in page
    both = await (await client.get(f"/?{PERIOD}")).text()
    assert {row[0] for row in rows_of(tile_of(both, "pbx-totals"))[1:]} == {"office", "branch"}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("since=2026-10-25&until=2026-10-24", "ends before it begins"),
        ("since=never", "is not a time"),
        ("status=BUSY", "counts every outcome"),
        ("since=1901-01-01", "more than 2000 steps"),
    ],
)
async def test_dashboard_of_an_invalid_period_says_why(
    harness: ConsoleHarness, client: aiohttp.ClientSession, query: str, reason: str
) -> None:
    await harness.ingest_details([details()])
    answer = await client.get(f"/?{query}", headers={"Accept": "text/html"})
    page = await answer.text()
    assert answer.status == 400
    assert reason in page
    assert 'action="/"' in page


async def test_dashboard_health_shows_the_pbxs_in_scope(harness: ConsoleHarness) -> None:
    """A reader of some extensions does not see when others called."""
    await harness.appdb.add_pbx(name="branch", sn="3699OTHER", secret="s" * 32, now_us=1)
    await harness.ingest_details([details(call_to="1002")])
    now_us = harness.clock.microseconds()
    scopes = {"pbx": AccessScope(sns=(SN,)), "number": AccessScope(numbers=("1002",)), "all": None}
    expected = {"pbx": ["office"], "number": None, "all": ["branch", "office"]}
    for name, scope in scopes.items():
        token = await harness.appdb.tokens.add(name, "reader", now_us=now_us, scope=scope)
        async with harness.client(token) as reader:
            page = await (await reader.get("/")).text()
        places = expected[name]
        if places is None:
            assert 'data-tile="health"' not in page
        else:
            tile = tile_of(page, "health")
            assert re.findall(r'dir="auto">([^<]+)</', tile) == places
        assert ('data-tile="issues"' in page) is (name == "all")


def test_dashboard_period_longer_than_a_week_is_compared_with_the_weeks_before() -> None:
    until = datetime(2026, 10, 25, tzinfo=BERLIN)
    for days, weeks in ((7, 1), (8, 2), (30, 5)):
        since = datetime(2026, 10, 25 - days if days < 25 else 1, tzinfo=BERLIN) - timedelta(days=max(0, days - 24))
        period = dashboard_period(since.astimezone(UTC), until.astimezone(UTC), BERLIN, until)
        assert period.weeks == weeks
        assert period.previous.until == (until - weeks * WEEK).astimezone(UTC)
        assert not period.is_open


async def test_dashboard_tiles_are_read_at_the_same_time_and_bounded(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all tiles that there are."""
    await add_two_weeks(harness)
    counts, read = Counter[str](), DuckDbDatabase.read

    async def count_and_read(database: DuckDbDatabase, work: Work[Any]) -> Any:
        counts["running"] += 1
        counts["most"] = max(counts["most"], counts["running"])
        try:
            return await read(database, work)
        finally:
            counts["running"] -= 1

    monkeypatch.setattr(DuckDbDatabase, "read", count_and_read)
    tiles = ",".join(f"{name}:4" for name in list(TILE_KINDS)[:TILES_MAX])
    assert (await client.get(f"/?{PERIOD}&tiles={tiles}")).status == 200
    assert 1 < counts["most"] <= content.READS_MAX + 1
    assert counts["running"] == 0


async def test_dashboard_link_to_the_compared_period_keeps_all_filters(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The calls that the figures are compared with are those of the same filters."""
    await harness.ingest_details([details(harness.clock.now())])
    page = await (await client.get("/?type=inbound&number=1001&since=2d")).text()
    match = re.search(r'<p class="hint compared".*?href="([^"]*)"', page, re.DOTALL)
    assert match is not None
    query = dict(parse_qsl(urlsplit(html.unescape(match[1])).query))
    assert (query["type"], query["number"]) == ("inbound", "1001")
    assert query["since"] < query["until"]

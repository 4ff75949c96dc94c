"""Reports of queues: page, data and file equal plain loops over the calls."""

import csv
import html
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

from onhook.cdr.call_details import CallDetails
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from tests.cdr import plain_queues
from tests.console.conftest import ConsoleHarness
from tests.factories import BOB, IVR, QUEUE, SN, details

BEGIN = datetime(2026, 10, 24, 22, tzinfo=UTC)
PERIOD = "since=2026-10-25&until=2026-11-01"
PLAN = NumberPlan()
AGENTS = (BOB, "Carol<1003>", "1004")
OVERFLOW, GROUP = "Overflow<6401>", "Sales<6300>"


def leg(call_id: str, second: datetime, call_to: str, times: tuple[int, int], status: str) -> CallDetails:
    """Return a leg of a call from outside; `times` are its duration and its talk."""
    duration, talk = times
    return details(
        second,
        call_id=call_id,
        call_from=f"+4930555{int(call_id.partition('.')[2]) % 9}",
        call_to=call_to,
        call_duration=duration,
        talk_duration=talk,
        status=status,
        type="Inbound",
        src_trunk_name="trunk-1",
    )


def random_calls(seed: int, begin: datetime = BEGIN) -> list[CallDetails]:
    """Return calls of a week that an agent answers, that overflow, are given up, are sent to a mailbox, and that avoid
    queues.
    """
    rng = Random(seed)
    events: list[CallDetails] = []
    for number in range(80):
        second = begin + timedelta(minutes=rng.randrange(7 * 24 * 60))
        call_id = f"{int(second.timestamp())}.{number}"
        events.append(leg(call_id, second, IVR, (7, 7), "ANSWERED"))
        second += timedelta(seconds=7)
        for queue in rng.choice(((QUEUE,), (QUEUE,), (QUEUE, OVERFLOW), (GROUP,), ())):
            wait, talk, agent = rng.choice((2, 4, 5, 19, 20, 21, 60)), rng.choice((0, 30, 90)), rng.choice(AGENTS)
            if rng.random() < 0.6:
                events += [leg(call_id, second, target, (wait + talk, talk), "ANSWERED") for target in (queue, agent)]
                break
            events.append(leg(call_id, second, queue, (wait, 0), "NO ANSWER"))
            events.append(leg(call_id, second, agent, (min(wait, 15), 0), rng.choice(("NO ANSWER", "BUSY"))))
            second += timedelta(seconds=wait)
            if rng.random() < 0.3:
                events.append(leg(call_id, second, "1009", (12, 9), "VOICEMAIL"))
                break
    return events


async def stored_calls(harness: ConsoleHarness) -> list[Call]:
    await harness.ingest_details(random_calls(1))
    return list((await harness.store.calls(RecordFilter(), 1_000)).data)


async def read_report(client: aiohttp.ClientSession, name: str, query: str = "") -> list[dict[str, Any]]:
    """Return the rows of a report by the titles of its columns."""
    answer = await client.get(f"/api/v1/reports?report={name}&{PERIOD}{query}")
    report = await answer.json()
    assert answer.status == 200, report
    titles = [column["title"] for column in report["columns"]]
    return [dict(zip(titles, (cell["value"] for cell in row), strict=True)) for row in report["data"]]


def expected_row(visits: Sequence[dict[str, Any]], in_time: int = 20, short: int = 5) -> dict[str, Any]:
    figures = plain_queues.figures(visits, in_time, short)
    names = {
        "Offered": "offered",
        "Answered": "answered",
        "Abandoned": "abandoned",
        "Short abandons": "short_abandoned",
        "Overflowed": "overflowed",
        "Forwarded": "forwarded",
        "Service level": "service_level",
        "Abandon rate": "abandon_rate",
        "ASA": "wait_average",
        "P90 wait": "wait_p90",
        "Longest wait": "wait_longest",
        "Talk": "talk_duration",
    }
    average = round(figures["talk_duration"] / figures["answered"]) if figures["answered"] else None
    return {title: figures[name] for title, name in names.items()} | {"Avg. talk": average}


def select(calls: Iterable[Call], kind: str) -> list[Any]:
    return [visit for call in calls for visit in plain_queues.visits(call, PLAN) if visit["kind"] == kind]


async def test_queue_report_equals_plain_loop_and_adds_up(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    calls = await stored_calls(harness)
    outcomes: set[str] = set()
    for name, kind, title in (("queues", "queue", "Queue"), ("ring-groups", "ring_group", "Ring group")):
        *rows, total = await read_report(client, name)
        visits = select(calls, kind)
        queues = {visit["queue"] for visit in visits}
        outcomes |= {visit["outcome"] for visit in visits}
        assert {row[title]: row for row in rows} == {
            queue: {title: queue, "PBX": "office", "Answer within": 20}
            | expected_row([visit for visit in visits if visit["queue"] == queue])
            for queue in queues
        }
        assert total == {title: "Total", "PBX": "", "Answer within": None} | expected_row(visits)
        for column in ("Offered", "Answered", "Abandoned", "Short abandons", "Overflowed", "Forwarded", "Talk"):
            assert sum(row[column] for row in rows) == total[column]
    assert outcomes == {"answered", "abandoned", "overflowed", "forwarded"}


async def test_queue_report_by_hour_and_weekday_equals_plain_loop(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    calls = await stored_calls(harness)
    berlin = ZoneInfo("Europe/Berlin")
    *hours, total = await read_report(client, "queue-hours")
    for hour, row in enumerate(hours):
        visits = select((call for call in calls if call.started_at.astimezone(berlin).hour == hour), "queue")
        assert row == {"Hour": f"{hour:02}:00"} | expected_row(visits)
    *weekdays, weekday_total = await read_report(client, "queue-weekdays")
    for weekday, row in enumerate(weekdays, 1):
        weekday_calls = [call for call in calls if call.started_at.astimezone(berlin).isoweekday() == weekday]
        visits = select(weekday_calls, "queue")
        assert {name: value for name, value in row.items() if name != "Weekday"} == expected_row(visits)
    assert (len(hours), len(weekdays)) == (24, 7)
    expected = expected_row(select(calls, "queue"))
    assert total == {"Hour": "Total"} | expected
    assert weekday_total == {"Weekday": "Total"} | expected


async def test_queue_report_with_a_queue_counts_its_visits_alone(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The calls that came from another queue are visits of that one too, which are left out."""
    calls = await stored_calls(harness)
    (*_hours, total) = await read_report(client, "queue-hours", "&call_to=6401")
    visits = [visit for visit in select(calls, "queue") if visit["queue"] == "6401"]
    assert total == {"Hour": "Total"} | expected_row(visits)
    assert visits


async def test_agent_report_equals_plain_loop_and_adds_up_to_the_queues(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    calls = await stored_calls(harness)
    *rows, total = await read_report(client, "agents")
    expected = plain_queues.agents(calls, PLAN, ZoneInfo("Europe/Berlin"))
    assert {
        ("office", row["Queue"], (row["Agent"], False)): (
            row["Answered"],
            row["Missed rings"],
            row["Talk"],
            row["Worked"],
        )
        for row in rows
    } == expected
    for row in rows:
        assert row["Talk per hour"] == (round(3600 * row["Talk"] / row["Worked"]) if row["Worked"] else None)
    for column in ("Answered", "Missed rings", "Talk"):
        assert sum(row[column] for row in rows) == total[column]
    groups = [(await read_report(client, name))[-1] for name in ("queues", "ring-groups")]
    assert total["Answered"] == sum(group["Answered"] for group in groups)
    assert total["Talk"] == sum(group["Talk"] for group in groups)


async def test_queue_report_file_has_the_rows_of_the_page(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await stored_calls(harness)
    text = await (await client.get(f"/reports.csv?report=queues&{PERIOD}")).text()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["Queue"] for row in rows] == ["6400", "6401", "Total"]
    page = await (await client.get(f"/reports?report=queues&{PERIOD}")).text()
    assert "Service level" in page
    assert 'scope="row"' in page


async def test_queue_report_file_for_excel_has_a_mark_and_its_separator(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await stored_calls(harness)
    page = html.unescape(await (await client.get(f"/reports?report=queues&{PERIOD}")).text())
    plain = await (await client.get(f"/reports.csv?report=queues&{PERIOD}")).read()
    for excel, separator in (("comma", ","), ("semicolon", ";")):
        (link,) = re.findall(rf'href="(/reports.csv[^"]*excel={excel}[^"]*)"', page)
        body = await (await client.get(link)).read()
        assert body.startswith(b"\xef\xbb\xbf")
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), delimiter=separator))
        assert rows == list(csv.reader(io.StringIO(plain.decode(), newline="")))
    assert (await client.get("/reports.csv?report=queues&excel=tab")).status == 400


async def test_queue_settings_change_its_service_level(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """By the form and by the API; the total has each queue by its own settings."""
    calls = await stored_calls(harness)
    form = {"pbx": "office", "queue": "6400", "service_level_seconds": "4", "short_abandon_seconds": "20"}
    page = await client.post("/queue-targets", data={**form, "report": "queues"}, allow_redirects=False)
    assert (page.status, page.headers["Location"]) == (303, "/reports?report=queues")
    settings = await (await client.get("/api/v1/queue-targets")).json()
    assert settings["data"] == [
        {"pbx": "office", "queue": "6400", "service_level_seconds": 4, "short_abandon_seconds": 20}
    ]
    visits = [visit for visit in select(calls, "queue") if visit["queue"] == "6400"]
    row = next(row for row in await read_report(client, "queues") if row["Queue"] == "6400")
    assert row == {"Queue": "6400", "PBX": "office", "Answer within": 4} | expected_row(visits, 4, 20)
    answer = await client.put("/api/v1/queue-targets", json={"pbx": "office", "queue": "6400"})
    assert answer.status == 200
    assert (await (await client.get("/api/v1/queue-targets")).json())["data"] == []


async def test_queue_settings_that_are_no_seconds_are_rejected(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    form = {"pbx": "office", "queue": "6400", "service_level_seconds": "soon"}
    assert (await client.post("/queue-targets", data=form)).status == 400
    invalid = {"pbx": "office", "queue": "6400", "service_level_seconds": -1}
    assert (await client.put("/api/v1/queue-targets", json=invalid)).status == 400
    assert await harness.appdb.queue_targets.all() == {}


async def test_queue_settings_that_cannot_be_used_are_kept_in_their_form(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    good = {"pbx": SN, "queue": "6400", "service_level_seconds": "7", "short_abandon_seconds": "9", "report": "queues"}
    for changes, field in (({"queue": " "}, "queue"), ({"short_abandon_seconds": "soon"}, "short_abandon_seconds")):
        page = await client.post("/queue-targets", data=good | changes)
        text = await page.text()
        assert (page.status, f'id="error-{field}"' in text) == (400, True)
        for name, value in (good | changes).items():
            if name != "pbx":
                assert re.search(rf'name="{name}"[^>]* value="{value}"', text), name
        assert f'value="{SN}" selected' in text
    assert await harness.appdb.queue_targets.all() == {}


async def test_queue_report_is_compared_with_a_chosen_period(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The row after the total has the figures of the other period, in the page and in the data."""
    calls = await stored_calls(harness)
    begin = datetime(2026, 10, 27, tzinfo=ZoneInfo("Europe/Berlin"))
    query = "since=2026-10-25&until=2026-10-27&compare=2026-10-27"
    for name in ("queues", "queue-hours"):
        answer = await client.get(f"/reports.csv?report={name}&{query}")
        *_rows, compared = csv.DictReader(io.StringIO(await answer.text(), newline=""))
        other_calls = [call for call in calls if begin <= call.started_at < begin + timedelta(days=2)]
        expected = expected_row(select(other_calls, "queue"))
        assert [compared[title] for title in ("Offered", "Answered", "P90 wait")] == [
            str(expected[title]) for title in ("Offered", "Answered", "P90 wait")
        ]
        page = await (await client.get(f"/reports?report={name}&{query}")).text()
        assert "Compared: Tue 27 Oct 2026 00:00:00 to Thu 29 Oct 2026 00:00:00" in page


async def test_agent_and_caller_reports_are_compared_with_a_chosen_period(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The row after the total equals a plain loop over the calls of the other period, also by department."""
    calls = await stored_calls(harness)
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(2026, 10, 27, tzinfo=zone)
    other_calls = [call for call in calls if begin <= call.started_at < begin + timedelta(days=3)]
    query = "since=2026-10-25&until=2026-10-28&compare=2026-10-27"
    agents = plain_queues.agents(other_calls, PLAN, zone)
    worked = sum(plain_queues.worked_seconds(other_calls, PLAN, zone).values())
    answered, missed, talk = (sum(figures[place] for figures in agents.values()) for place in range(3))
    talk_per_hour = round(3600 * talk / worked)
    for more, expected in (
        ("", {"Answered": answered, "Missed rings": missed, "Talk": talk, "Talk per hour": talk_per_hour}),
        ("&group_by=site", {"Answered": answered, "Talk": talk, "Worked": worked, "Talk per hour": talk_per_hour}),
    ):
        answer = await client.get(f"/reports.csv?report=agents&{query}{more}")
        *_rows, compared = csv.DictReader(io.StringIO(await answer.text(), newline=""))
        assert {title: compared[title] for title in expected} == {t: str(value) for t, value in expected.items()}
    counts = Counter(call.call_from for call in other_calls)
    answer = await client.get(f"/reports.csv?report=repeat-callers&{query}")
    *_rows, compared = csv.DictReader(io.StringIO(await answer.text(), newline=""))
    assert (compared["Caller"], compared["Calls"]) == (
        "Compared",
        str(sum(number for number in counts.values() if number > 1)),
    )
    missed_calls = sum(call.status != "ANSWERED" for call in other_calls)
    report = await (await client.get(f"/api/v1/reports?report=unreturned&{query}")).json()
    assert "Compared: Tue 27 Oct 2026 00:00:00 to Fri 30 Oct 2026 00:00:00." in report["note"]
    assert f"In it {missed_calls} were missed" in report["note"]


async def test_repeat_callers_report_equals_plain_count_and_adds_up(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    calls = await stored_calls(harness)
    single = [details(BEGIN, call_id=f"{int(BEGIN.timestamp())}.500", call_from="+4930999", type="Inbound")]
    anonymous = [
        details(BEGIN, call_id=f"{int(BEGIN.timestamp())}.{number}", call_from="anonymous", type="Inbound")
        for number in (501, 502)
    ]
    await harness.ingest_details([*single, *anonymous])
    counts = Counter(call.call_from for call in calls)
    answered = Counter(call.call_from for call in calls if call.status == "ANSWERED")
    *rows, total = await read_report(client, "repeat-callers")
    assert {row["Caller"]: (row["Calls"], row["Answered"], row["Missed"]) for row in rows} == {
        caller: (number, answered[caller], number - answered[caller]) for caller, number in counts.items()
    }
    assert [row["Calls"] for row in rows] == sorted(counts.values(), reverse=True)
    assert (total["Calls"], total["Answered"]) == (counts.total(), answered.total())

"""Every cell of the reports of calls equals a plain loop over the calls; reports of queues have tests of their own."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio

from onhook.cdr.call_details import CallDetails, fold_word
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.formatting import minutes
from onhook.console.pages.reports.kinds import KINDS
from onhook.console.pages.reports.spread import TALK_EDGES, WAIT_EDGES
from onhook.store.duckdb import DuckDbStore
from tests.console.conftest import ConsoleHarness, module_loop
from tests.console.test_queue_reports import BEGIN, random_calls
from tests.factories import details
from tests.store import plain, plain_reports

BERLIN = ZoneInfo("Europe/Berlin")
BRANCH_SN = "3699BRANCH"
SINCE, UNTIL = (datetime(2026, month, day, tzinfo=BERLIN) for month, day in ((10, 25), (11, 1)))
"""A week whose first day has 25 hours."""

QUERY = f"since={SINCE:%Y-%m-%d}&until={UNTIL:%Y-%m-%d}"
WEEK = timedelta(days=7)
QUEUE_REPORTS = {"queues", "queue-hours", "queue-weekdays", "ring-groups", "agents", "repeat-callers"}
"""Their oracle is in `test_queue_reports`."""

Row = Mapping[str, Any]
pytestmark = module_loop


def mixed_calls(seed: int, begin: datetime = BEGIN) -> list[CallDetails]:
    """Return calls of a week of all types and outcomes, some of which return a missed one."""
    rng, calls = Random(seed), []
    for number in range(60):
        started_at = begin + timedelta(minutes=rng.randrange(7 * 24 * 60))
        outside, inside = f"+4930555{rng.randrange(9)}", rng.choice(("Bob<1002>", "Carol<1003>", "1004"))
        status = rng.choice(("ANSWERED", "ANSWERED", "NO ANSWER", "BUSY", "VOICEMAIL", "FAILED", "TELEPORTED"))
        talk = rng.choice((0, 59, 60, 300, 4_000)) if status == "ANSWERED" else 0
        duration = talk + rng.choice((0, 14, 15, 299, 300, 400))
        trunk = f"trunk-{rng.randrange(3)}"
        parties: dict[str, Any] = rng.choice(
            (
                {"call_from": outside, "call_to": inside, "type": "Inbound", "src_trunk_name": trunk,
                 "did_number": f"+49305500{rng.randrange(2)}"},
                {"call_from": "anonymous", "call_to": inside, "type": "Inbound", "src_trunk_name": trunk},
                {"call_from": inside, "call_to": outside, "type": "Outbound", "dst_trunk_name": trunk},
                {"call_from": "Alice<1001>", "call_to": inside, "type": "Internal"},
            )
        )  # fmt: skip
        call_id = f"{int(started_at.timestamp())}.{900 + number}"
        calls.append(
            details(started_at, call_id=call_id, status=status, talk_duration=talk, call_duration=duration, **parties)
        )
    return calls


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(module_harness: ConsoleHarness) -> list[Call]:
    """Return the calls of two PBXs in the week and in the one before, and of a few minutes after the week."""
    harness = module_harness
    await harness.appdb.add_pbx(name="branch", sn=BRANCH_SN, secret="s" * 32, now_us=1)
    await harness.publish()
    await harness.ingest_details([*random_calls(1), *mixed_calls(2), *mixed_calls(3, BEGIN - WEEK)])
    await harness.ingest_details([*mixed_calls(4), details(UNTIL.astimezone(UTC))], BRANCH_SN)
    return list((await harness.store.calls(RecordFilter(), 1_000)).data)


def in_week(office: Iterable[Call]) -> list[Call]:
    return [call for call in office if SINCE <= call.started_at < UNTIL]


def is_answered(call: Call) -> bool:
    return fold_word(call.status) == "ANSWERED"


def total(values: Iterable[int | None]) -> int | None:
    known_values = [value for value in values if value is not None]
    return sum(known_values) if known_values else None


async def load_report(client: aiohttp.ClientSession, name: str, query: str = "") -> tuple[list[Row], str]:
    """Return the rows of a report by the titles of its columns, and its note."""
    answer = await client.get(f"/api/v1/reports?report={name}&{QUERY}{query}")
    report = await answer.json()
    assert answer.status == 200, report
    titles = [column["title"] for column in report["columns"]]
    rows: list[Row] = [dict(zip(titles, (cell["value"] for cell in row), strict=True)) for row in report["data"]]
    return rows, str(report["note"])


def counts(calls: Sequence[Call]) -> dict[str, Any]:
    """Return the figures that reports by party have."""
    answered = sum(map(is_answered, calls))
    talk = total(call.talk_duration for call in calls)
    return {
        "Calls": len(calls),
        "Answered": answered,
        "Missed": len(calls) - answered,
        "ASR": answered / len(calls),
        "Talk": talk,
        "ACD": round(talk / answered) if answered and talk is not None else None,
    }


def group(calls: Iterable[Call], key: Callable[[Call], Any]) -> dict[Any, list[Call]]:
    groups: dict[Any, list[Call]] = {}
    for call in calls:
        groups.setdefault(key(call), []).append(call)
    return {name: groups[name] for name in groups if name != ""}


def _step_of(call: Call, start: Callable[[datetime], Any]) -> Any:
    return start(call.started_at.astimezone(BERLIN))


async def test_report_volume_and_quality_equal_plain_loop(
    module_client: aiohttp.ClientSession, office: list[Call]
) -> None:
    """By the hour, day, week and month; each adds up to the calls of the period."""
    calls = in_week(office)
    starts: Mapping[str, Callable[[datetime], Any]] = {
        "hour": lambda local: local.replace(minute=0, second=0).astimezone(UTC),
        "day": lambda local: local.date(),
        "week": lambda local: local.isocalendar()[:2],
        "month": lambda local: (local.year, local.month),
    }
    lengths = {"hour": 7 * 24 + 1, "day": 7, "week": 2, "month": 1}
    for by, start in starts.items():
        times = [SINCE.astimezone(UTC) + timedelta(hours=hour) for hour in range(7 * 24 + 1)]
        steps = list(dict.fromkeys(start(time.astimezone(BERLIN)) for time in times))
        groups = group(calls, partial(_step_of, start=start))
        rows, _note = await load_report(module_client, "volume", f"&by={by}")
        assert len(rows) == len(steps) == lengths[by], by
        for row, step in zip(rows, steps, strict=True):
            step_calls = groups.get(step, [])
            words = [fold_word(call.status) for call in step_calls]
            assert {title: value for title, value in row.items() if title != by.capitalize()} == {
                "Calls": len(step_calls),
                "Answered": words.count("ANSWERED"),
                "Missed": len(words) - words.count("ANSWERED"),
                "No answer": words.count("NOANSWER"),
                "Busy": words.count("BUSY"),
                "Voicemail": words.count("VOICEMAIL"),
                "Abandoned": words.count("ABANDONED"),
                "Failed": words.count("FAILED"),
                "Talk": total(call.talk_duration for call in step_calls),
            }, (by, step)
        assert sum(row["Calls"] for row in rows) == len(calls)
        rows, _note = await load_report(module_client, "quality", f"&by={by}")
        for row, step in zip(rows, steps, strict=True):
            figures = counts(groups[step]) if step in groups else {"Calls": 0, "Answered": 0, "ASR": None, "ACD": None}
            assert (row["Attempts"], row["Answered"], row["ASR"], row["ACD"]) == tuple(
                figures[name] for name in ("Calls", "Answered", "ASR", "ACD")
            ), (by, step)


async def test_report_busy_hours_equal_plain_loop(module_client: aiohttp.ClientSession, office: list[Call]) -> None:
    local_times = [call.started_at.astimezone(BERLIN) for call in in_week(office)]
    rows, _note = await load_report(module_client, "week")
    for weekday, row in enumerate(rows, 1):
        assert list(row.values())[1:] == [
            sum((local.isoweekday(), local.hour) == (weekday, hour) for local in local_times) for hour in range(24)
        ]
    assert len(rows) == 7


async def test_report_outcomes_equal_plain_loop_and_add_up(
    module_client: aiohttp.ClientSession, office: list[Call]
) -> None:
    calls = in_week(office)
    titles = {"ANSWERED": "Answered", "NOANSWER": "No answer", "BUSY": "Busy", "VOICEMAIL": "Voicemail",
              "ABANDONED": "Abandoned", "FAILED": "Failed"}  # fmt: skip
    expected = {
        title: len(outcome_calls)
        for title, outcome_calls in group(calls, lambda call: titles.get(fold_word(call.status), "Other")).items()
    }
    rows, _note = await load_report(module_client, "outcomes")
    assert {row["Outcome"]: (row["Calls"], row["Share"]) for row in rows} == {
        title: (number, number / len(calls)) for title, number in expected.items()
    }
    assert expected.keys() >= {"Answered", "Failed", "Other"}


async def test_report_missed_calls_equal_plain_loop(module_client: aiohttp.ClientSession, office: list[Call]) -> None:
    """Those of the week, by the calls of all times that returned them."""
    inbound = RecordFilter(since=SINCE, until=UNTIL, type="inbound")
    for name, is_returned in (("unreturned", False), ("returned", True)):
        missed, returned, expected = plain_reports.missed_calls(office, inbound, is_returned=is_returned)
        rows, note = await load_report(module_client, name)
        assert [
            (datetime.fromisoformat(row["Missed"]), row["From"], row["DID"], row["PBX"], row["Outcome"], row["Waited"])
            for row in rows
        ] == [
            (call.started_at, call.call_from, call.did_number, call.pbx, call.status, call.wait_duration)
            for call in expected
        ]
        if is_returned:
            assert [datetime.fromisoformat(row["Returned"]) for row in rows] == [call.returned_at for call in expected]
        assert f"{missed} inbound calls were missed: {returned} returned, " in note
        assert rows


async def test_report_durations_equal_plain_loop_and_add_up(
    module_client: aiohttp.ClientSession, office: list[Call]
) -> None:
    """With median and P90 by nearest rank; the last bar has all longer ones."""
    for name, field, edges, is_of_answered in (
        ("answer", "wait_duration", WAIT_EDGES, True),
        ("wait", "wait_duration", WAIT_EDGES, False),
        ("ring", "ring_duration", WAIT_EDGES, False),
        ("talk", "talk_duration", TALK_EDGES, True),
    ):
        calls = [call for call in in_week(office) if not is_of_answered or is_answered(call)]
        known_values = sorted(value for call in calls if (value := getattr(call, field)) is not None)
        rows, note = await load_report(module_client, name)
        numbers = [
            sum(low <= value < high for value in known_values)
            for low, high in zip(edges, (*edges[1:], math.inf), strict=True)
        ]
        assert [(row["Calls"], row["Share"]) for row in rows] == [
            (number, number / len(known_values)) for number in numbers
        ], name
        median, p90 = (known_values[math.ceil(share * len(known_values)) - 1] for share in (0.5, 0.9))
        assert f"Median {minutes(median)} · P90 {minutes(p90)} · maximum {minutes(known_values[-1])}." in note
        unknown_count = len(calls) - len(known_values)
        assert (f" {unknown_count} more calls" in note) is bool(unknown_count)


async def test_report_concurrent_calls_equal_plain_loop(
    module_client: aiohttp.ClientSession, office: list[Call]
) -> None:
    """One day: the oracle looks at each second."""
    period = "&since=2026-10-27&until=2026-10-28"
    since, until = (datetime(2026, 10, day, tzinfo=BERLIN) for day in (27, 28))
    answer = await module_client.get(f"/api/v1/reports?report=concurrent&by=hour{period}")
    rows = [[cell["value"] for cell in row] for row in (await answer.json())["data"]]
    expected = plain_reports.peaks(
        office, RecordFilter(since=since, until=until), "hour", "Europe/Berlin", by_trunk=False
    )
    assert [(row[1], row[2] and datetime.fromisoformat(row[2])) for row in rows] == [
        (peak.calls, peak.peak_at if peak.calls else None) for peak in expected
    ]
    assert sum(row[1] for row in rows)


async def test_report_by_party_equals_plain_loop(module_client: aiohttp.ClientSession, office: list[Call]) -> None:
    """Callers, numbers dialled, DID numbers, PBXs and trunks, the most frequent first."""
    calls = in_week(office)
    for name, title, key in (
        ("callers", "Caller", "call_from"),
        ("dialled", "Dialled", "call_to"),
        ("dids", "DID", "did_number"),
        ("pbxs", "PBX", "pbx"),
        ("trunks", "Trunk", "trunk"),
    ):
        expected = group(calls, partial(_party_and_pbx, name=key))
        rows, _note = await load_report(module_client, name)
        assert {
            (row[title], row.get("PBX", "") if name != "pbxs" else ""): {
                column: row[column] for column in counts(calls)
            }
            for row in rows
        } == {party: counts(party_calls) for party, party_calls in expected.items()}, name
        assert [row["Calls"] for row in rows] == sorted(map(len, expected.values()), reverse=True)
        if name == "pbxs":
            assert sum(row["Calls"] for row in rows) == len(calls)
        if name == "trunks":
            for row in rows:
                trunk_calls = [call for call in office if call.pbx == row["PBX"] and _has_trunk(call, row["Trunk"])]
                assert row["Peak"] == _peak(trunk_calls), row


def _party_and_pbx(call: Call, name: str) -> tuple[str, str] | str:
    """Return a party, and the PBX of a trunk and of a number inside, where there are the same ones on each PBX."""
    party = str(plain.party_value(call, name))
    is_inside = name == "trunk" or (name in {"call_from", "call_to"} and re.fullmatch("[0-9]{4}", party))
    return (party, call.pbx if is_inside else "") if party else ""


@pytest.mark.usefixtures("office")
async def test_report_cells_of_equal_numbers_of_two_pbxs_link_to_their_own_calls(
    module_client: aiohttp.ClientSession,
) -> None:
    """Extension 1002 is another person at each site, and so is a trunk another line."""
    for name in ("callers", "dialled", "trunks"):
        report = await (await module_client.get(f"/api/v1/reports?report={name}&{QUERY}")).json()
        assert [column["title"] for column in report["columns"]][1:3] == ["PBX", "Calls"]
        pbxs = set()
        for row in report["data"]:
            pbxs.add(row[1]["value"])
            for cell in (row[2], row[-1]) if name == "trunks" else (row[2],):
                call_list = await (await module_client.get(f"/api/v1{cell['href']}&limit=1000")).json()
                assert len(call_list["data"]) == cell["value"], row
        assert pbxs >= {"office", "branch"}


@pytest.mark.usefixtures("office")
async def test_report_trunks_reads_the_peaks_of_all_pbxs_at_once(
    module_client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx_filters: list[str | None] = []
    read_peaks = DuckDbStore.peaks

    async def peaks(store: DuckDbStore, record_filter: RecordFilter, *arguments: Any, **options: Any) -> Any:
        pbx_filters.append(record_filter.pbx)
        return await read_peaks(store, record_filter, *arguments, **options)

    monkeypatch.setattr(DuckDbStore, "peaks", peaks)
    rows, _note = await load_report(module_client, "trunks")
    assert {row["PBX"] for row in rows} >= {"office", "branch"}
    assert pbx_filters == [None]


def _has_trunk(call: Call, trunk: str) -> bool:
    return any(trunk in (leg.src_trunk_name, leg.dst_trunk_name) for leg in call.legs)


def _peak(calls: Sequence[Call]) -> int:
    """Return the most calls at a time in the week: it is reached when one of them begins, or when the week does."""
    started_calls = [call for call in calls if call.started_at < UNTIL and call.ended_at]
    moments = {max(call.started_at, SINCE) for call in started_calls}
    return max(
        sum(call.started_at <= moment < call.ended_at for call in started_calls if call.ended_at) for moment in moments
    )


async def test_report_extensions_equal_plain_loop(module_client: aiohttp.ClientSession, office: list[Call]) -> None:
    """Received, answered and made, with the talk of those that the extension answered, by PBX."""
    received: dict[tuple[str, str], list[Call]] = {}
    made: dict[tuple[str, str], list[Call]] = {}
    for call in in_week(office):
        for number in plain_reports.inside_callees(call):
            if re.fullmatch("1[0-9]{3}", number):
                received.setdefault((call.pbx, number), []).append(call)
        maker = plain.party_value(call, "made_by")
        if re.fullmatch("1[0-9]{3}", maker):
            made.setdefault((call.pbx, maker), []).append(call)
    expected = {}
    for key in received.keys() | made.keys():
        answered = [call for call in received.get(key, ()) if call.answered_by == key[1]]
        talk = total(call.talk_duration for call in answered)
        average = round(talk / len(answered)) if answered and talk is not None else None
        figures = len(received.get(key, ())), len(answered), len(made.get(key, ()))
        expected[key] = (*figures, talk, average)
    rows, _note = await load_report(module_client, "extensions")
    assert {
        (row["PBX"], row["Extension"]): (
            *(row["Received"], row["Answered"], row["Outgoing"]),
            *(row["Talk time"], row["Avg. talk"]),
        )
        for row in rows
    } == expected
    assert {pbx for pbx, _number in expected} == {"office", "branch"}


async def test_report_totals_equal_plain_loop_in_each_compared_period(
    module_client: aiohttp.ClientSession, office: list[Call]
) -> None:
    """The totals above a report: those of the period, and the change since the one that it is compared with."""
    previous = [call for call in office if SINCE - WEEK <= call.started_at < SINCE]
    for query, compared in (("", previous), ("&compare=2026-10-18", previous), ("&compare=year", [])):
        page = await (await module_client.get(f"/reports?report=volume&{QUERY}{query}")).text()
        totals = re.findall(r"<dt>(Calls|Answered|Missed|Talk)</dt>\s*<dd>(.*?)</dd>", page, re.DOTALL)
        figures = counts(in_week(office))
        assert {title: re.search(">([^<]+)</a>", text)[1] for title, text in totals} == {  # type: ignore[index]
            **{title: str(figures[title]) for title in ("Calls", "Answered", "Missed")},
            "Talk": minutes(figures["Talk"]),
        }, query
        before = {
            title: int(match[1])
            for title, text in totals
            if (match := re.search(r'title="(\d+) in the period compared with"', text))
        }
        expected = counts(compared) if compared else {}
        assert before == {title: expected[title] for title in before}, query
        assert len(before) == (3 if compared else 0), query
        assert re.search(rf":\s+{len(compared)} calls\.", page), query


async def test_reports_are_all_compared_with_an_oracle() -> None:
    """A new report gets a plain loop here or among those of queues."""
    compared_here = {
        *("volume", "quality", "week", "outcomes", "unreturned", "returned", "answer", "wait", "ring", "talk"),
        *("concurrent", "callers", "dialled", "dids", "pbxs", "trunks", "extensions"),
    }
    assert compared_here | QUEUE_REPORTS == KINDS.keys()

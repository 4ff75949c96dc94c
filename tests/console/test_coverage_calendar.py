"""Coverage calendar: the state of each hour, on days of 23, 24 and 25 hours."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import aiohttp

from onhook.appdb.pbx_credentials import parse_pbx_credentials
from onhook.cdr.coverage import Interval
from onhook.console.pages.coverage_calendar import DAYS_SHOWN, build_calendar, calendar_start
from tests.console.conftest import ConsoleHarness
from tests.factories import SN

BERLIN = ZoneInfo("Europe/Berlin")


def test_coverage_calendar_hours_have_states() -> None:
    """The states are complete, connected, gap, partly and unknown; a day of 25 hours has 25."""
    now = datetime(2026, 10, 25, 12, 30, tzinfo=UTC)
    begin = calendar_start(BERLIN, now)
    noon = datetime(2026, 10, 25, 8, 30, tzinfo=UTC)
    intervals = [
        Interval(begin, noon, "complete", "compared"),
        Interval(noon, noon + timedelta(hours=2), "gap", "the line was cut"),
        Interval(noon + timedelta(hours=2), now, "connected", "alive"),
    ]
    days = build_calendar(intervals, BERLIN, now)
    assert len(days) == DAYS_SHOWN
    assert [len(day.hours) for day in days] == [25, *[24] * (DAYS_SHOWN - 1)]
    states = [hour.state for hour in days[0].hours]
    assert states == ["complete"] * 10 + ["mixed", "gap", "mixed", "connected", "connected"] + ["future"] * 10
    assert days[0].hours[11].reason == "the line was cut"
    assert {hour.state for day in days[1:] for hour in day.hours} == {"complete"}


async def test_coverage_calendar_page_shows_gaps(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """For a PBX without a source there is no calendar and no button, and a request is rejected."""
    text = await (await client.get(f"/pbxs/{SN}")).text()
    assert "Missing calls cannot be detected" in text
    assert "calendar" not in text
    assert "/backfill" not in text
    assert 'role="alert"' in await (await client.post(f"/pbxs/{SN}/backfill", data={"since": "1d"})).text()
    await harness.appdb.pbx_credentials.put(
        SN, parse_pbx_credentials("https://192.0.2.1:8088", client_id="x", client_secret="y")
    )
    text = await (await client.get(f"/pbxs/{SN}")).text()
    assert text.count('class="gap"') > 300
    assert "/backfill" in text


async def test_alarms_page_lists_alarms(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Open alarms are on the dashboard too; ended ones are on the page of alarms only."""
    now_us = harness.clock.microseconds()
    await harness.appdb.alarms.raise_alarm(
        SN, "silence", "<b>nothing came</b> for an hour", hint="look at it", now_us=now_us
    )
    for path in ("/", "/alarms", "/issues"):
        assert "&lt;b&gt;nothing came" in await (await client.get(path)).text(), path

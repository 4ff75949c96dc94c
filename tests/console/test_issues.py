"""Open issues on the page and in the API."""

import aiohttp

from onhook.appdb.issues import OperationalIssue
from onhook.ledger.contract import CounterKey
from tests.console.conftest import ConsoleHarness
from tests.factories import PBX, SN

DISK = OperationalIssue(
    issue_key="check:disk", kind="check_disk", subject="disk", detail="93 % of the disk is used", hint="set `keep_days`"
)


async def test_issues_are_listed_until_they_end(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A check of this installation has its section on the page, with what to do."""
    await harness.appdb.issues.begin(DISK, now_us=harness.clock.microseconds())
    (issue,) = (await (await client.get("/api/v1/issues")).json())["data"]
    assert (issue["kind"], issue["detail"], issue["ended_at"]) == ("check_disk", "93 % of the disk is used", None)
    text = await (await client.get("/issues")).text()
    assert "93 % of the disk is used" in text
    assert "Set <code>keep_days</code>" in text
    assert "The disk is nearly full" in text
    await harness.appdb.issues.end("check:disk", now_us=harness.clock.microseconds())
    assert (await (await client.get("/api/v1/issues")).json())["data"] == []
    assert len((await (await client.get("/api/v1/issues", params={"state": "all"})).json())["data"]) == 1
    assert "93 % of the disk" not in await (await client.get("/issues")).text()


async def test_dashboard_lists_open_checks(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Events in the quarantine have a line of their own, with their number."""
    lost = OperationalIssue(
        issue_key="check:settings", kind="check_settings", subject="settings", detail="the settings are lost", hint=""
    )
    quarantine = OperationalIssue(
        issue_key="check:quarantine", kind="check_quarantine", subject="quarantine", detail="3 events", hint=""
    )
    for issue in (lost, quarantine):
        await harness.appdb.issues.begin(issue, now_us=harness.clock.microseconds())
    text = await (await client.get("/")).text()
    assert "the settings are lost" in text
    assert "3 events" not in text


async def test_issues_page_rejected_requests_have_a_remedy_each(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Requests that were stored, or received as they should be, are not among them; alarms link to their PBX."""
    now_us = harness.clock.microseconds()
    for kind, sn in (
        *(("invalid_signature", SN), ("unknown_pbx", "3699UNKNOWN"), ("too_large", "")),
        *(("unregistered", "3699REPLACED"), ("test_message", SN), ("other_event", SN), ("deleted", SN)),
    ):
        await harness.ledger.add_counts({CounterKey(kind, sn, f"label of {kind}"): 1}, now_us)
    await harness.appdb.alarms.raise_alarm(SN, "clock", "the clock is wrong", hint="set it", now_us=now_us)
    text = await (await client.get("/issues")).text()
    assert f"onhook pbx secret add {PBX}" in text
    assert "onhook pbx add NAME --sn 3699UNKNOWN --secret SECRET" in text
    assert "an event has at most 256 KiB" in text
    for kind in ("unregistered", "test_message", "other_event", "deleted"):
        assert f"label of {kind}" not in text
    assert f'href="/pbxs/{SN}' in text


async def test_issue_banner_counts_issues_of_all_kinds(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Checks and alarms count like destinations; the dashboard lists each of them."""
    await harness.appdb.issues.begin(DISK, now_us=harness.clock.microseconds())
    page = await (await client.get("/calls")).text()
    assert "1 open issue:" in page
    assert "The disk is nearly full" in page
    await harness.appdb.alarms.raise_alarm(SN, "silence", "no event", hint="call", now_us=harness.clock.microseconds())
    assert "2 open issues:" in await (await client.get("/calls")).text()
    dashboard = await (await client.get("/")).text()
    assert "93 % of the disk" in dashboard
    assert "no event" in dashboard

"""Open issues on the page and in the API."""

import aiohttp

from onhook.appdb.issues import OperationalIssue
from tests.console.conftest import ConsoleHarness

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
    assert "set <code>keep_days</code>" in text
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

"""Buttons for what an issue says is to be done."""

import re
import sqlite3
import stat
from contextlib import closing
from typing import get_args

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.issue_texts import describe_kind
from onhook.appdb.issues import OperationalIssue
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.cdr.sync_types import AlarmKind
from onhook.ledger.contract import CounterKey
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.console.test_users import browser
from tests.factories import SN, details

__all__ = ["browser"]

CREDENTIALS = PbxCredentials(url="https://192.0.2.7:8088", client_id="id", client_secret="a-client-secret")
SPEC = DestinationSpec(url="http://127.0.0.1:1/", allow_private=True)
PATH = f"/pbxs/{SN}"


async def begin_check(harness: ConsoleHarness, name: str) -> None:
    issue = OperationalIssue(
        issue_key=f"check:{name}",
        kind=f"check_{name}",
        subject=name,
        detail=f"about {name}",
        hint="run `onhook doctor`",
    )
    await harness.appdb.issues.begin(issue, now_us=harness.clock.microseconds())


def targets(page: str) -> set[str]:
    """Return where the buttons and links of all remedies lead."""
    remedies = re.findall(r'<div class="remedies">(.*?)</div>', page, re.DOTALL)
    return {target for remedy in remedies for target in re.findall(r'(?:href|action)="([^"]+)"', remedy)}


async def read(client: aiohttp.ClientSession, path: str) -> str:
    answer = await client.get(path)
    assert answer.status == 200
    return await answer.text()


ALARM_REMEDIES: dict[AlarmKind, set[str]] = {
    "unreachable": {f"{PATH}/connection"},
    "credentials": {f"{PATH}/connection"},
    "certificate": {f"{PATH}/connection"},
    "source": {f"{PATH}/connection"},
    "silence": {f"{PATH}#silence"},
    "skew": set(),
    "missed": {f"{PATH}/backfill", f"{PATH}#coverage"},
    "clock": {f"{PATH}#number-plan", "/rebuild"},
    "zone": {f"{PATH}#number-plan"},
    "difference": {f"{PATH}/backfill"},
    "unreadable": {"/quarantine"},
    "gap": {f"{PATH}/backfill"},
}


async def test_alarm_has_its_remedies(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """On both pages, with the command for people at the shell; diagnostics for each; none for a reader, and none where
    it has ended.
    """
    assert ALARM_REMEDIES.keys() == set(get_args(AlarmKind))
    await harness.appdb.pbx_credentials.put(SN, CREDENTIALS)
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        for kind, expected in ALARM_REMEDIES.items():
            await harness.appdb.alarms.raise_alarm(
                SN, kind, f"alarm {kind}", hint="run `onhook doctor office`", now_us=harness.clock.microseconds()
            )
            for path in ("/issues", "/alarms"):
                page = await read(client, path)
                assert targets(page) == expected | {f"{PATH}/checks"}, kind
                assert "<code>onhook doctor office</code>" in page
                assert targets(await read(other, path)) == set()
                title = describe_kind(f"alarm_{kind}").title
                assert f'<strong class="issue-title">{title}</strong>' in page
            await harness.appdb.alarms.end(SN, kind, now_us=harness.clock.microseconds())
            assert targets(await read(client, "/alarms")) == set()


async def test_alarm_of_a_pbx_without_a_source_leads_to_its_connection(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    for kind in ("gap", "difference"):
        await harness.appdb.alarms.raise_alarm(SN, kind, "x", hint="", now_us=harness.clock.microseconds())
    assert targets(await read(client, "/issues")) == {f"{PATH}/connection", f"{PATH}/checks"}


CHECK_REMEDIES = {
    "permissions": {"/issues/permissions"},
    "disk": {"/retention"},
    "quarantine": {"/quarantine/retry", "/quarantine"},
    "settings": {"/add-pbx"},
    "cursors": {"/destinations"},
    "mail": {"/mail"},
    "folders": {"/pbxs"},
    "backlog": {"/about"},
    **{name: set() for name in ("ledger", "appdb", "clock")},
}


async def test_check_has_its_remedies(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    for name, expected in CHECK_REMEDIES.items():
        await begin_check(harness, name)
        assert targets(await read(client, "/issues")) == expected, name
        await harness.appdb.issues.end(f"check:{name}", now_us=harness.clock.microseconds())


async def test_destination_has_its_remedies(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """What is discarded is asked about first."""
    destination, _secret = await harness.appdb.destinations.add("CRM", SPEC, None, after=0, now_us=1)
    await harness.appdb.destinations.disable(destination, "HTTP 410")
    assert targets(await read(client, "/issues")) == {
        *("/destinations/1/test", "/destinations/1/resume", "/destinations/1/edit"),
    }
    with closing(sqlite3.connect(harness.config.appdb_file, isolation_level=None)) as connection:
        connection.execute("UPDATE destinations SET state = 'active', reason = '', failing_since = 1")
        assert targets(await read(client, "/issues")) == {"/destinations/1/test", "/destinations/1/edit"}
        connection.execute("UPDATE destinations SET failing_since = NULL")
        connection.execute(
            "INSERT INTO deliveries (destination_id, notification_id, seq, sn, call_id, body, state, attempts,"
            " due_at, pending_since) VALUES (1, 'n', 1, 'A', '1', x'', 'failed', 1, 0, 1)"
        )
    page = await read(client, "/issues")
    assert targets(page) == {"/destinations/1/retry", "/destinations/1/discard"}
    assert re.search(r'<details class="confirm">\s*<summary>Discard failed', page)


async def test_rejected_request_has_its_remedies(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    now_us = harness.clock.microseconds()
    for kind, expected in (
        ("invalid_signature", {f"{PATH}#secrets", f"{PATH}/checks"}),
        ("missing_signature", {f"{PATH}#secrets", f"{PATH}/checks"}),
        ("unexpected_source", {f"{PATH}#secrets", f"{PATH}/checks", f"{PATH}/connection"}),
    ):
        await harness.ledger.add_counts({CounterKey(kind, SN, ""): 1}, now_us)
        assert targets(await read(client, "/issues")) == expected, kind
    await harness.ledger.add_counts({CounterKey("unknown_pbx", "3699OTHER", ""): 1}, now_us)
    assert "/add-pbx?sn=3699OTHER" in targets(await read(client, "/issues"))


async def test_permissions_are_restricted_by_a_button(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    harness.config.appdb_file.chmod(0o644)
    harness.config.credentials_file.write_text("{}")
    harness.config.credentials_file.chmod(0o640)
    harness.config.data.chmod(0o755)
    page = await (await browser.post("/issues/permissions")).text()
    assert "Only their owner can read the files now" in page
    files = (harness.config.appdb_file, harness.config.credentials_file)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (*files, harness.config.data)]
    assert modes == [0o600, 0o600, 0o700]
    (entry,) = await harness.appdb.audit.latest(1)
    assert (entry.actor, "restrict the permissions of" in entry.action) == ("admin", True)


async def test_unreadable_row_is_removed_by_a_button(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """What can be read is not; nor is what has no name of its own."""
    for name in ("Alice", "Bob"):
        await harness.appdb.users.add(name, "reader", None, now_us=1)
    await harness.appdb.saved_searches.add("missed", "/calls", author="Bob")
    with closing(sqlite3.connect(harness.config.appdb_file, isolation_level=None)) as connection:
        connection.execute("UPDATE users SET role = 'king' WHERE name = 'Bob'")
        connection.execute("UPDATE saved_searches SET path = CAST(x'42c328' AS TEXT)")
    assert targets(await read(browser, "/issues")) == {"/issues/unreadable/remove"}
    for table, name in (("users", "Alice"), ("saved_searches", "missed"), ("nothing", "x")):
        page = await (await browser.post("/issues/unreadable/remove", data={"table": table, "name": name})).text()
        assert "There is no such row" in page
    page = await (await browser.post("/issues/unreadable/remove", data={"table": "users", "name": "Bob"})).text()
    assert "Bob in users was removed" in page
    assert [user.name for user in await harness.appdb.users.all()] == ["Alice"]


async def test_rebuild_reads_all_events_again(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """The order is an entry of the ledger: the hub rebuilds by itself."""
    await harness.ingest_details([details()])
    before = await harness.ledger.last_seq()
    answer = await browser.post("/rebuild", data={"sn": SN})
    assert (answer.url.path, "All events are being read again" in await answer.text()) == (PATH, True)
    assert await harness.ledger.last_seq() == before + 1
    await harness.projector.catch_up()
    await harness.projector.wait_until_outdated()
    assert (await harness.appdb.audit.latest(1))[0].action == "rebuild the store"


@pytest.mark.slow
async def test_remedy_walk_of_an_administrator(harness: ConsoleHarness, chromium_path: str) -> None:
    """Back-fill, and discard what has failed after a question, from the page of issues."""
    await harness.appdb.pbx_credentials.put(SN, CREDENTIALS)
    await harness.appdb.alarms.raise_alarm(
        SN,
        "difference",
        "2 calls are missing",
        hint="run `onhook backfill office`",
        now_us=harness.clock.microseconds(),
    )
    await begin_check(harness, "disk")
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 900}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/issues")
        await page.screenshot(path=OUTPUT / "issues-remedies.png", full_page=True)
        await page.get_by_role("button", name="Back-fill the last 7 days office").press("Enter")
        await expect(page.get_by_role("status").filter(has_text="Back-fill requested").first).to_be_visible()
    assert await harness.appdb.sync_states.backfill_request(SN) is not None

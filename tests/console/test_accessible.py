"""Accessibility of all pages: axe-core finds no serious violation, in light and dark."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.delivery_rows import DeliveryCommit, HttpExchange, NewAttempt, NewLoggedAttempt
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.tokens import token_author
from onhook.cdr.directory import DirectoryEntry
from onhook.console.pages.add_pbx import KINDS
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit, some_calls
from tests.factories import QUEUE, SN, details

AXE = Path(__file__).parents[1] / "vendor" / "axe.min.js"
CALL_ID = "1777287876.1"
PAGES = {
    "now": "/",
    "dashboard-edited": "/?edit=yes&since=6d",
    "wallboard": "/wallboard/overview",
    "wallboard-links": "/wallboard-links",
    "calls": "/calls?columns=answered_by,wait,talk,duration,type,trunk,did,recording,legs,pbx",
    "call": f"/calls/{SN}/{CALL_ID}?earlier=yes",
    "missed": "/missed",
    "missed-done": "/missed?show=done",
    "reports": "/reports",
    "week": "/reports?report=week",
    "extensions": "/reports?report=extensions",
    "queues": "/reports?report=queues",
    "unreturned": "/reports?report=unreturned",
    "pbxs": "/pbxs",
    "pbx": f"/pbxs/{SN}?wait=yes",
    "add-pbx": "/add-pbx",
    "retention": "/retention",
    "remove-pbx": f"/pbxs/{SN}/remove",
    "connection": f"/pbxs/{SN}/connection",
    **{f"add-{kind}": f"/add-pbx/{kind}" for kind in KINDS},
    "destinations": "/destinations",
    "destination-edit": "/destinations/1/edit",
    "destination": "/destinations/1?preview=",
    "destination-log": "/destinations/1/log",
    "attempt": "/destinations/1/log/1",
    "users": "/users",
    "user": "/users/edit?name=Alice",
    "apps": "/apps",
    "audit": "/audit",
    "sql": "/sql?sql=SELECT+status,count(*)+FROM+calls+GROUP+BY+ALL",
    "sql-question": "/sql?question=1",
    "directory": "/directory",
    "erasure": "/erasure",
    "quarantine": "/quarantine",
    "issues": "/issues",
    "alarms": "/alarms",
    "about": "/about",
    "schema": "/schema",
}
SERIOUS = {"serious", "critical"}


async def add_sample_data(harness: ConsoleHarness) -> None:
    """Add calls of today, one of them with notes, and an event that cannot be parsed."""
    moments = some_calls()
    await harness.ingest_details(
        [
            details(started_at, call_to=QUEUE if n % 2 else "1002", type="Inbound")
            for n, started_at in enumerate(moments)
        ]
    )
    await harness.ingest_details(
        [details(moments[0] - timedelta(seconds=7), call_id=CALL_ID, status="NO ANSWER", talk_duration=0)]
    )
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s"}' % SN.encode()])
    await harness.appdb.users.add("Alice", "reader", None, now_us=harness.clock.microseconds())
    await harness.appdb.directory.put([DirectoryEntry(sn=SN, number="1002", name="Bob", department="Sales")])
    await harness.appdb.saved_questions.add("Outcomes", "SELECT status FROM calls", author=token_author("admin"))
    spec = DestinationSpec(url="https://crm.example.com/calls?key=1", headers={"X-Key": "1"})
    await harness.appdb.destinations.add("CRM", spec, None, after=0, now_us=harness.clock.microseconds())
    await add_attempt(harness)
    for kind in ("clock", "difference"):
        await harness.appdb.alarms.raise_alarm(
            SN, kind, f"alarm {kind}", hint="run `onhook doctor`", now_us=harness.clock.microseconds()
        )
    await harness.appdb.notes.write(
        SN, CALL_ID, "calls back", "sales", author="Alice", now_us=harness.clock.microseconds()
    )


async def add_attempt(harness: ConsoleHarness) -> None:
    """Add an attempt of the first destination."""
    now_us = harness.clock.microseconds()
    attempt = NewAttempt(attempted_at=now_us, duration_ms=40, status=200, detail="HTTP 200 OK", body=b'{"ok":true}')
    logged_attempt = NewLoggedAttempt(
        notification_id="n1", seq=2, call=(SN, CALL_ID), body=b'{"type":30012,"msg":"{}"}', state="accepted",
        attempt=attempt,
        exchange=HttpExchange(
            method="POST", url="https://93.184.216.34/calls", request_headers={"X-Signature": "abc="},
            response_headers={"Server": "gateway"},
        ),
    )  # fmt: skip
    await harness.appdb.deliveries.commit(
        DeliveryCommit(
            destination_id=1, revision=1, cursors={}, finished_replays=(), new_deliveries=(), updates=(),
            attempts_succeeded=1, attempts_failed=0, failing_since=None, retry_after=0, retry_all_now=False,
            now_us=now_us, logged_attempts=[logged_attempt],
        )
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_have_no_serious_axe_violation(harness: ConsoleHarness, chromium_path: str, scheme: str) -> None:
    """Check every page with data and scripts; save a screenshot of each."""
    await add_sample_data(harness)
    script = await asyncio.to_thread(AXE.read_text)
    results: dict[str, Any] = {}
    async with open_visit(
        harness, chromium_path, color_scheme=scheme, viewport={"width": 1280, "height": 900}
    ) as visit:
        page = visit.page
        for name, path in PAGES.items():
            answer = await page.goto(harness.url + path)
            assert answer is not None
            assert answer.status == 200, path
            await page.screenshot(path=OUTPUT / f"{name}-{scheme}-whole.png", full_page=True)
            # Through the debugger: the policy of the pages blocks foreign scripts.
            await page.evaluate(script)
            result = json.loads(await page.evaluate("axe.run().then((result) => JSON.stringify(result.violations))"))
            serious = [violation for violation in result if violation["impact"] in SERIOUS]
            if serious:
                results[name] = [
                    (violation["id"], [node["html"][:160] for node in violation["nodes"][:3]]) for violation in serious
                ]
    assert results == {}

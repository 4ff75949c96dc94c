"""All pages of the console, with data on each: those at an address, those that a form answers, and those of mistakes.

A new page gets a line here: `test_pages_are_all_listed` compares the routes, `test_pages_render_all_templates` the
templates.
"""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.appdb.delivery_rows import DeliveryCommit, HttpExchange, NewAttempt, NewDelivery, NewLoggedAttempt
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.report_spec import ReportSpec
from onhook.appdb.tokens import token_author
from onhook.cdr.directory import DirectoryEntry
from onhook.console.pages.add_pbx import KINDS as PBX_KINDS
from onhook.console.pages.dashboards.tiles import DEFAULT_TILES, TILE_KINDS
from onhook.console.pages.reports.kinds import KINDS as REPORT_KINDS
from onhook.lib.totp import code_of_step
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import some_calls
from tests.factories import QUEUE, SN, details

CALL_ID = "1777287876.1"
SUBSCRIBER = "boss@example.com"
PAGES = {
    "now": "/",
    "dashboard-edited": "/?edit=yes&since=6d",
    "dashboard-saved": "/?dashboard=1",
    "wallboard": "/wallboard/overview",
    "wallboard-saved": "/wallboard/Other tiles",
    "wallboard-links": "/wallboard-links",
    "calls": "/calls?columns=answered_by,wait,talk,duration,type,trunk,did,recording,legs,pbx",
    "call": f"/calls/{SN}/{CALL_ID}?earlier=yes",
    "missed": "/missed",
    "missed-done": "/missed?show=done",
    "reports": "/reports",
    **{f"report-{name}": f"/reports?report={name}&compare=year" for name in REPORT_KINDS},
    **{
        f"report-{name}-grouped": f"/reports?report={name}&group_by=department"
        for name, kind in REPORT_KINDS.items()
        if kind.make_grouped
    },
    "pbxs": "/pbxs",
    "pbx": f"/pbxs/{SN}?wait=yes",
    "add-pbx": "/add-pbx",
    "retention": "/retention",
    "mail": "/mail",
    "alerts": "/account/alerts",
    "report-schedules": "/report-schedules",
    "report-schedule": "/report-schedules/1",
    "report-schedule-new": "/report-schedules/new?report=queues&filters=pbx%3Doffice",
    "remove-pbx": f"/pbxs/{SN}/remove",
    "connection": f"/pbxs/{SN}/connection",
    **{f"add-{kind}": f"/add-pbx/{kind}" for kind in PBX_KINDS},
    "destinations": "/destinations",
    "destination-edit": "/destinations/1/edit",
    "destination": "/destinations/1?preview=",
    "destination-log": "/destinations/1/log",
    "attempt": "/destinations/1/log/1",
    "delivery": "/destinations/deliveries/1",
    "event": "/events/14",
    "users": "/users",
    "user": "/users/edit?name=Alice",
    "account": "/account",
    "account-app": "/account/app",
    "first-account": "/first-account",
    "sign-in-settings": "/sign-in-settings",
    "provider": "/sign-in-settings/provider",
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

FORM_PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "form-search": ("/saved-searches", {"name": "sales", "path": "/calls?tag=sales"}),
    "form-wizard": ("/add-pbx/p-series", {"name": "shop", "sn": "3699SHOP"}),
    "form-wizard-invalid": ("/add-pbx/asterisk", {"name": "pbx", "address": "two words"}),
    "form-pbx": ("/pbxs", {"name": "branch", "sn": "3699NEW"}),
    "form-pbx-checks": (f"/pbxs/{SN}/checks", {}),
    "form-pbx-secret": (f"/pbxs/{SN}/secrets", {"label": "second"}),
    "form-invited-user": ("/users", {"name": "Carol", "role": "reader"}),
    "form-token": ("/users/tokens", {"name": "wall", "role": "reader"}),
    "form-app": ("/apps", {"name": "CTI"}),
    "form-directory-invalid": ("/directory", {"sn": SN, "number": "", "name": ""}),
    "form-erasure-preview": ("/erasure/preview", {"number": "1001"}),
    "form-wallboard-link": ("/wallboard-links", {"dashboard_id": "1", "name": "hall", "expires_on": "2099-01-01"}),
    "form-destination-invalid": ("/destinations", {"name": "BI", "url": "ftp://bi.example.com/"}),
    "form-destination-secret": ("/destinations/1/secrets", {"label": "second"}),
    "form-report-schedule-invalid": ("/report-schedules", {"user": "Alice", "hour": "x"}),
    "form-report-schedule-tested": ("/report-schedules/1/test", {}),
    "form-mail-invalid": ("/mail", {"host": "mail.example.com", "port": "x"}),
    "form-retention-invalid": ("/retention", {"sn": SN, "choice": "days", "days": "x"}),
    "form-retention-installation-invalid": ("/retention/installation", {"choice": "days", "days": "x"}),
    "form-password-invalid": ("/account/password", {}),
    "form-first-account-invalid": ("/first-account", {}),
    "form-quarantine-retried": ("/quarantine/retry", {}),
}
"""Pages that a form answers: its address and its fields."""

MISTAKE_PAGES = {
    "mistake-address": "/nothing",
    "mistake-period": "/calls?since=foo",
    "mistake-report": "/reports?report=week&until=foo",
}

PUBLIC_PAGES = {
    "sign-in": "/sign-in",
    "sign-in-code": "/sign-in/code",
    "sign-in-link": "/sign-in?token={token}",
    "invitation": "/invitation?invitation={invitation}",
    "forgotten-password": "/forgotten-password",
    "unsubscribe": "/unsubscribe?token={unsubscribe_token}",
}
"""Pages for a person who has not signed in."""

NO_PAGES = {
    *("/sign-in/provider", "/sign-in/provider/callback"),  # lead on
    *("/healthz", "/readyz", "/metrics", "/static/{name:str}"),
    *("/reports.csv", "/sql.csv", "/exports/{ticket:str}"),  # files and their progress
    *("/suggestions", "/reminders"),  # parts of a page, loaded by a script
    "/call",  # leads to the page of the call
}
"""Routes without a page of their own."""


def matches(path: str, route: str) -> bool:
    """Return whether an address is one of a route's."""
    pattern = re.sub(r"\\\{\w+:int\\\}", r"\\d+", re.sub(r"\\\{\w+:str\\\}", "[^/]+", re.escape(route)))
    return re.fullmatch(pattern, path.partition("?")[0]) is not None


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
    default_kinds = {tile.kind for tile in DEFAULT_TILES}
    tiles = tuple(StoredTile(name, kind.width) for name, kind in TILE_KINDS.items() if name not in default_kinds)
    layout = DashboardLayout(tiles=tiles, since="7d")
    await harness.appdb.dashboards.save("Other tiles", layout, author=token_author("admin"))
    await harness.appdb.users.add("Alice", "reader", None, now_us=harness.clock.microseconds())
    report = ReportSpec(report="queues", query="pbx=office", addresses=["bob@example.com", SUBSCRIBER], files=("xlsx",))
    await harness.appdb.report_schedules.add("Alice", "Queues", report, now_us=harness.clock.microseconds())
    await harness.appdb.report_schedules.opt_out(1, "bob@example.com", now_us=harness.clock.microseconds())
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


async def second_factor_steps(harness: ConsoleHarness) -> AsyncIterator[tuple[str, str, dict[str, str]]]:
    """Yield the forms, with the names of the pages that answer them, of a user who adds an app and signs in by it."""
    password, now_us = "three short words", harness.clock.microseconds()
    invitation = await harness.appdb.users.add("Erin", "reader", None, now_us=now_us)
    await harness.appdb.users.accept_invitation(invitation, password, now_us=now_us)
    yield "user-now", "/sign-in", {"name": "Erin", "password": password}
    yield "authenticator", "/account/app", {}
    code = code_of_step(await harness.appdb.second_factors.get_enrolment("Erin", now_us=now_us), now_us // 30_000_000)
    yield "recovery-codes", "/account/app/confirm", {"current_password": password, "code": code}
    yield "user-account", "/account/app/remove", {"current_password": password, "code": code}
    yield "sign-in-code", "/sign-in", {"name": "Erin", "password": password}


async def add_attempt(harness: ConsoleHarness) -> None:
    """Add an attempt of the first destination, and a delivery that failed."""
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
    failure = NewAttempt(attempted_at=now_us, duration_ms=7, status=500, detail="answered 500", body=b"<p>no</p>")
    delivery = NewDelivery(
        notification_id="n2", seq=3, call=(SN, CALL_ID), body=b'{"type":30012}', due_at=now_us, pending_since=now_us,
        state="failed", attempt=failure,
    )  # fmt: skip
    await harness.appdb.deliveries.commit(
        DeliveryCommit(
            destination_id=1, revision=1, cursors={}, finished_replays=(), new_deliveries=[delivery], updates=(),
            attempts_succeeded=1, attempts_failed=0, failing_since=None, retry_after=0, retry_all_now=False,
            now_us=now_us, logged_attempts=[logged_attempt],
        )
    )  # fmt: skip

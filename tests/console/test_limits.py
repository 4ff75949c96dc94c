"""A limited reader sees the calls of the scope and nothing else: on every page, route, export and feed."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress

import aiohttp
import pytest
from litestar.handlers import HTTPRouteHandler

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from onhook.console.app import _api_router, _page_router
from onhook.console.pages.reports.kinds import KINDS
from tests.console.conftest import ConsoleHarness
from tests.factories import ALICE, QUEUE, SN, STARTED_AT, details

OTHER_SN = "3699OTHER"
HIDDEN = "7777777"
"""A number outside of the scope: no response to a limited reader may contain it."""

SHOWN_ID, HIDDEN_ID, ELSEWHERE_ID = "1777287876.1", "1777287876.2", "1777287876.3"

LIMITED_ROUTES = {
    *("/exports/{ticket:str}", "/", "/calls", "/calls/{sn:str}/{call_id:str}", "/call", "/reports", "/reports.csv"),
    *("/call/note", "/calls/tags", "/api/v1/notes", "/api/v1/recording", "/api/v1/saved-searches", "/api/v1/reports"),
    *("/api/v1/records", "/api/v1/calls", "/api/v1/calls/{sn:str}/{call_id:str}", "/api/v1/summary", "/api/v1/live"),
    *("/directory", "/api/v1/directory", "/api/v1/directory.csv", "/suggestions", "/missed", "/reminders"),
    *("/api/v1/missed-calls", "/api/v1/dashboards", "/api/v1/dashboards/{dashboard_id:int}"),
    "/api/v1/wallboards/{name:str}",
    *("/settings", "/settings/columns", "/dashboards/save", "/dashboards/copy", "/dashboards/remove"),
    *(f"/report-schedules{path}" for path in ("", "/new", "/{number:int}")),
    *(f"/report-schedules/{{number:int}}/{name}" for name in ("pause", "resume", "test", "remove")),
    *(f"/api/v1/report-schedules{path}" for path in ("", "/{number:int}")),
    *(f"/api/v1/report-schedules/{{number:int}}/{name}" for name in ("pause", "resume", "test")),
    *("/wallboard/{name:str}", "/wallboard-links", "/wallboard-links/revoke", "/dashboards/share"),
    *("/account", "/account/password", "/account/sessions/{number:int}/end", "/account/sessions/end-others"),
    *("/account/app", "/account/app/confirm", "/account/app/remove", "/account/recovery-codes"),
    *("/account/provider", "/account/provider/remove"),
    *("/account/passkeys", "/account/passkeys/options", "/account/passkeys/{passkey_id:int}/remove"),
    *(f"/api/v1/export.{form}" for form in ("csv", "jsonl", "parquet", "xlsx")),
}
"""All routes for limited readers. A new one needs a test below that it leaks nothing."""

QUESTIONS = "/api/v1/sql/questions"

PERSONAL_STATUSES = {
    ("POST", "/settings"): 200,
    ("POST", "/settings/columns"): 200,
    ("POST", "/account/password"): 403,
    ("POST", "/account/alerts"): 403,
    ("POST", "/account/alerts/{number:int}/test"): 403,
    ("POST", "/api/v1/alerts"): 400,
    ("PUT", "/api/v1/alerts/{number:int}"): 400,
    ("POST", "/api/v1/alerts/{number:int}/test"): 404,
    ("DELETE", "/api/v1/alerts/{number:int}"): 404,
    ("PUT", "/api/v1/alerts/quiet-hours"): 400,
    ("POST", "/account/sessions/{number:int}/end"): 403,
    ("POST", "/account/sessions/end-others"): 403,
    ("POST", "/account/app"): 403,
    ("POST", "/account/app/confirm"): 403,
    ("POST", "/account/app/remove"): 403,
    ("POST", "/account/recovery-codes"): 403,
    ("POST", "/account/provider"): 403,
    ("POST", "/account/provider/remove"): 403,
    ("POST", "/account/passkeys"): 403,
    ("POST", "/account/passkeys/options"): 403,
    ("POST", "/account/passkeys/{passkey_id:int}/remove"): 403,
    ("POST", "/dashboards/save"): 400,
    ("POST", "/dashboards/copy"): 404,
    ("POST", "/dashboards/remove"): 404,
    ("POST", "/report-schedules"): 403,
    ("POST", "/report-schedules/{number:int}"): 404,
    **{("POST", f"/report-schedules/{{number:int}}/{name}"): 404 for name in ("pause", "resume", "test", "remove")},
    ("POST", "/api/v1/report-schedules"): 400,
    ("PUT", "/api/v1/report-schedules/{number:int}"): 400,
    ("DELETE", "/api/v1/report-schedules/{number:int}"): 404,
    **{("POST", f"/api/v1/report-schedules/{{number:int}}/{name}"): 404 for name in ("pause", "resume", "test")},
    ("POST", "/sql/questions"): 200,
    ("POST", "/sql/questions/change"): 200,
    ("POST", "/sql/questions/remove"): 404,
    ("POST", "/sql/history/clear"): 200,
    ("POST", QUESTIONS): 400,
    ("PATCH", f"{QUESTIONS}/{{question_id:int}}"): 400,
    ("DELETE", f"{QUESTIONS}/{{question_id:int}}"): 404,
    ("DELETE", "/api/v1/sql/history"): 204,
}
"""Statuses of empty requests of a reader: of their own settings, dashboards, reports and questions readers change what
there is. A form with an error is shown again.
"""

PERMITTED = {"/wallboard-links", "/wallboard-links/revoke", "/dashboards/share", "/sql/questions/share"}
"""Routes for users with a permission; others are refused."""


def handlers() -> Iterator[tuple[str, HTTPRouteHandler]]:
    for router in (_api_router(), _page_router()):
        for route in router.routes:
            for handler in getattr(route, "route_handlers", ()):
                yield route.path, handler


def test_limits_open_routes_are_listed() -> None:
    """All other routes reject limited readers."""
    assert {path for path, handler in handlers() if handler.opt.get("scoped")} == LIMITED_ROUTES
    writing = {path for path, handler in handlers() if handler.opt.get("scoped") and handler.http_methods != {"GET"}}
    personal = {
        (str(method), path)
        for path, handler in handlers()
        for method in handler.http_methods - {"OPTIONS"}
        if handler.opt.get("personal")
    }
    scoped_personal = {
        path for path, handler in handlers() if handler.opt.get("personal") and handler.opt.get("scoped")
    }
    permitted = {path for path, handler in handlers() if "permission" in handler.opt}
    assert writing == {
        "/call/note",
        "/calls/tags",
        "/missed",
        "/api/v1/notes",
        "/api/v1/missed-calls",
    } | scoped_personal | (permitted - {"/sql/questions/share"})
    assert personal == PERSONAL_STATUSES.keys()
    assert permitted == PERMITTED


@pytest.fixture
async def tokens(harness: ConsoleHarness) -> dict[str, str]:
    """Return the tokens of readers limited to an extension, to a PBX, to a PBX that does not exist, and to a department
    at a site; add three calls.
    """
    await harness.appdb.add_pbx(name="branch", sn=OTHER_SN, secret="s" * 32, now_us=1)
    visible_details = {"call_from": ALICE, "call_to": "1002", "recording": "shown.wav"}
    await harness.ingest_details([details(STARTED_AT, call_id=SHOWN_ID, **visible_details)])
    hidden = {"call_from": f"Hidden<{HIDDEN}>", "call_to": "1003", "recording": f"{HIDDEN}.wav", "type": "Inbound"}
    await harness.ingest_details(
        [details(STARTED_AT, call_id=HIDDEN_ID, src_trunk_name=HIDDEN, did_number=HIDDEN, **hidden)]
    )
    await harness.ingest_details(
        [details(STARTED_AT, call_id=ELSEWHERE_ID, call_from=f"Hidden<{HIDDEN}>", call_to="1009", status="BUSY")],
        OTHER_SN,
    )
    await harness.appdb.directory.put(
        [
            DirectoryEntry(sn=SN, number="1001", name="Alice", department="Sales", site="Berlin"),
            DirectoryEntry(sn=SN, number="1003", name=HIDDEN, department=f"Sales {HIDDEN}", site=f"Site {HIDDEN}"),
            DirectoryEntry(sn=OTHER_SN, number="1009", name=HIDDEN, department="Sales", site=f"Site {HIDDEN}"),
        ]
    )
    limits = {
        "department": AccessScope(departments=("sales",), sites=("Berlin",)),
        "extension": AccessScope(numbers=("1002", "1001")),
        "both": AccessScope(sns=(SN,), numbers=("1001",)),
        "nothing": AccessScope(sns=()),
    }
    now_us = harness.clock.microseconds()
    return {
        name: await harness.appdb.tokens.add(name, "reader", now_us=now_us, scope=item) for name, item in limits.items()
    }


async def read_to_end(stream: aiohttp.ClientResponse) -> bytes:
    """Return what a feed sends until the server ends it."""
    received = b""
    with suppress(aiohttp.ClientPayloadError):
        async for chunk in stream.content.iter_any():
            received += chunk
    return received


async def test_limits_follow_moves_between_departments(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """A person who moves takes the calls along, and a running stream of the former scope ends."""

    async def move(number: str, department: str) -> None:
        entry = DirectoryEntry(sn=SN, number=number, name="Name", department=department, site="Berlin")
        await harness.appdb.directory.put([entry])

    async def call_ids(reader: aiohttp.ClientSession) -> list[str]:
        return [call["call_id"] for call in (await (await reader.get("/api/v1/calls")).json())["data"]]

    async with harness.client(tokens["department"]) as reader:
        assert await call_ids(reader) == [SHOWN_ID]
        stream = await reader.get("/api/v1/live?after=0")
        await move("1003", "Sales")
        assert set(await call_ids(reader)) == {SHOWN_ID, HIDDEN_ID}
        async with asyncio.timeout(60):
            assert HIDDEN.encode() not in await read_to_end(stream)
        await move("1001", "Support")
        assert await call_ids(reader) == [HIDDEN_ID]
        await harness.appdb.directory.remove(SN, "1003")
        assert await call_ids(reader) == []


async def test_limits_filters_show_no_member_out_of_scope(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """A filter by department finds the numbers that the reader may see, and no colleague in a call with them."""
    entry = DirectoryEntry(sn=SN, number="1002", name="Bob", department="Support", site="Berlin")
    await harness.appdb.directory.put([entry])
    async with harness.client(tokens["department"]) as reader:
        for query, count in (("department:Sales", 1), ("site:berlin", 1), ("department:Support", 0)):
            for name in ("number", "q"):
                answer = await reader.get("/api/v1/calls", params={name: query})
                assert (answer.status, len((await answer.json())["data"])) == (200, count), (name, query)


async def test_limits_other_routes_are_403(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    async with harness.client(tokens["extension"]) as reader:
        request_count = 0
        for path, handler in handlers():
            if handler.opt.get("scoped") or handler.opt.get("open"):
                continue
            filled = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "office", path))
            for method in handler.http_methods:
                answer = await reader.request(str(method), filled, json={} if str(method) != "GET" else None)
                assert answer.status == 403, (method, path)
                request_count += 1
        assert request_count > 40
        assert (await reader.get("/metrics")).status == 403


@pytest.mark.parametrize(
    "name", ["both", *(pytest.param(name, marks=pytest.mark.slow) for name in ("department", "extension", "nothing"))]
)
async def test_limits_responses_leak_nothing(harness: ConsoleHarness, tokens: dict[str, str], name: str) -> None:
    """No list, report, export or page contains the number, and no count includes calls outside of the scope."""
    expected_count = 0 if name == "nothing" else 1
    async with harness.client(tokens[name]) as reader:
        for kind_name in KINDS:
            for form in ("/reports", "/reports.csv", "/api/v1/reports"):
                for group_by in ("", "department", "site") if KINDS[kind_name].make_grouped else ("",):
                    query = f"report={kind_name}&since=2026-04-01&until=2026-05-01&group_by={group_by}"
                    assert HIDDEN not in await body(reader, f"{form}?{query}"), (kind_name, group_by)
        for path in ("/", "/calls", "/calls?sort=-talk_duration", f"/api/v1/calls?q={HIDDEN}", "/api/v1/records"):
            assert f"<{HIDDEN}>" not in await body(reader, path), path
        for field in ("trunk", "did_number", "party"):
            for text in ("7", "sales", "site:"):
                assert HIDDEN not in await body(reader, f"/suggestions?field={field}&text={text}"), field
        for by in ("department", "site"):
            assert HIDDEN not in await body(reader, f"/api/v1/summary?by={by}")
        for show in ("open", "mine", "done"):
            assert HIDDEN not in await body(reader, f"/api/v1/missed-calls?since=2026-04-01&show={show}")
        assert HIDDEN not in await body(reader, "/reminders")
        dashboard = await body(reader, "/?since=2026-04-01&until=2026-05-01")
        assert HIDDEN not in dashboard
        if name != "nothing":  # who sees no call sees no figure
            assert re.search(r'data-tile="calls".*?data-value="1"', dashboard, re.DOTALL)
        assert len((await (await reader.get("/api/v1/calls")).json())["data"]) == expected_count
        assert len((await (await reader.get("/api/v1/records")).json())["data"]) == expected_count
        for by in ("pbx", "call_from", "did_number", "went_to", "hour"):
            rows = (await (await reader.get("/api/v1/summary", params={"by": by})).json())["data"]
            assert sum(row["calls"] for row in rows) in {expected_count, 2 * expected_count} - (
                {2} if by != "went_to" else set()
            ), by
        for form in ("csv", "jsonl"):
            text = await body(reader, f"/api/v1/export.{form}")
            assert HIDDEN not in text
            assert text.count("shown.wav") == expected_count
        for form in ("parquet", "xlsx"):
            answer = await reader.get(f"/api/v1/export.{form}")
            assert answer.status == 200
            assert HIDDEN.encode() not in await answer.read()


async def test_limits_call_outside_scope_is_404(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """The response is that of an unknown call, by either URL and in the API; the event is rejected."""
    async with harness.client(tokens["extension"]) as reader:
        for sn, call_id, status in ((SN, SHOWN_ID, 200), (SN, HIDDEN_ID, 404), (OTHER_SN, ELSEWHERE_ID, 404)):
            for path in (f"/calls/{sn}/{call_id}", f"/call?sn={sn}&call_id={call_id}", f"/api/v1/calls/{sn}/{call_id}"):
                answer = await reader.get(path)
                assert answer.status == status, path
                assert HIDDEN not in await answer.text()
            notes = await reader.get("/api/v1/notes", params={"sn": sn, "call_id": call_id})
            assert notes.status == status
        assert (await reader.get("/api/v1/events/2")).status == 403
        assert (await reader.get("/events/2")).status == 403


async def test_limits_live_feed_has_only_calls_in_scope(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    async with harness.client(tokens["extension"]) as reader:
        answer = await reader.get("/api/v1/live?after=0")
        await harness.ingest_details(
            [details(call_from="1005", call_to=HIDDEN), details(call_from="1001", call_to="1005")]
        )
        received_bytes = b""
        while received_bytes.count(b"event: record") < 2:
            received_bytes += await answer.content.readany()
        assert HIDDEN.encode() not in received_bytes
        answer.close()


async def test_limits_empty_scope_sees_nothing(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """No parameter widens a scope."""
    async with harness.client(tokens["nothing"]) as reader:
        for query in ("", "?sn=" + SN, "?pbx=branch", "?status=!x", "?q=Hidden"):
            assert (await (await reader.get(f"/api/v1/calls{query}")).json())["data"] == []
        assert (await reader.get("/api/v1/calls?scope=all")).status == 400
        assert (await reader.get("/api/v1/calls?numbers=1001")).status == 400


async def body(reader: aiohttp.ClientSession, path: str) -> str:
    answer = await reader.get(path)
    assert answer.status == 200, path
    return await answer.text()


async def test_limits_routes_for_a_permission_reject_users_without_it(
    harness: ConsoleHarness, tokens: dict[str, str]
) -> None:
    async with harness.client(tokens["both"]) as reader:
        for path, handler in handlers():
            for method in handler.http_methods - {"OPTIONS"} if path in PERMITTED else ():
                assert (await reader.request(str(method), path)).status == 403, (method, path)


async def test_limits_names_of_other_pbxs_are_hidden(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """Neither the list of PBXs nor a configured zone reveals another PBX."""
    for name, may_see_name in (("extension", True), ("both", False), ("nothing", False), ("department", True)):
        async with harness.client(tokens[name]) as reader:
            for path in ("/", "/calls", "/reports", f"/calls/{SN}/{SHOWN_ID}"):
                answer = await reader.get(path)
                assert ("branch" in await answer.text()) <= may_see_name, (name, path)


async def test_access_every_route_rejects_unauthorized_changes(harness: ConsoleHarness) -> None:
    """The cookie of an administrator from another site, a client without a token, and a reader are rejected."""
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    jar = aiohttp.CookieJar(unsafe=True)
    request_count = 0
    async with (
        harness.client("", cookie_jar=jar, headers={"Sec-Fetch-Site": "cross-site"}) as forged,
        harness.client("") as anonymous,
        harness.client(reader) as other,
    ):
        await forged.post("/sign-in", data={"token": harness.admin_token}, headers={"Sec-Fetch-Site": "same-origin"})
        assert (await forged.get("/users")).status == 200
        for path, handler in handlers():
            filled = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "office", path))
            for method in handler.http_methods - {"GET", "OPTIONS"}:
                if not handler.opt.get("open"):
                    statuses = [
                        (await client_session.request(str(method), filled)).status
                        for client_session in (forged, anonymous, other)
                    ]
                    assert statuses == [403, 401, PERSONAL_STATUSES.get((str(method), path), 403)], (method, path)
                    request_count += 1
    assert request_count > 40
    assert [pbx.sn for pbx in await harness.appdb.pbxs()] == [SN]


async def test_limits_reports_of_a_number_are_those_of_the_filter(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Each report of a reader of one number equals that of an administrator who filters by it."""
    for index in range(12):
        call_id = f"17772878{70 + index}.{index}"
        caller, callees = [
            ("1001", ("1002",)),
            ("5550100", (QUEUE, "1001")),
            ("5550100", (QUEUE, "1002")),
            ("1003", ("1002", "1001")),
        ][index % 4]
        await harness.ingest_details(
            [details(call_id=call_id, call_from=caller, call_to=callee, type="Inbound") for callee in callees]
        )
    scope = AccessScope(numbers=("1001",))
    token = await harness.appdb.tokens.add("alice", "reader", now_us=harness.clock.microseconds(), scope=scope)
    period = {"since": "2026-04-01", "until": "2026-05-01"}
    async with harness.client(token) as reader:
        for kind in KINDS:
            limited = await reader.get("/reports.csv", params={"report": kind, **period})
            filtered = await client.get("/reports.csv", params={"report": kind, "number": "1001", **period})
            assert (limited.status, await limited.text()) == (200, await filtered.text()), kind

"""The matrix of addresses and visitors: no page, part of a page or list of a limited visitor has anything of others."""

import html
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.issues import OperationalIssue
from onhook.appdb.report_spec import ReportSpec
from onhook.appdb.tokens import token_author
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from onhook.cdr.queue_states import QueueState
from onhook.console.auth import failures
from onhook.console.pages.dashboards.tiles import DEFAULT_TILES, TILE_KINDS
from tests.console.all_pages import matches
from tests.console.conftest import ConsoleHarness
from tests.console.test_limits import HIDDEN, HIDDEN_ID, OTHER_SN, SHOWN_ID, handlers, tokens
from tests.console.test_users import signed_in
from tests.factories import SN, STARTED_AT, details

__all__ = ["tokens"]

DAYS = "since=2026-04-01&until=2026-05-01"
HIDDEN_NAME = "Xanadu"
"""Of what may have no telephone number in its name."""

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
KNOWN = f"sn={SN}&call_id={SHOWN_ID}"
TILES = ",".join(f"{name}:{kind.width}" for name, kind in TILE_KINDS.items())

ADDRESSES: Mapping[str, Sequence[str]] = {
    "/": [f"/?{DAYS}", f"/?{DAYS}&edit=yes", "/?part=queues-now", f"/?tiles={{tiles}}&{DAYS}"],
    "/wallboard/{name:str}": ["/wallboard/overview", "/wallboard/overview?part=queues-now", "/wallboard/Shared"],
    "/wallboard-links": ["/wallboard-links"],
    "/calls": [f"/calls?{DAYS}", f"/calls?{DAYS}&count=yes", f"/calls?{DAYS}&call_to=department:Sales"],
    "/calls/{sn:str}/{call_id:str}": [f"/calls/{SN}/{SHOWN_ID}?earlier=yes"],
    "/call": [f"/call?{KNOWN}"],
    "/reports": [f"/reports?report=extensions&{DAYS}", f"/reports?report=agents&{DAYS}&compare=year"],
    "/reports.csv": [f"/reports.csv?report=callers&{DAYS}"],
    "/missed": [f"/missed?{DAYS}", f"/missed?{DAYS}&show=done", f"/missed?{DAYS}&show=mine"],
    "/reminders": ["/reminders"],
    "/suggestions": [f"/suggestions?field={field}&text={text}" for field in ("party", "trunk") for text in ("7", "s")],
    "/directory": ["/directory", f"/directory?q={HIDDEN}", f"/directory?edit=1003&sn={SN}", "/directory?q=Sales"],
    "/report-schedules": ["/report-schedules"],
    "/report-schedules/new": [f"/report-schedules/new?report=callers&filters=number%3D{HIDDEN[:4]}"],
    "/report-schedules/{number:int}": ["/report-schedules/1"],
    "/api/v1/report-schedules": ["/api/v1/report-schedules"],
    "/api/v1/report-schedules/{number:int}": ["/api/v1/report-schedules/1"],
    "/account": ["/account"],
    "/account/app": ["/account/app"],
    "/api/v1/directory": ["/api/v1/directory", f"/api/v1/directory?q={HIDDEN}"],
    "/api/v1/directory.csv": ["/api/v1/directory.csv"],
    "/api/v1/dashboards": ["/api/v1/dashboards"],
    "/api/v1/dashboards/{dashboard_id:int}": [f"/api/v1/dashboards/0?{DAYS}", "/api/v1/dashboards/2"],
    "/api/v1/wallboards/{name:str}": ["/api/v1/wallboards/overview", "/api/v1/wallboards/Shared"],
    "/api/v1/records": ["/api/v1/records"],
    "/api/v1/calls": ["/api/v1/calls", "/api/v1/calls?number=department:Sales"],
    "/api/v1/calls/{sn:str}/{call_id:str}": [f"/api/v1/calls/{SN}/{SHOWN_ID}"],
    "/api/v1/summary": ["/api/v1/summary?by=pbx", "/api/v1/summary?by=department", "/api/v1/summary?by=trunk"],
    "/api/v1/reports": [f"/api/v1/reports?report=trunks&{DAYS}"],
    "/api/v1/notes": [f"/api/v1/notes?{KNOWN}"],
    "/api/v1/missed-calls": [f"/api/v1/missed-calls?{DAYS}"],
    "/api/v1/saved-searches": ["/api/v1/saved-searches"],
    "/api/v1/recording": [f"/api/v1/recording?{KNOWN}"],
    **{f"/api/v1/export.{form}": [f"/api/v1/export.{form}?{DAYS}"] for form in ("csv", "jsonl", "xlsx", "parquet")},
}
"""Addresses of each route that serves limited readers; a new one gets a line. Feeds have tests of their own."""

FEEDS = {"/api/v1/live", "/exports/{ticket:str}"}

FORMS: Mapping[str, Mapping[str, str]] = {
    "/settings": {"zone": "Asia/Tokyo", "clock": "12", "next": "/calls"},
    "/settings/columns": {"columns": "pbx,trunk,did", "next": f"/calls?{DAYS}"},
    "/dashboards/save": {"name": "Mine", "tiles": "calls:3"},
    "/dashboards/copy": {"dashboard_id": "1"},
    "/dashboards/remove": {"dashboard_id": "1"},
    "/dashboards/share": {"dashboard_id": "1"},
    "/wallboard-links": {"dashboard_id": "2", "name": "desk", "numbers": HIDDEN, "expires_on": TOMORROW},
    "/wallboard-links/revoke": {"link_id": "1"},
    "/calls/tags": {"call": f"{SN}\n{HIDDEN_ID}", "tags": "mine"},
    "/call/note": {"sn": SN, "call_id": HIDDEN_ID, "text": "mine"},
    "/missed": {"call": f"{SN}\n{HIDDEN_ID}", "action": "claim"},
    "/report-schedules": {"report": "callers", "name": "mine", "hour": "x"},
    "/report-schedules/{number:int}": {"name": "mine"},
    **{f"/report-schedules/{{number:int}}/{action}": {} for action in ("pause", "resume", "test", "remove")},
}
"""Forms that a limited visitor may send, for what is out of the scope: the answers have nothing of it either."""


@pytest.fixture
async def hidden_world(harness: ConsoleHarness, tokens: dict[str, str]) -> dict[str, str]:
    """Give the hidden number and PBX a place in everything that a page can show; return the tokens."""
    appdb, now_us = harness.appdb, harness.clock.microseconds()
    layout = DashboardLayout(tiles=tuple(StoredTile(tile.kind, tile.width) for tile in DEFAULT_TILES))
    await appdb.dashboards.save(HIDDEN_NAME, layout, author=token_author("admin"))
    shared = await appdb.dashboards.save("Shared", layout, author=token_author("admin"))
    await appdb.dashboards.set_shared(shared.dashboard_id, is_shared=True)
    until_us = now_us + 86_400_000_000
    await appdb.wallboard_links.add(shared.dashboard_id, HIDDEN_NAME, scope=None, expires_us=until_us, now_us=now_us)
    await appdb.directory.put([DirectoryEntry(number=f"+49{HIDDEN}", kind="contact", name=f"Contact {HIDDEN}")])
    await appdb.directory.put([DirectoryEntry(sn=SN, number="6499", kind="queue", name=f"Queue {HIDDEN}")])
    await appdb.notes.write(SN, HIDDEN_ID, f"note {HIDDEN}", f"tag-{HIDDEN}", author="Bob", now_us=now_us)
    await appdb.destinations.add(HIDDEN_NAME, DestinationSpec(url="https://a.example/"), None, after=0, now_us=1)
    for sn in (SN, OTHER_SN):
        await appdb.alarms.raise_alarm(sn, "silence", f"alarm {HIDDEN}", hint=HIDDEN, now_us=now_us)
    await appdb.users.add("Bob", "reader", None, now_us=now_us)
    report = ReportSpec(report="callers", query=f"number={HIDDEN}", addresses=["bob@example.com"], files=("xlsx",))
    await appdb.report_schedules.add("Bob", HIDDEN_NAME, report, now_us=now_us)
    issue = OperationalIssue(issue_key="check:disk", kind="check_disk", subject="disk", detail=HIDDEN, hint=HIDDEN)
    await appdb.issues.begin(issue, now_us=now_us)
    harness.queue_states = {
        sn: [QueueState(queue="6499", name=f"Queue {HIDDEN}", waiting=3, talking=4, longest_wait=60)]
        for sn in (SN, OTHER_SN)
    }
    recent = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
    for sn in (SN, OTHER_SN):
        await harness.ingest_details(
            [details(recent, call_from=HIDDEN, call_to=f"Queue {HIDDEN}<6499>", type="Inbound", status="NO ANSWER")], sn
        )
    await harness.ingest_details(
        [details(STARTED_AT + timedelta(hours=1), call_from=HIDDEN, call_to="1003", status="NO ANSWER")]
    )
    return tokens


@asynccontextmanager
async def open_visitors(
    harness: ConsoleHarness, hidden_world: dict[str, str]
) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    """Yield a client of each visitor: four limited tokens, and a user with all permissions and the scope of one."""
    scope, now_us = AccessScope(sns=(SN,), numbers=("1001",)), harness.clock.microseconds()
    invitation = await harness.appdb.users.add(
        "Alice", "annotator", scope, now_us=now_us, permissions=("share", "links")
    )
    async with AsyncExitStack() as stack:
        visitors = {
            name: await stack.enter_async_context(harness.client(token)) for name, token in hidden_world.items()
        }
        yield visitors | {"user": await stack.enter_async_context(signed_in(harness, invitation))}


async def read(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with client.get(path, headers={"Accept": "*/*"}) as answer:
        return answer.status, (await answer.read()).decode(errors="replace")


def shows_hidden(text: str) -> bool:
    """Return whether a page shows what is hidden, besides what the visitor has entered: the field of a search, and its
    links to other pages.
    """
    shown_text = text.replace(f'value="{HIDDEN}"', "").replace(f"q={HIDDEN}", "")
    return HIDDEN in shown_text or HIDDEN_NAME in shown_text


def test_limits_matrix_has_every_route_for_limited_readers() -> None:
    """A new route for limited readers gets its addresses and its forms above."""
    scoped = [(path, handler) for path, handler in handlers() if handler.opt.get("scoped")]
    reading = {path for path, handler in scoped if "GET" in handler.http_methods}
    assert reading - FEEDS == ADDRESSES.keys()
    for route, paths in ADDRESSES.items():
        assert all(matches(path, route) for path in paths), route
    writing = {path for path, handler in scoped if "POST" in handler.http_methods and not path.startswith("/api")}
    assert {path for path in writing if not path.startswith("/account/")} == FORMS.keys()


@pytest.mark.slow
async def test_limits_matrix_of_addresses_and_visitors_leaks_nothing(
    harness: ConsoleHarness, hidden_world: dict[str, str]
) -> None:
    statuses: dict[str, set[int]] = {}
    async with open_visitors(harness, hidden_world) as visitors:
        for name, visitor in visitors.items():
            for paths in ADDRESSES.values():
                for path in paths:
                    status, text = await read(visitor, path.format(tiles=TILES))
                    assert not shows_hidden(text), (name, path)
                    assert "branch" not in text or name not in ("both", "nothing", "user"), (name, path)
                    statuses.setdefault(name, set()).add(status)
    assert all(200 in codes and max(codes) < 500 for codes in statuses.values())
    assert 403 not in statuses["user"]  # who has both permissions is refused nowhere in the matrix


@pytest.mark.slow
async def test_limits_matrix_of_forms_and_visitors_changes_and_shows_nothing(
    harness: ConsoleHarness, hidden_world: dict[str, str]
) -> None:
    appdb = harness.appdb
    async with open_visitors(harness, hidden_world) as visitors:
        for name, visitor in visitors.items():
            for path, fields in FORMS.items():
                async with visitor.post(path.replace("{number:int}", "1"), data=fields) as answer:
                    text = await answer.text()
                assert answer.status < 500, (name, path)
                assert not shows_hidden(text), (name, path)
    assert [note.text for note in await appdb.notes.history(SN, HIDDEN_ID)] == [f"note {HIDDEN}"]
    assert HIDDEN_NAME in {link.name for link in await appdb.wallboard_links.all()}
    assert [schedule.name for schedule in await appdb.report_schedules.all()] == [HIDDEN_NAME]
    boards = {board.name: board for board in await appdb.dashboards.all()}
    assert not boards[HIDDEN_NAME].is_shared
    (desk,) = [link for link in await appdb.wallboard_links.all() if link.name == "desk"]
    assert desk.scope == AccessScope(sns=(SN,), numbers=("1001",))


@pytest.mark.slow
async def test_limits_wallboard_link_shows_nothing_beyond_its_scope(
    harness: ConsoleHarness,
    hidden_world: dict[str, str],
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In each of the scopes, and no other address opens with its text."""
    assert hidden_world
    # Refused requests of one address are limited elsewhere.
    monkeypatch.setattr(failures.WrongTokens, "allowed_count", 1_000_000)
    scopes = {"numbers": "1001"}, {"pbxs": "office", "numbers": "1001"}, {"departments": "Sales", "sites": "Berlin"}
    for number, scope_fields in enumerate(scopes):
        form = {"dashboard_id": "2", "name": f"hall {number}", "expires_on": TOMORROW, **scope_fields}
        page = await (await client.post("/wallboard-links", data=form)).text()
        address = html.unescape(re.findall(r"http://[^/]+(/wallboard/[^<]+)", page)[0])
        async with harness.client("") as screen:
            for suffix in ("", "&part=queues-now"):
                status, text = await read(screen, address + suffix)
                assert (status, shows_hidden(text)) == (200, False), scope_fields
            token = address.partition("token=")[2]
            for route, paths in ADDRESSES.items():
                path = paths[-1].format(tiles=TILES)
                status, text = await read(screen, f"{path}{'&' if '?' in path else '?'}token={token}")
                is_board = route in ("/wallboard/{name:str}", "/api/v1/wallboards/{name:str}")
                assert (status, shows_hidden(text)) == (200 if is_board else 401, False), path

"""Who may come in, by which way, and what every answer forbids a browser."""

from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from onhook.console.auth.failures import FAILURES_MAX
from tests.console.conftest import ConsoleHarness, module_loop, open_console_harness

CLOSED = [
    "/",
    "/issues",
    "/metrics",
    "/api/v1/records",
    "/api/v1/live",
    "/api/v1/export.csv",
    "/schema/openapi.json",
]
OPEN = ["/healthz", "/readyz", "/sign-in", "/static/style.css"]


@pytest.mark.parametrize("path", CLOSED)
async def test_strangers_see_nothing(harness: ConsoleHarness, path: str) -> None:
    """Without a token, with a wrong one, and with another scheme: 401 and how to do it right."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        async with harness.client("", headers=headers) as stranger:
            answer = await stranger.get(path)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"


@module_loop
@pytest.mark.parametrize("path", OPEN)
async def test_some_doors_are_open(module_harness: ConsoleHarness, path: str) -> None:
    """Health, and what the sign-in page needs, ask for nothing."""
    async with module_harness.client("") as stranger:
        assert (await stranger.get(path)).status == 200


async def test_every_answer_is_guarded(harness: ConsoleHarness) -> None:
    """The headers that keep a browser from doing what we did not mean are on answers of every kind."""
    async with harness.client("") as stranger:
        for path in (*CLOSED, *OPEN, "/nothing"):
            headers = (await stranger.get(path)).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] in ("no-store", "no-cache")


async def test_a_reader_changes_nothing(harness: ConsoleHarness) -> None:
    """A reader's token reads, and is refused with 403 where something would change."""
    token = harness.appdb.add_token("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(token) as reader:
        assert (await reader.get("/api/v1/pbxs")).status == 200
        assert (await reader.delete("/api/v1/pbxs/office")).status == 403
    assert [pbx.name for pbx in harness.appdb.pbxs()] == ["office"]


async def test_the_link_signs_in_and_leaves_no_token(harness: ConsoleHarness) -> None:
    """The link sets a cookie that scripts cannot read and goes on to a page without the token in its address."""
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        answer = await browser.get(f"/sign-in?token={harness.admin_token}", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert harness.admin_token.lower() not in cookie
        assert (await browser.get("/", headers={"Accept": "text/html"})).status == 200
        assert (await browser.post("/sign-out", allow_redirects=False)).status == 303
        assert (await browser.get("/api/v1/records")).status == 401


@module_loop
@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example/", "/\\evil.example", "/sign-in?token=x"])
async def test_signing_in_never_leads_elsewhere(module_harness: ConsoleHarness, place: str) -> None:
    """Whatever the address asks for, after signing in one is on a page of ours."""
    async with module_harness.client("") as browser:
        answer = await browser.get(
            f"/sign-in?token={module_harness.admin_token}&next={quote(place)}", allow_redirects=False
        )
        assert answer.headers["Location"] == "/"


async def test_a_removed_token_ends_its_sessions(harness: ConsoleHarness) -> None:
    """Whoever signed in with a token is out as soon as the token is removed."""
    token = harness.appdb.add_token("visitor", "reader", now_us=harness.clock.microseconds())
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.post("/sign-in", data={"token": token, "next": "/"}, allow_redirects=False)
        assert (await browser.get("/api/v1/records")).status == 200
        harness.appdb.remove_token("visitor")
        assert (await browser.get("/api/v1/records")).status == 401


@module_loop
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
    ],
)
async def test_another_site_changes_nothing(
    module_harness: ConsoleHarness, headers: dict[str, str], status: int
) -> None:
    """A cookie alone changes nothing: the browser must say that a page of ours asked."""
    async with module_harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.get(f"/sign-in?token={module_harness.admin_token}", allow_redirects=False)
        assert (await browser.delete("/api/v1/pbxs/nobody", headers=headers)).status == status


async def test_wrong_tokens_are_slowed_down(harness: ConsoleHarness) -> None:
    """Past the limit an address is told to wait; a right token is let in even then."""
    async with harness.client("wrong") as stranger:
        statuses = [(await stranger.get("/api/v1/pbxs")).status for _ in range(FAILURES_MAX + 1)]
        answer = await stranger.get("/api/v1/pbxs")
    assert statuses == [401] * FAILURES_MAX + [429]
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    async with harness.client() as friend:
        assert (await friend.get("/api/v1/pbxs")).status == 200


@module_loop
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:8030", 421),
        ("localhost:8030", 200),
        ("[::1]:8030", 200),
        ("10.0.0.7", 200),
        ("[", 421),
        ("[::1", 421),
        ("]", 421),
        ("evil].example", 421),
    ],
)
async def test_other_names_are_refused(module_harness: ConsoleHarness, host: str, status: int) -> None:
    """A name that another site could point here is not ours (DNS rebinding); an address is always right."""
    async with module_harness.client() as client:
        answer = await client.get("/api/v1/pbxs", headers={"Host": host})
        assert answer.status == status
        assert status == 200 or answer.content_type == "application/problem+json"


async def test_an_open_console_reads(tmp_path: Path) -> None:
    """Opened on purpose, the console shows everything without a token, and changes nothing without one."""
    async with open_console_harness(tmp_path, console_open=True) as harness, harness.client("") as anybody:
        assert (await anybody.get("/metrics")).status == 200
        assert (await anybody.get("/api/v1/records")).status == 200
        ours = {"Sec-Fetch-Site": "same-origin"}
        assert (await anybody.delete("/api/v1/pbxs/office", headers=ours)).status == 403

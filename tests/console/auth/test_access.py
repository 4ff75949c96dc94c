"""Access to the console: tokens, sessions, the sign-in link, and the security headers of every response."""

from pathlib import Path

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
async def test_access_without_valid_token_is_401(harness: ConsoleHarness, path: str) -> None:
    """A missing token, a wrong one and another scheme are rejected; the response names the supported scheme."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        async with harness.client("", headers=headers) as anonymous:
            answer = await anonymous.get(path)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"


@module_loop
@pytest.mark.parametrize("path", OPEN)
async def test_access_public_routes_need_no_token(module_harness: ConsoleHarness, path: str) -> None:
    """Health checks and the files of the sign-in page are public."""
    async with module_harness.client("") as anonymous:
        assert (await anonymous.get(path)).status == 200


async def test_access_every_response_has_security_headers(harness: ConsoleHarness) -> None:
    async with harness.client("") as anonymous:
        for path in (*CLOSED, *OPEN, "/nothing"):
            headers = (await anonymous.get(path)).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "same-origin"
            assert headers["Cache-Control"] in ("no-store", "no-cache")


async def test_access_reader_cannot_change_anything(harness: ConsoleHarness) -> None:
    token = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(token) as reader:
        assert (await reader.get("/api/v1/pbxs")).status == 200
        assert (await reader.delete("/api/v1/pbxs/office")).status == 403
    assert [pbx.name for pbx in await harness.appdb.pbxs()] == ["office"]


async def test_sign_in_link_shows_a_button(harness: ConsoleHarness) -> None:
    """A link alone does not sign in: another site could open it; a wrong token gets the form."""
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        answer = await browser.get(f"/sign-in?token={harness.admin_token}&next=/calls")
        text = await answer.text()
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers
        assert f'name="token" value="{harness.admin_token}"' in text
        assert 'name="next" value="/calls"' in text
        assert (await browser.get("/sign-in?token=wrong")).status == 401
        assert (await browser.get("/api/v1/records")).status == 401


async def test_sign_in_sets_cookie_and_removes_token_from_url(harness: ConsoleHarness) -> None:
    """The cookie is not readable by scripts."""
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        answer = await browser.post("/sign-in", data={"token": harness.admin_token}, allow_redirects=False)
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
async def test_sign_in_foreign_next_redirects_to_own_page(module_harness: ConsoleHarness, place: str) -> None:
    async with module_harness.client("") as browser:
        data = {"token": module_harness.admin_token, "next": place}
        answer = await browser.post("/sign-in", data=data, allow_redirects=False)
        assert answer.headers["Location"] == "/"


async def test_sign_in_token_is_removed_ends_session(harness: ConsoleHarness) -> None:
    token = await harness.appdb.tokens.add("visitor", "reader", now_us=harness.clock.microseconds())
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.post("/sign-in", data={"token": token, "next": "/"}, allow_redirects=False)
        assert (await browser.get("/api/v1/records")).status == 200
        await harness.appdb.tokens.remove("visitor")
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
async def test_access_cross_site_request_changes_nothing(
    module_harness: ConsoleHarness, headers: dict[str, str], status: int
) -> None:
    """A cookie alone is not enough: the browser must send an origin of the console."""
    async with module_harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.post("/sign-in", data={"token": module_harness.admin_token}, allow_redirects=False)
        assert (await browser.delete("/api/v1/pbxs/unknown", headers=headers)).status == status


@module_loop
@pytest.mark.parametrize("path", ["/sign-in", "/invitation", "/sign-out"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_sign_in_cross_site_form_is_rejected(
    module_harness: ConsoleHarness, path: str, headers: dict[str, str]
) -> None:
    """It would sign a person in as another user."""
    async with module_harness.client("", headers=headers) as browser:
        answer = await browser.post(path, data={"token": module_harness.admin_token}, allow_redirects=False)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers


@module_loop
async def test_sign_in_form_of_the_same_origin_is_accepted(module_harness: ConsoleHarness) -> None:
    async with module_harness.client("", headers={"Origin": module_harness.url}) as browser:
        data = {"token": module_harness.admin_token}
        assert (await browser.post("/sign-in", data=data, allow_redirects=False)).status == 303


async def test_access_wrong_tokens_are_throttled(harness: ConsoleHarness) -> None:
    """Past the limit an address has to wait; a valid token is accepted even then."""
    async with harness.client("wrong") as anonymous:
        statuses = [(await anonymous.get("/api/v1/pbxs")).status for _ in range(FAILURES_MAX + 1)]
        answer = await anonymous.get("/api/v1/pbxs")
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
async def test_access_foreign_host_name_is_rejected(module_harness: ConsoleHarness, host: str, status: int) -> None:
    """Another site could point its name here (DNS rebinding); an IP address is always allowed."""
    async with module_harness.client() as client:
        answer = await client.get("/api/v1/pbxs", headers={"Host": host})
        assert answer.status == status
        assert status == 200 or answer.content_type == "application/problem+json"


async def test_access_open_console_is_read_only(tmp_path: Path) -> None:
    """Without a token everything can be read, and nothing can be changed."""
    async with open_console_harness(tmp_path, console_open=True) as harness, harness.client("") as anybody:
        assert (await anybody.get("/metrics")).status == 200
        assert (await anybody.get("/api/v1/records")).status == 200
        ours = {"Sec-Fetch-Site": "same-origin"}
        assert (await anybody.delete("/api/v1/pbxs/office", headers=ours)).status == 403

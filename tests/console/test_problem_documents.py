"""Errors as problem documents (RFC 9457)."""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qsl

import aiohttp
import pytest

from onhook.appdb.tokens import Role
from onhook.cdr.access_scope import AccessScope
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import SN

MISTAKES = [
    ("GET", "/api/v1/records?nmber=1001", 400, "nmber"),
    ("GET", "/api/v1/calls?status=BUSY&status=FAILED", 400, "status"),
    ("GET", "/api/v1/records?limit=0", 400, "limit"),
    ("GET", "/api/v1/records?limit=1001", 400, "limit"),
    ("GET", "/api/v1/records?limit=ten", 400, "limit"),
    ("GET", "/api/v1/records?cursor=nonsense", 400, "cursor"),
    ("GET", "/api/v1/records?since=tomorrowish", 400, "since"),
    ("GET", "/api/v1/records?until=2026-02-31", 400, "until"),
    ("GET", "/api/v1/records?zone=Mars/Olympus", 400, "Mars/Olympus"),
    ("GET", "/api/v1/records?min_talk_duration=-1", 400, "min_talk_duration"),
    ("GET", "/api/v1/records?number=" + "1" * 201, 400, "number"),
    ("GET", "/api/v1/summary?by=moon", 400, "moon"),
    ("GET", "/api/v1/export.csv?by=day", 400, "by"),
    ("GET", "/api/v1/export.pdf", 404, ""),
    ("GET", "/api/v1/live?after=-1", 400, "after"),
    ("GET", "/api/v1/nothing", 404, "nothing at this address"),
    ("GET", f"/api/v1/calls/{SN}/1.1", 404, "1.1"),
    ("GET", "/api/v1/events/1", 404, "1"),
    ("GET", "/api/v1/events/99999999999999999999", 400, "seq"),
    ("GET", "/api/v1/quarantine/1", 404, "1"),
    ("POST", "/api/v1/records", 405, "does not support the method"),
    ("DELETE", "/api/v1/pbxs/unknown", 404, "unknown"),
    ("GET", "/static/../app.py", 404, ""),
    ("GET", "/static/..%2fapp.py", 404, ""),
]


@module_loop
@pytest.mark.parametrize(("method", "path", "status", "names"), MISTAKES)
async def test_problem_has_status_and_detail(
    module_harness: ConsoleHarness, method: str, path: str, status: int, names: str
) -> None:
    async with module_harness.client() as client:
        answer = await client.request(method, path)
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        problem = await answer.json()
        assert problem["status"] == status
        assert names in problem["detail"] + " ".join(problem.get("parameters", ()))


@module_loop
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/calls?limit=abc", "limit: write a whole number"),
        ("/api/v1/records?limit=", "limit: write a whole number"),
        ("/api/v1/calls?limit=1001", "limit: write a whole number, at most 1000"),
        ("/api/v1/live?after=-1", "after: write a whole number, at least 0"),
        ("/api/v1/live?after=x", "after: write a whole number"),
        ("/api/v1/calls?min_talk_duration=x", "min_talk_duration: write digits only, at most 9"),
        ("/api/v1/calls?number=" + "1" * 201, "number: write at most 200 characters"),
        ("/api/v1/quarantine/7", "event 7 is not in the quarantine"),
    ],
)
async def test_problem_detail_has_no_library_text(module_harness: ConsoleHarness, path: str, sentence: str) -> None:
    """It does not contain names of types either."""
    async with module_harness.client() as client:
        problem = await (await client.get(path)).json()
        assert problem["detail"] == sentence
        assert "GET" not in problem.get("hint", ""), "people ask by the command line too"


@module_loop
@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", ""),
        (b"{", ""),
        (b'{"name":"branch"}', "sn"),
        (b'{"name":"branch","sn":"has blanks"}', "sn"),
        (b'{"name":"branch","sn":"X1","colour":"red"}', "colour"),
        (b'{"name":"office","sn":"X1"}', "office"),
        (b'{"name":"branch","sn":"X1","zone":"Nowhere"}', "Nowhere"),
        (b'{"name":"branch","sn":"X1","number_plan":{"queue":"9-1"}}', "queue"),
        (b'{"name":"branch","sn":"X1","secret":"abcdefgh","is_unsigned":true}', "is_unsigned"),
    ],
)
async def test_problem_invalid_pbx_is_rejected(module_harness: ConsoleHarness, body: bytes, names: str) -> None:
    """The status is 400, and nothing is stored."""
    async with module_harness.client() as client:
        answer = await client.post("/api/v1/pbxs", data=body, headers={"Content-Type": "application/json"})
        problem = await answer.json()
        assert (answer.status, answer.content_type) == (400, "application/problem+json"), problem
        assert names in str(problem)
        assert len((await (await client.get("/api/v1/pbxs")).json())["data"]) == 1


async def test_problem_large_body_is_rejected(client: aiohttp.ClientSession) -> None:
    """64 KiB are enough for a PBX."""
    answer = await client.post("/api/v1/pbxs", data=b" " * 70_000, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.content_type) == (413, "application/problem+json")


async def test_problem_browser_receives_page(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The page is escaped HTML; a program receives JSON at the same URL."""
    answer = await client.get("/calls?since=<b>soon", headers={"Accept": "text/html"})
    assert (answer.status, answer.content_type) == (400, "text/html")
    text = await answer.text()
    assert "&lt;b&gt;soon" in text
    assert "<b>soon" not in text
    assert (await client.get("/calls?since=<b>soon")).content_type == "application/problem+json"
    async with harness.client("") as anonymous:
        answer = await anonymous.get("/", headers={"Accept": "text/html"}, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=%2F")


HTML = {"Accept": "text/html"}


class FormParser(HTMLParser):
    """Collects the values that the forms of a page send, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._select = ""
        self._is_selected_text = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a control; an option without a value sends its text."""
        attributes = dict(attrs)
        if tag == "input" and attributes.get("name"):
            self.values[attributes["name"] or ""] = attributes.get("value") or ""
        elif tag == "select":
            self._select = attributes.get("name") or ""
        elif tag == "option" and "selected" in attributes:
            self.values[self._select] = attributes.get("value") or ""
            self._is_selected_text = "value" not in attributes

    def handle_data(self, data: str) -> None:
        """Note the text of a selected option."""
        if self._is_selected_text:
            self.values[self._select] = data
        self._is_selected_text = False


def form_values(page: str) -> dict[str, str]:
    """Return the values that the forms of a page send, by name."""
    parser = FormParser()
    parser.feed(page)
    return parser.values


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("/calls?since=foo&status=BUSY", "since", "Since is not a time: &#39;foo&#39;"),
        ("/calls?until=2026-02-31", "until", "Until is not a time"),
        ("/calls?min_talk_duration=long", "min_talk_duration", "Write digits only"),
        ("/calls?min_wait_duration=99999999999", "min_wait_duration", "Write digits only"),
        ("/calls?extra=4711", "extra", "write NAME=VALUE"),
        ("/calls?zone=Mars/Olympus", "zone", "There is no time zone"),
        ("/calls?weekday=9", "weekday", "write a whole number from 1 to 7"),
        ("/reports?since=foo", "since", "Since is not a time"),
        ("/reports?report=week&since=2026-05-02&until=2026-05-01", "until", "The period ends before it begins"),
        ("/reports?by=moon", "by", "There is no step"),
        ("/reports?status=BUSY", "status", "A report counts every outcome"),
    ],
)
async def test_problem_form_marks_the_invalid_field(
    client: aiohttp.ClientSession, path: str, name: str, message: str
) -> None:
    """The page has its own form, in which the field says what to write; a program receives the parameter's name."""
    answer = await client.get(path, headers=HTML)
    text = await answer.text()
    assert answer.status == 400
    assert f'name="{name}" aria-invalid="true" aria-describedby="error-{name}"' in text
    assert message in text[text.index(f'id="error-{name}"') :].partition("</span>")[0]
    assert form_values(text).items() >= dict(parse_qsl(path.partition("?")[2])).items() - {("by", "moon")}
    assert (await (await client.get(path)).json())["parameters"] == [name]


async def test_problem_form_offers_only_visible_pbxs(harness: ConsoleHarness) -> None:
    """A limited reader sees no name of another PBX and no tag, as on the page itself."""
    now_us = harness.clock.microseconds()
    await harness.appdb.add_pbx(name="branch", sn="3699B", secret="x" * 32, now_us=now_us)
    token = await harness.appdb.tokens.add("limited", "reader", now_us=now_us, scope=AccessScope(sns=("3699B",)))
    async with harness.client(token, headers=HTML) as reader:
        for path in ("/calls?since=foo", "/reports?since=foo"):
            text = await (await reader.get(path)).text()
            assert "<option>branch</option>" in text
            assert "<option>office</option>" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/calls?since=foo&status=BUSY&q=Alice",
        "/reports?report=volume&since=foo&number=1001",
        "/calls?min_wait_duration=long&pbx=office",
    ],
)
async def test_problem_page_invalid_value_can_be_corrected(client: aiohttp.ClientSession, path: str) -> None:
    """All values of the search are in a form, so that only the invalid one is typed again."""
    answer = await client.get(path, headers=HTML)
    text = await answer.text()
    assert answer.status == 400
    assert f'<form class="search" method="get" action="{path.partition("?")[0]}"' in text
    assert form_values(text).items() >= dict(parse_qsl(path.partition("?")[2])).items()


async def test_problem_page_unknown_parameter_is_not_sent_again(client: aiohttp.ClientSession) -> None:
    text = await (await client.get("/calls?nmber=1001&status=BUSY", headers=HTML)).text()
    values = form_values(text)
    assert values["status"] == "BUSY"
    assert "nmber" not in values


async def test_problem_page_has_only_the_menu_of_the_user(harness: ConsoleHarness) -> None:
    """A limited user sees no entry that would be refused, and no word about a token."""
    now_us = harness.clock.microseconds()
    token = await harness.appdb.tokens.add("extension", "reader", now_us=now_us, scope=AccessScope(numbers=("1001",)))
    async with harness.client(token, headers=HTML) as reader:
        answer = await reader.get("/pbxs")
        text = await answer.text()
    assert answer.status == 403
    assert re.findall(r"<nav.*?</nav>", text, re.DOTALL)[0].count("<a ") == 4
    assert "token" not in text


@pytest.mark.parametrize(("role", "has_users"), [("administrator", True), ("reader", False)])
async def test_problem_unknown_page_has_the_menu_of_the_user(
    harness: ConsoleHarness, role: Role, has_users: bool
) -> None:
    """As on any other page: of an unknown address, and of a method that an address does not have."""
    token = await harness.appdb.tokens.add("menu", role, now_us=harness.clock.microseconds())
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=HTML) as browser:
        await browser.post("/sign-in", data={"token": token})
        for method, path, status in (("GET", "/nothing", 404), ("POST", "/about", 405)):
            answer = await browser.request(method, path)
            text = await answer.text()
            assert answer.status == status
            for link in ("/apps", "/users"):
                assert (f'<a href="{link}"' in text) is has_users, path
            assert 'action="/sign-out"' in text
    async with harness.client("", headers=HTML) as anonymous:
        text = await (await anonymous.get("/nothing")).text()
        assert '<a href="/users"' not in text
        assert 'href="/sign-in"' in text

"""No text of a page escapes the catalogue: all pages in a pseudo-language, whose texts are all marked."""

import re
from collections import defaultdict
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Final

import aiohttp
import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.console import reader
from onhook.lib.languages import LANGUAGES, FileCatalogue, Formats
from onhook.lib.messages import set_catalogue
from tests.console.all_pages import FORM_PAGES, MISTAKE_PAGES, PAGES, add_sample_data, second_factor_steps
from tests.console.conftest import ConsoleHarness
from tests.console.test_accessible import public_paths

TEXT_ATTRIBUTES: Final = frozenset(
    {"title", "placeholder", "alt", "aria-label", "data-label", "data-title", "data-subtitle", "data-empty", "label"}
)
LITERAL_ELEMENTS: Final = frozenset({"script", "style", "code", "pre", "kbd", "textarea", "samp"})
"""What they contain is for machines, or from them."""

VOID_ELEMENTS: Final = frozenset({"input", "br", "img", "meta", "link", "hr", "wbr", "source", "track", "col"})
TRANSLATED: Final = re.compile("⟦[^⟦⟧]*⟧")
BRACKETS: Final = re.compile("[^⟦⟧]")
NAMES: Final = re.compile(
    r"\b(Onhook|onhook|Europe/Berlin|Berlin|UTC|CSV|XLSX|JSONL|Parquet|KiB|MiB|Alice|Bob|Carol|Dora|CRM|CTI|Outcomes"
    r"|Queues|Queue Team|Other tiles|office|branch|shop|second|3631A2124XXX)\b|https?://\S+"
)
"""Names, of the sample data too, and units."""

DATA: Final = frozenset(
    {
        # Texts of PBXs, and of what they are configured with.
        *("ABANDONED", "NO ANSWER", "ANSWERED", "WARNING", "30012, Call End Details Notification", "cdr", "auto"),
        *("historyid, callid, duration", "pbx1.example.com", "(hour)", "(port):", "answered 500", "X-Signature"),
        *("trunk=provider&did_number=4930901820", "Server", "POST https://crm.example.com/calls?key=…"),
        '"Phone admins" administrator sales reader pbxs=Office numbers=1001,1002 * reader',
        # Values of destinations.
        *(
            "webhook",
            "GET",
            "POST",
            "doc",
            "flat",
            "object",
            "plain",
            "public",
            "csv",
            "jsonl",
            "parquet",
            "path",
            "host",
        ),
        *("verify", "json-2", "json-rpc", "scram-sha-256", "scram-sha-512", "text/plain", "us-east-1", "False"),
        *("application/json", "application/x-www-form-urlencoded", "{{ event|tojson }}", "onhook.{type}.{sn}"),
        *("account_code=4711", "Inbound,Outbound", "mask call_from last3", "Webhook", "X-Key: 4711"),
        *("Bitrix24", "Discord", "EspoCRM", "Freshdesk", "Google Sheets", "Home Assistant", "HubSpot", "Make"),
        *("Microsoft Teams", "PagerDuty", "Pipedrive", "Salesforce", "Slack", "SuiteCRM", "Zendesk", "Zoho CRM"),
        # Libraries.
        *("aiohttp", "duckdb", "granian", "jinja2", "litestar", "msgspec", "phonenumbers", "tzdata"),
    }
)
"""What is the same in all languages."""

ENGLISH_PAGES: Final = frozenset({"/schema", "/audit"})
"""The reference of the API, and what the audit log has stored: names of tables and fields."""

WORD: Final = re.compile(r"[A-Za-z]{3,}")


class PseudoCatalogue(FileCatalogue):
    """A language whose texts are the English ones between brackets, and whose dates have no letters."""

    def __init__(self) -> None:
        numbers = tuple(map(str, range(1, 13)))
        formats = Formats(weekdays=numbers[:7], short_months=numbers, months=numbers)
        super().__init__(LANGUAGES["en"], {}, formats)

    def fill(self, text: str, values: Mapping[str, object]) -> str:
        return text.format_map(values)

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"


class PageTexts(HTMLParser):
    """Collects the texts that a person reads. What has its direction from its content is data, as names are, and what
    has a language of its own is the name of that language.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.content = ""
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.texts += [text for name, text in attrs if name in TEXT_ATTRIBUTES and text]
        if tag == "input" and attributes.get("type") in ("submit", "button"):
            self.texts.append(attributes.get("value") or "")
        if tag not in VOID_ELEMENTS:
            is_data = (
                tag in LITERAL_ELEMENTS or attributes.get("dir") == "auto" or (tag != "html" and "lang" in attributes)
            )
            self._open.append((tag, is_data))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        is_data = any(is_data for _tag, is_data in self._open)
        # A translated text may have code within, which is data: its brackets stay.
        self.content += BRACKETS.sub("", data) if is_data else data + "\n"


def escaped_texts(page: str) -> list[str]:
    """Return the texts of a page that have a word outside of translated texts."""
    parser = PageTexts()
    parser.feed(page)
    parser.close()
    rests = [*map(remove_translated, parser.texts), *remove_translated(parser.content).splitlines()]
    return [" ".join(rest.split()) for rest in rests if WORD.search(NAMES.sub("", rest))]


def remove_translated(text: str) -> str:
    """Return what is left of a text without its translated parts, one in another included."""
    while True:
        rest = TRANSLATED.sub("", text)
        if rest == text:
            return rest
        text = rest


@pytest.fixture
def _pseudo_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "set_language", lambda _code: set_catalogue(PseudoCatalogue()))


@pytest.mark.slow
@pytest.mark.usefixtures("_pseudo_language")
async def test_language_sweep_of_all_pages_has_no_english_text(harness: ConsoleHarness) -> None:
    await add_sample_data(harness)
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    escaped: dict[str, set[str]] = defaultdict(set)
    page_count = 0

    async def collect(response: aiohttp.ClientResponse) -> None:
        nonlocal page_count
        assert response.status < 500, response.url
        page = await response.text()
        page_count += "⟦" in page
        for text in escaped_texts(page):
            if text not in DATA:
                escaped[text].add(response.url.path)

    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=headers) as browser:
        await browser.post("/sign-in", data={"token": harness.admin_token})
        for path in (*PAGES.values(), *MISTAKE_PAGES.values(), *await public_paths(harness)):
            if path not in ENGLISH_PAGES:
                await collect(await browser.get(path))
        for path, fields in FORM_PAGES.values():
            await collect(await browser.post(path, data=fields))
        async for _name, path, fields in second_factor_steps(harness):
            await collect(await browser.post(path, data=fields))
    assert page_count > 50
    assert dict(escaped) == {}


def test_language_sweep_reports_what_escapes() -> None:
    page = '<p title="Table">⟦1 call of ⟦today⟧⟧ <b>missed</b> <code>since</code> <i dir="auto">Bob</i></p>'
    assert escaped_texts(page) == ["Table", "missed"]


class MarkedValueCatalogue(PseudoCatalogue):
    """A pseudo-language whose texts leave out the values that are put into them, unless these are translated too."""

    def fill(self, text: str, values: Mapping[str, object]) -> str:
        return text.format_map(
            {name: f"⟧{value}⟦" if isinstance(value, str) else value for name, value in values.items()}
        )


ERROR_REQUESTS: Final = (
    (
        "POST",
        "destinations",
        {"name": "A", "url": "https://a.example/", "notifies_of": "alarms", "filter": {"status": "BUSY"}},
    ),
    (
        "POST",
        "destinations",
        {"name": "A", "url": "https://a.example/", "notifies_of": "issues", "filter": {"status": "BUSY"}},
    ),
    (
        "POST",
        "destinations",
        {"name": "A", "kind": "postgresql", "url": "postgresql://a.example/x", "notifies_of": "alarms"},
    ),
    (
        "POST",
        "destinations",
        {"name": "A", "kind": "postgresql", "url": "postgresql://a.example/x", "notifies_of": "issues"},
    ),
    (
        "POST",
        "destinations",
        {"name": "A", "url": "https://a.example/", "notifies_of": "alarms", "transform": "drop x"},
    ),
    ("PATCH", "destinations/Pager", {"notifies_of": "calls"}),
    ("GET", "destinations/Pager/preview", None),
    ("POST", "destinations/Pager/replay", {"filter": {"sn": ""}}),
)


async def test_language_sweep_of_api_errors_has_no_english_word_in_a_sentence(
    harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "set_language", lambda _code: set_catalogue(MarkedValueCatalogue()))
    spec = DestinationSpec(url="https://pager.example/", notifies_of="alarms")
    await harness.appdb.destinations.add("Pager", spec, None, after=0, now_us=1)
    # The members and values of the API stay as they are.
    names = {"Pager", "postgresql", "calls, records", " (notifies_of)", " (transform)"}
    for role, requests in (("administrator", ERROR_REQUESTS), ("reader", ERROR_REQUESTS[:1])):
        token = await harness.appdb.tokens.add(role, role, now_us=1)
        async with harness.client(token) as client:
            for method, path, body in requests:
                response = await client.request(method, f"/api/v1/{path}", json=body)
                problem = await response.json()
                assert 400 <= response.status < 500, problem
                for text in (problem["detail"], problem.get("hint", "")):
                    assert not WORD.search(text) or "⟦" in text, text
                    escaped = [part for part in re.findall(r"⟧([^⟦⟧]+)⟦", f"⟧{text}⟦") if WORD.search(part)]
                    assert set(escaped) <= names, (path, text)

"""Pages have one form of dates, one of times and one of durations. Slow: all pages are read."""

import html
import re
from collections.abc import Iterator

import aiohttp
import pytest

from tests.console.all_pages import PAGES, add_sample_data
from tests.console.conftest import ConsoleHarness

_HIDDEN = re.compile(r"<(script|style|svg|code|pre|option|textarea|head)\b.*?</\1>", re.DOTALL)

FORMS = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [1-9]\d?"
    r" (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4}|Today|Yesterday)"
    r"(?: [0-2]\d:[0-5]\d(?::[0-5]\d)?)?"  # a time, or a day
    r"|(?<![\d:])[0-2]\d:[0-5]\d(?::[0-5]\d)?(?![\d:])"  # a time of a day that stands beside it, or an hour
    r"|(?<![\d:])(?:[1-9]\d*:[0-5]\d:[0-5]\d|\d{1,2}:[0-5]\d)(?![\d:])"  # a duration
    r"|(?:UTC)?[+-][01]\d:[0-5]\d"  # an offset from UTC
)
OTHER_FORMS = re.compile(
    r"\d{4}-\d\d-\d\d|\b(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|[12]\d|3[01])[./](?:\d{4}|\d\d)\b"
    r"|\b\d{1,2}:\d\d|\b[ap]\.?m\.?\b"
    r"|\b\d+ ?(?:h|min|sec|hrs?|mins?|secs?)\b"
    r"|\b(?:January|February|March|April|June|July|August|September|October|November|December)\b",
    re.IGNORECASE,
)


def texts_of(page: str) -> Iterator[str]:
    """Yield the visible texts of a page, but for code and what is typed."""
    for text in re.split(r"<[^>]+>", _HIDDEN.sub(" ", page)):
        if line := " ".join(html.unescape(text).split()):
            yield line


def find_other_forms(name: str, texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        rest = FORMS.sub(" ", text)
        is_reported = name == "call" and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text)
        if OTHER_FORMS.search(rest) and not is_reported:
            yield text


@pytest.mark.slow
async def test_pages_have_one_form_of_dates_times_and_durations(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await add_sample_data(harness)
    other_texts_by_page: dict[str, list[str]] = {}
    form_count = 0
    for name, path in PAGES.items():
        if name == "schema":  # descriptions of the API, whose times are ISO 8601
            continue
        texts = list(texts_of(await (await client.get(path)).text()))
        form_count += sum(bool(FORMS.search(text)) for text in texts)
        if other_texts := list(find_other_forms(name, iter(texts))):
            other_texts_by_page[name] = other_texts
    assert other_texts_by_page == {}
    assert form_count > 50


@pytest.mark.parametrize(
    ("text", "is_other"),
    [
        ("Sun 29 Nov 2026 23:48:03", False),
        ("Mon 16 Nov 2026 00:00:00 to Sun 22 Nov 2026 23:48:06", False),
        ("Today 23:48:03", False),
        ("23:48:03", False),
        ("1:14", False),
        ("1:01:01", False),
        ("+08:00", False),
        ("2026-11-29 23:48:03", True),
        ("29.11.2026", True),
        ("11/29/26", True),
        ("11:48 pm", True),
        ("November 29", True),
        ("74 sec", True),
        ("1 h 14 min", True),
    ],
)
def test_sweep_finds_other_forms(text: str, *, is_other: bool) -> None:
    assert list(find_other_forms("calls", iter([text]))) == [text] * is_other

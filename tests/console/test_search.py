"""Free text search, columns, and order."""

import re
from datetime import timedelta
from html import unescape
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from onhook.cdr.record_filter import RecordFilter
from onhook.console.search import apply_search_text, get_zone_region
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import STARTED_AT, details


@module_loop
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+49 (30) 90 18-20", {"plus", "zeros", "national"}),
        ("030/901820", {"plus", "zeros", "national"}),
        ("0049 30 901820", {"plus", "zeros", "national"}),
        ("+1 212 555 0100", set()),
        ("1001", {"extension"}),
        ("10 01", {"extension"}),
        ("alice", {"extension"}),
        ("1777287876.77", {"zeros"}),
        ("%", set()),
    ],
)
async def test_search_finds_numbers_names_and_ids(
    module_harness: ConsoleHarness, text: str, expected: set[str]
) -> None:
    """Numbers are found in any notation, parts of names in any case, and ids."""
    sides = {
        "plus": "+4930901820",
        "zeros": "004930901820",
        "national": "Town hall<030901820>",
        "extension": "Alice<1001>",
    }
    ids = {"zeros": "1777287876.77"}
    for n, (name, side) in enumerate(sides.items()):
        call_id = ids.get(name, f"1777287876.{n}")
        await module_harness.ingest_details([details(STARTED_AT, call_id=call_id, call_from=side, recording=name)])
    async with module_harness.client() as client:
        answer = await (await client.get("/api/v1/calls", params={"q": text})).json()
    assert {call["recordings"][0] for call in answer["data"]} == expected


def test_search_country_of_number_is_that_of_zone() -> None:
    """This is for numbers without a country's prefix; some zones have no country."""
    assert (get_zone_region("Europe/Berlin"), get_zone_region("America/New_York"), get_zone_region("UTC")) == (
        "DE",
        "US",
        "",
    )
    assert apply_search_text(RecordFilter(), "  ", [], ZoneInfo("UTC")) == RecordFilter()


async def test_calls_page_columns_and_order_are_in_the_url(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The longest talk is first, on all pages of the list; an unknown column is rejected."""
    for n in range(5):
        await harness.ingest_details(
            [details(STARTED_AT + timedelta(minutes=n), talk_duration=n * 3, call_duration=90, call_to=f"100{n}")]
        )
    text = await (await client.get("/calls?columns=trunk,talk&sort=-talk_duration&limit=3")).text()
    assert 'class="more">' in text
    assert "Answered by</th>" not in text
    order = [text.index(f'title="100{n}"') for n in (4, 3, 2)]
    assert order == sorted(order)
    next_path = unescape(re.findall(r'href="([^"]*)">More calls', text)[0])
    text = await (await client.get(next_path)).text()
    assert text.count('class="call"') == 2
    assert "4 to 5 of 5 calls, page 2 of 2" in text
    previous_path = unescape(re.findall(r'href="([^"]*)" rel="prev">← Previous', text)[0])
    text = await (await client.get(previous_path)).text()
    assert text.count('class="call"') == 3
    assert "1 to 3 of 5 calls, page 1 of 2" in text
    for cursor in ("%C2%B2", "9" * 100, "-1"):
        assert (await client.get(f"/calls?sort=-talk_duration&cursor={cursor}")).status == 400
    for query in ("columns=colour", "sort=colour", "weekday=8", "hour_of_day=x", "under_way_at=soon"):
        assert (await client.get(f"/calls?{query}")).status == 400

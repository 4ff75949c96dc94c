"""The page SQL: question, answer, picture and file; what cannot be asked is told on the page."""

import aiohttp

from tests.console.conftest import ConsoleHarness
from tests.factories import details


async def test_a_question_is_answered(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """As a table, as a picture where the columns allow one, and as a file that no spreadsheet takes for formulas."""
    await harness.ingest_details(
        [details(call_from="=1+1<1001>"), details(call_from="1003"), details(call_from="1003")]
    )
    sql = "SELECT call_from, count(*) AS calls FROM all_records GROUP BY ALL ORDER BY calls DESC"
    text = await (await client.get("/sql", params={"sql": sql})).text()
    assert "data-chart" in text
    assert "=1+1&lt;1001&gt;" in text
    answer = await client.get("/sql.csv", params={"sql": sql})
    assert await answer.text() == "call_from,calls\r\n1003,2\r\n'=1+1<1001>,1\r\n"


async def test_what_cannot_be_asked_is_told(client: aiohttp.ClientSession) -> None:
    """On the page with the question as it was; as a problem where a file was asked for."""
    text = await (await client.get("/sql", params={"sql": "DROP TABLE legs -- <b>"})).text()
    assert "only one SELECT is run here" in text
    assert "DROP TABLE legs -- &lt;b&gt;" in text
    assert (await client.get("/sql.csv", params={"sql": "SELECT * FROM read_text('/etc/passwd')"})).status == 400


async def test_an_administrators_eyes_are_not_needed(harness: ConsoleHarness) -> None:
    """A reader may ask, for he may read everything; a limited one may not."""
    reader = harness.appdb.add_token("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        assert (await other.get("/sql", params={"sql": "SELECT 1"})).status == 200

"""The page SQL: query, result, chart, file, and errors."""

import aiohttp

from tests.console.conftest import ConsoleHarness
from tests.factories import details


async def test_sql_page_result_has_table_chart_and_file(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """There is a chart where the columns allow one; no cell of the file is a formula."""
    await harness.ingest_details(
        [details(call_from="=1+1<1001>"), details(call_from="1003"), details(call_from="1003")]
    )
    sql = "SELECT call_from, count(*) AS calls FROM all_records GROUP BY ALL ORDER BY calls DESC"
    text = await (await client.get("/sql", params={"sql": sql})).text()
    assert "data-chart" in text
    assert "=1+1&lt;1001&gt;" in text
    answer = await client.get("/sql.csv", params={"sql": sql})
    assert await answer.text() == "call_from,calls\r\n1003,2\r\n'=1+1<1001>,1\r\n"


async def test_sql_page_error_is_shown(client: aiohttp.ClientSession) -> None:
    """The error is on the page with the query; for a file it is a problem document."""
    text = await (await client.get("/sql", params={"sql": "DROP TABLE legs -- <b>"})).text()
    assert "only one SELECT is allowed" in text
    assert "DROP TABLE legs -- &lt;b&gt;" in text
    assert (await client.get("/sql.csv", params={"sql": "SELECT * FROM read_text('/etc/passwd')"})).status == 400


async def test_sql_page_is_open_to_readers(harness: ConsoleHarness) -> None:
    """Limited readers are rejected."""
    reader = harness.appdb.add_token("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        assert (await other.get("/sql", params={"sql": "SELECT 1"})).status == 200

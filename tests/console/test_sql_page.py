"""The page SQL: query, result, chart, file, columns, and errors; and the same in the API."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import aiohttp

from onhook.cdr.access_scope import AccessScope
from onhook.console.pages.sql import EXAMPLES
from onhook.store.sql.contract import SQL_ROWS_MAX
from tests.console.conftest import ConsoleHarness
from tests.factories import details
from tests.store.sql.attacks import TOO_LARGE, TOO_SLOW
from tests.store.sql.test_runner import query_pids, wait_for_query_process


async def test_sql_page_result_has_table_chart_and_file(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """There is a chart where the columns allow one; no cell of the file is a formula."""
    await harness.ingest_details(
        [details(call_from="=1+1<1001>"), details(call_from="1003"), details(call_from="1003")]
    )
    sql = "SELECT call_from, count(*) AS calls FROM records GROUP BY ALL ORDER BY calls DESC"
    text = await (await client.get("/sql", params={"sql": sql})).text()
    assert "data-chart" in text
    assert "=1+1&lt;1001&gt;" in text
    assert " seconds old" in text
    answer = await client.get("/sql.csv", params={"sql": sql})
    assert await answer.text() == "call_from,calls\r\n1003,2\r\n'=1+1<1001>,1\r\n"
    entries = (await (await client.get("/api/v1/audit")).json())["data"]
    assert [entry["action"] for entry in entries if "SQL" in entry["action"]] == [f"file of an SQL query: {sql}"]


async def test_sql_file_without_all_rows_says_so_in_its_name(client: aiohttp.ClientSession) -> None:
    for count, name in ((SQL_ROWS_MAX, "result.csv"), (SQL_ROWS_MAX + 1, f"result-first-{SQL_ROWS_MAX}-rows.csv")):
        sql = f"SELECT range FROM range({count})"  # noqa: S608 - a number
        answer = await client.get("/sql.csv", params={"sql": sql})
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert (await answer.text()).count("\r\n") == 1 + SQL_ROWS_MAX


async def test_sql_page_lists_every_column_with_a_line(client: aiohttp.ClientSession) -> None:
    text = await (await client.get("/sql")).text()
    tables = (await (await client.get("/api/v1/sql/tables")).json())["data"]
    assert [table["name"] for table in tables] == ["calls", "records"]
    for column in [column for table in tables for column in table["columns"]]:
        assert f"<code>{column['name']}</code>" in text
        assert column["description"]


async def test_sql_page_listed_columns_are_those_of_the_views(client: aiohttp.ClientSession) -> None:
    tables = (await (await client.get("/api/v1/sql/tables")).json())["data"]
    for table in tables:
        answer = await (await client.get("/api/v1/sql", params={"sql": f"FROM {table['name']}"})).json()
        assert answer["columns"] == [column["name"] for column in table["columns"]]


async def test_sql_columns_have_the_names_of_the_api(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details()])
    tables = (await (await client.get("/api/v1/sql/tables")).json())["data"]
    for table in tables:
        (row,) = (await (await client.get(f"/api/v1/{table['name']}")).json())["data"]
        assert {column["name"] for column in table["columns"]} <= row.keys()


async def test_sql_examples_draw_a_chart_where_there_is_one_to_draw(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    calls = [
        details(
            now - timedelta(hours=3 * n + 1), call_to=f"100{n}", type="Inbound", did_number=f"555{n}", status=status
        )
        for n, status in enumerate(("ANSWERED", "ANSWERED", "BUSY"), start=1)
    ]
    await harness.ingest_details(calls)
    for title, sql in EXAMPLES:
        text = await (await client.get("/sql", params={"sql": sql})).text()
        assert 'role="alert"' not in text, title
        assert ("data-chart" in text) is (title != "The latest records"), title


async def test_sql_page_error_is_shown(client: aiohttp.ClientSession) -> None:
    """The error is on the page with the query and what to do; for a file it is a problem document."""
    text = await (await client.get("/sql", params={"sql": "DROP TABLE legs -- <b>"})).text()
    assert "Only one SELECT is allowed" in text
    assert "<code>records</code> or <code>calls</code>" in text
    assert "DROP TABLE legs -- &lt;b&gt;" in text
    assert (await client.get("/sql.csv", params={"sql": "SELECT * FROM read_text('/etc/passwd')"})).status == 400


async def test_sql_page_is_open_to_readers(harness: ConsoleHarness) -> None:
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        for path in ("/sql", "/api/v1/sql"):
            assert (await other.get(path, params={"sql": "SELECT 1"})).status == 200


async def test_sql_page_is_closed_to_limited_readers(harness: ConsoleHarness) -> None:
    """A query cannot be limited to some PBXs or extensions."""
    limited = await harness.appdb.tokens.add(
        "limited", "reader", now_us=harness.clock.microseconds(), scope=AccessScope(numbers=("1001",))
    )
    async with harness.client(limited) as other:
        for path in ("/sql", "/sql.csv", "/api/v1/sql", "/api/v1/sql/tables"):
            assert (await other.get(path, params={"sql": "SELECT 1"})).status == 403


async def test_sql_api_answer_has_rows_and_the_age_of_the_data(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.ingest_details([details(call_from="1003")])
    answer = await client.get("/api/v1/sql", params={"sql": "SELECT call_from, talk_duration FROM calls"})
    document = await answer.json()
    assert (document["columns"], document["data"]) == (["call_from", "talk_duration"], [["1003", 14]])
    assert document["is_truncated"] is False
    assert 0 <= document["age_seconds"] < 60
    assert document["data_at"].endswith("Z")


async def test_sql_api_errors_say_what_and_what_to_do(client: aiohttp.ClientSession) -> None:
    for sql, detail in (
        ("SELECT * FROM quarantine", "there is no table 'quarantine'"),
        ("SELECT nothing FROM calls", "SQL error: "),
        (TOO_LARGE[0], "memory"),
    ):
        answer = await client.get("/api/v1/sql", params={"sql": sql})
        problem = json.loads(await answer.text())
        assert answer.status == 400
        assert detail in problem["detail"]
        assert problem["hint"]


async def test_sql_query_of_a_client_that_goes_away_is_ended(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    for path in ("/sql", "/sql.csv", "/api/v1/sql"):
        async with harness.client() as other:
            task = asyncio.create_task(other.get(path, params={"sql": TOO_SLOW[0]}))
            await wait_for_query_process()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            while query_pids():  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the system has no event for it
    assert (await client.get("/api/v1/sql", params={"sql": "SELECT 1"})).status == 200

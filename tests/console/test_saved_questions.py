"""Saved questions and the history of queries: on the page SQL, in the API, and for each kind of user."""

import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.console.test_users import browser, invite, signed_in
from tests.factories import SN, details

__all__ = ["browser"]

SQL = "SELECT status, count(*) AS calls FROM calls GROUP BY ALL"
PATH = "/api/v1/sql/questions"


@pytest.fixture
async def alice(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the browser of a reader."""
    async with signed_in(harness, await invite(browser, "Alice")) as client:
        yield client


async def read(client: aiohttp.ClientSession, path: str, **query: str) -> str:
    answer = await client.get(path, params=query)
    assert answer.status == 200, await answer.text()
    return await answer.text()


async def post(client: aiohttp.ClientSession, path: str, **form: str) -> tuple[int, str]:
    answer = await client.post(path, data=form)
    return answer.status, await answer.text()


async def names_of(client: aiohttp.ClientSession) -> list[str]:
    return [question["name"] for question in (await (await client.get(PATH)).json())["data"]]


async def test_question_is_saved_opened_renamed_changed_and_removed(
    harness: ConsoleHarness, alice: aiohttp.ClientSession
) -> None:
    await harness.ingest_details([details()])
    page = await read(alice, "/sql", sql=SQL)
    assert "Save this query" in page
    answer = await alice.post("/sql/questions", data={"name": "Outcomes", "sql": SQL})
    (saved,) = await harness.appdb.saved_questions.all()
    assert (str(answer.url.relative()), saved.author) == (f"/sql?question={saved.question_id}", "Alice")
    page = await answer.text()
    assert '<h1 dir="auto">Outcomes</h1>' in page
    assert "1 row" in page
    assert "Save this query" not in page
    status, page = await post(alice, "/sql/questions", name="outcomes", sql="SELECT 2")
    assert (status, "There is already a question named" in page, "SELECT 2</textarea>" in page) == (200, True, True)
    page = await read(alice, "/sql", question=str(saved.question_id), sql="SELECT 3")
    assert "Save changes to Outcomes" in page
    number = str(saved.question_id)
    await post(alice, "/sql/questions/change", question_id=number, sql="SELECT 3")
    _status, page = await post(alice, "/sql/questions/change", question_id=number, name="Three")
    assert "is now named" in page
    (changed,) = await harness.appdb.saved_questions.all()
    assert (changed.name, changed.sql) == ("Three", "SELECT 3")
    _status, page = await post(alice, "/sql/questions/remove", question_id=number)
    assert "Question removed" in page
    assert (await alice.get("/sql", params={"question": number})).status == 404


async def test_question_is_shared_by_permission_and_changed_by_its_author(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, alice: aiohttp.ClientSession
) -> None:
    """An administrator changes every shared one, and sees none that is not."""
    await post(alice, "/sql/questions", name="Outcomes", sql=SQL)
    (saved,) = await harness.appdb.saved_questions.all()
    share = {"question_id": str(saved.question_id), "shared": "yes"}
    assert (await post(alice, "/sql/questions/share", **share))[0] == 403
    assert (await alice.patch(f"{PATH}/{saved.question_id}", json={"is_shared": True})).status == 403
    assert await names_of(browser) == []
    assert (await post(browser, "/sql/questions/remove", question_id=str(saved.question_id)))[0] == 404
    await browser.post("/users/edit", data={"user": "Alice", "name": "Alice", "role": "reader", "may_share": "yes"})
    _status, page = await post(alice, "/sql/questions/share", **share)
    assert "is shared with all users" in page
    assert "all users; by Alice" in await read(browser, "/sql")
    async with signed_in(harness, await invite(browser, "Bob", may_share="yes")) as bob:
        assert await names_of(bob) == ["Outcomes"]
        assert "0 rows" in await read(bob, "/sql", question=str(saved.question_id))
        assert (await post(bob, "/sql/questions/change", question_id=str(saved.question_id), name="X"))[0] == 403
        assert (await bob.delete(f"{PATH}/{saved.question_id}")).status == 403
    await browser.post("/users/edit", data={"user": "Alice", "name": "Alice", "role": "reader"})
    assert (await alice.delete(f"{PATH}/{saved.question_id}")).status == 403
    assert (await browser.patch(f"{PATH}/{saved.question_id}", json={"name": "All"})).status == 200
    await browser.post("/users/remove", data={"name": "Alice"})
    assert "by a user who was removed" in await read(browser, "/sql")
    await post(browser, "/sql/questions/share", question_id=str(saved.question_id))
    (adopted,) = await harness.appdb.saved_questions.all()
    assert (adopted.author, adopted.is_shared) == ("token:admin", False)


async def test_history_is_the_users_own_and_is_deleted(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, alice: aiohttp.ClientSession
) -> None:
    """A query that fails is not in it, nor is one of a program."""
    for sql in ("SELECT 1", "SELECT 2", "DROP TABLE calls", "SELECT 1"):
        await read(alice, "/sql", sql=sql)
    async with harness.client() as program:
        await program.get("/api/v1/sql", params={"sql": "SELECT 3"})
    history = (await (await alice.get("/api/v1/sql/history")).json())["data"]
    assert [past["sql"] for past in history] == ["SELECT 1", "SELECT 2"]
    number = str(history[1]["history_id"])
    assert "SELECT 2</textarea>" in await read(alice, "/sql", history=number)
    assert (await browser.get("/sql", params={"history": number})).status == 404
    assert "History: your last queries" not in await read(browser, "/sql")
    _status, page = await post(alice, "/sql/history/clear")
    assert ("History deleted" in page, "History: your last" in page) == (True, False)
    await read(alice, "/sql", sql="SELECT 4")
    await browser.post("/users/remove", data={"name": "Alice"})
    assert await harness.appdb.sql_history.of_author("Alice") == []


@pytest.mark.slow
async def test_sql_page_without_a_writable_history_works(
    harness: ConsoleHarness, alice: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(sqlite3.connect(harness.config.appdb_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "<textarea" in await read(alice, "/sql", sql="SELECT 1")
    assert "query without an entry in the history" in caplog.text


async def test_questions_api_runs_one_by_its_name(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details()])
    answer = await client.post(PATH, json={"name": "Outcomes", "sql": SQL})
    question = await answer.json()
    assert (answer.status, question["author"], question["is_shared"]) == (201, "token:admin", False)
    assert await (await client.get(f"{PATH}/{question['question_id']}")).json() == question
    result = await (await client.get("/api/v1/sql", params={"saved": "outcomes"})).json()
    assert result["data"] == [["ANSWERED", 1]]
    for query, status in (({}, 400), ({"sql": "SELECT 1", "saved": "outcomes"}, 400), ({"saved": "nothing"}, 404)):
        assert (await client.get("/api/v1/sql", params=query)).status == status
    assert (await client.post(PATH, json={"name": "Outcomes", "sql": SQL})).status == 400
    assert (await client.delete(f"{PATH}/{question['question_id']}")).status == 204
    assert (await client.delete("/api/v1/sql/history")).status == 204


async def test_questions_are_closed_to_limited_readers(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """With the permission too: what they could save they cannot run."""
    invitation = await invite(browser, "Alice", numbers="1001", may_share="yes", may_make_links="yes")
    async with signed_in(harness, invitation) as limited:
        for path in ("/sql", PATH, "/api/v1/sql/history"):
            assert (await limited.get(path)).status == 403
        for path in ("", "/change", "/share", "/remove"):
            assert (await post(limited, f"/sql/questions{path}", name="x", sql="SELECT 1"))[0] == 403
        assert (await post(limited, "/sql/history/clear"))[0] == 403
    scope = AccessScope(numbers=("1001",))
    token = await harness.appdb.tokens.add("limited", "reader", now_us=harness.clock.microseconds(), scope=scope)
    async with harness.client(token) as program:
        assert (await program.post(PATH, json={"name": "x", "sql": "SELECT 1"})).status == 403


async def test_sql_page_has_names_beside_numbers(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """In the table and the chart; the file and the API have what the query selects."""
    await harness.ingest_details([details(call_from="1003"), details(call_from="1004")])
    await harness.appdb.directory.put([DirectoryEntry(sn=SN, number="1003", name="Dana <b>")])
    sql = "SELECT call_from, count(*) AS calls FROM calls GROUP BY ALL ORDER BY ALL"
    page = await read(client, "/sql", sql=sql)
    assert re.search(r'class="name"[^>]*>Dana &lt;b&gt;</span> <span class="number"[^>]*>1003<', page)
    assert "Dana &lt;b&gt; (1003)" in page
    assert await read(client, "/sql.csv", sql=sql) == "call_from,calls\r\n1003,1\r\n1004,1\r\n"
    assert (await (await client.get("/api/v1/sql", params={"sql": sql})).json())["data"] == [["1003", 1], ["1004", 1]]


@pytest.mark.slow
async def test_sql_walk_saves_shares_and_removes_a_question(harness: ConsoleHarness, chromium_path: str) -> None:
    await harness.ingest_details([details(), details(status="BUSY", call_id="1777287877.1")])
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 900}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/sql")
        await page.get_by_role("link", name="Calls by day and outcome").click()
        await page.get_by_label("Query").fill(SQL)
        await page.get_by_role("button", name="Run").press("Enter")
        await page.get_by_label("Name of the question").fill("Outcomes")
        await page.get_by_role("button", name="Save this query").press("Enter")
        await expect(page.get_by_role("heading", name="Outcomes")).to_be_visible()
        await page.screenshot(path=OUTPUT / "sql-question.png", full_page=True)
        await page.get_by_text("Edit Outcomes").click()
        await page.get_by_role("button", name="Share with all users Outcomes").press("Enter")
        await expect(page.get_by_role("status").filter(has_text="is shared")).to_be_visible()
        await page.get_by_text("Edit Outcomes").click()
        await page.get_by_label("New name of Outcomes").fill("How calls end")
        await page.get_by_role("button", name="Rename Outcomes").press("Enter")
        await expect(page.get_by_role("link", name="How calls end")).to_be_visible()
        await page.get_by_text("History: your last queries").click()
        await expect(page.locator(".past-queries li")).to_have_count(2)
        await page.screenshot(path=OUTPUT / "sql-questions.png", full_page=True)
        await page.get_by_text("Delete history …").click()
        await page.get_by_role("button", name="Delete all queries of the history").press("Enter")
        await page.get_by_text("Edit How calls end").click()
        await page.get_by_text("Remove … How calls end").click()
        await page.get_by_role("button", name="Remove this question How calls end").press("Enter")
        await expect(page.get_by_text("None yet.")).to_be_visible()

"""Saved questions and the history of queries: names, sharing, limits, and what follows their user."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb import saved_questions, sql_history
from onhook.appdb.appdb import AppDb
from onhook.appdb.sqlite_file import APPLICATION_ID
from onhook.appdb.tokens import hash_secret, token_author
from onhook.lib.errors import NotFound, UsageError
from onhook.store.sql import contract
from tests.migrations import create_old_file, insert_row

pytestmark = pytest.mark.usefixtures("each_engine")

SQL = "SELECT count(*) FROM calls"


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb


async def list_history(appdb: AppDb, author: str) -> list[str]:
    return [past.sql for past in await appdb.sql_history.of_author(author)]


async def test_questions_are_saved_changed_and_removed(appdb: AppDb) -> None:
    saved = await appdb.saved_questions.add(" Busy hours ", f"{SQL}\r\nLIMIT 1\r\n", author="Alice")
    assert (saved.name, saved.author, saved.is_shared, saved.sql) == (
        *("Busy hours", "Alice", False),
        f"{SQL}\nLIMIT 1",
    )
    with pytest.raises(UsageError, match="already a question named"):
        await appdb.saved_questions.add("busy HOURS", SQL, author="Alice")
    changed = await appdb.saved_questions.change(saved.question_id, name="Hours", sql=SQL, is_shared=True)
    assert changed == await appdb.saved_questions.get(saved.question_id)
    assert (changed.name, changed.sql, changed.is_shared) == ("Hours", SQL, True)
    other = await appdb.saved_questions.add("Hours", SQL, author="Bob")
    with pytest.raises(UsageError, match="already a question named"):
        await appdb.saved_questions.change(other.question_id, is_shared=True)
    await appdb.saved_questions.remove(saved.question_id)
    for missing in (appdb.saved_questions.get, appdb.saved_questions.remove):
        with pytest.raises(NotFound):
            await missing(saved.question_id)
    assert (await appdb.audit.latest(1))[0].action == "remove question Hours"


async def test_questions_are_visible_to_their_author_and_where_they_are_shared(appdb: AppDb) -> None:
    own = await appdb.saved_questions.add("Hours", SQL, author="Alice")
    shared = await appdb.saved_questions.add("hours", SQL, author="Bob")
    await appdb.saved_questions.change(shared.question_id, is_shared=True)
    await appdb.saved_questions.add("Secret", SQL, author="Bob")
    assert [question.name for question in await appdb.saved_questions.visible("Alice")] == ["Hours", "hours"]
    assert await appdb.saved_questions.find_visible(" HOURS", "Alice") == own
    assert (await appdb.saved_questions.find_visible("Hours", "Carol")).question_id == shared.question_id
    with pytest.raises(NotFound, match="no question 'Secret'"):
        await appdb.saved_questions.find_visible("Secret", "Alice")


@pytest.mark.parametrize(("name", "sql"), [("", SQL), ("x" * 65, SQL), ("Hours", " \r\n"), ("Hours", "x" * 20_001)])
async def test_questions_that_are_invalid_are_rejected(appdb: AppDb, name: str, sql: str) -> None:
    with pytest.raises(UsageError):
        await appdb.saved_questions.add(name, sql, author="Alice")
    assert await appdb.saved_questions.all() == []


async def test_questions_of_one_author_are_limited(appdb: AppDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_questions, "QUESTIONS_MAX", 2)
    for name in ("A", "B"):
        await appdb.saved_questions.add(name, SQL, author="Alice")
    with pytest.raises(UsageError, match="already 2 questions"):
        await appdb.saved_questions.add("C", SQL, author="Alice")
    await appdb.saved_questions.add("C", SQL, author="Bob")


def test_questions_may_be_as_long_as_queries() -> None:
    assert saved_questions.SQL_CHARACTERS_MAX == contract.SQL_CHARACTERS_MAX


async def test_history_has_each_query_once_and_is_limited(appdb: AppDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time of the last run, of each user and of all; it is no change that the audit log has."""
    monkeypatch.setattr(sql_history, "QUERIES_MAX", 3)
    monkeypatch.setattr(sql_history, "ROWS_MAX", 5)
    for now_us, sql in enumerate(("A", "B", "A\r\n", "C", "D")):
        await appdb.sql_history.add(sql, author="Alice", now_us=now_us)
    assert await list_history(appdb, "Alice") == ["D", "C", "A"]
    (latest, *_earlier) = await appdb.sql_history.of_author("Alice")
    assert (await appdb.sql_history.get(latest.history_id, "Alice")).sql == "D"
    with pytest.raises(NotFound):
        await appdb.sql_history.get(latest.history_id, "Bob")
    for now_us in (10, 11, 12):
        await appdb.sql_history.add(f"of Bob {now_us}", author="Bob", now_us=now_us)
    assert await list_history(appdb, "Alice") == ["D", "C"]
    assert len(await list_history(appdb, "Bob")) == 3
    await appdb.sql_history.clear("Bob")
    assert await list_history(appdb, "Bob") == []
    assert await list_history(appdb, "Alice") == ["D", "C"]
    assert await appdb.audit.latest(10) == []


async def test_questions_and_history_follow_their_user(appdb: AppDb) -> None:
    """A new name takes them along; with the user goes what no other user sees, and the rest has no author."""
    await appdb.users.add("Alice", "reader", None, now_us=1)
    for name in ("Own", "Shared"):
        await appdb.saved_questions.add(name, SQL, author="Alice")
    shared = await appdb.saved_questions.find_visible("Shared", "Alice")
    await appdb.saved_questions.change(shared.question_id, is_shared=True)
    await appdb.sql_history.add(SQL, author="Alice", now_us=1)
    await appdb.users.change("alice", new_name="Alicia", role="reader", scope=None)
    assert {question.author for question in await appdb.saved_questions.all()} == {"Alicia"}
    assert await list_history(appdb, "Alicia") == [SQL]
    await appdb.users.remove("alicia")
    assert [(question.name, question.author) for question in await appdb.saved_questions.all()] == [("Shared", "")]
    assert await list_history(appdb, "Alicia") == []
    await appdb.users.add("Alicia", "reader", None, now_us=1)
    assert [question.author for question in await appdb.saved_questions.visible("Alicia")] == [""]


async def test_questions_and_history_go_with_their_token(appdb: AppDb) -> None:
    await appdb.tokens.add("wall", "reader", now_us=1)
    await appdb.saved_questions.add("Own", SQL, author=token_author("wall"))
    await appdb.sql_history.add(SQL, author=token_author("wall"), now_us=1)
    with pytest.raises(NotFound):
        await appdb.tokens.remove("other")
    assert len(await appdb.saved_questions.all()) == 1
    await appdb.tokens.remove("wall")
    assert await appdb.saved_questions.all() == []
    assert await list_history(appdb, token_author("wall")) == []


@pytest.mark.usefixtures("sqlite_file")
async def test_migration_users_have_no_permission_and_links_stay(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    create_old_file(path, "onhook.appdb", 39, APPLICATION_ID, {}, engine="sqlite")
    connection = sqlite3.connect(path)
    now = 1_777_287_876_000_000
    user = {"name": "Alice", "role": "reader", "scope": None, "password": None, "password_version": 1}
    insert_row(connection, "users", user | {"created_at": now})
    dashboard = {"dashboard_id": 1, "name": "Team", "author": "Alice", "is_shared": 1, "content": "{}"}
    insert_row(connection, "dashboards", dashboard)
    link_row = {"dashboard_id": 1, "name": "hall", "hash": hash_secret("x"), "created_at": now, "expires_at": 3 * now}
    insert_row(connection, "wallboard_links", link_row)
    connection.commit()
    connection.close()
    async with AppDb(path) as appdb:
        assert [user.permissions for user in await appdb.users.all()] == [()]
        link = await appdb.wallboard_links.find("x", now_us=2 * now)
        assert link is not None
        assert (link.name, link.author) == ("hall", "")
        assert await appdb.saved_questions.all() == []
        assert await list_history(appdb, "Alice") == []

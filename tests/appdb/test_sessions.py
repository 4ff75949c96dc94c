"""Lifetime and limits of sessions, which are the same at two hubs with one application database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.sessions import (
    LAST_USED_STEP_MICROSECONDS,
    SESSION_SECONDS,
    SESSIONS_MAX,
    SESSIONS_OF_OWNER_MAX,
    Session,
)
from onhook.appdb.tokens import hash_secret
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotAllowed, Unavailable
from onhook.lib.timestamps import to_microseconds

pytestmark = pytest.mark.usefixtures("each_engine")

PASSWORD = "three short words"
END_US = SESSION_SECONDS * 1_000_000
STARTS_AT_ONCE = 50
"""Few commits, and none that lasts: a transaction has a deadline."""

Hubs = tuple[AppDb, AppDb]


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[Hubs]:
    """Yield two connections to one database with the users Alice and Bob, as two hubs have them."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(AppDb(tmp_path / "onhook.db")) for _ in range(2)]
        for name in ("Alice", "Bob"):
            await first.users.add(name, "reader", AccessScope(numbers=("1001",)) if name == "Bob" else None, now_us=1)
        yield first, second


async def start(appdb: AppDb, name: str = "Alice", now_us: int = 0) -> str:
    user = await appdb.users.get(name)
    return await appdb.sessions.start_for_user(name, user.password_version, address="192.0.2.7", now_us=now_us)


async def find(appdb: AppDb, session_id: str, now_us: int = 0) -> Session | None:
    return await appdb.sessions.find([session_id], now_us)


async def test_session_expires(hubs: Hubs) -> None:
    """A session ends after its lifetime or when it is ended, at both hubs; an unknown id has no session."""
    first_hub, second_hub = hubs
    first, second = [await start(first_hub) for _ in range(2)]
    assert first != second
    session = await find(second_hub, first, END_US - 1)
    assert session is not None
    assert (session.user_name, session.role, session.address) == ("Alice", "reader", "192.0.2.7")
    assert await find(second_hub, first, END_US) is None
    await second_hub.sessions.end([second])
    assert await find(first_hub, second) is None
    assert await find(first_hub, "\ud800" * len(second)) is None
    assert await find(first_hub, "x" * len(second)) is None


async def test_session_end_by_number_ends_only_that_session(hubs: Hubs) -> None:
    first_hub, second_hub = hubs
    first, second = await start(first_hub, "Alice"), await start(first_hub, "Bob")
    await second_hub.sessions.end_by_number((await second_hub.sessions.all(0))[1].number)
    assert await find(first_hub, first) is None
    assert [session.user_name for session in await first_hub.sessions.all(0)] == ["Bob"]
    assert await find(first_hub, second) is not None


async def test_session_has_the_role_and_the_scope_of_now(hubs: Hubs) -> None:
    first_hub, second_hub = hubs
    token = await first_hub.tokens.add("wall", "reader", now_us=1, scope=AccessScope(sns=("SN",)))
    of_token = await first_hub.sessions.start_for_token(token, address="", now_us=0)
    of_user = await start(first_hub, "Bob")
    sessions = [await find(second_hub, session_id) for session_id in (of_token, of_user)]
    assert [session and (session.token_name, session.user_name, session.scope) for session in sessions] == [
        ("wall", "", AccessScope(sns=("SN",))),
        ("", "Bob", AccessScope(numbers=("1001",))),
    ]


async def test_session_ends_with_its_user_token_or_password(hubs: Hubs) -> None:
    """At once at the other hub, and for good: a user or a token of the same name is another one."""
    first_hub, second_hub = hubs
    token = await first_hub.tokens.add("wall", "reader", now_us=1)
    ids = [await first_hub.sessions.start_for_token(token, address="", now_us=0), await start(first_hub, "Bob")]
    await first_hub.tokens.remove("wall")
    await first_hub.tokens.add("wall", "reader", now_us=1)
    await first_hub.users.remove("Bob")
    await first_hub.users.add("Bob", "reader", None, now_us=1)
    ids.append(await start(first_hub, "Alice"))
    invitation = await first_hub.users.invite("Alice", now_us=2)
    assert await find(second_hub, ids[2]) is not None
    await first_hub.users.accept_invitation(invitation, PASSWORD, now_us=2)
    assert [await find(second_hub, session_id) for session_id in ids] == [None] * 3
    assert await second_hub.sessions.all(0) == []


async def test_session_of_a_removed_user_cannot_begin(hubs: Hubs) -> None:
    first_hub, second_hub = hubs
    token = await first_hub.tokens.add("wall", "reader", now_us=1)
    await second_hub.tokens.remove("wall")
    await second_hub.users.remove("Alice")
    with pytest.raises(NotAllowed):
        await first_hub.sessions.start_for_token(token, address="", now_us=0)
    with pytest.raises(NotAllowed):
        await first_hub.sessions.start_for_user("Alice", 1, address="", now_us=0)


@pytest.mark.usefixtures("sqlite_file")
async def test_session_over_the_limit_ends_the_oldest(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all; nearly all of them are one user's here."""
    monkeypatch.setattr("onhook.appdb.sessions.SESSIONS_OF_OWNER_MAX", SESSIONS_MAX)
    first_hub, second_hub = hubs
    ids = [await start(first_hub, "Bob")]
    for begin in range(1, SESSIONS_MAX + 1, STARTS_AT_ONCE):
        async with first_hub.transaction():
            ids += [await start(first_hub, now_us=now_us) for now_us in range(begin, begin + STARTS_AT_ONCE)]
    assert await find(second_hub, ids[0], SESSIONS_MAX) is None
    open_numbers = {session.number for session in await second_hub.sessions.all(SESSIONS_MAX)}
    assert len(open_numbers) == SESSIONS_MAX
    assert await find(second_hub, ids[1], SESSIONS_MAX) is not None


async def test_session_of_a_user_over_the_limit_ends_the_least_used_of_that_user(hubs: Hubs) -> None:
    """So that a user who signs in again and again signs out no other one, nor the browser in daily use."""
    first_hub, second_hub = hubs
    bobs, oldest, second_oldest = await start(first_hub, "Bob"), await start(first_hub), await start(first_hub)
    used_at = LAST_USED_STEP_MICROSECONDS
    await second_hub.sessions.find([oldest], used_at, is_use=True)
    ids = [await start(first_hub, now_us=used_at) for _ in range(SESSIONS_OF_OWNER_MAX - 1)]
    assert await find(second_hub, second_oldest, used_at) is None
    assert all([await find(second_hub, session_id, used_at) for session_id in (bobs, oldest, *ids)])


async def test_session_use_is_stored_every_five_minutes(hubs: Hubs) -> None:
    """A look without use, as of a live feed, writes nothing either."""
    first_hub, second_hub = hubs
    session_id = await start(first_hub)
    version = await second_hub.version()
    await first_hub.sessions.find([session_id], LAST_USED_STEP_MICROSECONDS - 1, is_use=True)
    await first_hub.sessions.find([session_id], LAST_USED_STEP_MICROSECONDS)
    assert await second_hub.version() == version
    await first_hub.sessions.find([session_id], LAST_USED_STEP_MICROSECONDS, is_use=True)
    session = await find(second_hub, session_id, LAST_USED_STEP_MICROSECONDS)
    assert session is not None
    assert to_microseconds(session.last_used_at) == LAST_USED_STEP_MICROSECONDS


async def test_session_expired_rows_are_deleted(hubs: Hubs) -> None:
    first_hub, second_hub = hubs
    for now_us in (0, 1, END_US):
        await start(first_hub, now_us=now_us)
    assert len(await second_hub.sessions.all(0)) == 2


@pytest.mark.usefixtures("sqlite_file")
async def test_session_that_cannot_be_read_is_none(hubs: Hubs) -> None:
    """Its browser signs in again; others go on."""
    first_hub, second_hub = hubs
    ids = [await start(first_hub, name) for name in ("Alice", "Bob")]
    await first_hub._database.write("UPDATE sessions SET address = CAST(x'ff' AS TEXT) WHERE user_name = 'Alice'")
    assert await find(second_hub, ids[0]) is None
    assert await second_hub.sessions.find(ids, 0) == await find(second_hub, ids[1])
    assert [session.user_name for session in await second_hub.sessions.all(0)] == ["Bob"]
    assert await start(second_hub, "Alice")


@pytest.mark.usefixtures("sqlite_file")
async def test_session_file_has_no_id(hubs: Hubs, tmp_path: Path) -> None:
    session_id = await start(hubs[0])
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert session_id.encode() not in content
    assert hash_secret(session_id) in content


async def test_session_is_found_while_the_database_is_locked(hubs: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """None begins, and none ends by mistake: the error says so."""
    first_hub, second_hub = hubs
    session_id = await start(first_hub)
    monkeypatch.setattr(first_hub._database, "_call_seconds", 0.1)
    async with second_hub.transaction():
        assert await first_hub.sessions.find([session_id], LAST_USED_STEP_MICROSECONDS, is_use=True) is not None
        with pytest.raises(Unavailable):
            await start(first_hub)
        with pytest.raises(Unavailable):
            await first_hub.sessions.end([session_id])
    assert len(await first_hub.sessions.all(0)) == 1

"""Rows that cannot be decoded: each disables itself alone, with its reason."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.source_match import SourceMatch
from onhook.appdb.stored_json import RowUnreadable, decode_column, encode_column
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.coverage import Interval
from onhook.lib.timestamps import to_datetime

NOW = 1_777_000_000_000_000
SCOPE = AccessScope(("A",), None)
CREDENTIALS = PbxCredentials(url="https://pbx:8088", client_id="id", client_secret="a-client-secret")


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return a file with two rows of everything; the second PBX is named `B`."""
    path = tmp_path / "onhook.db"
    async with AppDb(path) as appdb:
        for name in ("A", "B"):
            await appdb.add_pbx(name=name, sn=name, secret="first-secret", now_us=NOW)
            await appdb.source_matches.put(name, SourceMatch(("192.0.2.7",)))
            await appdb.pbx_credentials.put(name, CREDENTIALS)
            await appdb.pbx_credentials.save_tokens(name, CREDENTIALS, "{}")
            await appdb.asterisks.add(AsteriskPbx(sn=name, host="h", port=5038, user="u"), "secret")
            await appdb.sync_states.save_intervals(
                name, [Interval(to_datetime(NOW), to_datetime(NOW + 1), "complete", "")]
            )
            await appdb.alarms.raise_alarm(name, "silence", "no calls", hint="look", now_us=NOW)
            await appdb.add_token(name, "reader", now_us=NOW, scope=SCOPE)
            await appdb.users.add(name, "reader", SCOPE, now_us=NOW)
            await appdb.apps.add(name, now_us=NOW)
            await appdb.destinations.add(
                name, DestinationSpec(url="https://crm.example.com"), None, after=0, now_us=NOW
            )
    return path


Lister = Callable[[AppDb], Awaitable[object]]


async def list_names_of_streams(appdb: AppDb) -> list[int]:
    return [len(await appdb.destinations.streams(number)) for number in (1, 2)]


async def list_readable_syncs(appdb: AppDb) -> list[int]:
    return [len(await appdb.sync_states.intervals("A"))]


async def list_readable_tokens(appdb: AppDb) -> list[str | None]:
    return [await appdb.pbx_credentials.tokens("A", CREDENTIALS)]


def names_of(read: Callable[[AppDb], Awaitable[Sequence[Any]]], attribute: str) -> Lister:
    async def list_names(appdb: AppDb) -> list[object]:
        return [getattr(value, attribute) for value in await read(appdb)]

    return list_names


async def list_sources(appdb: AppDb) -> list[str]:
    return list(await appdb.source_matches.all())


DAMAGES: dict[str, tuple[str, str, Lister, object]] = {
    "unknown payload format": (
        "UPDATE destinations SET spec = replace(spec, 'p-2026', 'p-2027') WHERE name = 'B'",
        "destinations",
        names_of(lambda appdb: appdb.destinations.all(), "name"),
        ["A"],
    ),
    "time beyond the calendar": (
        "UPDATE destinations SET created_at = 1 << 62 WHERE name = 'B'",
        "destinations",
        names_of(lambda appdb: appdb.destinations.all(), "name"),
        ["A"],
    ),
    "filter of a stream": (
        "UPDATE streams SET filter = '[' WHERE destination_id = 2",
        "streams",
        list_names_of_streams,
        [1, 0],
    ),
    "number plan": (
        "UPDATE pbxs SET number_plan = '{' WHERE name = 'B'",
        "pbxs",
        names_of(lambda appdb: appdb.pbxs(), "name"),
        ["A"],
    ),
    "time zone": (
        "UPDATE pbxs SET zone = 'Mars/Olympus' WHERE name = 'B'",
        "pbxs",
        names_of(lambda appdb: appdb.pbxs(), "name"),
        ["A"],
    ),
    "scope of a token": (
        "UPDATE tokens SET scope = '{\"version\":2,\"value\":{}}' WHERE name = 'B'",
        "tokens",
        names_of(lambda appdb: appdb.tokens(), "name"),
        ["A"],
    ),
    "role of a user": (
        "UPDATE users SET role = 'king' WHERE name = 'B'",
        "users",
        names_of(lambda appdb: appdb.users.all(), "name"),
        ["A"],
    ),
    "behaviour of an app": (
        "UPDATE apps SET behaviour = '' WHERE name = 'B'",
        "apps",
        names_of(lambda appdb: appdb.apps.all(), "name"),
        ["A"],
    ),
    "configuration of an Asterisk": (
        "UPDATE asterisks SET detected_config = 'x' WHERE sn = 'B'",
        "asterisks",
        names_of(lambda appdb: appdb.asterisks.all(), "sn"),
        ["A"],
    ),
    "kind of an alarm": (
        "UPDATE alarms SET kind = 'boredom' WHERE sn = 'B'",
        "alarms",
        names_of(lambda appdb: appdb.alarms.all(), "sn"),
        ["A"],
    ),
    "address of a source": (
        "UPDATE source_matches SET addresses = 'nowhere' WHERE sn = 'B'",
        "source_matches",
        list_sources,
        ["A"],
    ),
    "coverage": ("UPDATE sync_state SET intervals = '{' WHERE sn = 'B'", "sync_state", list_readable_syncs, [1]),
    "tokens of a PBX": (
        "UPDATE pbx_credentials SET tokens = 'x' WHERE sn = 'B'",
        "pbx_credentials",
        list_readable_tokens,
        ["{}"],
    ),
}


@pytest.mark.parametrize(("damage", "table", "read", "expected"), DAMAGES.values(), ids=DAMAGES.keys())
async def test_unreadable_row_is_left_out_and_named(
    path: Path, damage: str, table: str, read: Lister, expected: object
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(damage).rowcount == 1
    async with AppDb(path) as appdb:
        assert await read(appdb) == expected
        (row,) = await appdb.list_unreadable()
    assert row.table == table
    assert row.reason


async def test_list_unreadable_sound_database_has_none(path: Path) -> None:
    async with AppDb(path) as appdb:
        assert await appdb.list_unreadable() == []


async def test_unreadable_destination_is_reported_by_its_name(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE destinations SET spec = '{' WHERE name = 'B'")
    async with AppDb(path) as appdb:
        with pytest.raises(RowUnreadable):
            await appdb.destinations.get("B")


async def test_unreadable_rows_can_be_removed(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table, column in (("pbxs", "number_plan"), ("destinations", "spec"), ("apps", "pbxs"), ("users", "scope")):
            connection.execute(f"UPDATE {table} SET {column} = '{{' WHERE name = 'B'")  # noqa: S608 - names of the test
    async with AppDb(path) as appdb:
        await appdb.remove_pbx("B")
        await appdb.destinations.remove("B")
        await appdb.apps.remove("B")
        await appdb.users.remove("B")
        assert await appdb.list_unreadable() == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", '{"version":2,"value":[]}', '{"value":[]}', '{"version":1,"value":[1]}', '{"version":1}'],
)
def test_decode_column_of_another_form_is_unreadable(text: str) -> None:
    with pytest.raises(RowUnreadable):
        decode_column(text, list[str])


def test_decode_column_returns_what_was_encoded() -> None:
    assert decode_column(encode_column(["a", "ü"]), list[str]) == ["a", "ü"]

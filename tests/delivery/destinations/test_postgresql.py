"""PostgreSQL as a destination, against a real server."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.row_columns import row_columns
from onhook.lib.errors import UsageError
from tests.delivery.destinations.contract import REFUSED, DestinationContract, open_client
from tests.delivery.destinations.postgresql_server import PROGRAMS, SERVER_USER, PostgresqlServer, run_postgresql
from tests.delivery.destinations.sql_contract import SqlDeletionContract, check_tls
from tests.delivery.harness import SECRET, DeliveryHarness
from tests.factories import call, record
from tests.server_certificates import create_server_certificate
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL is not installed: apt-get install postgresql")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with run_postgresql() as server:
        yield server


class PostgresqlKindServer:
    """See `contract.KindServer`."""

    def __init__(self, postgresql: PostgresqlServer) -> None:
        self.postgresql = postgresql
        self.settings = self.dead_settings(postgresql.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"postgresql://onhook@127.0.0.1:{port}/postgres"
        return {"kind": "postgresql", "url": url, "allow_private": True, "fields": {"tls": "off"}}

    def durations(self) -> dict[str, int]:
        if self.postgresql.process is None or not self.postgresql.query("SELECT to_regclass('public.records')")[0][0]:
            return {}
        return dict(self.postgresql.query("SELECT call_id, talk_duration FROM records"))

    async def stop(self) -> None:
        self.postgresql.stop()

    async def start(self) -> None:
        self.postgresql.start()

    def query(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return self.postgresql.query(sql, *parameters)

    def forbid_deletions(self) -> None:
        self.query(
            "CREATE OR REPLACE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'forbidden'; END $$"
        )
        self.query("CREATE TRIGGER forbidden BEFORE DELETE ON records FOR EACH ROW EXECUTE FUNCTION forbid()")

    def allow_deletions(self) -> None:
        self.query("DROP TRIGGER forbidden ON records")

    def refuse(self) -> None:
        self.postgresql.query(
            f"CREATE TABLE records (record_id text PRIMARY KEY, call_id text, talk_duration bigint,"
            f" call_to text CHECK (call_to <> '{REFUSED}'))"
        )


@pytest.fixture
def server(postgresql: PostgresqlServer) -> PostgresqlKindServer:
    if postgresql.process is None:
        postgresql.start()
    for table in ("records", "calls", "onhook_state"):
        postgresql.query(f"DROP TABLE IF EXISTS {table} CASCADE")
    return PostgresqlKindServer(postgresql)


class TestPostgresql(DestinationContract, SqlDeletionContract):
    """The contract suites for PostgreSQL."""


def notification(source: Record, settings: dict[str, Any]) -> Notification:
    return Notification("id", open_client(settings, SECRET).format_payload(source), 1)


async def send(settings: dict[str, Any], *records: Record) -> list[tuple[str, str]]:
    client = open_client(settings, SECRET)
    try:
        results = await client.send([notification(source, settings) for source in records])
        return [(result.outcome, result.detail) for result in results]
    finally:
        await client.close()


async def test_postgresql_row_has_the_members_of_the_record(
    server: PostgresqlKindServer, postgresql: PostgresqlServer
) -> None:
    source = record(call_from="Zoë \0 'x'\"\\", extra={"custom": [1, "a"]}, talk_duration=None)
    assert await send(server.settings, source) == [("accepted", "stored")]
    names = list(row_columns("records"))
    (row,) = postgresql.query("SELECT to_jsonb(records) FROM records")
    expected = msgspec.json.decode(msgspec.json.encode(source)) | {"call_from": "Zoë \ufffd 'x'\"\\"}
    times = {name for name, type_name in row_columns("records").items() if type_name == "time"}
    assert set(row[0]) == set(names)
    assert {name: value for name, value in row[0].items() if name not in times} == {
        name: value for name, value in expected.items() if name not in times
    }
    assert postgresql.query("SELECT started_at, answered_at, ended_at, received_at FROM records") == [
        (source.started_at, source.answered_at, source.ended_at, source.received_at)
    ]


async def test_postgresql_earlier_event_sent_again_undoes_nothing(
    server: PostgresqlKindServer, postgresql: PostgresqlServer
) -> None:
    first = record(talk_duration=1)
    later = msgspec.structs.replace(first, talk_duration=2, seq=first.seq + 1)
    for source in (first, later, first):
        assert await send(server.settings, source) == [("accepted", "stored")]
    assert postgresql.query("SELECT talk_duration FROM records") == [(2,)]


async def test_postgresql_calls_are_rows_of_their_own_table(
    harness: DeliveryHarness, server: PostgresqlKindServer, postgresql: PostgresqlServer
) -> None:
    first_leg = record(datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC), call_to="Queue<6400>")
    second_leg = msgspec.structs.replace(first_leg, call_to="Bob<1002>", record_id="b" * 16)
    await harness.add_destination("calls", **server.settings, notifies_of="calls")
    harness.start()
    await harness.put_calls(call(first_leg, second_leg))
    await wait_until(
        lambda: (
            bool(postgresql.query("SELECT to_regclass('public.calls')")[0][0])
            and postgresql.query("SELECT call_id FROM calls") == [(first_leg.call_id,)]
        )
    )
    assert "record_id" not in row_columns("calls")


async def test_postgresql_table_of_an_earlier_version_gets_its_columns(
    server: PostgresqlKindServer, postgresql: PostgresqlServer
) -> None:
    """Its rows stay, and so do columns and views that people added."""
    postgresql.query("CREATE TABLE records (record_id text PRIMARY KEY, sn text, seq bigint, note text)")
    postgresql.query("INSERT INTO records VALUES ('old', 'SN', 1, 'keep')")
    source = record()
    assert await send(server.settings, source) == [("accepted", "stored")]
    assert postgresql.query("SELECT record_id, note, call_to FROM records ORDER BY record_id = 'old'") == [
        (source.record_id, None, source.call_to),
        ("old", "keep", None),
    ]


async def test_postgresql_schema_of_its_own_is_made(server: PostgresqlKindServer, postgresql: PostgresqlServer) -> None:
    settings = server.settings | {"fields": {"tls": "off", "schema_name": "Pbx_1"}}
    assert await send(settings, record()) == [("accepted", "stored")]
    assert postgresql.query('SELECT count(*) FROM "Pbx_1".records') == [(1,)]
    postgresql.query('DROP SCHEMA "Pbx_1" CASCADE')


async def test_postgresql_tls_certificate_is_verified(
    server: PostgresqlKindServer, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """By the authority of the destination, and against the name."""
    certificate = create_server_certificate(tmp_path, "localhost")
    for name in ("server.pem", "server.key"):
        (postgresql.folder / name).write_bytes((tmp_path / name).read_bytes())
        (postgresql.folder / name).chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(postgresql.folder / name, SERVER_USER)
    files = (f"ssl_cert_file={postgresql.folder / 'server.pem'}", f"ssl_key_file={postgresql.folder / 'server.key'}")
    postgresql.stop()
    postgresql.start("-c", "ssl=on", "-c", files[0], "-c", files[1])
    try:
        url = f"postgresql://onhook@localhost:{postgresql.port}/postgres"
        await check_tls(server.settings, url, certificate)
        assert postgresql.query("SELECT count(*) FROM records") == [(1,)]
    finally:
        postgresql.stop()
        postgresql.start()


async def test_postgresql_changed_password_is_found_among_the_secrets(server: PostgresqlKindServer) -> None:
    """Add the new one before it is changed at the server, and remove the old one afterwards."""
    client = open_client(server.settings, SECRET, "new-password-of-tomorrow")
    (result,) = await client.send([notification(record(), server.settings)])
    assert result.outcome == "accepted"
    await client.close()


@pytest.mark.parametrize(
    ("changes", "secret", "detail"),
    [
        ({}, "wrong-password", "28P01 password authentication failed"),
        ({"url": "postgresql://onhook@127.0.0.1:{port}/nothing"}, SECRET, '3D000 database "nothing" does not exist'),
        ({"fields": {}}, SECRET, "refuses SSL"),
    ],
)
async def test_postgresql_wrong_setting_counts_against_no_notification(
    server: PostgresqlKindServer, postgresql: PostgresqlServer, changes: dict[str, Any], secret: str, detail: str
) -> None:
    settings = server.settings | changes
    settings["url"] = settings["url"].format(port=postgresql.port)
    client = open_client(settings, secret)
    (result,) = await client.send([notification(record(), server.settings)])
    assert result.outcome == "unreachable"
    assert detail in result.detail
    assert secret not in result.detail
    await client.close()


async def test_postgresql_locked_table_ends_with_the_time_out(
    server: PostgresqlKindServer, postgresql: PostgresqlServer
) -> None:
    """And the next attempt uses another connection."""
    settings = server.settings | {"timeout_seconds": 1.0}
    client, source = open_client(settings, SECRET), notification(record(), server.settings)
    assert (await client.send([source]))[0].outcome == "accepted"
    with closing(postgresql.connect()) as connection:
        connection.cursor().execute("LOCK TABLE records")
        (result,) = await client.send([source])
        assert result.outcome == "unreachable"
    assert (await client.send([source]))[0].outcome == "accepted"
    await client.close()


async def test_postgresql_views_are_made_again_where_they_are_missing(
    server: PostgresqlKindServer, postgresql: PostgresqlServer
) -> None:
    source = record(datetime(2026, 4, 27, 22, 4, 36, tzinfo=UTC), call_from="Zoë <Z> Q<0030123>", utc_offset="+05:30")
    await send(server.settings, source)
    postgresql.query("DROP VIEW records_by_day, records_report")
    other = record(record_id="b", call_from="1001", utc_offset="-03:30", status="NO ANSWER")
    await send(server.settings, source, other)
    query = "SELECT caller_name, caller_number, hour, weekday, is_answered FROM records_report ORDER BY record_id = 'b'"
    first_row, second_row = postgresql.query(query)
    assert first_row == ("Zoë <Z> Q", "0030123", 3, 2, True)
    assert second_row[:2] == ("", "1001")
    assert postgresql.query("SELECT SUM(total), SUM(answered), SUM(unanswered) FROM records_by_day") == [(2, 1, 1)]


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://db.example.com/"},
        {"url": "postgresql:///calls"},
        {"notifies_of": "alarms"},
        {"fields": {"schema_name": 'x"; DROP'}},
        {"fields": {"tls": "maybe"}},
        {"fields": {"unknown": 1}},
    ],
)
def test_postgresql_invalid_setting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        open_client({"kind": "postgresql", "url": "postgresql://db.example.com/calls"} | changes)

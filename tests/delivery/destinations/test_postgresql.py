"""PostgreSQL as a destination, against a real server."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.delivery.destinations.row_columns import row_columns
from onhook.lib.errors import UsageError
from tests.delivery.destinations.contract import REFUSED, DestinationContract, open_client
from tests.delivery.destinations.sql_contract import SqlContract, check_tls, send
from tests.delivery.harness import SECRET
from tests.factories import record
from tests.postgresql_server import PROGRAMS, SERVER_USER, PostgresqlServer, run_postgresql
from tests.server_certificates import create_server_certificate

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
        self.wrong_settings = [
            ({}, "wrong-password", "28P01 password authentication failed"),
            (
                {"url": f"postgresql://onhook@127.0.0.1:{postgresql.port}/nothing"},
                SECRET,
                '3D000 database "nothing" does not exist',
            ),
            ({"fields": {}}, SECRET, "refuses SSL"),
        ]

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"postgresql://onhook@127.0.0.1:{port}/postgres"
        return {"kind": "postgresql", "url": url, "allow_private": True, "fields": {"tls": "off"}}

    def durations(self) -> dict[str, int]:
        if self.postgresql.process is None or not self.has_table("records"):
            return {}
        return dict(self.postgresql.query("SELECT call_id, talk_duration FROM records"))

    def has_table(self, name: str) -> bool:
        return bool(self.postgresql.query("SELECT to_regclass(%s)", f"public.{name}")[0][0])

    @contextmanager
    def lock_records(self) -> Iterator[None]:
        with closing(self.postgresql.connect()) as connection:
            connection.cursor().execute("LOCK TABLE records")
            yield

    async def stop(self) -> None:
        self.postgresql.stop()

    async def start(self) -> None:
        self.postgresql.start()

    def query(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return self.postgresql.query(sql, *parameters)

    def has_text(self, text: str) -> bool:
        return any(text in str(row) for row in self.query("SELECT * FROM records"))

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


class TestPostgresql(DestinationContract, SqlContract):
    """The contract suites for PostgreSQL."""


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

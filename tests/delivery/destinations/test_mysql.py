"""MariaDB as a destination, against a real server."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.mysql_tables import row_values
from onhook.delivery.destinations.row_columns import row_columns
from onhook.lib.errors import UsageError
from tests.delivery.destinations.contract import REFUSED, DestinationContract, open_client
from tests.delivery.destinations.mysql_server import MysqlServer, run_mysql
from tests.delivery.destinations.sql_contract import SqlDeletionContract, check_tls
from tests.delivery.harness import SECRET, DeliveryHarness
from tests.factories import call, record
from tests.pbx.asterisk.servers import missing_mariadb
from tests.server_certificates import create_server_certificate
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(bool(missing_mariadb()), reason=missing_mariadb())


@pytest.fixture(scope="module")
def mysql() -> Iterator[MysqlServer]:
    with run_mysql() as server:
        yield server


class MysqlKindServer:
    """See `contract.KindServer`."""

    def __init__(self, mysql: MysqlServer) -> None:
        self.mysql = mysql
        self.settings = self.dead_settings(mysql.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"mysql://onhook@127.0.0.1:{port}/calls"
        return {"kind": "mysql", "url": url, "allow_private": True, "fields": {"tls": "off"}}

    def durations(self) -> dict[str, int]:
        # The view is made last.
        if self.mysql.process is None or ("records_by_day",) not in self.mysql.query("SHOW TABLES"):
            return {}
        return dict(self.mysql.query("SELECT call_id, talk_duration FROM records"))

    async def stop(self) -> None:
        self.mysql.stop()

    async def start(self) -> None:
        self.mysql.start()

    def query(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return self.mysql.query(sql, *parameters)

    def forbid_deletions(self) -> None:
        self.query("CREATE TRIGGER forbidden BEFORE DELETE ON records FOR EACH ROW SIGNAL SQLSTATE '45000'")

    def allow_deletions(self) -> None:
        self.query("DROP TRIGGER forbidden")

    def refuse(self) -> None:
        self.mysql.query(
            "CREATE TABLE records (record_id varchar(255) PRIMARY KEY, call_id varchar(255), talk_duration bigint,"
            f" call_to text CHECK (call_to <> '{REFUSED}'))"
        )


@pytest.fixture
def server(mysql: MysqlServer) -> MysqlKindServer:
    if mysql.process is None:
        mysql.start()
    mysql.query("DROP TABLE IF EXISTS records, calls, onhook_state")
    mysql.query("DROP VIEW IF EXISTS records_report, calls_report, records_by_day, calls_by_day")
    return MysqlKindServer(mysql)


class TestMysql(DestinationContract, SqlDeletionContract):
    """The contract suites for MariaDB."""


def notification(source: Record, settings: dict[str, Any]) -> Notification:
    return Notification("id", open_client(settings, SECRET).format_payload(source), 1)


async def send(settings: dict[str, Any], *records: Record) -> list[tuple[str, str]]:
    client = open_client(settings, SECRET)
    try:
        results = await client.send([notification(source, settings) for source in records])
        return [(result.outcome, result.detail) for result in results]
    finally:
        await client.close()


async def test_mysql_row_has_the_members_of_the_record(server: MysqlKindServer, mysql: MysqlServer) -> None:
    source = record(call_from="Zoë 😀 \0 'x'\"\\ %s", extra={"custom": [1, "a"]}, talk_duration=None)
    assert await send(server.settings, source) == [("accepted", "stored")]
    names = list(row_columns("records"))
    columns = ", ".join(f"`{name}`" for name in names)
    (row,) = mysql.query(f"SELECT {columns} FROM records")  # noqa: S608 - names of fields
    stored = dict(zip(names, row, strict=True))
    assert msgspec.json.decode(stored.pop("extra")) == source.extra
    for name in ("started_at", "answered_at", "ended_at", "received_at"):
        time = stored.pop(name)
        assert (time and time.replace(tzinfo=UTC)) == getattr(source, name)
    assert stored == {name: getattr(source, name) for name in stored}


async def test_mysql_earlier_event_sent_again_undoes_nothing(server: MysqlKindServer, mysql: MysqlServer) -> None:
    first = record(talk_duration=1)
    later = msgspec.structs.replace(first, talk_duration=2, seq=first.seq + 1)
    for source in (first, later, first):
        assert await send(server.settings, source) == [("accepted", "stored")]
    assert mysql.query("SELECT talk_duration, seq FROM records") == [(2, later.seq)]


async def test_mysql_calls_are_rows_of_their_own_table(
    harness: DeliveryHarness, server: MysqlKindServer, mysql: MysqlServer
) -> None:
    first_leg = record(datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC), call_to="Queue<6400>")
    second_leg = msgspec.structs.replace(first_leg, call_to="Bob<1002>", record_id="b" * 16)
    await harness.add_destination("calls", **server.settings, notifies_of="calls")
    harness.start()
    await harness.put_calls(call(first_leg, second_leg))
    await wait_until(
        lambda: (
            ("calls_by_day",) in mysql.query("SHOW TABLES")
            and mysql.query("SELECT call_id FROM calls") == [(first_leg.call_id,)]
        )
    )


async def test_mysql_table_of_an_earlier_version_gets_its_columns(server: MysqlKindServer, mysql: MysqlServer) -> None:
    """Its rows stay, and so do columns that people added."""
    mysql.query("CREATE TABLE records (record_id varchar(255) PRIMARY KEY, sn varchar(255), seq bigint, note text)")
    mysql.query("INSERT INTO records VALUES ('old', 'SN', 1, 'keep')")
    source = record()
    assert await send(server.settings, source) == [("accepted", "stored")]
    assert mysql.query("SELECT record_id, note, call_to FROM records ORDER BY record_id = 'old'") == [
        (source.record_id, None, source.call_to),
        ("old", "keep", None),
    ]


async def test_mysql_identities_differ_by_case(server: MysqlKindServer, mysql: MysqlServer) -> None:
    assert await send(server.settings, record(record_id="a"), record(record_id="A")) == [("accepted", "stored")] * 2
    assert mysql.query("SELECT count(*) FROM records") == [(2,)]


async def test_mysql_value_that_is_too_long_fails_alone(server: MysqlKindServer, mysql: MysqlServer) -> None:
    results = await send(server.settings, record(record_id="a"), record(record_id="b" * 300))
    assert [outcome for outcome, _detail in results] == ["accepted", "rejected"]
    assert results[1][1] == "22001 Data too long for column 'record_id' at row 1"
    assert mysql.query("SELECT record_id FROM records") == [("a",)]


@pytest.mark.parametrize(
    ("changes", "secret", "detail"),
    [
        ({}, "wrong-password", "28000 Access denied for user 'onhook'"),
        ({"url": "mysql://onhook@127.0.0.1:{port}/nothing"}, SECRET, "42000 Access denied for user 'onhook'"),
        ({"fields": {}}, SECRET, "SSL is required but the server doesn't support it"),
    ],
)
async def test_mysql_wrong_setting_counts_against_no_notification(
    server: MysqlKindServer, mysql: MysqlServer, changes: dict[str, Any], secret: str, detail: str
) -> None:
    settings = server.settings | changes
    settings["url"] = settings["url"].format(port=mysql.port)
    client = open_client(settings, secret)
    (result,) = await client.send([notification(record(), server.settings)])
    assert result.outcome == "unreachable"
    assert detail in result.detail
    assert secret not in result.detail
    await client.close()


async def test_mysql_tls_certificate_is_verified(mysql: MysqlServer, server: MysqlKindServer, tmp_path: Path) -> None:
    """By the authority of the destination, and against the name."""
    certificate = create_server_certificate(tmp_path, "localhost")
    mysql.stop()
    mysql.start(f"--ssl-cert={tmp_path / 'server.pem'}", f"--ssl-key={tmp_path / 'server.key'}")
    try:
        await check_tls(server.settings, f"mysql://onhook@localhost:{mysql.port}/calls", certificate)
        assert mysql.query("SELECT count(*) FROM records") == [(1,)]
    finally:
        mysql.stop()
        mysql.start()


async def test_mysql_changed_password_is_found_among_the_secrets(server: MysqlKindServer) -> None:
    client = open_client(server.settings, SECRET, "new-password-of-tomorrow")
    (result,) = await client.send([notification(record(), server.settings)])
    assert result.outcome == "accepted"
    await client.close()


async def test_mysql_locked_table_ends_with_the_time_out(server: MysqlKindServer, mysql: MysqlServer) -> None:
    """And the next attempt uses another connection."""
    settings = server.settings | {"timeout_seconds": 1.0}
    client, source = open_client(settings, SECRET), notification(record(), server.settings)
    assert (await client.send([source]))[0].outcome == "accepted"
    with closing(mysql.connect()) as connection:
        connection.cursor().execute("LOCK TABLES records WRITE")
        (result,) = await client.send([source])
        assert result.outcome == "unreachable"
    assert (await client.send([source]))[0].outcome == "accepted"
    await client.close()


async def test_mysql_views_are_made_again_where_they_are_missing(server: MysqlKindServer, mysql: MysqlServer) -> None:
    source = record(datetime(2026, 4, 27, 22, 4, 36, tzinfo=UTC), call_from="Zoë <Z> Q<0030123>", utc_offset="+05:30")
    await send(server.settings, source)
    mysql.query("DROP VIEW records_by_day, records_report")
    await send(
        server.settings, source, record(record_id="b", call_from="1001", utc_offset="-03:30", status="NO ANSWER")
    )
    query = "SELECT caller_name, caller_number, hour, weekday, is_answered FROM records_report ORDER BY record_id = 'b'"
    first_row, second_row = mysql.query(query)
    assert first_row == ("Zoë <Z> Q", "0030123", 3, 2, 1)
    assert second_row[:2] == ("", "1001")
    assert mysql.query("SELECT SUM(total), SUM(answered), SUM(unanswered) FROM records_by_day") == [(2, 1, 1)]


def test_mysql_row_of_an_earlier_version_lacks_a_member() -> None:
    columns = row_columns("calls")
    values = dict(zip(columns, row_values(columns, b'{"sn":"A","call_id":"1"}'), strict=True))
    assert {name for name, value in values.items() if value is not None} == {"sn", "call_id"}


@pytest.mark.parametrize(
    "changes", [{"url": "https://db.example.com/"}, {"notifies_of": "alarms"}, {"fields": {"schema_name": "x"}}]
)
def test_mysql_invalid_setting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        open_client({"kind": "mysql", "url": "mysql://db.example.com/calls"} | changes)

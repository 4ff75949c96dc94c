"""MariaDB as a destination, against a real server."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.delivery.destinations.mysql_tables import row_values
from onhook.delivery.destinations.row_columns import row_columns
from onhook.lib.errors import UsageError
from tests.delivery.destinations.contract import REFUSED, DestinationContract, contract_tests, open_client
from tests.delivery.destinations.deletion_contract import DeletionContract
from tests.delivery.destinations.mysql_server import MysqlServer, run_mysql
from tests.delivery.destinations.sql_contract import SqlContract, check_tls, send
from tests.delivery.harness import SECRET
from tests.factories import record
from tests.pbx.asterisk.servers import missing_mariadb
from tests.server_certificates import create_server_certificate

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
        self.wrong_settings = [
            ({}, "wrong-password", "28000 Access denied for user 'onhook'"),
            (
                {"url": f"mysql://onhook@127.0.0.1:{mysql.port}/nothing"},
                SECRET,
                "42000 Access denied for user 'onhook'",
            ),
            ({"fields": {}}, SECRET, "SSL is required but the server doesn't support it"),
        ]

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"mysql://onhook@127.0.0.1:{port}/calls"
        return {"kind": "mysql", "url": url, "allow_private": True, "fields": {"tls": "off"}}

    def durations(self) -> dict[str, int]:
        if self.mysql.process is None or not self.has_table("records"):
            return {}
        return dict(self.mysql.query("SELECT call_id, talk_duration FROM records"))

    def has_table(self, name: str) -> bool:
        # This view is made last.
        return (f"{name}_by_day",) in self.mysql.query("SHOW TABLES")

    @contextmanager
    def lock_records(self) -> Iterator[None]:
        with closing(self.mysql.connect()) as connection:
            connection.cursor().execute("LOCK TABLES records WRITE")
            yield

    async def stop(self) -> None:
        self.mysql.stop()

    async def start(self) -> None:
        self.mysql.start()

    def query(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return self.mysql.query(sql, *parameters)

    def has_text(self, text: str) -> bool:
        return any(text in str(row) for row in self.query("SELECT * FROM records"))

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


class TestMysql(DestinationContract, SqlContract):
    """The contract suites for MariaDB: it shares all but the statements with PostgreSQL."""

    slow_tests = contract_tests(DestinationContract, SqlContract, DeletionContract) - {
        "test_contract_each_record_arrives",
        "test_contract_later_event_of_a_call_is_the_last_one",
        "test_sql_earlier_event_sent_again_undoes_nothing",
        "test_sql_table_of_an_earlier_version_gets_its_columns",
        "test_sql_wrong_setting_counts_against_no_notification",
        "test_sql_deletions_erased_number_is_in_no_row",
    }


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


async def test_mysql_identities_differ_by_case(server: MysqlKindServer, mysql: MysqlServer) -> None:
    assert await send(server.settings, record(record_id="a"), record(record_id="A")) == [("accepted", "stored")] * 2
    assert mysql.query("SELECT count(*) FROM records") == [(2,)]


async def test_mysql_value_that_is_too_long_fails_alone(server: MysqlKindServer, mysql: MysqlServer) -> None:
    results = await send(server.settings, record(record_id="a"), record(record_id="b" * 300))
    assert [outcome for outcome, _detail in results] == ["accepted", "rejected"]
    assert results[1][1] == "22001 Data too long for column 'record_id' at row 1"
    assert mysql.query("SELECT record_id FROM records") == [("a",)]


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

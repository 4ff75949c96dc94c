"""Databases written by Asterisk: a real PostgreSQL, a real MariaDB and a real Asterisk: `make test-pbx`."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from onhook.appdb.cdr_sources import parse_cdr_source
from onhook.lib.errors import Unavailable, UsageError
from onhook.pbx.asterisk.files import COLUMNS, collect_calls
from onhook.pbx.cdr_archive import ArchivedCall
from onhook.sync.cdr_tables import CdrTable, read_table_rows
from tests.counts import examples
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS
from tests.pbx.asterisk.generated_office import GeneratedCall
from tests.pbx.asterisk.harness import open_asterisk_harness
from tests.pbx.asterisk.lab import DIRECTORY
from tests.pbx.asterisk.servers import (
    DATABASE,
    PASSWORD,
    USER,
    DatabaseServer,
    mariadb,
    missing_mariadb,
    missing_postgresql,
    postgresql,
)
from tests.pbx.asterisk.source_readers import PAGE_ROWS, all_rows, plain, read_events, read_rows
from tests.pbx.asterisk.test_files import AMI_KEYS, ASTERISK, rows
from tests.pbx.asterisk.test_generated_calls import CALLS
from tests.runtime.harness import wait_until

pytestmark = [pytest.mark.pbx, pytest.mark.timeout(600)]

# From the documentation of `cdr_pgsql`:
# https://docs.asterisk.org/Configuration/Reporting/Call-Detail-Records-CDR/CDR-Storage-Backends
POSTGRESQL = """
    CREATE TABLE cdr (
        calldate timestamp NOT NULL, clid varchar(80) NOT NULL DEFAULT '', src varchar(80) NOT NULL DEFAULT '',
        dst varchar(80) NOT NULL DEFAULT '', dcontext varchar(80) NOT NULL DEFAULT '',
        channel varchar(80) NOT NULL DEFAULT '', dstchannel varchar(80), lastapp varchar(80), lastdata varchar(80),
        duration int NOT NULL DEFAULT 0, billsec int NOT NULL DEFAULT 0, disposition varchar(45), amaflags varchar(20),
        accountcode varchar(20), uniqueid varchar(150) NOT NULL DEFAULT '', userfield varchar(255),
        "start" timestamp, answer timestamp, "end" timestamp, peeraccount varchar(20), linkedid varchar(150),
        sequence int
    )"""
# The table of FreePBX after its own migrations.
FREEPBX = """
    CREATE TABLE cdr (
        calldate datetime NOT NULL DEFAULT '1000-01-01 00:00:00', clid varchar(80) NOT NULL DEFAULT '',
        src varchar(80) NOT NULL DEFAULT '', dst varchar(80) NOT NULL DEFAULT '',
        dcontext varchar(80) NOT NULL DEFAULT '',
        channel varchar(80) NOT NULL DEFAULT '', dstchannel varchar(80) DEFAULT '', lastapp varchar(80) DEFAULT '',
        lastdata varchar(80) DEFAULT '', duration int NOT NULL DEFAULT 0, billsec int NOT NULL DEFAULT 0,
        disposition varchar(45) NOT NULL DEFAULT '', amaflags varchar(20), accountcode varchar(20),
        uniqueid varchar(32) NOT NULL DEFAULT '', userfield varchar(255), did varchar(50) NOT NULL DEFAULT '',
        recordingfile varchar(255) NOT NULL DEFAULT '', cnum varchar(80) NOT NULL DEFAULT '',
        linkedid varchar(32) NOT NULL DEFAULT '', peeraccount varchar(80), sequence int NOT NULL DEFAULT 0,
        KEY calldate (calldate), KEY uniqueid (uniqueid)
    ) DEFAULT CHARSET=utf8mb4"""


def skip_if_missing(reason: str) -> None:
    """Skip the tests of a server that is not installed; the others still run."""
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def in_postgresql() -> Iterator[DatabaseServer]:
    skip_if_missing(missing_postgresql())
    with postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def in_mariadb() -> Iterator[DatabaseServer]:
    skip_if_missing(missing_mariadb())
    with mariadb() as server:
        yield server


def cdr_table(server: DatabaseServer, name: str = "cdr") -> CdrTable:
    source = parse_cdr_source(f"{server.url}/{name}")
    return CdrTable(location=source.location, name=source.table, password=source.password)


def read_keys(server: DatabaseServer, name: str = "cdr", page_rows: int = PAGE_ROWS) -> set[bytes]:
    """Return the keys of the calls in a table."""
    table_rows = read_table_rows(cdr_table(server, name), COLUMNS, since="2020-01-01 00:00:00", page_rows=page_rows)
    return {
        ASTERISK.peek(call.body).key
        for call in collect_calls(table_rows, PARSE_OPTIONS)
        if isinstance(call, ArchivedCall)
    }


def test_postgresql_table_gives_same_calls_as_ami(in_postgresql: DatabaseServer) -> None:
    """In pages, with timestamps with and without time zone, and with timestamps as text."""
    in_postgresql.run(POSTGRESQL)
    cdr_rows = [row | {"calldate": row["start"]} for row in rows()]
    in_postgresql.insert("cdr", cdr_rows)
    assert read_keys(in_postgresql) == AMI_KEYS
    zoned = POSTGRESQL.replace("TABLE cdr", "TABLE zoned").replace("timestamp", "timestamptz")
    in_postgresql.run(zoned, POSTGRESQL.replace("TABLE cdr", "TABLE texts").replace("timestamp", "varchar(30)"))
    in_postgresql.insert("zoned", cdr_rows)
    in_postgresql.insert("texts", cdr_rows)
    in_postgresql.run("UPDATE texts SET answer = '' WHERE answer IS NULL")
    assert read_keys(in_postgresql, "zoned") == read_keys(in_postgresql, "texts") == AMI_KEYS


def test_mariadb_table_gives_same_calls_as_ami(in_mariadb: DatabaseServer) -> None:
    """As in FreePBX: only `calldate`, without the times of answer and end."""
    in_mariadb.run(FREEPBX)
    names = [name for name in rows()[0] if name not in ("start", "answer", "end")]
    in_mariadb.insert("cdr", [{"calldate": row["start"]} | {name: row[name] for name in names} for row in rows()])
    assert read_keys(in_mariadb) == AMI_KEYS


@given(CALLS)
@settings(max_examples=examples(40))
def test_generated_calls_are_equal_from_events_and_postgresql(
    in_postgresql: DatabaseServer, calls: list[GeneratedCall]
) -> None:
    in_postgresql.run("DROP TABLE IF EXISTS generated", POSTGRESQL.replace("TABLE cdr", "TABLE generated"))
    in_postgresql.insert("generated", [row | {"calldate": row["start"]} for row in all_rows(calls)])
    table_rows = read_table_rows(cdr_table(in_postgresql, "generated"), COLUMNS, page_rows=PAGE_ROWS)
    assert plain(read_rows(table_rows)) == plain(read_events(calls))


@given(CALLS)
@settings(max_examples=examples(40))
def test_generated_calls_are_equal_from_events_and_mariadb(
    in_mariadb: DatabaseServer, calls: list[GeneratedCall]
) -> None:
    """As in FreePBX: only `calldate`, without the times of answer and end."""
    in_mariadb.run("DROP TABLE IF EXISTS generated", FREEPBX.replace("TABLE cdr", "TABLE generated"))
    names = [name for name in all_rows(calls)[0] if name not in ("start", "answer", "end")]
    in_mariadb.insert(
        "generated", [{"calldate": row["start"]} | {name: row[name] for name in names} for row in all_rows(calls)]
    )
    table_rows = read_table_rows(cdr_table(in_mariadb, "generated"), COLUMNS, page_rows=PAGE_ROWS)
    assert plain(read_rows(table_rows)) == plain(read_events(calls))


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_database_error_is_reported_without_password(engine: str, request: pytest.FixtureRequest) -> None:
    """For a wrong password and a missing table. The connection is read-only."""
    server: DatabaseServer = request.getfixturevalue(f"in_{engine}")
    table_with_wrong_password = CdrTable(location=cdr_table(server).location, name="cdr", password="wrong-password")
    with pytest.raises(Unavailable, match="cannot read the CDR source") as error_info:
        list(read_table_rows(table_with_wrong_password, COLUMNS))
    assert "wrong-password" not in str(error_info.value)
    with pytest.raises(UsageError, match="'nowhere' cannot be read"):
        list(read_table_rows(cdr_table(server, "nowhere"), COLUMNS))


@pytest.mark.usefixtures("asterisk_lab_root")
def test_gap_is_backfilled_from_postgresql(in_postgresql: DatabaseServer, tmp_path: Path) -> None:
    """A real Asterisk writes into PostgreSQL while Onhook is disconnected."""
    in_postgresql.run("DROP TABLE IF EXISTS calls", POSTGRESQL.replace("TABLE cdr", "TABLE calls"))
    connection_lines = (
        f"hostname=127.0.0.1\nport={in_postgresql.port}\ndbname={DATABASE}\nuser={USER}\npassword={PASSWORD}\n"
    )
    changes = {
        "cdr_pgsql.conf": f"[global]\n{connection_lines}table=calls\n",
        "modules.conf": (DIRECTORY / "etc" / "modules.conf").read_text() + "load = cdr_pgsql.so\n",
    }
    with open_asterisk_harness(tmp_path, "postgresql", changes) as office:
        office.server.run_command("pbx", "change", "Office", "--cdr", f"{in_postgresql.url}/calls")
        office.lab.call("1002").wait(60)
        office.proxy.disconnect()
        time.sleep(2)
        office.lab.call("1002", call_count=3).wait(60)
        office.lab.call("6300").wait(60)
        office.lab.wait_until_idle()
        time.sleep(2)
        office.proxy.reconnect()
        wait_until(office.is_connected)
        time.sleep(1)
        office.lab.call("1002").wait(60)
        office.lab.wait_until_idle()
        wait_until(lambda: len(set(office.cdr_calls())) == 6)
        recorded_call_ids = set(office.cdr_calls())
        assert len(recorded_call_ids) == 6
        wait_until(lambda: recorded_call_ids <= office.notified_call_ids(), 240)
        wait_until(lambda: not _gaps(office.server.run_command("coverage", "--since", "1h", "--format", "json")), 240)
        assert "OK      CDRs of postgresql://" in office.server.run_command("doctor", "Office", exit_code=None)
        assert PASSWORD not in office.server.log_text()


def _gaps(coverage: str) -> list[str]:
    """Return the reasons of the gaps of all PBXs."""
    intervals = [interval for pbx_coverage in json.loads(coverage) for interval in pbx_coverage["intervals"]]
    return [
        interval["reason"]
        for interval in intervals
        if interval["state"] == "gap" and interval["reason"].startswith("not connected")
    ]

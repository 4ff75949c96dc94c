"""Databases as Asterisk fills them: a real PostgreSQL, a real MariaDB, a real Asterisk that writes: `make test-pbx`."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.appdb.cdr_sources import parse_cdr_source
from onhook.lib.errors import Unavailable, UsageError
from onhook.pbx.asterisk.files import COLUMNS, collect_calls
from onhook.pbx.cdr_archive import ArchivedCall
from onhook.sync.cdr_tables import CdrTable, read_table_rows
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS
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
from tests.pbx.asterisk.test_files import ASTERISK, TOLD, rows
from tests.runtime.harness import wait_until

pytestmark = [pytest.mark.pbx, pytest.mark.timeout(600)]

# Of the page of `cdr_pgsql`: https://docs.asterisk.org/Configuration/Reporting/Call-Detail-Records-CDR/CDR-Storage-Backends
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
# Of FreePBX, with what its own migrations added.
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


def skip_where(why: str) -> None:
    """Where a server cannot be installed, the others are tried all the same; the summary says which was left out."""
    if why:
        pytest.skip(why)


@pytest.fixture(scope="module")
def in_postgresql() -> Iterator[DatabaseServer]:
    skip_where(missing_postgresql())
    with postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def in_mariadb() -> Iterator[DatabaseServer]:
    skip_where(missing_mariadb())
    with mariadb() as server:
        yield server


def table_at(server: DatabaseServer, name: str = "cdr") -> CdrTable:
    source = parse_cdr_source(f"{server.url}/{name}")
    return CdrTable(location=source.location, name=source.table, password=source.password)


def keys_at(server: DatabaseServer, name: str = "cdr", page_rows: int = 7) -> set[bytes]:
    """The keys of the calls that a table has."""
    found = read_table_rows(table_at(server, name), COLUMNS, since="2020-01-01 00:00:00", page_rows=page_rows)
    return {ASTERISK.peek(one.body).key for one in collect_calls(found, PARSE_OPTIONS) if isinstance(one, ArchivedCall)}


def test_postgresql_says_the_calls_that_were_told(in_postgresql: DatabaseServer) -> None:
    """In pages, by moments with and without a zone, and those that it has as text."""
    in_postgresql.run(POSTGRESQL)
    told = [row | {"calldate": row["start"]} for row in rows()]
    in_postgresql.insert("cdr", told)
    assert keys_at(in_postgresql) == TOLD
    zoned = POSTGRESQL.replace("TABLE cdr", "TABLE zoned").replace("timestamp", "timestamptz")
    in_postgresql.run(zoned, POSTGRESQL.replace("TABLE cdr", "TABLE texts").replace("timestamp", "varchar(30)"))
    in_postgresql.insert("zoned", told)
    in_postgresql.insert("texts", told)
    in_postgresql.run("UPDATE texts SET answer = '' WHERE answer IS NULL")
    assert keys_at(in_postgresql, "zoned") == keys_at(in_postgresql, "texts") == TOLD


def test_mariadb_says_the_calls_that_were_told(in_mariadb: DatabaseServer) -> None:
    """As FreePBX has them: `calldate` alone, without the moments of answer and end."""
    in_mariadb.run(FREEPBX)
    names = [name for name in rows()[0] if name not in ("start", "answer", "end")]
    in_mariadb.insert("cdr", [{"calldate": row["start"]} | {name: row[name] for name in names} for row in rows()])
    assert keys_at(in_mariadb) == TOLD


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_what_a_database_refuses_is_told(engine: str, request: pytest.FixtureRequest) -> None:
    """A wrong password, a table that is not there: one sentence without the password; and nothing can be written."""
    server: DatabaseServer = request.getfixturevalue(f"in_{engine}")
    wrong = CdrTable(location=table_at(server).location, name="cdr", password="wrong-password")
    with pytest.raises(Unavailable, match="cannot read the CDR source") as told:
        list(read_table_rows(wrong, COLUMNS))
    assert "wrong-password" not in str(told.value)
    with pytest.raises(UsageError, match="'nowhere' cannot be read"):
        list(read_table_rows(table_at(server, "nowhere"), COLUMNS))


@pytest.mark.usefixtures("asterisk_lab_root")
def test_a_gap_is_filled_by_itself(in_postgresql: DatabaseServer, tmp_path: Path) -> None:
    """A real Asterisk writes into PostgreSQL while nobody hears it; the server reads it there and says so."""
    in_postgresql.run("DROP TABLE IF EXISTS calls", POSTGRESQL.replace("TABLE cdr", "TABLE calls"))
    reached = f"hostname=127.0.0.1\nport={in_postgresql.port}\ndbname={DATABASE}\nuser={USER}\npassword={PASSWORD}\n"
    changes = {
        "cdr_pgsql.conf": f"[global]\n{reached}table=calls\n",
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
        written = set(office.cdr_calls())
        assert len(written) == 6
        wait_until(lambda: written <= office.notified_call_ids(), 240)
        wait_until(lambda: not _gaps(office.server.run_command("coverage", "--since", "1h", "--format", "json")), 240)
        assert "OK      its CDRs can be read in postgresql://" in office.server.run_command(
            "doctor", "Office", exit_code=None
        )
        assert PASSWORD not in office.server.log_text()


def _gaps(coverage: str) -> list[str]:
    """The gaps that are known by name, of all PBXs."""
    intervals = [interval for one in json.loads(coverage) for interval in one["intervals"]]
    return [
        interval["reason"]
        for interval in intervals
        if interval["state"] == "gap" and interval["reason"].startswith("it was not heard")
    ]

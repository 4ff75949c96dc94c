"""Where CDRs are kept: as people write it, and as it is read back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.lib.errors import UsageError

SN = "pbx.example.org"
PASSWORD = "correct/horse"
URL = "postgresql://asterisk:correct%2Fhorse@db.example.org/asteriskcdrdb/calls"


@pytest.fixture
def appdb(tmp_path: Path) -> Iterator[AppDb]:
    one = AppDb(tmp_path / "onhook.db")
    one.add_pbx(name="Office", sn=SN, secret="nobody-knows-this", dialect="asterisk", now_us=1)
    yield one
    one.close()


def test_an_address_is_taken_apart() -> None:
    """Its password stands apart, and is not shown; the port and the table have their usual values."""
    source = parse_cdr_source(URL)
    assert source == CdrSource(
        location="postgresql://asterisk@db.example.org:5432/asteriskcdrdb", table="calls", password=PASSWORD
    )
    assert source.is_database
    assert "horse" not in repr(source)
    asked = parse_cdr_source("mysql://freepbx@db/asteriskcdrdb?tls=on")
    assert (asked.location, asked.table) == ("mysql://freepbx@db:3306/asteriskcdrdb?tls=on", "cdr")


def test_a_path_stands_for_itself_wherever_we_run() -> None:
    """It is the server that reads it, from another directory."""
    source = parse_cdr_source("Master.csv", columns="Start, End")
    assert source.location == str(Path("Master.csv").absolute())
    assert (source.columns, source.is_database) == (("start", "end"), False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "where CDRs are kept"),
        ("oracle://u:correct@host/db", "cannot be read there"),
        ("postgresql://host/db", "lacks a user"),
        ("postgresql://u:correct@host", "lacks a user"),
        ("postgresql://u:correct@host:0x1/db", "cannot be read there"),
        ("mysql://u:correct@host/db?charset=latin1", "something unknown"),
    ],
)
def test_what_cannot_be_meant_is_told(text: str, says: str) -> None:
    """In a sentence that shows no password."""
    with pytest.raises(UsageError, match=says) as told:
        parse_cdr_source(text)
    assert "correct" not in str(told.value)


def test_a_source_is_kept_changed_and_taken_away(appdb: AppDb) -> None:
    """And goes with its PBX."""
    appdb.cdr_sources.put(SN, parse_cdr_source(URL))
    assert appdb.cdr_sources.get(SN) == parse_cdr_source(URL)
    appdb.cdr_sources.put(SN, parse_cdr_source("/var/log/asterisk/cdr-csv/Master.csv"))
    assert appdb.cdr_sources.all() == {SN: CdrSource(location="/var/log/asterisk/cdr-csv/Master.csv")}
    appdb.cdr_sources.put(SN, None)
    assert appdb.cdr_sources.get(SN) is None
    appdb.cdr_sources.put(SN, parse_cdr_source(URL))
    appdb.remove_pbx("Office")
    assert appdb.cdr_sources.all() == {}

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
def settings(tmp_path: Path) -> Iterator[AppDb]:
    one = AppDb(tmp_path / "onhook.db")
    one.add_pbx(name="Office", sn=SN, secret="nobody-knows-this", dialect="asterisk", at=1)
    yield one
    one.close()


def test_an_address_is_taken_apart() -> None:
    """Its password stands apart, and is not shown; the port and the table have their usual values."""
    source = parse_cdr_source(URL)
    assert source == CdrSource(
        place="postgresql://asterisk@db.example.org:5432/asteriskcdrdb", table="calls", password=PASSWORD
    )
    assert source.is_database
    assert "horse" not in repr(source)
    asked = parse_cdr_source("mysql://freepbx@db/asteriskcdrdb?tls=on")
    assert (asked.place, asked.table) == ("mysql://freepbx@db:3306/asteriskcdrdb?tls=on", "cdr")


def test_a_path_stands_for_itself_wherever_we_run() -> None:
    """It is the server that reads it, from another directory."""
    source = parse_cdr_source("Master.csv", columns="Start, End")
    assert source.place == str(Path("Master.csv").absolute())
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


def test_a_source_is_kept_changed_and_taken_away(settings: AppDb) -> None:
    """And goes with its PBX."""
    settings.sources.put(SN, parse_cdr_source(URL))
    assert settings.sources.of(SN) == parse_cdr_source(URL)
    settings.sources.put(SN, parse_cdr_source("/var/log/asterisk/cdr-csv/Master.csv"))
    assert settings.sources.all() == {SN: CdrSource(place="/var/log/asterisk/cdr-csv/Master.csv")}
    settings.sources.put(SN, None)
    assert settings.sources.of(SN) is None
    settings.sources.put(SN, parse_cdr_source(URL))
    settings.remove_pbx("Office")
    assert settings.sources.all() == {}

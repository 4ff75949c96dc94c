"""CDR sources: parsing and storage."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

SN = "pbx.example.org"
PASSWORD = "correct/horse"
URL = "postgresql://asterisk:correct%2Fhorse@db.example.org/asteriskcdrdb/calls"


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    await opened_appdb.add_pbx(name="Office", sn=SN, secret="not-a-known-secret", dialect="asterisk", now_us=1)
    yield opened_appdb
    await opened_appdb.close()


def test_cdr_source_address_is_parsed() -> None:
    """The password is separate and not shown; port and table have defaults."""
    source = parse_cdr_source(URL)
    assert source == CdrSource(
        location="postgresql://asterisk@db.example.org:5432/asteriskcdrdb", table="calls", password=PASSWORD
    )
    assert source.is_database
    assert "horse" not in repr(source)
    source = parse_cdr_source("mysql://freepbx@db/asteriskcdrdb?tls=on")
    assert (source.location, source.table) == ("mysql://freepbx@db:3306/asteriskcdrdb?tls=on", "cdr")


def test_cdr_source_path_becomes_absolute() -> None:
    """The server reads it from another directory."""
    source = parse_cdr_source("Master.csv", columns="Start, End")
    assert source.location == str(Path("Master.csv").absolute())
    assert (source.columns, source.is_database) == (("start", "end"), False)


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("", "not a CDR source"),
        ("oracle://u:correct@host/db", "unknown kind"),
        ("postgresql://host/db", "lacks a user"),
        ("postgresql://u:correct@host", "lacks a user"),
        ("postgresql://u:correct@host:0x1/db", "unknown kind"),
        ("mysql://u:correct@host/db?charset=latin1", "an unknown option"),
    ],
)
def test_cdr_source_invalid_is_rejected(text: str, expected_text: str) -> None:
    """With a sentence that shows no password."""
    with pytest.raises(UsageError, match=expected_text) as error_info:
        parse_cdr_source(text)
    assert "correct" not in str(error_info.value)


async def test_cdr_source_is_stored_changed_and_removed(appdb: AppDb) -> None:
    """And removed with its PBX."""
    await appdb.cdr_sources.put(SN, parse_cdr_source(URL))
    assert await appdb.cdr_sources.get(SN) == parse_cdr_source(URL)
    await appdb.cdr_sources.put(SN, parse_cdr_source("/var/log/asterisk/cdr-csv/Master.csv"))
    assert await appdb.cdr_sources.all() == {SN: CdrSource(location="/var/log/asterisk/cdr-csv/Master.csv")}
    await appdb.cdr_sources.put(SN, None)
    assert await appdb.cdr_sources.get(SN) is None
    await appdb.cdr_sources.put(SN, parse_cdr_source(URL))
    await appdb.remove_pbx("Office")
    assert await appdb.cdr_sources.all() == {}

"""The records of generated calls, read as manager events and from each kind of CDR source."""

import csv
import io
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.record import Call
from onhook.pbx.asterisk.call_collector import CDR_HOLD_SECONDS_MAX, GRACE_SECONDS, AsteriskParserConfig, CallCollector
from onhook.pbx.asterisk.files import COLUMNS, collect_calls, parse_rows
from onhook.pbx.asterisk.messages import AmiMessage, AmiMessageReader
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall, UnparsedLine
from onhook.sync.cdr_tables import CdrTable, read_table_rows
from tests.pbx.asterisk.generated_calls import as_events
from tests.pbx.asterisk.generated_cel import as_cel
from tests.pbx.asterisk.generated_office import TRUNK_CHANNELS, GeneratedCall, Row

CONFIG = AsteriskParserConfig(trunks=tuple(TRUNK_CHANNELS), inbound_contexts=("from-trunk",))
BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = datetime.fromtimestamp(0, UTC)

PAGE_ROWS = 7
"""Several pages for some calls, and each larger than the rows of one time and id that a generated call has."""


def all_rows(calls: Sequence[GeneratedCall]) -> list[Row]:
    return [row for call in calls for row in call.rows]


def read_events(calls: Sequence[GeneratedCall], zone: ZoneInfo = BERLIN) -> dict[str, Call]:
    """Return the calls as read from the manager connection of a PBX for which this zone is configured."""
    reader, collector = AmiMessageReader(), CallCollector(CONFIG)
    for message in reader.receive_data(b"".join(as_events(all_rows(calls)))):
        assert isinstance(message, AmiMessage)
        assert collector.add_event(message, now=1.0) == []
    return _assemble((call.body for call in collector.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX)), zone)


def read_all_events(call: GeneratedCall) -> dict[str, Call]:
    """Return a call as read from the manager connection of an Asterisk that sends its channel events too."""
    reader, collector = AmiMessageReader(), CallCollector(CONFIG)
    for message in reader.receive_data(b"".join((*as_cel(call), *as_events(call.rows)))):
        assert isinstance(message, AmiMessage)
        assert collector.add_event(message, now=1.0) == []
    collected_calls = collector.pop_completed(1.0 + GRACE_SECONDS)
    assert all(b"CEL: whole" in collected_call.body for collected_call in collected_calls)
    return _assemble((collected_call.body for collected_call in collected_calls), call.zone)


def read_csv(calls: Sequence[GeneratedCall]) -> dict[str, Call]:
    """Return the calls as read from the file of `cdr_csv`."""
    rows = all_rows(calls)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(rows)
    return read_rows(parse_rows(text.getvalue().splitlines(keepends=True)))


def read_sqlite(calls: Sequence[GeneratedCall], path: Path) -> dict[str, Call]:
    """Return the calls as read from the table of `cdr_sqlite3_custom`."""
    rows = all_rows(calls)
    with closing(sqlite3.connect(path)) as database, database:
        names = ", ".join(f'"{name}"' for name in rows[0])
        database.execute("DROP TABLE IF EXISTS cdr")
        database.execute(f"CREATE TABLE cdr ({names})")
        database.executemany(
            f"INSERT INTO cdr VALUES ({', '.join('?' * len(rows[0]))})",  # noqa: S608 - names of a test
            [tuple(row.values()) for row in rows],
        )
    return read_rows(read_table_rows(CdrTable(location=str(path), name="cdr"), COLUMNS, page_rows=PAGE_ROWS))


def read_rows(rows: Iterable[Mapping[str, str] | UnparsedLine]) -> dict[str, Call]:
    """Return the calls in rows of a file or table."""
    bodies = []
    for entry in collect_calls(rows, CONFIG):
        assert isinstance(entry, ArchivedCall), entry
        bodies.append(entry.body)
    return _assemble(bodies)


def plain(calls: dict[str, Call]) -> dict[str, object]:
    """Return calls in a form of which a difference is readable."""
    return {call_id: msgspec.to_builtins(call) for call_id, call in calls.items()}


def _assemble(bodies: Iterable[bytes], zone: ZoneInfo = BERLIN) -> dict[str, Call]:
    """Return the calls by id, with their legs; seq, channel and time of arrival are left out."""
    legs_by_call: dict[str, list[ReportedLeg]] = {}
    for body in bodies:
        for details in Asterisk().parse(body):
            leg = ReportedLeg(details=details, seq=1, via="ami", received_at=EPOCH)
            legs_by_call.setdefault(details.call_id, []).append(leg)
    facts = PbxFacts(dialect="asterisk", zone=zone)
    return {call_id: assemble_call("LAB", legs, facts) for call_id, legs in legs_by_call.items()}

"""Letters that are no UTF-8 reach the ledger as the bytes that the Asterisk wrote, from each source."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from onhook.lib.errors import ParseError
from onhook.pbx.asterisk.advice import parse_sections
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.call_collector import CDR_HOLD_SECONDS_MAX, AsteriskParserConfig, CallCollector
from onhook.pbx.asterisk.files import COLUMNS, collect_calls, parse_rows
from onhook.pbx.asterisk.messages import AmiMessage, AmiMessageReader, parse_messages
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall, UnparsedLine
from onhook.pbx.text_encoding import clean_text, escape_bytes, recode_body, unescape_bytes
from onhook.sync.cdr_files import read_lines
from onhook.sync.cdr_tables import CdrTable, read_table_rows

CONFIG = AsteriskParserConfig()
NAME = "王小明"
ROW = {
    "accountcode": "",
    "src": "1001",
    "dst": "1002",
    "dcontext": "internal",
    "clid": f'"{NAME}" <1001>',
    "channel": "PJSIP/1001-00000001",
    "dstchannel": "PJSIP/1002-00000002",
    "lastapp": "Dial",
    "lastdata": "",
    "start": "2026-11-28 10:00:00",
    "answer": "2026-11-28 10:00:05",
    "end": "2026-11-28 10:00:20",
    "duration": "20",
    "billsec": "15",
    "disposition": "ANSWERED",
    "amaflags": "3",
    "uniqueid": "1795860000.1",
    "userfield": "",
    "peeraccount": "",
    "linkedid": "1795860000.1",
    "sequence": "1",
}


def from_rows(rows: Iterable[Mapping[str, str] | UnparsedLine]) -> bytes:
    (call,) = collect_calls(rows, CONFIG)
    assert isinstance(call, ArchivedCall)
    return call.body


def from_events(_directory: Path) -> bytes:
    lines = {"Event": "Cdr", "LinkedID": ROW["linkedid"], "Source": "1001", "CallerID": ROW["clid"]}
    lines |= {"Destination": "1002", "Channel": ROW["channel"], "DestinationChannel": ROW["dstchannel"]}
    lines |= {"LastApplication": "Dial", "StartTime": ROW["start"], "Duration": "20", "Disposition": "ANSWERED"}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    collector = CallCollector(CONFIG)
    for message in AmiMessageReader().receive_data(text.encode("gbk")):
        assert isinstance(message, AmiMessage)
        collector.add_event(message, now=1.0)
    (call,) = collector.pop_completed(1.0 + CDR_HOLD_SECONDS_MAX)
    return call.body


def from_csv(directory: Path) -> bytes:
    path = directory / "Master.csv"
    cells = ('"' + value.replace('"', '""') + '"' for value in ROW.values())
    path.write_bytes((",".join(cells) + "\n").encode("gbk"))
    return from_rows(parse_rows(read_lines(path), tuple(ROW)))


def from_json(directory: Path) -> bytes:
    path = directory / "cdr.json"
    members = (f'"{name}":"{value.replace(chr(34), chr(92) + chr(34))}"' for name, value in ROW.items())
    path.write_bytes(("{" + ",".join(members) + "}\n").encode("gbk"))
    return from_rows(parse_rows(read_lines(path)))


def from_table(directory: Path) -> bytes:
    path = directory / "master.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE cdr ({', '.join(ROW)})")
        places = ", ".join("CAST(? AS TEXT)" for _ in ROW)
        database.execute(f"INSERT INTO cdr VALUES ({places})", [value.encode("gbk") for value in ROW.values()])  # noqa: S608 - names of a test
    return from_rows(read_table_rows(CdrTable(location=str(path), name="cdr"), COLUMNS))


@pytest.mark.parametrize("read", [from_events, from_csv, from_json, from_table])
def test_letters_of_another_encoding_are_kept(read: object, tmp_path: Path) -> None:
    body = read(tmp_path)  # type: ignore[operator] # one of the functions above
    assert NAME.encode("gbk") in body
    (recoded,) = Asterisk().parse(recode_body(body, "gbk"))
    assert recoded.call_from == f"{NAME}<1001>"
    (unknown,) = Asterisk().parse(body)
    assert unknown.call_from == f"{clean_text(escape_bytes(NAME.encode('gbk')))}<1001>"


def test_line_that_is_no_cdr_is_kept_as_it_is(tmp_path: Path) -> None:
    line = f'{{"clid":"{NAME}"'.encode("gbk") + b"\n"
    path = tmp_path / "cdr.json"
    path.write_bytes(line)
    (unparsed,) = parse_rows(read_lines(path))
    assert isinstance(unparsed, UnparsedLine)
    assert unescape_bytes(unparsed.line) == line
    (row,) = collect_calls(
        [{name: escape_bytes(value.encode("gbk")) for name, value in ROW.items()} | {"end": "x"}], CONFIG
    )
    assert isinstance(row, UnparsedLine)
    assert NAME.encode("gbk") in unescape_bytes(row.line)


def test_surrogates_that_stand_for_no_byte_are_replaced() -> None:
    """A JSON text may have them."""
    event = AmiMessage((("Event", "Cdr"), ("CallerID", "a\ud800b")))
    assert "a\ufffdb".encode() in format_body(CallHeader(), [event])
    assert event.get("CallerID") == event.fields["callerid"] == "a\ufffdb"


def test_values_of_answers_are_clean() -> None:
    """They are shown to people and written as JSON."""
    lines = [b"Response: Success", b"Category-000000: g\xe9n", b"Line-000000-000000: caf\xe9=\xe9"]
    (response,) = parse_messages(b"\r\n".join([*lines, b"", b""]))
    assert response.get_all("Category-000000") == ["g\ufffdn"]
    assert parse_sections(response) == {"g\ufffdn": {"caf\ufffd": "\ufffd"}}


def test_body_of_another_encoding_that_is_no_call_is_an_error() -> None:
    with pytest.raises(ParseError):
        Asterisk().parse(NAME.encode("gbk"))

"""`onhook import`: files of the PBX's web page and of its API."""

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.cli import server_lookup, stored_calls
from onhook.cli.server_lookup import DataClient
from onhook.config import Config
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import Unavailable
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx.yeastar.rest import CSV_COLUMNS
from onhook.sync import file_import
from tests.cli.conftest import Command
from tests.counts import sampled

SN = "3651XXXXXXXX"
SIX_LEGS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "payloads" / "rest_six_legs.json").read_text()
)["data"]
OF_THE_PAGE = {
    "ID": "uid",
    "Time": "time",
    "Call From": "call_from",
    "Call To": "call_to",
    "Call Duration(s)": "duration",
    "Ring Duration(s)": "ring_duration",
    "Talk Duration(s)": "talk_duration",
    "Status": "disposition",
    "Source Trunk": "src_trunk",
    "Communication Type": "call_type",
    "DID/DDI": "did_number",
    "Recording File": "record_file",
}


@pytest.fixture
def office(onhook: Command) -> Command:
    """Yield the command line with a registered PBX."""
    assert onhook("pbx", "add", "Office", "--sn", SN, "--secret", "first-secret")[0] == 0
    return onhook


def write_csv(file: Path, names: Sequence[str], members: Sequence[str], *, delimiter: str = ",") -> Path:
    lines = [delimiter.join(names)]
    lines += [delimiter.join(str(row.get(member, "")) for member in members) for row in SIX_LEGS]
    file.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    return file


def calls(onhook: Command) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(onhook("calls", "--format", "json")[1])
    return rows


def test_import_file_of_the_web_page_is_one_call_of_six_legs(office: Command, tmp_path: Path) -> None:
    """Day and month are proven by the time in its ID; a second import finds nothing new."""
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    code, out, error = office("import", str(file), "--pbx", "Office")
    assert (code, error, "6 lines: 6 new, 0 already stored, 0 that" in out) == (0, "", True)
    (call,) = calls(office)
    assert (len(call["legs"]), call["answered_by"], call["talk_duration"]) == (6, "4005", 74)
    assert call["legs"][0]["time_start"] == "2026-06-30 21:37:17"
    assert "0 new, 6 already stored" in office("import", str(file), "--pbx", "Office")[1]


async def _count_calls(folder: Path, body: bytes) -> None:
    ledger = SqliteLedger(folder / "onhook-data" / "ledger.db")
    key = Yeastar().peek(body).key
    entry = LedgerEntry(sn=SN, dialect="yeastar", via="webhook", received_at=1_782_844_700_000_000, key=key, body=body)
    await ledger.append([entry])
    await ledger.close()


def test_import_line_joins_the_call_that_was_received_live(office: Command, tmp_path: Path) -> None:
    """By its `uid`: one call, whose leg that was received live is unchanged."""
    event = CallDetails(
        call_id="1782844637.854",
        time_start="2026-06-30 21:37:17",
        call_from="5550199",
        call_to="6200",
        call_duration=13,
        talk_duration=13,
        src_trunk_name="Trunk-A",
        status="ANSWERED",
        type="Inbound",
        did_number="5550000",
        agent_ring_time=0,
        uid="20260630213717AB3D1",
    )
    asyncio.run(_count_calls(tmp_path, Yeastar().format(event, SN, "p-2025")))
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    assert office("import", str(file), "--pbx", "Office")[0] == 0
    (call,) = calls(office)
    assert (call["call_id"], len(call["legs"])) == ("1782844637.854", 6)
    assert [leg["via"] for leg in call["legs"]] == ["webhook", *["import"] * 5]


def test_import_line_of_a_call_that_was_received_live_counts_as_known_or_completing(
    office: Command, tmp_path: Path
) -> None:
    """Whichever channel stored it: the event of one leg, then the export of all of them."""
    event = CallDetails(
        call_id="1782844637.854",
        time_start="2026-06-30 21:37:17",
        call_from="5550199",
        call_to="6200",
        status="ANSWERED",
        uid="20260630213717AB3D1",
    )
    asyncio.run(_count_calls(tmp_path, Yeastar().format(event, SN, "p-2025")))
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    with file.open("a") as lines:
        lines.write("20260701213717AB3D2,2026/07/01 21:37:17,1001,1002,5,0,0,NO ANSWER,,Internal,,\r\n")
    sentence = "Of the new lines {} describe records that are stored already from another channel, {} complete"
    out = office("import", str(file), "--pbx", "Office")[1]
    assert (sentence.format(1, 5) in out, "and 1 are of new calls." in out) == (True, True)
    exported = tmp_path / "export.csv"
    assert office("export", str(exported))[0] == 0
    out = office("import", str(exported), "--pbx", "Office")[1]
    assert (sentence.format(7, 0) in out, "and 0 are of new calls." in out) == (True, True)
    assert "0 new, 7 already stored" in office("import", str(exported), "--pbx", "Office")[1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_import_file_of_the_api_has_its_own_column_names(office: Command, tmp_path: Path, delimiter: str) -> None:
    """Any separator; the call has its own id."""
    members = ["call_id", "uid", "time", "timestamp", "call_from", "call_to", "duration", "talk_duration"]
    file = write_csv(tmp_path / "cdr.csv", members, members, delimiter=delimiter)
    assert office("import", str(file), "--pbx", SN)[0] == 0
    (call,) = calls(office)
    assert (call["call_id"], len(call["legs"]), call["legs"][0]["offset_from"]) == ("1782844637.854", 6, "ids")
    assert {"call_from", "call_to", "duration", "call_id"} <= set(CSV_COLUMNS)


def test_import_line_that_cannot_be_parsed_is_counted_shown_and_stored(office: Command, tmp_path: Path) -> None:
    """With its number and the reason; a date is never guessed."""
    file = tmp_path / "cdr.csv"
    file.write_text(
        "ID,Time,Call From,Call To,Status\n"
        "1,05/04/2026 21:37:17,1001,1002,ANSWERED\n"
        "2,soon,1001,1002,ANSWERED,more,cells\n"
        "\n"
        "20260405213717AB3D1,05/04/2026 21:37:17,1001,1002,BUSY\n"
    )
    code, out, _ = office("import", str(file), "--pbx", "Office")
    assert code == 0
    assert "3 lines: 1 new, 0 already stored, 2 that could not be parsed" in out
    assert "line 2: could not parse the raw event: " in out
    assert len(office("quarantine", "list")[1].splitlines()) == 3
    output = office("import", str(file), "--pbx", "Office", "--date-format", "DD/MM/YYYY")[1]
    assert "3 already stored" in output


@pytest.mark.parametrize("content", [b"", b"a,b,c\n1,2,3\n", b"ID,Time,Call From\n", b"\xff\xfe", b"ID;Time\n"])
def test_import_other_file_is_rejected(office: Command, tmp_path: Path, content: bytes) -> None:
    """With one sentence that says what is needed."""
    file = tmp_path / "cdr.csv"
    file.write_bytes(content)
    code, _, error = office("import", str(file), "--pbx", "Office")
    assert code == 2
    assert error.count("\n") == 1


def test_import_missing_file_is_one_sentence(office: Command) -> None:
    """And so is a PBX of another dialect."""
    assert office("import", "nowhere.csv", "--pbx", "Office")[0] == 2
    assert office("pbx", "add", "Old", "--sn", "1", "--dialect", "newcdr", "--from", "192.0.2.7")[0] == 0
    code, _, error = office("import", "nowhere.csv", "--pbx", "Old")
    assert (code, "P-Series" in error) == (2, True)


FILES = Path(__file__).parents[1] / "payloads" / "call_files"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("03_utf16_tab", ("Müller<+4930111>", 37, 30)),
        ("08_tabs_in_headings_too", ("Müller<+4930111>", 37, 30)),
        ("09_preamble", ("Müller<+4930111>", 37, 30)),
        ("11_spanish", ("Müller<+4930111>", 37, 30)),
        ("12_hhmmss", ("Müller<+4930111>", 37, 30)),
    ],
)
def test_import_file_that_another_program_saved(office: Command, name: str, expected: tuple[str, int, int]) -> None:
    """In another encoding, with lines before the headings, in another language, with other durations."""
    code, out, error = office("import", str(FILES / f"{name}.csv"), "--pbx", "Office")
    assert (code, error) == (0, "")
    assert "1 lines: 1 new" in out
    (call,) = calls(office)
    assert (call["call_from"], call["call_duration"], call["talk_duration"]) == expected


@pytest.mark.parametrize("encoding", sampled(["cp1252", "utf-16-le", "utf-16-be", "utf-8", "utf-8-sig"]))
def test_import_encoding_is_detected(office: Command, tmp_path: Path, encoding: str) -> None:
    text = (FILES / "12_hhmmss.csv").read_text("utf-8")
    file = tmp_path / "cdr.csv"
    file.write_bytes(text.encode(encoding))
    assert office("import", str(file), "--pbx", "Office")[0] == 0
    assert calls(office)[0]["call_from"] == "Müller<+4930111>"


def test_import_encoding_can_be_named(office: Command, tmp_path: Path) -> None:
    text = (FILES / "12_hhmmss.csv").read_text("utf-8").replace("Müller", "张伟")
    file = tmp_path / "cdr.csv"
    file.write_bytes(text.encode("gbk"))
    assert office("import", str(file), "--pbx", "Office", "--encoding", "gbk")[0] == 0
    assert calls(office)[0]["call_from"] == "张伟<+4930111>"
    code, _, error = office("import", str(file), "--pbx", "Office", "--encoding", "klingon")
    assert (code, "unknown encoding" in error) == (2, True)


def test_import_separator_line_is_skipped(office: Command, tmp_path: Path) -> None:
    file = tmp_path / "cdr.csv"
    file.write_text("sep=;\r\n" + (FILES / "12_hhmmss.csv").read_text("utf-8").replace(",", ";"))
    assert office("import", str(file), "--pbx", "Office")[0] == 0
    assert len(calls(office)) == 1


def test_import_columns_can_be_named(office: Command, tmp_path: Path) -> None:
    file = tmp_path / "cdr.csv"
    file.write_text("Nr,Wann,Wer,Wen,Lang\n20261120100000A000C,2026/11/20 10:00:00,1001,1002,0:00:37\n")
    assert office("import", str(file), "--pbx", "Office")[0] == 2
    columns = ["Nr=id", "Wann=time", "Wer=call_from", "Wen=call_to", "Lang=duration"]
    options = [part for column in columns for part in ("--columns", column)]
    assert office("import", str(file), "--pbx", "Office", *options)[0] == 0
    assert calls(office)[0]["call_duration"] == 37
    code, _, error = office("import", str(file), "--pbx", "Office", "--columns", "Nr")
    assert (code, "write it as HEADING=NAME" in error) == (2, True)


@pytest.mark.parametrize("name", ["41_excel_number", "15_scientific_ids"])
def test_import_file_with_rounded_ids_is_refused(office: Command, name: str) -> None:
    """A rounded id names another call, or none: nothing is counted, and the lines stay in the quarantine."""
    code, out, error = office("import", str(FILES / f"{name}.csv"), "--pbx", "Office", "--date-format", "DD/MM/YYYY")
    assert (code, "a spreadsheet rounded the ids: download the file again" in error) == (1, True)
    assert "0 new" in out
    assert calls(office) == []


def test_import_file_with_the_same_ids_unrounded_is_read(office: Command) -> None:
    assert office("import", str(FILES / "40_right.csv"), "--pbx", "Office")[0] == 0
    assert [call["talk_duration"] for call in calls(office)] == [20]


def test_import_time_without_seconds_follows_from_the_id(office: Command, tmp_path: Path) -> None:
    """A spreadsheet shows no seconds, and saves what it shows."""
    file = tmp_path / "cdr.csv"
    file.write_text(
        "ID,Time,Call From,Call To,Status\n"
        "20261120100037A000C,2026/11/20 10:00,1001,1002,BUSY\n"
        "20261120100037A000D,20.11.2026 10:05,1001,1002,BUSY\n"
    )
    code, out, _ = office("import", str(file), "--pbx", "Office")
    assert (code, "2 lines: 1 new" in out, "has no seconds" in out) == (0, True, True)
    assert calls(office)[0]["legs"][0]["time_start"] == "2026-11-20 10:00:37"


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
def test_import_workbook_is_named(office: Command, tmp_path: Path, magic: bytes) -> None:
    file = tmp_path / "cdr.xlsx"
    file.write_bytes(magic + bytes(100))
    code, _, error = office("import", str(file), "--pbx", "Office")
    assert (code, "workbook" in error) == (2, True)


def test_import_own_export_gives_the_same_records(office: Command, tmp_path: Path) -> None:
    """With formulas that were escaped, and members that the event has besides its own."""
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    file.write_text(file.read_text("utf-8-sig").replace("4005", "=1+4005"), "utf-8")
    assert office("import", str(file), "--pbx", "Office")[0] == 0
    exported = tmp_path / "export.csv"
    assert office("export", str(exported))[0] == 0
    before = calls(office)
    assert office("pbx", "add", "Copy", "--sn", "COPY", "--secret", "another-secret")[0] == 0
    assert office("import", str(exported), "--pbx", "Copy", "--other-pbx")[0] == 0
    copied = [call for call in calls(office) if call["sn"] == "COPY"]
    names = ("call_id", "call_from", "call_to", "call_duration", "talk_duration", "status", "type", "did_number", "uid")
    assert [[leg[name] for name in names] for call in copied for leg in call["legs"]] == [
        [leg[name] for name in names] for call in before for leg in call["legs"]
    ]


def test_import_line_number_is_that_of_the_file(office: Command, tmp_path: Path) -> None:
    """After lines before the headings, blank lines and cells with line breaks."""
    file = tmp_path / "cdr.csv"
    file.write_text(
        "Report\nsep=,\n\nID,Time,Call From,Call To,Reason\n"
        '20261120100037A000C,2026/11/20 10:00:37,1001,1002,"two\nlines"\n\n'
        '1,soon,1001,1002,"two\nlines"\n2,later,1001,1002\n'
    )
    out = office("import", str(file), "--pbx", "Office")[1]
    assert "3 lines: 1 new, 0 already stored, 2 that could not be parsed" in out
    assert ("  line 8: " in out, "  line 10: " in out) == (True, True)


def test_import_unreadable_line_that_is_stored_already_counts_once(office: Command, tmp_path: Path) -> None:
    file = tmp_path / "cdr.csv"
    file.write_text("ID,Time,Call From,Call To\n1,soon,1001,1002\n20261120100037A000C,2026/11/20 10:00:37,1001,1002\n")
    assert "2 lines: 1 new, 0 already stored, 1 that could" in office("import", str(file), "--pbx", "Office")[1]
    code, out, _ = office("import", str(file), "--pbx", "Office")
    assert (code, "2 lines: 0 new, 2 already stored, 0 that could not be parsed." in out) == (0, True)
    assert "1 of those already stored could not be parsed." in out
    assert "Those are in the quarantine" in out
    file.write_text("ID,Time,Call From,Call To\n1,soon,1001,1002\n")
    code, out, error = office("import", str(file), "--pbx", "Office")
    assert (code, "no line could be parsed" in error) == (1, True)


def test_import_encoding_of_the_pbx_is_used(office: Command, tmp_path: Path) -> None:
    text = (FILES / "12_hhmmss.csv").read_text("utf-8").replace("Müller", "张伟")
    file = tmp_path / "cdr.csv"
    file.write_bytes(text.encode("gbk"))
    code, _, error = office("import", str(file), "--pbx", "Office")
    assert (code, "the encoding of the file is not certain" in error, "--encoding" in error) == (2, True, True)
    assert office("pbx", "change", "Office", "--encoding", "gbk")[0] == 0
    assert office("import", str(file), "--pbx", "Office")[0] == 0
    assert calls(office)[0]["call_from"] == "张伟<+4930111>"


def test_import_file_without_seconds_joins_the_stored_legs(office: Command, tmp_path: Path) -> None:
    """A spreadsheet has cut the times, and zeros of the call id: nothing is counted twice."""
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    event = CallDetails(
        call_id="1782844637.850",
        time_start="2026-06-30 21:37:17",
        call_from="5550199",
        call_to="6200",
        uid="20260630213717AB3D1",
    )
    asyncio.run(_count_calls(tmp_path, Yeastar().format(event, SN, "p-2025")))
    assert office("import", str(file), "--pbx", "Office")[0] == 0
    exported = tmp_path / "export.csv"
    assert office("export", str(exported))[0] == 0
    before = calls(office)
    for saved in (file, exported):
        text = re.sub(r"([0-9/-]{10} [0-9]{2}:[0-9]{2}):[0-9]{2}", r"\1", saved.read_text("utf-8-sig"))
        saved.write_text(text.replace("1782844637.850", "1782844637.85"), "utf-8")
        code, out, _ = office("import", str(saved), "--pbx", "Office")
        assert (code, "6 lines: 6 new, 0 already stored, 0 that" in out) == (0, True)
        (call,) = calls(office)
        assert (call["call_id"], len(call["legs"])) == ("1782844637.850", 6)
        assert [leg["time_start"] for leg in call["legs"]] == [leg["time_start"] for leg in before[0]["legs"]]


def test_import_export_of_another_pbx_is_refused(office: Command, tmp_path: Path) -> None:
    """With both names, and nothing stored; not for a further serial number of the PBX, in whichever case."""
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    assert office("import", str(file), "--pbx", "Office")[2] == ""
    exported = tmp_path / "export.csv"
    assert office("export", str(exported))[0] == 0
    assert office("import", str(exported), "--pbx", "Office")[2] == ""
    assert office("pbx", "add", "Copy", "--sn", "COPY", "--secret", "another-secret")[0] == 0
    code, out, error = office("import", str(exported), "--pbx", "Copy")
    assert (code, out, f"of the PBX Office ({SN}), not of Copy (COPY)" in error) == (2, "", True)
    assert {call["sn"] for call in calls(office)} == {SN}
    assert office("import", str(exported), "--pbx", "Copy", "--other-pbx")[0] == 0
    assert {call["sn"] for call in calls(office)} == {SN, "COPY"}
    exported.write_text(exported.read_text().replace(SN, "old-device"))
    assert "of the PBX Office (old-device)" in office("import", str(exported), "--pbx", "Office")[2]
    assert office("pbx", "change", "Office", "--add-sn", "OLD-DEVICE")[0] == 0
    assert office("import", str(exported), "--pbx", "Office")[0] == 0


def test_import_own_export_of_a_pbx_whose_name_was_escaped_is_accepted(onhook: Command, tmp_path: Path) -> None:
    """Its name begins like a formula; the column of the serial number was removed."""
    assert onhook("pbx", "add", "=Office", "--sn", SN, "--secret", "first-secret")[0] == 0
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    assert onhook("import", str(file), "--pbx", SN)[0] == 0
    exported = tmp_path / "export.csv"
    assert onhook("export", str(exported))[0] == 0
    assert "'=Office" in exported.read_text()
    exported.write_text(exported.read_text().replace(",sn,", ",other,"))
    assert onhook("import", str(exported), "--pbx", SN)[::2] == (0, "")


API_MEMBERS = ["call_id", "uid", "time", "timestamp", "call_from", "call_to", "duration", "talk_duration"]


def test_import_while_the_store_cannot_be_read_stores_all_lines(
    office: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the hub starts; only the split of the new lines needs the store, and it is asked once."""
    attempts: list[Config] = []

    async def open_data_client(config: Config) -> None:
        attempts.append(config)
        raise Unavailable("the hub does not answer")

    file = write_csv(tmp_path / "cdr.csv", API_MEMBERS, API_MEMBERS)
    with monkeypatch.context() as context:
        context.setattr(file_import, "INGEST_BATCH_SIZE", 2)
        context.setattr(stored_calls, "open_data_client", open_data_client)
        code, out, error = office("import", str(file), "--pbx", "Office")
    assert (code, error, len(attempts)) == (0, "", 1)
    assert "6 lines: 6 new, 0 already stored" in out
    assert "How many of the new lines are stored already from another channel is unknown" in out
    (call,) = calls(office)
    assert len(call["legs"]) == 6


def test_import_opens_the_store_once(office: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the days of all lines, and for their calls."""
    opened: list[Config] = []

    async def open_data_client(config: Config) -> AbstractAsyncContextManager[DataClient]:
        opened.append(config)
        return await server_lookup.open_data_client(config)

    monkeypatch.setattr(file_import, "INGEST_BATCH_SIZE", 2)
    monkeypatch.setattr(stored_calls, "open_data_client", open_data_client)
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    assert office("import", str(file), "--pbx", "Office")[0] == 0
    assert len(opened) == 1
    (call,) = calls(office)
    assert len(call["legs"]) == 6

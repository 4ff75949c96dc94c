"""CSV files of the directory, as spreadsheets write them."""

from pathlib import Path

import pytest

from onhook.appdb import directory_csv
from onhook.appdb.appdb import AppDb
from onhook.appdb.directory_csv import format_directory_csv, parse_directory_csv
from onhook.appdb.pbxs import Pbx
from onhook.cdr.directory import DirectoryEntry
from onhook.lib.errors import UsageError
from tests.factories import SN

OTHER_SN = "3631A2124YYY"


@pytest.fixture
async def pbxs(tmp_path: Path) -> list[Pbx]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for name, sn in (("Office", SN), ("Köln", OTHER_SN)):
            await appdb.add_pbx(name=name, sn=sn, secret="first-secret", now_us=1)
        return await appdb.pbxs()


ENTRIES = [
    DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol", company="ACME; Ltd"),
    DirectoryEntry(sn=SN, number="1001", name='Alice "Al", Smith', department="Sales", site="Berlin"),
    DirectoryEntry(sn=OTHER_SN, number="6400", kind="queue", name="=SUM(A1)"),
]


def test_file_that_was_written_is_read_again(pbxs: list[Pbx]) -> None:
    text = format_directory_csv(ENTRIES, {pbx.sn: pbx.name for pbx in pbxs})
    assert "'=SUM(A1)" in text
    assert parse_directory_csv(text.encode(), pbxs) == ENTRIES


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_file_of_a_spreadsheet_is_read(pbxs: list[Pbx], separator: str) -> None:
    lines = ["\ufeffName,Number,PBX,Kind", "Alice,1001,office,", "", ",,,", "Support,6400,köln,Ring group"]
    content = "\r\n".join(lines).replace(",", separator).encode()
    assert parse_directory_csv(content, pbxs) == [
        DirectoryEntry(sn=SN, number="1001", name="Alice"),
        DirectoryEntry(sn=OTHER_SN, number="6400", kind="ring_group", name="Support"),
    ]


def test_file_without_pbx_belongs_to_the_only_one(pbxs: list[Pbx]) -> None:
    assert parse_directory_csv(b"number,name\n1001,Alice\n", pbxs[:1])[0].sn == pbxs[0].sn
    with pytest.raises(UsageError, match="line 2: the PBX is missing: name it"):
        parse_directory_csv(b"number,name\n1001,Alice\n", pbxs)


def test_file_errors_name_each_line(pbxs: list[Pbx]) -> None:
    rows = [
        "kind,pbx,number,name,company",
        "extension,Office,1001,Alice,",
        "extension,Office,1002,,",
        "robot,Office,1003,Bob,",
        "queue,Nowhere,6400,Support,",
        "contact,,x,Carol,ACME",
        "extension,Office,1001,Alice again,",
        "extension,Office,1004,Dave,,,",
    ]
    with pytest.raises(UsageError) as error:
        parse_directory_csv("\n".join(rows).encode(), pbxs)
    text = str(error.value)
    assert text.startswith("nothing was imported: line 3: the name is missing; line 4: unknown kind 'robot'")
    for part in (
        "line 5: there is no PBX 'Nowhere'",
        "line 6: 'x' is not a",
        "line 7: 1001 is in line 2 too",
        "line 8:",
    ):
        assert part in text


def test_file_many_errors_are_counted(pbxs: list[Pbx]) -> None:
    content = b"number,name,pbx\n" + b"1001,,Office\n" * 25
    with pytest.raises(UsageError, match=r"line 11: the name is missing; and 15 more$"):
        parse_directory_csv(content, pbxs)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not have the names of the columns"),
        (b"1001,Alice\n", "does not have the names of the columns"),
        (b"number,name,name\n", "does not have the names of the columns"),
        (b"number,name,salary\n", "does not have the names of the columns"),
        (b"number,name\n1001,J\xf6rg\n", "is not UTF-8"),
        (b"number,name\n1001," + b"x" * 200_000, "line 2: field larger"),
        (b"x" * (directory_csv.FILE_BYTES_MAX + 1), "is larger than 4 MiB"),
    ],
)
def test_file_that_is_unusable_is_rejected(pbxs: list[Pbx], content: bytes, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_directory_csv(content, pbxs)


def test_file_with_too_many_rows_is_rejected(pbxs: list[Pbx], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_csv, "ROWS_MAX", 2)
    with pytest.raises(UsageError, match="more than 2 rows"):
        parse_directory_csv(b"number,name\n1,A\n2,B\n3,C\n", pbxs[:1])

"""Folders of files that a FreeSWITCH could not send."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from onhook.lib.errors import Unavailable, UsageError
from onhook.receiver.verdict import Verdict
from onhook.sync import folder_files, folder_sweep, ingest_retry
from onhook.sync.folder_files import SETTLED_SECONDS, FileMark, find_mark, open_file
from onhook.sync.folder_sweep import FILE_BYTES_MAX, FolderSweeper, SweepTotals
from tests.pbx.cucm.test_acceptance import CUCM
from tests.pbx.cucm.test_acceptance import FILE as CDR_FILE
from tests.pbx.freeswitch.captures import FREESWITCH, PAYLOADS, bodies
from tests.sync.moved_files import refuse_to_move

NOW = 1_796_000_000.0
FILES = sorted(PAYLOADS.glob("e2[12]*/disk/*/*.cdr.json"))


class Intake:
    """What is stored, by key."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.is_full = False

    async def ingest(self, body: bytes) -> Verdict:
        if self.is_full:
            return "unavailable"
        key = FREESWITCH.peek(body).key
        if key in self.keys:
            return "duplicate"
        self.keys.append(key)
        return "stored"


@pytest.fixture
def intake() -> Intake:
    return Intake()


def put(folder: Path, name: str, body: bytes, *, age_seconds: float = 60.0) -> Path:
    path = folder / name
    path.write_bytes(body)
    os.utime(path, (NOW - age_seconds, NOW - age_seconds))
    return path


def create_sweeper(intake: Intake, target: Path | None = None) -> FolderSweeper:
    return FolderSweeper(dialect=FREESWITCH, ingest=intake.ingest, now_us=lambda: round(NOW * 1_000_000), target=target)


async def test_sweep_captured_files_are_stored_once(tmp_path: Path, intake: Intake) -> None:
    """As plain JSON and as Base64; a leg that was sent meanwhile is not stored again, under whichever name."""
    for number, path in enumerate(FILES):
        put(tmp_path, f"{number}-{path.name}", path.read_bytes())
    put(tmp_path, "copy.cdr.json", FILES[0].read_bytes())
    assert await create_sweeper(intake).sweep(tmp_path) == SweepTotals(files=len(FILES) + 1, new=len(FILES), existing=1)
    count = len(FILES) + 1
    assert await create_sweeper(intake).sweep(tmp_path) == SweepTotals(files=count, existing=count)


async def test_sweep_half_written_and_other_files_are_left(tmp_path: Path, intake: Intake) -> None:
    leg = bodies("s01")[0]
    target = tmp_path / "sent"
    recent = put(tmp_path, "recent", leg, age_seconds=SETTLED_SECONDS - 1)
    future = put(tmp_path, "future", leg, age_seconds=-1)
    other_files = [
        put(tmp_path, "cut", leg[:-100]),
        put(tmp_path, "empty", b""),
        put(tmp_path, "notes.txt", b"notes"),
        put(tmp_path, "large", leg.ljust(FILE_BYTES_MAX + 1)),
    ]
    put(tmp_path, ".hidden", leg)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(put(tmp_path.parent, "elsewhere", leg))
    os.mkfifo(tmp_path / "pipe")
    assert await create_sweeper(intake, target).sweep(tmp_path) == SweepTotals(files=6, recent=2, unreadable=4)
    assert (intake.keys, all(path.exists() for path in (recent, future, *other_files))) == ([], True)


async def test_sweep_stored_files_are_moved(tmp_path: Path, intake: Intake) -> None:
    target = tmp_path / "sent"
    for number, leg in enumerate(bodies("s01")):
        put(tmp_path, f"{number}.cdr.json", leg)
    assert (await create_sweeper(intake, target).sweep(tmp_path)).new == 2
    assert sorted(path.name for path in target.iterdir()) == ["0.cdr.json", "1.cdr.json"]
    assert await create_sweeper(intake, target).sweep(tmp_path) == SweepTotals()


async def test_sweep_of_many_files_goes_in_parts(
    tmp_path: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_sweep, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(folder_files, "FILES_MAX", 3)
    for number, leg in enumerate(bodies("s20")):
        put(tmp_path, f"{number}.cdr.json", leg)
    sweeper = create_sweeper(intake)
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=3, new=3)
    rest = len(bodies("s20")) - 3
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=rest, new=rest)


async def test_sweep_of_a_full_ledger_moves_nothing(
    tmp_path: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_retry, "RETRY_SECONDS", 0.0)
    intake.is_full = True
    path = put(tmp_path, "a.cdr.json", bodies("s01")[0])
    with pytest.raises(Unavailable):
        await create_sweeper(intake, tmp_path / "sent").sweep(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("spoil", [lambda path: None, lambda path: path.write_text("a file")])
async def test_sweep_folder_that_cannot_be_used_is_an_error(
    tmp_path: Path, intake: Intake, spoil: Callable[[Path], object]
) -> None:
    other = tmp_path / "other"
    spoil(other)
    with pytest.raises(UsageError, match="cannot read the folder"):
        await create_sweeper(intake).sweep(other)
    put(tmp_path, "a.cdr.json", bodies("s01")[0])
    target = tmp_path / "missing" / "sent" if not other.exists() else other
    with pytest.raises(UsageError, match="cannot move"):
        await create_sweeper(intake, target).sweep(tmp_path)


async def test_sweep_again_reads_files_that_are_new_or_have_changed(tmp_path: Path, intake: Intake) -> None:
    legs = bodies("s01")
    path, other = put(tmp_path, "a.cdr.json", legs[0]), put(tmp_path, "notes.txt", b"notes")
    sweeper = create_sweeper(intake)
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=2, new=1, unreadable=1)
    assert (await sweeper.sweep(tmp_path), sweeper.unreadable_count) == (SweepTotals(), 1)
    put(tmp_path, "a.cdr.json", legs[1], age_seconds=50)
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=1, new=1)
    path.unlink()
    other.unlink()
    assert (await sweeper.sweep(tmp_path), sweeper.unreadable_count) == (SweepTotals(), 0)


async def test_sweep_file_that_cannot_be_moved_is_moved_later(tmp_path: Path, intake: Intake) -> None:
    """It is stored at once, with those after it, and the error stays until it is moved."""
    for number, leg in enumerate(bodies("s01")):
        put(tmp_path, f"{number}.cdr.json", leg)
    target = tmp_path / "missing" / "sent"
    sweeper = create_sweeper(intake, target)
    for _round in range(2):
        with pytest.raises(UsageError, match="cannot move"):
            await sweeper.sweep(tmp_path)
        assert (len(intake.keys), sweeper.unreadable_count) == (2, 0)
    target.parent.mkdir()
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=2, existing=2)
    assert sorted(path.name for path in target.iterdir()) == ["0.cdr.json", "1.cdr.json"]


async def test_sweep_file_that_is_written_anew_before_it_is_moved_is_read_again(tmp_path: Path, intake: Intake) -> None:
    legs = bodies("s01")
    path = put(tmp_path, "a.cdr.json", legs[0])
    gone = put(tmp_path, "b.cdr.json", legs[0])
    sweeper = create_sweeper(intake, tmp_path / "sent")
    ingest = intake.ingest

    async def ingest_and_write(body: bytes) -> Verdict:
        if not intake.keys:
            put(tmp_path, "a.cdr.json", legs[1], age_seconds=50)
            gone.unlink()
        return await ingest(body)

    sweeper._ingest = ingest_and_write
    await sweeper.sweep(tmp_path)
    assert path.exists()
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=1, new=1)
    assert [file.read_bytes() for file in (tmp_path / "sent").iterdir()] == [legs[1]]


async def test_sweep_file_that_may_not_be_read_is_an_error_and_keeps_no_other_one(
    tmp_path: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a FreeSWITCH whose files are readable for its own user."""
    legs = bodies("s01")
    refused, _other = put(tmp_path, "a.cdr.json", legs[0]), put(tmp_path, "b.cdr.json", legs[1])

    def refuse(path: Path) -> BinaryIO:
        if path == refused:
            raise PermissionError(13, "Permission denied")
        return open_file(path)

    sweeper = create_sweeper(intake)
    with monkeypatch.context() as patch:
        patch.setattr(folder_sweep, "open_file", refuse)
        for _round in range(2):
            with pytest.raises(UsageError, match=f"cannot read the file: Permission denied.*{refused.name}"):
                await sweeper.sweep(tmp_path)
            assert len(intake.keys) == 1
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=1, new=1)


class RowIntake(Intake):
    """Rows of CDR files of a CUCM."""

    async def ingest(self, body: bytes) -> Verdict:
        if self.is_full:
            return "unavailable"
        envelope = CUCM.peek(body)
        if envelope.key in self.keys:
            return "duplicate"
        self.keys.append(envelope.key)
        return "stored" if envelope.kind == "details" else "unparsable"


async def test_sweep_rows_of_cdr_files_are_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that a file delivered again has; a row that cannot be read keeps no other one from being stored."""
    monkeypatch.setattr(folder_sweep, "INGEST_BATCH_SIZE", 2)
    intake, target = RowIntake(), tmp_path / "stored"
    sweeper = FolderSweeper(dialect=CUCM, ingest=intake.ingest, now_us=lambda: round(NOW * 1_000_000), target=target)
    row_count = 3
    damaged = CDR_FILE.splitlines()[-1].replace(b"1693900100", b"soon")
    put(tmp_path, "cdr_StandAloneCluster_01_202309050747_1", CDR_FILE)
    put(tmp_path, "cdr_StandAloneCluster_01_202309050748_2", CDR_FILE + damaged + b"\n")
    names = b"globalCallID_callManagerId,globalCallID_callId,directoryNum,callIdentifier,numberPacketsSent\n"
    put(tmp_path, "cmr_StandAloneCluster_01_202309050748_3", names + b"1,5001,7001,111,42\n")
    notes = put(tmp_path, "notes.csv", b"a,b\n")
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=4, new=2, existing=1, unreadable=1)
    assert (len(intake.keys), sweeper.unreadable_count, notes.exists()) == (row_count, 1, True)
    assert sorted(path.name[:3] for path in target.iterdir()) == ["cdr", "cdr", "cmr"]


async def test_sweep_rows_that_are_written_after_their_file_was_moved_are_stored(tmp_path: Path) -> None:
    """An upload that stood still for longer than it takes to count as ended."""
    intake, folder, target = RowIntake(), tmp_path / "in", tmp_path / "stored"
    folder.mkdir()
    lines = CDR_FILE.splitlines(keepends=True)
    path = put(folder, "cdr_1", b"".join(lines[:-1]))
    sweeper = FolderSweeper(dialect=CUCM, ingest=intake.ingest, now_us=lambda: round(NOW * 1_000_000), target=target)
    with path.open("ab") as upload:
        await sweeper.sweep(folder)
        assert not path.exists()
        known_count = len(intake.keys)
        upload.write(lines[-1])
    put(target, "cdr_1", CDR_FILE)
    assert (await sweeper.sweep(folder)).new == 1
    assert len(intake.keys) == known_count + 1
    assert [file.read_bytes() for file in target.iterdir()] == [CDR_FILE]


async def test_sweep_looks_at_moved_files_for_some_minutes(tmp_path: Path, intake: Intake) -> None:
    leg = bodies("s01")[0]
    path, target = put(tmp_path, "a.cdr.json", leg), tmp_path / "sent"
    now = NOW
    sweeper = FolderSweeper(
        dialect=FREESWITCH, ingest=intake.ingest, now_us=lambda: round(now * 1_000_000), target=target
    )
    await sweeper.sweep(tmp_path)
    now += folder_files.MOVED_SECONDS + 1
    await sweeper.sweep(tmp_path)
    with (target / path.name).open("ab") as file:
        file.write(b" ")
    assert await sweeper.sweep(tmp_path) == SweepTotals()
    assert not path.exists()


async def test_sweep_looks_at_each_moved_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches the sweep has: before and after its own move, and at its end."""
    folder, look_counts = tmp_path / "in", Counter[Path]()
    folder.mkdir()

    def count_look(path: Path | os.DirEntry[str]) -> FileMark | None:
        look_counts[Path(path)] += 1
        return find_mark(path)

    for number in range(9):
        put(folder, f"cdr_{number}", CDR_FILE)
    sweeper = FolderSweeper(
        dialect=CUCM, ingest=RowIntake().ingest, now_us=lambda: round(NOW * 1_000_000), target=tmp_path / "stored"
    )
    monkeypatch.setattr(folder_files, "find_mark", count_look)
    assert (await sweeper.sweep(folder)).files == 9
    assert {path: count for path, count in look_counts.items() if path.parent.name == "stored"} == {
        tmp_path / "stored" / f"cdr_{number}": 1 for number in range(9)
    }


async def test_sweep_rows_that_are_written_while_the_sweep_goes_on_are_moved_back_at_its_end(tmp_path: Path) -> None:
    """A sweep on demand has no later one that looks at its files."""
    folder, target, intake = tmp_path / "in", tmp_path / "stored", RowIntake()
    folder.mkdir()
    path = put(folder, "cdr_1", CDR_FILE)
    put(folder, "cdr_2", CDR_FILE)

    async def ingest_and_write(body: bytes) -> Verdict:
        if (target / path.name).exists():
            (target / path.name).write_bytes(CDR_FILE + b" ")
        return await intake.ingest(body)

    sweeper = FolderSweeper(dialect=CUCM, ingest=ingest_and_write, now_us=lambda: round(NOW * 1_000_000), target=target)
    await sweeper.sweep(folder)
    assert [file.name for file in target.iterdir()] == ["cdr_2"]
    assert path.exists()


async def test_sweep_moved_file_that_cannot_be_moved_back_keeps_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of the sweep, and the next one tries again."""
    folder, target = tmp_path / "in", tmp_path / "stored"
    folder.mkdir()
    sweeper = FolderSweeper(
        dialect=CUCM, ingest=RowIntake().ingest, now_us=lambda: round(NOW * 1_000_000), target=target
    )
    refused, other = put(folder, "cdr_1", CDR_FILE), put(folder, "cdr_2", CDR_FILE)
    await sweeper.sweep(folder)
    for path in (refused, other):
        put(target, path.name, CDR_FILE + b"\n")
    new = put(folder, "cdr_3", CDR_FILE)
    refuse_to_move(monkeypatch, refused, is_back=True)
    with pytest.raises(UsageError, match="cannot move files that are stored: Permission denied"):
        await sweeper.sweep(folder)
    assert sweeper.totals.files == 2
    assert not new.exists()
    monkeypatch.undo()
    assert (await sweeper.sweep(folder)).files == 1
    assert sorted(path.name for path in target.iterdir()) == ["cdr_1", "cdr_2", "cdr_3"]


async def test_sweep_files_that_were_moved_before_an_error_are_looked_at(
    tmp_path: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "sent"
    paths = [put(tmp_path, f"{number}.cdr.json", leg) for number, leg in enumerate(bodies("s01"))]
    sweeper = create_sweeper(intake, target)
    refuse_to_move(monkeypatch, paths[1])
    with pytest.raises(UsageError, match="cannot move"):
        await sweeper.sweep(tmp_path)
    assert [path.exists() for path in paths] == [False, True]
    put(target, paths[0].name, bodies("s01")[0] + b" ")
    with pytest.raises(UsageError, match="cannot move"):
        await sweeper.sweep(tmp_path)
    assert sweeper.totals.files == 2


async def test_sweep_cdr_file_that_is_too_large_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_sweep, "ROWS_FILE_BYTES_MAX", len(CDR_FILE) - 1)
    intake = RowIntake()
    put(tmp_path, "cdr", CDR_FILE)
    sweeper = FolderSweeper(dialect=CUCM, ingest=intake.ingest, now_us=lambda: round(NOW * 1_000_000))
    assert await sweeper.sweep(tmp_path) == SweepTotals(files=1, unreadable=1)
    assert intake.keys == []

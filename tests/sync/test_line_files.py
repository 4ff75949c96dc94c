"""Files of lines that a PBX leaves."""

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pytest

from onhook.cdr.merge import SWEEP
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.pbx.lines import LINE_BYTES_MAX
from onhook.pbx.threecx.payload import ThreeCx
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync import line_files
from onhook.sync.folder_files import SETTLED_SECONDS, FileMark, FolderContent, move_files, open_file, scan_folder
from onhook.sync.ingest_retry import INGEST_BATCH_SIZE
from onhook.sync.line_files import UNENDED_SECONDS, LineFileSweeper, LineTotals
from tests.pbx.threecx.test_acceptance import OUTBOUND, QUEUE, load
from tests.receiver.harness import MemoryPbxRegistry
from tests.sync.moved_files import refuse_to_move
from tests.waiting import wait_until

SENDER = RegisteredPbx(sn="3CX", dialect="3cx")
NOW = 1_796_000_000


class Files:
    """A folder, and a sweeper of it."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "CDRLogs"
        self.folder.mkdir()
        self.target = path / "done"
        self.ledger = SqliteLedger(path / "ledger.db")
        dialects = {"3cx": ThreeCx()}
        self.ingestor = Ingestor(
            ledger=self.ledger, registry=MemoryPbxRegistry([]), dialects=dialects, clock=SystemClock()
        )

    def write(self, name: str, content: bytes, *, seconds_ago: float = 60.0) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        os.utime(path, (NOW - seconds_ago, NOW - seconds_ago))
        return path

    def sweeper(self, target: Path | None = None) -> LineFileSweeper:
        return LineFileSweeper(
            dialect=ThreeCx(),
            ingest=lambda body: self.ingestor.ingest(SENDER, body, SWEEP),
            now_us=lambda: NOW * 1_000_000,
            target=target,
        )

    async def vias(self) -> list[str]:
        return [raw_event.via for raw_event in await self.ledger.read(0, 10_000)]


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Files]:
    opened_files = Files(tmp_path)
    yield opened_files
    await opened_files.ingestor.close()
    await opened_files.ledger.close()


async def test_sweep_file_for_each_call_is_stored_once_and_moved(files: Files) -> None:
    first = files.write("cdr-1.log", load(OUTBOUND))
    last = files.write("cdr-2.log", load(QUEUE).rstrip(), seconds_ago=61)
    files.write("notes.txt", b"no line\r\n")
    expected = LineTotals(files=3, lines=3, new=2, unreadable=1)
    assert await files.sweeper(files.target).sweep(files.folder) == expected
    assert await files.vias() == [SWEEP, SWEEP]
    assert not first.exists()
    assert not last.exists()
    assert sorted(path.name for path in files.target.iterdir()) == ["cdr-1.log", "cdr-2.log"]
    assert await files.sweeper().sweep(files.target) == LineTotals(files=2, lines=2)


async def test_sweep_file_that_is_being_written_has_its_last_line_later(files: Files) -> None:
    content = load(OUTBOUND) + load(QUEUE)
    path = files.write("cdr.log", content[:-20], seconds_ago=1)
    assert await files.sweeper(files.target).sweep(path) == LineTotals(files=1, lines=1, new=1, recent=1)
    assert path.exists()
    files.write("cdr.log", content, seconds_ago=1)
    assert await files.sweeper().sweep(path) == LineTotals(files=1, lines=2, new=1, recent=1)


@pytest.mark.parametrize("end", [b"\r\n" + load(QUEUE), b""])
async def test_sweep_file_with_a_line_that_is_too_long_is_not_moved(files: Files, end: bytes) -> None:
    path = files.write("cdr.log", load(OUTBOUND) + b"Call 1," + b"x" * LINE_BYTES_MAX + end)
    totals = await files.sweeper(files.target).sweep(path)
    assert (totals.new, totals.unreadable) == (2 if end else 1, 1)
    assert path.exists()


async def test_sweep_long_file_is_read_in_parts(files: Files) -> None:
    count = INGEST_BATCH_SIZE + 10
    lines = [load(OUTBOUND).replace(b"26808", b"%d" % number) for number in range(count)]
    path = files.write("cdr.log", b"".join(lines))
    assert await files.sweeper().sweep(path) == LineTotals(files=1, lines=count, new=count)


async def test_sweep_folder_or_link_that_cannot_be_read_is_an_error(files: Files, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the folder"):
        await files.sweeper().sweep(tmp_path / "missing")
    link = tmp_path / "link"
    link.symlink_to(files.write("cdr.log", load(OUTBOUND)))
    with pytest.raises(UsageError, match="cannot read the file"):
        await files.sweeper().sweep(link)


async def test_sweep_again_reads_the_lines_that_were_appended(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeper = files.sweeper()
    files.write("cdr.log", b"no call\r\n" + load(OUTBOUND))
    files.write("gone.log", b"no call\r\n")
    assert await sweeper.sweep(files.folder) == LineTotals(files=2, lines=3, new=1, unreadable=2)
    assert (await sweeper.sweep(files.folder), sweeper.unreadable_count) == (LineTotals(), 2)
    (files.folder / "gone.log").unlink()
    path = files.write("cdr.log", b"no call\r\n" + load(OUTBOUND) + load(QUEUE), seconds_ago=50)
    monkeypatch.setattr(line_files, "READ_BYTES", 64)
    assert await sweeper.sweep(files.folder) == LineTotals(files=1, lines=1, new=1)
    assert sweeper.unreadable_count == 1
    assert await sweeper.sweep(path) == LineTotals(files=1)


@pytest.mark.parametrize("content", [load(QUEUE), load(QUEUE) * 3])
async def test_sweep_file_that_was_written_anew_is_read_from_its_begin(files: Files, content: bytes) -> None:
    sweeper = files.sweeper()
    files.write("cdr.log", load(OUTBOUND) * 2)
    await sweeper.sweep(files.folder)
    files.write("cdr.log", content, seconds_ago=50)
    assert (await sweeper.sweep(files.folder)).new == 1


async def test_sweep_line_that_is_appended_after_its_file_was_moved_is_stored(files: Files) -> None:
    path = files.write("cdr.log", load(OUTBOUND))
    sweeper = files.sweeper(files.target)
    with path.open("ab") as file:
        assert await sweeper.sweep(files.folder) == LineTotals(files=1, lines=1, new=1)
        file.write(load(QUEUE))
    moved_path = files.target / "cdr.log"
    os.utime(moved_path, (NOW - 60, NOW - 60))
    assert await sweeper.sweep(files.folder) == LineTotals(files=1, lines=2, new=1)
    assert (path.exists(), moved_path.read_bytes()) == (False, load(OUTBOUND) + load(QUEUE))


async def test_sweep_line_that_is_appended_while_its_file_is_moved_is_stored(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write("cdr.log", load(OUTBOUND))

    def move(paths: list[Path], target: Path) -> list[Path]:
        with path.open("ab") as file:
            file.write(load(QUEUE))
        return move_files(paths, target)

    monkeypatch.setattr(line_files, "move_files", move)
    assert await files.sweeper(files.target).sweep(files.folder) == LineTotals(files=1, lines=2, new=2)
    assert not path.exists()


async def test_sweep_file_that_is_gone_or_cannot_be_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write("cdr.log", load(OUTBOUND))

    def read(_file: object, _offset: int) -> bytes:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(line_files, "_compute_digest", read)
    with pytest.raises(UsageError, match="input/output error"):
        await files.sweeper().sweep(files.folder)

    def scan(folder: Path, marks: Mapping[str, FileMark]) -> FolderContent:
        content = scan_folder(folder, marks)
        path.unlink()
        return content

    monkeypatch.setattr(line_files, "scan_folder", scan)
    assert await files.sweeper().sweep(files.folder) == LineTotals()


async def test_sweep_file_that_may_not_be_read_is_an_error_and_keeps_no_other_one(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, _other = files.write("cdr-1.log", load(OUTBOUND)), files.write("cdr-2.log", load(QUEUE))

    def refuse(path: Path) -> BinaryIO:
        if path == refused:
            raise PermissionError(13, "Permission denied")
        return open_file(path)

    sweeper = files.sweeper()
    with monkeypatch.context() as patch:
        patch.setattr(line_files, "open_file", refuse)
        with pytest.raises(UsageError, match=f"cannot read the file: Permission denied.*{refused.name}"):
            await sweeper.sweep(files.folder)
    assert (sweeper.totals, await files.ledger.last_seq()) == (LineTotals(files=1, lines=1, new=1), 1)
    assert (await sweeper.sweep(files.folder)).new == 1


async def test_sweep_path_that_may_not_be_looked_at_is_an_error(files: Files) -> None:
    """As of a folder in one that only the PBX may enter; here a name is too long for any folder."""
    with pytest.raises(UsageError, match="cannot read the folder: File name too long"):
        await files.sweeper().sweep(files.folder / ("a" * 300))


async def test_sweep_last_line_that_was_written_in_two_parts_is_no_unreadable_one(files: Files) -> None:
    sweeper = files.sweeper(files.target)
    files.write("cdr.log", load(OUTBOUND) + load(QUEUE)[:20], seconds_ago=UNENDED_SECONDS)
    assert (await sweeper.sweep(files.folder), sweeper.unreadable_count) == (
        *(LineTotals(files=1, lines=2, new=1, unreadable=1), 1),
    )
    path = files.write("cdr.log", load(OUTBOUND) + load(QUEUE), seconds_ago=50)
    assert (await sweeper.sweep(files.folder), sweeper.unreadable_count) == (LineTotals(files=1, lines=1, new=1), 0)
    assert not path.exists()


async def test_sweep_line_with_a_pause_in_it_is_stored_once(files: Files) -> None:
    """The part has enough commas for a line: it would be an event of its own."""
    sweeper = files.sweeper(files.target)
    path = files.write("cdr.log", load(OUTBOUND) + load(QUEUE)[:-20], seconds_ago=UNENDED_SECONDS - 1)
    files.write("other.log", b"")
    totals = LineTotals(files=1, lines=1, new=1, recent=1)
    assert await sweeper.sweep(files.folder) == totals + LineTotals(files=1)
    assert await sweeper.sweep(files.folder) == LineTotals(files=1, recent=1)
    assert path.exists()
    files.write("cdr.log", load(OUTBOUND) + load(QUEUE), seconds_ago=50)
    assert await sweeper.sweep(files.folder) == LineTotals(files=1, lines=1, new=1)
    assert len(await files.vias()) == 2


@pytest.mark.parametrize(
    ("seconds_ago", "next_name", "new"),
    [
        (UNENDED_SECONDS, "", 2),
        (UNENDED_SECONDS - 1, "", 1),
        (SETTLED_SECONDS, "cdr.log", 2),
        (SETTLED_SECONDS, "CDR-2.log", 2),
        (SETTLED_SECONDS - 1, "cdr.log", 1),
        (SETTLED_SECONDS, "notes.txt", 1),
    ],
)
async def test_sweep_last_line_without_its_end_counts_once_the_pbx_has_gone_on(
    files: Files, seconds_ago: float, next_name: str, new: int
) -> None:
    files.write("cdr.log.1", load(OUTBOUND) + load(QUEUE).rstrip(), seconds_ago=seconds_ago)
    if next_name:
        files.write(next_name, b"", seconds_ago=1)
    assert (await files.sweeper().sweep(files.folder)).new == new


async def test_sweep_overlong_line_without_its_end_is_counted_once(files: Files) -> None:
    sweeper = files.sweeper(files.target)
    content = load(OUTBOUND) + b"x" * LINE_BYTES_MAX * 2
    for seconds_ago in (3, 2, 1):
        content += b"x"
        files.write("cdr.log", content, seconds_ago=seconds_ago)
        await sweeper.sweep(files.folder)
        assert sweeper.unreadable_count == 1
    files.write("cdr.log", content + b"x," * LINE_BYTES_MAX + b"\r\n" + load(QUEUE))
    assert (await sweeper.sweep(files.folder), sweeper.unreadable_count) == (
        *(LineTotals(files=1, lines=2, new=1, unreadable=1), 1),
    )


async def test_sweep_file_whose_last_line_goes_on_while_it_is_moved_is_moved_back(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write("cdr.log", load(OUTBOUND))

    def move(paths: list[Path], target: Path) -> list[Path]:
        if target == files.target:
            with path.open("ab") as file:
                file.write(load(QUEUE)[:-20])
        return move_files(paths, target)

    monkeypatch.setattr(line_files, "move_files", move)
    sweeper = files.sweeper(files.target)
    assert await sweeper.sweep(files.folder) == LineTotals(files=1, lines=1, new=1, recent=1)
    assert path.exists()
    monkeypatch.undo()
    files.write("cdr.log", load(OUTBOUND) + load(QUEUE))
    assert await sweeper.sweep(files.folder) == LineTotals(files=1, lines=2, new=1)
    assert not path.exists()


async def test_sweep_last_line_of_a_file_that_cannot_be_moved_back_is_stored_later(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write("cdr.log", load(OUTBOUND))

    def move(paths: list[Path], target: Path) -> list[Path]:
        if target != files.target:
            raise UsageError("cannot move files that are stored")
        with path.open("ab") as file:
            file.write(load(QUEUE)[:-20])
        return move_files(paths, target)

    monkeypatch.setattr(line_files, "move_files", move)
    sweeper = files.sweeper(files.target)
    with pytest.raises(UsageError, match="cannot move"):
        await sweeper.sweep(files.folder)
    monkeypatch.undo()
    moved_path = files.target / "cdr.log"
    moved_path.write_bytes(load(OUTBOUND) + load(QUEUE))
    os.utime(moved_path, (NOW - 60, NOW - 60))
    assert (await sweeper.sweep(files.folder)).new == 1


async def test_sweep_moved_file_that_cannot_be_moved_back_keeps_no_other_one(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = files.sweeper(files.target)
    path = files.write("cdr-1.log", load(OUTBOUND))
    await sweeper.sweep(files.folder)
    with (files.target / path.name).open("ab") as file:
        file.write(load(QUEUE))
    files.write("cdr-2.log", load(QUEUE))
    refuse_to_move(monkeypatch, path, is_back=True)
    with pytest.raises(UsageError, match="cannot move"):
        await sweeper.sweep(files.folder)
    assert sweeper.totals.new == 1


class HangingFile(io.RawIOBase):
    """A file on a network drive that does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return 0

    def readinto(self, buffer: object, /) -> int:
        self.entered.set()
        self.released.wait(10)
        return 0


@pytest.mark.parametrize("hanging_open", [1, 2])
async def test_sweep_that_is_cancelled_while_a_read_hangs_does_not_block_the_event_loop(
    files: Files, monkeypatch: pytest.MonkeyPatch, hanging_open: int
) -> None:
    """In the folder, and where its file was moved to."""
    files.write("cdr.log", load(OUTBOUND))
    hanging_file, opened_paths = HangingFile(), list[Path]()

    def open_hanging(path: Path) -> tuple[BinaryIO, os.stat_result]:
        opened_paths.append(path)
        if len(opened_paths) < hanging_open:
            return original_open(path)
        with path.open("ab") as appended_file:
            appended_file.write(load(QUEUE))
        file, status = original_open(path)
        file.close()
        return io.BufferedReader(hanging_file), status

    original_open = line_files._open
    monkeypatch.setattr(line_files, "_open", open_hanging)
    sweep = asyncio.create_task(files.sweeper(files.target).sweep(files.folder))
    await wait_until(hanging_file.entered.is_set)
    sweep.cancel()
    await asyncio.wait([sweep])
    assert sweep.cancelled()
    assert not hanging_file.released.is_set()
    is_still_hanging = not hanging_file.closed
    hanging_file.released.set()
    assert is_still_hanging
    await wait_until(lambda: hanging_file.closed)

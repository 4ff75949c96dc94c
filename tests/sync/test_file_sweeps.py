"""Sweeps of folders, as the hub runs them."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from onhook.appdb import leases
from onhook.appdb.appdb import AppDb
from onhook.appdb.fence import get_lease
from onhook.appdb.leases import LeaseHolder
from onhook.appdb.swept_folders import SweptFolder
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.leased_work import RunLeased, run_without_lease
from onhook.lib.timestamps import to_datetime
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync import file_sweeps, folder_sweep, line_files
from onhook.sync.file_sweeps import FileSweepManager, create_sweeper
from onhook.sync.folder_files import FileMark, FolderContent, open_file, scan_folder
from onhook.sync.folder_sweep import FolderSweeper
from tests.pbx.freeswitch.captures import PAYLOADS
from tests.pbx.threecx.test_acceptance import OUTBOUND, QUEUE, load
from tests.receiver.harness import MemoryPbxRegistry
from tests.waiting import polls, wait_until

LEGS = sorted(PAYLOADS.glob("e2[12]*/disk/*/*.cdr.json"))


class Sweeps:
    """Two PBXs with folders, and a manager of their sweeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.appdb = AppDb(path / "onhook.db")
        self.ledger = SqliteLedger(path / "ledger.db")
        registry = MemoryPbxRegistry([])
        self.ingestor = Ingestor(ledger=self.ledger, registry=registry, dialects=dialects(), clock=SystemClock())
        self.manager = self.restarted_manager()

    def restarted_manager(self, run_leased: RunLeased = run_without_lease) -> FileSweepManager:
        """Return the manager as another process has it."""
        return FileSweepManager(
            appdb=self.appdb,
            ingestor=self.ingestor,
            clock=SystemClock(),
            read_last_seq=self.ledger.last_seq,
            run_leased=run_leased,
            sweep_seconds=0.01,
        )


@pytest.fixture
async def sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sweeps]:
    # A busy machine makes each sweep long, and so the rest after it.
    monkeypatch.setattr(file_sweeps, "REST_FACTOR", 0.0)
    opened = Sweeps(tmp_path)
    await opened.appdb.open()
    for sn, dialect in (("3CX", "3cx"), ("FUSION", "freeswitch")):
        secret = "a-known-secret" if dialect == "freeswitch" else None
        await opened.appdb.add_pbx(name=sn, sn=sn, secret=secret, dialect=dialect, now_us=1)
        (tmp_path / sn).mkdir()
    yield opened
    await opened.ingestor.close()
    await opened.ledger.close()
    await opened.appdb.close()


@pytest.fixture
async def running(sweeps: Sweeps) -> AsyncIterator[Sweeps]:
    task = asyncio.create_task(sweeps.manager.run())
    yield sweeps
    task.cancel()
    await asyncio.wait([task])


def write_old(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, (0, 0))
    return path


async def wait_for_result(appdb: AppDb, sn: str, **members: object) -> None:
    async def is_there() -> bool:
        folder = await appdb.swept_folders.get(sn)
        return folder is not None and all(getattr(folder, name) == value for name, value in members.items())

    await wait_until(await is_there() async for _ in polls())


async def test_folder_on_a_drive_that_does_not_answer_takes_no_thread_of_others(
    running: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sweep waits in a thread of its own, also where a person has changed its settings meanwhile."""
    appdb, path = running.appdb, running.path
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    entered, released = threading.Event(), threading.Event()
    daemon_states: list[bool] = []

    def wait_at_drive(folder: Path, marks: Mapping[str, FileMark]) -> FolderContent:
        if folder.parent.name == "drive":
            entered.set()
            # The end of the process waits for each thread that is no daemon.
            daemon_states.append(threading.current_thread().daemon)
            released.wait(60)
        return scan_folder(folder, marks)

    monkeypatch.setattr(folder_sweep, "scan_folder", wait_at_drive)
    try:
        for name in ("a", "b"):
            await appdb.swept_folders.put("FUSION", SweptFolder(path=str(path / "drive" / name)))
            await wait_until(entered.is_set)
            entered.clear()
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(lambda: 1) == 1
        write_old(path / "3CX" / "cdr-1.log", load(OUTBOUND))
        await appdb.swept_folders.put("3CX", SweptFolder(path=str(path / "3CX")))
        await wait_for_result(appdb, "3CX", stored=1)
        assert daemon_states == [True, True]
    finally:
        released.set()


async def test_files_of_each_pbx_are_stored_and_moved_as_they_come(running: Sweeps) -> None:
    """Also after the folder was changed; the setting has what became of the files."""
    appdb, path = running.appdb, running.path
    write_old(path / "3CX" / "cdr-1.log", load(OUTBOUND))
    for leg in LEGS:
        write_old(path / "FUSION" / leg.name, leg.read_bytes())
    write_old(path / "FUSION" / "notes.txt", b"notes")
    await appdb.swept_folders.put("3CX", SweptFolder(path=str(path / "3CX"), target=str(path / "stored")))
    await appdb.swept_folders.put("FUSION", SweptFolder(path=str(path / "FUSION")))
    await wait_for_result(appdb, "3CX", stored=1)
    await wait_for_result(appdb, "FUSION", stored=len(LEGS), unreadable=1, error="")
    assert [file.name for file in (path / "stored").iterdir()] == ["cdr-1.log"]
    write_old(path / "3CX" / "cdr-2.log", load(QUEUE))
    await wait_for_result(appdb, "3CX", stored=2)
    await appdb.swept_folders.put("3CX", SweptFolder(path=str(path / "stored")))
    await wait_for_result(appdb, "3CX", stored=0, path=str(path / "stored"), error="")
    assert await running.ledger.last_seq() == len(LEGS) + 2


async def test_files_that_stay_are_not_read_again_after_a_restart(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But those that have changed, those that could not be read, and all with a shorter ledger."""
    appdb, path = sweeps.appdb, sweeps.path
    read_names: list[str] = []

    def open_noted(file_path: Path) -> BinaryIO:
        read_names.append(file_path.name)
        return open_file(file_path)

    async def sweep_once(sn: str) -> list[str]:
        read_names.clear()
        (spec,) = [spec for spec in (await sweeps.manager._build_specs()).values() if spec.sn == sn]
        task = asyncio.create_task(sweeps.restarted_manager()._sweep_again_and_again(spec))
        await appdb.swept_folders.save_result(sn, stored=0, unreadable=0, error="", now_us=1)
        await wait_until(await is_swept(sn) async for _ in polls())
        task.cancel()
        await asyncio.wait([task])
        return sorted(set(read_names))

    async def is_swept(sn: str) -> bool:
        folder = await appdb.swept_folders.get(sn)
        return folder is not None and folder.swept_at != to_datetime(1)

    monkeypatch.setattr(folder_sweep, "open_file", open_noted)
    monkeypatch.setattr(line_files, "open_file", open_noted)
    for sn, content, unreadable in (("3CX", load(OUTBOUND), b"no line\n"), ("FUSION", LEGS[0].read_bytes(), b"notes")):
        await appdb.swept_folders.put(sn, SweptFolder(path=str(path / sn)))
        write_old(path / sn / "a.log", content)
        write_old(path / sn / "gone.log", content)
        write_old(path / sn / "notes.txt", unreadable)
        assert await sweep_once(sn) == ["a.log", "gone.log", "notes.txt"]
        (path / sn / "gone.log").unlink()
        assert await sweep_once(sn) == ["notes.txt"]
        write_old(path / sn / "gone.log", content)
        write_old(path / sn / "a.log", content + b"\n")
        assert await sweep_once(sn) == ["a.log", "gone.log", "notes.txt"]
        await appdb._database.write("UPDATE swept_folders SET ledger_seq = 1000")
        assert await sweep_once(sn) == ["a.log", "gone.log", "notes.txt"]


async def test_folder_is_swept_by_one_of_two_processes_at_a_time(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the other one once it stops, which reads no file again."""
    monkeypatch.setattr(leases, "ACQUIRE_SECONDS", 0.01)
    appdb, path = sweeps.appdb, sweeps.path
    holders = [LeaseHolder(appdb.leases, SystemClock()) for _process in range(2)]
    readers: list[str] = []

    def open_noted(file_path: Path) -> BinaryIO:
        lease = get_lease()
        readers.append(lease.owner if lease else "")
        return open_file(file_path)

    for module in (folder_sweep, line_files):
        monkeypatch.setattr(module, "open_file", open_noted)
    await appdb.swept_folders.put("3CX", SweptFolder(path=str(path / "3CX")))
    write_old(path / "3CX" / "cdr-1.log", load(OUTBOUND))
    tasks = {holder.owner: asyncio.create_task(sweeps.restarted_manager(holder.run_leased).run()) for holder in holders}
    await wait_for_result(appdb, "3CX", stored=1)
    (first,) = set(readers)
    task = tasks.pop(first)
    task.cancel()
    await asyncio.wait([task])
    readers.clear()
    write_old(path / "3CX" / "cdr-2.log", load(QUEUE))
    await wait_until(await sweeps.ledger.last_seq() == 2 async for _ in polls())
    assert readers == list(tasks)
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())


async def test_folder_that_cannot_be_read_is_read_once_it_is_there(running: Sweeps) -> None:
    appdb, folder = running.appdb, running.path / "later"
    await appdb.swept_folders.put("3CX", SweptFolder(path=str(folder)))
    error = UsageError("cannot read the folder: No such file or directory", location=str(folder))
    await wait_for_result(appdb, "3CX", error=str(error))
    folder.mkdir()
    shutil.copy(write_old(running.path / "cdr.log", load(OUTBOUND)), folder)
    os.utime(folder / "cdr.log", (0, 0))
    await wait_for_result(appdb, "3CX", stored=1, error="")


@pytest.mark.parametrize(("sn", "content"), [("3CX", load(OUTBOUND)), ("FUSION", LEGS[0].read_bytes())])
async def test_files_that_cannot_be_moved_are_stored_and_moved_later(running: Sweeps, sn: str, content: bytes) -> None:
    """The error stays until they are moved, and they count once."""
    appdb, target = running.appdb, running.path / "later" / "stored"
    write_old(running.path / sn / "cdr.log", content)
    await appdb.swept_folders.put(sn, SweptFolder(path=str(running.path / sn), target=str(target)))
    await wait_for_result(appdb, sn, stored=1)
    folder = await appdb.swept_folders.get(sn)
    assert folder is not None
    assert "cannot move files" in folder.error
    target.parent.mkdir()
    await wait_for_result(appdb, sn, stored=1, error="")
    assert [file.name for file in target.iterdir()] == ["cdr.log"]


async def test_sweep_goes_on_after_errors_of_its_own_and_of_the_database(
    sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_sweeps, "RESTART_SECONDS", 0.01)
    sweep, save = FolderSweeper.sweep, sweeps.appdb.swept_folders.save_result
    failures: list[Exception] = [ValueError("a bug")]
    unavailable: list[Exception] = [Unavailable("the disk is full")]

    async def fail_first(sweeper: FolderSweeper, folder: Path) -> object:
        if failures:
            raise failures.pop()
        return await sweep(sweeper, folder)

    async def save_later(sn: str, **values: object) -> None:
        if unavailable:
            raise unavailable.pop()
        await save(sn, **values)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(FolderSweeper, "sweep", fail_first)
    monkeypatch.setattr(sweeps.appdb.swept_folders, "save_result", save_later)
    await sweeps.appdb.swept_folders.put("FUSION", SweptFolder(path=str(sweeps.path / "FUSION")))
    monkeypatch.setattr(file_sweeps, "RESULT_SECONDS", 0.0)
    task = asyncio.create_task(sweeps.manager.run())
    await wait_until("cannot store the result" in caplog.text async for _ in polls())

    async def has_result() -> bool:
        folder = await sweeps.appdb.swept_folders.get("FUSION")
        return folder is not None and folder.swept_at is not None

    await wait_until(await has_result() async for _ in polls())
    task.cancel()
    await asyncio.wait([task])
    assert "failed unexpectedly" in caplog.text


def test_pbx_that_leaves_no_files_has_no_sweeper(tmp_path: Path) -> None:
    sender = RegisteredPbx(sn="A", dialect="yeastar")
    with pytest.raises(UsageError, match="leaves no files"):
        create_sweeper(
            dialects()["yeastar"],
            sender,
            ingestor=None,  # type: ignore[arg-type]  # not used
            clock=SystemClock(),
            target=tmp_path,
        )

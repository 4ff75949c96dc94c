"""The file: opened by one process, whole after any end, and refused with a sentence when it is no store."""

import random
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import duckdb
import pytest

from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import OnhookError, Unavailable
from onhook.store.contract import Store, StoreBatch
from onhook.store.duckdb import open_store
from tests.factories import call

CALLS_PER_BATCH = 20

WRITER = f"""
import asyncio, sys
from pathlib import Path
from onhook.store.duckdb import open_store
from onhook.store.contract import StoreBatch
from tests.factories import call

async def write(path):
    store = await open_store(path)
    position = await store.position()
    while True:
        position += 1
        calls = [call() for _ in range({CALLS_PER_BATCH})]
        await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=position))
        print(position, flush=True)

asyncio.run(write(Path(sys.argv[1])))
"""


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    store = await open_store(path)
    try:
        yield store
    finally:
        await store.close()


def writer(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)


def last_line_after(process: "subprocess.Popen[str]", lines: int) -> int:
    """Kill it after so many lines; the last one that it wrote, read or not."""
    assert process.stdout
    told = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    told += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    return int([line for line in told if line.endswith("\n")][-1])


async def killed_at_random(path: Path, kills: int) -> None:
    seed = random.Random(30012)
    for _ in range(kills):
        told = last_line_after(writer(path), seed.randint(1, 12))
        async with opened(path) as store:
            counts = await store.counts()
        assert counts["position"] >= told
        # Ids begin anew with each process: a later one replaces what an earlier one put under the same ids.
        assert counts["records"] == counts["calls"] <= counts["position"] * CALLS_PER_BATCH
        assert counts["calls"] % CALLS_PER_BATCH == 0


async def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed between any two instructions: what was told is there, with its position, and nothing in part."""
    await killed_at_random(tmp_path / "calls.duckdb", kills=3)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_batch_is_kept_whole_or_not_at_all_many_times(tmp_path: Path) -> None:
    """The same, fifty times."""
    await killed_at_random(tmp_path / "calls.duckdb", kills=50)


async def test_only_one_process_has_it_open(tmp_path: Path) -> None:
    """Another one is told so in one sentence, and may come back later."""
    path = tmp_path / "calls.duckdb"
    process = writer(path)
    assert process.stdout
    process.stdout.readline()
    with pytest.raises(Unavailable, match="another process has the store open"):
        await open_store(path)
    last_line_after(process, 1)
    async with opened(path) as store:
        assert await store.position() > 0


async def test_what_was_put_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """Closed and opened, it answers as before."""
    path, one = tmp_path / "calls.duckdb", call()
    async with opened(path) as store:
        await store.put(StoreBatch(calls=[one], quarantined=[], reparsed_seqs=[], position=3))
    async with opened(path) as store:
        assert (await store.calls(RecordFilter(), 5)).data == [one]
        assert await store.position() == 3


@pytest.mark.parametrize("content", [b"rubbish", b"x" * 100_000, b"SQLite format 3\x00" + bytes(5_000)])
async def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    """The advice is to make it again."""
    path = tmp_path / "calls.duckdb"
    path.write_bytes(content)
    with pytest.raises(OnhookError, match="onhook rebuild"):
        await open_store(path)


@pytest.mark.parametrize("length", [0, 8, 4_096, 8_192])
async def test_a_file_that_was_cut_short_while_it_was_made_is_made_anew(tmp_path: Path, length: int) -> None:
    """As by a full disk: it held nothing yet, and nobody has to be asked."""
    path = tmp_path / "calls.duckdb"
    async with opened(path):
        pass
    path.write_bytes(path.read_bytes()[:length] if length > 8 else bytes(length))
    async with opened(path) as store:
        assert await store.position() == 0


async def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    """Cut off, or with its head overwritten."""
    path = tmp_path / "calls.duckdb"
    async with opened(path) as store:
        await store.put(StoreBatch(calls=[call() for _ in range(500)], quarantined=[], reparsed_seqs=[], position=3))
    whole = path.read_bytes()
    for damaged in (whole[:20_000], bytes(8_192) + whole[8_192:]):
        path.write_bytes(damaged)
        with pytest.raises(OnhookError, match="onhook rebuild"):
            await open_store(path)


@pytest.mark.parametrize("change", ["UPDATE metadata SET version = 99", "DROP TABLE metadata", "DELETE FROM metadata"])
async def test_a_store_of_another_version_is_refused(tmp_path: Path, change: str) -> None:
    """And so is a database of somebody else."""
    path = tmp_path / "calls.duckdb"
    async with opened(path):
        pass
    with duckdb.connect(str(path)) as connection:
        connection.execute(change)
    with pytest.raises(OnhookError, match="onhook rebuild"):
        await open_store(path)


async def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is not made: a path with a typing error must not become a second store."""
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_store(tmp_path / "nowhere" / "calls.duckdb")


async def put_until_refused(store: Store, calls: list[Call]) -> int:
    for position in range(1_000):
        try:
            await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=position + 1))
        except Unavailable:
            return position
    pytest.fail("there is no end of this disk")


async def test_a_full_disk_is_no_end(tmp_path: Path) -> None:
    """What was kept can be read, the next batch is refused, and kept once there is room."""
    path = tmp_path / "calls.duckdb"
    batch_of = [call() for _ in range(500)]
    async with opened(path) as store:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            position = await put_until_refused(store, batch_of)
            assert await store.position() == position > 0
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await store.put(StoreBatch(calls=batch_of, quarantined=[], reparsed_seqs=[], position=position + 1))
        assert (await store.counts())["calls"] == len(batch_of)
    async with opened(path) as store:
        assert await store.position() == position + 1

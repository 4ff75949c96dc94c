"""A hub that begins with a copy of the store of another one: on PostgreSQL and NATS JetStream."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.store_positions import ABSENCE_MICROSECONDS
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, OnhookError, UsageError
from onhook.ops.event_deletion import report_position, store_name
from onhook.ops.instance_lock import instance_lock, prepare_directory
from onhook.ops.ledger_reading import opened
from onhook.ops.lost_ledger import begin_ledger
from onhook.ops.store_snapshot import MANIFEST_NAME, STORE_NAME, load_store, save_store
from onhook.projector.ledger_check import LedgerMismatch
from onhook.runtime import hub_process
from onhook.runtime.engines import ENGINES
from tests.runtime.test_shared_ledger import LaterClock
from tests.test_projector import entry, event

pytestmark = pytest.mark.slow

DAY_US = 86_400_000_000


@pytest.fixture
async def config(shared_config: Config) -> Config:
    """Return the configuration of the first machine, whose hub has run and has two calls."""
    await begin_ledger(shared_config, ENGINES)
    config = msgspec.structs.replace(shared_config, node="first")
    await append(config, 0, 1)
    async with running_hub(config):
        pass
    return config


@pytest.fixture
def second(config: Config, tmp_path: Path) -> Config:
    second = msgspec.structs.replace(config, node="second", data=tmp_path / "second")
    prepare_directory(second)
    return second


async def append(config: Config, *numbers: int) -> None:
    async with opened(config, ENGINES.open_ledger) as ledger:
        await ledger.append([entry(event(number, "1001")) for number in numbers])


@asynccontextmanager
async def running_hub(config: Config) -> AsyncIterator[list[object]]:
    """Yield the calls of a hub that has caught up and has reported its store; it has the store open."""
    async with AsyncExitStack() as stack:
        resources = await hub_process._open_resources(stack, config, SystemClock())
        await hub_process._create_projector(resources).catch_up()
        now_us = SystemClock().microseconds()
        await report_position(resources.appdb, resources.store, now_us=now_us, name=store_name(config))
        yield list((await resources.store.calls(RecordFilter(), 100)).data)


async def test_hub_that_begins_with_a_copy_reads_what_came_after_it(
    config: Config, second: Config, tmp_path: Path
) -> None:
    """The copy is made while the hub runs; nothing else of the ledger is read."""
    async with running_hub(config):
        manifest = await save_store(config, tmp_path / "copy", ENGINES, SystemClock())
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [STORE_NAME, MANIFEST_NAME]
    await append(config, 2)
    async with opened(config, ENGINES.open_ledger) as ledger:
        await ledger.delete([manifest.position])
    loaded = await load_store(second, tmp_path / "copy", ENGINES, SystemClock())
    assert (loaded.manifest, loaded.lag) == (manifest, 1)
    async with running_hub(second) as calls:
        assert len(calls) == 3
    async with running_hub(config) as first_calls:
        assert first_calls == calls


async def test_raw_events_are_deleted_behind_a_copy_for_a_day(config: Config, second: Config, tmp_path: Path) -> None:
    """Then it is not used any more, and the new store counts by itself."""
    manifest = await save_store(config, tmp_path / "copy", ENGINES, SystemClock())
    await append(config, 2)
    now_us = SystemClock().microseconds()
    async with running_hub(config), ENGINES.open_appdb(config) as appdb:
        positions = appdb.store_positions
        for hours, position in {23: manifest.position, 25: manifest.position + 1}.items():
            assert await positions.slowest(now_us=now_us + hours * DAY_US // 24) == position
        with pytest.raises(UsageError, match="too old"):
            await load_store(second, tmp_path / "copy", ENGINES, LaterClock(2))
        await load_store(second, tmp_path / "copy", ENGINES, SystemClock())
        assert await positions.slowest(now_us=now_us + 6 * DAY_US) == manifest.position
        assert await positions.slowest(now_us=now_us + ABSENCE_MICROSECONDS + DAY_US) is None


def _overwrite(path: Path) -> None:
    content = bytearray((path / STORE_NAME).read_bytes())
    content[len(content) // 2] ^= 1
    (path / STORE_NAME).write_bytes(content)


def _remove_manifest(path: Path) -> None:
    (path / MANIFEST_NAME).unlink()


def _change_manifest(text: bytes, other_text: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        manifest = path / MANIFEST_NAME
        manifest.write_bytes(manifest.read_bytes().replace(text, other_text))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_overwrite, "the copy is damaged"),
        (_remove_manifest, "no complete copy of a store"),
        (_change_manifest(b'"version":1', b'"version":2'), "another version"),
        (_change_manifest(b'"ledger":"', b'"ledger":"other'), "another ledger"),
        (_change_manifest(b'"copy_id":"', b'"copy_id":"other'), "too old"),
    ],
)
async def test_copy_that_is_not_what_it_should_be_is_refused(
    config: Config, second: Config, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    """And nothing is changed."""
    await save_store(config, tmp_path / "copy", ENGINES, SystemClock())
    change(tmp_path / "copy")
    with pytest.raises(UsageError, match=message):
        await load_store(second, tmp_path / "copy", ENGINES, SystemClock())
    assert not [path.name for path in second.data.iterdir() if path.name.startswith("calls")]


async def test_copy_of_a_store_that_was_made_from_other_events_is_not_made(config: Config, tmp_path: Path) -> None:
    """It leaves nothing, and nothing waits for it."""
    other = msgspec.structs.replace(config, ledger=config.ledger.replace("?", "_2?"))
    await ENGINES.create_shared_ledger(other.ledger, 0)
    async with opened(other, ENGINES.open_ledger) as ledger, ENGINES.open_appdb(config) as appdb:
        await appdb.cluster.set_ledger_identity(await ledger.identity())
        with pytest.raises(LedgerMismatch):
            await save_store(other, tmp_path / "copy", ENGINES, SystemClock())
        assert not (tmp_path / "copy").exists()
        assert await appdb._database.rows("SELECT name FROM stores WHERE name LIKE 'copy:%'") == []


async def test_copy_is_not_made_or_used_where_something_is_in_the_way(
    config: Config, second: Config, tmp_path: Path
) -> None:
    (tmp_path / "used").mkdir()
    with pytest.raises(UsageError, match="there already"):
        await save_store(config, tmp_path / "used", ENGINES, SystemClock())
    with pytest.raises(NotFound, match="no store"):
        await save_store(second, tmp_path / "copy", ENGINES, SystemClock())
    without = msgspec.structs.replace(config, ledger="")
    for use in (save_store, load_store):
        with pytest.raises(UsageError, match="names no ledger on NATS"):
            await use(without, tmp_path / "copy", ENGINES, SystemClock())
    await save_store(config, tmp_path / "copy", ENGINES, SystemClock())
    with instance_lock(second), pytest.raises(UsageError, match="already running"):
        await load_store(second, tmp_path / "copy", ENGINES, SystemClock())
    with pytest.raises(UsageError, match="has a store already"):
        await load_store(config, tmp_path / "copy", ENGINES, SystemClock())
    await append(config, 2)
    assert (await load_store(config, tmp_path / "copy", ENGINES, SystemClock(), replace=True)).lag == 1


async def test_copy_of_a_store_that_is_always_written_is_given_up(config: Config, tmp_path: Path) -> None:
    async def copy(source: Path, target: Path) -> bool:
        await ENGINES.copy_store(source, target)
        return False

    engines = msgspec.structs.replace(ENGINES, copy_store=copy)
    with pytest.raises(OnhookError, match="written too fast"):
        await save_store(config, tmp_path / "copy", engines, SystemClock())
    assert not (tmp_path / "copy").exists()

"""A rebuilt store: events that it can parse and the old one could not are sent to destinations."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.ops.rebuild import RESERVE_BYTES, install_rebuilt_store, rebuild
from onhook.runtime.engines import ENGINES
from onhook.store.contract import QuarantineEntry, StoreBatch
from onhook.store.duckdb import list_quarantined_seqs, open_store
from tests.factories import STARTED_AT
from tests.test_projector import entry, event


@pytest.fixture
async def config(tmp_path: Path) -> Config:
    """Return a configuration with four events that an earlier Onhook could not parse; the last one cannot be parsed now
    either.
    """
    config = Config(data=tmp_path)
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([entry(event(number, "Bob<1002>")) for number in (1, 2, 3)])
    await ledger.append([entry(b'{"type":30012,"sn":"3651XXXXXXXX","msg":"{\\"call_id\\":1}"}')])
    await ledger.close()
    store = await open_store(config.store_file)
    unread = [
        QuarantineEntry(seq=seq, sn="SN", via="webhook", received_at=STARTED_AT, reason="odd") for seq in (1, 2, 4)
    ]
    await store.put(StoreBatch(calls=[], quarantined=unread, reparsed_seqs=(), position=4))
    await store.close()
    appdb = AppDb(config.appdb_file)
    await appdb.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=4, now_us=1)
    await appdb.close()
    return config


async def _replays(config: Config) -> list[tuple[int | None, int | None]]:
    appdb = AppDb(config.appdb_file)
    try:
        return [(stream.cursor, stream.until) for stream in (await appdb.destinations.streams(1))[1:]]
    finally:
        await appdb.close()


async def test_rebuild_events_that_parse_now_are_pending(config: Config) -> None:
    """As ranges of neighbours; events that still cannot be parsed are not."""
    assert await rebuild(config, lambda *_: None, ENGINES) == 4
    assert await list_quarantined_seqs(config.store_file) == [4]
    assert await _replays(config) == [(0, 2)]


async def test_rebuild_event_that_is_partly_readable_now_is_pending(config: Config) -> None:
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([entry(b'[{"type":30012,"msg":"{"},' + event(5, "Bob<1002>") + b"]")])
    await ledger.close()
    store = await open_store(config.store_file)
    unread = QuarantineEntry(seq=5, sn="SN", via="webhook", received_at=STARTED_AT, reason="odd")
    await store.put(StoreBatch(calls=[], quarantined=[unread], reparsed_seqs=(), position=5))
    await store.close()
    assert await rebuild(config, lambda *_: None, ENGINES) == 5
    assert await list_quarantined_seqs(config.store_file) == [4, 5]
    assert await list_quarantined_seqs(config.store_file, without_records=True) == [4]
    assert await _replays(config) == [(0, 2), (4, 5)]


async def test_rebuild_crash_before_the_replacement_loses_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replays are held by then, are not held twice, and are released when the new store is installed."""
    replace = Path.replace

    def crash(path: Path, target: Path) -> Path:
        if target == config.store_file:
            raise OSError("the power fails")
        return replace(path, target)

    with monkeypatch.context() as failing:
        failing.setattr(Path, "replace", crash)
        with pytest.raises(Unavailable, match="power"):
            await rebuild(config, lambda *_: None, ENGINES)
    assert await _replays(config) == []
    appdb = AppDb(config.appdb_file)
    await install_rebuilt_store(config, appdb, SystemClock(), ENGINES)
    held = await appdb.destinations.list_held_replays(now_us=SystemClock().microseconds())
    await appdb.destinations.release_replays(held)  # as a hub does
    await appdb.close()
    assert await _replays(config) == [(0, 2)]


async def test_rebuild_without_space_for_both_stores_is_refused_before_it_begins(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is a mock."""
    old_bytes = config.store_file.read_bytes()
    needed = len(old_bytes) + RESERVE_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=needed - 1))
    with pytest.raises(Unavailable, match=r"the disk has 3[0-9] MiB left, and the new store needs 3[0-9] MiB"):
        await rebuild(config, lambda *_: None, ENGINES)
    assert config.store_file.read_bytes() == old_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=needed))
    assert await rebuild(config, lambda *_: None, ENGINES) == 4


async def test_rebuild_damaged_store_is_replaced(config: Config) -> None:
    """Its quarantine is unknown then."""
    config.store_file.write_bytes(b"\xff" * 4096)
    assert await rebuild(config, lambda *_: None, ENGINES) == 4
    assert await list_quarantined_seqs(config.store_file) == [4]
    assert await _replays(config) == []

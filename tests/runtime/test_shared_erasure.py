"""Erasure of a number on PostgreSQL and NATS JetStream, and again after their backups were restored."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from onhook.cdr.erasure_types import Erasure
from onhook.config import Config
from onhook.ledger.jetstream_copy import copy_to_jetstream
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.ops.cluster_move import move_appdb, move_ledger
from onhook.ops.ledger_reading import opened
from onhook.ops.moved_files import MOVED_SUFFIX
from onhook.ops.rebuild import rebuild
from onhook.ops.restored_erasures import RestoredErasures, erase_again
from onhook.runtime.adapters.node import holding_node_name
from onhook.runtime.data_files import open_files
from onhook.runtime.engines import ENGINES
from tests.ledger.jetstream_server import JetStreamServer
from tests.ops.erasure_world import CALLS_OF_NUMBER, DIGITS, NAME, NUMBER, fill, find_bytes, read_calls
from tests.postgresql_server import PostgresqlServer
from tests.runtime.harness import create_server

pytestmark = pytest.mark.slow


@pytest.fixture
async def config(shared_config: Config) -> Config:
    """Return the configuration of an installation that was moved from one machine, with the number everywhere."""
    await fill(msgspec.structs.replace(shared_config, appdb="", ledger=""))
    await move_appdb(shared_config)
    await move_ledger(shared_config, ENGINES, ignore_progress)
    return shared_config


def ignore_progress(_seq: int, _last_seq: int) -> None:
    """Receive the progress of a move or of a rebuild."""


async def back_up(config: Config, postgresql: PostgresqlServer, nats: JetStreamServer, data: Path) -> Config:
    """Return the configuration of an installation that was restored from backups of now."""
    name = config.appdb.rpartition("/")[2]
    postgresql.query(f"CREATE DATABASE {name}_restored TEMPLATE {name}")
    restored = msgspec.structs.replace(
        config,
        data=data,
        appdb=postgresql.database_url(f"{name}_restored"),
        ledger=nats.checked_url(f"{name}_restored"),
    )
    moved_path = config.ledger_file.with_name(config.ledger_file.name + MOVED_SUFFIX)
    await copy_to_jetstream(moved_path, restored.ledger, ignore_progress)
    return restored


async def erase(config: Config) -> list[Erasure]:
    """Erase the number as a hub does; return the erasures."""
    async with open_files(config) as files:
        await files.eraser.erase(NUMBER)
    return await finish(config)


async def finish(config: Config) -> list[Erasure]:
    async with open_files(config) as files:
        await files.eraser.finish()
    await rebuild(config, ignore_progress, ENGINES)
    async with open_files(config) as files:
        return await files.eraser.list_erasures()


async def find_number(config: Config) -> list[str]:
    """Return where the number is."""
    async with ENGINES.open_appdb(config) as appdb:
        places = [search.path for search in await appdb.saved_searches.all()]
        places += [mail.subject for mail in await appdb.mails.latest(9)]
        places += [past.sql for past in await appdb.sql_history.of_author("Eve")]
    async with opened(config, ENGINES.open_ledger) as ledger:
        places += [f"{raw_event.body!r}" for raw_event in await ledger.read(0, 1_000)]
    return [place for place in places if DIGITS.decode() in place or NAME.decode() in place]


async def test_erasure_on_servers_is_finished_and_again_after_their_backups_were_restored(
    config: Config, tmp_path: Path, postgresql_server: PostgresqlServer, nats_server: JetStreamServer
) -> None:
    restored = await back_up(config, postgresql_server, nats_server, tmp_path / "restored")
    assert [erasure.state for erasure in await erase(config)] == ["finished"]
    assert await find_number(config) == []
    assert [path for path in find_bytes(config.data) if not path.endswith(MOVED_SUFFIX)] == []
    assert len(await find_number(restored)) >= CALLS_OF_NUMBER
    lists = [config.data / "erasures.jsonl"]
    for appended in (1, 0):
        result = await erase_again(restored, lists, ENGINES, SystemClock())
        assert result == RestoredErasures(erasures=1, appended=appended, calls=CALLS_OF_NUMBER)
    assert [erasure.state for erasure in await finish(restored)] == ["finished"]
    assert await find_number(restored) == []
    assert find_bytes(restored.data) == []
    async with open_files(config) as files, open_files(restored) as other_files:
        assert await read_calls(other_files) == await read_calls(files)


async def test_erasure_again_of_a_restored_database_alone_erases_its_rows(
    config: Config, tmp_path: Path, postgresql_server: PostgresqlServer, nats_server: JetStreamServer
) -> None:
    """The ledger has the erasure, which it calls finished."""
    restored = await back_up(config, postgresql_server, nats_server, tmp_path / "restored")
    await erase(config)
    both = msgspec.structs.replace(restored, ledger=config.ledger)
    assert len(await find_number(both)) >= 1
    await erase_again(both, [config.data / "erasures.jsonl"], ENGINES, SystemClock())
    assert await find_number(both) == []


async def test_erasure_again_by_the_command_is_audited(
    config: Config, tmp_path: Path, postgresql_server: PostgresqlServer, nats_server: JetStreamServer
) -> None:
    restored = await back_up(config, postgresql_server, nats_server, tmp_path / "restored")
    await erase(config)
    (tmp_path / "onhook.toml").write_text(f'appdb = "{restored.appdb}"\nledger = "{restored.ledger}"\n')
    with create_server(restored.data) as server:
        output = await asyncio.to_thread(
            server.run_command, "cluster", "erase-again", str(config.data / "erasures.jsonl")
        )
    assert output.startswith(f"1 erasure applies to {CALLS_OF_NUMBER} calls")
    async with ENGINES.open_appdb(restored) as appdb:
        entries = [(entry.way, entry.action) for entry in await appdb.audit.latest(20)]
    assert ("cli", f"erase again: erasures: 1, calls: {CALLS_OF_NUMBER}") in entries


async def test_erasure_again_is_refused_beside_a_hub_and_without_servers(config: Config, tmp_path: Path) -> None:
    await erase(config)
    lists = [config.data / "erasures.jsonl"]
    elsewhere = msgspec.structs.replace(config, data=tmp_path / "elsewhere", node="elsewhere")
    elsewhere.data.mkdir()
    async with ENGINES.open_appdb(config) as appdb, holding_node_name(elsewhere, appdb, SystemClock()):
        with pytest.raises(UsageError, match="a hub runs on elsewhere"):
            await erase_again(config, lists, ENGINES, SystemClock())
    with pytest.raises(UsageError, match="there is no list of erasures"):
        await erase_again(config, [tmp_path / "missing"], ENGINES, SystemClock())
    with pytest.raises(UsageError, match="names no PostgreSQL database"):
        await erase_again(msgspec.structs.replace(config, appdb="", ledger=""), lists, ENGINES, SystemClock())

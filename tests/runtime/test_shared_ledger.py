"""A server with the setting `ledger`: its raw events are on NATS JetStream, its application database on PostgreSQL."""

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.ledger.contract import CounterKey
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.ops.backup import create_backup, restore
from onhook.ops.cluster_ledger import check_ledger, check_ledger_setting, sole_use
from onhook.ops.cluster_move import move_ledger, move_ledger_back
from onhook.ops.doctor.host import check_installation
from onhook.ops.event_deletion import report_position, store_name
from onhook.ops.instance_lock import START_SECONDS_MAX, exclusive_intake_lock, instance_lock, prepare_directory
from onhook.ops.ledger_reading import has_events, opened, read_begin, read_counters, read_latest_bodies
from onhook.ops.lost_ledger import begin_ledger
from onhook.runtime import hub_process
from onhook.runtime.data_files import open_files, read_last_seq
from onhook.runtime.engines import ENGINES
from tests.ledger.entries import NOW, SN, entries, entry
from tests.ledger.jetstream_server import PASSWORD as NATS_PASSWORD
from tests.ledger.jetstream_server import QUOTED_PASSWORD, JetStreamServer
from tests.postgresql_server import PASSWORD
from tests.runtime.harness import Server, call_id, call_ids, create_server, wait_until, webhook_body
from tests.test_projector import entry as call_entry
from tests.test_projector import event

pytestmark = pytest.mark.slow


def ignore_progress(_seq: int, _last_seq: int) -> None:
    """Receive the progress of a move."""


def _counts(sn: str, count: int) -> dict[CounterKey, int]:
    return {CounterKey("stored", sn, "30012"): count}


@pytest.fixture
def config(shared_config: Config) -> Config:
    return shared_config


def without_ledger(config: Config) -> Config:
    return msgspec.structs.replace(config, ledger="")


async def fill_file(config: Config) -> None:
    """Append some events to the ledger in the file."""
    async with opened(without_ledger(config), ENGINES.open_ledger) as ledger:
        await ledger.append(entries(1, 10))


def write_settings(config: Config, *names: str) -> None:
    """Write settings where servers and commands read them."""
    lines = [f'{name} = "{getattr(config, name)}"\n' for name in names]
    (config.data.parent / "onhook.toml").write_text("".join(lines))


async def read_actions(config: Config) -> list[str]:
    """Return the latest actions of the audit log."""
    async with ENGINES.open_appdb(config) as appdb:
        return [entry.action for entry in await appdb.audit.latest(10)]


def post_until_stored(server: Server, number: int) -> None:
    """Send an event as a PBX does that is answered 503."""
    wait_until(lambda: server.post(webhook_body(number)) == 200, read_progress=server.read_progress)


def test_serve_on_nats_after_the_move_answers_503_while_the_servers_are_away_and_goes_on(
    config: Config, nats_server: JetStreamServer
) -> None:
    """It also begins without them. What was not acknowledged is sent again, and is there once, also on one machine
    again.
    """
    write_settings(config, "appdb")
    with create_server(config.data) as server:
        server.add_pbx()
        server.start()
        assert server.post(webhook_body(1)) == 200
        server.stop()
        write_settings(config, "appdb", "ledger")
        output = server.run_command("cluster", "move-ledger")
        assert re.match(r"Moved 2 entries up to number 2, and compared each; the file is ledger\.db\.moved now", output)
        assert asyncio.run(read_actions(config))[0] == "move the ledger to NATS"
        server.start()
        assert server.post(webhook_body(2)) == 200
        nats_server.kill()
        try:
            assert server.post(webhook_body(3)) == 503
            server.stop()
            server.start(ready_process="intake")
            assert server.post(webhook_body(4)) == 503
        finally:
            nats_server.start()
        for number in (3, 4, 3, 1):
            post_until_stored(server, number)
        wait_until(lambda: server.address("hub") is not None, START_SECONDS_MAX)
        wait_until(lambda: call_ids(server.calls()) == [call_id(number) for number in (1, 2, 3, 4)])
        assert server.stop() == 0
        assert not config.ledger_file.exists()
        assert re.match(r"Copied \d+ entries up to number", server.run_command("cluster", "move-ledger", "--back"))
        assert asyncio.run(read_actions(config))[0] == "copy the ledger from NATS to a file"
        write_settings(config, "appdb")
        assert call_ids(server.calls()) == [call_id(number) for number in (1, 2, 3, 4)]
        for password in (PASSWORD, NATS_PASSWORD, QUOTED_PASSWORD):
            assert password not in server.log_text()


async def test_move_ledger_that_was_interrupted_is_completed_and_goes_back(config: Config) -> None:
    with pytest.raises(NotFound, match=r"there is no ledger\.db to move"):
        await move_ledger(config, ENGINES, ignore_progress)
    await fill_file(config)
    moved_path = config.ledger_file.with_name("ledger.db.moved")
    now_us = SystemClock().microseconds()
    async with ENGINES.open_appdb(config) as appdb:
        await appdb.store_positions.report("hub", 3, now_us=now_us)
    for _try in range(2):
        assert (await move_ledger(config, ENGINES, ignore_progress)).last_seq == 10
        moved_path.rename(config.ledger_file)
    checks = [check.detail async for check in check_installation(config, SystemClock(), ENGINES)]
    assert any("ledger.db is here and not used" in detail for detail in checks)
    assert any("the ledger on NATS can be read up to entry 10" in detail for detail in checks)
    with pytest.raises(UsageError, match=r"ledger\.db is there already"):
        await move_ledger_back(config, ENGINES, ignore_progress)
    config.ledger_file.unlink()
    async with opened(config, ENGINES.open_ledger) as ledger:
        assert [result.outcome for result in await ledger.append([entry(10), entry(11)])] == ["duplicate", "new"]
    copied, omitted_count = await move_ledger_back(config, ENGINES, ignore_progress)
    assert (copied.entries, copied.last_seq, omitted_count) == (11, 11, 0)
    async with ENGINES.open_appdb(config) as appdb:
        assert await appdb.store_positions.slowest(now_us=now_us) is None
        await check_ledger_setting(without_ledger(config), appdb)
        with pytest.raises(UsageError, match="has no ledger on NATS yet"):
            await check_ledger_setting(config, appdb)


async def test_move_ledger_is_refused_beside_a_server_here_and_a_hub_elsewhere(config: Config) -> None:
    await fill_file(config)
    with instance_lock(config), pytest.raises(UsageError, match="a server is already running"):
        await move_ledger(config, ENGINES, ignore_progress)
    with exclusive_intake_lock(config), pytest.raises(UsageError, match="an intake is already running"):
        await move_ledger(config, ENGINES, ignore_progress)
    async with ENGINES.open_appdb(config) as appdb, sole_use(appdb, SystemClock()):
        with pytest.raises(Unavailable, match="another hub uses this application database"):
            await move_ledger(config, ENGINES, ignore_progress)
    with pytest.raises(UsageError, match="names no ledger on NATS"):
        await move_ledger(without_ledger(config), ENGINES, ignore_progress)
    assert config.ledger_file.exists()


async def test_move_of_a_second_ledger_to_one_database_is_refused(config: Config, tmp_path: Path) -> None:
    await begin_ledger(config, ENGINES)
    other = msgspec.structs.replace(config, data=tmp_path / "other", ledger=config.ledger.replace("?", "_2?"))
    prepare_directory(other)
    await fill_file(other)
    with pytest.raises(UsageError, match="has another ledger on NATS already"):
        await move_ledger(other, ENGINES, ignore_progress)


async def test_ledger_of_a_new_installation_is_begun_once_and_after_what_was_lost(config: Config) -> None:
    config = msgspec.structs.replace(config, data=config.data / "new")
    async with ENGINES.open_appdb(config) as appdb:
        await appdb.destinations.add("CRM", DestinationSpec(url="http://a.example/"), None, after=5, now_us=1)
    assert await begin_ledger(config, ENGINES) == 5
    assert await begin_ledger(config, ENGINES) == 5
    async with opened(config, ENGINES.open_ledger) as ledger:
        assert [result.seq for result in await ledger.append([entry(1)])] == [6]
    with pytest.raises(UsageError, match="the streams have a ledger already"):
        await begin_ledger(config, ENGINES)


async def test_process_whose_settings_name_another_ledger_changes_nothing(config: Config) -> None:
    """Cursors are numbers of the ledger that the database knows."""
    await begin_ledger(config, ENGINES)
    other = msgspec.structs.replace(config, ledger=config.ledger.replace("?", "_OTHER?"))
    await ENGINES.create_shared_ledger(other.ledger, 0)
    async with ENGINES.open_appdb(config) as appdb:
        destination, _secret = await appdb.destinations.add(
            "CRM", DestinationSpec(url="http://a.example/"), None, after=5, now_us=1
        )
        for wrong, message in {
            without_ledger(config): "the setting `ledger` names none",
            other: "names another ledger than that of the application database",
            msgspec.structs.replace(config, ledger=config.ledger.replace("?", "_MISSING?")): "no ledger of this name",
        }.items():
            with pytest.raises(UsageError, match=message):
                async with hub_process.open_hub(wrong, SystemClock()):
                    pass
            with pytest.raises(UsageError, match=message):
                async with open_files(wrong, create=True):
                    pass
        streams = await appdb.destinations.streams(destination.destination_id)
        assert [stream.cursor for stream in streams] == [5]
        async with opened(config, ENGINES.open_ledger) as ledger:
            await check_ledger(config, appdb, ledger)


async def test_backup_and_restore_say_that_they_do_not_have_the_ledger_on_nats(config: Config, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`pg_dump` first, then `nats stream backup`"):
        create_backup(config, tmp_path / "copy", SystemClock())
    with pytest.raises(UsageError, match="a backup with a file of it is not restored beside it"):
        restore(config, tmp_path / "copy", replace=True)


async def test_checks_read_the_ledger_on_nats_as_they_read_a_file(config: Config) -> None:
    await begin_ledger(config, ENGINES)
    open_ledger = ENGINES.open_ledger
    assert not await has_events(config, open_ledger)
    async with opened(config, open_ledger) as ledger:
        await ledger.append([entry(1), entry(2), entry(3, sn="ANOTHER")])
        await ledger.add_counts({**_counts(SN, 2), **_counts("ANOTHER", 1)}, NOW)
    assert await has_events(config, open_ledger)
    assert await read_begin(config, open_ledger) == 0
    assert await read_last_seq(config) == 3
    assert [counter.count for counter in await read_counters(config, open_ledger, [SN.lower()])] == [2]
    assert await read_latest_bodies(config, open_ledger, SN, entry(2).dialect, 1) == [entry(2).body]


class LaterClock(SystemClock):
    """A clock that is ahead by some days."""

    def __init__(self, days: int) -> None:
        self._ahead = timedelta(days=days)

    def microseconds(self) -> int:
        return super().microseconds() + self._ahead // timedelta(microseconds=1)


@pytest.mark.parametrize(("days", "count"), [(6, 2), (8, 1)])
async def test_store_of_a_hub_that_was_away_for_too_long_is_made_anew(config: Config, days: int, count: int) -> None:
    """Others have deleted a call meanwhile, and what says so; for seven days they wait for its store."""
    await begin_ledger(config, ENGINES)
    async with opened(config, ENGINES.open_ledger) as ledger:
        await ledger.append([call_entry(event(number, "1001")) for number in range(2)])
        assert await count_calls(config, SystemClock()) == 2
        await ledger.delete([1])
    assert await count_calls(config, LaterClock(days)) == count


async def count_calls(config: Config, clock: SystemClock) -> int:
    """Run a hub until it has caught up and has reported its store; return how many calls it has."""
    async with AsyncExitStack() as stack:
        resources = await hub_process._open_resources(stack, config, clock)
        await hub_process._create_projector(resources).catch_up()
        name, now_us = store_name(config), clock.microseconds()
        await report_position(resources.appdb, resources.store, now_us=now_us, name=name)
        return len((await resources.store.calls(RecordFilter(), 10)).data)

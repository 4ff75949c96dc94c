"""The only server of a data directory: its description, how it ended, and files of an older version."""

import asyncio
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from onhook.config import Address, Config
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError
from onhook.ops.doctor.host import check_installation
from onhook.ops.instance_lock import (
    SERIES_ENDS_MAX,
    SERIES_SECONDS_MAX,
    START_SECONDS_MAX,
    ProcessInfo,
    ServerInfo,
    add_end,
    instance_lock,
    prepare_directory,
    rename_old_files,
    start_server_info,
    wait_until_removed,
    write_server_info,
)
from onhook.runtime.data_files import open_files
from onhook.runtime.engines import ENGINES

ARCHIVE = Path(__file__).parents[1] / "data_directories" / "fac98bd.tar.xz"
NAMES = {"exchange.crt": "pbx_api.crt", "exchange.key": "pbx_api.key"}


def file_contents(config: Config) -> dict[str, bytes]:
    names = (*NAMES, *NAMES.values())
    return {name: (config.data / name).read_bytes() for name in names if (config.data / name).exists()}


@pytest.fixture
def old_config(tmp_path: Path) -> Config:
    """Return the configuration of a data directory of an older version."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Config(data=tmp_path / "onhook-data")


async def test_open_files_old_directory_renames_the_certificate(old_config: Config) -> None:
    old_contents = file_contents(old_config)
    assert set(old_contents) == set(NAMES)
    mode = (old_config.data / "exchange.key").stat().st_mode
    old_config.store_file.unlink()
    async with open_files(old_config):
        pass
    assert file_contents(old_config) == {NAMES[name]: content for name, content in old_contents.items()}
    assert old_config.pbx_api_key_file.stat().st_mode == mode


def test_prepare_directory_old_directory_renames_the_certificate(old_config: Config) -> None:
    prepare_directory(old_config)
    assert set(file_contents(old_config)) == set(NAMES.values())


def test_prepare_directory_that_others_can_read_is_for_its_owner_alone(tmp_path: Path) -> None:
    """As one that a package or a person has made before; a directory above it stays as it is."""
    tmp_path.chmod(0o755)
    config = Config(data=tmp_path / "data")
    config.data.mkdir()
    config.data.chmod(0o755)
    prepare_directory(config)
    assert [path.stat().st_mode & 0o777 for path in (config.data, tmp_path)] == [0o700, 0o755]


async def test_check_installation_old_directory_renames_the_certificate(old_config: Config) -> None:
    assert [check.status async for check in check_installation(old_config, SystemClock(), ENGINES)]
    assert set(file_contents(old_config)) == set(NAMES.values())


def test_rename_old_files_cut_short_is_finished_the_next_time(old_config: Config) -> None:
    contents = file_contents(old_config)
    (old_config.data / "exchange.key").rename(old_config.data / "pbx_api.key")
    rename_old_files(old_config)
    rename_old_files(old_config)
    assert file_contents(old_config) == {NAMES[name]: content for name, content in contents.items()}


def test_rename_old_files_new_file_is_never_replaced(old_config: Config) -> None:
    (old_config.data / "pbx_api.crt").write_bytes(b"new")
    rename_old_files(old_config)
    assert file_contents(old_config)["pbx_api.crt"] == b"new"


def test_rename_old_files_file_named_by_a_setting_stays(old_config: Config) -> None:
    certificate, key = old_config.data / "exchange.crt", old_config.data / "exchange.key"
    config = Config(data=old_config.data, pbx_api_certificate=str(certificate), pbx_api_key=str(key))
    rename_old_files(config)
    assert set(file_contents(old_config)) == set(NAMES)


class MovedClock(SystemClock):
    """The time of this machine, moved by a test."""

    offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


async def _statuses(config: Config, clock: Clock, text: str) -> list[tuple[str, str]]:
    """Return status and sentence of the checks with this text."""
    checks = [check async for check in check_installation(config, clock, ENGINES)]
    return [(check.status, check.detail) for check in checks if text in check.detail]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    anywhere = Address("127.0.0.1", 0)
    return Config(data=tmp_path, intake=anywhere, console=anywhere, pbx_api=anywhere)


async def test_instance_lock_starting_server_is_no_error_while_it_may_start(config: Config) -> None:
    """Of the server before it, which was killed, nothing is shown."""
    clock = MovedClock()
    write_server_info(
        config.running_file, ServerInfo(pid=1, hub=ProcessInfo(pid=2, address="127.0.0.1:1"), has_run=True)
    )
    with instance_lock(config):
        server = start_server_info(config, clock)
        assert (await _statuses(config, clock, "the hub")) == [("OK", "the hub is starting")]
        clock.offset = timedelta(seconds=START_SECONDS_MAX + 1)
        assert (await _statuses(config, clock, "the hub")) == [("ERROR", "the hub is not running")]
        running = msgspec.structs.replace(server, hub=ProcessInfo(pid=7, address="127.0.0.1:1"))
        write_server_info(config.running_file, running)
        assert (await _statuses(config, clock, "the hub"))[0][0] == "OK"


@pytest.mark.parametrize(
    ("end_ages", "status", "text"),
    [
        ([1], "WARNING", "the hub has ended and is being started again"),
        ([20, 10], "WARNING", "the hub has ended and is being started again"),
        ([3_000, 2_000, 1], "WARNING", "the hub has ended and is being started again"),
        ([30, 20, 10], "ERROR", "the hub has ended 3 times in short time"),
        ([START_SECONDS_MAX + 1], "ERROR", "the hub is not running"),
    ],
)
async def test_instance_lock_process_that_ended_by_itself_is_not_starting(
    config: Config, end_ages: Sequence[float], status: str, text: str
) -> None:
    """However short ago the server was started."""
    clock = MovedClock()
    ends = None
    for age in end_ages:
        ends = add_end(ends, clock.now() - timedelta(seconds=age), is_requested=False)
    assert ends is not None
    with instance_lock(config):
        server = start_server_info(config, clock) if end_ages[-1] < START_SECONDS_MAX else ServerInfo(pid=1)
        write_server_info(config.running_file, msgspec.structs.replace(server, ends={"hub": ends}))
        assert (await _statuses(config, clock, "the hub")) == [(status, text)]


async def test_instance_lock_process_that_runs_between_its_ends_is_an_error(config: Config) -> None:
    """Until it has run for longer; a process that was restarted on request is in order."""
    clock = MovedClock()
    ends = None
    for _number in range(SERIES_ENDS_MAX):
        ends = add_end(ends, clock.now(), is_requested=False)
    assert ends is not None
    with instance_lock(config):
        hub = ProcessInfo(pid=7, address="127.0.0.1:1")
        server = ServerInfo(pid=1, hub=hub, ends={"hub": ends})
        write_server_info(config.running_file, server)
        assert [status for status, _ in await _statuses(config, clock, "the hub")] == ["ERROR"]
        clock.offset = timedelta(seconds=SERIES_SECONDS_MAX + 1)
        assert [status for status, _ in await _statuses(config, clock, "the hub")] == ["OK"]
        requested = {"hub": add_end(ends, clock.now(), is_requested=True)}
        write_server_info(config.running_file, msgspec.structs.replace(server, hub=None, ends=requested))
        assert (await _statuses(config, clock, "the hub")) == [("OK", "the hub is being restarted")]


@pytest.mark.parametrize(
    ("has_run", "error", "status"),
    [
        (True, None, "WARNING"),
        (True, OnhookError("a file was removed"), "ERROR"),
        (False, OnhookError("a port is in use"), "WARNING"),
    ],
)
async def test_instance_lock_server_that_ended_by_itself_is_an_error(
    config: Config, has_run: bool, error: OnhookError | None, status: str
) -> None:
    """One that was stopped, or never ran, is not."""
    with suppress(OnhookError), instance_lock(config):
        server = start_server_info(config, SystemClock())
        write_server_info(config.running_file, msgspec.structs.replace(server, has_run=has_run))
        if error is not None:
            raise error
    ended = await _statuses(config, SystemClock(), "has ended without being stopped")
    stopped = await _statuses(config, SystemClock(), "no server is running")
    assert [check_status for check_status, _ in ended + stopped] == [status]


async def test_instance_lock_failed_start_after_a_crash_stays_an_error(config: Config) -> None:
    write_server_info(config.running_file, ServerInfo(pid=1, has_run=True))
    with suppress(OnhookError), instance_lock(config):
        start_server_info(config, SystemClock())
        raise OnhookError("a port is in use")
    assert len(await _statuses(config, SystemClock(), "has ended without being stopped")) == 1


@pytest.mark.parametrize("name", ["onhook.db", "ledger.db"])
async def test_wait_until_removed_names_the_file(config: Config, name: str) -> None:
    for path in (config.ledger_file, config.appdb_file, config.data / "serve.lock"):
        path.touch()
    task = asyncio.create_task(wait_until_removed(config))
    await asyncio.sleep(0)
    (config.data / name).unlink()
    assert (await asyncio.wait_for(task, 10)).name == name

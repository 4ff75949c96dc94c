"""What a machine has of its own among several, and what it has from them."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable, UsageError
from onhook.pbx_api.certificate import read_fingerprint
from onhook.runtime.adapters.node import ensure_admin_token, holding_node_name, prepare_certificate, read_node_id

CLOCK = SystemClock()


class SharedConfig(Config, frozen=True):
    """A configuration whose application database is shared, although it is a file."""

    @property
    def node_name(self) -> str:
        return self.node


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb


def machine(folder: Path, name: str, node: str) -> SharedConfig:
    """Return the configuration of a data directory."""
    (folder / name).mkdir()
    return SharedConfig(data=folder / name, node=node)


async def test_certificate_of_the_pbx_api_is_that_of_the_first_machine(appdb: AppDb, tmp_path: Path) -> None:
    """Also where the other one had one of its own, and again where its files were lost."""
    first, second = machine(tmp_path, "first", "a"), machine(tmp_path, "second", "b")
    await prepare_certificate(msgspec.structs.replace(second, node=""), appdb, CLOCK)
    before = read_fingerprint(second.pbx_api_certificate_file)
    for config in (first, second):
        await prepare_certificate(config, appdb, CLOCK)
    fingerprints = [read_fingerprint(config.pbx_api_certificate_file) for config in (first, second)]
    assert fingerprints[0] == fingerprints[1] != before
    assert first.pbx_api_key_file.read_bytes() == second.pbx_api_key_file.read_bytes()
    assert second.pbx_api_key_file.stat().st_mode & 0o777 == 0o600
    second.pbx_api_key_file.unlink()
    await prepare_certificate(second, appdb, CLOCK)
    assert first.pbx_api_key_file.read_bytes() == second.pbx_api_key_file.read_bytes()


async def test_certificate_of_one_machine_is_in_no_database(appdb: AppDb, tmp_path: Path) -> None:
    config = machine(tmp_path, "only", "")
    await prepare_certificate(config, appdb, CLOCK)
    assert config.pbx_api_key_file.exists()
    assert await appdb.cluster.certificate("pbx_api") is None


async def test_name_of_a_machine_is_that_of_one_data_directory(appdb: AppDb, tmp_path: Path) -> None:
    """After a death it has its name again at once."""
    first, second = machine(tmp_path, "first", "a"), machine(tmp_path, "second", "a")
    assert read_node_id(first) == read_node_id(first) != read_node_id(second)
    token = await ensure_admin_token(first, appdb, CLOCK)
    async with holding_node_name(first, appdb, CLOCK):
        with pytest.raises(UsageError, match="another hub runs under the name a"):
            async with holding_node_name(second, appdb, CLOCK):
                pass
        with pytest.raises(UsageError, match="another hub runs under the name a"):
            await ensure_admin_token(second, appdb, CLOCK)
        async with holding_node_name(first, appdb, CLOCK):
            pass
    assert await ensure_admin_token(first, appdb, CLOCK) == token
    assert await appdb.tokens.is_admin(token, now_us=CLOCK.microseconds())


async def test_name_of_a_machine_whose_file_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    config = machine(tmp_path, "first", "a")
    config.node_file.mkdir()
    with pytest.raises(Unavailable, match=r"cannot read node\.id"):
        read_node_id(config)

"""What the intake does where the settings or the ledger are lost or damaged."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.runtime.adapters.ingest import open_ingestor
from onhook.runtime.data_files import open_files
from onhook.runtime.hub_process import open_hub
from onhook.runtime.intake_process import open_intake
from tests.test_projector import SN, entry, event

SECRET = "first-secret"
PAGE_BYTES = 4096


@pytest.mark.parametrize("is_registered", [True, False])
async def test_intake_settings_are_lost_only_where_no_pbx_is_registered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_registered: bool
) -> None:
    """A PBX whose row a page cannot show, as after a downgrade, is accepted."""
    config = Config(data=tmp_path, intake=Address("127.0.0.1", 0))
    async with AppDb(config.appdb_file) as appdb:
        if is_registered:
            await appdb.add_pbx(name="Office", sn=SN, secret=SECRET, now_us=1)
    with closing(sqlite3.connect(config.appdb_file, isolation_level=None)) as connection:
        connection.execute("UPDATE pbxs SET number_plan = '{'")
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([entry(event(0, "1001"))])
    await ledger.close()
    with caplog.at_level(logging.ERROR):
        async with open_intake(config, SystemClock()):
            pass
    assert ("settings are lost" in caplog.text) is not is_registered


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda content: b"x" * len(content),
    "header overwritten": lambda content: b"x" * PAGE_BYTES + content[PAGE_BYTES:],
    "truncated": lambda content: content[: 2 * PAGE_BYTES],
    "pages overwritten": lambda content: content[:PAGE_BYTES] + b"x" * (len(content) - PAGE_BYTES),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_intake_with_a_damaged_database_answers_503_until_it_is_repaired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    """Nothing is acknowledged that cannot be verified, and no restart is needed afterwards."""
    config = Config(data=tmp_path, intake=Address("127.0.0.1", 0))
    caplog.set_level(logging.INFO)
    content = await create_appdb(config.appdb_file)
    config.appdb_file.write_bytes(damage(content))
    async with open_intake(config, SystemClock()) as service, aiohttp.ClientSession() as client:
        assert [await post(client, service.address, number) for number in range(3)] == [503] * 3
        assert (await client.get(f"http://{service.address}/healthz")).status == 503
        config.appdb_file.write_bytes(content)
        async with asyncio.timeout(30):
            while await post(client, service.address, 3) != 200:  # noqa: ASYNC110 - requested over the network
                await asyncio.sleep(0.05)
        assert (await client.get(f"http://{service.address}/healthz")).status == 200
    messages = [record.message for record in caplog.records if record.name == "appdb"]
    assert messages == [
        "cannot read the application database: answering 503 until it can be read",
        "the application database can be read again",
    ]


async def test_intake_whose_database_is_damaged_meanwhile_goes_on(tmp_path: Path) -> None:
    """With the PBXs that it knows."""
    config = Config(data=tmp_path, intake=Address("127.0.0.1", 0))
    content = await create_appdb(config.appdb_file)
    async with open_intake(config, SystemClock()) as service, aiohttp.ClientSession() as client:
        assert await post(client, service.address, 0) == 200
        for damage in DAMAGES.values():
            config.appdb_file.write_bytes(damage(content))
            assert await post(client, service.address, 1) == 200
        assert await post(client, service.address, 2, secret="wrong") == 401


async def test_intake_with_a_database_of_a_newer_version_does_not_start(tmp_path: Path) -> None:
    config = Config(data=tmp_path, intake=Address("127.0.0.1", 0))
    await create_appdb(config.appdb_file)
    with closing(sqlite3.connect(config.appdb_file, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 9999")
    with pytest.raises(OnhookError, match="newer"):
        async with open_intake(config, SystemClock()):
            pass


@pytest.mark.parametrize("is_missing", [True, False])
async def test_lost_ledger_is_not_begun_anew(tmp_path: Path, *, is_missing: bool) -> None:
    """Its numbers would begin below those that the store and the destinations are past."""
    config = Config(data=tmp_path, intake=Address("127.0.0.1", 0), console=Address("127.0.0.1", 0))
    await create_appdb(config.appdb_file)
    config.store_file.write_bytes(b"store")
    if not is_missing:
        config.ledger_file.touch()
    for opening in (
        open_intake(config, SystemClock()),
        open_hub(config, SystemClock()),
        open_files(config, create=True),
        open_ingestor(config),
    ):
        with pytest.raises(UsageError, match=r"ledger is missing or empty.*onhook restore"):
            async with opening:
                pass
    assert config.ledger_file.exists() is not is_missing
    assert is_missing or config.ledger_file.stat().st_size == 0
    assert config.store_file.read_bytes() == b"store"


async def test_intake_whose_ledger_is_emptied_meanwhile_answers_503(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(data=tmp_path, intake=Address("127.0.0.1", 0))
    await create_appdb(config.appdb_file)
    async with open_intake(config, SystemClock()) as service, aiohttp.ClientSession() as client:
        assert await post(client, service.address, 0) == 200
        size = config.ledger_file.stat().st_size
        os.truncate(config.ledger_file, 0)
        assert [await post(client, service.address, number) for number in range(1, 4)] == [503] * 3
        os.truncate(config.ledger_file, size)
        assert await post(client, service.address, 4) == 503
        assert (await client.get(f"http://{service.address}/healthz")).status == 503
    assert "cannot write to the ledger: answering 503" in caplog.text


async def create_appdb(path: Path) -> bytes:
    """Create an application database with a PBX; return its content."""
    async with AppDb(path) as appdb:
        await appdb.add_pbx(name="Office", sn=SN, secret=SECRET, now_us=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


async def post(client: aiohttp.ClientSession, address: str, number: int, secret: str = SECRET) -> int:
    """Post an event; return the status."""
    body = event(number, "1001")
    async with client.post(f"http://{address}/", data=body, headers={SIGNATURE_HEADER: sign(secret, body)}) as response:
        return response.status

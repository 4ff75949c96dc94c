"""PBX registry of the receiver."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import WebhookCredentials
from onhook.appdb.source_match import SourceMatch
from onhook.lib.errors import Unavailable
from onhook.runtime.adapters.credentials_file import CredentialsFile
from onhook.runtime.adapters.registry import AppDbPbxRegistry
from tests.waiting import polls, wait_until

SN = "3631A2124ABC"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onhook.db"


@pytest.fixture
async def theirs(path: Path) -> AsyncIterator[AppDb]:
    """Yield the database as another process has it, with a PBX."""
    async with AppDb(path) as appdb:
        await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
        yield appdb


@asynccontextmanager
async def open_registry(path: Path) -> AsyncIterator[AppDbPbxRegistry]:
    async with AppDb(path) as appdb:
        registry = AppDbPbxRegistry(appdb)
        await registry.load()
        yield registry


@asynccontextmanager
async def open_following_registry(path: Path) -> AsyncIterator[AppDbPbxRegistry]:
    async with open_registry(path) as registry:
        follower = asyncio.create_task(registry.follow())
        yield registry
        follower.cancel()
        await asyncio.wait([follower])


def secrets(registry: AppDbPbxRegistry) -> list[tuple[str, ...]]:
    return [pbx.secrets for pbx in registry.list_all()]


async def test_registry_change_by_another_process_has_effect_with_a_refresh(path: Path, theirs: AppDb) -> None:
    async with open_registry(path) as registry:
        await theirs.add_secret("Office", "second-secret", now_us=2)
        await registry.refresh()
        assert secrets(registry) == [("second-secret", "first-secret")]
        await theirs.remove_pbx("Office")
        await registry.refresh()
        assert registry.is_empty()
        assert registry.find_by_sn(SN) is None


async def test_registry_following_sees_a_removed_secret(path: Path, theirs: AppDb) -> None:
    second = await theirs.add_secret("Office", "second-secret", now_us=2)
    async with open_following_registry(path) as registry:
        await theirs.remove_secret("Office", second.secret_id)
        await wait_until(secrets(registry) == [("first-secret",)] async for _ in polls())


async def test_registry_following_reads_again_after_a_failed_read(
    path: Path, theirs: AppDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although nothing changes any more."""
    errors, read = [Unavailable("the disk is busy")], AppDb.webhook_credentials

    async def fail_once(appdb: AppDb) -> list[WebhookCredentials]:
        if errors:
            raise errors.pop()
        return await read(appdb)

    async with open_following_registry(path) as registry:
        monkeypatch.setattr(AppDb, "webhook_credentials", fail_once)
        await theirs.add_secret("Office", "second-secret", now_us=2)
        await wait_until(secrets(registry) == [("second-secret", "first-secret")] async for _ in polls())
    assert errors == []


@pytest.mark.usefixtures("theirs")
async def test_registry_refreshes_at_the_same_time_share_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is in progress may have read before a change: those that come meanwhile share the next one."""
    read_count, read = 0, AppDb.version

    async def count_and_read(appdb: AppDb) -> int:
        nonlocal read_count
        read_count += 1
        return await read(appdb)

    monkeypatch.setattr(AppDb, "version", count_and_read)
    async with open_registry(path) as registry:
        read_count = 0
        await asyncio.gather(*(registry.refresh() for _ in range(50)))
    assert read_count <= 2


async def test_registry_locked_database_is_read(path: Path, theirs: AppDb) -> None:
    """A writer of another process delays no reader."""
    await theirs.close()
    async with open_registry(path) as registry:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            await registry.refresh()
            assert secrets(registry) == [("first-secret",)]


async def test_registry_unreadable_database_rejects_no_call(
    path: Path, theirs: AppDb, caplog: pytest.LogCaptureFixture
) -> None:
    """The last known registry is used, and the error is logged once."""
    async with open_registry(path) as registry:
        await theirs.add_secret("Office", "second-secret", now_us=2)
        with path.open("r+b") as damaged:
            damaged.write(b"\0" * 4096)
        path.with_name("onhook.db-wal").write_bytes(b"")
        await registry.refresh()
        await registry.refresh()
        assert registry.find_by_sn(SN) is not None
    assert [line.message for line in caplog.records] == [
        "cannot read the application database: using the last known PBXs"
    ]


async def test_registry_unreadable_number_plan_accepts_its_calls(path: Path, theirs: AppDb) -> None:
    """The number plan matters for assembling calls, which can be repeated; a rejected call is lost."""
    await theirs.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE pbxs SET number_plan = '{'")
    async with open_registry(path) as registry:
        assert registry.find_by_sn(SN) is not None


async def test_registry_unreadable_source_disables_that_source_alone(path: Path, theirs: AppDb) -> None:
    await theirs.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO pbxs VALUES ('B', 'Branch', 'newcdr', NULL, 0, '{}', 1, 1)")
        connection.execute("INSERT INTO source_matches VALUES ('B', 'nowhere', '')")
    async with open_registry(path) as registry:
        assert registry.find_by_sn(SN) is not None
        assert registry.find_by_source("/", "192.0.2.1") is None


def damage(path: Path) -> None:
    """Make the database unreadable."""
    path.write_bytes(b"\0" * 8192)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@asynccontextmanager
async def open_registry_with_file(path: Path) -> AsyncIterator[AppDbPbxRegistry]:
    appdb = AppDb(path)  # opened by its first call
    registry = AppDbPbxRegistry(appdb, CredentialsFile(path.with_name("intake-pbxs.json")))
    await registry.load()
    yield registry
    await appdb.close()


async def test_registry_starts_without_the_database_by_its_file(path: Path, theirs: AppDb) -> None:
    """With the PBXs as they were last read; the file is readable for its owner alone."""
    source = SourceMatch(addresses=("203.0.113.0/24",))
    await theirs.add_pbx(name="Branch", sn="BRANCH", secret=None, dialect="newcdr", source_match=source, now_us=1)
    async with open_registry_with_file(path) as registry:
        pbxs = registry.list_all()
    await theirs.close()
    file = path.with_name("intake-pbxs.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    damage(path)
    async with open_registry_with_file(path) as registry:
        assert registry.is_loaded()
        assert registry.list_all() == pbxs
        assert registry.find_by_sn(SN.lower()) == pbxs[0]


async def test_registry_file_follows_the_database(path: Path, theirs: AppDb) -> None:
    """A secret that was removed is in it no longer."""
    async with open_registry_with_file(path) as registry:
        await theirs.add_secret("Office", "second-secret", now_us=2)
        await registry.refresh()
        await theirs.remove_secret("Office", 1)
        await registry.refresh()
    await theirs.close()
    damage(path)
    async with open_registry_with_file(path) as registry:
        assert secrets(registry) == [("second-secret",)]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"version":2,"pbxs":[]}', b'{"version":1,"pbxs":[{}]}'])
async def test_registry_damaged_file_counts_as_missing(path: Path, content: bytes) -> None:
    path.with_name("intake-pbxs.json").write_bytes(content)
    damage(path)
    async with open_registry_with_file(path) as registry:
        assert not registry.is_loaded()


async def test_registry_goes_on_where_its_file_cannot_be_written(path: Path, theirs: AppDb) -> None:
    await theirs.close()
    path.with_name("intake-pbxs.json.part").mkdir()
    async with open_registry_with_file(path) as registry:
        assert registry.find_by_sn(SN) is not None

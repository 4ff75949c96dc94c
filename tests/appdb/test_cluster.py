"""What all machines of an installation have in common."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.cluster import SharedCertificate
from onhook.appdb.swept_folders import SweptFolder

pytestmark = pytest.mark.usefixtures("each_engine")

FIRST = SharedCertificate(certificate="CERTIFICATE", private_key="first key")
SECOND = SharedCertificate(certificate="ANOTHER", private_key="second key")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb


async def test_ledger_identity_is_replaced_and_removed(appdb: AppDb) -> None:
    assert await appdb.cluster.ledger_identity() == ""
    for identity in ("first", "second", ""):
        await appdb.cluster.set_ledger_identity(identity)
        assert await appdb.cluster.ledger_identity() == identity


async def test_certificate_is_that_of_the_first_machine(appdb: AppDb) -> None:
    assert await appdb.cluster.certificate("pbx_api") is None
    assert await appdb.cluster.add_certificate("pbx_api", FIRST) == FIRST
    assert await appdb.cluster.add_certificate("pbx_api", SECOND) == FIRST
    assert await appdb.cluster.certificate("pbx_api") == FIRST
    assert "first key" in await appdb.secret_texts()


async def test_files_are_on_the_machine_that_named_them(appdb: AppDb, tmp_path: Path) -> None:
    """A source that is a database can be read from each; what stays the same is where it was."""
    await appdb.add_pbx(name="Office", sn="1", secret="0123456789abcdef", now_us=1)
    await appdb.add_pbx(name="Lab", sn="2", secret="0123456789abcdef", now_us=1)
    path = tmp_path / "onhook.db"
    async with AppDb(path, "a") as first, AppDb(path, "b") as second:
        await first.recordings.put("1", Path("/recordings"))
        await first.cdr_sources.put("1", CdrSource(location="/Master.csv"))
        await first.cdr_sources.put("2", CdrSource(location="mysql://me@db:3306/cdr"))
        await first.swept_folders.put("1", SweptFolder(path="/CDRLogs"))
        await second.cdr_sources.put("1", CdrSource(location="/Master.csv", columns=("src",)))
        await second.swept_folders.put("1", SweptFolder(path="/CDRLogs", target="/stored"))
        assert [await machine.recordings.get("1") for machine in (first, second, appdb)] == [
            *(Path("/recordings"), None, Path("/recordings")),
        ]
        assert [list(await machine.cdr_sources.all_here()) for machine in (first, second, appdb)] == [
            *(["1", "2"], ["2"], ["1", "2"]),
        ]
        assert [list(await machine.swept_folders.all_here()) for machine in (first, second, appdb)] == [
            *(["1"], [], ["1"]),
        ]
        assert list(await second.cdr_sources.all()) == ["1", "2"]
        await second.recordings.put("1", Path("/recordings"))
        await second.cdr_sources.put("1", CdrSource(location="/Other.csv"))
        assert [await machine.recordings.get("1") for machine in (first, second)] == [None, Path("/recordings")]
        assert list(await second.cdr_sources.all_here()) == ["1", "2"]

"""Samples of the disks of machines."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.disk_samples import DiskSample
from onhook.appdb.sqlite_file import APPLICATION_ID
from tests.migrations import create_old_file, insert_row

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as opened_appdb:
        yield opened_appdb


def microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)


async def test_disk_samples_are_hourly_and_of_one_week(appdb: AppDb) -> None:
    for minutes in range(0, 9 * 24 * 60, 20):
        await appdb.disk_samples.add(minutes, now_us=microseconds(NOW + timedelta(minutes=minutes)))
    samples = await appdb.disk_samples.all()
    intervals = {later.measured_at - earlier.measured_at for earlier, later in pairwise(samples)}
    assert intervals == {timedelta(hours=1)}
    assert samples[-1].measured_at - samples[0].measured_at == timedelta(days=7)
    assert samples[-1].free_bytes == 9 * 24 * 60 - 60


async def test_disk_samples_of_a_clock_that_was_ahead_are_deleted(appdb: AppDb) -> None:
    for time in (NOW + timedelta(days=900), NOW):
        await appdb.disk_samples.add(5, now_us=microseconds(time))
    assert await appdb.disk_samples.all() == [DiskSample(NOW, 5)]


async def test_disk_samples_of_machines_are_apart(appdb: AppDb) -> None:
    """At the same time too, and where the clock of one is ahead; the old ones of a machine that is gone are deleted."""
    later = NOW + timedelta(hours=2)
    await appdb.disk_samples.add(9, node="gone", now_us=microseconds(NOW - timedelta(days=7, hours=1)))
    await appdb.disk_samples.add(2, node="second", now_us=microseconds(later))
    for node, free_bytes in (("first", 1), ("second", 3), ("first", 4)):
        await appdb.disk_samples.add(free_bytes, node=node, now_us=microseconds(NOW))
    assert await appdb.disk_samples.all("first") == [DiskSample(NOW, 1)]
    assert await appdb.disk_samples.all("second") == [DiskSample(NOW, 3)]
    assert await appdb.disk_samples.all("gone") == await appdb.disk_samples.all() == []


@pytest.mark.usefixtures("sqlite_file")
async def test_disk_samples_of_one_machine_are_kept_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    create_old_file(path, "onhook.appdb", 62, APPLICATION_ID, {}, engine="sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        insert_row(connection, "disk_samples", {"measured_at": microseconds(NOW), "free_bytes": 5})
    async with AppDb(path) as appdb:
        assert await appdb.disk_samples.all() == [DiskSample(NOW, 5)]

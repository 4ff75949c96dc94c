"""How long the disk lasts, by the rate at which it fills."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.disk_samples import DiskSample
from onhook.ops.doctor.disk import check_disk, check_disk_rate, estimate_remaining_period

GIBIBYTE = 1024**3
NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
WEEK_AGO = NOW - timedelta(days=7)


@pytest.mark.parametrize(
    ("samples", "free", "days"),
    [
        ([DiskSample(WEEK_AGO, 80 * GIBIBYTE)], 40 * GIBIBYTE, 7),
        ([DiskSample(WEEK_AGO, 60 * GIBIBYTE), DiskSample(NOW, 41 * GIBIBYTE)], 40 * GIBIBYTE, 14),
        ([DiskSample(NOW - timedelta(days=1), 11 * GIBIBYTE)], 10 * GIBIBYTE, 10),
        ([DiskSample(NOW - timedelta(hours=23), 90 * GIBIBYTE)], 10 * GIBIBYTE, None),
        ([DiskSample(WEEK_AGO, 10 * GIBIBYTE)], 40 * GIBIBYTE, None),
        ([DiskSample(WEEK_AGO, 40 * GIBIBYTE)], 40 * GIBIBYTE, None),
        ([DiskSample(WEEK_AGO, 40 * GIBIBYTE + 1)], 40 * GIBIBYTE, None),
        ([DiskSample(WEEK_AGO, 40 * GIBIBYTE)], 0, 0),
        ([], 10 * GIBIBYTE, None),
        # Space was freed three days ago: it is the rate since then.
        (
            [
                *(DiskSample(WEEK_AGO + timedelta(days=day), (40 - 10 * day) * GIBIBYTE) for day in range(4)),
                *(DiskSample(WEEK_AGO + timedelta(days=day), (100 - 10 * day) * GIBIBYTE) for day in range(4, 8)),
            ],
            30 * GIBIBYTE,
            3,
        ),
        # It was freed this morning: nothing is known about the rate since then.
        ([DiskSample(WEEK_AGO, 4 * GIBIBYTE), DiskSample(NOW - timedelta(hours=3), 6 * GIBIBYTE)], 5 * GIBIBYTE, None),
    ],
)
def test_remaining_period_is_that_at_the_rate_of_the_samples(
    samples: Sequence[DiskSample], free: int, days: int | None
) -> None:
    """None: it does not fill, or lasts for longer than anybody plans, or was not measured for a day."""
    assert estimate_remaining_period(free, samples, NOW) == (None if days is None else timedelta(days=days))


@pytest.mark.parametrize(
    ("days", "sentence"),
    [(0.5, "full in less than a day"), (3.5, "full in less than 4 days"), (6.9, "full in less than 7 days"), (7.1, "")],
)
def test_check_disk_rate_warns_a_week_before(tmp_path: Path, days: float, sentence: str) -> None:
    free = shutil.disk_usage(tmp_path).free
    samples = [DiskSample(WEEK_AGO, free + round(free * 7 / days))]
    checks = list(check_disk_rate(tmp_path, samples, NOW))
    assert [check.status for check in checks] == (["WARNING"] if sentence else [])
    assert all(sentence in check.detail and "keep_days" in check.hint for check in checks)


@pytest.mark.parametrize(
    ("free", "status"), [(GIBIBYTE - 1, "ERROR"), (9 * GIBIBYTE, "WARNING"), (11 * GIBIBYTE, "OK")]
)
def test_check_disk_warns_at_nine_tenths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    """The disk is a mock."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: (100 * GIBIBYTE, 100 * GIBIBYTE - free, free))
    assert check_disk(tmp_path).status == status


async def test_disk_samples_are_hourly_and_of_one_week(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for minutes in range(0, 9 * 24 * 60, 20):
            time = NOW + timedelta(minutes=minutes)
            await appdb.disk_samples.add(minutes, now_us=round(time.timestamp() * 1_000_000))
        samples = await appdb.disk_samples.all()
        intervals = {later.measured_at - earlier.measured_at for earlier, later in pairwise(samples)}
        assert intervals == {timedelta(hours=1)}
        assert samples[-1].measured_at - samples[0].measured_at == timedelta(days=7)
        assert samples[-1].free_bytes == 9 * 24 * 60 - 60


async def test_disk_samples_of_a_clock_that_was_ahead_are_deleted(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for time in (NOW + timedelta(days=900), NOW):
            await appdb.disk_samples.add(5, now_us=round(time.timestamp() * 1_000_000))
        assert await appdb.disk_samples.all() == [DiskSample(NOW, 5)]

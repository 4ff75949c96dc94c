"""How long the disk lasts, by the rate at which it fills."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onhook.appdb.disk_samples import DiskSample
from onhook.ops.doctor.disk import check_disk, check_disk_rate, check_node_disk, estimate_remaining_period
from tests.appdb.test_node_states import node_state

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


@pytest.mark.parametrize(
    ("free", "samples", "status"),
    [
        (50 * GIBIBYTE, (), "OK"),
        (5 * GIBIBYTE, (), "WARNING"),
        (GIBIBYTE - 1, (), "ERROR"),
        (40 * GIBIBYTE, (DiskSample(WEEK_AGO, 90 * GIBIBYTE),), "WARNING"),
    ],
)
def test_disk_of_another_machine_is_checked_as_it_reports_it(
    free: int, samples: Sequence[DiskSample], status: str
) -> None:
    state = node_state("second", free_bytes=free, total_bytes=100 * GIBIBYTE)
    check = check_node_disk(state, samples, NOW)
    assert (check.status, check.detail.startswith("on machine second: ")) == (status, True)

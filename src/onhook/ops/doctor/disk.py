"""Health checks of the disk: how much of it is free, and for how long at the rate at which it fills."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from onhook.appdb.disk_samples import DiskSample
from onhook.appdb.node_states import NodeState
from onhook.lib.messages import _, _n
from onhook.lib.text import format_share
from onhook.ops.doctor.check import Check, worst_check

FREE_BYTES_MIN = 1024**3
"""A million events and their calls: at a thousand a day, that is years; at a hundred a second, some hours."""

FREE_SHARE_MIN = 0.1
"""Below this share a warning."""

REMAINING_PERIOD_MIN = timedelta(days=7)
"""Below this a warning: time enough to order a disk."""

REMAINING_PERIODS_MAX = 1_000
"""Of the measured period: a disk that lasts for years more needs no warning."""

MEASURED_PERIOD_MIN = timedelta(days=1)
"""A shorter one would take an import, or the work of a morning, for the rate of a day."""


def check_disk(path: Path) -> Check:
    """Return the check of the disk that a directory is on."""
    total_bytes, _used_bytes, free_bytes = shutil.disk_usage(path)
    return _check_free_bytes(total_bytes, free_bytes)


def check_node_disk(state: NodeState, samples: Sequence[DiskSample], now: datetime) -> Check:
    """Return the worst check of the disk of another machine, as it has reported it; `samples` are those of its disk."""
    checks = (_check_free_bytes(state.total_bytes, state.free_bytes), *_check_rate(state.free_bytes, samples, now))
    worst = worst_check(checks)
    return msgspec.structs.replace(worst, detail=_("on machine {node}: {detail}", node=state.node, detail=worst.detail))


def _check_free_bytes(total_bytes: int, free_bytes: int) -> Check:
    if free_bytes < FREE_BYTES_MIN:
        return Check(
            "ERROR",
            _("{free_bytes} MiB of disk space are free", free_bytes=f"{free_bytes / 1024**2:.0f}"),
            _("free disk space, or events will be rejected"),
        )
    if free_bytes < total_bytes * FREE_SHARE_MIN:
        return Check(
            "WARNING",
            _("{share} of the disk is used", share=format_share((100 - free_bytes * 100 // total_bytes) / 100)),
            _("free disk space, or set `keep_days`: a full disk rejects events"),
        )
    return Check("OK", _("{free_bytes} GiB of disk space are free", free_bytes=f"{free_bytes / 1024**3:.0f}"))


def check_disk_rate(path: Path, samples: Sequence[DiskSample], now: datetime) -> Iterator[Check]:
    """Yield a check if the disk is full soon; `samples` are those of the last week."""
    yield from _check_rate(shutil.disk_usage(path).free, samples, now)


def _check_rate(free_bytes: int, samples: Sequence[DiskSample], now: datetime) -> Iterator[Check]:
    remaining_period = estimate_remaining_period(free_bytes, samples, now)
    if remaining_period is None or remaining_period >= REMAINING_PERIOD_MIN:
        return
    yield Check(
        "WARNING",
        _n(
            "at the rate of the last days the disk is full in less than a day",
            "at the rate of the last days the disk is full in less than {count} days",
            remaining_period.days + 1,
        ),
        _("free disk space, or set `keep_days`: a full disk rejects events"),
    )


def estimate_remaining_period(free_bytes: int, samples: Sequence[DiskSample], now: datetime) -> timedelta | None:
    """Return after which time the disk will be full at the rate since most of it was free, such as since space was
    freed; None if it does not fill, or where that was not measured for long enough.
    """
    old_samples = [sample for sample in samples if now - sample.measured_at >= MEASURED_PERIOD_MIN]
    if not old_samples:
        return None
    emptiest = max(old_samples, key=lambda sample: (sample.free_bytes, sample.measured_at))
    measured_period, filled_bytes = now - emptiest.measured_at, emptiest.free_bytes - free_bytes
    if filled_bytes <= 0:
        return None
    remaining_periods = free_bytes / filled_bytes
    return measured_period * remaining_periods if remaining_periods < REMAINING_PERIODS_MAX else None

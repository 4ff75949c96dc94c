"""Every part of the bench runs, with sizes that say nothing about speed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from bench import __main__ as bench_main
from bench import asterisk, backfill, call_end, console, delivery, idle, intake, pbx_api, projector, store
from bench.table import Row, table

LOAD = pbx_api.Load(readers=3, idlers=1, events_per_second=20, seconds=1)

SIZES: Mapping[ModuleType, Mapping[str, object]] = {
    asterisk: {"CHROOT": Path("/nonexistent")},  # no laboratory
    backfill: {"PAGE_ROWS": 50},
    call_end: {"WARM_UP_CALLS": 1},
    console: {
        "RUNS": 1,
        "ROLL_UPS_MAX": 2,
        "RATE": 20,
        "CHROMIUM_NAMES": (),
        "PAGES": {"Calls": "/calls", "Volume": "/reports?report=volume"},
    },
    delivery: {"ROUNDS": 1, "WATCHED_SECONDS": 1, "WATCHED_RATE": 3, "SETTLE_SECONDS": 0.1},
    idle: {"COMMAND_RUNS": 1, "STARTS": 1, "SETTLE_SECONDS": 0.1, "IDLE_SECONDS": 0.1},
    intake: {
        "ROUNDS": 1,
        "WAYS": (True,),
        "LOAD_SECONDS": 1,
        "BODIES": 200,
        "RATE": 50,
        "RATE_SECONDS": 1,
        "SETTLE_SECONDS": 0.1,
    },
    pbx_api: {"DRAIN_SECONDS": 0.5},
    projector: {"LAG_SECONDS": 1, "LAG_RATE": 50},
    store: {"RUNS": 1, "SMALL_RECORDS": 200, "BATCH_CALLS": 20},
}
"""The names of constants in each part, and small values."""

RUNS: Mapping[ModuleType, Callable[[], Sequence[Row]]] = {
    asterisk: lambda: asterisk.run(5),
    backfill: lambda: backfill.run(200),
    call_end: lambda: call_end.run(2),
    console: lambda: console.run(500),
    delivery: lambda: delivery.run(200, 400),
    idle: idle.run,
    intake: intake.run,
    pbx_api: lambda: pbx_api.run(LOAD),
    projector: lambda: projector.run(200),
    store: lambda: store.run(500),
}


LONG_PARTS: Final = frozenset({call_end, console, delivery, idle, intake, pbx_api, projector, store})
"""Parts that start whole servers, or fill stores: each takes seconds."""


def test_bench_parts_are_all_listed() -> None:
    """A new part of the table gets its sizes here."""
    parts = {value for value in vars(bench_main).values() if isinstance(value, ModuleType) and hasattr(value, "run")}
    assert parts == set(SIZES) == set(RUNS)


@pytest.mark.parametrize(
    "part",
    [pytest.param(part, marks=[pytest.mark.slow] if part in LONG_PARTS else []) for part in RUNS],
    ids=lambda part: part.__name__.removeprefix("bench."),
)
def test_bench_part_runs_with_tiny_sizes(part: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SIZES[part].items():
        monkeypatch.setattr(part, name, value)
    rows = RUNS[part]()
    assert rows
    assert all(row.subject and row.figure for row in rows)
    assert len(table(rows).splitlines()) == len(rows) + 2

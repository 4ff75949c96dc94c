"""A simulated PBX that delivers CDR files."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.pbx.cucm.payload import Cucm
from onhook.simulator.file_writer import FileWriter
from onhook.simulator.office_plan import SimulationPlan
from onhook.simulator.results import NO_RESPONSE
from onhook.simulator.sender import simulate

START = datetime(2026, 4, 27, 8, tzinfo=UTC)


async def test_simulate_files_are_written_whole_to_the_folder(tmp_path: Path) -> None:
    plan = SimulationPlan(
        url=tmp_path.as_uri(), sn="CUCM", payload_format="cucm-csv", count=12, rate=None, start=START, zone="UTC"
    )
    result = await simulate(plan, SystemClock())
    assert (result.acknowledged, result.failed, result.responses) == (12, 0, {"written": 12})
    files = sorted(tmp_path.iterdir())
    assert len(files) == 12
    assert all(path.name.startswith("cdr_StandAloneCluster_01_") for path in files)
    assert all(len(list(Cucm().split_file(path.read_bytes()))) == 1 for path in files)


async def test_file_writer_replaces_no_file_and_needs_a_folder(tmp_path: Path) -> None:
    assert [await FileWriter(tmp_path.as_uri(), SystemClock()).post(b"1") for _number in range(2)] == ["written"] * 2
    assert len(list(tmp_path.iterdir())) == 2
    missing = tmp_path / "missing"
    with pytest.raises(UsageError, match="there is no folder"):
        FileWriter(missing.as_uri(), SystemClock())
    missing.mkdir()
    writer = FileWriter(missing.as_uri(), SystemClock())
    missing.rmdir()
    assert await writer.post(b"1") == NO_RESPONSE
    with pytest.raises(UsageError, match="unknown payload format"):
        SimulationPlan(url=tmp_path.as_uri(), sn="CUCM")

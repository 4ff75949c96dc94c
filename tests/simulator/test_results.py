"""Recorder of a simulation."""

from pathlib import Path

import msgspec
import pytest

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import record_id, record_key
from onhook.lib.errors import Unavailable, UsageError
from onhook.simulator.fault_injection import SimulatedEvent
from onhook.simulator.office_plan import SimulationPlan
from onhook.simulator.results import NO_RESPONSE, SimulationRecorder

SN = "3631A2124XXX"
FROM_ALICE = CallDetails(
    call_id="1651057476.362", time_start="2022-04-27 19:04:36", call_from="1001", call_to="Zoë<1002>"
)
NAME = record_id(record_key(SN, FROM_ALICE))


def plan(**files: Path) -> SimulationPlan:
    return SimulationPlan(url="http://127.0.0.1/", sn=SN, **files)  # type: ignore[arg-type]  # only the two files


def test_recorder_truth_has_each_record_once_with_its_faults(tmp_path: Path) -> None:
    """One JSON line per record: its id, the faults, all details; a repeat is no record of its own."""
    with SimulationRecorder(plan(truth_path=tmp_path / "truth")) as books:
        books.record_event(SimulatedEvent(FROM_ALICE, ("late",)))
        books.record_event(SimulatedEvent(FROM_ALICE, ("late", "duplicated")))
        (line,) = (tmp_path / "truth").read_bytes().splitlines()
    line_value = msgspec.json.decode(line)
    assert (line_value["record_id"], line_value["sn"], line_value["faults"]) == (NAME, SN, ["late"])
    assert (line_value["call_to"], line_value["call_duration"]) == ("Zoë<1002>", None)
    assert (books.result().records, books.result().repeats) == (1, 1)


def test_recorder_acknowledged_file_has_valid_records_only(tmp_path: Path) -> None:
    """Neither repeats nor malformed events nor failed ones."""
    with SimulationRecorder(plan(acked_path=tmp_path / "acked")) as books:
        books.record_outcome(SimulatedEvent(FROM_ALICE), is_acknowledged=True)
        books.record_outcome(SimulatedEvent(FROM_ALICE, ("duplicated",)), is_acknowledged=True)
        books.record_outcome(SimulatedEvent(FROM_ALICE, ("malformed",)), is_acknowledged=True)
        books.record_outcome(SimulatedEvent(FROM_ALICE), is_acknowledged=False)
        assert (tmp_path / "acked").read_text().splitlines() == [NAME]
    result = books.result()
    assert (result.acknowledged, result.malformed, result.failed) == (1, 1, 1)


def test_recorder_every_attempt_is_counted_by_its_response() -> None:
    """The responses add up to the requests."""
    with SimulationRecorder(plan()) as books:
        for answer in ("200", "503", NO_RESPONSE, "503"):
            books.record_response(answer)
    assert books.result().responses == {"200": 1, "503": 2, NO_RESPONSE: 1}
    assert books.result().requests == 4


def test_recorder_file_that_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    """The sentence names the file and the reason."""
    with (
        pytest.raises(UsageError, match=r"cannot write .*nowhere/truth: No such file"),
        SimulationRecorder(plan(truth_path=tmp_path / "nowhere/truth")),
    ):
        pass


def test_recorder_full_disk_ends_the_simulation() -> None:
    """Nothing is sent without a written truth."""
    with (
        SimulationRecorder(plan(truth_path=Path("/dev/full"))) as books,
        pytest.raises(Unavailable, match="No space left"),
    ):
        books.record_event(SimulatedEvent(FROM_ALICE))

"""What is written down of a simulation."""

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


def test_the_truth_has_each_record_once_with_what_befell_it(tmp_path: Path) -> None:
    """One JSON line per record: its id, the faults, all details; a repeat is no record of its own."""
    with SimulationRecorder(plan(truth_path=tmp_path / "truth")) as books:
        books.record_event(SimulatedEvent(FROM_ALICE, ("late",)))
        books.record_event(SimulatedEvent(FROM_ALICE, ("late", "duplicated")))
        (line,) = (tmp_path / "truth").read_bytes().splitlines()
    said = msgspec.json.decode(line)
    assert (said["record_id"], said["sn"], said["faults"]) == (NAME, SN, ["late"])
    assert (said["call_to"], said["call_duration"]) == ("Zoë<1002>", None)
    assert (books.result().records, books.result().repeats) == (1, 1)


def test_only_what_was_acknowledged_and_can_be_read_is_noted_as_such(tmp_path: Path) -> None:
    """The file of acknowledgements has neither repeats nor malformed reports nor what was given up."""
    with SimulationRecorder(plan(acked_path=tmp_path / "acked")) as books:
        books.record_outcome(SimulatedEvent(FROM_ALICE), is_acknowledged=True)
        books.record_outcome(SimulatedEvent(FROM_ALICE, ("duplicated",)), is_acknowledged=True)
        books.record_outcome(SimulatedEvent(FROM_ALICE, ("malformed",)), is_acknowledged=True)
        books.record_outcome(SimulatedEvent(FROM_ALICE), is_acknowledged=False)
        assert (tmp_path / "acked").read_text().splitlines() == [NAME]
    result = books.result()
    assert (result.acknowledged, result.malformed, result.failed) == (1, 1, 1)


def test_every_try_is_counted_by_its_answer() -> None:
    """The answers add up to what was sent."""
    with SimulationRecorder(plan()) as books:
        for answer in ("200", "503", NO_RESPONSE, "503"):
            books.record_response(answer)
    assert books.result().responses == {"200": 1, "503": 2, NO_RESPONSE: 1}
    assert books.result().requests == 4


def test_a_file_that_cannot_be_opened_is_a_persons_mistake(tmp_path: Path) -> None:
    """The sentence names the file and the reason."""
    with (
        pytest.raises(UsageError, match=r"cannot write .*nowhere/truth: No such file"),
        SimulationRecorder(plan(truth_path=tmp_path / "nowhere/truth")),
    ):
        pass


def test_a_full_disk_ends_the_simulation() -> None:
    """A truth that cannot be written is worth nothing, so nothing is sent without it."""
    with (
        SimulationRecorder(plan(truth_path=Path("/dev/full"))) as books,
        pytest.raises(Unavailable, match="No space left"),
    ):
        books.record_event(SimulatedEvent(FROM_ALICE))

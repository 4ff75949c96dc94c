"""People of the simulated office."""

import pytest

from onhook.cdr.number_plan import NumberPlan
from onhook.lib.errors import UsageError
from onhook.simulator.numbers import EXTENSIONS_MAX, FIRST_NAMES, IVRS, QUEUE, RING_GROUP, SURVEY, create_directory


def test_directory_has_the_people_of_the_examples() -> None:
    """Alice is 1001 and Bob 1002, and people after the list of names have different names."""
    people = create_directory(1, len(FIRST_NAMES) + 1).extensions
    assert [(person.number, person.name) for person in people[:2]] == [("1001", "Alice"), ("1002", "Bob")]
    assert people[-1].name == "Alice 2"


def test_directory_numbers_match_the_default_number_plan() -> None:
    plan, office = NumberPlan(), create_directory(1, EXTENSIONS_MAX)
    assert {plan.kind_of(party.format(True)) for party in IVRS} == {"ivr"}
    assert (plan.kind_of(QUEUE.format(False)), plan.kind_of(RING_GROUP.format(True))) == ("queue", "ring_group")
    assert plan.kind_of(SURVEY.format(False)) == "feature"
    assert {plan.kind_of(person.number) for person in office.extensions} == {"extension"}
    callers = [caller.number for caller in office.callers if caller.number != "anonymous"]
    assert {plan.kind_of(number) for number in callers} == {"external"}


@pytest.mark.parametrize("extensions", [0, 1, EXTENSIONS_MAX + 1])
def test_directory_size_is_limited(extensions: int) -> None:
    """An office of one person has no internal calls."""
    with pytest.raises(UsageError, match="use 2 to"):
        create_directory(1, extensions)

"""Who works in the made-up office."""

import pytest

from onhook.cdr.number_plan import NumberPlan
from onhook.lib.errors import UsageError
from onhook.simulator.numbers import EXTENSIONS_MAX, FIRST_NAMES, IVRS, QUEUE, RING_GROUP, SURVEY, create_directory


def test_the_people_are_the_ones_that_all_examples_know() -> None:
    """Alice is 1001 and Bob 1002, and people past the list of names are told apart."""
    people = create_directory(1, len(FIRST_NAMES) + 1).extensions
    assert [(person.number, person.name) for person in people[:2]] == [("1001", "Alice"), ("1002", "Bob")]
    assert people[-1].name == "Alice 2"


def test_the_default_number_plan_knows_every_number() -> None:
    """A receiver that nobody told anything takes each number for what it is."""
    plan, office = NumberPlan(), create_directory(1, EXTENSIONS_MAX)
    assert {plan.kind_of(party.format(True)) for party in IVRS} == {"ivr"}
    assert (plan.kind_of(QUEUE.format(False)), plan.kind_of(RING_GROUP.format(True))) == ("queue", "ring_group")
    assert plan.kind_of(SURVEY.format(False)) == "feature"
    assert {plan.kind_of(person.number) for person in office.extensions} == {"extension"}
    callers = [caller.number for caller in office.callers if caller.number != "anonymous"]
    assert {plan.kind_of(number) for number in callers} == {"external"}


@pytest.mark.parametrize("extensions", [0, 1, EXTENSIONS_MAX + 1])
def test_an_office_needs_people_and_has_a_limit(extensions: int) -> None:
    """Nobody can call anybody in an office of one."""
    with pytest.raises(UsageError, match="ask for 2 to"):
        create_directory(1, extensions)

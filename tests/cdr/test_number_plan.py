"""Which numbers are people and which are machines."""

import pytest

from onhook.cdr.number_plan import NumberPlan, parse_number_plan
from onhook.lib.errors import UsageError


@pytest.mark.parametrize(
    ("party", "kind"),
    [
        ("1002", "extension"),
        ("Alice<1001>", "extension"),
        ("IVR Welcome<6200>", "ivr"),
        ("6299", "ivr"),
        ("6300", "ring_group"),
        ("Queue Team<6400>", "queue"),
        ("6500", "conference"),
        ("+15550100", "external"),
        ("5550101", "extension"),
        ("004930123456", "external"),
        ("Satisfaction Survey", "feature"),
        ("Play Prompt", "feature"),
        ("06400", "extension"),
        ("64000", "extension"),
    ],
)
def test_the_default_plan_knows_the_vendors_ranges(party: str, kind: str) -> None:
    """Kinds by the number inside `Name<number>`, with the ranges of a P-Series that nobody changed."""
    assert NumberPlan().kind_of(party) == kind


def test_a_plan_of_ones_own_replaces_only_what_it_names() -> None:
    """A queue moved to 7000 leaves IVR where it was, and 6400 becomes an extension."""
    plan = parse_number_plan({"queue": "7000-7009, 7100"})
    assert [plan.kind_of(number) for number in ("7009", "7100", "6400", "6200")] == [
        "queue",
        "queue",
        "extension",
        "ivr",
    ]


@pytest.mark.parametrize("given", [{"fax": "1"}, {"queue": "x"}, {"queue": "20-10"}, {"queue": "1-100"}])
def test_a_plan_that_cannot_be_meant_is_refused(given: dict[str, str]) -> None:
    """Unknown kinds and ranges that are none are named."""
    with pytest.raises(UsageError):
        parse_number_plan(given)

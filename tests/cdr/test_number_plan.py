"""Which numbers are people and which are machines."""

import pytest

from onhook.cdr.number_plan import RANGES_MAX, NumberPlan, parse_number_plan
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
def test_kind_of_default_plan_matches_vendor_ranges(party: str, kind: str) -> None:
    assert NumberPlan().kind_of(party) == kind


def test_parse_number_plan_named_kind_replaces_only_its_ranges() -> None:
    plan = parse_number_plan({"queue": "7000-7009, 7100"})
    assert [plan.kind_of(number) for number in ("7009", "7100", "6400", "6200")] == [
        "queue",
        "queue",
        "extension",
        "ivr",
    ]


@pytest.mark.parametrize("given", [{"fax": "1"}, {"queue": "x"}, {"queue": "20-10"}, {"queue": "1-100"}])
def test_parse_number_plan_invalid_text_is_rejected(given: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        parse_number_plan(given)


def test_parse_number_plan_too_many_ranges_are_rejected() -> None:
    most = ",".join(str(7_000 + number) for number in range(RANGES_MAX))
    assert len(parse_number_plan({"queue": most}).queue) == RANGES_MAX
    with pytest.raises(UsageError, match=f"queue has more than {RANGES_MAX} ranges: join adjacent ranges"):
        parse_number_plan({"queue": f"{most},9999"})

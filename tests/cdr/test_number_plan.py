"""Which numbers are people and which are machines."""

import pytest

from onhook.cdr import number_plan
from onhook.cdr.number_plan import RANGES_MAX, NumberPlan, parse_number_plan
from onhook.lib.errors import UsageError


@pytest.fixture(autouse=True)
def _empty_kind_cache() -> None:
    """Empty the cache, so that no test sees a kind that another test computed."""
    number_plan._kind_of.cache_clear()


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


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("7009", "extension"),
        ("7010", "queue"),
        ("7020", "queue"),
        ("7021", "extension"),
        ("7100", "queue"),
        ("7101", "extension"),
        ("7200", "queue"),
        ("701#", "external"),
        ("70100", "extension"),
    ],
)
def test_kind_of_number_at_edge_of_range_includes_both_ends(number: str, kind: str) -> None:
    """A range is compared as text, so a feature code of the same length (`701#`) must not count as a number in it."""
    assert parse_number_plan({"queue": "7010-7020,7100,7200-7200"}).kind_of(number) == kind


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"fax": "1"}, "unknown kind of number 'fax': use one of ivr, queue, ring_group, conference"),
        ({"queue": "x"}, "invalid range of queue: 'x': write it as 6400-6499 or 6400"),
        ({"ivr": "6200,20-10"}, "invalid range of ivr: '20-10': write it as 6400-6499 or 6400"),
        ({"queue": "1-100"}, "invalid range of queue: '1-100': write it as 6400-6499 or 6400"),
    ],
)
def test_parse_number_plan_invalid_text_is_rejected(texts: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error_info:
        parse_number_plan(texts)
    assert str(error_info.value) == message


def test_parse_number_plan_too_many_ranges_are_rejected() -> None:
    most = ",".join(str(7_000 + number) for number in range(RANGES_MAX))
    assert len(parse_number_plan({"queue": most}).queue) == RANGES_MAX
    with pytest.raises(UsageError, match=f"queue has more than {RANGES_MAX} ranges: join adjacent ranges"):
        parse_number_plan({"queue": f"{most},9999"})

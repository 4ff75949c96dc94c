"""Numbers as users type them."""

import pytest

from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.phone_numbers import REGIONS_MAX, number_variants

PLANS = [NumberPlan()]


@pytest.mark.parametrize(
    ("text", "regions", "variants"),
    [
        ("1001", ["DE"], ("1001",)),
        ("64-00", ["DE"], ("6400",)),
        ("(030) 901820", ["DE"], ("030901820", "+4930901820", "004930901820", "4930901820")),
        ("+49 30 901820", [], ("+4930901820", "004930901820", "4930901820", "030901820")),
        ("030 901820", [], ("030901820",)),
        ("Alice", ["DE"], ()),
        ("+", ["DE"], ()),
        ("", ["DE"], ()),
        ("999999999999999999999", ["DE"], ("999999999999999999999",)),
    ],
)
def test_number_variants_of_notations(text: str, regions: list[str], variants: tuple[str, ...]) -> None:
    assert number_variants(text, PLANS, regions)[: len(variants)] == variants
    if len(variants) <= 1:
        assert number_variants(text, PLANS, regions) == variants


def test_number_variants_without_a_plan_a_short_number_is_external() -> None:
    """A number that is too short for a country is returned as it is."""
    assert number_variants("1", [], ["DE"]) == ("1",)


def test_number_variants_several_regions_are_tried_up_to_a_limit() -> None:
    with_both = number_variants("030 901820", PLANS, ["DE", "NL"])
    assert {"+4930901820", "+3130901820"} <= set(with_both)
    assert number_variants("030 901820", PLANS, [*["US"] * REGIONS_MAX, "DE"]) == number_variants(
        "030 901820", PLANS, ["US"]
    )

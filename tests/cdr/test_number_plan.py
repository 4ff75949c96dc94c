"""Which numbers are people and which are machines."""

from typing import Any

import pytest

from onhook.cdr import number_plan
from onhook.cdr.call_details import CallDetails
from onhook.cdr.feature_names import FEATURE_NAMES, FEATURE_TRANSLATIONS
from onhook.cdr.number_plan import PERSON_KINDS, RANGES_MAX, NumberPlan, parse_number_plan
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
        ("+49 30 901820", "external"),
        ("(030)901-820", "external"),
        ("030.901.820", "external"),
        ("0049301234,,12", "external"),
        ("20 1", "extension"),
        ("alice", "extension"),
        ("Müller, Jörg", "extension"),
        ("sip:bob@office.example", "extension"),
        ("101-acme", "extension"),
        ("play_prompt", "feature"),
        ("Play Prompt 2", "feature"),
        ("*43", "feature"),
        ("#1", "feature"),
        ("", "feature"),
        ("12345678", "external"),
    ],
)
def test_kind_of_default_plan_matches_vendor_ranges(party: str, kind: str) -> None:
    assert NumberPlan().kind_of(party) == kind


@pytest.mark.parametrize(
    ("party", "kind"),
    [
        ("Encuesta de satisfacción", "feature"),
        ("encuesta de satisfaccion", "feature"),
        ("满意度调查", "feature"),
        ("Zufriedenheitsumfrage", "feature"),
        ("Enquête de satisfaction", "feature"),
        ("Опрос удовлетворенности", "feature"),
        ("Play Prompt<6000>", "feature"),
        ("Play Prompt 2<6001>", "feature"),
        ("Encuesta de satisfacción<6002>", "feature"),
        ("Voicemail<1001>", "feature"),
        ("Disa Smith<1003>", "extension"),
        ("Disa<1003>", "extension"),
        ("DISA<1003>", "feature"),
        ("Callback Jones<1004>", "extension"),
        ("Sales<6400>", "queue"),
        ("6400,,1", "queue"),
        ("6400@pbx.example", "queue"),
        ("Sales<6400@pbx.example:5060>", "queue"),
        ("6400*acme", "queue"),
        ("6400;ext=2", "queue"),
        ("64 00", "queue"),
        ("6200.", "ivr"),
        ("06400@pbx.example", "extension"),
        ("alice@6400", "extension"),
        ("Callback<1005>", "extension"),
        ("Rückruf<1005>", "extension"),
        ("Announcement<1006>", "extension"),
        ("Callback", "feature"),
        ("Announcement<>", "feature"),
        ("Announcement 2<6002>", "feature"),
        ("6201w2", "ivr"),
        ("Sales<6400,1>", "queue"),
        ("1001,,1", "extension"),
        ("6400, Bob", "extension"),
    ],
)
def test_kind_of_machine_by_its_translated_name_or_with_pauses(party: str, kind: str) -> None:
    """A first name is no feature because it is spelt like one."""
    assert NumberPlan().kind_of(party) == kind


def test_kind_of_name_of_an_extension_in_a_range_is_the_extension() -> None:
    assert parse_number_plan({"extension": "1001"}).kind_of("Voicemail<1001>") == "extension"


@pytest.mark.parametrize("name", [name for names in FEATURE_TRANSLATIONS.values() for name in names])
def test_kind_of_each_translation_is_that_of_its_feature(name: str) -> None:
    """A plan without the feature has no translation of it."""
    assert NumberPlan().kind_of(name) == "feature"
    assert parse_number_plan({"features": "DISA"}).kind_of(name) == "extension"


def test_translations_are_those_of_known_features() -> None:
    assert FEATURE_TRANSLATIONS.keys() <= set(FEATURE_NAMES)


def test_kind_of_leg_with_a_blank_party_is_no_known_machine() -> None:
    for call_to in ("", " ", "Bob<>"):
        assert NumberPlan().kind_of_leg(leg(call_to)) in PERSON_KINDS
    assert NumberPlan().kind_of_leg(leg("Play Prompt<>")) == "feature"
    assert NumberPlan().kind_of_leg(leg("", extra={"callee_kind": "ivr"})) == "ivr"


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


ALL_KINDS = "ivr, queue, ring_group, conference, voicemail, extension, extension_digits_max, features"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"fax": "1"}, f"unknown kind of number 'fax': use one of {ALL_KINDS}"),
        (
            {"extension_digits_max": "0"},
            "invalid number of digits of an extension: '0': use a number from 1 to 15",
        ),
        (
            {"extension_digits_max": "many"},
            "invalid number of digits of an extension: 'many': use a number from 1 to 15",
        ),
        ({"features": "Fax\x00"}, "invalid name of a feature: 'Fax\\x00': use at most 64 printable characters"),
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


def leg(call_to: str, **changes: Any) -> CallDetails:
    return CallDetails(call_id="1.1", time_start="2026-11-28 04:00:00", call_from="1001", call_to=call_to, **changes)


@pytest.mark.parametrize("number", ["112", "5551234", "1002", "6400", "alice", "*31#030901820"])
def test_kind_of_leg_that_goes_out_by_a_trunk_is_external(number: str) -> None:
    assert NumberPlan().kind_of_leg(leg(number, dst_trunk_name="Trunk1")) == "external"


def test_kind_of_leg_as_the_pbx_reports_it_comes_before_the_plan() -> None:
    assert NumberPlan().kind_of_leg(leg("1001", extra={"callee_kind": "queue"})) == "queue"
    assert NumberPlan().kind_of_leg(leg("6400", extra={"callee_kind": "extension"})) == "extension"


def test_kind_of_leg_with_an_unknown_report_follows_the_plan() -> None:
    for value in ("robot", 1, None, ["queue"]):
        assert NumberPlan().kind_of_leg(leg("6400", extra={"callee_kind": value})) == "queue"


def test_kind_of_long_extension_is_set_by_digits_or_ranges() -> None:
    longer = parse_number_plan({"extension_digits_max": "8"})
    ranges = parse_number_plan({"extension": "12345000-12345999"})
    assert (longer.kind_of("12345678"), longer.kind_of("123456789")) == ("extension", "external")
    assert (ranges.kind_of("12345678"), ranges.kind_of("12346000")) == ("extension", "external")


def test_parse_number_plan_features_replace_the_names() -> None:
    plan = parse_number_plan({"features": "Zufriedenheitsumfrage, Ansage"})
    assert [plan.kind_of(name) for name in ("ANSAGE", "zufriedenheitsumfrage", "Play Prompt")] == [
        "feature",
        "feature",
        "extension",
    ]
    with pytest.raises(UsageError, match=f"more than {RANGES_MAX} names"):
        parse_number_plan({"features": ",".join(f"feature {number}" for number in range(RANGES_MAX + 1))})


def test_kind_of_voicemail_range_is_no_person() -> None:
    assert parse_number_plan({"voicemail": "97"}).kind_of("97") == "voicemail"

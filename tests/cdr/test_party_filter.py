"""Conditions on parties for readers who see masked numbers."""

import pytest

from onhook.cdr.party_filter import PartyCondition, PartyField
from tests.factories import SN, call, record

OUTSIDE = "030901820"
INBOUND = record(call_from=OUTSIDE, call_to="Queue<6400>", src_trunk_name="carrier", status="VOICEMAIL")
ANSWERED = record(call_from=OUTSIDE, call_to="Bob<1002>", src_trunk_name="carrier")
OUTBOUND = record(call_from="Alice<1001>", call_to=OUTSIDE, dst_trunk_name="carrier")


def condition(field: PartyField, *, inside: str = "", outside: str = "") -> PartyCondition:
    return PartyCondition(
        field=field,
        inside=((SN, inside),) if inside else (),
        outside=((SN, outside),) if outside else (),
    )


@pytest.mark.parametrize(
    ("tested", "of_inbound", "of_outbound"),
    [
        (condition("number", outside=OUTSIDE), True, True),
        (condition("number", inside=OUTSIDE), False, False),
        (condition("call_from", outside=OUTSIDE), True, False),
        (condition("call_to", outside=OUTSIDE), False, True),
        (condition("call_from", inside="1001"), False, True),
        (condition("call_from", outside="1001"), False, False),
    ],
)
def test_matches_leg_by_the_side_on_which_the_number_is_seen(
    tested: PartyCondition, of_inbound: bool, of_outbound: bool
) -> None:
    assert tested.is_of_leg
    assert [tested.matches_leg(leg) for leg in (INBOUND, OUTBOUND)] == [of_inbound, of_outbound]
    assert [tested.matches_call(call(leg)) for leg in (INBOUND, OUTBOUND)] == [of_inbound, of_outbound]


@pytest.mark.parametrize(
    ("tested", "is_match"),
    [
        (condition("caller", outside=OUTSIDE), True),
        (condition("caller", inside=OUTSIDE), False),
        (condition("dialled", inside="6400"), True),
        (condition("dialled", inside="1002"), False),
        (condition("answered_by", inside="1002"), True),
        (condition("answered_by", outside="1002"), False),
        (condition("answered_by", inside="6400"), False),
    ],
)
def test_matches_call_by_its_first_leg_or_who_answered(tested: PartyCondition, is_match: bool) -> None:
    queued = call(
        INBOUND,
        record(
            INBOUND.started_at,
            call_id=INBOUND.call_id,
            **{name: getattr(ANSWERED, name) for name in ("call_from", "call_to", "src_trunk_name", "status")},
        ),
    )
    assert not tested.is_of_leg
    assert tested.matches_call(queued) == is_match

"""A call is the same, and is what happened, from whichever source it is read: manager events, files, tables."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call
from tests.counts import examples
from tests.pbx.asterisk.generated_calls import JOURNEYS, generated_calls
from tests.pbx.asterisk.generated_office import GeneratedCall, Truth
from tests.pbx.asterisk.source_readers import plain, read_all_events, read_csv, read_events, read_sqlite


def legs(call: Call) -> list[Truth]:
    """Return the legs of a call in the terms of the truth."""
    return sorted(
        (leg.type, extract_number(leg.call_from), extract_number(leg.call_to), leg.status, leg.talk_duration or 0)
        for leg in call.legs
    )


@pytest.mark.parametrize("journey", sorted(JOURNEYS))
@given(st.data())
@settings(max_examples=examples(60))
def test_generated_journey_is_read_as_it_happened(journey: str, data: st.DataObject) -> None:
    generated = data.draw(generated_calls(journey))
    (call,) = read_events([generated], generated.zone).values()
    assert legs(call) == sorted(generated.truth)
    assert not generated.did_number or {leg.did_number for leg in call.legs} == {generated.did_number}
    assert call.started_at == generated.began_at


@pytest.mark.parametrize("journey", sorted(JOURNEYS))
@given(st.data())
@settings(max_examples=examples(60))
def test_generated_journey_with_channel_events_is_read_as_it_happened(journey: str, data: st.DataObject) -> None:
    """They show the numbers of telephones whose channels have names."""
    generated = data.draw(generated_calls(journey))
    (call,) = read_all_events(generated).values()
    truth = [(*leg[:2], generated.own_numbers.get(leg[2], leg[2]), *leg[3:]) for leg in generated.truth]
    assert legs(call) == sorted(truth)
    assert not generated.did_number or {leg.did_number for leg in call.legs} == {generated.did_number}
    assert call.started_at == generated.began_at


CALLS = st.lists(generated_calls(), min_size=1, max_size=4, unique_by=lambda call: call.rows[0]["linkedid"])


@given(CALLS)
@settings(max_examples=examples(150))
def test_generated_calls_are_equal_from_events_file_and_table(calls: list[GeneratedCall]) -> None:
    from_events = read_events(calls)
    assert len(from_events) == len(calls)
    assert plain(read_csv(calls)) == plain(from_events)
    with TemporaryDirectory() as directory:
        assert plain(read_sqlite(calls, Path(directory) / "master.db")) == plain(from_events)

"""Rows that a Grandstream UCM would send: reading them gives the call details back; mutated ones are refused."""

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError
from onhook.pbx.grandstream.writing import PAYLOAD_FORMATS
from tests.counts import seeds
from tests.pbx.freeswitch.test_mutations import mutate
from tests.pbx.grandstream.test_acceptance import CDRAPI, GRANDSTREAM, REALTIME

NUMBERS = st.sampled_from(["1001", "1002", "+493055500", "00493012345678"])
NAMES = st.sampled_from(["", "Ann Example", "Müller & Söhne", "张三", "a<b"])
OWN_EXTRA = frozenset({"callee_kind", "acct_id", "action_type", "utc_offset_seconds", "accountcode"})


@st.composite
def legs(draw: st.DrawFn) -> CallDetails:
    start = draw(st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1))).replace(microsecond=0)  # noqa: DTZ001
    epoch = round((start - datetime(1970, 1, 1) - timedelta(hours=draw(st.integers(-3, 3)))).total_seconds())  # noqa: DTZ001
    duration = draw(st.integers(0, 7200))
    name, number = draw(NAMES), draw(NUMBERS)
    is_answered = draw(st.booleans())
    trunk = draw(st.sampled_from(["", "carrier"]))
    return CallDetails(
        call_id=f"{epoch}.{draw(st.integers(0, 9999))}",
        time_start=str(start),
        call_from=f"{name}<{number}>" if name else number,
        call_to=draw(NUMBERS),
        call_duration=duration,
        talk_duration=draw(st.integers(0, duration)) if is_answered else 0,
        dst_trunk_name=trunk,
        status="ANSWERED" if is_answered else draw(st.sampled_from(["NO ANSWER", "BUSY", "FAILED"])),
        type="Outbound" if trunk else "Internal",
        recording=draw(st.sampled_from(["", "2026-01/a.wav"])),
        uid=f"{epoch}.7",
    )


@pytest.mark.parametrize("payload_format", PAYLOAD_FORMATS)
@given(details=legs())
def test_format_and_parse_give_the_details_back(payload_format: str, details: CallDetails) -> None:
    body = GRANDSTREAM.format(details, "UCM", payload_format)
    assert GRANDSTREAM.peek(body).kind == "details"
    (read,) = GRANDSTREAM.parse(body)
    extra = {name: value for name, value in read.extra.items() if name not in OWN_EXTRA}
    assert (read.call_id, read.time_start, read.call_from, read.call_to, read.call_duration, read.talk_duration) == (
        *(details.call_id, details.time_start, details.call_from, details.call_to),
        *(details.call_duration, details.talk_duration),
    )
    assert (read.status, read.type, read.recording, read.uid, read.dst_trunk_name, extra) == (
        *(details.status, details.type, details.recording, details.uid, details.dst_trunk_name, {}),
    )


@pytest.mark.parametrize(
    ("call_to", "status", "ring", "kind"),
    [
        ("6400", "ANSWERED", None, "queue"),
        ("6200", "ANSWERED", None, "ivr"),
        ("1001", "VOICEMAIL", None, "voicemail"),
        ("1002", "ANSWERED", 5, "extension"),
        ("1002", "", None, None),
    ],
)
def test_format_of_machines_and_agents_has_their_action(
    call_to: str, status: str, ring: int | None, kind: str | None
) -> None:
    details = CallDetails(
        call_id="1769941800.1",
        time_start="2026-02-01 10:30:00",
        call_from="1001",
        call_to=call_to,
        call_duration=20,
        talk_duration=15,
        status=status,
        agent_ring_time=ring,
    )
    (read,) = GRANDSTREAM.parse(GRANDSTREAM.format(details, "UCM", "ucm-json"))
    assert (read.extra.get("callee_kind"), read.call_to, read.agent_ring_time) == (kind, call_to, ring)


@pytest.mark.parametrize("sample", ["json", "list", "xml"])
def test_mutated_rows_are_read_or_refused(sample: str) -> None:
    """`SEEDS=400000` mutates each of the samples as often."""
    (first,) = GRANDSTREAM.parse(REALTIME)
    xml = GRANDSTREAM.format(first, "UCM", "ucm-xml")
    body = {"json": REALTIME, "list": CDRAPI, "xml": xml}[sample]
    for seed in range(len(seeds(100))):
        mutated = mutate(body, random.Random(f"{sample} {seed}"))
        assert len(GRANDSTREAM.peek(mutated).key) == 16
        try:
            rows = GRANDSTREAM.parse(mutated)
            GRANDSTREAM.read_links(mutated)
        except ParseError:
            continue
        for row in rows:
            assert row.time_start >= "1990"
            assert row.call_id
            assert row.call_duration is None or (row.talk_duration or 0) <= row.call_duration

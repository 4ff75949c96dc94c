"""Generated calls and filters for property tests: few numbers, so that filters match; special
characters; clock changes.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from onhook.cdr.access_scope import AccessScope, ResolvedScope
from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.call_filter import CallFilter
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import CALL_ORDERS, RECORD_ORDERS, CallListing, RecordListing

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "UTC")

_DST_CHANGES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin, to summer time
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # and back
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, half an hour
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2011, 3, 13, 3, 31, tzinfo=UTC),  # St. John's, a minute after midnight
    datetime(2026, 12, 31, 23, tzinfo=UTC),
)

_PBX_FACTS = {
    "3631A2124XXX": PbxFacts(name="office", zone=ZoneInfo("Europe/Berlin")),
    "other,1": PbxFacts(name='shop "B"'),
}
_TEXTS = st.sampled_from(
    ("", "trunk-1", "trunk,2", '="x"', "-1", "+4930555", "@a", "'=1", 'a"b', "two\r\nlines", "Ünï 🎧")
)
_PARTIES = st.sampled_from(
    (
        *("1001", "1002", "Alice<1001>", " Bob B <1002> ", "Queue Team<6400>", "IVR Welcome<6200>"),
        *("+4930555", "<1001>", "a<b", "Survey", "=x<1001>"),
    )
)
EXTRAS: tuple[dict[str, Any], ...] = (
    *({}, {"is_display": 1, "realclidnum": ""}, {'"': [None, 1.5, "ü🎧"], "big": 10**30, "most": 2**64 - 1}),
    *(
        {"account_code": "4711", "a/b~": "x, y", "is_new": True},
        {"account_code": 4711, "Größe": 'a=b "c"', "least": -(2**63)},
    ),
    {"account_code": 4711.0, "is_new": {"a": 1}, "is_display": None},
    {"call_note": "Calls back at 100 %", "call_notes": "ghost"},
    {"call_note": 100},
)
EXTRA_FILTERS = (
    *("account_code=4711", "account_code=4711.0", "is_new=true", 'is_new={"a":1}', "a/b~=x, y", '"=x'),
    *("is_display=1", "is_display=null", f"big={10**30}", f"most={2**64 - 1}", f"least={-(2**63)}"),
    'Größe=a=b "c"',
)
_STATUSES = ("ANSWERED", "Answerd", "NO ANSWER", "no_answer", "BUSY", "VOICEMAIL", "FAILED", "ABANDONED", "", "strange")
_TYPES = ("Inbound", "inbound", "Internal", "Out_bound", "")
_DURATIONS = st.none() | st.sampled_from((0, 1, 14, 20, 3_700))


@st.composite
def office_calls(draw: st.DrawFn) -> list[Call]:
    """Return up to ten calls of one to three legs, with and without a time in their ids."""
    return [_call(draw, number) for number in range(draw(st.integers(0, 10)))]


def _call(draw: st.DrawFn, number: int) -> Call:
    sn = draw(st.sampled_from(sorted(_PBX_FACTS)))
    started_at = draw(st.sampled_from(_DST_CHANGES)) + timedelta(
        minutes=draw(st.integers(-180, 180)), seconds=draw(st.integers(0, 59))
    )
    call_id = draw(st.sampled_from((f"{int(started_at.timestamp())}.{number}", f"opaque-{number}")))
    reported_legs = [_reported_leg(draw, call_id, started_at) for _ in range(draw(st.integers(1, 3)))]
    return assemble_call(sn, reported_legs, _PBX_FACTS[sn])


def _reported_leg(draw: st.DrawFn, call_id: str, started_at: datetime) -> ReportedLeg:
    local_start = started_at + timedelta(hours=draw(st.sampled_from((0, 2))), seconds=draw(st.integers(0, 40)))
    values: dict[str, Any] = {
        name: draw(_TEXTS)
        for name in ("src_trunk_name", "dst_trunk_name", "pin_code", "recording", "did_number", "did_name", "uid")
    }
    values |= {
        name: draw(_DURATIONS) for name in ("call_duration", "talk_duration", "agent_ring_time", "enb_call_note")
    }
    details = CallDetails(
        call_id=call_id,
        time_start=f"{local_start:%Y-%m-%d %H:%M:%S}",
        call_from=draw(_PARTIES),
        call_to=draw(_PARTIES),
        status=draw(st.sampled_from(_STATUSES)),
        type=draw(st.sampled_from(_TYPES)),
        call_note_id=draw(_TEXTS),
        extra=draw(st.sampled_from(EXTRAS)),
        **values,
    )
    return ReportedLeg(
        details=details,
        seq=draw(st.integers(1, 50)),
        via="webhook",
        received_at=started_at + timedelta(seconds=60, microseconds=draw(st.sampled_from((0, 1, 999_999)))),
    )


_TIMES = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    st.sampled_from(_DST_CHANGES),
    st.floats(-12_000, 12_000, allow_nan=False),
)

_DURATION_LIMITS = st.none() | st.integers(0, 30)

_CALL_KEYS = tuple(
    (sn, call_id) for sn in ("other,1", "3631A2124XXX") for call_id in ("opaque-0", "opaque-1", "1774746000.0")
)
CALL_FILTERS = st.builds(
    CallFilter,
    answered_by=st.none() | st.sampled_from(("1002", "Alice<1001>", "6400")),
    min_wait_duration=_DURATION_LIMITS,
    max_wait_duration=_DURATION_LIMITS,
    min_ring_duration=_DURATION_LIMITS,
    max_ring_duration=_DURATION_LIMITS,
    weekday=st.none() | st.integers(1, 7),
    hour_of_day=st.none() | st.integers(0, 23),
    under_way_at=st.none() | _TIMES,
    ended_since=st.none() | _TIMES,
    caller=st.none() | st.none() | _PARTIES,
    dialled=st.none() | st.none() | _PARTIES,
    by_trunk=st.none() | st.none() | _TEXTS,
    by_did=st.none() | st.none() | _TEXTS,
    numbers=st.none() | st.none() | st.lists(st.sampled_from(("1001", "6400", "+4930555")), max_size=2).map(tuple),
    call_keys=st.none() | st.none() | st.lists(st.sampled_from(_CALL_KEYS), max_size=3).map(tuple),
    note=st.none() | st.none() | st.sampled_from(("CALLS", "100 %", "ghost")),
    note_call_keys=st.lists(st.sampled_from(_CALL_KEYS), max_size=2).map(tuple),
    name=st.none() | st.none() | st.sampled_from(("ALICE", "bob b", "6", "ghost")),
    name_parties=st.lists(
        st.sampled_from((("3631A2124XXX", "1002"), ("other,1", "6400"), ("", "+4930555"), ("x", "1001"))), max_size=2
    ).map(tuple),
    zone=st.sampled_from(ZONES),
)

_SCOPE_SNS = st.none() | st.lists(st.sampled_from(("other,1", "x", "3631A2124XXX")), max_size=2).map(tuple)
_SCOPE_NUMBERS = st.none() | st.lists(st.sampled_from(("1001", "1002", "6400", "ghost")), max_size=2).map(tuple)

SCOPES = st.builds(AccessScope, _SCOPE_SNS, _SCOPE_NUMBERS) | st.builds(
    ResolvedScope,
    _SCOPE_SNS,
    _SCOPE_NUMBERS,
    departments=st.just(("Sales",)),
    members=st.sets(
        st.tuples(st.sampled_from(("other,1", "x", "3631A2124XXX")), st.sampled_from(("1001", "1002", "6400"))),
        max_size=3,
    ).map(frozenset),
)

FILTERS = st.builds(
    RecordFilter,
    since=st.none() | _TIMES,
    until=st.none() | _TIMES,
    pbx=st.none() | st.sampled_from(("office", 'shop "B"', "nowhere")),
    sn=st.none() | st.sampled_from(("other,1", "x")),
    call_id=st.none() | st.sampled_from(("opaque-0", "opaque-1", "1774746000.0")),
    number=st.none() | _PARTIES,
    call_from=st.none() | _PARTIES,
    call_to=st.none() | _PARTIES,
    status=st.none() | st.sampled_from([*_STATUSES, "busy,no answer", "!answered", "! Busy , voicemail"]),
    type=st.none() | st.sampled_from((*_TYPES, "IN BOUND")),
    trunk=st.none() | _TEXTS,
    did_number=st.none() | _TEXTS,
    min_talk_duration=st.none() | st.integers(0, 20),
    max_talk_duration=st.none() | st.integers(0, 20),
    extra=st.none() | st.none() | st.lists(st.sampled_from(EXTRA_FILTERS), min_size=1, max_size=2).map(",".join),
    call_filter=st.none() | st.none() | st.none() | CALL_FILTERS,
    scope=st.none() | st.none() | st.none() | SCOPES,
)
"""Most filters are not set, as in real queries."""


_WALL_CLOCKS = st.none() | st.builds(
    lambda change, seconds: int(change.timestamp()) + seconds,
    st.sampled_from(_DST_CHANGES),
    st.integers(-12_000, 12_000),
)
_SNS = st.sampled_from(((), ("other,1",), ("3631A2124XXX", "other,1"), ("x",)))


@st.composite
def _listings(draw: st.DrawFn) -> tuple[RecordListing, CallListing]:
    shared: dict[str, Any] = {
        "filter": draw(st.just(RecordFilter()) | FILTERS),
        "sns": draw(_SNS),
        "local_since": draw(_WALL_CLOCKS),
        "local_until": draw(_WALL_CLOCKS),
        "is_descending": draw(st.booleans()),
    }
    dids = st.sampled_from(((), (("trunk-1", ""),), (('="x"', "trunk-1"), ("", "trunk,2"))))
    return (
        RecordListing(
            **shared,
            order_by=draw(st.sampled_from(RECORD_ORDERS)),
            pin_code=draw(st.none() | _TEXTS),
            has_recording=draw(st.booleans()),
            dids=draw(dids),
            recordings=draw(st.sampled_from(((), ("a.wav",), ("a.wav", "b.wav")))),
        ),
        CallListing(
            **shared,
            order_by=draw(st.sampled_from(CALL_ORDERS)),
            queues=draw(st.sampled_from(((), ("6400",), ("6400", "1002")))),
        ),
    )


LISTINGS = _listings()
"""A page of records and one of calls, as apps request them."""

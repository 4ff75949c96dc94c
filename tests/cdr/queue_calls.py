"""Generated calls through queues, ring groups, IVRs and agents."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from onhook.cdr.record import Call
from tests.factories import STARTED_AT, call, record

_TARGETS = ("6400", "Team<6401>", "6400", "6300", "6200", "1001", "Bob<1002>", "1003", "Play Prompt", "6500")
_STATUSES = ("ANSWERED", "ANSWERED", "NO ANSWER", "ABANDONED", "BUSY", "VOICEMAIL", "")
_DURATIONS = st.sampled_from((0, 0, 3, 4, 5, 10, 20, 21, 40, None))


@st.composite
def queue_calls(draw: st.DrawFn, number: int = 0, days: int = 0) -> Call:
    """Return a call of one to six legs, in the seconds in which they may overlap; on one of so many days."""
    started_at = STARTED_AT + timedelta(days=draw(st.integers(0, days)), hours=draw(st.integers(0, 23 if days else 0)))
    call_id = f"{int(started_at.timestamp())}.{number}"
    legs = [
        record(started_at + timedelta(seconds=draw(st.integers(0, 45))), call_id=call_id, **_leg(draw))
        for _ in range(draw(st.integers(1, 6)))
    ]
    return call(*legs)


def _leg(draw: st.DrawFn) -> dict[str, Any]:
    duration = draw(_DURATIONS)
    talk = (
        draw(st.sampled_from((0, None)))
        if duration is None
        else draw(st.sampled_from((0, 0, duration // 2, duration, None)))
    )
    return {
        "call_to": draw(st.sampled_from(_TARGETS)),
        "call_from": "+4930555",
        "src_trunk_name": "trunk-1",
        "type": "Inbound",
        "status": draw(st.sampled_from(_STATUSES)),
        "call_duration": duration,
        "talk_duration": talk,
        "dst_trunk_name": draw(st.sampled_from(("", "", "", "", "trunk-2"))),
    }

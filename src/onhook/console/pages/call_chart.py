"""Chart of a call: its legs as bars on a time axis, with ringing and talk."""

from datetime import datetime

import msgspec

from onhook.cdr.call_assembly import is_answered
from onhook.cdr.identity import extract_number
from onhook.cdr.number_masking import is_masked
from onhook.cdr.number_plan import PERSON_KINDS, LegKind, NumberPlan
from onhook.cdr.record import Call, Record
from onhook.lib.messages import _, mark

TICKS_MAX = 6
"""More labels would overlap on a small screen."""

_STEPS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)

_KIND_NAMES = {
    "extension": mark("Extension"),
    "external": mark("Outside number"),
    "ivr": mark("IVR"),
    "queue": mark("Queue"),
    "ring_group": mark("Ring group"),
    "conference": mark("Conference"),
    "feature": mark("Feature"),
}


class LegBar(msgspec.Struct, frozen=True, kw_only=True):
    """A bar of one leg. Positions and widths are per cent of the axis; `talk_kind` is `person` or `machine`."""

    leg: Record
    kind: str
    ring_x: str
    ring_width: str
    talk_x: str
    talk_width: str
    talk_kind: str
    has_duration: bool


class AxisTick(msgspec.Struct, frozen=True):
    """A tick of the axis: seconds since the call began."""

    seconds: int
    x: str


class CallChart(msgspec.Struct, frozen=True):
    """The whole chart."""

    seconds: int
    bars: list[LegBar]
    ticks: list[AxisTick]


def draw_call_chart(call: Call, number_plan: NumberPlan) -> CallChart:
    """Return the chart of a call; a leg of unknown duration is a mark at its start."""
    begin = call.started_at
    seconds = max(1, *(_end_seconds(leg, begin) for leg in call.legs))
    bars = [_draw_bar(leg, begin, seconds, _kind_of_leg(leg, number_plan)) for leg in call.legs]
    return CallChart(seconds, bars, _draw_ticks(seconds))


def _kind_of_leg(leg: Record, number_plan: NumberPlan) -> LegKind:
    """Return the kind of a leg; one with a masked number is external."""
    return "external" if is_masked(extract_number(leg.call_to)) else number_plan.kind_of_leg(leg)


def _draw_bar(leg: Record, begin: datetime, seconds: int, kind: LegKind) -> LegBar:
    start_seconds = _seconds_since(leg.started_at, begin)
    length = leg.call_duration or 0
    talk = min(leg.talk_duration or 0, length)
    is_person = kind in PERSON_KINDS and is_answered(leg)
    return LegBar(
        leg=leg,
        kind=_(_KIND_NAMES[kind]),
        ring_x=_percent(start_seconds, seconds),
        ring_width=_percent(length - talk, seconds),
        talk_x=_percent(start_seconds + length - talk, seconds),
        talk_width=_percent(talk, seconds),
        talk_kind="person" if is_person else "machine",
        has_duration=leg.call_duration is not None,
    )


def _draw_ticks(seconds: int) -> list[AxisTick]:
    step = next((step for step in _STEPS_SECONDS if seconds / step <= TICKS_MAX), seconds)
    return [AxisTick(second, _percent(second, seconds)) for second in range(0, seconds + 1, step)]


def _end_seconds(leg: Record, begin: datetime) -> int:
    return _seconds_since(leg.started_at, begin) + (leg.call_duration or 0)


def _seconds_since(time: datetime, begin: datetime) -> int:
    return max(0, round((time - begin).total_seconds()))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3f}%"

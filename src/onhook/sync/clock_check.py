"""Clock and time zone of a PBX: which difference is normal, and which raises an alarm."""

from datetime import UTC, datetime, timedelta

from onhook.cdr.sync_types import PbxStatus
from onhook.lib.messages import _
from onhook.pbx.client import SystemFacts
from onhook.sync.alarms import AlarmText, set_alarm
from onhook.sync.contract import ClockState

CLOCK_SKEW_SECONDS_MAX = 60
"""Clock difference that raises an alarm; ids tolerate as much (yeastar-p-series.md 2.3)."""

DST_SHIFT_SECONDS = 3600
"""A local time that moved by this much has begun or ended daylight saving time."""


async def check_clock(state: ClockState, facts: SystemFacts, now: float) -> PbxStatus:
    """Store and return the system information; raise or end the alarms about the clock and the time zone."""
    previous_status, status = await state.pbx_status(), build_pbx_status(facts, round(now))
    if status.skew_seconds is not None:
        await set_alarm(state, "skew", clock_alarm(status.skew_seconds))
    if status.offset_seconds is not None:
        previous = None if previous_status is None else previous_status.offset_seconds
        expected = await state.expected_offset_seconds(datetime.fromtimestamp(now, UTC))
        argument = await state.pbx_argument()
        text = zone_alarm(status.offset_seconds, previous=previous, expected=expected, pbx_argument=argument)
        await set_alarm(state, "zone", text)
    await state.save_pbx_status(status)
    return status


def build_pbx_status(facts: SystemFacts, now: int) -> PbxStatus:
    """Return the status of a PBX that reported these facts at `now` (Unix seconds, our clock)."""
    return PbxStatus(
        checked_at=now,
        firmware=facts.firmware,
        skew_seconds=None if facts.clock is None else facts.clock - now,
        offset_seconds=facts.offset_seconds,
    )


def known_skews(*statuses: PbxStatus | None) -> list[int]:
    """Return the differences of the PBX's clock to ours, in seconds, that are known."""
    return [status.skew_seconds for status in statuses if status is not None and status.skew_seconds is not None]


def clock_alarm(skew_seconds: int) -> AlarmText | None:
    """Return the alarm for this difference of the PBX's clock to ours, None if it is small enough."""
    if abs(skew_seconds) <= CLOCK_SKEW_SECONDS_MAX:
        return None
    difference = timedelta(seconds=abs(skew_seconds))
    return AlarmText(
        _("the PBX's clock is {difference} ahead of this server's", difference=difference)
        if skew_seconds > 0
        else _("the PBX's clock is {difference} behind this server's", difference=difference),
        _("set the time of the PBX, preferably by NTP; the times of its calls are shifted by as much"),
    )


def zone_alarm(offset: int, *, previous: int | None, expected: int | None, pbx_argument: str) -> AlarmText | None:
    """Return the alarm for this offset from UTC, None if it is plausible.

    `expected` is the offset of the configured time zone; without one the offset is compared with the `previous` one.
    `pbx_argument` is the argument of the command in the hint.
    """
    detail = _zone_mismatch(offset, expected) if expected is not None else _zone_change(offset, previous)
    if not detail:
        return None
    return AlarmText(detail, _("set the PBX's zone, or run `onhook pbx change {pbx} --zone ZONE`", pbx=pbx_argument))


def _zone_mismatch(offset: int, expected: int) -> str:
    if offset == expected:
        return ""
    return _(
        "the PBX's local time is {offset} from UTC, but its configured zone is {expected}",
        offset=format_offset(offset),
        expected=format_offset(expected),
    )


def _zone_change(offset: int, previous: int | None) -> str:
    if previous is None or abs(offset - previous) in (0, DST_SHIFT_SECONDS):
        return ""
    return _(
        "the PBX's local time moved from {previous} to {offset} from UTC",
        previous=format_offset(previous),
        offset=format_offset(offset),
    )


def format_offset(seconds: int) -> str:
    """Return an offset in hours and minutes.

    >>> format_offset(10800), format_offset(-12600)
    ('+3:00', '-3:30')
    """
    hours, remainder = divmod(abs(seconds), 3600)
    return f"{'-' if seconds < 0 else '+'}{hours}:{remainder // 60:02}"

"""What the PBX's wall clock is worth in UTC (PROTOCOL.md 2.3).

`time_start` names no zone. The integer part of `call_id` is the second, in UTC, in which the call's first channel was
made; the first 14 digits of `uid` are the same second by the PBX's wall clock. Their difference is the offset, exact,
with nothing to configure. Where there is no such `uid`, the first leg's `time_start` serves; later legs drift, so a
call's offset comes from its earliest leg.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from onhook.cdr.details import CallDetails
from onhook.cdr.record import OffsetFrom
from onhook.errors import Unreadable, UsageError

OFFSET_STEP_SECONDS = 15 * 60
"""All zones in use are whole quarters of an hour from UTC."""

OFFSET_SECONDS_MAX = 14 * 3600
OFFSET_REMAINDER_SECONDS_MAX = 60
"""How far the two clocks of one PBX may be apart when it makes the ids."""

HOUR_SECONDS = 3600

_CALL_ID = re.compile(r"(?:.*-)?([0-9]{10})\.[0-9]+")
_UID = re.compile(r"([0-9]{14})[0-9A-Fa-f]{5}")
_WALL_CLOCK = re.compile(
    r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})[ T]([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?: ?([AaPp])[Mm])?"
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared as they are


def zone_named(name: str, where: str = "zone") -> ZoneInfo:
    """The zone of an IANA name. Raises `UsageError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"there is no time zone {name!r}", where=where, todo="write one such as Europe/Berlin") from None

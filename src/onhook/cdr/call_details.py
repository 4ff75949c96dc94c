"""The 18 fields of event 30012 (yeastar-p-series.md 2.1), under the event's own names.

Invariants: a missing text is empty; a missing number is None, never zero; unknown members are kept in `extra` under
their own names. Values are frozen.
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

# A call longer than a year is an error, not a call: such a value goes to `extra` and is not summed.
DURATION_SECONDS_MAX = 366 * 86_400

FOLD_CACHE_SIZE = 1_024
"""Nearly all calls share the same few words; folding each again would dominate the cost of comparing them."""

CLOCK_SHIFT = "clock_shift"
"""Member of `extra` with the seconds by which the PBX's clock was put forward (or back: negative) between the start of
the call and that of the leg, where the PBX's records show it.
"""

CLOCK_SHIFTS = (1_800, 3_600)
"""Summer time is an hour, on Lord Howe Island half an hour."""

UTC_OFFSET = "utc_offset_seconds"
"""Member of `extra` with the PBX's wall clock minus UTC at the start of a leg, in seconds, where it reports both."""

ANSWERED, NO_ANSWER, BUSY, FAILED = "ANSWERED", "NO ANSWER", "BUSY", "FAILED"
VOICEMAIL = "VOICEMAIL"
ABANDONED = "ABANDONED"
"""The caller hung up before a person answered: a machine answered last (yeastar-p-series.md 2.2, [tl])."""

_SPELLINGS = {"ANSWERD": ANSWERED}
_IGNORED_CHARACTERS = re.compile(r"[\s_]+")


class CallDetails(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The fields of one leg of a call, as reported.

    Durations are whole seconds. `time_start` is the PBX's wall clock, `YYYY-MM-DD HH:MM:SS`, without a zone.
    """

    call_id: str
    time_start: str
    call_from: str
    call_to: str
    call_duration: int | None = None
    talk_duration: int | None = None
    src_trunk_name: str = ""
    dst_trunk_name: str = ""
    pin_code: str = ""
    status: str = ""
    type: str = ""
    recording: str = ""
    did_number: str = ""
    did_name: str = ""
    agent_ring_time: int | None = None
    uid: str = ""
    call_note_id: str = ""
    enb_call_note: int | None = None
    extra: dict[str, Any] = {}


DETAIL_FIELDS: tuple[str, ...] = tuple(f for f in CallDetails.__struct_fields__ if f != "extra")
"""The 18 names, in the order of the event (yeastar-p-series.md 2.1)."""

NUMBER_FIELDS = frozenset({"call_duration", "talk_duration", "agent_ring_time", "enb_call_note"})
"""The fields with whole numbers; the others are texts."""


@lru_cache(maxsize=FOLD_CACHE_SIZE)
def fold_word(text: str) -> str:
    """Normalise `status` and `type` for comparison: case, spaces and underscores are ignored, and the vendor's own
    misspelling is read as what it means (yeastar-p-series.md 2.2).

    >>> fold_word("No_Answer") == fold_word("NO ANSWER") == fold_word("NOANSWER")
    True
    >>> fold_word("Answerd")
    'ANSWERED'
    """
    folded = _IGNORED_CHARACTERS.sub("", text).upper()
    return _SPELLINGS.get(folded, folded)

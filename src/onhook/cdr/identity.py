"""Identity of records (yeastar-p-series.md 2.5): a record is (`sn`, `call_id`, `time_start`, number of `call_to`).
Several participants may enter one conference in one second: there the caller's channel belongs to the number, and so it
does where a dialect marks legs of several callers in which the four are equal. Where the PBX names each leg, as a
FreeSWITCH does by a uuid, the channel of the called party belongs to the number.

`uid` and `call_id` alone identify nothing: on current firmware all legs of a call share both.
"""

import hashlib
import re

from onhook.cdr.call_details import CallDetails

_SIP_ADDRESS = re.compile(r"(?:sips?|tel):([^@;:]+)(?:[@;:].*)?", re.IGNORECASE)

CALLEE_KIND = "callee_kind"
"""Member of `extra` with the kind of the called party, where the PBX itself reports it (`number_plan.LegKind`)."""

IDENTIFIED_BY, BY_CHANNEL, BY_CALLEE_CHANNEL = "identified_by", "channel", "dst_channel"
"""Member of `extra`, and its values: of legs of one call that differ by the channel of their caller alone, and of legs
that the PBX names by the channel of the called party.
"""

PARTICIPANT_SEPARATOR = "\x1e"

CallKey = tuple[str, str]
"""(`sn`, `call_id`)."""

RecordKey = tuple[str, str, str, str]
"""(`sn`, `call_id`, `time_start`, number of `call_to`, if needed with the caller's channel)."""


def fold_sn(sn: str) -> str:
    """Return a serial number for comparison: PBXs write them in capitals, people in both."""
    return sn.upper()


def extract_number(party: str) -> str:
    """Return the number in `Name<number>`: the last `<…>` at the end, else the whole trimmed text (yeastar-p-series.md
    2.6); of a SIP address (RFC 3261, 19.1) the part before the host.

    >>> extract_number('Bob "B" <1002> '), extract_number(" 1002"), extract_number("Satisfaction Survey")
    ('1002', '1002', 'Satisfaction Survey')
    >>> extract_number('"Bob" <sip:1002@pbx.example;user=phone>'), extract_number("tel:+15550100")
    ('1002', '+15550100')
    """
    text = party.strip()
    if text.endswith(">"):
        opening = text.rfind("<")
        text = text[opening + 1 : -1].strip() if opening >= 0 else text
    if ":" in text and (match := _SIP_ADDRESS.fullmatch(text)):
        return match[1]
    return text


def differ_in_prefix(first: str, second: str, *, common_digits_min: int) -> bool:
    """Return whether one of two numbers, of digits, is the end of the other, and has so many digits at least: prefixes
    for line, country and area vary.

    >>> differ_in_prefix("5551234567", "15551234567", common_digits_min=7)
    True
    >>> differ_in_prefix("101", "9101", common_digits_min=7)
    False
    """
    shorter, longer = sorted((first, second), key=len)
    return len(shorter) >= common_digits_min and longer.endswith(shorter)


def extract_name(party: str) -> str:
    """Return the name in `Name<number>`, or empty if there is only a number.

    >>> extract_name("Queue Team<6400>"), extract_name("1002")
    ('Queue Team', '')
    """
    text = party.strip()
    opening = text.rfind("<") if text.endswith(">") else -1
    return text[:opening].strip() if opening > 0 else ""


def record_key(sn: str, details: CallDetails) -> RecordKey:
    """Return the key that identifies a record."""
    number = extract_number(details.call_to)
    if details.extra and (channel := details.extra.get(_identifying_member(details))):
        number = f"{number}{PARTICIPANT_SEPARATOR}{channel}"
    return (sn, details.call_id, details.time_start, number)


def _identifying_member(details: CallDetails) -> str:
    """Return the name of the member of `extra` with the channel that belongs to the number, or an empty name."""
    if details.extra.get(CALLEE_KIND) == "conference":
        return BY_CHANNEL
    identified_by = details.extra.get(IDENTIFIED_BY)
    return identified_by if identified_by in (BY_CHANNEL, BY_CALLEE_CHANNEL) else ""


def leg_channels(details: CallDetails) -> tuple[str, ...]:
    """Return the PBX channels of a leg, as far as `extra` contains them; for a leg with a single channel, with the
    number.

    Two reports with different times describe the same leg if these are equal.

    >>> caller = {"call_id": "1.1", "time_start": "", "call_from": "1001", "extra": {"channel": "PJSIP/1001-00000001"}}
    >>> leg_channels(CallDetails(call_to="Team<6400>", **caller))
    ('PJSIP/1001-00000001', '6400')
    """
    caller, callee = details.extra.get("channel", ""), details.extra.get("dst_channel", "")
    return (str(caller), str(callee) or extract_number(details.call_to)) if caller else ()


def record_id(key: RecordKey) -> str:
    """Return a short id of a record, the same wherever and whenever it is computed: 32 hexadecimal digits.

    MD5 of the key's parts joined by the ASCII unit separator: an identifier, not a proof, which databases can compute
    too.
    """
    return hashlib.md5("\x1f".join(key).encode(), usedforsecurity=False).hexdigest()

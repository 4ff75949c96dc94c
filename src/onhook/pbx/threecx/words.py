"""The words of both generations of 3CX, and what they mean (lines.md 3). Of its own, because it is a table. Pure."""

from collections.abc import Mapping
from typing import Literal

from onhook.cdr.call_details import BUSY, FAILED, NO_ANSWER, fold_word
from onhook.cdr.number_plan import LegKind

Side = Literal["caller", "callee"]

KINDS: Mapping[str, LegKind] = {
    "EXTENSION": "extension",
    "LINE": "external",
    "EXTERNALLINE": "external",
    "PROVIDER": "external",
    "BRIDGE": "external",
    "QUEUE": "queue",
    "IVR": "ivr",
    "RINGGROUP": "ring_group",
    "VMAIL": "voicemail",
    "VOICEMAIL": "voicemail",
    "CONFPLACE": "conference",
    "CONFERENCE": "conference",
    "FAX": "feature",
    "PARKING": "feature",
    "SCRIPT": "ivr",
}
"""Kinds of parties by the types of 3CX, folded: `Line` and `external_line`, `RingGroup` and `ring_group`."""

_ENDED_BY: Mapping[str, Side] = {
    "TERMINATEDBYSRC": "caller",
    "SRCPARTICIPANTTERMINATED": "caller",
    "TERMINATEDBYDST": "callee",
    "DSTPARTICIPANTTERMINATED": "callee",
}


_NO_ANSWER_PARTS = ("CANCEL", "NOANSWER", "TIMEOUT", "NOTANSWERED")


def find_kind(type_word: str) -> LegKind | None:
    """Return the kind of a party by its type; None for an empty or unknown one.

    >>> find_kind("Line"), find_kind("external_line"), find_kind("")
    ('external', 'external', None)
    """
    return KINDS.get(fold_word(type_word))


def find_side(reason: str) -> Side | None:
    """Return which side ended a call; None where the reason does not say it.

    >>> find_side("TerminatedBySrc"), find_side("dst_participant_terminated"), find_side("redirected")
    ('caller', 'callee', None)
    """
    return _ENDED_BY.get(fold_word(reason))


def find_unanswered_status(reason: str) -> str:
    """Return the status of a call that was not answered.

    >>> [find_unanswered_status(reason) for reason in ("Failed_Busy", "no_route", "Failed_Cancelled", "polling")]
    ['BUSY', 'FAILED', 'NO ANSWER', 'NO ANSWER']
    """
    word = fold_word(reason)
    if "BUSY" in word:
        return BUSY
    if any(part in word for part in _NO_ANSWER_PARTS):
        return NO_ANSWER
    return FAILED if word.startswith("FAILED") or word == "NOROUTE" else NO_ANSWER

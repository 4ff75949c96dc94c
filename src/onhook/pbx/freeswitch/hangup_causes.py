"""Hangup causes of FreeSWITCH, by name, and the status of a leg (freeswitch.md 6). Pure.

The number of a cause (Q.850) says less: seven names share 16.
"""

from collections.abc import Mapping

from onhook.cdr.call_details import BUSY, FAILED, NO_ANSWER

ANSWERED_ELSEWHERE = frozenset({"LOSE_RACE", "PICKED_OFF"})
"""Another telephone answered."""

STATUS_OF_CAUSE: Mapping[str, str] = {
    "USER_BUSY": BUSY,
    **dict.fromkeys(("NO_ANSWER", "NO_USER_RESPONSE", "ORIGINATOR_CANCEL", "ALLOTTED_TIMEOUT"), NO_ANSWER),
    **dict.fromkeys(("LOSE_RACE", "PICKED_OFF", "ATTENDED_TRANSFER", "BLIND_TRANSFER"), NO_ANSWER),
    **dict.fromkeys(("NORMAL_CLEARING", "NONE", "MANAGER_REQUEST", ""), NO_ANSWER),
}

_CAUSE_OF_DIALSTATUS: Mapping[str, str] = {
    "BUSY": "USER_BUSY",
    "NOANSWER": "NO_ANSWER",
    "CANCEL": "ORIGINATOR_CANCEL",
    "SUCCESS": "",
}


def status_of_unanswered(cause: str) -> str:
    """Return the status of a leg that was not answered, by the name of its cause.

    >>> status_of_unanswered("USER_BUSY"), status_of_unanswered("CALL_REJECTED"), status_of_unanswered("LOSE_RACE")
    ('BUSY', 'FAILED', 'NO ANSWER')
    """
    return STATUS_OF_CAUSE.get(cause, FAILED)


def cause_of_caller(hangup_cause: str, dial_status: str, originate_disposition: str) -> str:
    """Return why the party that a leg called did not answer: the leg itself ends with NORMAL_CLEARING where no called
    telephone answered in time.
    """
    if originate_disposition and originate_disposition != "SUCCESS":
        return originate_disposition
    return _CAUSE_OF_DIALSTATUS.get(dial_status, dial_status) or hangup_cause

"""Stages of a leg that a machine answered: queue, IVR, voicemail, conference, features (freeswitch.md 7). Pure."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from onhook.cdr.number_plan import LegKind
from onhook.pbx.freeswitch.call import is_click_to_call
from onhook.pbx.freeswitch.documents import MICROSECONDS, Application, Profile, to_microseconds
from onhook.pbx.freeswitch.leg import Leg

KIND_OF_APPLICATION: Mapping[str, LegKind] = {
    "callcenter": "queue",
    "fifo": "queue",
    "ivr": "ivr",
    "play_and_get_digits": "ivr",
    "read": "ivr",
    "voicemail": "voicemail",
    "conference": "conference",
    "echo": "feature",
    "delay_echo": "feature",
    "directory": "feature",
    "disa": "feature",
}

_ROUTING = frozenset({"bridge", "transfer", "att_xfer", "intercept"})
"""Applications that end a stage: from then on the leg is with another party, or in another extension."""

_MESSAGE = re.compile(r"0*:?0*:?0*")


class MachineStage(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of a leg. `answer` is when the caller of a queue was connected, of others the begin; `is_abandoned` says
    that the caller of a queue hung up, `has_message` that one was left.
    """

    kind: LegKind
    number: str
    begin: int
    answer: int | None
    end: int | None
    is_abandoned: bool = False
    has_message: bool = False


def find_stages(leg: Leg) -> Iterator[MachineStage]:
    """Yield the stages of a leg, in order."""
    applications = list(leg.applications)
    names = {application.name for application in applications}
    if leg.get("cc_side") == "member" and "callcenter" not in names:
        joined = to_microseconds(f"{leg.get('cc_queue_joined_epoch')}000000")
        applications.append(Application("callcenter", leg.get("cc_queue"), joined or leg.start))
    answered: int | None = None
    current: Application | None = None
    begin = began = leg.answer or leg.start
    for application in applications:
        # Older releases say no time: then that of the answer, or of the application before.
        began = max(application.began or began, leg.start)
        if application.name == "answer":
            answered = began
        elif application.name in _ROUTING or application.name in KIND_OF_APPLICATION:
            if current is not None and _is_continued(leg, current, application, begin, began):
                continue
            if current is not None:
                yield from _stage(leg, current, begin, began)
            current = application if application.name in KIND_OF_APPLICATION else None
            is_queue = KIND_OF_APPLICATION.get(application.name) == "queue"
            begin, answered = began if is_queue or answered is None else answered, None
    if current is not None:
        yield from _stage(leg, current, begin, leg.end)
    elif answered is not None and leg.is_caller and not is_click_to_call(leg):
        yield _feature(leg, answered)


def _feature(leg: Leg, begin: int) -> MachineStage:
    """Return the stage of a leg that the dialplan answered, of which the caller did not wait for the rest."""
    number = profile_at(leg, begin).destination
    return MachineStage(kind="feature", number=number, begin=begin, answer=begin, end=leg.end)


def _is_continued(leg: Leg, current: Application, application: Application, begin: int, began: int) -> bool:
    """Return whether an application goes on with the stage of another one: an IVR plays several prompts."""
    kind = KIND_OF_APPLICATION.get(application.name)
    return (
        kind == KIND_OF_APPLICATION[current.name] == "ivr"
        and profile_at(leg, begin).destination == profile_at(leg, began).destination
    )


def _stage(leg: Leg, application: Application, begin: int, end: int | None) -> Iterator[MachineStage]:
    """Yield the stage of an application; none for that of a person who picks calls up from a queue."""
    kind = KIND_OF_APPLICATION[application.name]
    profile = profile_at(leg, begin)
    words = application.data.split()
    if application.name == "fifo" and "out" in words:
        return
    answer = begin if leg.answer is not None and (end is None or leg.answer <= end) else None
    number, is_abandoned, has_message = profile.destination, False, False
    if kind in ("queue", "conference"):
        name = application.data.partition("@")[0]
        number = name if name.isdecimal() else number
    if kind == "queue":
        answer = _queue_answer(leg, application, begin, end)
        is_abandoned = answer is None and leg.get("cc_cancel_reason") in ("BREAK_OUT", "")
    elif kind == "voicemail" and "check" in words:
        kind = "feature"
    elif kind == "voicemail":
        number = leg.get("voicemail_account") or (words[-1] if words else number)
        has_message = not _MESSAGE.fullmatch(leg.get("voicemail_message_len") or leg.get("voicemail_message_seconds"))
    yield MachineStage(
        kind=kind,
        number=number,
        begin=begin,
        answer=answer,
        end=end,
        is_abandoned=is_abandoned,
        has_message=has_message,
    )


def _queue_answer(leg: Leg, application: Application, begin: int, end: int | None) -> int | None:
    """Return when an agent was connected; None if none was. The variables are those of the leg's last queue."""
    answer = to_microseconds(f"{leg.get('cc_queue_answered_epoch')}000000")
    if application.data != leg.get("cc_queue") or answer is None:
        bridges = (profile.bridged for profile in leg.profiles if profile.bridged is not None)
        answer = next((bridge for bridge in bridges if begin <= bridge and (end is None or bridge <= end)), None)
    return None if answer is None else max(answer, begin // MICROSECONDS * MICROSECONDS)


def profile_at(leg: Leg, moment: int) -> Profile:
    """Return the profile of a leg at a time."""
    profiles = [profile for profile in leg.profiles if profile.created is not None and profile.created <= moment]
    return profiles[-1] if profiles else leg.profiles[0]

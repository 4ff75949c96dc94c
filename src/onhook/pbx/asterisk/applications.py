"""The applications of the dialplan: what the one in a CDR, and its argument, say about who was called.

Invariant: an argument names a party only where the application connects the caller with parties or a mailbox; that of
any other one is a file, an option or a secret.
"""

import re
from collections.abc import Mapping

import msgspec

from onhook.pbx.asterisk.call import Cdr
from onhook.pbx.asterisk.channels import dialled_number, is_dialled, mailbox_number

QUEUE_APPLICATION, VOICEMAIL_APPLICATION = "Queue", "VoiceMail"
CALLEE_APPLICATIONS = frozenset({"AppDial", "AppQueue"})
"""Applications of a called channel: its own CDR adds nothing to the caller's."""

ORIGINATION_APPLICATION = "AppDial2"
"""Application of the channel of a first party while it rings."""

CONFERENCE_APPLICATIONS = frozenset({"ConfBridge", "MeetMe", "Konference", "Page"})
"""Applications in which a caller talks with several participants."""

IVR_APPLICATIONS = frozenset({"BackGround", "Background", "WaitExten", "Read", "Playback"})
"""Applications that play a text, or ask a caller to press a digit."""

DIAL_APPLICATIONS = frozenset({"", "Dial", "Busy", "Congestion", ORIGINATION_APPLICATION})
"""Applications that say nothing about who was called."""

MACHINE_APPLICATIONS = CONFERENCE_APPLICATIONS | IVR_APPLICATIONS | {QUEUE_APPLICATION, VOICEMAIL_APPLICATION}
"""Applications that are a part of the call of their own, also after another one."""

_MAILBOX_END = re.compile(r"[@&]")


def first_argument(cdr: Cdr) -> str:
    """Return the first argument of the CDR's application: `1001@default` of `1001@default,u`."""
    return cdr.application_data.partition(",")[0]


def rings_members(cdr: Cdr) -> bool:
    """Return whether the called channel is a member of a queue, or one of several that ring together."""
    is_group = cdr.application == "Dial" and "&" in first_argument(cdr)
    return not cdr.is_reversed and (cdr.application == QUEUE_APPLICATION or is_group)


def as_group_cdr(cdr: Cdr) -> Cdr:
    """Return the CDR of a machine that is behind a member of a queue or group as that of the queue or group."""
    if not cdr.group_application:
        return cdr
    return msgspec.structs.replace(
        cdr, application=cdr.group_application, application_data=cdr.group_data, destination=cdr.group_destination
    )


def dialled_extension(cdr: Cdr) -> str:
    """Return what a caller dialled to reach the called party; empty for an extension of the dialplan alone."""
    extension = dialled_number(cdr.inner_destination or cdr.destination)
    return extension if is_dialled(extension) else ""


def find_mailbox(cdr: Cdr) -> str:
    """Return the mailbox that a CDR without a called channel reached: by its extension, or by the argument of
    `VoiceMail` where a caller cannot have dialled the extension; else empty.
    """
    mailbox = mailbox_number(cdr.destination)
    if mailbox or cdr.application != VOICEMAIL_APPLICATION or is_dialled(cdr.destination):
        return mailbox
    return _MAILBOX_END.split(first_argument(cdr), maxsplit=1)[0]


def machine_name(cdr: Cdr) -> str:
    """Return the number or name of what a CDR without a called channel reached; empty where it says nothing."""
    dialled = dialled_extension(cdr)
    if dialled or cdr.application in DIAL_APPLICATIONS:
        return dialled
    names: Mapping[str, str] = {
        VOICEMAIL_APPLICATION: find_mailbox(cdr),
        **dict.fromkeys((QUEUE_APPLICATION, *CONFERENCE_APPLICATIONS), first_argument(cdr)),
        **dict.fromkeys(IVR_APPLICATIONS, cdr.context),
    }
    return names.get(cdr.application) or cdr.application

"""What the last application of a CDR, and its argument, say about who was called."""

import pytest

from onhook.pbx.asterisk.applications import find_mailbox, machine_name
from onhook.pbx.asterisk.call import CallHeader, Cdr, format_body, parse_call
from tests.pbx.asterisk.ami_streams import build_event


def cdr(application: str, data: str, destination: str = "s") -> Cdr:
    lines = {"LinkedID": "1777309476.1", "StartTime": "2026-04-27 19:04:36", "DestinationContext": "reminders"}
    event = build_event("Cdr", LastApplication=application, LastData=data, Destination=destination, **lines)
    return parse_call(format_body(CallHeader(), [event])).cdrs[0]


@pytest.mark.parametrize(
    ("application", "data", "name"),
    [
        ("ConfBridge", "6500,,", "6500"),
        ("VoiceMail", "1001@default,u", "1001"),
        ("VoiceMail", "1001&1002,u", "1001"),
        ("Playback", "reminder", "reminders"),
        ("WaitExten", "10", "reminders"),
        ("AMD", "2500", "AMD"),
        ("ReceiveFAX", "fax/1.tif", "ReceiveFAX"),
        ("Authenticate", "4711", "Authenticate"),
        ("Dial", "PJSIP/1002,20", ""),
        ("AppDial2", "(Outgoing Line)", ""),
        ("", "", ""),
    ],
)
def test_machine_name_is_an_argument_of_conferences_and_mailboxes_alone(application: str, data: str, name: str) -> None:
    assert machine_name(cdr(application, data)) == name


def test_machine_name_is_what_was_dialled() -> None:
    assert machine_name(cdr("Playback", "reminder", "9000")) == "9000"
    assert machine_name(cdr("Dial", "PJSIP/1002,20", "1002")) == "1002"


@pytest.mark.parametrize(
    ("application", "data", "destination", "mailbox"),
    [
        ("VoiceMail", "1001@default,u", "s-NOANSWER", "1001"),
        ("VoiceMail", "1001@default,u", "vmu1002", "1002"),
        ("VoiceMail", "1001@default,u", "1002", ""),
        ("Playback", "vm-goodbye", "vmu1002", "1002"),
        ("Playback", "vm-goodbye", "vmret", ""),
    ],
)
def test_mailbox_is_in_the_extension_or_else_in_the_argument(
    application: str, data: str, destination: str, mailbox: str
) -> None:
    """An extension that a caller dialled is the party's own."""
    assert find_mailbox(cdr(application, data, destination)) == mailbox

"""Titles of issues and what they mean, in sentences for people who run no servers.

The detail of an issue has the figures and its hint the command; these texts are the same for each issue of a kind.
"""

from collections.abc import Mapping

import msgspec

from onhook.lib.messages import _


class IssueText(msgspec.Struct, frozen=True):
    """A sentence about the subject of an issue, such as a PBX, without a full stop; and what that means."""

    title: str
    meaning: str = ""


def describe_kind(kind: str) -> IssueText:
    """Return the texts of a kind of issue; the words of the kind where it has none, as in a later version.

    >>> describe_kind("alarm_silence").title, describe_kind("alarm_sun_spots")
    ('No calls arrive', IssueText(title='Alarm sun spots', meaning=''))
    """
    texts = {**_alarm_texts(), **_destination_texts(), **_rejection_texts(), **_check_texts()}
    return texts.get(kind) or IssueText(kind.replace("_", " ").capitalize())


def name_issue(kind: str, subject: str) -> str:
    """Return the title of an issue with its subject; the subject of a check is the check itself.

    >>> name_issue("alarm_silence", "Office"), name_issue("check_disk", "disk")
    ('Office: No calls arrive', 'The disk is nearly full')
    """
    title = describe_kind(kind).title
    return title if kind.startswith("check_") or not subject else f"{subject}: {title}"


def _alarm_texts() -> Mapping[str, IssueText]:
    return {
        "alarm_unreachable": IssueText(
            _("The PBX does not answer"),
            _("Onhook cannot connect to it. Until it answers, calls that it does not send by itself may be missing."),
        ),
        "alarm_credentials": IssueText(
            _("The PBX refuses the sign-in of Onhook"),
            _("User or password are wrong, or lack a permission. Until they are corrected, calls may be missing."),
        ),
        "alarm_certificate": IssueText(
            _("The certificate of the PBX is not the trusted one"),
            _(
                "The PBX may have a new one, or another machine may answer at its address. Onhook does not connect"
                " until a person has compared it."
            ),
        ),
        "alarm_silence": IssueText(
            _("No calls arrive"),
            _(
                "The PBX has reported no call for longer than usual. There may have been none; or it is off, or does"
                " not reach Onhook."
            ),
        ),
        "alarm_missed": IssueText(
            _("Some calls arrived late"),
            _("The PBX did not send them when they ended. They have been fetched since: none of them is missing."),
        ),
        "alarm_clock": IssueText(
            _("The times of its calls are wrong"),
            _("They differ from the times at which the calls arrive. Reports count them in a wrong hour, or day."),
        ),
        "alarm_skew": IssueText(
            _("The clock of the PBX is wrong"),
            _("The times of its calls are wrong by as much. Reports may count them in a wrong hour."),
        ),
        "alarm_zone": IssueText(
            _("The time zone of the PBX does not match"),
            _("Its local time is not that of the zone that is set. Reports may count its calls in a wrong hour."),
        ),
        "alarm_difference": IssueText(
            _("Calls are missing"),
            _("The PBX lists more calls than arrived here. Reports of these days are too low until they are fetched."),
        ),
        "alarm_unreadable": IssueText(
            _("Some calls could not be read"),
            _("The list of the PBX has entries that Onhook does not understand. They are stored, and in no report."),
        ),
        "alarm_source": IssueText(
            _("The list of calls of the PBX cannot be read"),
            _("Calls that are missed during an interruption cannot be fetched until it can be read."),
        ),
        "alarm_gap": IssueText(
            _("Calls may be missing"),
            _("There was no connection to the PBX for some time, and its calls of that time were not fetched."),
        ),
    }


def _destination_texts() -> Mapping[str, IssueText]:
    return {
        "destination_disabled": IssueText(
            _("The destination is disabled"),
            _("Nothing is sent to it. What is to be sent waits until it is resumed."),
        ),
        "destination_full": IssueText(
            _("Too many notifications wait for the destination"),
            _("No further ones are sent until those that failed are retried or discarded."),
        ),
        "destination_failing": IssueText(
            _("The destination accepts nothing"),
            _("Notifications wait, and are retried automatically until they have failed too often."),
        ),
        "destination_failed": IssueText(
            _("Notifications were not delivered"),
            _("All their attempts have failed. They are stored, and sent when a person retries them."),
        ),
    }


def _rejection_texts() -> Mapping[str, IssueText]:
    return {
        "rejected_unknown_pbx": IssueText(
            _("A PBX that is not registered sends calls"),
            _("They are rejected and not stored, until it is added here or stops sending."),
        ),
        "rejected_invalid_signature": IssueText(
            _("Calls are rejected: they are signed with another secret"),
            _("The secret in the PBX and the one here are not equal. Until they are, its calls are missing."),
        ),
        "rejected_missing_signature": IssueText(
            _("Calls are rejected: they have no signature"),
            _("The PBX has no secret: any sender could send calls in its name. Until it has, its calls are missing."),
        ),
        "rejected_unexpected_source": IssueText(
            _("Calls are rejected: they come from another address or path"),
            _("The PBX is known by its address or path. If it has another one now, its calls are missing."),
        ),
        "rejected_wrong_method": IssueText(
            _("Calls are rejected: the sender does not use POST"),
            _("The method of its webhook is another one. Until it is POST, its calls are missing."),
        ),
    }


def _check_texts() -> Mapping[str, IssueText]:
    return {
        "check_clock": IssueText(
            _("The clock of this server is wrong"),
            _("Everything here would have wrong times. It is set at the machine."),
        ),
        "check_disk": IssueText(
            _("The disk is nearly full"),
            _("When it is full, no further calls can be stored. Deleting old calls makes space."),
        ),
        "check_permissions": IssueText(
            _("Other users of this machine can read the data"),
            _("Its files have calls, passwords and keys, and are meant for the server alone."),
        ),
        "check_ledger": IssueText(
            _("The file with the received calls is damaged"),
            _("Part of what was received may be lost. A backup has to be restored at the machine."),
        ),
        "check_appdb": IssueText(
            _("The file with the settings is damaged"),
            _("Users, PBXs or destinations may be lost. A backup has to be restored at the machine."),
        ),
        "check_backlog": IssueText(
            _("The latest calls are not on the pages yet"),
            _("Calls are received and stored; pages and reports are behind."),
        ),
        "check_quarantine": IssueText(
            _("Some events could not be read"), _("They are stored unchanged, and are in no report.")
        ),
        "check_settings": IssueText(
            _("No PBX is registered any longer, although there are calls"),
            _("The settings are lost or cannot be read. New calls may be rejected until they are there again."),
        ),
        "check_cursors": IssueText(
            _("Destinations may have missed calls"),
            _("What was received was replaced, as by a backup. They go on with the calls that come from now on."),
        ),
        "check_folders": IssueText(
            _("The files of a PBX cannot be read"), _("The calls in them are missing until they can be read.")
        ),
        "check_spool": IssueText(
            _("A machine keeps events that the ledger lacks"),
            _(
                "The servers of the ledger had no quorum, and the intake has kept what it acknowledged on its own disk."
                " It forwards the events by itself; until then calls are missing, and a lost disk loses them."
            ),
        ),
        "check_mail": IssueText(
            _("Mails cannot be sent"), _("Invitations and mails about issues wait until they can be sent.")
        ),
    }

"""Rejected requests as a person sees them: which verdicts are rejections, their titles, and what to do about each."""

import shlex
from datetime import datetime, timedelta
from typing import Protocol

from onhook.lib.messages import _
from onhook.receiver.verdict import RESPONSES_BY_VERDICT

REJECTED_KINDS = frozenset(kind for kind, response in RESPONSES_BY_VERDICT.items() if response.status >= 400)
"""Verdicts on requests that were answered with an error; all others are stored, or received as they should be."""

SENDER_KINDS = frozenset({"unknown_pbx", "invalid_signature", "missing_signature", "unexpected_source"})
"""Verdicts that need a person: a wrong secret, or a PBX that is not registered."""

REJECTION_MAX_AGE = timedelta(days=1)
"""A rejected request that is older needs no attention any longer; it stays in the list of rejected requests."""


class Rejection(Protocol):
    """A counter of rejected requests; `pbx` is the name of the PBX with this serial number, or empty."""

    @property
    def kind(self) -> str: ...
    @property
    def sn(self) -> str: ...
    @property
    def pbx(self) -> str: ...
    @property
    def last_at(self) -> datetime: ...


def needs_person(counter: Rejection, now: datetime) -> bool:
    """Return whether a counter is of requests that were rejected lately, and of a sender that is still rejected."""
    is_registered_now = counter.kind == "unknown_pbx" and bool(counter.pbx)
    return counter.kind in SENDER_KINDS and not is_registered_now and now - counter.last_at <= REJECTION_MAX_AGE


def find_title(kind: str) -> str:
    """Return what was rejected, in words.

    >>> find_title("missing_signature"), find_title("too_large")
    ('Requests without a signature', 'Requests that are too large')
    """
    titles = {
        "unknown_pbx": _("Requests from an unknown PBX"),
        "missing_signature": _("Requests without a signature"),
        "unexpected_source": _("Requests from another address or path than the PBX's"),
        "invalid_signature": _("Requests with an invalid signature"),
        "not_an_event": _("Requests that are no events"),
        "too_large": _("Requests that are too large"),
        "header_too_large": _("Requests with a header that is too large"),
        "bad_request": _("Requests that are not HTTP"),
        "too_slow": _("Requests that took too long to arrive"),
        "wrong_method": _("Requests with another method than POST"),
        "too_many": _("Requests beyond the limits of the intake"),
        "unavailable": _("Requests while the ledger could not be written"),
        "settings_lost": _("Requests while no PBX was registered"),
    }
    return titles.get(kind, kind.replace("_", " "))


def find_remedy(kind: str, sn: str, pbx: str) -> str:
    """Return what to do about rejected requests of this kind, with commands that can be pasted.

    >>> find_remedy("unexpected_source", "3631A2124ABC", "Head office")
    "to accept them: `onhook pbx change 'Head office' --from ADDRESS`"
    """
    name = shlex.quote(pbx or sn) if pbx or sn else "NAME"
    add_command = f"`onhook pbx add NAME --sn {shlex.quote(sn) if sn else 'SN'} --secret SECRET`"
    remedies = {
        "unknown_pbx": _("to accept them: {command}", command=add_command),
        "unexpected_source": _("to accept them: {command}", command=f"`onhook pbx change {name} --from ADDRESS`"),
        "invalid_signature": _(
            "compare the secret with that of the PBX; {command} adds the one that the PBX shows",
            command=f"`onhook pbx secret add {name}`",
        ),
        "missing_signature": _(
            "set its secret in the PBX; an S-Series or Cloud PBX, which cannot sign, is added with `--dialect newcdr`"
        ),
        "not_an_event": _("find out what sends them; in a PBX, set the webhook's event 30012"),
        "too_large": _("find out what sends them: an event has at most 256 KiB"),
        "too_slow": _("check the network, and any proxy, between the sender and the intake"),
        "too_many": _("nothing, where it is over: a PBX sends its event again; else find out what sends them"),
        "unavailable": _("`onhook doctor` checks the disk; a PBX sends its event again"),
        "settings_lost": _("`onhook restore` restores a backup; or add the PBXs again with `onhook pbx add`"),
    }
    return remedies.get(kind, _("find out what sends them: a PBX sends its events by HTTP and POST"))

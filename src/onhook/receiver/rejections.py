"""Rejected requests as a person sees them: which verdicts are rejections, their titles, and what to do about each."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from onhook.cdr.identity import fold_sn
from onhook.ledger.contract import Counter
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.receiver.counters import OVERFLOW_LABEL
from onhook.receiver.verdict import RESPONSES_BY_VERDICT, is_by_webhook

REJECTED_KINDS = frozenset(kind for kind, response in RESPONSES_BY_VERDICT.items() if response.status >= 400)
"""Verdicts on requests that were answered with an error; all others are stored, or received as they should be."""

SENDER_KINDS = frozenset({"unknown_pbx", "invalid_signature", "missing_signature", "unexpected_source"})
"""Verdicts on a sender that need a person: a wrong secret, or a PBX that is not registered."""

PERSON_KINDS = SENDER_KINDS | {"wrong_method"}
"""Verdicts that need a person: also a webhook that is sent by another method than events are."""

REJECTION_MAX_AGE = timedelta(days=1)
"""A rejected request that is older needs no attention any longer; it stays in the list of rejected requests."""


_PATH_OPTION = "--path PATH"
_SOURCE_OPTIONS: Mapping[tuple[str, ...], str] = {
    ("path",): _PATH_OPTION,
    ("address", "path"): f"--from ADDRESS {_PATH_OPTION}",
}
"""Options that change what a PBX is identified by; `--from ADDRESS` where that is unknown."""


class RequestCounter(msgspec.Struct, frozen=True, kw_only=True):
    """Counter of requests with one verdict, with the times of the first, where it is known, and of the last one.

    `pbx` is the name of the PBX that has the serial number `sn`, or empty, and `identified_by` are the parts of its
    source, `address` and `path`, where that identifies it. `last_peer` is the address that sent the last request, or
    empty. For an unregistered serial number `label` is that of the PBX whose secret signs the events.
    """

    kind: str
    sn: str
    pbx: str
    label: str = ""
    count: int
    first_at: datetime | None = None
    last_at: datetime
    last_peer: str = ""
    identified_by: tuple[str, ...] = ()

    @property
    def is_merged(self) -> bool:
        """Return whether the counter is of several serial numbers, beyond the limit of counters."""
        return not self.sn and self.label == OVERFLOW_LABEL

    @property
    def is_registered_now(self) -> bool:
        """Return whether the PBX of a rejected request was registered since."""
        return self.kind == "unknown_pbx" and bool(self.pbx)

    @property
    def is_rejected(self) -> bool:
        """Return whether the requests were answered with an error."""
        return self.kind in REJECTED_KINDS

    @property
    def title(self) -> str:
        """Return what was rejected, in words."""
        return find_title(self.kind)

    @property
    def remedy(self) -> str:
        """Return what to do about it, with a command between backticks."""
        return find_remedy(self)


def name_counters(
    counters: Iterable[Counter], senders: Mapping[str, tuple[str, tuple[str, ...]]]
) -> list[RequestCounter]:
    """Return the ledger's counters with the PBXs of `senders`: the name and the parts of the source of each, by serial
    number, folded.
    """
    named_counters = []
    for counter in counters:
        name, identified_by = senders.get(fold_sn(counter.sn), ("", ()))
        named_counters.append(
            RequestCounter(
                kind=counter.kind,
                sn=counter.sn,
                pbx=name,
                label=counter.label,
                count=counter.count,
                first_at=to_datetime(counter.first_at),
                last_at=to_datetime(counter.last_at),
                last_peer=counter.last_peer,
                identified_by=identified_by,
            )
        )
    return named_counters


C = TypeVar("C", bound=RequestCounter)


def needs_person(counter: RequestCounter, now: datetime) -> bool:
    """Return whether a counter is of requests that were rejected lately, and of a sender that is still rejected. Pages
    that browsers and scanners ask for, which are counted without a label, need none.
    """
    if counter.kind == "wrong_method" and not counter.label:
        return False
    return counter.kind in PERSON_KINDS and not counter.is_registered_now and now - counter.last_at <= REJECTION_MAX_AGE


def list_rejections(counters: Iterable[C], now: datetime) -> list[C]:
    """Return the counters of rejected requests that need a person, the latest first; those of one registered PBX and
    reason are added up. A registered PBX whose webhook was accepted since is in order.
    """
    counters = list(counters)
    accepted_at: dict[str, datetime] = {}
    for counter in counters:
        if counter.pbx and (is_by_webhook(counter) or counter.kind == "test_message"):
            accepted_at[counter.pbx] = max(counter.last_at, accepted_at.get(counter.pbx, counter.last_at))
    rejections = [
        counter
        for counter in counters
        if needs_person(counter, now) and (counter.pbx not in accepted_at or counter.last_at > accepted_at[counter.pbx])
    ]
    return add_up_by_pbx(rejections)


def add_up_by_pbx(rejections: Iterable[C]) -> list[C]:
    """Return the counters, the latest first; of one registered PBX and reason one with the sum, and the latest serial
    number.
    """
    sums: dict[tuple[str, ...], C] = {}
    for counter in sorted(rejections, key=lambda counter: counter.last_at, reverse=True):
        key = (counter.kind, counter.pbx) if counter.pbx else (counter.kind, "", counter.sn, counter.label)
        latest = sums.get(key)
        sums[key] = counter if latest is None else msgspec.structs.replace(latest, count=latest.count + counter.count)
    return list(sums.values())


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
        "wrong_method": _("Requests with another method than POST, or GET with a body"),
        "too_many": _("Requests beyond the limits of the intake"),
        "unavailable": _("Requests while the ledger could not be written"),
        "settings_lost": _("Requests while no PBX was registered"),
        "settings_unreadable": _("Requests while onhook.db could not be read"),
    }
    return titles.get(kind, kind.replace("_", " "))


def find_remedy(counter: RequestCounter) -> str:
    """Return what to do about rejected requests, with commands that can be pasted."""
    if counter.is_merged and counter.kind in SENDER_KINDS:
        return _("find out what sends them: these requests name too many serial numbers to list each")
    return _find_sender_remedy(counter) if counter.kind in SENDER_KINDS else _find_request_remedy(counter.kind)


def _find_sender_remedy(counter: RequestCounter) -> str:
    """Return what to do about requests of a PBX with another secret or source, or of an unknown one."""
    name = shlex.quote(counter.pbx or counter.sn) if counter.pbx or counter.sn else "NAME"
    sn = shlex.quote(counter.sn) if counter.sn else "SN"
    options = _SOURCE_OPTIONS.get(counter.identified_by, "--from ADDRESS")
    remedies = {
        "unknown_pbx": _("to accept them: {command}", command=f"`onhook pbx add NAME --sn {sn} --secret SECRET`"),
        "unexpected_source": _("to accept them: {command}", command=f"`onhook pbx change {name} {options}`"),
        "invalid_signature": _(
            "compare the secret with that of the PBX; {command} adds the one that the PBX shows",
            command=f"`onhook pbx secret add {name}`",
        ),
        "missing_signature": _(
            "set its secret in the PBX; an S-Series or Cloud PBX, which cannot sign, is added with `--dialect newcdr`"
        ),
    }
    return remedies[counter.kind]


def _find_request_remedy(kind: str) -> str:
    """Return what to do about requests that were rejected whichever the sender."""
    remedies = {
        "not_an_event": _("find out what sends them; in a PBX, set the webhook's event 30012"),
        "too_large": _("find out what sends them: an event has at most 256 KiB"),
        "too_slow": _("check the network, and any proxy, between the sender and the intake"),
        "too_many": _("nothing, where it is over: a PBX sends its event again; else find out what sends them"),
        "unavailable": _("`onhook doctor` checks the disk; a PBX sends its event again"),
        "settings_lost": _("`onhook restore` restores a backup; or add the PBXs again with `onhook pbx add`"),
        "settings_unreadable": _("`onhook doctor` checks it; a PBX sends its event again"),
        "wrong_method": _("set the method of the webhook in its sender to POST"),
    }
    return remedies.get(
        kind, _("find out what sends them: a PBX sends its events by HTTP, by POST or by GET with a body")
    )

"""Health checks of the requests to the intake: rejected ones, and events of serial numbers that are not registered."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import UNTESTED_DIALECTS
from onhook.cdr.identity import fold_sn
from onhook.lib.messages import _
from onhook.lib.timestamps import format_time
from onhook.ops.doctor.check import Check
from onhook.receiver.rejections import (
    SENDER_KINDS,
    RequestCounter,
    find_remedy,
    list_rejections,
    needs_person,
)
from onhook.receiver.verdict import is_live

REJECTIONS_SHOWN_MAX = 5
"""Lines of rejected requests: forged serial numbers must not fill the screen."""


def check_rejections(counters: Iterable[RequestCounter], zone: ZoneInfo, now: datetime) -> Iterator[Check]:
    """Yield the rejected requests of the last day before `now` that need a person, the latest first; `OK` where there
    are none.
    """
    counters = list(counters)
    rejections = list_rejections(counters, now)
    yield from _describe_rejections(rejections, zone)
    if not rejections:
        yield Check("OK", _describe_order(counters, now))


def _describe_order(counters: Iterable[RequestCounter], now: datetime) -> str:
    """Return why there are no rejections that need a person."""
    if any(needs_person(counter, now) for counter in counters):
        return _("each PBX whose requests were rejected in the last day has sent accepted ones since")
    return _("no rejected requests in the last day")


def _describe_rejections(rejections: Iterable[RequestCounter], zone: ZoneInfo) -> Iterator[Check]:
    for counter in islice(rejections, REJECTIONS_SHOWN_MAX):
        yield Check("WARNING", describe_rejection(counter, zone), find_remedy(counter))


def describe_rejection(counter: RequestCounter, zone: ZoneInfo) -> str:
    """Return what was rejected, how often, and when last."""
    values = {
        "sender": counter.pbx or repr(counter.sn),
        "count": counter.count,
        "last_at": format_time(counter.last_at, zone),
    }
    if counter.last_peer:
        values["last_at"] = _("{time} from {address}", time=values["last_at"], address=counter.last_peer)
    if counter.kind == "wrong_method":
        values["method"] = counter.label
        return _("requests by {method}, in place of POST, or GET with a body: {count} (last: {last_at})", **values)
    if not (counter.pbx or counter.sn):
        values["sender"] = _("further serial numbers") if counter.is_merged else _("an unknown PBX")
    if counter.kind == "unknown_pbx":
        if counter.sn:
            return _("requests from unknown serial number {sender}: {count} (last: {last_at})", **values)
        return _("requests from {sender}: {count} (last: {last_at})", **values)
    if counter.kind == "unexpected_source":
        return _describe_source(counter.identified_by, values)
    if counter.kind == "invalid_signature":
        return _("requests for {sender} with an invalid signature: {count} (last: {last_at})", **values)
    return _("requests for {sender} without a signature: {count} (last: {last_at})", **values)


def _describe_source(identified_by: tuple[str, ...], values: Mapping[str, object]) -> str:
    """Return that requests came from another source; only what the PBX is identified by is named."""
    if identified_by == ("address",):
        return _("requests for {sender} from an address that is not configured: {count} (last: {last_at})", **values)
    if identified_by == ("path",):
        return _("requests for {sender} to a path that is not configured: {count} (last: {last_at})", **values)
    return _(
        "requests for {sender} from an address or path that is not configured: {count} (last: {last_at})", **values
    )


def check_unregistered(counters: Iterable[RequestCounter]) -> Iterator[Check]:
    """Yield the serial numbers that are not registered and know a secret of a PBX."""
    for counter in counters:
        if counter.kind == "unregistered" and not counter.pbx:
            command = f"onhook pbx change {shlex.quote(counter.label)} --add-sn {shlex.quote(counter.sn)}"
            detail = _(
                "{count} events of the serial number {sn} are in the quarantine: it knows a secret of the PBX {pbx_sn}",
                count=counter.count,
                sn=repr(counter.sn),
                pbx_sn=counter.label,
            )
            yield Check("WARNING", detail, _("if it is that PBX: {command}", command=command))


def check_pbx_requests(
    counters: Iterable[RequestCounter], pbx: Pbx, zone: ZoneInfo, now: datetime, *, needs_events: bool
) -> Iterator[Check]:
    """Yield the last event of one PBX, its rejected requests, and the serial numbers that know its secret.

    `needs_events`: webhooks are the only way by which its calls arrive, so one without any event is a warning.
    """
    sns = {fold_sn(sn) for sn in (pbx.sn, *pbx.further_sns)}
    counters = list(counters)
    own_counters = [counter for counter in counters if fold_sn(counter.sn) in sns and counter.kind != "unregistered"]
    received = [counter for counter in own_counters if is_live(counter)]
    if received:
        last_at = format_time(max(counter.last_at for counter in received), zone)
        yield Check("OK", _("the last event was received at {last_at}", last_at=last_at))
    elif needs_events:
        has_test = pbx.dialect not in UNTESTED_DIALECTS
        hint = (
            _("click “Test” in the webhook of the PBX, then make a call") if has_test else _("make a call, and end it")
        )
        yield Check("WARNING", _("no event was received yet"), hint)
    else:
        yield Check("OK", _("no event was received yet"))
    rejections = list_rejections(own_counters, now)
    yield from _describe_rejections(rejections, zone)
    if not rejections and any(counter.kind in SENDER_KINDS for counter in own_counters):
        yield Check("OK", _describe_order(own_counters, now))
    yield from check_unregistered(counter for counter in counters if fold_sn(counter.label) in sns)

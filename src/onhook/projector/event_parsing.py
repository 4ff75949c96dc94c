"""Parse raw events into the legs of calls, by the facts of their PBXs. Pure.

Invariant: whatever a body does to its reader, the next one is read.
"""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import CallKey, RecordKey, fold_sn, record_key
from onhook.cdr.merge import UNREGISTERED, WEBHOOK
from onhook.cdr.queue_visits import CallVisits, find_visits
from onhook.cdr.record import Call, Record
from onhook.ledger.contract import CounterKey, RawEvent
from onhook.lib.errors import OnhookError, ParseError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.pbx.dialect import Dialects, LegDialect, LineDialect, OrderedDialect, PartlyParsedCalls
from onhook.pbx.erased import ErasedDialect
from onhook.pbx.joined_legs import DIALECT as JOINED_DIALECT
from onhook.pbx.joined_legs import JoinedLegsDialect, decode_joined, recode_joined
from onhook.pbx.text_encoding import recode_body
from onhook.projector.erasures import Erasures
from onhook.store.contract import QuarantineEntry

Facts = Mapping[str, PbxFacts]
"""Facts of PBXs by each of their serial numbers, folded (`fold_sn`)."""


NO_ERASURES = Erasures()
_NO_FACTS = PbxFacts()


class ParsedEvents(msgspec.Struct, frozen=True):
    """Parsed legs of raw events by call, and the entries that could not be parsed, in whole or in part.

    `replaced_seqs` are the numbers of joined events that others of these replace; `source_seqs` are, by call, those of
    the raw events that a joined event was made of, and of those that it replaces.
    """

    reported_legs: dict[CallKey, list[ReportedLeg]]
    quarantined: list[QuarantineEntry]
    replaced_seqs: set[int] = msgspec.field(default_factory=set)
    source_seqs: dict[CallKey, set[int]] = msgspec.field(default_factory=dict)

    @property
    def record_keys(self) -> set[RecordKey]:
        """Return the keys of the records of all parsed legs."""
        return {record_key(key[0], leg.details) for key, legs in self.reported_legs.items() for leg in legs}

    def without_replaced(self, key: CallKey, legs: Sequence[ReportedLeg]) -> list[ReportedLeg]:
        """Return legs of a call without those of replaced events, unless these events have the same records."""
        if not self.replaced_seqs:
            return list(legs)
        record_keys = self.record_keys
        return [
            leg for leg in legs if leg.seq not in self.replaced_seqs or record_key(key[0], leg.details) in record_keys
        ]


def with_own_dialects(dialects: Dialects) -> Dialects:
    """Return the dialects with those of events that Onhook itself has written, which no PBX has."""
    return {
        **dialects,
        ErasedDialect.name: ErasedDialect(),
        JoinedLegsDialect.name: JoinedLegsDialect(dialects),
    }


def parse_events(
    raw_events: Iterable[RawEvent],
    dialects: Dialects,
    facts: Facts,
    *,
    erasures: Erasures = NO_ERASURES,
    trusts_senders: bool = False,
) -> ParsedEvents:
    """Parse raw events, without what is erased; what cannot be parsed is for the quarantine, with the reason. With
    `trusts_senders` also those of unregistered senders, for they may have been registered once.
    """
    parsed_events = ParsedEvents({}, [])
    for raw_event in raw_events:
        if erasures.is_emptied(raw_event.seq):
            continue
        try:
            sn, details = read_event(raw_event, dialects, facts, trusts_sender=trusts_senders)
        except Exception as error:  # noqa: BLE001 - whatever a body does to its reader, the next one is read
            parsed_events.quarantined.append(_to_quarantine_entry(raw_event, error))
            continue
        erased_legs = erasures.apply(raw_event, sn, details, facts)
        if isinstance(details, PartlyParsedCalls) and not erased_legs.is_erased:
            parsed_events.quarantined.append(_create_quarantine_entry(raw_event, details.reason))
        received_at = to_datetime(raw_event.received_at)
        via = WEBHOOK if raw_event.via == UNREGISTERED else raw_event.via
        for leg_details in erased_legs.details:
            reported_leg = ReportedLeg(details=leg_details, seq=raw_event.seq, via=via, received_at=received_at)
            parsed_events.reported_legs.setdefault((sn, leg_details.call_id), []).append(reported_leg)
        if raw_event.dialect == JOINED_DIALECT:
            _apply_joined(parsed_events, raw_event, sn, erased_legs.details)
    return parsed_events


def _apply_joined(parsed_events: ParsedEvents, raw_event: RawEvent, sn: str, details: Sequence[CallDetails]) -> None:
    """Note what a joined event was made of, and remove the records of those that it replaces and that it does not have.
    What it has too is a repeat of theirs.
    """
    joined = decode_joined(raw_event.body)
    for leg in details:
        sources = parsed_events.source_seqs.setdefault((sn, leg.call_id), set())
        sources.update(joined.seqs, joined.replaced_seqs)
    if not joined.replaced_seqs:
        return
    parsed_events.replaced_seqs.update(joined.replaced_seqs)
    record_keys = {record_key(sn, leg) for leg in details}
    for key, legs in list(parsed_events.reported_legs.items()):
        legs[:] = [
            leg for leg in legs if leg.seq not in joined.replaced_seqs or record_key(key[0], leg.details) in record_keys
        ]
        if not legs:
            del parsed_events.reported_legs[key]


def find_call_keys(raw_events: Iterable[RawEvent], dialects: Dialects, facts: Facts) -> set[CallKey]:
    """Return the calls of which each of these events alone has legs."""
    return {
        key
        for raw_event in raw_events
        for key in parse_events([raw_event], dialects, facts, trusts_senders=True).reported_legs
    }


def read_event(
    raw_event: RawEvent, dialects: Dialects, facts: Facts, *, trusts_sender: bool = False
) -> tuple[str, Sequence[CallDetails]]:
    """Return the serial number under which the calls of an event are kept, and its legs as they were reported: none of
    an event that is a leg itself, for its call is made of all legs together, and none of a
    line where the reports of the PBX count. Raises any error, whatever the body does to its reader.
    """
    sn, pbx = _find_pbx(raw_event, dialects, facts, trusts_sender=trusts_sender)
    dialect = dialects[raw_event.dialect]
    if isinstance(dialect, LegDialect):
        dialect.read_links(raw_event.body)
        return sn, ()
    recode = recode_joined if raw_event.dialect == JOINED_DIALECT else recode_body
    body = recode(raw_event.body, pbx.encoding)
    if pbx.ignores_lines and isinstance(dialect, LineDialect) and dialect.is_line(body):
        return sn, ()
    if pbx.fields and isinstance(dialect, OrderedDialect):
        return sn, dialect.parse_in_order(body, pbx.fields)
    return sn, dialect.parse(body)


def assemble_calls_and_visits(
    parsed_events: ParsedEvents, stored_legs: Sequence[Record], facts: Facts
) -> tuple[list[Call], list[CallVisits]]:
    """Assemble the calls from their new legs, which are added to, and their stored ones; and find their visits to
    queues and ring groups.
    """
    for record in stored_legs:
        parsed_events.reported_legs[record.sn, record.call_id].append(to_reported_leg(record))
    calls, visits = [], []
    for (sn, _call_id), reported_legs in parsed_events.reported_legs.items():
        pbx_facts = facts.get(fold_sn(sn)) or PbxFacts()
        calls.append(assemble_call(sn, reported_legs, pbx_facts))
        visits.append(find_visits(calls[-1], pbx_facts.number_plan))
    return calls, visits


def is_registered(raw_event: RawEvent, dialects: Dialects, facts: Facts) -> bool:
    """Return whether the sender of a raw event is registered."""
    try:
        _find_pbx(raw_event, dialects, facts)
    except Exception:  # noqa: BLE001 - whatever a body does to its reader, its sender is unknown
        return False
    return True


def count_unregistered(raw_events: Iterable[RawEvent], dialects: Dialects) -> Mapping[CounterKey, int]:
    """Return how many events the intake has counted under these keys: by both serial numbers."""
    return Counter(
        CounterKey(UNREGISTERED, dialects[raw_event.dialect].peek(raw_event.body).sn, raw_event.sn)
        for raw_event in raw_events
        if raw_event.via == UNREGISTERED and raw_event.dialect in dialects
    )


def _find_pbx(
    raw_event: RawEvent, dialects: Dialects, facts: Facts, *, trusts_sender: bool = False
) -> tuple[str, PbxFacts]:
    """Return the serial number under which the calls of its sender are kept, and what is known of that. Raises
    `ParseError` for a sender whose serial number is not one of the PBX whose secret it knows.
    """
    if raw_event.via == UNREGISTERED:
        sn = dialects[raw_event.dialect].peek(raw_event.body).sn
        if not trusts_sender:
            _check_signer(raw_event, sn, facts)
    else:
        sn = raw_event.sn
    pbx = facts.get(fold_sn(sn))
    return (sn, _NO_FACTS) if pbx is None else (pbx.sn or sn, pbx)


def _check_signer(raw_event: RawEvent, sn: str, facts: Facts) -> None:
    """Check that an event of this serial number, which was not registered when it arrived, is of the PBX that has the
    number now: a secret of that PBX signs it, and it was not removed before. Raises `ParseError`.
    """
    owner, signer = facts.get(fold_sn(sn)), facts.get(fold_sn(raw_event.sn))
    signer_name = raw_event.sn if signer is None or not signer.name else signer.name
    add_hint = _(
        "`onhook pbx change {pbx} --add-sn {sn}` if it is that PBX", pbx=shlex.quote(signer_name), sn=shlex.quote(sn)
    )
    if owner is None:
        raise ParseError(
            _(
                "the serial number {sn} is not registered, and a secret of {name} signs the event",
                sn=repr(sn),
                name=signer_name,
            ),
            hint=add_hint,
        )
    owner_name = owner.name or owner.sn
    signer_sns = {raw_event.sn, raw_event.sn if signer is None else signer.sn}
    if not any(map(owner.is_signed_by, signer_sns)):
        raise ParseError(
            _(
                "the serial number {sn} belongs to the PBX {owner}, and a secret of {name} signs the event",
                sn=repr(sn),
                owner=repr(owner_name),
                name=signer_name,
            ),
            hint=_("find out which of them sent it: a PBX signs with its own secret alone"),
        )
    if not owner.accepts(sn, raw_event.received_at):
        raise ParseError(
            _("the serial number {sn} was removed from the PBX {owner}", sn=repr(sn), owner=repr(owner_name)),
            hint=add_hint,
        )


def _to_quarantine_entry(raw_event: RawEvent, error: Exception) -> QuarantineEntry:
    if isinstance(error, OnhookError):
        reason = str(error)
    elif isinstance(error, KeyError) and error.args == (raw_event.dialect,):
        reason = _(
            "unknown dialect {dialect!r}: upgrade Onhook, or check how this event was imported",
            dialect=raw_event.dialect,
        )
    else:
        reason = _(
            "parsing failed ({kind}: {error}): keep this event and report the error",
            kind=type(error).__name__,
            error=error,
        )
    return _create_quarantine_entry(raw_event, reason)


def _create_quarantine_entry(raw_event: RawEvent, reason: str) -> QuarantineEntry:
    return QuarantineEntry(
        seq=raw_event.seq,
        sn=raw_event.sn,
        via=raw_event.via,
        received_at=to_datetime(raw_event.received_at),
        reason=reason,
    )

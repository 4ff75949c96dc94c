"""What erasures of numbers must have done, as the test knows it: by the numbers of the reported legs.

An erasure that has succeeded is certain for the calls of which an acknowledged leg had the number before: they must
never have it again, wherever it is looked for, also where a further leg of them arrives later. Other calls of the
number that were reported by then may have been erased or not: their texts are not compared.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, NUMBER_FIELDS, CallDetails
from onhook.cdr.identity import CallKey
from onhook.cdr.record import Record
from tests.simulation.receivers import AcceptedNotification

COMMON_DIGITS = 8
"""Notations of one number end with the same digits; internal numbers are shorter."""

TEXT_FIELDS = tuple(name for name in DETAIL_FIELDS if name not in NUMBER_FIELDS)


class KnownErasure(msgspec.Struct, kw_only=True):
    """One erasure. Nothing may be left of `unreadable_calls`, which could not be parsed then. `sent_until` is when
    all hubs had applied it and the last notification of before had been sent, which may be accepted later.
    """

    number: str
    possible_calls: frozenset[CallKey]
    unreadable_calls: frozenset[CallKey]
    certain_calls: frozenset[CallKey] = frozenset()
    is_applied: bool = False
    """Whether all hubs have been seen behind it."""
    sent_until: float | None = None


class KnownErasures:
    """All erasures that were tried."""

    def __init__(self) -> None:
        self.tried: list[KnownErasure] = []

    def may_be_erased(self, sn: str, call_id: str) -> bool:
        """Return whether texts of a call may be gone."""
        return any((sn, call_id) in erasure.possible_calls for erasure in self.tried)

    def may_be_gone(self, sn: str, call_id: str) -> bool:
        """Return whether nothing may be left of a call."""
        return any((sn, call_id) in erasure.unreadable_calls for erasure in self.tried)

    def may_be_emptied(self, body: bytes) -> bool:
        """Return whether an unreadable body may be gone."""
        return any(erasure.number[-COMMON_DIGITS:].encode() in body for erasure in self.tried)

    def note_applied(self, now: float) -> None:
        """Note that all hubs are at the end of the ledger; `now` is the time of the loop, in seconds."""
        for erasure in self.tried:
            if erasure.is_applied and erasure.sent_until is None:
                erasure.sent_until = now
            erasure.is_applied = True

    def find_in_records(self, records: Iterable[Record]) -> list[str]:
        """Return where a record has a number that must be erased."""
        return [
            f"{record.call_id} has {erasure.number} in {name}: {getattr(record, name)!r}"
            for record in records
            for erasure in self._certain_erasures((record.sn, record.call_id))
            for name in TEXT_FIELDS
            if erasure.number in str(getattr(record, name))
        ]

    def find_in_notifications(self, name: str, accepted: Sequence[AcceptedNotification]) -> list[str]:
        """Return which notifications of a destination had a number after it was erased."""
        return [
            f"{name}: {notification.notification_id} has {erasure.number}"
            for erasure in self.tried
            if erasure.sent_until is not None
            for notification in accepted
            if notification.time > erasure.sent_until
            and notification.call_id in _ids(erasure.certain_calls)
            and erasure.number in str(notification.details)
        ]

    def find_in_bodies(self, place: str, bodies: Iterable[bytes]) -> list[str]:
        """Return which bodies have both a number and a call from which it must be erased."""
        return [
            f"{place}: {body[:200]!r} has {erasure.number}"
            for body in bodies
            for erasure in self.tried
            if erasure.number.encode() in body
            and any(call_id.encode() in body for call_id in _ids(erasure.certain_calls))
        ]

    def _certain_erasures(self, key: CallKey) -> list[KnownErasure]:
        return [erasure for erasure in self.tried if key in erasure.certain_calls]


def has_number(details: CallDetails, number: str) -> bool:
    """Return whether a leg has a number, in any notation."""
    return any(number[-COMMON_DIGITS:] in party for party in (details.call_from, details.call_to, details.did_number))


def list_long_numbers(details: CallDetails) -> list[str]:
    """Return the numbers of a leg's parties that are those of people elsewhere."""
    parties = (details.call_from, details.call_to)
    return [party for party in parties if party.removeprefix("+").isdigit() and len(party) > COMMON_DIGITS]


def _ids(keys: Collection[CallKey]) -> set[str]:
    return {call_id for _sn, call_id in keys}

"""The store as a reader with masked numbers sees it.

Invariants: what it returns is masked. A filter matches by what the reader sees, so that none can be used to try
numbers: an extension, or the masked notation itself. A cursor is encrypted: it contains the id of a record, from which
a number could be computed. It has the methods that routes for limited readers use, and no others.
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from onhook.cdr.call_filter import CallFilter
from onhook.cdr.directory import NameDirectory
from onhook.cdr.identity import extract_number
from onhook.cdr.number_masking import WITHHELD_WORDS, canonical_digits, hash_id, is_masked
from onhook.cdr.party_filter import PartyCondition, PartyField
from onhook.cdr.queue_figures import AgentFigures, QueueCount
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking, is_external_number
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import (
    OUTSIDE_MARK,
    CallListing,
    CallListResult,
    CallPage,
    ExportFormat,
    GroupSide,
    MissedCall,
    MissedCalls,
    OrderedCallPage,
    RecordPage,
    Store,
)
from onhook.store.figures import ConcurrencyPeak, DurationHistogram
from onhook.store.seen_parties import SeenNumber

if TYPE_CHECKING:
    from cryptography import fernet
else:  # few readers see masked numbers
    fernet = DeferredModule("cryptography.fernet")

RECORD_NUMBERS: tuple[PartyField, ...] = ("number", "call_from", "call_to")
CALL_NUMBERS: tuple[PartyField, ...] = ("caller", "dialled", "answered_by")
"""Filters on numbers: those of records, and those of whole calls."""

NUMBER_DIMENSIONS = frozenset({"call_from", "call_to", "answered_by", "made_by", "went_to"})
"""Dimensions of a summary that are numbers."""

SUMMARY_ROWS_MAX = 100_000
"""Numbers that are counted before the most frequent masked ones are known: the maximum of a summary."""

_SEPARATORS = re.compile(r"[-()./\s]")


def check_masked_filter(record_filter: RecordFilter, masking: Masking) -> None:
    """Raise `UsageError` for a filter that a reader with masked numbers cannot use."""
    call_filter = record_filter.call_filter or CallFilter()
    for source, names in ((record_filter, RECORD_NUMBERS), (call_filter, CALL_NUMBERS)):
        for name in names:
            if (text := getattr(source, name)) is not None:
                _check_number(name, text, masking)
    for text in (call_filter.numbers or ())[:1]:
        _check_number("q", text, masking)
    if record_filter.extra is not None:
        raise UsageError(
            _("further columns cannot be filtered with masked numbers"), hint=_("leave extra out"), parameter="extra"
        )
    if call_filter.note is not None and any(char.isdecimal() for char in call_filter.note):
        raise UsageError(
            _("notes cannot be searched for digits with masked numbers"), hint=_("search for a word"), parameter="note"
        )


def check_masked_tag(tag: str, masking: Masking) -> None:
    """Raise `UsageError` for a tag with a telephone number, which a reader with masked numbers cannot try."""
    if masking.mask_text(tag) != tag:
        raise UsageError(
            _("numbers are masked for you: a tag with a telephone number cannot be searched"),
            hint=_("use another tag"),
            parameter="tag",
        )


def _check_number(name: str, text: str, masking: Masking) -> None:
    number = extract_number(text)
    if is_masked(number) or number.casefold() in WITHHELD_WORDS:
        return
    plans = list(masking.plans.values()) or [masking.plan_of("")]
    if all(is_external_number(number, plan) for plan in plans):
        raise UsageError(
            _("{name} cannot be a complete external number: numbers are masked for you", name=name),
            hint=_("filter by an extension, or by a masked number as it is shown"),
            parameter=name,
        )


class MaskedStore:
    """See `store.contract.Store`."""

    def __init__(self, store: Store, masking: Masking) -> None:
        self._store = store
        self._masking = masking
        key = hmac.digest(masking.key, b"cursor", hashlib.sha256)
        self._cipher = fernet.Fernet(base64.urlsafe_b64encode(key))

    @classmethod
    def wrap(cls, store: Store, masking: Masking) -> Store:
        """Return the masked store in place of a store."""
        return cast("Store", cls(store, masking))

    async def position(self) -> int:
        return await self._store.position()

    async def call(self, sn: str, call_id: str) -> Call | None:
        call = await self._store.call(sn, call_id)
        return None if call is None else self._masking.mask_call(call)

    async def records(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> RecordPage:
        resolved = await self._resolve(record_filter)
        page = await self._store.records(resolved, limit, self._decrypt(cursor))
        return RecordPage([self._masking.mask_record(record) for record in page.data], self._encrypt(page.next))

    async def calls(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> CallPage:
        resolved = await self._resolve(record_filter)
        page = await self._store.calls(resolved, limit, self._decrypt(cursor))
        return CallPage([self._masking.mask_call(call) for call in page.data], self._encrypt(page.next))

    async def ordered_calls(
        self, record_filter: RecordFilter, order: str, limit: int, cursor: str | None = None
    ) -> OrderedCallPage:
        resolved = await self._resolve(record_filter)
        page = await self._store.ordered_calls(resolved, order, limit, self._decrypt(cursor))
        return OrderedCallPage(
            [self._masking.mask_call(call) for call in page.data],
            self._encrypt(page.next),
            self._encrypt(page.previous),
        )

    async def list_calls(self, listing: CallListing) -> CallListResult:
        resolved = await self._resolve(listing.filter)
        # Parts of numbers are for the PBX API.
        result = await self._store.list_calls(
            msgspec.structs.replace(listing, filter=resolved, from_part="", to_part="")
        )
        return CallListResult(result.total, [self._masking.mask_call(call) for call in result.data])

    async def summary(
        self,
        record_filter: RecordFilter,
        by: str,
        zone: str,
        top: int | None = None,
        *,
        marks_outside: bool = False,
    ) -> list[dict[str, Any]]:
        resolved = await self._resolve(record_filter)
        names = [name for name in (part.strip() for part in by.split(",")) if name in NUMBER_DIMENSIONS]
        if not names:
            return await self._store.summary(resolved, by, zone, top)
        # The most frequent masked numbers are known only once equal ones are added up.
        rows = await self._store.summary(
            resolved, by, zone, None if top is None else SUMMARY_ROWS_MAX, marks_outside=True
        )
        masked_rows = await asyncio.to_thread(self._mask_rows, rows, names, by)
        if top is None:
            return masked_rows
        return sorted(masked_rows, key=lambda row: (-int(row["calls"]), *(row[name] for name in names)))[:top]

    async def list_callers(self, record_filter: RecordFilter, zone: str) -> list[dict[str, Any]]:
        resolved = await self._resolve(record_filter)
        rows = await self._store.summary(resolved, "call_from", zone, marks_outside=True)
        return await asyncio.to_thread(
            lambda: [{**row, "call_from": self._mask_value(row["call_from"], None)} for row in rows]
        )

    async def summary_by_group(
        self, record_filter: RecordFilter, side: GroupSide, groups: Mapping[tuple[str, str], str]
    ) -> list[dict[str, Any]]:
        # The names of groups are those that the reader sees, of numbers inside.
        return await self._store.summary_by_group(await self._resolve(record_filter), side, groups)

    async def histogram(
        self, record_filter: RecordFilter, duration_name: str, edges: Sequence[int]
    ) -> DurationHistogram:
        return await self._store.histogram(await self._resolve(record_filter), duration_name, edges)

    async def peaks(
        self, record_filter: RecordFilter, by: str, zone: str, *, by_trunk: bool = False
    ) -> list[ConcurrencyPeak]:
        return await self._store.peaks(await self._resolve(record_filter), by, zone, by_trunk=by_trunk)

    async def missed_calls(self, record_filter: RecordFilter, limit: int, *, is_returned: bool = False) -> MissedCalls:
        resolved = await self._resolve(record_filter)
        result = await self._store.missed_calls(resolved, limit, is_returned=is_returned)
        calls = await self._store.calls_by_keys([(missed.sn, missed.call_id) for missed in result.data])
        originals = {(call.sn, call.call_id): call for call in calls}
        return msgspec.structs.replace(
            result,
            data=[self._mask_missed(missed, originals.get((missed.sn, missed.call_id))) for missed in result.data],
        )

    def _mask_missed(self, missed: MissedCall, original: Call | None) -> MissedCall:
        """Return a missed call with its caller masked; one that was deleted meanwhile has none to show."""
        if original is None:
            return msgspec.structs.replace(missed, call_from="")
        number = extract_number(original.call_from)
        return msgspec.structs.replace(
            missed,
            call_from=self._masking.mask_call(original).call_from,
            caller_id=hash_id(canonical_digits(number) or number.casefold(), self._masking.key),
        )

    async def export(
        self,
        record_filter: RecordFilter,
        export_format: ExportFormat,
        zone: str,
        masking: Masking | None = None,
        names: NameDirectory | None = None,
    ) -> AsyncIterator[bytes]:
        resolved = await self._resolve(record_filter)
        # The names are those that the reader sees.
        async for chunk in self._store.export(resolved, export_format, zone, self._masking, names):
            yield chunk

    async def count_visits(self, record_filter: RecordFilter, by: str, zone: str) -> list[QueueCount]:
        return await self._store.count_visits(await self._resolve(record_filter), by, zone)

    async def agent_figures(self, record_filter: RecordFilter, zone: str) -> list[AgentFigures]:
        rows = await self._store.agent_figures(await self._resolve(record_filter), zone)
        return [
            msgspec.structs.replace(row, agent=self._masking.mask_party(row.agent, row.sn, is_outside=row.is_outside))
            for row in rows
        ]

    def _mask_rows(self, rows: Sequence[Mapping[str, Any]], names: Sequence[str], by: str) -> list[dict[str, Any]]:
        """Return the rows of a summary with masked numbers; those that are equal then are added up, in order of their
        dimensions.
        """
        dimensions = [part.strip() for part in by.split(",")]
        merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            sn = self._masking.sns_by_name.get(row.get("pbx", ""))
            masked = {name: self._mask_value(row[name], sn) for name in names}
            key = tuple(masked.get(name, row[name]) for name in dimensions)
            merged[key] = _add_rows(merged[key], row) if key in merged else {**row, **masked}
        return [merged[key] for key in sorted(merged)]

    def _mask_value(self, value: str, sn: str | None) -> str:
        is_outside = value.startswith(OUTSIDE_MARK)
        return self._masking.mask_party(value.removeprefix(OUTSIDE_MARK), sn, is_outside=is_outside)

    async def _resolve(self, record_filter: RecordFilter) -> RecordFilter:
        """Return the filter with its numbers as conditions on what the reader sees. Raises `UsageError`."""
        check_masked_filter(record_filter, self._masking)
        call_filter = record_filter.call_filter
        texts: list[tuple[PartyField, str]] = [
            (name, text) for name in RECORD_NUMBERS if (text := getattr(record_filter, name)) is not None
        ]
        if call_filter is not None:
            texts += [(name, text) for name in CALL_NUMBERS if (text := getattr(call_filter, name)) is not None]
            texts += [("number", text) for text in (call_filter.numbers or ())[:1]]
            if call_filter.name is not None and is_masked(call_filter.name):
                texts.append(("number", call_filter.name))
        conditions = [await self._number_condition(field, text, record_filter) for field, text in texts]
        if call_filter is not None and call_filter.name is not None and not is_masked(call_filter.name):
            conditions.append(await self._name_condition(call_filter.name, call_filter.name_parties))
        if not conditions:
            return record_filter
        return msgspec.structs.replace(
            record_filter,
            **dict.fromkeys(RECORD_NUMBERS),
            call_filter=None
            if call_filter is None
            else msgspec.structs.replace(
                call_filter, **dict.fromkeys((*CALL_NUMBERS, "numbers", "name")), name_parties=()
            ),
            parties=(*(record_filter.parties or ()), *conditions),
        )

    async def _number_condition(self, field: PartyField, text: str, record_filter: RecordFilter) -> PartyCondition:
        number = extract_number(text)
        candidates = await self._store.list_numbers(record_filter, None if is_masked(number) else number)
        return await asyncio.to_thread(self._select_shown, field, number, candidates)

    def _select_shown(self, field: PartyField, text: str, candidates: Iterable[SeenNumber]) -> PartyCondition:
        """Return the condition for the numbers that are shown as this text."""
        compact = _SEPARATORS.sub("", text)
        matches = [
            number
            for number in candidates
            if _SEPARATORS.sub("", self._masking.mask_party(number.number, number.sn, is_outside=number.is_outside))
            == compact
        ]
        return PartyCondition(
            field=field,
            inside=tuple((number.sn, number.number) for number in matches if not number.is_outside),
            outside=tuple((number.sn, number.number) for number in matches if number.is_outside),
        )

    async def _name_condition(self, text: str, name_parties: Sequence[tuple[str, str]]) -> PartyCondition:
        """Return the condition for the extensions whose shown name or number contains a text, or which the directory as
        the reader sees it has under this name.
        """
        wanted = text.lower()
        seen_parties = [
            (party.sn, party.number)
            for party in await self._store.list_parties([], is_external=False)
            if not is_external_number(party.number, self._masking.plan_of(party.sn))
            and (wanted in self._masking.mask_text(party.name).lower() or wanted in party.number.lower())
        ]
        return PartyCondition(field="number", inside=tuple(dict.fromkeys([*seen_parties, *name_parties])))

    def _encrypt(self, cursor: str | None) -> str | None:
        return None if cursor is None else self._cipher.encrypt(cursor.encode()).decode()

    def _decrypt(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        try:
            return self._cipher.decrypt(cursor.encode()).decode()
        except (fernet.InvalidToken, ValueError):
            raise UsageError(
                _("invalid cursor"), location="cursor", hint=_("leave it out to begin with the first page")
            ) from None


def _add_rows(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts and sums of two rows; an unknown one counts as nothing beside a known one."""
    total = dict(left)
    for name, value in right.items():
        if isinstance(value, int) and name not in ("weekday", "hour_of_day"):
            earlier = left[name]
            is_maximum = name == "wait_duration_max"
            total[name] = value if earlier is None else max(earlier, value) if is_maximum else earlier + value
    return total

"""Contract of the store: calls and their legs, for reading. It can always be rebuilt from the ledger."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from onhook.cdr.directory import NameDirectory
from onhook.cdr.identity import CallKey
from onhook.cdr.queue_figures import AgentFigures, QueueCount
from onhook.cdr.queue_visits import CallVisits
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.lib.errors import OnhookError
from onhook.store.figures import ConcurrencyPeak, DurationHistogram
from onhook.store.seen_parties import SeenNumber, SeenParty, SeenTrunk

ExportFormat = Literal["csv", "jsonl", "parquet", "xlsx"]

PAGE_MAX = 1_000
"""Rows of a page: a page is for reading; a whole search is an export."""


class StoreUnusable(OnhookError):
    """The store's file is damaged, or of a version that cannot be upgraded: it must be rebuilt from the ledger."""


class QuarantineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A raw event that could not be parsed, and the reason. One with several events may have calls besides."""

    seq: int
    sn: str
    via: str
    received_at: datetime
    reason: str


class StoreBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that the projector assembled from a range of raw events.

    Each call is complete, with old and new legs; it replaces the stored call with its (`sn`, `call_id`), and that
    one's visits to queues by `call_visits`.
    `reparsed_seqs` are numbers to remove from the quarantine, `removed_keys` calls to remove: they are forgotten, or
    stored under another key from now on. `position` is the last number of the range, `position_key` the key of that
    entry, `re_read_seq` the number of the control entry by whose facts all events before it were read.
    """

    calls: Sequence[Call]
    quarantined: Sequence[QuarantineEntry]
    reparsed_seqs: Sequence[int]
    position: int
    position_key: bytes = b""
    re_read_seq: int = 0
    removed_keys: Sequence[CallKey] = ()
    call_visits: Sequence[CallVisits] = ()


class RecordPage(msgspec.Struct, frozen=True):
    """Some records, the latest first, and the cursor of the next page or None."""

    data: Sequence[Record]
    next: str | None


class CallPage(msgspec.Struct, frozen=True):
    """Some calls, the latest first, and the cursor of the next page or None."""

    data: Sequence[Call]
    next: str | None


class OrderedCallPage(CallPage, frozen=True):
    """Some calls in an order, and also the cursor of the page before. Cursors stay valid while calls arrive."""

    previous: str | None


class RecordExtent(msgspec.Struct, frozen=True, kw_only=True):
    """Count of matching records, the lowest and the highest number, and the receipt time of the lowest one. All but the
    count are None if there are none.
    """

    count: int
    first_seq: int | None
    last_seq: int | None
    first_received_at: datetime | None


LISTING_ROWS_MAX = 10_000
"""Maximum rows of a page by number, as in the web API of a PBX (yeastar-p-series.md 7.2)."""

RECORD_ORDERS = (
    "started_at", "seq", "uid", "call_duration", "ring_duration", "talk_duration", "status", "type", "src_trunk_name",
    "dst_trunk_name", "did_number",
)  # fmt: skip
"""Sort keys of records."""

CALL_ORDERS = ("started_at", "status", "type", "call_duration", "wait_duration", "talk_duration")
"""Sort keys of calls; a `-` in front reverses the order."""

LATEST_FIRST = "-started_at"


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A page by number: matching rows in an order, `limit` of them from `offset` on. Equal rows are in order of their
    start.

    `sns` limits the PBXs; empty means all. `from_part` and `to_part` are parts of the numbers. `local_since` (included)
    and `local_until` are seconds since 1970 by the wall clock of each record's own PBX.
    """

    filter: RecordFilter = RecordFilter()
    sns: tuple[str, ...] = ()
    from_part: str = ""
    to_part: str = ""
    local_since: int | None = None
    local_until: int | None = None
    order_by: str = "started_at"
    is_descending: bool = False
    offset: int = 0
    limit: int = LISTING_ROWS_MAX


class RecordListing(Listing, frozen=True, kw_only=True):
    """A page of records; `dids` are pairs of a DID's number or name and its trunk, or an empty text for any trunk;
    `ids` are the first ID_DIGITS digits of `record_id`, `recordings` are names of recordings.
    """

    pin_code: str | None = None
    dids: tuple[tuple[str, str], ...] = ()
    has_recording: bool = False
    ids: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()


ID_DIGITS = 13
"""Hexadecimal digits of a record's `record_id` that make its number in the web API of a PBX: 52 bits, because programs
in JavaScript read larger numbers wrong. Among ten million records the chance of two equal ones is one in ninety.
"""


class CallListing(Listing, frozen=True, kw_only=True):
    """A page of calls; `queues` requires a leg to one of these numbers. Wall-clock limits apply to the first leg."""

    queues: tuple[str, ...] = ()


class RecordListResult(msgspec.Struct, frozen=True):
    """Total number of records, and those on the page."""

    total: int
    data: Sequence[Record]


class CallListResult(msgspec.Struct, frozen=True):
    """Total number of calls, and those on the page, with their legs."""

    total: int
    data: Sequence[Call]


SUMMARY_DIMENSIONS = (
    "hour", "day", "week", "month", "hour_of_day", "weekday",
    "status", "type", "pbx", "answered_by", "call_from", "call_to", "did_number", "trunk", "went_to",
    "made_by",
)  # fmt: skip
"""Dimensions of a summary. Times are in the requested zone; several dimensions may be joined: `hour_of_day,status`.

`went_to` are the numbers and names to which legs of a call went without a trunk: an extension, a queue, an IVR. A call
counts under each of them once, so the rows do not add up to all calls. `made_by` is the caller of a call that did not
come in by a trunk, or empty. The number plan says which of them are extensions.
"""

OUTSIDE_MARK = "\x1f"
"""Before a number in a marked summary that was reached by a trunk."""

NUMBER_SUFFIX_DIGITS = 8
"""A later call counts as a call back if its number ends in the same digits: prefixes for line, country and area are
written in many ways. Shorter numbers must be equal.
"""


class MissedCall(msgspec.Struct, frozen=True, kw_only=True):
    """An unanswered call, and the first later answered call with the same number, if any. `caller_id` is equal for
    calls of one caller where different callers are shown alike; empty: `call_from` says it.
    """

    sn: str
    pbx: str
    call_id: str
    started_at: datetime
    call_from: str
    status: str
    wait_duration: int | None
    did_number: str
    returned_by: CallKey | None
    returned_at: datetime | None
    caller_id: str = ""


class MissedCalls(msgspec.Struct, frozen=True, kw_only=True):
    """`missed` = `returned` + `unreturned` + `anonymous` (without a number to call back); and the latest of them."""

    missed: int
    returned: int
    unreturned: int
    anonymous: int
    data: Sequence[MissedCall]


GroupSide = Literal["went_to", "answered_by", "made_by", "party"]
"""How a call belongs to a group of numbers: it went to one of them, a person with one of them answered or made it, or
one of them is a party of any leg. Numbers reached by a trunk do not count.
"""

VISIT_STEPS = ("", "hour_of_day", "weekday")
"""What visits to queues can be counted by, besides queue, outcome and wait; empty is nothing."""


class Store(Protocol):
    """The contract of a store: one writer, the projector, and many readers. A reader always sees whole batches.

    Filters on records and calls mean exactly what `cdr.record_filter` defines.
    """

    async def position(self) -> int:
        """Return the number of the last projected raw event; 0 when empty."""
        ...

    async def position_key(self) -> bytes:
        """Return the key of that raw event, by which its ledger is recognised; empty where it is not known."""
        ...

    async def re_read_seq(self) -> int:
        """Return the number of the control entry by whose facts all events before it were read; 0: there was none."""
        ...

    async def put(self, batch: StoreBatch) -> None:
        """Store a whole batch with its position, or nothing. The same batch again changes nothing.

        Raises `Unavailable` when it cannot be stored now.
        """
        ...

    async def roll_up(self) -> bool:
        """Compute one missing rollup, which makes reports fast and changes no result; return whether there was one.

        Raises `Unavailable` when it cannot be stored now.
        """
        ...

    async def delete(self, keys: Sequence[CallKey], quarantined_seqs: Sequence[int]) -> None:
        """Delete these calls and quarantine entries; missing ones are ignored.

        Raises `Unavailable` when they cannot be deleted now.
        """
        ...

    async def rename_pbx(self, sn: str, name: str) -> bool:
        """Give the calls of some days of a PBX its new name; return whether there were any with another one.

        Raises `Unavailable` when they cannot be stored now.
        """
        ...

    async def call_keys(self, sn: str, limit: int) -> list[CallKey]:
        """Return the keys of stored calls with this serial number, in capitals or not; at most `limit`, in no
        particular order.
        """
        ...

    async def legs(self, keys: Sequence[CallKey]) -> list[Record]:
        """Return all records of these calls, in no particular order."""
        ...

    async def records(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> RecordPage:
        """Return matching records, the latest first. The cursor stays valid while calls arrive: no row twice, none
        skipped. Raises `UsageError` for an invalid cursor.
        """
        ...

    async def calls(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> CallPage:
        """Return matching calls with their legs, the latest first; the cursor as for `records`."""
        ...

    async def ordered_calls(
        self, record_filter: RecordFilter, order: str, limit: int, cursor: str | None = None
    ) -> OrderedCallPage:
        """Return matching calls in one of CALL_ORDERS, with `-` in front a descending one; unknown values are last."""
        ...

    async def call(self, sn: str, call_id: str) -> Call | None:
        """Return a call with its legs in order, or None."""
        ...

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        """Return a page of records by number, and the total. Raises `UsageError` for an invalid order or page."""
        ...

    async def list_calls(self, listing: CallListing) -> CallListResult:
        """Return a page of calls by number, and the total; as `list_records`."""
        ...

    async def list_parties(self, sns: Sequence[str], *, is_external: bool) -> list[SeenParty]:
        """Return the numbers in the calls of these PBXs (empty means all), at most PARTIES_MAX, the latest ones: those
        inside, or those outside (reached by a trunk) that have a name.
        """
        ...

    async def list_numbers(self, record_filter: RecordFilter, number: str | None = None) -> list[SeenNumber]:
        """Return the numbers in calls of the period, the PBX and the scope of a filter, or this number alone. Raises
        `UsageError` for more than NUMBERS_MAX.
        """
        ...

    async def list_trunks(self, sns: Sequence[str]) -> list[SeenTrunk]:
        """Return the trunks in the calls of these PBXs (empty means all), by name."""
        ...

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        """Return the call with this `uid`, the latest if there are several; only of these PBXs if any are named."""
        ...

    async def calls_by_keys(self, keys: Sequence[CallKey]) -> list[Call]:
        """Return the stored ones of these calls, with their legs in order; in no particular order."""
        ...

    async def records_after(self, after_seq: int, limit: int) -> list[Record]:
        """Return records of raw events after this number, in that order: a live feed resumes from here.

        Records of one raw event stay together; fewer than `limit` are the last ones.
        """
        ...

    async def records_by_channel(
        self, channels: Sequence[str], before: datetime, after_seq: int, limit: int
    ) -> list[Record]:
        """Return records of calls that began before a time and were last reported by one of these channels (`via`), of
        raw events after a number, in that order. Records of one raw event stay together; none are the end.
        """
        ...

    async def last_received_at(self, excluded_channels: Sequence[str]) -> Mapping[str, datetime]:
        """Return the latest receipt time of the records of each PBX that were last reported by
        other channels (`via`) than these, by serial number.
        """
        ...

    async def latest_records(self, limit: int) -> Mapping[str, Sequence[Record]]:
        """Return the latest records of each PBX by serial number, at most `limit` of each, the latest first."""
        ...

    async def extent(
        self,
        record_filter: RecordFilter,
        after_seq: int = 0,
        until_seq: int | None = None,
        *,
        second_filter: RecordFilter = RecordFilter(),  # noqa: B008 - frozen
    ) -> RecordExtent:
        """Return the extent of records that match both filters, after one number and up to another."""
        ...

    async def summary(
        self,
        record_filter: RecordFilter,
        by: str,
        zone: str,
        top: int | None = None,
        *,
        marks_outside: bool = False,
    ) -> list[dict[str, Any]]:
        """Count matching calls: one row per value of `by` (see SUMMARY_DIMENSIONS), in its order; with `top` only the
        rows with the most calls, the most first.

        A row has its dimensions (times as ISO 8601 with offset, in `zone`, an IANA name) and `calls`, `answered` (by a
        person), `missed` (the others; `answered` + `missed` = `calls`), `voicemail`, `busy`, `no_answer`, `abandoned`,
        `failed` (parts of `missed`), `talk_duration`, `call_duration`, `ring_duration`, `wait_duration` (sums of
        seconds, null where unknown) and `wait_duration_max`. Clock changes are handled: days have 23 to 25 hours.
        With `marks_outside`, numbers by `call_from`, `call_to` and `answered_by` that were reached by a trunk begin
        with OUTSIDE_MARK. Raises `UsageError` for an unknown `by` or zone.
        """
        ...

    async def list_callers(self, record_filter: RecordFilter, zone: str) -> list[dict[str, Any]]:
        """Return the summary by `call_from`, with a row for each caller also where several are shown alike to the
        reader.
        """
        ...

    async def summary_by_group(
        self, record_filter: RecordFilter, side: GroupSide, groups: Mapping[tuple[str, str], str]
    ) -> list[dict[str, Any]]:
        """Count matching calls by group: `groups` are their names by (`sn`, number). One row per `group` with calls, in
        order, with the counts and sums of `summary`. A call counts once in each group that it belongs to; by `party`
        calls of no group are those of the group without a name.
        """
        ...

    async def histogram(
        self, record_filter: RecordFilter, duration_name: str, edges: Sequence[int]
    ) -> DurationHistogram:
        """Return the distribution of a duration (see DURATION_FIELDS) of matching calls; edges grow from 0. 50 and 90
        per cent of the calls are no longer than `median` and `p90`. Raises `UsageError`.
        """
        ...

    async def peaks(
        self, record_filter: RecordFilter, by: str, zone: str, *, by_trunk: bool = False
    ) -> list[ConcurrencyPeak]:
        """Return the peak number of concurrent calls by hour, day, month or in all (see PEAK_STEPS), in order.

        A call that began before `since` counts as long as it lasts after it; a call without a known end does not count.
        By trunk a call counts on each trunk of its legs, for all of its time, and trunks of one name of different PBXs
        are apart; intervals without calls on a trunk are left out. Raises `UsageError`.
        """
        ...

    async def missed_calls(self, record_filter: RecordFilter, limit: int, *, is_returned: bool = False) -> MissedCalls:
        """Count matching unanswered calls; return the latest of those that were returned, or were not.

        A call is returned by the first later answered call that has the caller's number (see NUMBER_SUFFIX_DIGITS) on
        either side, whatever else the filter selects; but only by one in the reader's `scope`.
        """
        ...

    async def count_visits(self, record_filter: RecordFilter, by: str, zone: str) -> list[QueueCount]:
        """Count the visits of matching calls to queues and ring groups (see `cdr.queue_visits`): by PBX, queue, outcome
        and wait, and by one of VISIT_STEPS of the call's start in `zone`. Raises `UsageError`.
        """
        ...

    async def agent_figures(self, record_filter: RecordFilter, zone: str) -> list[AgentFigures]:
        """Return the figures of the agents in matching calls, a row per queue or ring group in which they rang; days
        are those of `zone`. Raises `UsageError`.
        """
        ...

    def export(
        self,
        record_filter: RecordFilter,
        export_format: ExportFormat,
        zone: str,
        masking: Masking | None = None,
        names: NameDirectory | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield all matching records as one file, in chunks, the earliest first; memory does not grow with the file.

        CSV is UTF-8, RFC 4180, times ISO 8601 with offset in `zone`; `cdr/csv_injection.py` escapes formulas. XLSX
        continues on another sheet after 1,048,575 rows. With `masking` each record is masked. With `names` each
        one also has NAME_COLUMNS, the last ones.
        """
        ...

    async def quarantine(self, limit: int, after_seq: int = 0, *, newest_first: bool = False) -> list[QuarantineEntry]:
        """Return quarantined entries in order of number, after a number; with `newest_first` from the highest
        number down.
        """
        ...

    async def counts(self) -> dict[str, int]:
        """Return `records`, `calls`, `quarantined`, `position`."""
        ...

    async def wait_for_damage(self) -> None:
        """Return when something could not be read because it is damaged: the store must be rebuilt. Calls may raise
        `StoreUnusable` then, and so does opening it again.
        """
        ...

    async def close(self) -> None:
        """Close the files or connections."""
        ...

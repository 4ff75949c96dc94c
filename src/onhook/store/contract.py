"""The contract of the store: calls and their legs, for reading. It can always be made again from the ledger."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter

CallKey = tuple[str, str]
"""(`sn`, `call_id`)."""

ExportFormat = Literal["csv", "jsonl", "parquet", "xlsx"]

PAGE_MAX = 1_000
"""Rows on one page at most: a page is for reading; a whole search is an export."""


class QuarantineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A report that could not be read, and why."""

    seq: int
    sn: str
    via: str
    received_at: datetime
    reason: str


class StoreBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What the projector made of a stretch of the ledger.

    Each call is complete: all of its legs, old and new; it replaces whatever stood under its (`sn`, `call_id`).
    `reparsed_seqs` are numbers that were in the quarantine and no longer belong there. `position` is the last number
    of the stretch.
    """

    calls: Sequence[Call]
    quarantined: Sequence[QuarantineEntry]
    reparsed_seqs: Sequence[int]
    position: int


class RecordPage(msgspec.Struct, frozen=True):
    """Some records, the latest first, and the cursor of the next page or None."""

    data: Sequence[Record]
    next: str | None


class CallPage(msgspec.Struct, frozen=True):
    """Some calls, the latest first, and the cursor of the next page or None."""

    data: Sequence[Call]
    next: str | None


class RecordExtent(msgspec.Struct, frozen=True, kw_only=True):
    """Which numbers records have that match: how many records, the lowest and the highest number, and when the report
    with the lowest one came. All but the count are None where there are none."""

    count: int
    first_seq: int | None
    last_seq: int | None
    first_received_at: datetime | None


LISTING_ROWS_MAX = 10_000
"""Rows on one page by number at most: what the web API of a PBX gives (yeastar-p-series.md 7.2)."""

RECORD_ORDERS = (
    "started_at", "seq", "uid", "call_duration", "ring_duration", "talk_duration", "status", "type", "src_trunk_name",
    "dst_trunk_name", "did_number",
)  # fmt: skip
"""By what records can be listed."""

CALL_ORDERS = ("started_at", "status", "type", "call_duration", "wait_duration", "talk_duration")
"""By what calls can be listed."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A page by number: rows that match, in an order, so many from so many on. Equals are in order of their start.

    `sns` are the PBXs that are meant, none named is all. `local_since` (included) and `local_until` are seconds since
    1970 as the wall clock of each record's own PBX shows them.
    """

    filter: RecordFilter = RecordFilter()
    sns: tuple[str, ...] = ()
    local_since: int | None = None
    local_until: int | None = None
    order_by: str = "started_at"
    is_descending: bool = False
    offset: int = 0
    limit: int = LISTING_ROWS_MAX


class RecordListing(Listing, frozen=True, kw_only=True):
    """A page of records; `dids` are pairs of a DID's number or name and its trunk, or an empty text for any trunk;
    `ids` are the first 16 digits of `record_id`."""

    pin_code: str | None = None
    dids: tuple[tuple[str, str], ...] = ()
    has_recording: bool = False
    ids: tuple[str, ...] = ()


class CallListing(Listing, frozen=True, kw_only=True):
    """A page of calls; `queues` are numbers of which at least one leg went to one. Wall clocks are that of the first
    leg."""

    queues: tuple[str, ...] = ()


class RecordListResult(msgspec.Struct, frozen=True):
    """How many there are in all, and those on the page."""

    total: int
    data: Sequence[Record]


class CallListResult(msgspec.Struct, frozen=True):
    """How many there are in all, and those on the page, whole."""

    total: int
    data: Sequence[Call]


SUMMARY_DIMENSIONS = (
    "hour", "day", "week", "month", "hour_of_day", "weekday",
    "status", "type", "pbx", "answered_by", "call_from", "call_to", "did_number", "trunk", "went_to",
    "made_by",
)  # fmt: skip
"""What a summary can be by. Times are cut in the zone asked for; several may be joined: `hour_of_day,status`.

`went_to` are the numbers inside that legs of a call went to: an extension, a queue, an IVR. A call stands under each of
them once, so that these rows do not add up to all calls. `made_by` is the number inside that began a call, or empty."""

INTERNAL_DIGITS_MAX = 7
"""A number of no more digits is one of the house (`cdr.plan`)."""

DURATION_FIELDS = ("talk_duration", "wait_duration", "ring_duration", "call_duration")
"""What a spread can be of."""

PEAK_STEPS = ("hour", "day", "month", "all")
"""What peaks can be by."""

NUMBER_SUFFIX_DIGITS = 8
"""A caller is called back under a number that ends in as many digits of his own: prefixes for the line, the country and
the town are written in many ways. A number of fewer digits must be the same."""


class DurationHistogram(msgspec.Struct, frozen=True, kw_only=True):
    """How a duration is spread. `counts[i]` are the calls from `edges[i]` seconds up to the next edge, the last without
    an end. `median`, `p90` and `longest` are None where nobody reported any; `unknown` are those calls."""

    counts: Sequence[int]
    unknown: int
    median: int | None
    p90: int | None
    longest: int | None


class ConcurrencyPeak(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls were under way at once, at most, in the stretch that begins so; when that was first reached.

    `trunk` is empty where peaks are not by trunk.
    """

    interval_start: datetime
    trunk: str
    calls: int
    peak_at: datetime


class MissedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that nobody answered, and the first later call in which somebody spoke with that number, if any."""

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


class MissedCalls(msgspec.Struct, frozen=True, kw_only=True):
    """`missed` = `returned` + `unreturned` + `anonymous` (calls without a number, which nobody can return); and some of
    them, the latest first."""

    missed: int
    returned: int
    unreturned: int
    anonymous: int
    data: Sequence[MissedCall]


SQL_ROWS_MAX = 10_000
"""Of an answer to a question in SQL: more is an export."""

SQL_CHARACTERS_MAX = 20_000
"""A question that a person writes is shorter."""


class SqlResult(msgspec.Struct, frozen=True, kw_only=True):
    """A table: texts, numbers, truth values or None in its cells. `is_truncated` where there were more rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float | bool | None]]
    is_truncated: bool


class Store(Protocol):
    """Filled by the projector alone, read by everybody. A reader always sees whole batches.

    Filters mean for a record and for a call what `cdr.record_filter` says, and nothing else.
    """

    async def position(self) -> int:
        """The number of the last report that has been put here; 0 when empty."""
        ...

    async def put(self, batch: StoreBatch) -> None:
        """Keep a batch whole, with its position, or nothing of it. The same batch again changes nothing.

        Raises `Unavailable` when it cannot be kept now.
        """
        ...

    async def roll_up(self) -> bool:
        """Do a piece of the work that makes reports fast and changes no answer; whether there was any to do.

        Raises `Unavailable` when it cannot be done now.
        """
        ...

    async def delete(self, keys: Sequence[CallKey], quarantined_seqs: Sequence[int]) -> None:
        """Have these calls no more, nor these reports of the quarantine; what is not here is no matter.

        Raises `Unavailable` when that cannot be done now.
        """
        ...

    async def legs(self, keys: Sequence[CallKey]) -> list[Record]:
        """All records of these calls, in no particular order."""
        ...

    async def records(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> RecordPage:
        """Records that match, the latest first. The cursor stays right while calls arrive: nothing twice, nothing
        skipped. Raises `UsageError` for a cursor that is none of ours."""
        ...

    async def calls(self, record_filter: RecordFilter, limit: int, cursor: str | None = None) -> CallPage:
        """Calls that match, whole, the latest first; the cursor as for `records`."""
        ...

    async def call(self, sn: str, call_id: str) -> Call | None:
        """One call with its legs in order."""
        ...

    async def list_records(self, listing: RecordListing) -> RecordListResult:
        """A page of records by number, and the total. Raises `UsageError` for an order or a page that cannot be."""
        ...

    async def list_calls(self, listing: CallListing) -> CallListResult:
        """A page of calls by number, and the total; as `list_records`."""
        ...

    async def find_call_by_uid(self, uid: str, sns: Sequence[str] = ()) -> Call | None:
        """The call with this `uid`, the latest if there are several; of these PBXs where some are named."""
        ...

    async def calls_by_keys(self, keys: Sequence[CallKey]) -> list[Call]:
        """Those of these calls that are there, with their legs in order; in no particular order."""
        ...

    async def records_after(self, after_seq: int, limit: int) -> list[Record]:
        """Records whose report came after this number, in that order: what a live feed resumes from.

        Records of one report stay together; fewer than `limit` are all there are.
        """
        ...

    async def extent(
        self, record_filter: RecordFilter, after_seq: int = 0, until_seq: int | None = None
    ) -> RecordExtent:
        """Which numbers matching records have, behind one number and up to another."""
        ...

    async def summary(
        self, record_filter: RecordFilter, by: str, zone: str, top: int | None = None
    ) -> list[dict[str, Any]]:
        """Calls that match, counted: one row per value of `by` (see SUMMARY_DIMENSIONS), in its order; with `top` only
        so many rows, those with the most calls, the most first.

        A row has what it is by (times as ISO 8601 with offset, in `zone`, an IANA name) and `calls`, `answered` (by a
        person), `missed` (the others; `answered` + `missed` = `calls`), `voicemail`, `busy`, `no_answer`, `abandoned`,
        `failed` (parts of `missed`), `talk_duration`, `call_duration`, `ring_duration`, `wait_duration` (sums of
        seconds, null where nobody said any) and `wait_duration_max`. Hours and days of 23 and 25 hours are cut right.
        Raises `UsageError` for an unknown `by` or zone.
        """
        ...

    async def histogram(
        self, record_filter: RecordFilter, duration_name: str, edges: Sequence[int]
    ) -> DurationHistogram:
        """How a duration (see DURATION_FIELDS) of matching calls is spread; edges grow, and the first is 0. Of `median`
        and `p90` 50 and 90 per cent of the calls are no longer. Raises `UsageError`."""
        ...

    async def peaks(
        self, record_filter: RecordFilter, by: str, zone: str, *, by_trunk: bool = False
    ) -> list[ConcurrencyPeak]:
        """Calls under way at once, at most, by hour, day, month or in all (see PEAK_STEPS), in order.

        A call that began before `since` counts as long as it goes on after it; one whose end nobody reported does not.
        By trunk a call is under way on the trunk that it came in on and on the one that it went out on; stretches in
        which a trunk was idle are left out. Raises `UsageError`.
        """
        ...

    async def missed_calls(self, record_filter: RecordFilter, limit: int, *, is_returned: bool = False) -> MissedCalls:
        """Matching calls that nobody answered, counted; and the latest that were returned or were not.

        A call is returned by the first later one that somebody answered and in which the number of the caller (see
        NUMBER_SUFFIX_DIGITS) is on either side, whatever else the filter asks for; but only by one that may be seen
        (`scope`).
        """
        ...

    async def query_sql(self, sql: str) -> SqlResult:
        """The answer to one SELECT in the engine's own SQL, over the views `all_records` and `all_calls`; it changes
        nothing and sees nothing else. Given up when whoever waits for it gives up. Raises `UsageError`."""
        ...

    def export(self, record_filter: RecordFilter, export_format: ExportFormat, zone: str) -> AsyncIterator[bytes]:
        """All records that match as one file, in pieces, the earliest first; memory does not grow with the file.

        CSV is UTF-8, RFC 4180, moments ISO 8601 with offset in `zone`; see `cdr/csv_injection.py` for what spreadsheets
        would take for a formula. XLSX goes on in another sheet after 1,048,575 rows.
        """
        ...

    async def quarantine(self, limit: int, after_seq: int = 0, *, newest_first: bool = False) -> list[QuarantineEntry]:
        """What could not be read, in order of number, after a number; with `newest` from the highest number down."""
        ...

    async def counts(self) -> dict[str, int]:
        """`records`, `calls`, `quarantined`, `position`."""
        ...

    async def close(self) -> None:
        """Let go of the files or connections."""
        ...

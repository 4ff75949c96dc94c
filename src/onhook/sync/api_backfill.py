"""Back-fill: the calls that the PBX still knows, from its own list, through the same door as everything else.

Laws: a row that says nothing new is not kept again; all others are, also those that cannot be read. Memory holds one
page. What was done is told after each page, so that a back-fill that was killed goes on where it was.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import RecordKey, record_key
from onhook.cdr.merge import said_together
from onhook.cdr.record import Record
from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.client import Answer, Facts, Listed, Listing, Page, Request, Said, Whose, Window
from onhook.pbx.dialect import Dialect
from onhook.receiver.ingest import Accept
from onhook.receiver.pbx_registry import Declared
from onhook.sync.pbx_session import Account

BACKFILL = "backfill"
"""What the ledger calls this way in."""

ROWS_MAX = 10_000
"""On one page, which is as many as a PBX gives."""

KEPT_AT_ONCE = 500
"""Rows handed to the door together: as many as one commit takes, and few enough to leave room for others."""

KEEP_TRIES_MAX = 20
KEEP_AGAIN_SECONDS = 0.5
"""A row that cannot be kept now is tried again for some ten seconds; then the back-fill ends, and goes on later."""

NOT_NOW = ("unavailable", "too_many")


class Known(Protocol):
    """What is known here of a PBX's calls."""

    async def legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        """All records of the calls with these (`sn`, `call_id`)."""
        ...

    async def call_ids(self, sn: str, uids: Sequence[str], window: Window) -> Mapping[str, str]:
        """Under which `call_id` the calls with these `uid`s are known, as far as they are."""
        ...


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a back-fill has found so far. `missed` are calls that ended since a moment and of which no event came.

    `reach_since` and `reach_until` (Unix seconds) are what was read reaches over, by when calls ended; None where
    it has all that was asked for.
    """

    rows: int = 0
    counted: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    unreadable: int = 0
    missed: int = 0
    done_until: int = 0
    trouble: str = ""
    reach_since: int | None = None
    reach_until: int | None = None


Tell = Callable[[Found], None]
"""Is told how far it has come, after each page was kept."""


class Filler:
    """Back-fills one PBX; holds nothing between two times."""

    def __init__(
        self,
        *,
        account: Account,
        accept: Accept,
        sender: Declared,
        dialect: Dialect,
        known: Known,
        rows_max: int = ROWS_MAX,
    ) -> None:
        self._account = account
        self._accept = accept
        self._sender = sender
        self._dialect = dialect
        self._known = known
        self._rows_max = rows_max

    async def facts(self) -> Facts:
        """What the PBX tells of itself; nothing where its firmware does not. Raises `OnhookError`."""
        answer = await self._account.ask(self._account.link.ask_facts())
        if answer.trouble in ("missing", "parameter", "wrong"):
            return Facts()
        if answer.trouble is not None:
            raise Unavailable(f"the PBX does not tell of itself: {answer.text}", where=self._account.host)
        return self._account.link.read_facts(answer)

    async def fill(self, window: Window, facts: Facts, *, missed: Window, tell: Tell) -> Found:
        """Read the list of calls that began in a window and keep what is new. `missed` is when a call must have ended
        to have been missed by the push channel. Raises `OnhookError` where it cannot go on; what was told is kept."""
        reading = self._account.link.listing(self._sender.sn, window, facts, rows_max=self._rows_max)
        found = Found(done_until=window.since)
        said: Said = None
        while True:
            try:
                asked = await asyncio.to_thread(_next, reading, said)
            except _Ended as ended:
                return msgspec.structs.replace(
                    found, counted=ended.listed.counted, rows=ended.listed.rows, trouble=ended.listed.trouble
                )
            if isinstance(asked, Page):
                found = await self._keep(found, asked, missed)
                tell(found)
                said = None
            elif isinstance(asked, Whose):
                said = await self._known.call_ids(self._sender.sn, asked.uids, asked.window)
            else:
                said = await self._account.ask(asked)

    async def count(self, window: Window, facts: Facts) -> int | None:
        """How many rows the PBX counts in a window, or None. Raises `OnhookError`."""
        counting = self._account.link.count(window, facts)
        said: Said = None
        while True:
            try:
                asked = counting.send(said)
            except StopIteration as ended:
                count: int | None = ended.value
                return count
            said = await self._answered(asked)

    async def _answered(self, asked: Request | Whose | Page) -> Answer:
        assert isinstance(asked, Request), "counting asks for nothing else"
        return await self._account.ask(asked)

    async def _keep(self, found: Found, page: Page, missed: Window) -> Found:
        """Keep what a page says that is not known yet."""
        read = await asyncio.to_thread(_read, self._dialect, page.rows)
        keys = {(self._sender.sn, one.call_id) for details in read for one in details or ()}
        known = {_key(record): record for record in await self._known.legs(sorted(keys))}
        judged = [_judged(self._sender.sn, details, known, missed) for details in read]
        to_keep = [row for row, one in zip(page.rows, judged, strict=True) if one.is_news]
        for first in range(0, len(to_keep), KEPT_AT_ONCE):
            await self._keep_all(to_keep[first : first + KEPT_AT_ONCE])
        return msgspec.structs.replace(
            found,
            rows=found.rows + len(page.rows),
            new=found.new + sum(one.new for one in judged),
            changed=found.changed + sum(one.changed for one in judged),
            same=found.same + sum(one.same for one in judged),
            unreadable=found.unreadable + sum(details is None for details in read),
            missed=found.missed + sum(one.missed for one in judged),
            done_until=page.done_until,
        )

    async def _keep_all(self, rows: Sequence[bytes]) -> None:
        """Through the door, in one commit; again where it is shut for now. Raises `Unavailable`."""
        for _ in range(KEEP_TRIES_MAX):
            keep = self._accept.keep
            verdicts = await asyncio.gather(*(keep(self._sender, row, BACKFILL, self._account.host) for row in rows))
            rows = [row for row, verdict in zip(rows, verdicts, strict=True) if verdict in NOT_NOW]
            if not rows:
                return
            await asyncio.sleep(KEEP_AGAIN_SECONDS)
        raise Unavailable("the ledger cannot be written", todo="the back-fill goes on when it can")


class _Judged(msgspec.Struct, frozen=True):
    """What a row is to us: how many of its legs are new, changed, the same, and missed by the push channel."""

    new: int = 0
    changed: int = 0
    same: int = 0
    missed: int = 0
    is_news: bool = True


def _judged(
    sn: str, details: Sequence[CallDetails] | None, known: Mapping[RecordKey, Record], missed: Window
) -> _Judged:
    if details is None:
        return _Judged()
    new = changed = same = lost = 0
    for one in details:
        record = known.get(record_key(sn, one))
        if record is None:
            new += 1
            lost += _has_ended_in(one, missed)
        elif said_together(record, record.via, one, BACKFILL) == record:
            same += 1
        else:
            changed += 1
    return _Judged(new, changed, same, lost, new + changed > 0)


def _has_ended_in(details: CallDetails, window: Window) -> bool:
    """Whether a call ended in a window, as far as its id tells when it began; one that does not tell did not."""
    began = int(details.call_id[:10]) if details.call_id[:10].isdecimal() and details.call_id[10:11] == "." else 0
    return bool(began) and window.since <= began and began + (details.call_duration or 0) < window.until


def _key(record: Record) -> RecordKey:
    return record_key(record.sn, record)


def _read(dialect: Dialect, rows: Sequence[bytes]) -> list[Sequence[CallDetails] | None]:
    """What each row says; None where it cannot be read. The projector says in the quarantine why."""
    read: list[Sequence[CallDetails] | None] = []
    for row in rows:
        try:
            read.append(dialect.read(row))
        except OnhookError:
            read.append(None)
    return read


class _Ended(Exception):
    """The list was read to its end. A StopIteration cannot leave a thread."""

    def __init__(self, listed: Listed) -> None:
        super().__init__()
        self.listed = listed


def _next(reading: Listing, said: Said) -> Request | Whose | Page:
    """The next thing that reading the list asks for. Raises `_Ended`."""
    try:
        return reading.send(said)
    except StopIteration as ended:
        raise _Ended(ended.value) from None

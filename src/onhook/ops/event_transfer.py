"""Raw events from one ledger to another, by a file of JSON lines: what was received since an upgrade is not lost where
an earlier version is used again.

Invariant: a file is imported in parts, each as a whole; importing it again changes nothing.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from itertools import count
from typing import BinaryIO

import msgspec

from onhook.ledger.contract import CONTROL_DIALECT, AppendOutcome, Ledger, LedgerEntry, RawEvent
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Dialects
from onhook.pbx.joined_legs import DIALECT as JOINED_DIALECT

EVENTS_AT_ONCE = 1_000
"""Raw events of one transaction: a file that ends in an error was imported up to the last part."""

LINE_BYTES_MAX = 1024 * 1024
"""A body has 256 KiB at most, in Base64 a third more."""

TEXT_CHARACTERS_MAX = 1_000
"""Of a serial number, a signature or an address."""

KEY_BYTES = 16

TIME_MAX = 2**63
"""A ledger has numbers of 64 bits."""


_OWN_DIALECTS = frozenset({CONTROL_DIALECT, JOINED_DIALECT})
"""Entries that name numbers of their ledger. Calls are made of their legs again in another one."""


class TransferredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a raw event with the number that it had. `body` and `key` are Base64, `received_at` is in microseconds
    since 1970, UTC.
    """

    seq: int
    sn: str
    dialect: str
    via: str
    received_at: int
    key: bytes
    body: bytes
    signature: str = ""
    peer: str = ""


async def export_events(ledger: Ledger, since_us: int) -> AsyncGenerator[list[bytes], None]:
    """Yield the lines of the raw events received since then (microseconds since 1970, UTC), in parts."""
    encoder = msgspec.json.Encoder()
    after_seq = 0
    while raw_events := await ledger.read(after_seq, EVENTS_AT_ONCE):
        yield [
            encoder.encode(_to_line(raw_event)) + b"\n"
            for raw_event in raw_events
            if raw_event.received_at >= since_us and raw_event.dialect not in _OWN_DIALECTS
        ]
        after_seq = raw_events[-1].seq


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file. Raises `UsageError` for one that is longer than any event."""
    for number in count(1):
        line = file.readline(LINE_BYTES_MAX + 1)
        if not line:
            return
        if len(line) > LINE_BYTES_MAX:
            raise _line_error(number, _("it is too long"))
        yield line


async def import_events(ledger: Ledger, dialects: Dialects, lines: Iterable[bytes]) -> Counter[AppendOutcome]:
    """Append the raw events of all lines; return how many were new, duplicates, or deleted before.

    Raises `UsageError` for a line that is none; the parts before it are appended.
    """
    outcomes: Counter[AppendOutcome] = Counter()
    decoder = msgspec.json.Decoder(TransferredEvent)
    entries: list[LedgerEntry] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            entries.append(_to_entry(_decode(decoder, line, number), dialects))
        if len(entries) >= EVENTS_AT_ONCE:
            outcomes += await _append(ledger, entries)
            entries = []
    return outcomes + await _append(ledger, entries)


async def _append(ledger: Ledger, entries: list[LedgerEntry]) -> Counter[AppendOutcome]:
    return Counter(result.outcome for result in await ledger.append(entries))


def _to_line(raw_event: RawEvent) -> TransferredEvent:
    return TransferredEvent(**{name: getattr(raw_event, name) for name in TransferredEvent.__struct_fields__})


def _decode(decoder: msgspec.json.Decoder[TransferredEvent], line: bytes, number: int) -> TransferredEvent:
    try:
        event = decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _line_error(number, str(error)) from error
    texts = (event.sn, event.dialect, event.via, event.signature, event.peer)
    is_time = 0 <= event.received_at < TIME_MAX
    if len(event.key) != KEY_BYTES or not is_time or max(map(len, texts)) > TEXT_CHARACTERS_MAX:
        raise _line_error(number, _("it has values that no event has"))
    if event.dialect in _OWN_DIALECTS:
        raise _line_error(number, _("it belongs to the ledger that it comes from"))
    return event


def _line_error(number: int, reason: str) -> UsageError:
    return UsageError(
        _("line {number} is not an event: {reason}", number=number, reason=reason),
        hint=_("use a file that `onhook export-events` wrote; the lines before it may have been imported already"),
    )


def _to_entry(event: TransferredEvent, dialects: Dialects) -> LedgerEntry:
    """Return the entry with the key that this version gives it, so that repeats are recognised. An unknown dialect is
    kept: its events go to the quarantine.
    """
    dialect = dialects.get(event.dialect)
    key = event.key if dialect is None else dialect.peek(event.body).key
    names = (name for name in TransferredEvent.__struct_fields__ if name in LedgerEntry.__struct_fields__)
    return LedgerEntry(**{name: getattr(event, name) for name in names} | {"key": key})

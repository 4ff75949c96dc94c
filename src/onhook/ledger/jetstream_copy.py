"""Copy of the ledger of a file to NATS JetStream, with its numbers.

Invariants: the file is only read, apart from the upgrade of its schema. Each entry is stored after the one before it,
and after no other: a copy that is interrupted is whole as far as it goes, and another one goes on behind it. A number
that the file has deleted is a message that no reader sees. The key of fingerprints is that of the file, which
distinguishes its copy from any other ledger. The copy is compared entry by entry.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from onhook.ledger import deleted_events
from onhook.ledger.contract import CONTROL_DIALECT, Ledger, RawEvent
from onhook.ledger.jetstream import MESSAGE_ID, JetStreamLedger
from onhook.ledger.jetstream_address import parse_jetstream_address
from onhook.ledger.jetstream_client import JetStreamClient, OutdatedSequence
from onhook.ledger.jetstream_entries import encode_entry
from onhook.ledger.jetstream_state import JetStreamState
from onhook.ledger.jetstream_streams import StreamNames, check_streams, create_streams
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _

COPY_CALL_SECONDS = 30.0
"""Deadline of a request: hundreds are under way, and a PBX waits for none of them."""

ENTRIES_AT_ONCE = 500
FINGERPRINTS_AT_ONCE = 10_000
EXPECTED_LAST_SEQUENCE = "Nats-Expected-Last-Sequence"


class CopiedLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy has: the number of entries, and the number of the last one."""

    entries: int
    last_seq: int


CopyProgressCallback = Callable[[int, int], None]
"""Receives the number of the last entry that was copied, and that of the last one."""


def ignore_progress(_seq: int, _last_seq: int) -> None:
    """Receive the progress of a copy that nothing shows."""


async def copy_to_jetstream(path: Path, url: str, on_progress: CopyProgressCallback = ignore_progress) -> CopiedLedger:
    """Copy the ledger of a file to streams, which are created; go on with a copy that was interrupted. No other process
    may have either open.

    Raises `UsageError` for streams with another ledger or with later entries, `OnhookError` where the copy differs,
    `Unavailable`; the file is as before.
    """
    source = SqliteLedger(path)
    copier = _Copier(source, path, url)
    target = JetStreamLedger(url, call_seconds=COPY_CALL_SECONDS)
    try:
        await copier.prepare()
        await copier.copy_state()
        await copier.copy_entries(on_progress)
        return await compare(source, target)
    finally:
        await target.close()
        await copier.close()
        await source.close()


class _Copier:
    def __init__(self, source: SqliteLedger, path: Path, url: str) -> None:
        address = parse_jetstream_address(url)
        self._source = source
        self._path = path
        self._names = StreamNames(address.stream)
        self._client = JetStreamClient(address, call_seconds=COPY_CALL_SECONDS)
        self._state = JetStreamState(self._client, self._names)

    async def close(self) -> None:
        await self._client.close()

    async def prepare(self) -> None:
        """Create the streams; check that those that are there are a copy of this file."""
        first_events = await self._source.read(0, 1)
        after_seq = first_events[0].seq - 1 if first_events else await self._source.last_seq()
        await create_streams(self._client, after_seq, await self._source.begin_seq())
        await check_streams(self._client)
        key = await asyncio.to_thread(deleted_events.read_key, self._path)
        if await self._state.store_key(key) != key:
            raise UsageError(
                _("the streams have another ledger"),
                location=self._client.address.location,
                hint=_("name another stream in the address"),
            )
        if await self._last_seq() > await self._source.last_seq():
            raise UsageError(
                _("the streams have entries that the file has not: the copy is in use already"),
                location=self._client.address.location,
                hint=_("go on with the streams, or name another one in the address"),
            )

    async def copy_state(self) -> None:
        """Copy what the file has beside its entries."""
        last = b""
        while page := await asyncio.to_thread(deleted_events.read_page, self._path, last, FINGERPRINTS_AT_ONCE):
            await self._state.add_fingerprints(dict.fromkeys(page, 0))
            last = page[-1]
        await self._state.store_counters(await self._source.counters())
        for seq, state in (await self._source.erasure_states()).items():
            await self._state.set_erasure_state([seq], state)
        await self._state.set_erasure_position(await self._source.erasure_position())

    async def copy_entries(self, on_progress: CopyProgressCallback) -> None:
        """Copy the entries after the last one of the streams."""
        last_seq, end = await self._last_seq(), await self._source.last_seq()
        while events := await self._source.read(last_seq, ENTRIES_AT_ONCE):
            try:
                await self._publish(events, last_seq)
            except OutdatedSequence as error:
                raise OnhookError(
                    _("another process writes to the streams"),
                    location=self._client.address.location,
                    hint=_("stop every server that has this address, and repeat the command"),
                ) from error
            last_seq = events[-1].seq
            on_progress(last_seq, end)

    async def _publish(self, events: Sequence[RawEvent], last_seq: int) -> None:
        """Store entries behind a number, and a message for each number between them, so many at a time: years of calls
        may have been deleted between two entries.
        """
        publications: list[Coroutine[Any, Any, None]] = []
        for event in events:
            for seq in range(last_seq + 1, event.seq):
                publications.append(self._publish_one(self._names.gap, b"", {}, seq))
                if len(publications) == ENTRIES_AT_ONCE:
                    await _gather_all(publications)
                    publications = []
            last_seq = event.seq
            is_control = event.dialect == CONTROL_DIALECT
            fingerprint = await self._state.fingerprint(event.sn, event.key)
            publications.append(
                self._publish_one(
                    self._names.control if is_control else self._names.event,
                    encode_entry(event),
                    {} if is_control else {MESSAGE_ID: fingerprint.hex()},
                    event.seq,
                )
            )
            if len(publications) == ENTRIES_AT_ONCE:
                await _gather_all(publications)
                publications = []
        await _gather_all(publications)

    async def _publish_one(self, subject: str, body: bytes, headers: dict[str, str], seq: int) -> None:
        stored = await self._client.publish(subject, body, headers | {EXPECTED_LAST_SEQUENCE: str(seq - 1)})
        if stored.seq != seq:
            raise OnhookError(
                _("entry {seq} got the number {other}", seq=seq, other=stored.seq),
                location=self._client.address.location,
                hint=_("name another stream in the address, and repeat the command"),
            )

    async def _last_seq(self) -> int:
        return int((await self._client.call(f"STREAM.INFO.{self._names.entries}"))["state"]["last_seq"])


async def _gather_all(publications: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all of them, so that none is under way when the caller ends. Raises the first error."""
    errors = [result for result in await asyncio.gather(*publications, return_exceptions=True) if result]
    # The first one is the reason: those after it find it missing.
    if errors:
        raise errors[0]


async def compare(source: Ledger, target: Ledger, omitted: Collection[int] = ()) -> CopiedLedger:
    """Compare all entries of both, but those that are left out in the copy. Raises `OnhookError` where one differs."""
    count = last_seq = 0
    copies = _read_all(target)
    async for event in _read_all(source):
        if event.seq in omitted:
            continue
        if await anext(copies, None) != event:
            raise _difference(event.seq)
        count, last_seq = count + 1, event.seq
    if (superfluous := await anext(copies, None)) is not None:
        raise _difference(superfluous.seq)
    return CopiedLedger(entries=count, last_seq=last_seq)


async def _read_all(ledger: Ledger) -> AsyncIterator[RawEvent]:
    last_seq = 0
    while events := await ledger.read(last_seq, ENTRIES_AT_ONCE):
        for event in events:
            yield event
        last_seq = events[-1].seq


def _difference(seq: int) -> OnhookError:
    return OnhookError(
        _("entry {seq} of the copy differs from the original", seq=seq),
        hint=_("name another stream in the address, and repeat the command"),
    )

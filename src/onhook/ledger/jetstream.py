"""The ledger on NATS JetStream: a message for each entry, whose number is that of the message in its stream.

Invariants: an entry is acknowledged when a quorum of the servers has it on disk. The leader of the stream numbers
messages, so a reader that has read up to N never misses a lower number. The servers recognise an exact repeat for
REPEAT_DAYS_MIN (`Nats-Msg-Id`), whichever process appends it. Control entries are stored after the last one that their
author has read, and after no other.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter

import msgspec

from onhook.ledger.contract import (
    CONTROL_DIALECT,
    AppendResult,
    Counter,
    CounterKey,
    ErasureState,
    LedgerEntry,
    RawEvent,
    RewrittenContent,
)
from onhook.ledger.control_entries import to_ledger_entries
from onhook.ledger.deleted_events import identity_of_key
from onhook.ledger.jetstream_address import parse_jetstream_address
from onhook.ledger.jetstream_client import (
    BATCH_BYTES,
    CALL_SECONDS_MAX,
    JetStreamClient,
    MessageMissing,
    OutdatedSequence,
    StoredMessage,
)
from onhook.ledger.jetstream_entries import ReplacedContents, decode_entry, encode_entry
from onhook.ledger.jetstream_follower import StreamFollower
from onhook.ledger.jetstream_state import EXPECTED_LAST, JetStreamState, gather_limited
from onhook.ledger.jetstream_streams import StreamNames, check_streams, create_streams, has_entries, read_begin
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

READ_BYTES_MAX = 32 * 1024 * 1024
"""Body bytes in one result of `read`, as of the ledger in a file."""

CHANGE_SIZE = 500
"""Entries that are deleted or replaced at a time."""

CONTROL_ENTRIES_MAX = 1_000
"""Messages that the servers store all or none (`max_msgs` of their batches): a process that publishes the facts of more
PBXs at once may be interrupted between two thousands, and goes on when it starts again.
"""

SHORTER_SECONDS = 10.0
"""A leader that stood still learns within a second that another one was elected."""

MESSAGE_ID = "Nats-Msg-Id"


class JetStreamLedger:
    """See `ledger.contract.Ledger`. The first call connects; the streams exist (`create_streams`)."""

    def __init__(self, url: str, *, call_seconds: float = CALL_SECONDS_MAX) -> None:
        """Raises `UsageError` for an invalid address."""
        address = parse_jetstream_address(url)
        self._names = StreamNames(address.stream)
        self._client = JetStreamClient(address, call_seconds=call_seconds)
        self._state = JetStreamState(self._client, self._names)
        self._replaced = ReplacedContents(self._client, self._names)
        self._follower = StreamFollower(self._client, self._names.entries)
        self._end = LedgerEnd(time.monotonic)
        self._call_seconds = call_seconds
        self._is_checked = False
        self._check_lock = asyncio.Lock()

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        if not entries:
            return []
        try:
            # Of all requests together: a PBX waits. What is under way then may be stored, and is sent again.
            async with asyncio.timeout(self._call_seconds):
                return await self._append(entries)
        except TimeoutError as error:
            raise self._client.timeout_error() from error

    async def _append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        await self._check()
        fingerprints = [await self._entry_fingerprints(entry) for entry in entries]
        known_seqs = await self._state.find_fingerprints({item for items in fingerprints for item in items})
        # Begun in their order, in which one connection sends them and the leader numbers them.
        results = await asyncio.gather(
            *(
                self._append_one(entry, entry_fingerprints, known_seqs)
                for entry, entry_fingerprints in zip(entries, fingerprints, strict=True)
            ),
            return_exceptions=True,
        )
        errors = [result for result in results if isinstance(result, BaseException)]
        if len(errors) == len(results) or any(not isinstance(error, Unavailable) for error in errors):
            raise errors[0]
        return [AppendResult(0, "unavailable") if isinstance(result, BaseException) else result for result in results]

    async def _entry_fingerprints(self, entry: LedgerEntry) -> Sequence[bytes]:
        """Return the fingerprints of an entry, first under its serial number, then under the further ones of its
        sender; none where it cannot be stored.
        """
        try:
            return [await self._state.fingerprint(sn, entry.key) for sn in (entry.sn, *entry.further_sns)]
        except UnicodeEncodeError:
            return ()

    async def _append_one(
        self, entry: LedgerEntry, fingerprints: Sequence[bytes], known_seqs: Mapping[bytes, int]
    ) -> AppendResult:
        if not fingerprints:
            return AppendResult(0, "unavailable")
        for fingerprint in fingerprints:
            if fingerprint in known_seqs:
                seq = known_seqs[fingerprint]
                return AppendResult(seq, "duplicate" if seq else "deleted")
        try:
            body = encode_entry(entry)
        except (UnicodeEncodeError, OverflowError):
            return AppendResult(0, "unavailable")
        stored = await self._client.publish(self._names.event, body, {MESSAGE_ID: fingerprints[0].hex()})
        self._end.note(stored.seq)
        return AppendResult(stored.seq, "duplicate" if stored.duplicate else "new")

    async def append_control(self, bodies: Sequence[bytes], *, last_control_seq: int, now_us: int) -> int:
        last_message_seq = await self._last_control_message_seq()
        await self._replaced.refresh()
        if max(last_message_seq, self._replaced.last_seq(is_control=True)) != last_control_seq:
            return 0
        messages = list(map(encode_entry, to_ledger_entries(bodies, last_control_seq, now_us)))
        try:
            for start in range(0, len(messages), CONTROL_ENTRIES_MAX):
                chunk = messages[start : start + CONTROL_ENTRIES_MAX]
                headers = {EXPECTED_LAST: str(last_message_seq)}
                last_message_seq = await self._publish_control(chunk, headers)
        except OutdatedSequence:
            return 0
        return last_message_seq

    async def _publish_control(self, messages: Sequence[bytes], headers: Mapping[str, str]) -> int:
        if len(messages) > 1:
            return await self._client.publish_batch(self._names.control, messages, headers)
        return (await self._client.publish(self._names.control, messages[0], headers)).seq

    async def control_entries(self, after_seq: int, limit: int) -> list[RawEvent]:
        return await self._read(self._names.control, after_seq, limit)

    async def last_control_seq(self) -> int:
        last_message_seq = await self._last_control_message_seq()
        await self._replaced.refresh()
        return max(last_message_seq, self._replaced.last_seq(is_control=True))

    async def _last_control_message_seq(self) -> int:
        await self._check()
        message = await self._client.find_message(self._names.entries, last_by_subj=self._names.control)
        return 0 if message is None else message.seq

    async def has_events(self) -> bool:
        await self._check()
        message = await self._client.find_message(self._names.entries, seq=1, next_by_subj=self._names.event)
        return message is not None or await self._replaced.has_events()

    async def read(self, after_seq: int, limit: int) -> list[RawEvent]:
        return await self._read(self._names.any_entry, after_seq, limit)

    async def _read(self, subject: str, after_seq: int, limit: int) -> list[RawEvent]:
        """Return the next entries. The replaced ones after those of the stream: an entry whose message is deleted has
        been replaced before.
        """
        await self._check()
        is_control = subject == self._names.control
        known_seq = after_seq
        while True:
            messages = await self._client.read_messages(self._names.entries, subject, after_seq, limit, READ_BYTES_MAX)
            await self._replaced.refresh()
            if len(messages) == limit or sum(len(message.body) for message in messages) > READ_BYTES_MAX:
                known_seq = messages[-1].seq
                break
            known_seq = max(known_seq, messages[-1].seq if messages else 0)
            last_replaced_seq = self._replaced.last_seq(is_control=is_control)
            if last_replaced_seq <= known_seq:
                break
            # Entries before it may have been stored since the end was read.
            known_seq = last_replaced_seq
        replaced = await self._replaced.get(
            self._replaced.list_seqs(after_seq, known_seq, limit, is_control=is_control)
        )
        self._end.note(messages[-1].seq if messages else 0)
        entries = [decode_entry(message.seq, message.body) for message in messages if message.seq not in replaced]
        if not replaced:
            return entries
        return _take([*entries, *replaced.values()], limit)

    async def get(self, seqs: Sequence[int]) -> list[RawEvent]:
        await self._check()
        wanted = set(seqs)
        messages = {message.seq: message for run in _find_runs(wanted) for message in await self._get_run(run)}
        # A replica that is behind has messages whose contents were replaced meanwhile.
        await self._replaced.refresh()
        entries = await self._replaced.get(sorted(wanted))
        missing = wanted - messages.keys() - entries.keys()

        async def get_from_leader(seq: int) -> None:
            message = await self._client.find_message(self._names.entries, seq=seq, next_by_subj=self._names.any_entry)
            if message is not None and message.seq == seq:
                messages[seq] = message

        await gather_limited(get_from_leader(seq) for seq in missing)
        entries |= {seq: decode_entry(seq, message.body) for seq, message in messages.items() if seq not in entries}
        return [entries[seq] for seq in sorted(entries)]

    async def _get_run(self, run: range) -> list[StoredMessage]:
        """Return the messages with numbers that follow one another, from any replica."""
        messages: list[StoredMessage] = []
        start = run.start
        while start < run.stop:
            next_messages = await self._client.get_many(
                self._names.entries,
                seq=start,
                next_by_subj=self._names.any_entry,
                batch=run.stop - start,
                max_bytes=BATCH_BYTES,
            )
            messages += [message for message in next_messages if message.seq < run.stop]
            if not next_messages or next_messages[-1].seq >= run.stop - 1:
                break
            start = next_messages[-1].seq + 1
        return messages

    async def delete(self, seqs: Sequence[int]) -> None:
        last_seq = await self.last_seq()
        deletable = sorted({seq for seq in seqs if seq < last_seq})
        for start in range(0, len(deletable), CHANGE_SIZE):
            chunk = deletable[start : start + CHANGE_SIZE]
            entries = await self.get(chunk)
            await self._state.add_fingerprints(await self._fingerprints(entries, is_deleted=True))
            await gather_limited(self._delete_one(entry.seq) for entry in entries)

    async def rewrite(self, contents: Mapping[int, RewrittenContent]) -> None:
        seqs = sorted(contents)
        for start in range(0, len(seqs), CHANGE_SIZE):
            entries = await self.get(seqs[start : start + CHANGE_SIZE])
            await self._state.add_fingerprints(await self._fingerprints(entries, is_deleted=False))
            await gather_limited(self._rewrite_one(entry, contents[entry.seq]) for entry in entries)

    async def _fingerprints(self, entries: Iterable[RawEvent], *, is_deleted: bool) -> dict[bytes, int]:
        return {
            await self._state.fingerprint(entry.sn, entry.key): 0 if is_deleted else entry.seq
            for entry in entries
            if entry.dialect != CONTROL_DIALECT
        }

    async def _rewrite_one(self, entry: RawEvent, content: RewrittenContent) -> None:
        await self._replaced.store(
            msgspec.structs.replace(entry, dialect=content.dialect, body=content.body, signature="")
        )
        await self._delete_message(entry.seq)

    async def _delete_one(self, seq: int) -> None:
        await self._delete_message(seq)
        await self._replaced.delete(seq)

    async def _delete_message(self, seq: int) -> None:
        """Delete a message, whose bytes the servers overwrite."""
        try:
            await self._client.call(f"STREAM.MSG.DELETE.{self._names.entries}", seq=seq)
        except MessageMissing:
            return

    async def erasure_states(self) -> dict[int, ErasureState]:
        await self._check()
        return await self._state.erasure_states()

    async def set_erasure_state(self, seqs: Iterable[int], state: ErasureState) -> None:
        await self._check()
        await self._state.set_erasure_state(seqs, state)

    async def erasure_position(self) -> int:
        await self._check()
        return await self._state.erasure_position()

    async def set_erasure_position(self, seq: int) -> None:
        await self._check()
        await self._state.set_erasure_position(seq)

    async def overwrite_deleted(self) -> None:
        """Each message was overwritten when it was deleted; the log of each server has it until its next snapshot."""

    async def last_seq(self) -> int:
        await self._check()
        known_seq = self._end.highest_seq
        information = await self._client.call(f"STREAM.INFO.{self._names.entries}")
        if not self._end.accepts(int(information["state"]["last_seq"]), known_seq):
            raise Unavailable(
                _("a NATS server that stood still answers what was true before"),
                location=self._client.address.location,
                hint=_("wait: it learns within seconds that another one leads"),
            )
        return self._end.highest_seq

    async def begin_seq(self) -> int:
        await self._check()
        return await read_begin(self._client)

    async def identity(self) -> str:
        await self._check()
        return identity_of_key(await self._state.load_key())

    async def wait(self, after_seq: int, timeout_seconds: float) -> bool:
        await self._check()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                event = await self._follower.prepare()
                if await self.last_seq() > after_seq:
                    return True
                await event.wait()
        return await self.last_seq() > after_seq

    async def add_counts(
        self, counts: Mapping[CounterKey, int], now_us: int, peers: Mapping[CounterKey, str] | None = None
    ) -> None:
        if counts:
            await self._check()
            await self._state.add_counts(counts, now_us, peers or {})

    async def subtract_counts(self, counts: Mapping[CounterKey, int]) -> None:
        if counts:
            await self._check()
            await self._state.subtract_counts(counts)

    async def counters(self) -> list[Counter]:
        await self._check()
        return await self._state.counters()

    async def close(self) -> None:
        await self._follower.close()
        await self._client.close()

    async def _check(self) -> None:
        """Check the streams, once. Raises `UsageError`, `Unavailable`."""
        if not self._is_checked:
            async with self._check_lock:
                if not self._is_checked:
                    await check_streams(self._client)
                    self._is_checked = True


async def create_ledger(url: str, after_seq: int) -> None:
    """Create the streams of a ledger, whose first entry gets the number after `after_seq`; those that are empty may be
    there. Raises `UsageError`, also for streams with entries, and `Unavailable`.
    """
    client = JetStreamClient(parse_jetstream_address(url))
    try:
        if await has_entries(client):
            raise UsageError(
                _("the streams have a ledger already"),
                location=client.address.location,
                hint=_("name another stream in the address; a new ledger begins only in place of a missing one"),
            )
        await create_streams(client, after_seq, after_seq)
        await check_streams(client)
    finally:
        await client.close()


class LedgerEnd:
    """The highest number that a process has seen. A leader that stood still answers for up to a second what was the end
    before: readers that find the ledger shorter than their position begin anew.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.highest_seq = 0
        self._shorter_since: float | None = None

    def note(self, seq: int) -> None:
        """Note a number that the ledger has."""
        self.highest_seq = max(self.highest_seq, seq)

    def accepts(self, last_seq: int, known_seq: int) -> bool:
        """Return whether this was the end when it was asked for: it is no lower than the highest number of that moment,
        `known_seq`, or has been lower for `SHORTER_SECONDS`, as after the streams were restored from an older snapshot.
        An answer may be overtaken by that to an append.
        """
        if last_seq >= known_seq:
            self._shorter_since = None
            self.note(last_seq)
            return True
        now = self._monotonic()
        if self._shorter_since is None:
            self._shorter_since = now
        if now - self._shorter_since < SHORTER_SECONDS:
            return False
        self.highest_seq, self._shorter_since = last_seq, None
        return True


def _take(entries: Sequence[RawEvent], limit: int) -> list[RawEvent]:
    """Return the first entries in order, at most `limit`, fewer where bodies are large."""
    page: list[RawEvent] = []
    byte_count = 0
    for entry in sorted(entries, key=attrgetter("seq"))[:limit]:
        page.append(entry)
        byte_count += len(entry.body)
        if byte_count > READ_BYTES_MAX:
            break
    return page


def _find_runs(seqs: Iterable[int]) -> list[range]:
    """Return numbers as ranges of those that follow one another."""
    runs: list[range] = []
    for seq in sorted(seqs):
        if runs and runs[-1].stop == seq:
            runs[-1] = range(runs[-1].start, seq + 1)
        else:
            runs.append(range(seq, seq + 1))
    return runs
